#!/usr/bin/env bash
# Runs stages of the test, each with a heading and the time it took, and adds up what the runners say.
#
#   scripts/test.sh STAGE…      setup wasm ui build unit api e2e e2e-oldest istio prometheus ui-test wasm-test check
#
# Later stages run although an earlier one failed, except where they would only fail for the same reason.
source "$(dirname "$0")/lib.sh"

[ $# -gt 0 ] || set -- setup wasm ui build unit api e2e e2e-oldest istio prometheus ui-test wasm-test check
logs=$CARGO_TARGET_DIR/test-logs
rm -rf "$logs" && mkdir -p "$logs"
[ -t 1 ] && export CARGO_TERM_COLOR=always

# Integration tests as cargo's arguments: `istio`, those of the end-to-end crate in a mesh; `e2e`, its others; `unit`, those of all other
# crates. Everything is chosen by target and never by package: another set of packages is another set of features, for which tokio, axum and SQLite would be compiled once more.
integration_tests() {
    cargo metadata --format-version 1 --no-deps | python3 -c '
import json, sys
metadata, wanted = json.load(sys.stdin), sys.argv[1]
for package in metadata["packages"]:
    if package["id"] in metadata["workspace_default_members"]:
        for target in package["targets"]:
            kind = "unit"
            if package["name"] == "weir-tests":
                kind = "istio" if target["name"].split("_")[0] == "istio" else "e2e"
            if "test" in target["kind"] and kind == wanted:
                print("--test", target["name"])
' "$1"
}

# Which parts of the set-up the other stages need.
setup() {
    local parts=wasm
    case " $stages " in *' e2e '* | *' istio '* | *' ui-test '* | *' prometheus '*) parts+=' envoy' ;; esac
    case " $stages " in *' ui '*) parts+=' ui' ;; esac
    case " $stages " in *' ui-test '*) parts+=' browser' ;; esac
    case " $stages " in *' wasm-test '*) parts+=' node' ;; esac
    case " $stages " in *' check '*) parts+=' lint' ;; esac
    case " $stages " in *' api '*) parts+=' api' ;; esac
    # Alone it says what is missing; among others it is left out.
    case " $stages " in *' istio '*) if [ "$stages" = "$istio_alone" ] || can_istio; then parts+=' istio'; fi ;; esac
    case " $stages " in *' prometheus '*) parts+=' prometheus' ;; esac
    # shellcheck disable=SC2086 # A list of words.
    ISTIO_OPTIONAL=$([ "$stages" = "$istio_alone" ] || echo yes) scripts/setup.sh $parts
    case " $stages " in *' e2e-oldest '*) [ -n "${ENVOY:-}" ] || ENVOY_VERSION=$OLDEST_ENVOY scripts/setup.sh envoy ;; esac
}
wasm() { scripts/wasm.sh; }
ui() { scripts/ui.sh build && scripts/ui.sh check; }
build() {
    # Nothing takes an old dashboard into its binary: one that was built before is built again. Without Node `cargo build` says that it is old.
    case " $stages " in *' ui '*) ;; *) [ ! -f ui/dist/index.html ] || scripts/ui.sh build --if-node ;; esac
    case " $stages " in
        *' unit '*) cargo build --bins --tests ;;
        *' ui-test '* | *' api '* | *' prometheus '*) cargo build --bins ;;
        # shellcheck disable=SC2046 # A list of words.
        *' istio '*) cargo build --bins $(integration_tests istio) ;;
        # shellcheck disable=SC2046 # A list of words.
        *) cargo build --bins $(integration_tests e2e) ;;
    esac
}
# shellcheck disable=SC2046 # Lists of words.
unit() { cargo test --no-fail-fast --lib --bins $(integration_tests unit) && documented; }
documented() { cargo test --no-fail-fast --doc; }
api() { scripts/api.sh; }
e2e() {
    local tests
    tests=$(integration_tests e2e)
    # shellcheck disable=SC2086 # A list of words.
    on_envoy "$ENVOY_VERSION" $tests
}
# The same programs on the oldest Envoy: all tests that start one.
e2e_oldest() {
    local tests=() name
    if [ -n "${ENVOY:-}" ] || [ "$ENVOY_VERSION" = "$OLDEST_ENVOY" ]; then say 'That Envoy has been tested'; return; fi
    for name in $(integration_tests e2e); do
        case $name in --test) continue ;; esac
        if grep -qE 'Envoy|Stand|between|paths::demo' tests/tests/"$name".rs; then tests+=(--test "$name"); fi
    done
    on_envoy "$OLDEST_ENVOY" ${tests[@]+"${tests[@]}"}
}
# In a mesh of Istio's own control plane, which is there or can be built.
istio_alone='setup wasm build istio'
can_istio() { [ -x "$(istiod_path)" ] || [ -z "$(go_missing)" ]; }
istio() {
    local istiod tests missing
    istiod=$(istiod_path) tests=$(integration_tests istio) missing=$(go_missing)
    if [ ! -x "$istiod" ]; then say "Left out: Istio's control plane is not built here, and takes ${missing:-sources that the module proxy of Go has}"; return; fi
    export WEIR_ISTIOD=$istiod
    # shellcheck disable=SC2086 # A list of words.
    on_envoy "$ENVOY_VERSION" $tests
}
# on_envoy VERSION TESTS…: end-to-end tests on one Envoy.
on_envoy() {
    local version=$1; shift
    export ENVOY=${ENVOY:-$TOOLS/envoy-$version} ENVOY_VERSION=$version
    export WEIR_FILTER=$CARGO_TARGET_DIR/weir-filter.wasm WEIR_NOOP=$CARGO_TARGET_DIR/weir-noop.wasm
    export WEIR_TRAP_FILTER=$CARGO_TARGET_DIR/weir-filter-trap.wasm
    export WEIR_BIN=$CARGO_TARGET_DIR/debug/weir
    say "Envoy: $ENVOY"
    [ $# -gt 0 ] || { say 'no end-to-end test found'; return 1; }
    cargo test --no-fail-fast "$@"
}
prometheus() { scripts/prometheus.sh && say 'Left out: docker compose, from up to down; `make compose-test` does that, on a Docker engine'; }
wasm_test() { scripts/wasm-test.sh; }
ui_test() { scripts/ui.sh test; }
check() { scripts/check.sh; }

title() {
    case $1 in
        setup) echo 'Set-up' ;;
        wasm) echo 'The filter' ;;
        build) echo 'Programs and tests' ;;
        unit) echo 'Unit and property tests' ;;
        api) echo 'The API, against its description' ;;
        e2e) echo "End to end, on Envoy $ENVOY_VERSION" ;;
        e2e-oldest) echo "End to end, on Envoy $OLDEST_ENVOY" ;;
        istio) echo "In Istio's mesh, on Envoy $ENVOY_VERSION" ;;
        ui) echo 'The dashboard' ;;
        prometheus) echo 'Metrics, alerts and dashboard, on a real Prometheus' ;;
        ui-test) echo 'The dashboard, in a browser' ;;
        wasm-test) echo 'Pure crates as Wasm, under Node' ;;
        check) echo 'Checks' ;;
        *) fail "no stage \`$1\`; there are: setup wasm ui build unit api e2e e2e-oldest istio prometheus ui-test wasm-test check" ;;
    esac
}

