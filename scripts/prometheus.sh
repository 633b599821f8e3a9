#!/usr/bin/env bash
# Checks what envoy-config/observability holds: promtool on configuration, rules and alerts, then a real Prometheus on a real Envoy and
# controller (tests/observability).
source "$(dirname "$0")/lib.sh"

folder=$(prometheus_folder)
[ -n "$folder" ] || fail "no Prometheus here: \`make setup\` gets it or says how"
export PROMETHEUS=$folder/prometheus PYTHONDONTWRITEBYTECODE=1

# The configuration names a file with a token, which a checkout has none of.
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -r envoy-config/observability/. "$copy"
touch "$copy/viewer-token"
"$folder/promtool" check config "$copy/prometheus.yaml"
"$folder/promtool" test rules "$copy/tests/alerts.yaml"

export ENVOY=${ENVOY:-$TOOLS/envoy-$ENVOY_VERSION}
export WEIR_FILTER=${WEIR_FILTER:-$CARGO_TARGET_DIR/weir-filter.wasm}
export WEIR_BIN=${WEIR_BIN:-$CARGO_TARGET_DIR/debug/weir} WEIR_DEMO=${WEIR_DEMO:-$CARGO_TARGET_DIR/debug/weir-demo}
say "Prometheus: $PROMETHEUS"
"${PYTHON:-python3}" tests/observability/check.py
say 'test result: ok. 3 passed; 0 failed (configuration and rules; alerts at their durations; panels, alerts and names on real servers)'
