#!/usr/bin/env bash
# envoy-config/compose on a Docker engine, from up to down (tests/compose). Where no engine answers and this is root, starts one of its
# own and ends it. Public images that the engine does not have are replaced by stand-ins with the same programs, under the same names.
source "$(dirname "$0")/lib.sh"

work=$(mktemp -d)
export WORK=$work
clean() {
    if [ -f "$work/docker.pid" ]; then
        kill "$(cat "$work/docker.pid")" 2>/dev/null || true
        for _ in $(seq 50); do [ -f "$work/docker.pid" ] || break; sleep 0.2; done
    fi
    rm -rf "$work"
}
trap clean EXIT

command -v docker >/dev/null || fail 'no docker here; on Debian, as root: apt-get install --no-install-recommends docker.io docker-compose iptables'
if ! docker info >/dev/null 2>&1; then
    [ "$(id -u)" = 0 ] && command -v dockerd >/dev/null || fail 'no Docker engine answers: start one, or be root where `dockerd` is'
    export DOCKER_HOST=unix://$work/docker.sock
    dockerd --host "$DOCKER_HOST" --pidfile "$work/docker.pid" --data-root "$work/data" --exec-root "$work/exec" >"$work/docker.log" 2>&1 &
    answers() { for _ in $(seq 60); do docker info >/dev/null 2>&1 && return; sleep 0.5; done; tail -n 20 "$work/docker.log" >&2; return 1; }
    step 'A Docker engine for this test' answers
fi
if docker compose version >/dev/null 2>&1; then export COMPOSE='docker compose'
elif command -v docker-compose >/dev/null; then export COMPOSE=docker-compose
else fail 'neither `docker compose` nor docker-compose; on Debian: apt-get install docker-compose'
fi

scripts/images.sh
export ENVOY=${ENVOY:-$TOOLS/envoy-$ENVOY_VERSION} PROMETHEUS_BIN
PROMETHEUS_BIN=$(prometheus_folder)/prometheus
step 'Stand-ins for public images that are not here' scripts/compose-images.sh "$work"
# shellcheck disable=SC1091 # Written by the line above.
source "$work/tags"
PYTHONDONTWRITEBYTECODE=1 "${PYTHON:-python3}" tests/compose/check.py
say 'test result: ok. 1 passed; 0 failed'
