"""Environments that never heard of Lockstep: their generators, bounds, states put back, and what is proposed for them."""

import importlib.util
import os
import random as plain
import struct
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))

PlainRandom = plain.Random
from lockstep_sdk import chance, gym, snapshot  # noqa: E402
from lockstep_sdk.draws import Draws  # noqa: E402
from lockstep_sdk.errors import AdapterError, Refused  # noqa: E402
from lockstep_sdk.fields import Fields  # noqa: E402
from lockstep_sdk.seen import describe, merge  # noqa: E402
from lockstep_sdk.lane import Lane, Layout, Start  # noqa: E402
from lockstep_sdk.schema import Setup, Sites  # noqa: E402

NUMPY = importlib.util.find_spec("numpy") is not None


def drawn(level, seed=1):
    """(draws, chance) of a lane at its start."""
    draws = Draws(Sites([], True))
    draws.start(seed, 2, 0)
    lane = chance.Chance(draws, level)
    lane.begin(5)
    return draws, lane


def replayed(log):
    """A lane that is served what another one noted."""
    draws = Draws(Sites([], True))
    draws.start(0, 0, 0, 0, [value for value in log[2::3]])
    return chance.Chance(draws, "served")


class Python(unittest.TestCase):
    def sample(self, own):
        letters = list("abcdef")
        own.shuffle(letters)
        return [own.random(), own.randint(1, 6), own.choice("xyz"), own.sample(range(9), 3), own.uniform(-1, 1), own.getrandbits(70), letters]

    def test_recorded_draws_are_those_that_the_generator_makes_anyway(self):
        draws, lane = drawn("recorded")
        own, before = chance.Random(3), PlainRandom(3)
        with lane:
            found = [own.random(), own.randint(1, 6), own.choice("xyz"), own.uniform(-1, 1), own.getrandbits(70)]
        expected = [before.random(), before.randint(1, 6), before.choice("xyz"), before.uniform(-1, 1), before.getrandbits(70)]
        self.assertEqual(found, expected)
        self.assertEqual(draws.log[1::3], [1 << 27, 1 << 26, 6, 3, 1 << 27, 1 << 26, 1 << 32, 1 << 32, 1 << 6])

    def test_served_draws_of_the_same_values_give_what_the_recorded_ones_gave(self):
        draws, lane = drawn("recorded")
        with lane:
            found = self.sample(chance.Random(3))
        with replayed(draws.log):
            self.assertEqual(self.sample(chance.Random(99)), found)

    def test_served_draws_depend_on_the_lane_and_not_on_the_generator(self):
        runs = []
        for seed in (3, 4):
            _, lane = drawn("served")
            with lane:
                runs.append(self.sample(chance.Random(seed)))
        self.assertEqual(*runs)

    def test_the_module_s_own_functions_belong_to_the_lane(self):
        runs = []
        for _ in range(2):
            draws, lane = drawn("recorded")
            with lane:
                runs.append([plain.random(), plain.randrange(10), plain.gauss(0, 1)])
            plain.random()
        self.assertEqual(*runs)

    def test_outside_of_a_lane_everything_is_as_ever(self):
        self.assertEqual(chance.Random(3).random(), PlainRandom(3).random())
        plain.seed(8)
        self.assertEqual(plain.random(), PlainRandom(8).random())

    def test_what_follows_by_logarithms_is_refused_by_name_when_served(self):
        _, lane = drawn("served")
        with lane, self.assertRaisesRegex(chance.Unhandled, "random.gauss is not handled"):
            chance.Random(1).gauss(0, 1)

    def test_a_draw_with_too_many_values_is_refused(self):
        _, lane = drawn("served")
        with lane, self.assertRaisesRegex(chance.Unhandled, "one in 4294967297"):
            chance.Random(1).randrange((1 << 32) + 1)

    def test_the_bits_of_a_recorded_result_are_in_two_words(self):
        draws, lane = drawn("recorded")
        with lane:
            value = chance.Random(3).gauss(0, 1)
        high, low = draws.log[2::3]
        self.assertEqual(struct.unpack("<d", struct.pack("<II", low, high))[0], value)


