#!/usr/bin/env python3
"""Writes assignments.json: the golden vectors of assignment and of unit buckets, from an implementation of its own.

SipHash-1-3 with 64 and 128 bits of output is written here after the paper (Aumasson & Bernstein, 2012) and its reference's
128-bit variant; logarithms are CPython's. The vectors are a contract between releases: they are only ever added to.
"""

import json
import math
import pathlib

MASK = (1 << 64) - 1


def rotate(x, bits):
    return ((x << bits) | (x >> (64 - bits))) & MASK


def rounds(v, count):
    v0, v1, v2, v3 = v
    for _ in range(count):
        v0 = (v0 + v1) & MASK
        v1 = rotate(v1, 13) ^ v0
        v0 = rotate(v0, 32)
        v2 = (v2 + v3) & MASK
        v3 = rotate(v3, 16) ^ v2
        v0 = (v0 + v3) & MASK
        v3 = rotate(v3, 21) ^ v0
        v2 = (v2 + v1) & MASK
        v1 = rotate(v1, 17) ^ v2
        v2 = rotate(v2, 32)
    return [v0, v1, v2, v3]


def siphash13(k0, k1, message, wide=False):
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]
    if wide:
        v[1] ^= 0xEE
    padded = message + b"\0" * (7 - len(message) % 8) + bytes([len(message) & 0xFF])
    for at in range(0, len(padded), 8):
        word = int.from_bytes(padded[at : at + 8], "little")
        v[3] ^= word
        v = rounds(v, 1)
        v[0] ^= word
    v[2] ^= 0xEE if wide else 0xFF
    v = rounds(v, 3)
    low = v[0] ^ v[1] ^ v[2] ^ v[3]
    if not wide:
        return low
    v[1] ^= 0xDD
    v = rounds(v, 3)
    return low, v[0] ^ v[1] ^ v[2] ^ v[3]


def keyed(purpose, salt, name):
    return siphash13(0, 0, b"".join(part.encode() + b"\0" for part in (purpose, salt, name)), wide=True)


def hash_of(purpose, salt, name, key):
    low, high = siphash13(0, 0, key, wide=True)
    return siphash13(*keyed(purpose, salt, name), low.to_bytes(8, "little") + high.to_bytes(8, "little"))


def version_of(salt, versions, key):
    def score(version):
        h = ((hash_of("version", salt, version["name"], key) >> 12) + 0.5) / (1 << 52)
        return -version["weight"] / math.log(h)

    weighted = [version for version in versions if version["weight"]]
    return max(sorted(weighted, key=lambda version: version["name"]), key=score)["name"]


def takes_part_from(salt, key):
    """The smallest share of traffic, in parts per million, in which the key takes part."""
    return (hash_of("share", salt, "", key) * 1_000_000 >> 64) + 1


def bucket_of(salt, key):
    """The key's unit bucket, one of 16,384: the first 14 bits of a hash of its own."""
    return hash_of("bucket", salt, "", key) >> 50


def by_random(versions, random):
    point = random * sum(version["weight"] for version in versions) >> 64
    for version in versions:
        if point < version["weight"]:
            return version["name"]
        point -= version["weight"]


KEYS = [f"user-{number}".encode() for number in range(24)] + [
    b"a", b"\xff\xfe\x00\x80", "Zoë".encode(), b"x" * 1000, bytes(range(256)), b"7", b"77777777", b"777777777777777",
]
EXPERIMENTS = [
    ("salt", {"v1": 1, "v2": 1, "v3": 1}),
    ("salt", {"v1": 2, "v2": 1, "v3": 1}),
    ("another salt!", {"v1": 1, "v2": 1, "v3": 1}),
    ("3f9a", {"stable": 900_000, "canary": 100_000}),
    ("3f9a", {"stable": 500_000, "canary": 500_000}),
    ("3f9a", {"stable": 1_000_000, "canary": 0}),
    ("s", {f"v{number}": number * 1_000 for number in range(16)}),
]
RANDOM = [0, 1, MASK, MASK // 2, MASK // 3, 0x0123456789ABCDEF, 0xFEDCBA9876543210, 0x8000000000000000]

if __name__ == "__main__":
    # The example of the reference implementation's own vectors that both sides must meet first: SipHash-1-3 of nothing.
    assert siphash13(0x0706050403020100, 0x0F0E0D0C0B0A0908, b"") == 0xABAC0158050FC4DC
    experiments = []
    for salt, weights in EXPERIMENTS:
        versions = [{"name": name, "weight": weight} for name, weight in weights.items()]
        experiments.append({
            "salt": salt,
            "versions": versions,
            "byKey": [
                {
                    "keyHex": key.hex(),
                    "version": version_of(salt, versions, key),
                    "takesPartFrom": takes_part_from(salt, key),
                    "bucket": bucket_of(salt, key),
                }
                for key in KEYS
            ],
            "byRandom": [{"random": str(random), "version": by_random(versions, random)} for random in RANDOM],
        })
    path = pathlib.Path(__file__).with_name("assignments.json")
    path.write_text(json.dumps({"experiments": experiments}, indent=1) + "\n")
