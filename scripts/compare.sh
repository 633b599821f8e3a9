#!/usr/bin/env bash
# Runs Weir and our reconstructions of other policies RUNS times each (1,000 unless said), on every core, and writes the tables into
# docs/comparison.md.
source "$(dirname "$0")/lib.sh"

scripts/setup.sh rust
step 'Optimised program' cargo build --release -p weir-simulator --bin weir-compare
exec "$CARGO_TARGET_DIR/release/weir-compare" --runs "${RUNS:-1000}" --document docs/comparison.md
