"""Many lanes behind PufferLib's interface (that of its 3.0): agents in rows, arrays in place, `send` and `recv`."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.vector.utils import batch_space

from . import spaces
from .environment import Environment
from .vector import VectorEnv

try:
    from pufferlib import PufferEnv as _Base
except ImportError:  # The interface is a matter of names; PufferLib need not be there.
    _Base = object  # type: ignore[assignment,misc]


class PufferEnv(_Base):  # type: ignore[misc,valid-type]
    """``num_envs`` lanes as one PufferEnv of ``num_envs * agents`` agents, the agents of a lane in neighbouring rows.

    Without ``buf`` the arrays ``observations``, ``rewards``, ``terminals`` and ``truncations`` are those that Rust writes
    to. PufferLib's own ``buf``, the shared memory of its worker processes, is filled by copying.

    An episode that ends is followed by the next in the same step, as PufferLib's environments do it. ``masks`` says which
    agents decide.
    """

    emulated = False
    done = False

    def __init__(
        self,
        environment: Environment | str,
        num_envs: int = 1,
        *,
        buf: dict[str, np.ndarray] | None = None,
        seed: int | None = None,
        **arguments: Any,
    ) -> None:
        """Further arguments are those of :class:`VectorEnv`, without ``autoreset`` and ``buffers``."""
        if not isinstance(environment, Environment):
            from .environment import load

            environment = load(environment)
        own = environment.configuration(arguments.get("configuration", "default"))
        if len(own.observation) != 1:
            raise ValueError(f"PufferLib takes one array as an observation, and one of {environment.name} has several fields")
        mode = "reference" if own.resets_itself else "same_step"
        self.vector = VectorEnv(environment, num_envs, autoreset=mode, buffers=1, **arguments)
        self.agents = own.agents
        self.num_agents = num_envs * own.agents
        alone = _alone(own)
        self.single_observation_space = spaces.observation_space(alone)
        self.single_action_space = spaces.action_space(alone)
        self.observation_space = batch_space(self.single_observation_space, self.num_agents)
        self.action_space = batch_space(self.single_action_space, self.num_agents)
        self.agent_ids = np.arange(self.num_agents)
        self.infos: list[dict[str, Any]] = []
        self._seed = seed
        observations, rewards, terminated, truncated, info = self.vector._lanes.results()
        rows = (self.num_agents, *self.single_observation_space.shape)
        self._observations = observations.reshape(rows)
        self._rewards = info.get("rewards", rewards).reshape(self.num_agents)
        self._flags = terminated, truncated
        self._deciders = info.get("deciders")
        in_place = buf is None
        self._copies = not in_place or own.agents > 1
        if in_place:
            self.observations, self.rewards = self._observations, self._rewards
            many = own.agents > 1
            self.terminals = np.zeros(self.num_agents, np.bool_) if many else terminated
            self.truncations = np.zeros(self.num_agents, np.bool_) if many else truncated
            self.masks = np.ones(self.num_agents, np.bool_)
            dtype = np.int32 if own.actions else np.float32
            self.actions = np.zeros(self.action_space.shape, dtype)
        else:
            self.observations, self.rewards = buf["observations"], buf["rewards"]
            self.terminals, self.truncations = buf["terminals"], buf["truncations"]
            self.masks, self.actions = buf["masks"], buf["actions"]
        self._in_place = in_place
        self._action_shape = self.vector.action_space.shape
        self._reshapes = self._action_shape != self.action_space.shape
        self._step = self.vector._lanes.step

    @property
    def agents_per_batch(self) -> int:
        """All agents are in each batch."""
        return self.num_agents

    agent_per_batch = agents_per_batch

    @property
    def driver_env(self) -> PufferEnv:
        """Itself, as PufferLib asks."""
        return self

    def reset(self, seed: int | None = None) -> tuple[np.ndarray, list[dict[str, Any]]]:
        """Starts all lanes; lane i at stream i of the seed."""
        self.vector.reset(seed=self._seed if seed is None else seed)
        self._seed = None
        self._copy()
        return self.observations, self.infos

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Plays one step; actions are ``(num_agents,)``, or ``(num_agents, W)``."""
        self._step(np.asarray(actions).reshape(self._action_shape) if self._reshapes else actions)
        if self._copies:
            self._copy()
        return self.observations, self.rewards, self.terminals, self.truncations, self.infos

    def async_reset(self, seed: int | None = None) -> None:
        """As PufferLib's vector interface."""
        self.reset(seed)

    def send(self, actions: Any) -> None:
        """As PufferLib's vector interface."""
        self.step(actions)

    def recv(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]], np.ndarray, np.ndarray]:
        """As PufferLib's vector interface."""
        return (
            self.observations, self.rewards, self.terminals, self.truncations, self.infos, self.agent_ids, self.masks,
        )  # fmt: skip

    def close(self) -> None:
        """Frees the lanes."""
        self.vector.close()

    def _copy(self) -> None:
        if not self._copies:
            return
        if not self._in_place:
            self.observations[...] = self._observations
            self.rewards[...] = self._rewards
        for flags, ours in zip((self.terminals, self.truncations), self._flags, strict=True):
            flags.reshape(-1, self.agents)[...] = ours[:, np.newaxis]
        self.masks[...] = True if self._deciders is None else self._deciders.reshape(-1)


def _alone(configuration: Any) -> Any:
    """The same with one agent: what one row of PufferLib's arrays is."""
    from dataclasses import replace

    return replace(configuration, agents=1)
