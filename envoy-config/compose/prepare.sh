#!/bin/sh
# Before all else: makes a token for each role, once, and gives each container only what is its own.
set -eu
umask 022

if [ ! -f /tokens/tokens ]; then
    token() { head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
    printf 'proxy=%s\nviewer=%s\noperator=%s\n' "$(token)" "$(token)" "$(token)" >/tokens/tokens.part
    mv /tokens/tokens.part /tokens/tokens
fi
of() { sed -n "s/^$1=//p" /tokens/tokens; }

sed "s/PROXY_TOKEN/$(of proxy)/" /weir/envoy.yaml >/envoy/envoy.yaml
of viewer | tr -d '\n' >/viewer/token
of operator >/operator/token
cat >/operator/config.yaml <<END
currentContext: compose
contexts: [{name: compose, server: "http://controller:8181", token: $(of operator)}]
END
echo 'Tokens are there. The one for the dashboard: docker compose run --rm --entrypoint cat prepare /operator/token'
