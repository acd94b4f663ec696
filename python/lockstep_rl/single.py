"""One lane as a Gymnasium environment."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from . import spaces
from .environment import Environment
from .vector import VectorEnv


class Env(gymnasium.Env[Any, Any]):
    """One lane. What it returns are copies; for speed use many lanes at once.

    With several agents, observation and action have a row for each, and the reward is the first agent's; the parallel
    view of PettingZoo (:meth:`Environment.parallel`) keeps them apart.
    """

    def __init__(self, environment: Environment | str, *, render_mode: str | None = None, **arguments: Any) -> None:
        """The arguments are those of :class:`VectorEnv`, without ``num_envs``, ``autoreset`` and ``buffers``."""
        if not isinstance(environment, Environment):
            from .environment import load

            environment = load(environment)
        configuration = environment.configuration(arguments.get("configuration", "default"))
        mode = "reference" if configuration.resets_itself else "disabled"
        self.vector = VectorEnv(environment, 1, autoreset=mode, buffers=1, render_mode=render_mode, **arguments)
        self.render_mode = render_mode
        self.metadata = {name: self.vector.metadata[name] for name in ("render_modes", "render_fps")}
        self.observation_space = self.vector.single_observation_space
        self.action_space = self.vector.single_action_space
        if configuration.mask:
            legal = self._legal
            self.action_space = (
                spaces.LegalMultiDiscrete(self.action_space.nvec, legal)
                if isinstance(self.action_space, gymnasium.spaces.MultiDiscrete)
                else spaces.LegalDiscrete(len(configuration.actions), legal)
            )
        self._over = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts an episode: the first of a seed (stream 0), or the next one."""
        super().reset(seed=seed)
        if options:
            raise ValueError("reset has no options: options of the world are given to make")
        if seed is None and self._over and self.vector.autoreset == "reference":
            # The reference has begun the next episode in the step that ended the last one.
            observations, _, _, _, info = self.vector._lanes.results()
        else:
            observations, info = self.vector.reset(seed=seed)
        self._over = False
        return _first(observations), _first_of(info)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Plays one step. At the end of an episode, where the reference resets itself, the observation is the first of
        the next one."""
        observations, rewards, terminated, truncated, info = self.vector.step(np.asarray(action)[np.newaxis])
        over = bool(terminated[0]), bool(truncated[0])
        self._over = over[0] or over[1]
        return _first(observations), float(rewards[0]), *over, _first_of(info)

    def render(self) -> np.ndarray | None:
        """A picture ``(height, width, 3)`` of bytes."""
        frames = self.vector.render()
        return frames[0] if frames else None

    def state(self) -> dict[str, np.ndarray]:
        """The canonical state, by field."""
        return self.vector.state()

    def save(self) -> bytes:
        """The lane as bytes."""
        return self.vector.save()

    def restore(self, saved: bytes) -> Any:
        """Takes a saved lane back; returns its observation."""
        self.vector.restore(0, saved)
        self._over = False
        return _first(self.vector._lanes.results()[0])

    def close(self) -> None:
        """Frees the lane."""
        if hasattr(self, "vector"):
            self.vector.close()

    def _legal(self) -> np.ndarray | None:
        legal = self.vector.legal_actions()
        return None if legal is None else legal[0]


def _first(observations: Any) -> Any:
    if isinstance(observations, dict):
        return {name: values[0].copy() for name, values in observations.items()}
    return observations[0].copy()


def _first_of(info: dict[str, Any]) -> dict[str, Any]:
    return {name: values[0].copy() for name, values in info.items() if not name.startswith("_")}
