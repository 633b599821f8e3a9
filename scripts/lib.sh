# What every script here shares: messages, elapsed time, and which toolchain compiles Wasm. Sourced, never run.
# Must not install anything: that is setup.sh's.

set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT"

# The releases that the tests are made for, oldest first; scripts/envoy has their hashes.
envoy_versions() { (cd scripts/envoy && printf '%s\n' *.txt) | sed 's/\.txt$//' | sort -V; }
# envoy_version NAME: what a short form means (1.37: the newest 1.37 that is pinned); anything else as it is.
envoy_version() { envoy_versions | awk -v name="$1" 'index($0, name ".") == 1 { name = $0 } END { print name }'; }
ENVOY_VERSION=$(envoy_version "${ENVOY_VERSION:-1.40.0}")
OLDEST_ENVOY=$(envoy_versions | head -n 1)
TOOLS=$ROOT/.weir
# The tree's own folder, whatever a developer's configuration says: every later step looks for its products there.
export CARGO_TARGET_DIR=$ROOT/target
# Wasm has a target folder of its own. Another compiler may build it, and neither build may invalidate the other.
WASM_TARGET_DIR=$ROOT/target/wasm-build
WASM=wasm32-unknown-unknown

# Where Schemathesis of the pinned version is, or will be.
schemathesis_folder() { echo "$TOOLS/schemathesis-$(sed -n 's/^schemathesis==\([0-9.]*\).*/\1/p' scripts/schemathesis/requirements.txt)"; }

# Istio's control plane for tests, built from tests/istio/istiod: its name tells what it was built from.
istiod_path() { echo "$TOOLS/istiod-$(cat tests/istio/istiod/* | sha256sum | cut -c -12)"; }
go_version() { sed -n 's/^go \(.*\)/\1/p' tests/istio/istiod/go.mod; }
# What is missing to build it, in words; nothing where nothing is.
go_missing() {
    local have
    have=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null | sed 's/^go//') || have=
    if [ -z "$have" ]; then echo "Go $(go_version) or newer: https://go.dev/dl"
    elif ! at_least "$have" "$(go_version)"; then echo "Go $(go_version) or newer (here: $have): https://go.dev/dl"
    fi
}
# The folder with `prometheus` and `promtool`: this machine's, or the one that set-up made; nothing without them.
prometheus_folder() {
    local found
    found=$(command -v "${PROMETHEUS:-prometheus}" || true)
    if [ -n "$found" ] && [ -x "$(dirname "$found")/promtool" ]; then dirname "$found"
    elif [ -x "$TOOLS/prometheus/usr/bin/promtool" ]; then echo "$TOOLS/prometheus/usr/bin"; fi
}

if [ -t 1 ]; then BOLD=$'\e[1m' DIM=$'\e[2m' RED=$'\e[31m' GREEN=$'\e[32m' PLAIN=$'\e[0m'
else BOLD='' DIM='' RED='' GREEN='' PLAIN=''; fi

heading() { printf '\n%s== %s ==%s\n' "$BOLD" "$*" "$PLAIN"; }
say() { printf '%s\n' "$*"; }
fail() { printf '%serror:%s %s\n' "$RED" "$PLAIN" "$*" >&2; exit 1; }

# elapsed SECONDS: as people say it.
elapsed() { if [ "$1" -lt 60 ]; then echo "$1 s"; else echo "$(($1 / 60)) min $(($1 % 60)) s"; fi; }

# step TEXT COMMAND…: one long step, announced, and with the time it took.
step() {
    local text=$1 begin=$SECONDS; shift
    say "${BOLD}▸${PLAIN} $text"
    if "$@"; then say "${GREEN}✓${PLAIN} $text ${DIM}($(elapsed $((SECONDS - begin))))${PLAIN}"
    else
        local code=$?
        say "${RED}✗${PLAIN} $text ${DIM}($(elapsed $((SECONDS - begin))))${PLAIN}"
        return "$code"
    fi
}

# quietly NAME COMMAND…: output to a log, shown only when the command fails.
quietly() {
    local log=$TOOLS/log/$1.log; shift
    mkdir -p "$TOOLS/log"
    "$@" >"$log" 2>&1 || { local code=$?; tail -n 40 "$log" >&2; say "(all of it: $log)" >&2; return "$code"; }
}

# at_least HAVE WANT: compares versions by their numbers.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

rust_version() { sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml; }

# Debian's newer compiler, which has no Wasm standard library but its sources.
DEBIAN_RUST_PACKAGES='rustc-web cargo-web rust-web-src lld'
debian_rust_present() {
    [ -x /usr/bin/rustc ] && [ -x /usr/bin/cargo ] && command -v wasm-ld >/dev/null &&
        at_least "$(/usr/bin/rustc --version | cut -d ' ' -f 2)" "$(rust_version)" &&
        [ -f "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library/Cargo.lock" ]
}

rustup_wasm_present() {
    local libraries
    libraries=$(rustc --print target-libdir --target $WASM 2>/dev/null) && ls "$libraries"/libcore-*.rlib >/dev/null 2>&1
}

# wasm_toolchain: `rustup` (any toolchain that has the target) or `debian` (builds the standard library from source);
# nothing when neither can. WEIR_WASM_TOOLCHAIN forces one.
wasm_toolchain() {
    case ${WEIR_WASM_TOOLCHAIN:-} in
        rustup) if rustup_wasm_present; then echo rustup; fi ;;
        debian) if debian_rust_present; then echo debian; fi ;;
        '') if rustup_wasm_present; then echo rustup; elif debian_rust_present; then echo debian; fi ;;
        *) fail "WEIR_WASM_TOOLCHAIN=$WEIR_WASM_TOOLCHAIN is neither rustup nor debian" ;;
    esac
}

# wasm_cargo COMMAND ARGUMENTS…: cargo for Wasm, whichever toolchain that takes. No path of this machine is in what it makes; in what
# is built to be used numbers are not padded for a linker that comes later, which saves 7% and goes with no debug information.
wasm_cargo() {
    local command=$1; shift
    local flags="--remap-path-prefix=$ROOT=." folder
    [ "$command" != build ] || flags+=" -Clink-arg=--compress-relocations"
    for folder in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/; do flags+=" --remap-path-prefix=${folder%/}="; done
    export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS=$flags
    case $(wasm_toolchain) in
        rustup)
            CARGO_TARGET_DIR=$WASM_TARGET_DIR cargo "$command" --target $WASM "$@" ;;
        debian)
            CARGO_TARGET_DIR=$WASM_TARGET_DIR RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc PATH=/usr/bin:$PATH \
                CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-ld \
                /usr/bin/cargo "$command" --target $WASM -Z build-std=std,panic_abort "$@" ;;
        *)
            fail "no Rust toolchain here compiles for Wasm; \`make setup\` gets one or says how" ;;
    esac
}
