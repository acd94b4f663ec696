"""The environments of the package under Gymnasium's names: ``lockstep/Pong-v0``.

They are registered when this package is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .single import Env
    from .vector import VectorEnv


def register() -> None:
    """Registers every environment that came with the package."""
    import gymnasium

    from .environment import environments

    for name in environments():
        if f"lockstep/{name_of(name)}-v0" in gymnasium.registry:
            continue
        gymnasium.register(
            id=f"lockstep/{name_of(name)}-v0",
            entry_point="lockstep_rl.registration:make",
            vector_entry_point="lockstep_rl.registration:make_vec",
            kwargs={"environment": name},
        )


def name_of(name: str) -> str:
    """``half_cheetah`` is ``HalfCheetah``."""
    return "".join(part.capitalize() for part in name.split("_"))


def make(environment: str, **arguments: Any) -> Env:
    """One lane."""
    from .single import Env

    return Env(environment, **arguments)


def make_vec(environment: str, num_envs: int = 1, **arguments: Any) -> VectorEnv:
    """Many lanes."""
    from .vector import VectorEnv

    return VectorEnv(environment, num_envs, **arguments)
