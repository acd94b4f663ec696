"""Gymnasium's spaces of a configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector.utils import batch_space

from .environment import Configuration, Field


def observation_space(configuration: Configuration) -> spaces.Space[Any]:
    """The observation of one lane: a box if it has one field, else a dictionary; several agents stand first in shapes."""
    boxes = {field.name: box(field, configuration.agents) for field in configuration.observation}
    return next(iter(boxes.values())) if len(boxes) == 1 else spaces.Dict(boxes)


def box(field: Field, agents: int) -> spaces.Box:
    """A box around whatever the field's type holds."""
    shape = (agents, *field.shape) if agents > 1 else field.shape
    if field.dtype.kind == "f":
        return spaces.Box(-np.inf, np.inf, shape, field.dtype.type)
    limits = np.iinfo(field.dtype)
    return spaces.Box(limits.min, limits.max, shape, field.dtype.type)


def action_space(configuration: Configuration) -> spaces.Space[Any]:
    """The actions of one lane: one number where there is one agent with one discrete action, else an array."""
    shape = (configuration.agents,) if configuration.agents > 1 else ()
    if not configuration.actions:
        assert configuration.low is not None and configuration.high is not None
        return spaces.Box(configuration.low, configuration.high, (*shape, configuration.width), np.float32)
    if configuration.width > 1:
        shape = (*shape, configuration.width)
    count = len(configuration.actions)
    return spaces.MultiDiscrete(np.full(shape, count, np.int64)) if shape else spaces.Discrete(count)


class LegalDiscrete(spaces.Discrete):
    """Discrete actions of which :meth:`sample` draws those that are legal now."""

    def __init__(self, count: int, legal: Callable[[], np.ndarray | None]) -> None:
        """``legal`` gives a boolean array ``(count,)``, or ``None`` before the first reset."""
        super().__init__(count)
        self._legal = legal

    def sample(self, mask: Any = None, probability: Any = None) -> np.int64:
        """As :meth:`gymnasium.spaces.Discrete.sample`; without an argument, one of the legal actions."""
        legal = self._legal() if mask is None and probability is None else None
        if legal is None:
            return super().sample(mask, probability)
        return super().sample(legal.astype(np.int8))

    def __reduce__(self) -> Any:
        return (spaces.Discrete, (int(self.n),))

    def __deepcopy__(self, memo: Any) -> spaces.Discrete:
        return spaces.Discrete(int(self.n))


class LegalMultiDiscrete(spaces.MultiDiscrete):
    """Discrete actions of many, of which :meth:`sample` draws those that are legal now."""

    def __init__(self, nvec: np.ndarray, legal: Callable[[], np.ndarray | None]) -> None:
        """``legal`` gives a boolean array ``(*nvec.shape, count)``, or ``None`` before the first reset."""
        super().__init__(nvec)
        self._legal = legal

    def sample(self, mask: Any = None, probability: Any = None) -> np.ndarray:
        """As :meth:`gymnasium.spaces.MultiDiscrete.sample`; without an argument, legal actions."""
        legal = self._legal() if mask is None and probability is None else None
        if legal is None:
            return super().sample(mask, probability)
        # The largest of as many random numbers as there are legal actions; who has none is given 0.
        return np.where(legal, self.np_random.random(legal.shape), -1.0).argmax(axis=-1)

    def __reduce__(self) -> Any:
        return (spaces.MultiDiscrete, (self.nvec,))

    def __deepcopy__(self, memo: Any) -> spaces.MultiDiscrete:
        return spaces.MultiDiscrete(self.nvec.copy())


def batched_action_space(
    configuration: Configuration, num_envs: int, legal: Callable[[], np.ndarray | None]
) -> spaces.Space[Any]:
    """The actions of all lanes."""
    space = action_space(configuration)
    if configuration.mask:
        return LegalMultiDiscrete(np.full((num_envs, *space.shape), len(configuration.actions), np.int64), legal)
    return batch_space(space, num_envs)
