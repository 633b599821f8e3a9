#!/usr/bin/env bash
# The dashboard's sources are ui/; what is made of them, ui/dist, goes into the controller's binary with the next cargo build.
#
#   scripts/ui.sh build [--if-node]   packages by the lock file, then ui/dist (--if-node: without Node it only says what is missing)
#   scripts/ui.sh check               format, types, and that two builds are the same to the byte
#   scripts/ui.sh test                units, then a browser on a real controller and a real Envoy
#   scripts/ui.sh screenshots         pictures of each page, into docs/images
source "$(dirname "$0")/lib.sh"

export npm_config_update_notifier=false npm_config_fund=false npm_config_audit=false

has_node() { node -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)' 2>/dev/null && command -v npm >/dev/null; }

# No package runs a script of its own here: esbuild's only saves a few milliseconds.
packages() {
    cmp -s ui/package-lock.json ui/node_modules/.of-lock && return
    quietly ui-packages npm --prefix ui ci --ignore-scripts && cp ui/package-lock.json ui/node_modules/.of-lock
}
bundle() { (cd ui && node scripts/build.mjs "$@"); }

# Whether dist was made of what is there now.
fresh() { [ -f ui/dist/.sources ] && [ "$(node -e 'import("./ui/scripts/sources.mjs").then(it => console.log(it.fingerprint("ui")))')" = "$(cat ui/dist/.sources)" ]; }

build() {
    if ! has_node; then
        [ "${1:-}" = --if-node ] || fail 'the dashboard is built with Node 18 or newer and npm; on Debian: apt-get install nodejs npm'
        say 'Without Node and npm the dashboard is not built: the controller'"'"'s page will say so. `make ui` builds it later.'
        return
    fi
    # Of a build that is as its sources are nothing would change.
    if [ "${1:-}" = --if-node ] && fresh; then return; fi
    if ! step "The dashboard's packages" packages || ! step 'The dashboard' bundle; then
        [ "${1:-}" = --if-node ] || exit 1
        say 'The dashboard is not built: the controller'"'"'s page will say so. `make ui` says why.'
    fi
}

formatted() { (cd ui && node_modules/.bin/prettier --log-level warn --check .); }
types() { (cd ui && node_modules/.bin/tsc --noEmit); }
# In another folder, from another working directory, with another clock: what is made must not know.
same_twice() {
    local again; again=$(mktemp -d)
    (cd / && TZ=Pacific/Apia node "$ROOT/ui/scripts/build.mjs" "$again") && bundle "$again.second" &&
        diff -r "$again" "$again.second" && diff -r --exclude=.gitkeep "$again" ui/dist
    local code=$?
    rm -rf "$again" "$again.second"
    return $code
}
check() {
    has_node || fail 'Node 18 or newer and npm are needed: apt-get install nodejs npm'
    packages && step 'Format of the dashboard' formatted && step 'Types of the dashboard' types && step 'Two builds of the dashboard are the same' same_twice
}

# What tests start: built if it is not there.
programs() {
    export ENVOY=${ENVOY:-$TOOLS/envoy-$ENVOY_VERSION} ENVOY_VERSION WEIR_ROOT=$ROOT
    export WEIR_FILTER=${WEIR_FILTER:-$CARGO_TARGET_DIR/weir-filter.wasm}
    export WEIR_BIN=${WEIR_BIN:-$CARGO_TARGET_DIR/debug/weir} WEIR_DEMO=${WEIR_DEMO:-$CARGO_TARGET_DIR/debug/weir-demo}
    export CHROMIUM=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || true)}
    [ -n "$CHROMIUM" ] || fail 'no Chromium; on Debian: apt-get install chromium, or CHROMIUM=/path/to/chromium'
    (cd ui && node scripts/bundle-tests.mjs)
}
browser_test() {
    programs
    # One after the other: each has its own controller, and both cores are needed for a browser and an Envoy.
    (cd ui && node --test --test-concurrency=1 --test-reporter=spec test-dist/*.test.mjs)
}
screenshots() { programs && (cd ui && node test-dist/screenshots.mjs); }

case ${1:-} in
    build) build "${2:-}" ;;
    check) check ;;
    test) browser_test ;;
    screenshots) screenshots ;;
    *) fail 'say build, check, test or screenshots' ;;
esac
