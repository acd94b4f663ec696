"""Lockstep's environments for training in Python.

    import gymnasium, lockstep_rl
    envs = gymnasium.make_vec("lockstep/Pong-v0", num_envs=4096)

makes one of those that came with the package; :func:`load` takes the library of any other. Everything that is known
about an environment (spaces, configurations, pictures) stands in the manifest that its library carries.
"""

from ._core import Error
from .environment import Environment, Replay, environments, load
from .registration import register
from .single import Env
from .vector import VectorEnv

register()

__all__ = ["Env", "Environment", "Error", "Replay", "VectorEnv", "environments", "load"]
