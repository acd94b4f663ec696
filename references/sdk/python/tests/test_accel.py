"""The accelerator answers every request with the bytes of the pure Python, errors included."""

import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import unittest
from array import array
from unittest import mock

from judge import CONFIGURATIONS, HERE, CounterLane, hello_of
from lockstep_sdk import accel, wire
from lockstep_sdk.digest import DIGESTS
from lockstep_sdk.serve import Session
from test_protocol import Loud

NO_GRAIN = 0xFFFFFFFF
BUILD = os.path.join(HERE, "..", "accel", "build.py")


@unittest.skipIf(accel.MODULE is not None, "the accelerator is loaded already")
class Building(unittest.TestCase):
    def test_all_tests_pass_with_an_accelerator_that_was_just_built(self):
        with tempfile.TemporaryDirectory() as folder:
            argv = [sys.executable, BUILD, os.environ.get("CC", "cc"), folder]
            built = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            if not os.listdir(folder):
                self.skipTest(f"no accelerator: {built.stdout.decode().strip()}")
            self.assertEqual((built.returncode, built.stdout), (0, b""))
            argv = [sys.executable, "-m", "unittest", "test_accel", "test_protocol", "test_vectors"]
            done = subprocess.run(
                argv, cwd=HERE, env={**os.environ, "LOCKSTEP_ACCEL": folder}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            self.assertEqual(done.returncode, 0, done.stdout.decode())


def pair(adapter, hello):
    """A session with the accelerator and one without; both have XXH64."""
    hello = json.dumps({**hello, "digests": ["xxh64"]}).encode()
    fast = Session(adapter)
    assert fast.answer(wire.HELLO, 0, 0, hello)[0] == wire.OK
    slow = Session(adapter)
    with mock.patch.object(accel, "MODULE", None):
        assert slow.answer(wire.HELLO, 0, 0, hello)[0] == wire.OK
    assert fast.layout.player is not None and slow.layout.player is None
    return fast, slow


@unittest.skipIf(accel.MODULE is None, "the accelerator is not loaded")
class Equal(unittest.TestCase):
    def ask(self, sessions, verb, body=b""):
        fast = sessions[0].answer(verb, 0, 0, body)
        with mock.patch.object(accel, "MODULE", None):
            slow = sessions[1].answer(verb, 0, 0, body)
        self.assertEqual(fast, slow)
        return fast

    def reset(self, sessions, lane=0, seed=1, episode=0, listed=None, mode=0):
        values = listed or []
        body = struct.pack("<IIIIQQII", mode, 1, lane, episode, seed, 2, int(listed is not None), len(values))
        return self.ask(sessions, wire.RESET, body + struct.pack(f"<{len(values)}I", *values))

    def steps(self, sessions, tokens, lane=0, mode=0, window=64, grain=NO_GRAIN):
        stride = sessions[0].layout.stride
        body = struct.pack("<IIIIII", mode, grain, window, lane, 1, len(tokens) // stride)
        answer = self.ask(sessions, wire.STEP_MANY, body + struct.pack(f"<{len(tokens)}I", *tokens))
        self.ask(sessions, wire.DRAWS, struct.pack("<II", lane, 0))
        self.ask(sessions, wire.SNAPSHOT, struct.pack("<II", 1, lane))
        return answer

    def test_conversations_are_equal_in_every_configuration_mode_and_grain(self):
        hellos = [hello_of(name) for name in CONFIGURATIONS]
        hellos.append(hello_of(resets="reference", episode_steps_max=7))
        hellos.append(hello_of(draws={"level": "served", "sites": [], "named": False}))
        hellos.append(hello_of(action={"kind": "discrete", "count": 4, "extra": 0, "mask": False}))
        hellos.append(hello_of("duel", action={"kind": "discrete", "count": 4, "extra": 3, "mask": True}))
        for number, hello in enumerate(hellos):
            source = random.Random(number)
            with self.subTest(hello["configuration"]["name"], number=number):
                sessions = pair(CounterLane, hello)
                agents = hello["agents"]
                blob = None
                for _ in range(40):
                    listed = [source.getrandbits(32) for _ in range(source.randrange(30))] if source.random() < 0.4 else None
                    lane = source.randrange(3)
                    self.reset(sessions, lane, source.getrandbits(64), source.randrange(5), listed, source.randrange(3))
                    for _ in range(source.randrange(4)):
                        tokens = [source.getrandbits(32) for _ in range(agents * source.randrange(60))]
                        detail = (0, 0, 0, 1, 2)[source.randrange(5)]
                        grain = NO_GRAIN if source.random() < 0.7 else 0
                        self.steps(sessions, tokens, lane, detail, source.randrange(1, 65), grain)
                        self.ask(sessions, wire.DRAWS, struct.pack("<IIII", lane, 1, 1, 5) if source.random() < 0.2 else b"")
                    status, reply = self.ask(sessions, wire.SNAPSHOT, struct.pack("<II", 1, lane))
                    if blob and source.random() < 0.5:
                        self.ask(sessions, wire.RESTORE, struct.pack("<III", 1, lane, len(blob)) + blob)
                        self.steps(sessions, [source.getrandbits(32) for _ in range(agents * 20)], lane)
                    blob = reply[4:] if status == wire.OK else blob
                    explain = {"lane": lane, "tokens": [source.getrandbits(32) for _ in range(agents)]}
                    self.ask(sessions, wire.EXPLAIN, json.dumps(explain).encode())

    def test_injected_lanes_go_on_equally(self):
        sessions = pair(CounterLane, hello_of())
        state, view = struct.pack("<iIiiII", 3, 1, 2, 0, 4, 0), struct.pack("<fff", 0.3, 2, 1)
        for state, index in ((state, 0), (state, 3), (state, 0xFFFFFFFF), (b"\xff" * 24, 0)):
            body = struct.pack("<IIIIIIQQIII", 0, 1, 1, 9, 4, index, 5, 6, 0, 0, len(state)) + state
            self.ask(sessions, wire.INJECT, body + struct.pack("<I", 12) + view)
            self.steps(sessions, [1, 3, 2, 7, 5, 1, 1, 1], 1)

    def test_faults_sound_equally_and_leave_the_lane_undefined(self):
        for fault in ("raise", "exit", "return", "rewards", "site", "observation", "deciders", "type", "range", "short"):
            with self.subTest(fault):
                adapter = type("Faulty", (Loud,), {})
                sessions = pair(adapter, hello_of())
                self.reset(sessions)
                adapter.fault = fault
                status, reply = self.steps(sessions, [0, 0, 1])
                self.assertEqual((status, json.loads(reply)["kind"]), (wire.ERROR, "exception"))
                adapter.fault = None
                status, reply = self.steps(sessions, [0])
                self.assertEqual((status, json.loads(reply)["kind"]), (wire.ERROR, "bad_request"))
                self.reset(sessions)
                self.steps(sessions, [0, 1, 2])

    def test_odd_values_are_packed_or_refused_as_struct_would(self):
        class Indexed:
            def __init__(self, value):
                self.value = value

            def __index__(self):
                return self.value

            def __float__(self):
                return self.value / 2

        fields = [{"name": f"x{place}", "dtype": dtype} for place, dtype in enumerate(
            ("u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64", "f32", "f64"))]
        fields += [{"name": "a", "dtype": "i16", "shape": [2]}, {"name": "r", "dtype": "region", "shape": [8]}]
        good = (1, -1, 2, -2, 3, -3, 4, -4, 0.5, 0.25, 5, -6, b"12345678")
        view = [{"name": "v", "dtype": "f32", "shape": [2]}]
        values = [0, 1, -1, 127, 128, -128, -129, 255, 256, 32767, 32768, -32769, 65535, 65536, 1 << 31, 1 << 32, -(1 << 31)]
        values += [-(1 << 31) - 1, 1 << 63, 1 << 64, -(1 << 63), -(1 << 63) - 1, 0.5, 1e39, -1e39, 3.4028235677973366e38]
        values += [1e-50, float("inf"), float("nan"), struct.unpack("<d", b"\x01\0\0\0\0\0\xf4\x7f")[0], True, None, "x"]
        values += [b"12345678", bytearray(b"abcdefgh"), memoryview(b"abcdefghij")[::1][:8], memoryview(bytes(16))[::2]]
        values += [array("i", [1, 2]), array("d", [2]), Indexed(3), (1, 2), [1.5, 2], ((1,), 2), {}, 1 << 2000]

        class Odd:
            legal_answer = (True,) * 4
            record_answer = good
            observations = (0.0, 1.0)
            deciders = 1
            answer = ([0.0], False, False)
            draw = None

            def __init__(self, setup, draws):
                self.draws = draws

            def reset(self, start):
                pass

            def step(self, actions, rows=None):
                if self.draw:
                    self.draw(self.draws)
                return self.answer

            def legal(self, agent):
                return self.legal_answer

            def record(self):
                return self.record_answer

        hello = hello_of(canonical=fields, observation=view)
        tries = [("record_answer", good[:at] + (value,) + good[at + 1 :]) for at in range(len(good)) for value in values]
        tries += [("record_answer", value) for value in (list(good), good[:-1], good + (1,), None, 5)]
        tries += [("observations", value) for value in values]
        tries += [("observations", (value, 1)) for value in values]
        tries += [("answer", ([value], False, False)) for value in values]
        tries += [("answer", value) for value in (None, (), (1, 2), ((1,), 0, 0), ((1, 2), 0, 0), [[1], 0, 0], ([1], [], [0]))]
        tries += [("answer", (value, True, False)) for value in ([1.0], (2,), {0.5: 1}, None, 3, "1")]
        tries += [("deciders", value) for value in (0, 1, 2, -1, True, 1 << 70, "1", None, [])]
        tries += [("legal_answer", value) for value in (0, 5, 15, 16, -1, (), (1, 0, 1, 0), (True,) * 5, None, "abcd", 1.0)]
        calls = [
            lambda d: d.below(5, "gust"), lambda d: d.below(bound=5, site="leap"), lambda d: d.below(5),
            lambda d: d.below(0), lambda d: d.below(1 << 32), lambda d: d.below((1 << 32) - 1), lambda d: d.below(-1),
            lambda d: d.below(True, None), lambda d: d.below(2.5), lambda d: d.below("x"), lambda d: d.below(3, "none"),
            lambda d: d.below(3, []), lambda d: d.below(), lambda d: d.below(1, 2, 3), lambda d: d.below(1, sight=3),
            lambda d: d.word("gust"), lambda d: d.word(site="leap"), lambda d: d.word(1, 2), lambda d: d.word(),
            lambda d: d.note(1 << 63, 5, "gust"), lambda d: d.note(-1, 5), lambda d: d.note(1, "x"), lambda d: d.note(1),
            lambda d: d.note(bound=5, value=3), lambda d: d.log.append(1), lambda d: d.log.clear(), lambda d: d.missing,
        ]  # fmt: skip
        tries += [("draw", staticmethod(call)) for call in calls]
        for name, value in tries:
            for listed in (None, [7, 0xFFFFFFFF]) if name == "draw" else (None,):
                with self.subTest(name=name, value=repr(value)[:60]):
                    adapter = type("Odd", (Odd,), {})
                    sessions = pair(adapter, hello)
                    self.reset(sessions, listed=listed)
                    setattr(adapter, name, value)
                    fast = sessions[0].answer(wire.STEP_MANY, 0, 0, struct.pack("<6I3I", 0, NO_GRAIN, 2, 0, 1, 3, 1, 2, 3))
                    with mock.patch.object(accel, "MODULE", None):
                        slow = sessions[1].answer(wire.STEP_MANY, 0, 0, struct.pack("<6I3I", 0, NO_GRAIN, 2, 0, 1, 3, 1, 2, 3))
                    self.assertEqual(fast, slow)

    def test_continuous_and_wide_actions_arrive_equally(self):
        class Sliders:
            deciders = 3

            def __init__(self, setup, draws):
                self.observations = [0.0] * 4

            def reset(self, start):
                self.observations = [0.0] * 4

            def step(self, actions):
                flat = [float(x) for one in actions for x in one]
                self.deciders = self.deciders % 3 + 1
                self.observations[:] = flat
                return flat[::2], False, False

            def canonical(self):
                return {"x": self.observations}

        field = [{"name": "x", "dtype": "f64", "shape": [4]}]
        view = [{"name": "x", "dtype": "f32", "shape": [2]}]
        for action in ({"kind": "continuous", "low": -1, "high": 1}, {"kind": "discrete", "count": 5, "extra": 7}):
            sessions = pair(Sliders, hello_of("duel", action=action, width=2, canonical=field, observation=view))
            source = random.Random(5)
            for _ in range(30):
                self.reset(sessions)
                self.steps(sessions, [source.getrandbits(32) for _ in range(4 * 60)])
                self.steps(sessions, [source.getrandbits(31) & 0x7EFFFFFF for _ in range(4 * 60)], window=7)

    def test_the_digest_is_xxh64_for_bytes_of_every_length(self):
        # Vectors for some lengths are in test_vectors; this walks over all tails.
        self.assertEqual(DIGESTS["xxh64"](0, b""), 0xEF46DB3751D8E999)
        self.assertEqual(len({DIGESTS["xxh64"](7, bytes(size)) for size in range(200)}), 200)

    def test_a_thousand_frames_keep_no_memory(self):
        sessions = pair(CounterLane, hello_of())
        session = sessions[0]
        body = struct.pack("<6I", 0, NO_GRAIN, 64, 0, 1, 50) + struct.pack("<50I", *range(50))
        reset = struct.pack("<IIIIQQII", 0, 1, 0, 0, 1, 2, 0, 0)
        counts = []
        for _ in range(3):
            for _ in range(300):
                session.answer(wire.RESET, 0, 0, reset)
                session.answer(wire.STEP_MANY, 0, 0, body)
            counts.append(sys.getallocatedblocks())
        self.assertLess(abs(counts[2] - counts[1]), 100)


if __name__ == "__main__":
    unittest.main()
