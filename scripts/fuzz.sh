#!/usr/bin/env bash
# Fuzzes for a bounded time: every target of fuzz/ in turn, from a corpus that is kept in target/fuzz. Needs a C++ compiler for
# libFuzzer, and no nightly Rust: coverage comes from LLVM's own pass. Not a stage of `make test`.
source "$(dirname "$0")/lib.sh"

SECONDS_EACH=${FUZZ_SECONDS:-60}
TARGETS=${FUZZ_TARGETS:-$(cd fuzz/fuzz_targets && ls -- *.rs | sed 's/\.rs$//')}
case $SECONDS_EACH in ''|*[!0-9]*) fail "FUZZ_SECONDS=$SECONDS_EACH: write a number of seconds" ;; esac
command -v c++ >/dev/null || fail 'fuzzing needs a C++ compiler (Debian: apt-get install g++)'

# What cargo-fuzz passes, without a sanitizer: these crates have no unsafe code for one to watch.
export RUSTFLAGS='--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1'
# A target must be named for these flags to spare build scripts, which link no fuzzer.
HOST=$(rustc -vV | sed -n 's/^host: //p')
BUILT=$ROOT/target/fuzz
step 'Fuzz targets' cargo build --manifest-path fuzz/Cargo.toml --release --target "$HOST" --target-dir "$BUILT" --locked

fuzz() {
    local target=$1 log=$BUILT/log/$1.log corpus=$BUILT/corpus/$1 artifacts=$BUILT/artifacts/$1/ dictionary=() seeds=()
    mkdir -p "$corpus" "$artifacts" "$BUILT/log"
    [ -f "fuzz/$target.dict" ] && dictionary=(-dict="fuzz/$target.dict")
    # Few random texts are counts: begin with some that are.
    [ "$target" = analysis ] && seeds=(docs/examples)
    "$BUILT/$HOST/release/$target" -max_total_time="$SECONDS_EACH" -max_len=4096 -timeout=20 -rss_limit_mb=2048 \
        -print_final_stats=1 -artifact_prefix="$artifacts" ${dictionary[@]+"${dictionary[@]}"} "$corpus" \
        ${seeds[@]+"${seeds[@]}"} >"$log" 2>&1 ||
        { tail -n 40 "$log" >&2; fail "an input that breaks $target is in $artifacts: mend it, and make it a test"; }
    say "  $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs, $(find "$corpus" -type f | wc -l) kept"
}

for target in $TARGETS; do
    step "$target, $(elapsed "$SECONDS_EACH")" fuzz "$target"
done