@unittest.skipUnless(NUMPY, "numpy is not installed for this Python")
class Numpy(unittest.TestCase):
    def sample(self, own):
        import numpy

        items = [1, 2, 3, 4, 5]
        own.shuffle(items)
        whole = own.integers if hasattr(own, "integers") else own.randint
        return [
            own.random(),
            own.random(3).tolist(),
            int(whole(5)),
            whole(2, 9, size=(2, 2)).tolist(),
            own.uniform(-1, 1),
            own.uniform(-0.05, 0.05, size=(4,)).tolist(),
            own.uniform([0, 1], [1, 3]).tolist(),
            int(own.choice([1, 2, 3])),
            own.choice(4),
            own.choice(4, p=[0.1, 0.2, 0.3, 0.4]),
            own.choice(10, 3, replace=False).tolist(),
            own.permutation(6).tolist(),
            own.permutation(numpy.arange(4) * 2).tolist(),
            items,
        ]

    def test_recorded_draws_are_those_that_numpy_makes_anyway(self):
        import numpy

        for own, before in (
            (numpy.random.default_rng(3), chance._default_rng(3)),
            (numpy.random.RandomState(3), chance._RandomState(3)),
        ):
            _, lane = drawn("recorded")
            with lane:
                found = self.sample(own)
            self.assertEqual(found, self.sample(before))

    def test_served_draws_of_the_same_values_give_what_the_recorded_ones_gave(self):
        import numpy

        for make in (numpy.random.default_rng, numpy.random.RandomState):
            draws, lane = drawn("recorded")
            with lane:
                found = self.sample(make(3))
            with replayed(draws.log):
                self.assertEqual(self.sample(make(99)), found)

    def test_what_can_t_be_served_is_refused_by_name(self):
        import numpy

        own = numpy.random.default_rng(3)
        _, lane = drawn("served")
        for call, name in (
            (lambda: own.normal(0, 1), "Generator.normal"),
            (lambda: own.poisson(3), "Generator.poisson"),
            (lambda: own.permuted([1, 2]), "Generator.permuted"),
            (lambda: own.integers(1 << 40), "one in 1099511627776"),
            (lambda: numpy.random.randn(), "RandomState.randn"),
        ):
            with self.subTest(name), lane, self.assertRaisesRegex(chance.Unhandled, name):
                call()

    def test_an_array_of_normals_is_recorded_with_all_its_bits(self):
        import numpy

        draws, lane = drawn("recorded")
        with lane:
            values = numpy.random.default_rng(3).normal(0, 1, 3)
        words = draws.log[2::3]
        found = [struct.unpack("<d", struct.pack("<II", low, high))[0] for high, low in zip(words[::2], words[1::2])]
        self.assertEqual(found, values.tolist())


class Stack:
    """Its list grows by one for each step."""

    def __init__(self):
        self.rng = plain.Random(1)

    def reset(self, seed=None):
        self.items = []
        return [0]

    def step(self, action):
        if self.items and self.items[0] > 90:
            raise IndexError("no such item")
        self.items.append(self.rng.randrange(10))
        return [len(self.items)], 1.0, False, False, {}


class StackLane(gym.GymLane):
    limits = {"items": (0, 99)}

    def make(self, options):
        return Stack()

    def look(self, observation):
        return gym.flat(observation)

    def canonical(self):
        items = self.env.items
        return {"items": gym.padded(items, 4), "items_count": len(items), "capacity": self.capacity}

    def sizes(self):
        return (("items", len(self.env.items), 4),)

    def put(self, fields):
        self.env.items = list(fields["items"][: fields["items_count"]])


def lane_of(level="served", steps_max=None):
    hello = {
        "protocol": "lockstep/1",
        "environment": "stack",
        "configuration": {"name": "default", "hash": "", "options": {}},
        "lanes": 1,
        "action": {"kind": "discrete", "count": 2},
        "draws": {"level": level, "sites": []},
        "canonical": [
            {"name": "items", "dtype": "i32", "shape": [4]},
            {"name": "items_count", "dtype": "u32", "shape": []},
            {"name": "capacity", "dtype": "u32", "shape": []},
        ],
        "observation": [{"name": "observation", "dtype": "i32", "shape": [1]}],
        "reward": "f64",
        "episode_steps_max": steps_max,
        "digests": ["blake2b"],
    }
    return Lane(Layout(StackLane, Setup(hello)), 0)


