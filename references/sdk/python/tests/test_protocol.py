"""Whole conversations with the counter adapter and with adapters that misbehave."""

import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import unittest

from judge import CONFIGURATIONS, COUNTER, CounterLane, Failure, Judge, hello_of, parts
from counter import Counter
from lockstep_sdk import wire
from lockstep_sdk.digest import DIGESTS

TOKENS = [random.Random(7).getrandbits(32) for _ in range(400)]


def f32(value):
    return struct.unpack("f", struct.pack("f", value))[0]


class Conversation(unittest.TestCase):
    def test_hello_answers_with_the_sizes_of_all_parts(self):
        with Judge(CounterLane, hello_of("tape")) as judge:
            about = judge.about
            self.assertEqual(about["configuration_hash"], "ab" * 32)
            self.assertEqual((about["canonical_bytes"], about["state_bytes"]), (32, 24 + 65536))
            self.assertEqual((about["observation_bytes"], about["mask_bytes"], about["reward_bytes"]), (12, 4, 4))
            self.assertEqual(about["row_bytes"], [8])
            self.assertEqual(about["capabilities"]["inject"], "full")

    def test_reset_record_shows_the_start_and_its_digest_is_the_chain(self):
        with Judge(CounterLane, hello_of()) as judge:
            record = judge.reset(mode=1)
            found = parts(record, judge.hello)
            self.assertEqual((found["kind"], found["deciders"], found["draws"], found["masks"]), (1, 1, [], (3,)))
            self.assertEqual(struct.unpack("<iIiiII", found["state"]), (0, 1, 0, 0, 0, 0))
            self.assertEqual(judge.reset(mode=0), DIGESTS[judge.about["digest"]](0, record))

    def test_a_turn_up_pays_a_tenth_as_a_single_and_logs_its_gust(self):
        with Judge(CounterLane, hello_of()) as judge:
            judge.reset()
            _, [(record, _)] = judge.steps([1], mode=1)
            found = parts(record, judge.hello)
            [(site, bound, value)] = found["draws"]
            self.assertEqual((site, bound), (0, 3))
            self.assertEqual(struct.unpack_from("<i", found["state"])[0], 1 + value)
            self.assertEqual(found["rewards"], (f32(0.1),))
            self.assertEqual(judge.draws(), found["draws"])

    def test_all_modes_advance_the_chain_equally_in_every_configuration(self):
        for configuration in CONFIGURATIONS:
            with self.subTest(configuration), Judge(CounterLane, hello_of(configuration)) as judge:
                tokens = TOKENS[:60] if configuration == "tape" else TOKENS
                digest = DIGESTS[judge.about["digest"]]
                chain = judge.reset()
                ended, chains = judge.steps(tokens, window=7)
                plain_draws = judge.draws()
                judge.reset()
                ended_full, records = judge.steps(tokens, mode=1, window=7)
                self.assertEqual(ended, ended_full)
                self.assertEqual(judge.draws(), plain_draws)
                windows, step_count = [b""], 0
                for record, _ in records:
                    if parts(record, judge.hello)["kind"] == 0:
                        if step_count and step_count % 7 == 0:
                            windows.append(b"")
                        step_count += 1
                    windows[-1] += record
                for window, expected in zip(windows, chains):
                    chain = digest(chain, window)
                    self.assertEqual(chain, expected)
                self.assertEqual(len(windows), len(chains))
                # The next window goes on from the same chain.
                judge.reset(lane=1)
                judge.steps(tokens, lane=1, mode=2, window=7)
                self.assertEqual(judge.steps([1, 2], lane=0), judge.steps([1, 2], lane=1))

    def test_an_episode_that_ends_is_followed_by_a_reset_record(self):
        with Judge(CounterLane, hello_of()) as judge:
            judge.reset()
            ended, records = judge.steps(TOKENS, mode=1)
            kinds = [parts(record, judge.hello) for record, _ in records]
            self.assertEqual(ended, sum(found["kind"] == 1 for found in kinds))
            self.assertGreater(ended, 5)
            for before, after in zip(kinds, kinds[1:]):
                self.assertEqual(after["kind"] == 1, before["terminated"] or before["truncated"])
            # The draws of an episode come from its own counter: episode 3 alone draws the same.
            starts = [place for place, found in enumerate(kinds) if found["kind"] == 1]
            drawn = [draw for found in kinds[starts[2] + 1 : starts[3] + 1] for draw in found["draws"]]
            steps_before = sum(found["kind"] == 0 for found in kinds[: starts[2]])
            steps = sum(found["kind"] == 0 for found in kinds[starts[2] : starts[3]])
            judge.reset(episode=3)
            judge.steps(TOKENS[steps_before : steps_before + steps])
            self.assertEqual(judge.draws(), drawn)

    def test_truncation_comes_with_the_last_step(self):
        with Judge(CounterLane, hello_of(episode_steps_max=5)) as judge:
            judge.reset()
            ended, records = judge.steps([0] * 11, mode=1)
            self.assertEqual(ended, 2)
            flags = [parts(record, judge.hello)["truncated"] for record, _ in records]
            self.assertEqual(flags, ([False] * 4 + [True, False]) * 2 + [False])

    def test_a_reference_that_resets_itself_writes_no_reset_record(self):
        class Endless(CounterLane):
            def step(self, actions, rows=None):
                answer = super().step(actions, rows)
                if answer[1] or answer[2]:
                    CounterLane.reset(self, self.start)
                return answer

            def reset(self, start):
                self.start = start
                super().reset(start)

        with Judge(Endless, hello_of(resets="reference", episode_steps_max=3)) as judge:
            judge.reset()
            ended, records = judge.steps([0] * 9, mode=1)
            self.assertEqual((ended, len(records)), (3, 9))
            found = parts(records[2][0], judge.hello)
            self.assertTrue(found["truncated"])
            self.assertEqual(struct.unpack("<iIiiII", found["state"])[4], 0)
            judge.reset()
            self.assertEqual(judge.steps([0] * 9)[0], 3)

    def test_rows_follow_each_record_and_enter_the_chain(self):
        with Judge(CounterLane, hello_of()) as judge:
            judge.reset()
            _, records = judge.steps(TOKENS[:50], mode=1, grain=0)
            digest = DIGESTS[judge.about["digest"]]
            for record, rows in records:
                found = parts(record, judge.hello, grain=True)
                if found["kind"] == 1:
                    self.assertEqual(rows, b"")
                    continue
                self.assertEqual(found["rows"], (len(rows) // 8, digest(0, rows)))
            self.assertTrue(any(rows for _, rows in records))
            judge.reset(lane=1)
            _, chains = judge.steps(TOKENS[:50], lane=1, grain=0)
            chain = judge.reset(lane=2)
            self.assertEqual(chains[0], digest(chain, b"".join(record for record, _ in records)))

    def test_the_state_form_has_the_region_in_full_and_the_record_its_digest(self):
        with Judge(CounterLane, hello_of("tape")) as judge:
            full, state = judge.reset(mode=1), judge.reset(mode=2)
            self.assertEqual(len(state) - len(full), 65536 - 8)
            memory = parts(state, judge.hello)["state"][24:]
            self.assertEqual(parts(full, judge.hello)["state"][24:], struct.pack("<Q", DIGESTS[judge.about["digest"]](0, memory)))

    def test_lanes_do_not_disturb_each_other(self):
        with Judge(CounterLane, hello_of("duel")) as judge:
            alone = []
            for lane in range(4):
                judge.reset(lane, seed=9, stream=lane)
                alone.append(judge.steps(TOKENS[: 100 * (lane + 1) // 2 * 2], lane, window=1)[1])
            for lane in range(4):
                judge.reset(lane + 4, seed=9, stream=lane)
            together = [[] for _ in range(4)]
            for at in range(0, 400, 2):
                for lane in (3, 1, 0, 2):
                    if at < 100 * (lane + 1):
                        together[lane] += judge.steps(TOKENS[at : at + 2], lane + 4, window=1)[1]
            self.assertEqual(alone, together)
            # And all at once, in one frame.
            body = struct.pack("<II", 0, 4)
            body += b"".join(struct.pack("<IIQQII", lane, 0, 9, lane, 0, 0) for lane in range(4))
            judge.ask(wire.RESET, body)
            tokens = struct.pack("<100I", *TOKENS[:100])
            reply = judge.ask(wire.STEP_MANY, struct.pack("<IIIIII", 0, 0xFFFFFFFF, 50, 0, 4, 50) + tokens * 4)
            for lane in range(4):
                judge.reset(lane, seed=9, stream=lane)
                chains = judge.steps(TOKENS[:100], lane, window=50)[1]
                self.assertEqual(struct.unpack_from("<Q", reply, 12 * lane + 4)[0], chains[0])

    def test_listed_draws_are_used_and_can_be_appended(self):
        with Judge(CounterLane, hello_of()) as judge:
            judge.reset(listed=[5])
            judge.steps([1, 1])
            self.assertEqual(judge.draws(), [(0, 3, 2), (0, 3, 0)])
            judge.reset(listed=[5])
            judge.ask(wire.DRAWS, struct.pack("<IIII", 0, 1, 1, 4))
            judge.steps([1, 1])
            self.assertEqual(judge.draws(), [(0, 3, 2), (0, 3, 1)])
            judge.reset()
            judge.ask(wire.DRAWS, struct.pack("<IIIII", 0, 1, 2, 4, 5))
            judge.steps([1, 1])
            self.assertEqual(judge.draws(), [(0, 3, 1), (0, 3, 2)])

    def test_unnamed_draws_have_no_site(self):
        with Judge(CounterLane, hello_of(draws={"level": "served", "sites": [], "named": False})) as judge:
            judge.reset()
            judge.steps([1])
            self.assertEqual(judge.draws()[0][0], 0xFFFFFFFF)

    def test_a_real_process_serves_on_three_and_four_and_its_prints_do_no_harm(self):
        import socket

        near, far = socket.socketpair()

        def descriptors():
            spare = os.dup(far.fileno())
            os.dup2(spare, 3)
            os.dup2(spare, 4)

        with tempfile.TemporaryDirectory() as folder:
            script = os.path.join(folder, "loud.py")
            with open(script, "w", encoding="utf-8") as file:
                file.write(f"import sys\nsys.path.insert(0, {COUNTER!r})\nfrom adapter import CounterLane, lockstep_sdk\n")
                file.write("print('hello from the log')\nlockstep_sdk.main(CounterLane)\n")
            child = subprocess.Popen(
                [sys.executable, script], preexec_fn=descriptors, pass_fds=(3, 4), close_fds=True, stdout=subprocess.PIPE
            )
            far.close()
            judge = Judge.__new__(Judge)
            judge.near, judge.sequence, judge.hello = near, 0, hello_of()
            judge.about = json.loads(judge.ask(wire.HELLO, json.dumps(judge.hello).encode()))
            chain = judge.reset()
            judge.steps(TOKENS)
            self.assertEqual(judge.ask(wire.CLOSE), b"")
            self.assertEqual(child.wait(5), 0)
            self.assertIn(b"hello from the log", child.stdout.read())
            child.stdout.close()
            near.close()
        with Judge(CounterLane, hello_of()) as other:
            self.assertEqual(other.reset(), chain)

    def test_bare_mode_counts_steps_without_a_judge(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "tokens")
            with open(path, "wb") as file:
                file.write(struct.pack(f"<{len(TOKENS)}I", *TOKENS))
            adapter = os.path.join(COUNTER, "adapter.py")
            argv = [sys.executable, adapter, "--bare-tokens", path, "2", "100", "--options", '{"agents": 2}']
            done = subprocess.run(argv, stdout=subprocess.PIPE, check=True)
            answer = json.loads(done.stdout)
            self.assertEqual(answer["steps"], 200)
            self.assertGreater(answer["cpu_seconds"], 0)


class Returning(unittest.TestCase):
    def test_a_restored_lane_goes_on_with_equal_digests_in_every_configuration(self):
        for configuration in CONFIGURATIONS:
            with self.subTest(configuration), Judge(CounterLane, hello_of(configuration)) as judge:
                judge.reset()
                judge.steps(TOKENS[:34])
                blob = judge.snapshot()
                expected = judge.steps(TOKENS[34:80], window=8)
                judge.restore(blob)
                self.assertEqual(judge.steps(TOKENS[34:80], window=8), expected)
                # In another lane, that has never been used, too.
                judge.restore(blob, lane=5)
                self.assertEqual(judge.steps(TOKENS[34:80], lane=5, window=8), expected)
                self.assertEqual(judge.draws(5), judge.draws(0))

    def test_a_snapshot_serves_in_another_process(self):
        with Judge(CounterLane, hello_of()) as one, Judge(CounterLane, hello_of()) as two:
            one.reset()
            one.steps(TOKENS[:5])
            two.restore(one.snapshot(), lane=3)
            self.assertEqual(one.steps(TOKENS[5:]), two.steps(TOKENS[5:], lane=3))

    def test_a_snapshot_of_a_listed_lane_keeps_its_list_and_its_place(self):
        with Judge(CounterLane, hello_of()) as judge:
            judge.reset(listed=list(range(10)))
            judge.steps([1, 1])
            blob = judge.snapshot()
            judge.restore(blob, lane=1)
            judge.ask(wire.DRAWS, struct.pack("<IIII", 0, 1, 1, 4))
            self.assertNotEqual(judge.steps([1] * 20), (0, []))
            judge.steps([1] * 20, lane=1)
            self.assertNotEqual(judge.draws(0), judge.draws(1))

    def test_an_injected_state_goes_on_like_the_original(self):
        for configuration in ("default", "duel", "tape", "exact"):
            with self.subTest(configuration), Judge(CounterLane, hello_of(configuration)) as judge:
                judge.reset(seed=5)
                agents = judge.hello["agents"]
                ended, records = judge.steps(TOKENS[: 4 * agents], mode=2)
                self.assertEqual(ended, 0, "choose other tokens")
                found = parts(records[-1][0], judge.hello)
                served = [] if configuration == "exact" else judge.draws()
                record = judge.inject(
                    found["state"], found["observations"], lane=1, seed=5, elapsed=4, index=len(served), mode=2
                )
                injected = parts(record, judge.hello)
                self.assertEqual(injected["kind"], 2)
                for name in ("deciders", "state", "masks", "observations"):
                    self.assertEqual(injected[name], found[name])
                self.assertEqual(injected["rewards"], (0.0,) * agents)
                rest = TOKENS[4 * agents : 60 * agents]
                self.assertEqual(judge.steps(rest, mode=1), judge.steps(rest, lane=1, mode=1))
                # Without a chain in common, but with equal states: injecting once more gives equal digests.
                chain = judge.inject(found["state"], found["observations"], lane=2, seed=5, elapsed=4, index=len(served))
                self.assertEqual(
                    chain, judge.inject(found["state"], found["observations"], lane=3, seed=5, elapsed=4, index=len(served))
                )
                self.assertEqual(judge.steps(rest, lane=2), judge.steps(rest, lane=3))

    def test_what_cannot_be_reproduced_is_refused(self):
        with Judge(CounterLane, hello_of()) as judge:
            state = struct.pack("<iIiiII", 3, 2, 0, 0, 1, 0)
            with self.assertRaises(Failure) as caught:
                judge.inject(state, bytes(12))
            self.assertEqual(caught.exception.kind, "refused")

        class Forgetful(CounterLane):
            def inject(self, start, fields, observations):
                super().inject(start, fields, observations)
                self.tick = 0

        with Judge(Forgetful, hello_of()) as judge:
            with self.assertRaises(Failure) as caught:
                judge.inject(struct.pack("<iIiiII", 3, 1, 0, 0, 1, 0), bytes(12))
            self.assertEqual(caught.exception.kind, "refused")
            self.assertIn("`tick`", str(caught.exception))
            with self.assertRaises(Failure):
                judge.steps([0])


class Loud(CounterLane):
    """Fails in every way that an adapter can, as the class attribute `fault` tells."""

    fault = None
    probes = {"double": lambda x: 2 * x, "odd": lambda x: {x}}

    def step(self, actions, rows=None):
        if self.fault == "raise":
            self.stumble({})
        if self.fault == "exit":
            sys.exit(3)
        rewards, terminated, truncated = super().step(actions, rows)
        if self.fault == "return":
            return rewards
        if self.fault == "rewards":
            return [0.0, 1.0], terminated, truncated
        if self.fault == "site":
            self.source.below(2, "nowhere")
        if self.fault == "observation":
            self.observations = (1.0, "two", 3.0)
        if self.fault == "deciders":
            self.deciders = 9
        return rewards, terminated, truncated

    def stumble(self, purses):
        return purses["missing"]

    def record(self):
        fields = super().record()
        if self.fault == "type":
            return fields[:1] + (1.5,) + fields[2:]
        if self.fault == "range":
            return (1 << 40,) + fields[1:]
        if self.fault == "short":
            return fields[:-1]
        return fields


class Faults(unittest.TestCase):
    def failing(self, fault, hello=None, mode=0):
        adapter = type("Faulty", (Loud,), {})
        with Judge(adapter, hello or hello_of()) as judge:
            judge.reset()
            adapter.fault = fault
            with self.assertRaises(Failure) as caught:
                judge.steps([0, 0], mode=mode)
            # Only this lane is lost, and only until its next reset.
            with self.assertRaises(Failure) as again:
                judge.steps([0])
            self.assertEqual(again.exception.kind, "bad_request")
            adapter.fault = None
            judge.reset()
            judge.steps([0])
        self.assertNotIn("\n", str(caught.exception))
        return caught.exception

    def test_an_exception_says_where_innermost_first_without_the_sdk(self):
        failure = self.failing("raise")
        self.assertEqual(failure.kind, "exception")
        self.assertIn("KeyError: 'missing'", str(failure))
        self.assertEqual([frame["function"] for frame in failure.where], ["stumble", "step"])
        self.assertEqual(failure.where[0]["text"], 'return purses["missing"]')
        self.assertEqual(failure.where[0]["file"], os.path.abspath(__file__))

    def test_sys_exit_in_an_environment_is_an_exception_like_others(self):
        self.assertIn("SystemExit", str(self.failing("exit")))

    def test_a_wrong_value_is_named_in_both_loops(self):
        for mode in (0, 1):
            for fault, words in {
                "return": "step() must return",
                "rewards": "rewards",
                "site": "nowhere",
                "observation": "`view`",
                "deciders": "deciders is 9",
                "type": "`deciders` from record() is 1.5",
                "range": "`value`",
                "short": "5 values, expected 6",
            }.items():
                with self.subTest(fault=fault, mode=mode):
                    failure = self.failing(fault, mode=mode)
                    self.assertEqual(failure.kind, "exception")
                    self.assertIn(words, str(failure))

    def test_missing_and_extra_fields_of_a_dict_are_named(self):
        class Plain:
            name = "plain"
            fields = {}
            observations = (0.0, 0.0, 0.0)

            def __init__(self, setup, draws):
                pass

            def reset(self, start):
                pass

            def legal(self, agent):
                return [True] * 4

            def canonical(self):
                return self.fields

        good = {"value": 1, "deciders": 1, "purse": [1, 2], "tick": 0, "generator": 0}
        with Judge(Plain, hello_of()) as judge:
            Plain.fields = good
            self.assertEqual(struct.unpack("<iIiiII", parts(judge.reset(mode=1), judge.hello)["state"]), (1, 1, 1, 2, 0, 0))
            for change, words in (
                ({"tick": None}, "`tick` from canonical() is None"),
                ({"purse": [1]}, "`purse` from canonical() has 1 values, expected 2"),
                ({"purse": [1, "x"]}, "'x'"),
                ({"spare": 1}, "has `spare`"),
            ):
                Plain.fields = {**good, **change}
                with self.assertRaises(Failure) as caught:
                    judge.reset()
                self.assertIn(words, str(caught.exception))
                self.assertEqual(caught.exception.where[0]["function"], "canonical")
            Plain.fields = {key: value for key, value in good.items() if key != "purse"}
            with self.assertRaises(Failure) as caught:
                judge.reset()
            self.assertIn("lacks `purse`", str(caught.exception))

    def test_a_dict_gives_the_same_records_as_the_flat_tuple(self):
        body = {key: value for key, value in vars(CounterLane).items() if key not in ("record", "__dict__", "__weakref__")}

        def canonical(self):
            fields = {"value": self.value, "deciders": self.deciders, "purse": self.purse}
            fields.update(tick=self.tick, generator=self.generator)
            if self.memory:
                fields["memory"] = self.memory
            return fields

        def init(self, setup, draws):
            Counter.__init__(self, **setup.options, steps_max=setup.episode_steps_max, source=draws)

        def reset(self, start):
            Counter.reset(self, start.seed, start.stream, start.episode)

        body.update(canonical=canonical, __init__=init, reset=reset)
        other = type("Dictionary", (Counter,), body)
        for configuration in ("default", "duel", "tape"):
            with Judge(CounterLane, hello_of(configuration)) as one, Judge(other, hello_of(configuration)) as two:
                one.reset()
                two.reset()
                self.assertEqual(one.steps(TOKENS[:100]), two.steps(TOKENS[:100]))
                self.assertEqual(one.steps(TOKENS[:100], mode=2), two.steps(TOKENS[:100], mode=2))

    def test_explain_tells_the_lines_of_the_environment_and_no_others(self):
        with Judge(CounterLane, hello_of()) as judge:
            judge.reset()
            answer = json.loads(judge.ask(wire.EXPLAIN, b'{"lane": 0, "tokens": [1]}'))
            files = {os.path.basename(line["file"]) for line in answer["lines"]}
            self.assertEqual(files, {"counter.py", "adapter.py"})
            texts = [line["text"] for line in answer["lines"]]
            self.assertIn("rewards[agent] += TENTH", texts)
            self.assertNotIn("self.value -= 1", texts)
            # It was a step like any other.
            judge.reset(lane=1)
            judge.steps([1], lane=1, window=1)
            self.assertEqual(judge.steps(TOKENS), judge.steps(TOKENS, lane=1))

    def test_probe_answers_json_and_refuses_what_it_does_not_know(self):
        with Judge(Loud, hello_of()) as judge:
            self.assertEqual(judge.about["capabilities"]["probe"], ["double", "odd"])
            self.assertEqual(json.loads(judge.ask(wire.PROBE, b'{"function": "double", "input": 4}')), {"output": 8})
            for body, kind in (
                (b'{"function": "none"}', "refused"),
                (b"[]", "bad_request"),
                (b'{"function": "odd"}', "exception"),
            ):
                with self.assertRaises(Failure) as caught:
                    judge.ask(wire.PROBE, body)
                self.assertEqual(caught.exception.kind, kind)


class Hostile(unittest.TestCase):
    def test_malformed_bodies_are_bad_requests_and_the_side_goes_on(self):
        u32 = lambda *values: struct.pack(f"<{len(values)}I", *values)  # noqa: E731
        with Judge(CounterLane, hello_of()) as judge:
            judge.reset()
            expected = judge.snapshot()
            for verb, body in (
                (0, b""),
                (11, b""),
                (255, b""),
                (wire.HELLO, b"{}"),
                (wire.RESET, b""),
                (wire.RESET, u32(3, 0)),
                (wire.RESET, u32(0, 1)),
                (wire.RESET, u32(0, 1, 99, 0, 0, 0, 0, 0, 0, 0)),
                (wire.RESET, u32(0, 1, 1, 0, 0, 0, 0, 0, 2, 0)),
                (wire.RESET, u32(0, 1, 1, 0, 0, 0, 0, 0, 0, 5)),
                (wire.RESET, u32(0, 1, 1, 0, 0, 0, 0, 0, 1, 0xFFFFFFFF)),
                (wire.RESET, u32(0, 0xFFFFFFFF)),
                (wire.RESET, u32(0, 0, 0)),
                (wire.STEP_MANY, u32(0, 0xFFFFFFFF, 0, 0, 1, 1, 1)),
                (wire.STEP_MANY, u32(0, 0xFFFFFFFF, 65, 0, 1, 1, 1)),
                (wire.STEP_MANY, u32(0, 1, 64, 0, 1, 1, 1)),
                (wire.STEP_MANY, u32(7, 0xFFFFFFFF, 64, 0, 1, 1, 1)),
                (wire.STEP_MANY, u32(0, 0xFFFFFFFF, 64, 0, 9, 1) + bytes(36)),
                (wire.STEP_MANY, u32(0, 0xFFFFFFFF, 64, 0xFFFFFFFF, 1, 1, 1)),
                (wire.STEP_MANY, u32(0, 0xFFFFFFFF, 64, 0, 1, 0xFFFFFFFF, 1)),
                (wire.STEP_MANY, u32(0, 0xFFFFFFFF, 64, 0, 1, 2, 1)),
                (wire.STEP_MANY, u32(0, 0xFFFFFFFF, 64, 0, 1, 1, 1, 1)),
                (wire.STEP_MANY, u32(0, 0xFFFFFFFF, 64, 3, 1, 1, 1)),
                (wire.SNAPSHOT, u32(1)),
                (wire.SNAPSHOT, u32(1, 7)),
                (wire.RESTORE, u32(1, 1, 4, 0)),
                (wire.RESTORE, u32(1, 1, 0xFFFFFFFF)),
                (wire.RESTORE, u32(1, 1, len(expected)) + expected[:-1] + b"x"),
                (wire.INJECT, u32(0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3) + b"abc" + u32(0)),
                (wire.DRAWS, u32(0, 2)),
                (wire.DRAWS, u32(0, 1, 9)),
                (wire.DRAWS, u32(9, 0)),
                (wire.PROBE, b"\xff"),
                (wire.EXPLAIN, b'{"lane": 0, "tokens": [1, 2]}'),
                (wire.EXPLAIN, b'{"lane": -1, "tokens": [1]}'),
                (wire.EXPLAIN, b'{"lane": 0, "tokens": [4294967296]}'),
                (wire.EXPLAIN, b"[" * 100000),
                (wire.CLOSE, b"x"),
            ):
                with self.subTest(verb=verb, body=body[:60]):
                    with self.assertRaises(Failure) as caught:
                        judge.ask(verb, body)
                    self.assertEqual(caught.exception.kind, "bad_request")
                    self.assertEqual(caught.exception.where, [])
            # No lane was touched by all this.
            self.assertEqual(judge.snapshot(), expected)

    def test_noise_never_gets_anything_but_a_bad_request(self):
        source = random.Random(3)
        with Judge(CounterLane, hello_of()) as judge:
            judge.reset()
            for _ in range(500):
                body = bytes(source.choice((0, 1, 2, 255, source.getrandbits(8))) for _ in range(source.randrange(80)))
                verb = source.choice((2, 3, 4, 5, 6, 7, 8, 9))
                try:
                    judge.ask(verb, body)
                except Failure as failure:
                    self.assertIn(failure.kind, ("bad_request", "refused"))
            judge.reset()

    def test_hellos_that_make_no_sense_are_bad_requests(self):
        for change in (
            {"protocol": "lockstep/2"},
            {"lanes": 0},
            {"agents": 17},
            {"agents": True},
            {"action": {"kind": "jump"}},
            {"action": {"kind": "discrete", "count": 0}},
            {"canonical": [{"name": "x", "dtype": "u128"}]},
            {"canonical": [{"name": "x", "dtype": "u8", "shape": [-1]}]},
            {"canonical": [{"name": "x", "dtype": "u8", "shape": [1 << 28, 1 << 28]}]},
            {"canonical": [{"name": "x", "dtype": "u8"}, {"name": "x", "dtype": "u8"}]},
            {"canonical": "x"},
            {"reward": "u128"},
            {"digests": ["md5"]},
            {"resets": "never"},
        ):
            with self.subTest(change), Judge(CounterLane, None) as judge:
                with self.assertRaises(Failure) as caught:
                    judge.ask(wire.HELLO, json.dumps(hello_of(**change)).encode())
                self.assertEqual(caught.exception.kind, "bad_request")
                # A second try with a good one is welcome.
                judge.ask(wire.HELLO, json.dumps(hello_of()).encode())

    def test_the_first_request_must_be_hello(self):
        with Judge(CounterLane, None) as judge, self.assertRaises(Failure) as caught:
            judge.ask(wire.RESET, bytes(8))
        self.assertEqual(caught.exception.kind, "bad_request")

    def test_a_broken_frame_ends_the_process_and_a_closed_stream_ends_it_well(self):
        for header, status in (
            (wire.HEADER.pack(b"LKS2", 0, 1, 1, 0, 0), 1),
            (wire.HEADER.pack(b"LKS1", (256 << 20) + 1, 1, 1, 0, 0), 1),
            (b"", 0),
            (b"LKS", 0),
            (wire.HEADER.pack(b"LKS1", 100, 1, 1, 0, 0), 0),
        ):
            with self.subTest(header), open(os.devnull, "w", encoding="utf-8") as nowhere:
                before, sys.stderr = sys.stderr, nowhere
                try:
                    judge = Judge(CounterLane, None)
                    judge.near.sendall(header)
                    judge.near.shutdown(1)
                    self.assertEqual(judge.end(), status)
                finally:
                    sys.stderr = before

    def test_an_infinite_or_undefined_continuous_action_is_a_bad_request(self):
        class Slider:
            observations = (0.0,)

            def __init__(self, setup, draws):
                self.x = 0.0

            def reset(self, start):
                self.x = 0.0

            def step(self, actions):
                self.x = actions[0][0] + actions[0][1]
                self.observations = (self.x,)
                return [self.x], False, False

            def canonical(self):
                return {"x": self.x}

        field = [{"name": "x", "dtype": "f32", "shape": []}]
        action = {"kind": "continuous", "low": -1.0, "high": 1.0}
        with Judge(Slider, hello_of(action=action, width=2, canonical=field, observation=field)) as judge:
            judge.reset()
            rotate = lambda bits: (bits << 1 | bits >> 31) & 0xFFFFFFFF  # noqa: E731
            _, [(record, _)] = judge.steps([rotate(0x3F800000), rotate(0xBF000000)], mode=1)
            self.assertEqual(struct.unpack("<IIfff", record), (1 << 16, 0, 0.5, 0.5, 0.5))
            for bits in (0x7F800000, 0xFF800000, 0x7FC00000):
                judge.reset()
                with self.assertRaises(Failure) as caught:
                    judge.steps([0, rotate(bits)])
                self.assertEqual(caught.exception.kind, "bad_request")


if __name__ == "__main__":
    unittest.main()
