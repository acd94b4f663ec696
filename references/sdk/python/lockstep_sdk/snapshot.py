"""Snapshots: a lane as bytes and back.

An environment that has no `snapshot` and `restore` of its own is pickled whole. Its draws belong to the lane and not to the
environment, so the pickle holds a mark in their place, and a restored environment finds those of its new lane.
"""

import copyreg
import io
import pickle
import struct
import sys
import types
from collections import ChainMap

from .digest import blake2b
from .errors import BadRequest

_SUM = struct.Struct("<Q")


def save(lane):
    env = lane.env
    if hasattr(env, "snapshot"):
        state = env.snapshot()
    else:
        state = env
    header = (lane.seed, lane.stream, lane.episode, lane.elapsed, lane.chain)
    target = io.BytesIO()
    _Pickler(target, lane.draws).dump((header, lane.draws.state(), state))
    data = target.getvalue()
    # A pickle of damaged bytes could do anything; the sum keeps accidents out.
    return _SUM.pack(blake2b(0, data)) + data


def load(lane, blob):
    blob = bytes(blob)
    if len(blob) < _SUM.size or _SUM.unpack_from(blob)[0] != blake2b(0, blob[_SUM.size :]):
        raise BadRequest("the blob is not a snapshot of this side")
    lane.ready = False
    header, draws, state = _Unpickler(io.BytesIO(blob[_SUM.size :]), lane.draws).load()
    lane.seed, lane.stream, lane.episode, lane.elapsed, lane.chain = header
    del lane.draws.log[:]
    lane.draws.start(*draws)
    if hasattr(lane.env, "restore"):
        lane.env.restore(state)
    else:
        lane.env = state
    lane.bind()
    lane.recall()
    lane.ready = True


def _reduce(method):
    """As `__reduce__`, but a method in C has the one name that its twin in Python has, so that their pickles are equal."""
    reduced = method.__reduce__()
    if isinstance(reduced, str):
        return reduced
    getter, (owner, name) = reduced
    return getter, (owner, sys.intern(name))


class _Pickler(pickle.Pickler):
    dispatch_table = ChainMap({types.BuiltinMethodType: _reduce}, copyreg.dispatch_table)

    def __init__(self, target, draws):
        super().__init__(target, protocol=4)
        self.draws = draws

    def persistent_id(self, value):
        return "draws" if value is self.draws else None


class _Unpickler(pickle.Unpickler):
    def __init__(self, source, draws):
        super().__init__(source)
        self.draws = draws

    def persistent_load(self, name):
        return self.draws
