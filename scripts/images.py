#!/usr/bin/env python3
"""Writes container images and the filter's OCI artifact without a container engine, the same bytes from the same inputs.

  scripts/images.py OUT WEIR WEIR_DEMO FILTER VERSION REVISION

Each image is OUT/NAME.tar: an OCI layout that `docker load` reads too (it has Docker's manifest.json as well). The filter is there twice,
as Envoy and Istio know it: the `compat` image, whose one layer holds plugin.wasm, and the artifact of two layers with Wasm's own media types."""

import gzip
import hashlib
import io
import json
import sys
import tarfile
from pathlib import Path

OCI = "application/vnd.oci.image"
SOURCE = "Weir: splits traffic over versions of a service inside Envoy, and decides on evidence"
# Distroless' `nonroot`.
USER = 65532
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def compact(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def tar(files):
    """A tar of (name, bytes or None for a folder, mode, owner), without a time."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content, mode, owner in files:
            info = tarfile.TarInfo(name)
            info.mode, info.uid, info.gid = mode, owner, owner
            if content is None:
                info.type = tarfile.DIRTYPE
            else:
                info.size = len(content)
            archive.addfile(info, None if content is None else io.BytesIO(content))
    return out.getvalue()


class Layout:
    """An OCI layout of one manifest."""

    def __init__(self):
        self.blobs = {}

    def blob(self, media_type, content, **more):
        digest = hashlib.sha256(content).hexdigest()
        self.blobs[digest] = content
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content), **more}

    def write(self, path, config, layers, annotations, reference, for_docker):
        manifest = {"schemaVersion": 2, "mediaType": f"{OCI}.manifest.v1+json", "config": config, "layers": layers, "annotations": annotations}
        name = {"org.opencontainers.image.ref.name": reference.partition(":")[2], "io.containerd.image.name": f"docker.io/{reference}"}
        entry = self.blob(manifest["mediaType"], compact(manifest), annotations=name)
        files = [("oci-layout", compact({"imageLayoutVersion": "1.0.0"}), 0o644, 0)]
        files.append(("index.json", compact({"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": [entry]}), 0o644, 0))
        if for_docker:
            place = [f"blobs/sha256/{one['digest'][7:]}" for one in [config, *layers]]
            files.append(("manifest.json", compact([{"Config": place[0], "RepoTags": [reference], "Layers": place[1:]}]), 0o644, 0))
        files += [("blobs", None, 0o755, 0), ("blobs/sha256", None, 0o755, 0)]
        files += [(f"blobs/sha256/{digest}", content, 0o644, 0) for digest, content in sorted(self.blobs.items())]
        path.write_bytes(tar(files))
        return entry["digest"]


def image(path, reference, files, config, annotations):
    """An image of one layer. The layer is compressed, as Istio asks of an image with a filter."""
    layout, layer = Layout(), tar(files)
    config = {
        "architecture": "amd64", "os": "linux", "config": {**config, "Labels": annotations},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
        "history": [{"created_by": "scripts/images.py"}],
    }  # fmt: skip
    packed = gzip.compress(layer, 9, mtime=0)
    layers = [layout.blob(f"{OCI}.layer.v1.tar+gzip", packed)]
    return layout.write(path, layout.blob(f"{OCI}.config.v1+json", compact(config)), layers, annotations, reference, True)


def artifact(path, reference, module, annotations):
    """Two layers: the form that Istio's and other proxies' agents fetch as an `oci` variant."""
    layout, kind = Layout(), "application/vnd.module.wasm"
    description = compact({"type": "envoy_proxy", "abiVersions": ["v0.2.1"], "config": {"rootIds": ["weir"]}})
    layers = [layout.blob(f"{kind}.config.v1+json", description), layout.blob(f"{kind}.content.layer.v1+wasm", module)]
    return layout.write(path, layout.blob(f"{OCI}.config.v1+json", b"{}"), layers, annotations, reference, False)


def folders(*paths):
    return [(path, None, 0o755, 0) for path in paths]


def main(out, weir, demo, filter_file, version, revision):
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    weir, demo, module = (Path(path).read_bytes() for path in (weir, demo, filter_file))

    def said(title):
        prefix = "org.opencontainers.image."
        said = {"title": title, "description": SOURCE, "version": version, "revision": revision, "licenses": "Apache-2.0"}
        return {prefix + key: value for key, value in said.items()}

    base = [*folders("etc", "etc/ssl", "etc/ssl/certs"), ("etc/passwd", f"weir:x:{USER}:{USER}::/:/\n".encode(), 0o644, 0)]
    if CERTIFICATES.is_file():
        base.append(("etc/ssl/certs/ca-certificates.crt", CERTIFICATES.read_bytes(), 0o644, 0))
    base += [("tmp", None, 0o1777, 0), *folders("var", "var/lib"), ("var/lib/weir", None, 0o750, USER), ("weir", weir, 0o755, 0)]
    user = f"{USER}:{USER}"
    controller = {
        "User": user, "Entrypoint": ["/weir"], "Cmd": ["serve"], "ExposedPorts": {"8181/tcp": {}},
        "Env": ["WEIR_LISTEN=0.0.0.0:8181", "WEIR_LEDGER=/var/lib/weir/weir.db"], "StopSignal": "SIGTERM", "WorkingDir": "/",
        "Healthcheck": {"Test": ["CMD", "/weir", "health"], "Interval": 5 * 10**9, "Timeout": 6 * 10**9, "StartPeriod": 5 * 10**9, "Retries": 3},
    }  # fmt: skip
    made = {}
    made["weir-controller"] = image(out / "weir-controller.tar", f"weir/controller:{version}", base, controller, said("weir-controller"))
    shop = {"User": user, "Entrypoint": ["/weir-demo"], "Cmd": ["--help"], "WorkingDir": "/"}
    made["weir-demo"] = image(out / "weir-demo.tar", f"weir/demo:{version}", [*base, ("weir-demo", demo, 0o755, 0)], shop, said("weir-demo"))
    plugin = [("plugin.wasm", module, 0o644, 0)]
    made["weir-filter"] = image(out / "weir-filter.tar", f"weir/filter:{version}", plugin, {}, said("weir-filter"))
    reference = f"weir/filter:{version}-artifact"
    made["weir-filter-artifact"] = artifact(out / "weir-filter-artifact.tar", reference, module, said("weir-filter"))
    (out / "weir-filter.wasm").write_bytes(module)

    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(out.iterdir()) if path.name != "SHA256SUMS"]
    (out / "SHA256SUMS").write_text("".join(sums))
    for name, digest in made.items():
        print(f"  {name}.tar  {round((out / f'{name}.tar').stat().st_size / 1e6, 1)} MB  {digest}")


if __name__ == "__main__":
    main(*sys.argv[1:])
