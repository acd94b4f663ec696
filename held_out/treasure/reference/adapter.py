"""Makes Treasure speak Lockstep. Written by `lockstep new`; change what it got wrong.

`canonical` reads every field of env.toml from the environment, `look` the numbers of an observation. The base class is
lockstep_sdk/gym.py; it also takes over Python's and numpy's generators, so it is imported before the environment.
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.environ["LOCKSTEP_SDK"])
sys.path.insert(0, os.path.join(HERE, "..", ".."))

import lockstep_sdk  # noqa: E402
from lockstep_sdk.gym import GymLane, flat, padded, rows  # noqa: E402


class TreasureLane(GymLane):
    name, version = "treasure.Treasure", "1"
    # What its generators draw, in order, none of it at a site of the manifest:
    #   randrange: below(n), n numbers from the lowest on
    #   choice: below(n) without p; with p as random(), the first place whose running sum of p (divided by the last sum) is above it; without replacement as sample
    #   shuffle: for i from n - 1 down to 1: j = below(i + 1), swap items i and j
    #   sample: for i from 0: j = below(n - i), swap items i and i + j; the first k items
    # Texts of the state, as numbers from 0. One that is missing ends in an error that names it.
    words = {
        "phase": ["hurry", "search"],
    }
    # What was seen, with room: states that the property tier puts together beyond these are refused.
    limits = {
        "x": (0, 84),
        "y": (0, 84),
        "steps": (0, 304),
        "phase": (0, 1),
        "coins": (0, 84),
        "coins_count": (0, 8),
        "capacity": (0, 0),
    }

    def make(self, options):
        from treasure import Treasure

        return Treasure(**options)

    def look(self, observation):
        return flat(observation)

    def canonical(self):
        env = self.env
        return {
            "x": env.x,
            "y": env.y,
            "steps": env.steps,
            "phase": self.code('phase', env.phase),
            "coins": padded(env.coins, 16),
            "coins_count": len(env.coins),
            "capacity": self.capacity,
        }

    def sizes(self):
        # A list that outgrows its bound ends the episode and is counted in `capacity`.
        env = self.env
        return (
            ("coins", len(env.coins), 8),
        )

    def put(self, fields):
        env = self.env
        env.x = fields['x']
        env.y = fields['y']
        env.steps = fields['steps']
        env.phase = self.word('phase', fields['phase'])
        env.coins = list(tuple(row) for row in rows(fields['coins'], fields['coins_count'], 2))


if __name__ == "__main__":
    lockstep_sdk.main(TreasureLane)
