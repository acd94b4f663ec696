"""One lane as a PettingZoo parallel environment, in which each agent has its own observation, action and reward."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pettingzoo
from gymnasium.spaces import Space

from . import spaces
from .environment import Environment
from .vector import VectorEnv


class ParallelEnv(pettingzoo.ParallelEnv[str, Any, Any]):
    """One lane. Agents are ``agent_0`` to ``agent_<A - 1>``; all live until the episode ends, for all at once.

    ``infos[agent]["deciding"]`` says whether it decides next: the action of a waiting agent is ignored and may be left
    out. Where some actions are illegal, ``infos[agent]["action_mask"]`` has them, int8 ``(C,)``, and the action space's
    ``sample()`` draws legal ones.
    """

    def __init__(self, environment: Environment | str, *, render_mode: str | None = None, **arguments: Any) -> None:
        """The arguments are those of :class:`VectorEnv`, without ``num_envs``, ``autoreset`` and ``buffers``."""
        if not isinstance(environment, Environment):
            from .environment import load

            environment = load(environment)
        own = environment.configuration(arguments.get("configuration", "default"))
        mode = "reference" if own.resets_itself else "disabled"
        self.vector = VectorEnv(environment, 1, autoreset=mode, buffers=1, render_mode=render_mode, **arguments)
        self.render_mode = render_mode
        self.metadata = {"name": environment.name, "is_parallelizable": True, **self.vector.metadata}
        self.possible_agents = [f"agent_{agent}" for agent in range(own.agents)]
        self.agents: list[str] = []
        alone = replace(own, agents=1)
        self.observation_spaces = {agent: spaces.observation_space(alone) for agent in self.possible_agents}
        self.action_spaces: dict[str, Space[Any]] = {}
        for number, agent in enumerate(self.possible_agents):
            space = spaces.action_space(alone)
            if own.mask:
                legal = self._legal(number)
                many = own.width > 1
                space = spaces.LegalMultiDiscrete(space.nvec, legal) if many else spaces.LegalDiscrete(space.n, legal)
            self.action_spaces[agent] = space
        self._several = own.agents > 1
        shape = self.action_spaces[self.possible_agents[0]].shape
        self._actions = np.zeros((own.agents, *shape), np.int64 if own.actions else np.float32)

    def observation_space(self, agent: str) -> Space[Any]:
        """That of one agent."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Space[Any]:
        """That of one agent."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Starts an episode: the first of a seed (stream 0), or the next one. Options are ignored, as PettingZoo asks."""
        observations, info = self.vector.reset(seed=seed)
        self.agents = list(self.possible_agents)
        return self._observed(observations), self._informed(info)

    def step(self, actions: dict[str, Any]) -> tuple[
        dict[str, Any], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]
    ]:  # fmt: skip
        """Plays one step with the actions of the agents who decide."""
        if not self.agents:
            return {}, {}, {}, {}, {}
        unknown = sorted(set(actions) - set(self.possible_agents))
        if unknown:
            raise ValueError(f"there is no agent {unknown[0]!r}, only {', '.join(self.possible_agents)}")
        _, _, _, _, info = self.vector._lanes.results()
        deciding = info["deciders"][0] if self._several else np.ones(1, np.bool_)
        self._actions[...] = self.vector.configuration.low or 0
        for number, agent in enumerate(self.possible_agents):
            if agent in actions:
                self._actions[number] = actions[agent]
            elif deciding[number]:
                raise ValueError(f"{agent} decides in this step and has no action")
        given = self._actions if self._several else self._actions[0]
        observations, rewards, terminated, truncated, info = self.vector.step(given[np.newaxis])
        each = info["rewards"][0] if self._several else rewards
        results = (
            self._observed(observations),
            {agent: float(each[number]) for number, agent in enumerate(self.agents)},
            dict.fromkeys(self.agents, bool(terminated[0])),
            dict.fromkeys(self.agents, bool(truncated[0])),
            self._informed(info),
        )
        if terminated[0] or truncated[0]:
            self.agents = []
        return results

    def state(self) -> np.ndarray:
        """The canonical fields one after the other, as float64."""
        fields = self.vector.state().values()
        return np.concatenate([np.asarray(field, np.float64).reshape(-1) for field in fields])

    def render(self) -> np.ndarray | None:
        """A picture ``(height, width, 3)`` of bytes."""
        frames = self.vector.render()
        return frames[0] if frames else None

    def close(self) -> None:
        """Frees the lane."""
        self.vector.close()

    def _legal(self, number: int) -> Any:
        def legal() -> np.ndarray | None:
            all_legal = self.vector.legal_actions()
            if all_legal is None:
                return None
            return all_legal[0, number] if self._several else all_legal[0]

        return legal

    def _observed(self, observations: Any) -> dict[str, Any]:
        def of(number: int, values: np.ndarray) -> np.ndarray:
            return (values[0, number] if self._several else values[0]).copy()

        if isinstance(observations, dict):
            return {
                agent: {name: of(number, values) for name, values in observations.items()}
                for number, agent in enumerate(self.agents)
            }
        return {agent: of(number, observations) for number, agent in enumerate(self.agents)}

    def _informed(self, info: dict[str, Any]) -> dict[str, dict[str, Any]]:
        infos: dict[str, dict[str, Any]] = {}
        for number, agent in enumerate(self.agents):
            infos[agent] = {"deciding": bool(info["deciders"][0, number]) if self._several else True}
            if "action_mask" in info:
                mask = info["action_mask"][0]
                infos[agent]["action_mask"] = (mask[number] if self._several else mask).copy()
        return infos
