#!/usr/bin/env bash
# What needs no running: format, lints, documentation, dependency rules. Goes on after a failure, to name all of them.
source "$(dirname "$0")/lib.sh"

failed=0
check() { step "$@" || failed=1; }

# A compiler's complaint is an error here, not while writing: there it would stop a build half-way through a thought.
lints() { cargo clippy --workspace --all-targets -- -D warnings; }
documentation() { RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --quiet; }

# The pure crates must build where there is no operating system; the filters are seen as what they are compiled to.
wasm_lints() {
    local crates=(-p weir-core -p weir-stats -p weir-engine -p weir-envoy -p weir-filter -p weir-trap-filter -p weir-noop-filter -p weir-bare-filter -p weir-floor-filter)
    if [ "$(wasm_toolchain)" = rustup ]; then wasm_cargo clippy "${crates[@]}" -- -D warnings
    else wasm_cargo check "${crates[@]}" # Debian's toolchain here has no clippy.
    fi
}

check 'Format' cargo fmt --all --check
check 'Dependency rules' scripts/check-dependencies.py
check 'Lints' lints
check 'Lints, for Wasm' wasm_lints
check 'Documentation' documentation
exit $failed
