"""Makes CartPoleEnv speak Lockstep. Written by `lockstep new`; change what it got wrong.

`canonical` reads every field of env.toml from the environment, `look` the numbers of an observation. The base class is
lockstep_sdk/gym.py; it also takes over Python's and numpy's generators, so it is imported before the environment.
"""

import os
import sys

sys.path.insert(0, os.environ["LOCKSTEP_SDK"])

import lockstep_sdk  # noqa: E402
from lockstep_sdk.gym import GymLane, flat, singles  # noqa: E402
import numpy  # noqa: E402


class CartPoleEnvLane(GymLane):
    name, version = "gymnasium.envs.classic_control.cartpole.CartPoleEnv", "gymnasium 1.4.0"
    # What was seen, with room: states that the property tier puts together beyond these are refused.
    limits = {
        "state": (-29.37677803901448, 29.4274644081582),
        "steps_beyond_terminated": (0, 64),
        "steps_beyond_terminated_given": (0, 1),
    }

    def make(self, options):
        import gymnasium

        if gymnasium.__version__ != "1.4.0":
            raise RuntimeError(f"reference.toml pins gymnasium 1.4.0, here is {gymnasium.__version__}")
        return gymnasium.make('CartPole-v1', disable_env_checker=True, **options).unwrapped

    def look(self, observation):
        return flat(singles(observation, (4,)))

    def canonical(self):
        env = self.env
        return {
            "state": env.state,
            "steps_beyond_terminated": 0 if env.steps_beyond_terminated is None else env.steps_beyond_terminated,
            "steps_beyond_terminated_given": env.steps_beyond_terminated is not None,
        }

    def put(self, fields):
        env = self.env
        env.state = numpy.array(fields['state'], 'float64').reshape((4,))
        env.steps_beyond_terminated = fields['steps_beyond_terminated'] if fields['steps_beyond_terminated_given'] else None


if __name__ == "__main__":
    lockstep_sdk.main(CartPoleEnvLane)
