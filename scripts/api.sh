#!/usr/bin/env bash
# Sends what fits the OpenAPI document, and what nearly does, to a real controller, and looks whether each answer is as the document
# says and none is a server's error. A minute and a half at most. Who listens to events is tested elsewhere: those answers do not end.
#
#   scripts/api.sh            EXAMPLES=30 an operation
source "$(dirname "$0")/lib.sh"

tool=$(schemathesis_folder)/bin/schemathesis
[ -x "$tool" ] || fail "no Schemathesis; \`scripts/setup.sh api\` gets it"
weir=$CARGO_TARGET_DIR/debug/weir
[ -x "$weir" ] || fail "no $weir; \`cargo build --bins\` makes it"

folder=$(mktemp -d)
pid=
end() { if [ -n "$pid" ]; then kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; fi; rm -rf "$folder"; }
trap end EXIT

# Tokens of its own, which no request can revoke.
"$weir" serve --listen 127.0.0.1:0 --ledger "$folder/weir.db" --rate-limit 0 --token operator=operates --token proxy=reports \
    >"$folder/out" 2>"$folder/log" &
pid=$!
url=
for _ in $(seq 300); do
    url=$(sed -n 's/^listening on //p' "$folder/out")
    [ -z "$url" ] || break
    kill -0 "$pid" 2>/dev/null || { cat "$folder/log" >&2; fail 'weir serve does not start'; }
    sleep 0.1
done
[ -n "$url" ] || fail 'weir serve does not say where it listens'

WEIR_SERVER=$url WEIR_TOKEN=operates "$weir" apply -f - <<'END'
apiVersion: weir.dev/v1alpha1
kind: Experiment
metadata: {name: shop}
spec:
  service: shop
  match: {hosts: [shop.example]}
  versions: [{name: v1, baseline: true}, {name: v2}]
  objectives: [{name: errors, errorRate: {max: 2%}}]
  reward: {api: {}, direction: maximize}
---
apiVersion: weir.dev/v1alpha1
kind: Experiment
metadata: {name: other}
spec:
  service: shop
  match: {hosts: [other.example]}
  versions: [{name: v1, baseline: true}, {name: v2}]
  objectives: [{name: errors, errorRate: {max: 2%}}]
END

# ask TOKEN SECONDS OPTIONS…: everything that these options select, with one token.
ask() {
    local token=$1 seconds=$2 report=$folder/report.json; shift 2
    (cd "$folder" && "$tool" --config-file "$ROOT/scripts/schemathesis/schemathesis.toml" run "$ROOT/docs/openapi.json" \
        --url "$url" --header "Authorization: Bearer $token" --no-color --max-time "$seconds" --request-timeout 25 \
        --phases examples,coverage,fuzzing --max-examples "${EXAMPLES:-30}" --generation-with-security-parameters false --generation-deterministic \
        --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
        --report json --report-json-path "$report" "$@") || return
    # Answers that are all refusals would show nothing.
    python3 -c '
import json, sys
report = json.load(open(sys.argv[1]))
warnings, cases = report["warnings"], report["test_cases"]["generated"]
for what in ("missing_auth", "missing_test_data"):
    # What is deleted is there once.
    refusals = [operation for operation in warnings[what] if not operation.startswith("DELETE ")]
    if refusals:
        sys.exit(f"{what}: nothing but refusals from {refusals}")
if cases < 20 * report["operations"]["tested"] or report["operations"]["tested"] == 0:
    sys.exit(f"too few requests to say anything: {cases}")
' "$report"
}

ask operates 65 --exclude-path-regex 'events$' --exclude-path /v1/reports
ask reports 20 --include-path-regex '^/v1/(plan|reports)$'
kill -0 "$pid" 2>/dev/null || { tail -n 40 "$folder/log" >&2; fail 'the controller has ended'; }
if grep -E 'panicked|ERROR' "$folder/log"; then fail "the controller's log says that something failed"; fi
say 'The API answers as docs/openapi.json says'
