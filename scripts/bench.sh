#!/usr/bin/env bash
# Builds optimised programs and runs the benchmarks: a table here, and target/bench/results.json.
#
#   scripts/bench.sh ARGUMENT…      arguments of weir-bench; BENCH=… is the same
source "$(dirname "$0")/lib.sh"

step 'Optimised programs' cargo build --release --bins
export ENVOY=${ENVOY:-$TOOLS/envoy-$ENVOY_VERSION} ENVOY_VERSION
export WEIR_FILTER=$CARGO_TARGET_DIR/weir-filter.wasm WEIR_NOOP=$CARGO_TARGET_DIR/weir-noop.wasm
export WEIR_NOOP_BARE=$CARGO_TARGET_DIR/weir-noop-bare.wasm WEIR_FLOOR=$CARGO_TARGET_DIR/weir-floor.wasm
export WEIR_BIN=$CARGO_TARGET_DIR/release/weir
# The engine's, unless others were asked for by name.
[ -n "${BENCH:-}$*" ] || step 'Assessments' cargo bench -p weir-engine --bench assess -- --noplot
# shellcheck disable=SC2086 # A list of words.
exec "$CARGO_TARGET_DIR/release/weir-bench" --output "$CARGO_TARGET_DIR/bench/results.json" ${BENCH:-} "$@"
