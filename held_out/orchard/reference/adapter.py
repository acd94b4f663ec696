"""Makes Orchard speak Lockstep. Written by `lockstep new`; change what it got wrong.

`canonical` reads every field of env.toml from the environment, `look` the numbers of an observation. The base class is
lockstep_sdk/gym.py; it also takes over Python's and numpy's generators, so it is imported before the environment.
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.environ["LOCKSTEP_SDK"])
sys.path.insert(0, os.path.join(HERE, "..", ".."))

import lockstep_sdk  # noqa: E402
from lockstep_sdk.gym import GymLane, flat, padded  # noqa: E402


class OrchardLane(GymLane):
    name, version = "orchard.Orchard", "1"
    # What its generators draw, in order, none of it at a site of the manifest:
    #   random: below(2^27) = a, then below(2^26) = b; the number is (a * 2^26 + b) / 2^53
    #   randrange: below(n), n numbers from the lowest on
    #   choice: below(n) without p; with p as random(), the first place whose running sum of p (divided by the last sum) is above it; without replacement as sample
    #   shuffle: for i from n - 1 down to 1: j = below(i + 1), swap items i and j
    #   sample: for i from 0: j = below(n - i), swap items i and i + j; the first k items
    # Texts of the state, as numbers from 0. One that is missing ends in an error that names it.
    words = {
        "sky": ["clear", "cloudy", "rain"],
        "trees_kind": ["apple", "pear", "plum"],
    }

    limits = {
        "basket_count": (0, 10),
        "crows_count": (0, 16),
        "trees_fruit_count": (0, 6),
    }

    def make(self, options):
        from orchard import Orchard

        return Orchard(**options)

    def look(self, observation):
        return flat(observation)

    def canonical(self):
        env = self.env
        return {
            "turn": env.turn,
            "x": env.x,
            "y": env.y,
            "basket": padded(env.basket, 10),
            "basket_count": len(env.basket),
            "money": env.money,
            "water": env.water,
            "rotted": env.rotted,
            "stolen": env.stolen,
            "sky": self.code('sky', env.sky),
            "trees_x": padded([tree.x for tree in env.trees], 8),
            "trees_y": padded([tree.y for tree in env.trees], 8),
            "trees_kind": padded([self.code('trees_kind', tree.kind) for tree in env.trees], 8),
            "trees_moisture": padded([tree.moisture for tree in env.trees], 8),
            "trees_fruit": [age for tree in env.trees for age in padded(tree.fruit, 6)],
            "trees_fruit_count": padded([len(tree.fruit) for tree in env.trees], 8),
            "crows_x": padded([item.x for item in env.crows], 16),
            "crows_y": padded([item.y for item in env.crows], 16),
            "crows_hunger": padded([item.hunger for item in env.crows], 16),
            "crows_seated": padded([item.seated + 0 for item in env.crows], 16),
            "crows_count": len(env.crows),
            "capacity": self.capacity,
        }

    def sizes(self):
        # A list that outgrows its bound ends the episode and is counted in `capacity`.
        env = self.env
        return (
            ("basket", len(env.basket), 10),
            ("crows", len(env.crows), 16),
        )

    def put(self, fields):
        from orchard import Crow, Tree

        env = self.env
        for name in ("turn", "x", "y", "money", "water", "rotted", "stolen"):
            setattr(env, name, fields[name])
        env.sky = self.word("sky", fields["sky"])
        env.basket = list(fields["basket"][: fields["basket_count"]])
        env.trees = [
            Tree(
                fields["trees_x"][i],
                fields["trees_y"][i],
                self.word("trees_kind", fields["trees_kind"][i]),
                fields["trees_moisture"][i],
                list(fields["trees_fruit"][6 * i : 6 * i + fields["trees_fruit_count"][i]]),
            )
            for i in range(8)
        ]
        env.crows = [
            Crow(fields["crows_x"][i], fields["crows_y"][i], fields["crows_hunger"][i], bool(fields["crows_seated"][i]))
            for i in range(fields["crows_count"])
        ]
        self.capacity = fields["capacity"]


if __name__ == "__main__":
    lockstep_sdk.main(OrchardLane)