class Lanes(unittest.TestCase):
    def play(self, lane, steps):
        lane.reset(Start(1, 2, 0, 0), None, 0)
        return [lane.env.step((0,)) for _ in range(steps)]

    def test_a_list_that_outgrows_its_bound_ends_the_episode_and_is_counted(self):
        lane = lane_of()
        answers = self.play(lane, 5)
        self.assertEqual([truncated for _, _, truncated in answers], [False, False, False, False, True])
        state = lane.env.canonical()
        self.assertEqual((state["capacity"], state["items_count"], len(state["items"])), (1, 5, 4))

    def test_the_time_limit_of_the_manifest_truncates(self):
        answers = self.play(lane_of(steps_max=3), 3)
        self.assertEqual([truncated for _, _, truncated in answers], [False, False, True])

    def test_a_recorded_episode_follows_from_its_seed_and_not_from_those_before(self):
        lane = lane_of("recorded")
        runs = []
        for _ in range(2):
            self.play(lane, 4)
            runs.append(lane.env.env.items)
        self.assertEqual(*runs)

    def test_a_recorded_lane_goes_on_from_its_snapshot(self):
        lane = lane_of("recorded")
        self.play(lane, 2)
        blob = snapshot.save(lane)
        lane.env.chance.used = {}
        lane.env.step((0,))
        expected = list(lane.env.env.items)
        snapshot.load(lane, blob)
        lane.env.step((0,))
        self.assertEqual(lane.env.env.items, expected)

    def inject(self, lane, items, count, observation=0):
        state = struct.pack("<4iII", *items, count, 0)
        lane.inject(Start(1, 2, 0, 0), 0, None, state, struct.pack("<i", observation), 0)

    def test_a_state_that_was_put_back_goes_on(self):
        lane = lane_of()
        self.inject(lane, (7, 8, 0, 0), 2)
        lane.env.step((0,))
        self.assertEqual(lane.env.env.items[:2], [7, 8])

    def test_a_state_beyond_what_was_seen_is_refused(self):
        with self.assertRaisesRegex(Refused, "`items` is beyond 0 to 99"):
            self.inject(lane_of(), (100, 0, 0, 0), 1)

    def test_an_environment_that_fails_in_a_generated_state_refuses_it(self):
        lane = lane_of()
        self.inject(lane, (95, 0, 0, 0), 1)
        with self.assertRaisesRegex(Refused, "IndexError: no such item"):
            lane.env.step((0,))
        # Reached by itself, it is a failure of the environment.
        lane.reset(Start(1, 2, 0, 0), None, 0)
        lane.env.env.items = [95]
        with self.assertRaises(IndexError):
            lane.env.step((0,))

    def test_a_text_that_is_not_known_is_named(self):
        lane = lane_of()
        lane.env.words = {"phase": ["calm"]}
        with self.assertRaisesRegex(AdapterError, "`phase` is 'storm'.*'calm'.*hint"):
            lane.env.code("phase", "storm")


class Looking(unittest.TestCase):
    def fields(self, *values):
        seen = None
        for value in values:
            one = describe(value, {}, "x")
            seen = one if seen is None else merge(seen, one)
        fields = Fields("env")
        fields.add("x", "env.x", seen)
        return fields

    def shown(self, *values):
        return [(field.name, field.dtype, field.shape) for field in self.fields(*values).fields]

    def test_numbers_lists_and_texts_become_fields(self):
        self.assertEqual(self.shown(1, 2), [("x", "i32", [])])
        self.assertEqual(self.shown(1, 1 << 40), [("x", "i64", [])])
        self.assertEqual(self.shown(1, 2.5), [("x", "f64", [])])
        self.assertEqual(self.shown(None, 2), [("x", "i32", []), ("x_given", "u8", [])])
        self.assertEqual(self.shown([1], [1, 2]), [("x", "i32", [8]), ("x_count", "u32", [])])
        self.assertEqual(self.shown([[1, 0], [0, 1]], [[1, 1], [0, 1]]), [("x", "i32", [2, 2])])
        self.assertEqual(self.shown({(1, 2)}, {(1, 2), (3, 4)}), [("x", "i32", [8, 2]), ("x_count", "u32", [])])
        self.assertEqual(self.shown({"a": 1, "b": 2}, {"a": 2, "b": 2}), [("x_a", "i32", [])])
        self.assertEqual(self.shown("calm", "storm"), [("x", "u8", [])])
        self.assertEqual(self.shown({3: 1}, {3: 1, 5: 2}), [("x_key", "i32", [8]), ("x_value", "i32", [8]), ("x_count", "u32", [])])

    def test_what_never_changes_is_no_field(self):
        self.assertEqual(self.shown(1, 1), [])
        self.assertEqual(self.shown("calm", "calm"), [])

    def test_what_can_t_be_compared_is_left_out_by_name(self):
        for values, why in (
            ((1, "a"), "sometimes int and sometimes text"),
            ((object(), [1]), "a builtins.object"),
            (([1], (1, 2)), "sometimes a list and sometimes a tuple"),
            (([], []), None),
            (([], [object()]), "a builtins.object"),
        ):
            left_out = self.fields(*values).left_out
            if why is None:
                self.assertEqual(left_out, [])
            else:
                self.assertIn(why, left_out[0][1])

    def test_one_object_under_two_names_is_left_out(self):
        shared = [1]
        self.assertIn("the same object as", describe([shared, shared], {}, "x").item.why)


if __name__ == "__main__":
    unittest.main()
