"""Writes references/sdk/vectors.json, which every SDK tests itself against.

Nothing here comes from an SDK: Threefry is spelt out once more, word by word, XXH64 comes from the module `xxhash`, which
this script needs (`pip install xxhash`), and tokens are decoded by the sentences of docs/protocol.md.
"""

import hashlib
import json
import os
import struct

import xxhash

M = 0xFFFFFFFF
ROTATIONS = ((10, 26), (11, 21), (13, 27), (23, 5), (6, 20), (17, 11), (25, 10), (18, 20))


def threefry(key, counter):
    keys = list(key) + [key[0] ^ key[1] ^ key[2] ^ key[3] ^ 0x1BD11BDA]
    x = [(c + k) & M for c, k in zip(counter, key)]
    for turn in range(20):
        one, three = (1, 3) if turn % 2 == 0 else (3, 1)
        for even, odd, by in ((0, one, ROTATIONS[turn % 8][0]), (2, three, ROTATIONS[turn % 8][1])):
            x[even] = (x[even] + x[odd]) & M
            x[odd] = (x[odd] << by | x[odd] >> 32 - by) & M ^ x[even]
        if turn % 4 == 3:
            s = turn // 4 + 1
            x = [(x[i] + keys[(s + i) % 5] + (s if i == 3 else 0)) & M for i in range(4)]
    return x


def draw(seed, stream, episode, index):
    key = (seed & M, seed >> 32, stream & M, stream >> 32)
    return threefry(key, (index >> 2, episode, 0, 0))[index & 3]


def blake2b(seed, data):
    return int.from_bytes(hashlib.blake2b(struct.pack("<Q", seed) + data, digest_size=8).digest(), "little")


def chain(digest, seed, parts):
    for part in parts:
        seed = digest(seed, part)
    return seed


def discrete(token, count, extra, legal):
    if extra and token >> 31:
        return count + (token & 0x7FFFFFFF) % extra
    if legal is None:
        return token % count
    return legal[token % len(legal)] if legal else 0


def hex64(value):
    return f"{value:#018x}"


def main():
    known = [
        ([0] * 4, [0] * 4, [0x9C6CA96A, 0xE17EAE66, 0xFC10ECD4, 0x5256A7D8]),
        ([M] * 4, [M] * 4, [0x2A881696, 0x57012287, 0xF6C7446E, 0xA16A6732]),
        (
            [0xA4093822, 0x299F31D0, 0x082EFA98, 0xEC4E6C89],
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0x59CD1DBB, 0xB8879579, 0x86B5D00C, 0xAC8B6D84],
        ),
    ]
    for key, counter, words in known:
        assert threefry(key, counter) == words, (key, counter)
    seeds = [(0, 0), (1, 0), (0, 1), (0x0123456789ABCDEF, 0xFEDCBA9876543210), (2**64 - 1, 2**64 - 1)]
    bounds = [1, 2, 3, 6, 10, 1 << 16, 1 << 31, M]
    draws = []
    for place, (seed, stream) in enumerate(seeds):
        for episode in (0, 1, 7, M):
            for index in (0, 1, 2, 3, 4, 15, 16, 17, 63, 64, 81, 1000, M):
                word = draw(seed, stream, episode, index)
                bound = bounds[(place + episode + index) % len(bounds)]
                draws.append(
                    {
                        "seed": hex64(seed),
                        "stream": hex64(stream),
                        "episode": episode,
                        "index": index,
                        "word": word,
                        "bound": bound,
                        "below": word * bound >> 32,
                    }
                )
    texts = [b"", b"a", b"abc", bytes(range(31)), bytes(range(32)), bytes(range(33)), b"lockstep" * 25, bytes(range(256)) * 3]
    digest_seeds = [0, 1, 0x0123456789ABCDEF, 2**64 - 1]
    digests = [
        {
            "seed": hex64(seed),
            "bytes": text.hex(),
            "xxh64": hex64(xxhash.xxh64_intdigest(text, seed)),
            "blake2b": hex64(blake2b(seed, text)),
        }
        for text in texts
        for seed in digest_seeds
    ]
    chains = [
        {
            "seed": hex64(seed),
            "parts": [part.hex() for part in parts],
            "xxh64": hex64(chain(lambda s, b: xxhash.xxh64_intdigest(b, s), seed, parts)),
            "blake2b": hex64(chain(blake2b, seed, parts)),
        }
        for seed, parts in ((0, texts), (0, [b"", b""]), (2**64 - 1, texts[::-1]))
    ]
    tokens = [0, 1, 2, 3, 5, 1000, 0x7FFFFFFF, 0x80000000, 0x80000001, 0x80000005, M]
    cases = []
    for count, extra, legal in (
        (4, 0, None),
        (4, 0, [0, 1]),
        (4, 0, [1, 3]),
        (4, 0, [2]),
        (4, 0, []),
        (4, 3, None),
        (4, 3, [0, 2, 3]),
        (4, 3, []),
        (40, 0, [0, 31, 32, 39]),
        (1, 0, None),
    ):
        for token in tokens:
            case = {"count": count, "extra": extra, "token": token, "action": discrete(token, count, extra, legal)}
            if legal is not None:
                case["legal"] = legal
            cases.append(case)
    floats = []
    for value in (0.0, -0.0, 1.0, -1.0, 0.5, -0.1, 3.4028234663852886e38, 1e-45, float("inf"), float("-inf"), float("nan")):
        bits = struct.unpack("<I", struct.pack("<f", value))[0]
        token = (bits << 1 | bits >> 31) & M
        floats.append({"token": token, "bits": bits, "accepted": value == value and abs(value) != float("inf")})
    vectors = {
        "format": "lockstep/vectors/1",
        "about": "u64 are strings of 16 hex digits, bytes are hex, all else are numbers; written by python/tests/make_vectors.py",
        "threefry4x32_20": [{"key": key, "counter": counter, "words": words} for key, counter, words in known],
        "draws_seeded": draws,
        "draws_listed": [
            {"values": [7, 0, M], "bounds": [3, 1 << 32, 10, 5, 1 << 32], "results": [1, 0, 5, 0, 0]},
        ],
        "digests": digests,
        "chains": chains,
        "tokens_discrete": cases,
        "tokens_continuous": floats,
    }
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "vectors.json")
    with open(path, "w", encoding="utf-8") as file:
        file.write("{\n")
        for place, (name, value) in enumerate(vectors.items()):
            comma = "," if place < len(vectors) - 1 else ""
            if isinstance(value, list):
                lines = ",\n    ".join(json.dumps(each) for each in value)
                file.write(f'  "{name}": [\n    {lines}\n  ]{comma}\n')
            else:
                file.write(f'  "{name}": {json.dumps(value)}{comma}\n')
        file.write("}\n")


if __name__ == "__main__":
    main()