stages=$* summary='' exit_code=0 passed=0 failed=0 stopped=
for stage in "$@"; do title "$stage" >/dev/null; done
for stage in "$@"; do
    text=$(title "$stage")
    if [ -n "$stopped" ]; then
        summary+="  not run  $text"$'\n'
        continue
    fi
    heading "$text"
    begin=$SECONDS log=$logs/$stage.log
    # A subshell with errors still fatal in it: as a condition they would be ignored.
    set +e
    (set -e; "${stage//-/_}") 2>&1 | tee "$log"
    code=${PIPESTATUS[0]}
    set -e
    read -r stage_passed stage_failed < <(sed 's/\x1b\[[0-9;]*m//g' "$log" | awk '
        /^test result:/ { for (i = 2; i <= NF; i++) { if ($i ~ /^passed/) p += $(i - 1); if ($i ~ /^failed/) f += $(i - 1) } }
        # Node'"'"'s own runner.
        $2 == "pass" && $3 ~ /^[0-9]+$/ { p += $3 } $2 == "fail" && $3 ~ /^[0-9]+$/ { f += $3 }
        END { print p + 0, f + 0 }')
    # What failed without a failed test (a compiler, a check, a crash) counts as one: "0 failed" always means success.
    if [ "$code" -ne 0 ] && [ "$stage_failed" -eq 0 ]; then stage_failed=1; fi
    if [ "$stage_failed" -ne 0 ]; then
        exit_code=1 word="${RED}FAILED ${PLAIN}"
        case $stage in setup | wasm | ui | build) stopped=yes ;; esac
    else word="${GREEN}ok     ${PLAIN}"
    fi
    passed=$((passed + stage_passed)) failed=$((failed + stage_failed))
    summary+="  $word  $text  ${DIM}$(elapsed $((SECONDS - begin)))${PLAIN}"$'\n'
done

heading 'Summary'
printf '%s' "$summary"
say "  in all $(elapsed $SECONDS); the output of each stage: target/test-logs"
if [ "$failed" -gt 0 ]; then
    # Names, so that nobody has to search the output.
    sed 's/\x1b\[[0-9;]*m//g' "$logs"/*.log | grep -E '^test .* \.\.\. FAILED$' | sort -u || true
fi
printf '\n%s passed, %s failed\n' "$passed" "$failed"
exit $exit_code
