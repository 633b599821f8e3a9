#!/usr/bin/env bash
# Runs every case of the error contract RUNS times (10,000 unless said), on every core, and writes the table into
# docs/error-contract.md. ONLY=word: the cases whose id contains it, printed instead.
source "$(dirname "$0")/lib.sh"

scripts/setup.sh rust
step 'Optimised program' cargo build --release -p weir-calibration
exec "$CARGO_TARGET_DIR/release/weir-calibrate" --runs "${RUNS:-10000}" --only "${ONLY:-}" --document docs/error-contract.md
