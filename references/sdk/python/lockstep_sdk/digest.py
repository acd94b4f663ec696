"""Digests of `lockstep/1`: a function (seed, bytes) → u64, chosen by name.

XXH64 needs the accelerator or the module `xxhash`, which are not parts of Python; BLAKE2b is always there and about
ten times slower.
"""

from hashlib import blake2b as _blake2b

from .accel import MODULE

try:
    from xxhash import xxh64_intdigest as _xxh64
except ImportError:
    _xxh64 = None


def blake2b(seed, data):
    state = _blake2b(seed.to_bytes(8, "little"), digest_size=8)
    state.update(data)
    return int.from_bytes(state.digest(), "little")


if MODULE is not None:
    DIGESTS = {"xxh64": MODULE.xxh64, "blake2b": blake2b}
elif _xxh64 is None:
    DIGESTS = {"blake2b": blake2b}
else:

    def xxh64(seed, data):
        return _xxh64(data, seed)

    DIGESTS = {"xxh64": xxh64, "blake2b": blake2b}


def choose(offered):
    """The fastest digest that both sides have, or None."""
    for name in DIGESTS:
        if name in offered:
            return name
    return None
