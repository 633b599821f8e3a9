#!/usr/bin/env python3
"""Takes the schemas of the kinds that Weir prints out of Istio's published CRDs: schemas.json.

    python3 tests/istio/crds/generate.py "$(cd tests/istio/istiod && go list -m -f '{{.Dir}}' istio.io/istio)"

Needs PyYAML. Descriptions are left out, and nothing else: the rest is Istio's, Apache-2.0, Copyright Istio Authors.
"""

import json
import pathlib
import sys

import yaml

KINDS = {
    "AuthorizationPolicy", "DestinationRule", "EnvoyFilter", "Gateway", "PeerAuthentication", "ServiceEntry", "Sidecar",
    "VirtualService", "WasmPlugin",
}


def bare(schema, names=False):
    """A schema without descriptions; `names`: its keys are fields of a resource, of which one may be called so."""
    if isinstance(schema, dict):
        return {
            key: bare(value, key == "properties" and not names)
            for key, value in schema.items()
            if names or key != "description"
        }
    return [bare(entry) for entry in schema] if isinstance(schema, list) else schema


source = pathlib.Path(sys.argv[1])
schemas = {}
for crd in yaml.safe_load_all((source / "manifests/charts/base/files/crd-all.gen.yaml").read_text()):
    if crd and crd["spec"]["names"]["kind"] in KINDS:
        group, kind = crd["spec"]["group"], crd["spec"]["names"]["kind"]
        for version in crd["spec"]["versions"]:
            if version["storage"]:
                schemas[f"{group}/{version['name']} {kind}"] = bare(version["schema"]["openAPIV3Schema"])
assert len(schemas) == len(KINDS), schemas.keys()
lines = [f" {json.dumps(name)}: {json.dumps(schemas[name], sort_keys=True)}" for name in sorted(schemas)]
target = pathlib.Path(__file__).parent / "schemas.json"
target.write_text("{\n" + ",\n".join(lines) + "\n}\n")
