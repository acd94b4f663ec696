"""A small judge for the tests: speaks `lockstep/1` to an adapter over a socket pair, and takes its records apart."""

import copy
import json
import os
import socket
import struct
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
COUNTER = os.path.join(HERE, "..", "..", "..", "counter")
sys.path.insert(0, COUNTER)
sys.path.insert(0, os.path.join(HERE, ".."))

from adapter import CounterLane  # noqa: E402, F401
from lockstep_sdk import serve, wire  # noqa: E402

HELLO = {
    "protocol": "lockstep/1",
    "environment": "counter",
    "configuration": {
        "name": "default",
        "hash": "ab" * 32,
        "options": {"agents": 1, "limit": 10, "memory": 0, "draws": "served"},
    },
    "settings": {},
    "files": {},
    "lanes": 8,
    "agents": 1,
    "width": 1,
    "action": {"kind": "discrete", "count": 4, "extra": 0, "mask": True},
    "draws": {"level": "served", "sites": ["gust", "leap"], "named": True},
    "grains": [
        {
            "name": "pulse",
            "row": [{"name": "agent", "dtype": "u32", "shape": []}, {"name": "value", "dtype": "i32", "shape": []}],
        }
    ],
    "canonical": [
        {"name": "value", "dtype": "i32", "shape": []},
        {"name": "deciders", "dtype": "u32", "shape": []},
        {"name": "purse", "dtype": "i32", "shape": [2]},
        {"name": "tick", "dtype": "u32", "shape": []},
        {"name": "generator", "dtype": "u32", "shape": []},
    ],
    "observation": [{"name": "view", "dtype": "f32", "shape": [3]}],
    "reward": "f32",
    "resets": "harness",
    "episode_steps_max": 64,
    "digests": ["xxh64", "blake2b"],
}
CONFIGURATIONS = {
    "default": {},
    "duel": {"agents": 2},
    "tape": {"limit": 100, "memory": 65536},
    "exact": {"draws": "exact"},
    "recorded": {"draws": "recorded"},
}


def hello_of(configuration="default", **changes):
    hello = copy.deepcopy(HELLO)
    hello["configuration"]["name"] = configuration
    hello["configuration"]["options"].update(CONFIGURATIONS[configuration])
    hello["agents"] = hello["configuration"]["options"]["agents"]
    if configuration == "tape":
        hello["canonical"].append({"name": "memory", "dtype": "region", "shape": [65536]})
        hello["episode_steps_max"] = 256
    hello.update(changes)
    return hello


class Failure(Exception):
    """An error reply."""

    def __init__(self, reply):
        super().__init__(reply["error"])
        self.kind = reply["kind"]
        self.where = reply["where"]


class Judge:
    """Serves `adapter` in a thread and asks it; the hello is sent at once unless it is None."""

    def __init__(self, adapter, hello):
        self.near, far = socket.socketpair()
        self.sequence = 0
        self.status = None

        def run():
            self.status = serve(adapter, far.fileno(), far.fileno())
            far.close()

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()
        self.hello = hello
        self.about = json.loads(self.ask(wire.HELLO, json.dumps(hello).encode())) if hello else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        """Hangs up and returns the exit status."""
        self.near.close()
        self.thread.join(5)
        return self.status

    def ask(self, verb, body=b""):
        self.sequence += 1
        self.near.sendall(wire.HEADER.pack(b"LKS1", len(body), self.sequence, verb, 0, 0) + body)
        return self.reply(verb)

    def reply(self, verb):
        magic, size, sequence, said, status, reserved = wire.HEADER.unpack(self._exactly(16))
        body = self._exactly(size)
        assert (magic, sequence, said, reserved) == (b"LKS1", self.sequence, verb, 0)
        if status:
            raise Failure(json.loads(body))
        return body

    def _exactly(self, size):
        data = bytearray()
        while len(data) < size:
            part = self.near.recv(size - len(data))
            if not part:
                raise EOFError("the side hung up")
            data += part
        return bytes(data)

    def reset(self, lane=0, seed=1, stream=2, episode=0, listed=None, mode=0):
        values = listed or []
        body = struct.pack("<IIIIQQII", mode, 1, lane, episode, seed, stream, int(listed is not None), len(values))
        reply = self.ask(wire.RESET, body + struct.pack(f"<{len(values)}I", *values))
        return self._begun(reply, mode)

    def inject(self, state, observations, lane=0, seed=1, stream=2, episode=0, elapsed=0, index=0, mode=0):
        body = struct.pack("<IIIIIIQQII", mode, 1, lane, episode, elapsed, index, seed, stream, 0, 0)
        body += struct.pack("<I", len(state)) + state + struct.pack("<I", len(observations)) + observations
        return self._begun(self.ask(wire.INJECT, body), mode)

    def steps(self, tokens, lane=0, mode=0, window=64, grain=None):
        """One lane: (episodes ended, chains) in mode 0, else (episodes ended, [(record, rows)])."""
        stride = self.hello["agents"] * self.hello["width"]
        number = 0xFFFFFFFF if grain is None else grain
        body = struct.pack("<IIIIII", mode, number, window, lane, 1, len(tokens) // stride)
        reply = self.ask(wire.STEP_MANY, body + struct.pack(f"<{len(tokens)}I", *tokens))
        if mode == 0:
            count = (len(reply) - 4) // 8
            ended, *chains = struct.unpack(f"<I{count}Q", reply)
            return ended, chains
        ended, count = struct.unpack_from("<II", reply)
        records, at = [], 8
        for _ in range(count):
            record, at = sized(reply, at)
            rows = None
            if grain is not None:
                rows, at = sized(reply, at)
            records.append((record, rows))
        assert at == len(reply)
        return ended, records

    def snapshot(self, lane=0):
        reply = self.ask(wire.SNAPSHOT, struct.pack("<II", 1, lane))
        return sized(reply, 0)[0]

    def restore(self, blob, lane=0):
        assert self.ask(wire.RESTORE, struct.pack("<III", 1, lane, len(blob)) + blob) == b""

    def draws(self, lane=0):
        reply = self.ask(wire.DRAWS, struct.pack("<II", lane, 0))
        return list(struct.iter_unpack("<IQQ", reply[4:]))

    def _begun(self, reply, mode):
        if mode == 0:
            return struct.unpack("<Q", reply)[0]
        record, at = sized(reply, 0)
        assert at == len(reply)
        return record


def sized(data, at):
    size = struct.unpack_from("<I", data, at)[0]
    return data[at + 4 : at + 4 + size], at + 4 + size


def parts(record, hello, mode=1, grain=False):
    """A record as a dict: kind, terminated, truncated, deciders, draws, state, masks, observations, rewards (bytes)."""
    head, count = struct.unpack_from("<II", record)
    at = 8 + 20 * count
    found = {
        "kind": head & 255,
        "terminated": bool(head & 256),
        "truncated": bool(head & 512),
        "deciders": head >> 16,
        "draws": list(struct.iter_unpack("<IQQ", record[8:at])),
    }
    if grain and found["kind"] == 0:
        found["rows"] = struct.unpack_from("<IQ", record, at)
        at += 12
    agents = hello["agents"]
    tail = agents * (4 + 12 + 4)
    found["state"] = record[at : len(record) - tail]
    at = len(record) - tail
    found["masks"] = struct.unpack_from(f"<{agents}I", record, at)
    found["observations"] = record[at + 4 * agents : at + 16 * agents]
    found["rewards"] = struct.unpack_from(f"<{agents}f", record, at + 16 * agents)
    return found


