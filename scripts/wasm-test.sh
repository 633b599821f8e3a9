#!/usr/bin/env bash
# Runs tests of the pure crates as Wasm under Node: the golden vectors, the same as natively, and the engine on simulated traffic.
source "$(dirname "$0")/lib.sh"

export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER=$TOOLS/tools/bin/wasm-bindgen-test-runner
# Compiled for Node, whatever else is installed: without this the runner may look for a browser.
export WASM_BINDGEN_TEST_ONLY_NODE=1
wasm_cargo test --no-fail-fast -p weir-core -p weir-stats -p weir-engine --test 'golden*' --test engine
