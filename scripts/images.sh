#!/usr/bin/env bash
# Container images of the controller and the demo, and the filter as an OCI artifact: target/images. They are written without a container
# engine; where there is one they are loaded into it.
source "$(dirname "$0")/lib.sh"

target=x86_64-unknown-linux-gnu
[ "$(uname -sm)" = 'Linux x86_64' ] || fail "images are made on Linux on x86-64 (here: $(uname -sm))"

# All of libc in the binaries: the image then holds nothing else. Names are resolved by glibc's own `files` and `dns`.
build() {
    CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS=-Ctarget-feature=+crt-static \
        cargo build --locked --profile image --target $target -p weir-controller -p weir-demo
}
scripts/ui.sh build --if-node
step 'The controller and the demo, without shared libraries (optimised: some minutes, once)' build

version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
bin=$CARGO_TARGET_DIR/$target/image
step 'The images' "${PYTHON:-python3}" scripts/images.py "$CARGO_TARGET_DIR/images" "$bin/weir" "$bin/weir-demo" \
    "$CARGO_TARGET_DIR/weir-filter.wasm" "$version" "$revision"
say '  target/images/SHA256SUMS has their checksums'

if ! command -v docker >/dev/null; then say 'No docker on this machine: nothing is loaded. `docker load -i FILE` does it elsewhere; skopeo reads oci-archive:FILE.'
elif ! docker info >/dev/null 2>&1; then say 'Docker does not answer (is the engine running, and may you use it?): nothing is loaded'
else
    for name in weir-controller weir-demo weir-filter; do docker load --quiet --input "$CARGO_TARGET_DIR/images/$name.tar"; done
fi
