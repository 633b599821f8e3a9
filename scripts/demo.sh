#!/usr/bin/env bash
# Builds the programs and runs the demo. KEEP=1 leaves everything running when the experiment has ended, until Ctrl-C.
source "$(dirname "$0")/lib.sh"

scripts/ui.sh build --if-node
# The same build as in `make test`: on a new machine nothing is compiled twice.
step 'The controller and the demo' cargo build --bins
export ENVOY=${ENVOY:-$TOOLS/envoy-$ENVOY_VERSION} ENVOY_VERSION
export WEIR_FILTER=$CARGO_TARGET_DIR/weir-filter.wasm WEIR_BIN=$CARGO_TARGET_DIR/debug/weir
arguments=()
case ${KEEP:-} in '' | 0) ;; *) arguments+=(--keep) ;; esac
# In place of this shell, so that Ctrl-C and the exit status are the demo's own.
exec "$CARGO_TARGET_DIR/debug/weir-demo" run ${arguments[@]+"${arguments[@]}"}
