#!/usr/bin/env bash
# Stand-ins for the public images of envoy-config/compose, where the engine does not have them: the same programs under the same names,
# tagged `stand-in`. Grafana's only answers its health check. WORK/tags says which tags to use.
source "$(dirname "$0")/lib.sh"
work=$1
: >"$work/tags"

present() { docker image inspect "$1" >/dev/null 2>&1; }

# root FOLDER PROGRAM…: a root file system of programs, the libraries that they need, and a shell.
root() {
    local folder=$1 program library; shift
    mkdir -p "$folder"/{bin,usr/bin,tmp,etc}
    [ -x /bin/busybox ] || fail 'the stand-ins need busybox; on Debian: apt-get install busybox-static'
    for program in /bin/busybox "$@"; do
        cp -L "$program" "$folder/bin/"
        for library in $(ldd "$program" 2>/dev/null | grep -o '/[^ ]*'); do mkdir -p "$folder$(dirname "$library")" && cp -Ln "$library" "$folder$library"; done
    done
    for program in sh cat head od tr sed mv wget httpd mkdir; do [ -e "$folder/bin/$program" ] || ln -s busybox "$folder/bin/$program"; done
    chmod 1777 "$folder/tmp"
}

if ! present envoyproxy/envoy:v1.40.0; then
    root "$work/envoy" /bin/bash /bin/grep
    root "$work/envoy" "$(readlink -f "$ENVOY")"
    # As the image's own: what begins with a dash are Envoy's arguments.
    printf '#!/bin/sh\ncase "$1" in -*) set -- envoy "$@" ;; esac\nexec "$@"\n' >"$work/envoy/docker-entrypoint.sh"
    chmod +x "$work/envoy/docker-entrypoint.sh"
    tar -C "$work/envoy" -c . | docker import --change 'ENTRYPOINT ["/docker-entrypoint.sh"]' --change 'USER 101:101' - envoyproxy/envoy:stand-in
    echo 'export ENVOY_TAG=stand-in' >>"$work/tags"
fi
if ! present prom/prometheus:v2.42.0; then
    root "$work/prometheus" "$PROMETHEUS_BIN"
    mkdir -p "$work/prometheus/prometheus" "$work/prometheus/etc/prometheus" && chmod 777 "$work/prometheus/prometheus"
    tar -C "$work/prometheus" -c . |
        docker import --change 'ENTRYPOINT ["/bin/prometheus"]' --change 'USER 65534:65534' --change 'WORKDIR /prometheus' - prom/prometheus:stand-in
    echo 'export PROMETHEUS_TAG=stand-in' >>"$work/tags"
fi
if ! present grafana/grafana:11.1.0; then
    root "$work/grafana"
    mkdir -p "$work/grafana/www/api" && echo '{"database": "ok"}' >"$work/grafana/www/api/health"
    tar -C "$work/grafana" -c . | docker import --change 'CMD ["/bin/httpd", "-f", "-p", "3000", "-h", "/www"]' - grafana/grafana:stand-in
    echo 'export GRAFANA_TAG=stand-in' >>"$work/tags"
fi
rm -rf "$work"/{envoy,prometheus,grafana}
