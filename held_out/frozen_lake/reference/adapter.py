"""Makes FrozenLakeEnv speak Lockstep. Written by `lockstep new`; change what it got wrong.

`canonical` reads every field of env.toml from the environment, `look` the numbers of an observation. The base class is
lockstep_sdk/gym.py; it also takes over Python's and numpy's generators, so it is imported before the environment.
"""

import os
import sys

sys.path.insert(0, os.environ["LOCKSTEP_SDK"])

import lockstep_sdk  # noqa: E402
from lockstep_sdk.gym import GymLane, flat  # noqa: E402


class FrozenLakeEnvLane(GymLane):
    name, version = "gymnasium.envs.toy_text.frozen_lake.FrozenLakeEnv", "gymnasium 1.4.0"
    # What its generators draw, in order, none of it at a site of the manifest:
    #   random: below(2^27) = a, then below(2^26) = b; the number is (a * 2^26 + b) / 2^53
    # What was seen, with room: states that the property tier puts together beyond these are refused.
    limits = {
        "s": (0, 124),
        "lastaction": (0, 76),
        "lastaction_given": (0, 1),
    }

    def make(self, options):
        import gymnasium

        if gymnasium.__version__ != "1.4.0":
            raise RuntimeError(f"reference.toml pins gymnasium 1.4.0, here is {gymnasium.__version__}")
        return gymnasium.make('FrozenLake-v1', disable_env_checker=True, **options).unwrapped

    def look(self, observation):
        return flat(observation)

    def canonical(self):
        env = self.env
        return {
            "s": env.s,
            "lastaction": 0 if env.lastaction is None else env.lastaction,
            "lastaction_given": env.lastaction is not None,
        }

    def put(self, fields):
        env = self.env
        env.s = fields['s']
        env.lastaction = fields['lastaction'] if fields['lastaction_given'] else None


if __name__ == "__main__":
    lockstep_sdk.main(FrozenLakeEnvLane)
