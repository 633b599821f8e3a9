#!/usr/bin/env bash
# Runs every case of the error contract RUNS times (10,000 unless said), on every core, and writes the table into
# docs/error-contract.md. With fewer than 10,000 runs the table is printed instead, unless FORCE=1. ONLY=word: the cases whose id
# contains it, always printed.
source "$(dirname "$0")/lib.sh"

scripts/setup.sh rust
step 'Optimised program' cargo build --release -p weir-calibration
force=()
[[ ${FORCE:-} == 1 ]] && force=(--force)
exec "$CARGO_TARGET_DIR/release/weir-calibrate" --runs "${RUNS:-10000}" --only "${ONLY:-}" \
  --document docs/error-contract.md ${force[@]+"${force[@]}"}
