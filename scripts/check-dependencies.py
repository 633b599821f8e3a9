#!/usr/bin/env python3
"""Dependencies point one way, the pure crates stay pure, and deny.toml is kept. Exit status 1 names every breach.

Owns the rules between our own crates and what the pure ones may not reach; licences, bans and sources are deny.toml's.
"""

import json
import re
import subprocess
import sys

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10: pip carries the same parser.
    from pip._vendor import tomli as tomllib

# Which crates of ours each may name, in any kind of dependency. A crate that is not here is a breach: decide first.
LOCAL = {
    "weir-core": set(),
    "weir-stats": set(),
    "weir-envoy": {"weir-core"},
    "weir-filter": {"weir-core", "weir-envoy"},
    "weir-filter-host": {"weir-core"},
    "weir-engine": {"weir-core", "weir-stats"},
    "weir-simulator": {"weir-core", "weir-stats", "weir-engine"},
    "weir-render": {"weir-core", "weir-engine"},
    "weir-controller": {"weir-core", "weir-engine", "weir-render", "weir-simulator"},
    "weir-calibration": {"weir-core", "weir-engine", "weir-simulator"},
    "weir-tests": {"weir-core"},
    "weir-demo": {"weir-core", "weir-tests"},
    "weir-bench": {"weir-core", "weir-tests"},
    "weir-noop-filter": set(),
    "weir-trap-filter": {"weir-core", "weir-envoy"},
    "weir-bare-filter": set(),
    "weir-floor-filter": set(),
}

# Decisions, statistics and the request path are functions: what they need comes in as parameters.
PURE = ["weir-core", "weir-stats", "weir-engine"]
IMPURE = {
    "the network or another thread": ["tokio", "mio", "socket2", "hyper", "axum", "h2", "reqwest", "ureq", "rayon", "smol"],
    "the disk": ["rusqlite", "libsqlite3-sys", "tempfile", "rustix"],
    "the clock": ["chrono", "time", "jiff", "web-time", "instant"],
    "the operating system's randomness": ["getrandom", "fastrand", "uuid"],
    "a host": ["proxy-wasm", "wasm-bindgen", "js-sys", "web-sys", "libc"],
    "untyped errors": ["anyhow", "eyre"],
}


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def local_breaches(metadata):
    ours = {package["name"]: package for package in metadata["packages"] if package["id"] in metadata["workspace_members"]}
    for name, package in sorted(ours.items()):
        if name not in LOCAL:
            yield f"{name} has no rule: say in {sys.argv[0]} which crates of ours it may name"
            continue
        named = {dependency["name"] for dependency in package["dependencies"]} & set(ours)
        for other in sorted(named - LOCAL[name]):
            allowed = ", ".join(sorted(LOCAL[name])) or "none of ours"
            yield f"{name} depends on {other}; it may depend on: {allowed}"


def purity_breaches():
    why = {crate: reason for reason, crates in IMPURE.items() for crate in crates}
    for name in PURE:
        # cargo tree, not the metadata: features are resolved for this crate alone, as they are when it is built for Wasm.
        tree = run("cargo", "tree", "-p", name, "-e", "normal,build", "--target", "all", "--prefix", "none", "-f", "{p}")
        reached = {line.split()[0] for line in tree.splitlines() if line.strip()}
        for crate in sorted(reached & set(why)):
            yield f"{name} reaches {crate} ({why[crate]}), but is pure; see: cargo tree -p {name} -e normal,build -i {crate}"


def ban_breaches(metadata, bans):
    names = {package["id"]: package["name"] for package in metadata["packages"]}
    for ban in bans:
        crate, wrappers = ban["crate"], set(ban.get("wrappers", []))
        present = any(name == crate for name in names.values())
        parents = {
            names[node["id"]]
            for node in metadata["resolve"]["nodes"]
            for dependency in node["deps"]
            if names[dependency["pkg"]] == crate
        }
        for parent in sorted(parents - wrappers) if present else []:
            yield f"{parent} depends on {crate}, which deny.toml bans there: {ban['reason']}"


def accepts(expression, allowed):
    """Whether an SPDX expression can be met with allowed licences only."""
    tokens = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))

    def either():
        value = both()
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            value = both() or value
        return value

    def both():
        value = one()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            value = one() and value
        return value

    def one():
        token = tokens.pop(0)
        if token == "(":
            value = either()
            tokens.pop(0)
            return value
        if tokens and tokens[0] == "WITH":
            token = f"{token} {tokens.pop(0)} {tokens.pop(0)}"
        return token in allowed

    return either()


def licence_breaches(metadata, allowed):
    for package in metadata["packages"]:
        if not accepts(package["license"] or "none", allowed):
            yield f"{package['name']} {package['version']} is under {package['license'] or 'no licence'}, which deny.toml does not allow"


def source_breaches(metadata):
    for package in metadata["packages"]:
        if package["source"] not in (None, "registry+https://github.com/rust-lang/crates.io-index"):
            yield f"{package['name']} comes from {package['source']}, not from crates.io"


def main():
    with open("deny.toml", "rb") as file:
        deny = tomllib.load(file)
    metadata = json.loads(run("cargo", "metadata", "--format-version", "1"))
    breaches = [
        *local_breaches(metadata),
        *purity_breaches(),
        *ban_breaches(metadata, deny["bans"]["deny"]),
        *licence_breaches(metadata, set(deny["licenses"]["allow"])),
        *source_breaches(metadata),
    ]
    for breach in breaches:
        print(f"dependency rule broken: {breach}", file=sys.stderr)
    if not breaches:
        print(f"dependency rules kept by {len(metadata['packages'])} packages")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
