"""Measures what Lockstep costs an adapter in Python: CPU time in lockstep (digests) against the bare environment.

    python3 measure.py [LANES STEPS RUNS]

The slower references are counter with so many microseconds of arithmetic added to each step. Both ways of playing take
the same tokens in one process, alternating; a line gives the medians and the spread of their ratio.
"""

import json
import os
import random
import statistics
import struct
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "..", "counter"))

import adapter as counter_adapter  # noqa: E402
from lockstep_sdk import wire  # noqa: E402
from lockstep_sdk.bare import bare, example  # noqa: E402
from lockstep_sdk.schema import Setup  # noqa: E402
from lockstep_sdk.serve import Session  # noqa: E402

FIELDS = [
    {"name": "value", "dtype": "i32", "shape": []},
    {"name": "deciders", "dtype": "u32", "shape": []},
    {"name": "purse", "dtype": "i32", "shape": [2]},
    {"name": "tick", "dtype": "u32", "shape": []},
    {"name": "generator", "dtype": "u32", "shape": []},
]
MEMORY = {"name": "memory", "dtype": "region", "shape": [65536]}
VIEW = [{"name": "view", "dtype": "f32", "shape": [3]}]


def slower(turns):
    class Slower(counter_adapter.CounterLane):
        def step(self, actions, pulses=None):
            x = 1
            for _ in range(turns):
                x = x * 5 + 1 & 255
            return counter_adapter.CounterLane.step(self, actions, pulses)

    return Slower


def measure(name, adapter, options, lanes, steps, runs):
    hello = example(adapter, options)
    hello.update(lanes=lanes, canonical=FIELDS + [MEMORY] if options.get("memory") else FIELDS, observation=VIEW)
    source = random.Random(1)
    count = lanes * steps * hello["agents"]
    tokens = [source.getrandbits(32) for _ in range(count)]
    packed = struct.pack(f"<{count}I", *tokens)
    bares, locks = [], []
    for _ in range(runs):
        bares.append(bare(adapter, Setup(hello), tokens, lanes, steps)["cpu_seconds"])
        session = Session(adapter)
        ask(session, wire.HELLO, json.dumps(hello).encode())
        ask(
            session,
            wire.RESET,
            struct.pack("<II", 0, lanes) + b"".join(struct.pack("<IIQQII", n, 0, 1, n, 0, 0) for n in range(lanes)),
        )
        body = struct.pack("<IIIIII", 0, 0xFFFFFFFF, 64, 0, lanes, steps) + packed
        begin = time.process_time()
        ask(session, wire.STEP_MANY, body)
        locks.append(time.process_time() - begin)
    ratios = sorted(lock / alone for lock, alone in zip(locks, bares))
    per_step = 1e6 / (lanes * steps)
    print(
        f"{name:28} bare {statistics.median(bares) * per_step:7.2f} us  "
        f"lockstep {statistics.median(locks) * per_step:7.2f} us  "
        f"ratio {statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})  {session.setup.digest}"
    )


def ask(session, verb, body):
    status, reply = session.answer(verb, 0, 0, body)
    if status:
        sys.exit(f"error: {reply.decode()}")
    return reply


def main():
    lanes, steps, runs = [int(value) for value in sys.argv[1:4]] or (64, 512, 5)
    lane = counter_adapter.CounterLane
    print(f"Python {sys.version.split()[0]}, {lanes} lanes of {steps} steps, {runs} runs")
    measure("counter", lane, {}, lanes, steps, runs)
    measure("counter, own generator", lane, {"draws": "exact"}, lanes, steps, runs)
    measure("counter, duel", lane, {"agents": 2}, lanes, steps, runs)
    measure("counter, 5 us slower", slower(80), {}, lanes, steps, runs)
    measure("counter, 20 us slower", slower(340), {}, lanes, steps, runs)
    measure("counter, region of 64 KiB", lane, {"memory": 65536, "limit": 100}, 2, 128, runs)


if __name__ == "__main__":
    main()
