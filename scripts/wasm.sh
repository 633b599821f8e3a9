#!/usr/bin/env bash
# Builds the filter, its copy that traps when a test asks for it, and three for comparison: target/weir-filter.wasm,
# weir-filter-trap.wasm, weir-noop.wasm (does nothing, by the SDK), weir-noop-bare.wasm (does nothing, made as ours), and
# weir-floor.wasm (only the host calls that none like ours can do without). Cargo decides what is stale.
source "$(dirname "$0")/lib.sh"

build() {
    wasm_cargo build --profile wasm -p weir-filter -p weir-trap-filter -p weir-noop-filter -p weir-bare-filter -p weir-floor-filter
}
step "The filter, for Wasm (by $(wasm_toolchain))" build

place() {
    local from=$WASM_TARGET_DIR/$WASM/wasm/$1 to=$ROOT/target/$2
    # An Envoy that watches the file must never see half of it; one that is unchanged keeps its time stamp.
    if ! cmp -s "$from" "$to"; then cp "$from" "$to.part" && mv "$to.part" "$to"; fi
    say "  target/$2  $((($(wc -c <"$to") + 512) / 1024)) KB"
}
place weir_filter.wasm weir-filter.wasm
place weir_trap_filter.wasm weir-filter-trap.wasm
place weir_noop_filter.wasm weir-noop.wasm
place weir_bare_filter.wasm weir-noop-bare.wasm
place weir_floor_filter.wasm weir-floor.wasm
