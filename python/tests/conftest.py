"""What the tests share: every environment of the package, and where the clone is."""

import os
from pathlib import Path

import pytest

import lockstep_rl

CLONE = Path(__file__).resolve().parents[2]
ENVIRONMENTS = lockstep_rl.environments()


def configurations():
    """Every configuration of every environment, with each backend that plays it."""
    return list(_configurations())


def _configurations():
    for name in ENVIRONMENTS:
        environment = lockstep_rl.load(name)
        for configuration in environment.configurations:
            for backend in environment.configuration(configuration).backends:
                yield pytest.param(name, configuration, backend, id=f"{name}-{configuration}-{backend}")


def actions_of(envs, generator):
    """Legal actions of all lanes from a generator, so that two environments can be given the same."""
    shape = envs.action_space.shape
    configuration = envs.configuration
    if not configuration.actions:
        return generator.uniform(configuration.low, configuration.high, shape).astype("float32")
    if configuration.mask:
        scores = generator.random((*shape, len(configuration.actions)))
        legal = envs.legal_actions()
        scores[~legal] = -1
        return scores.argmax(-1)
    return generator.integers(len(configuration.actions), size=shape)


def pytest_collection_modifyitems(items):
    if os.environ.get("LOCKSTEP_DEEP") != "1":
        for item in items:
            if item.get_closest_marker("deep"):
                item.add_marker(pytest.mark.skip(reason="longer than an everyday run: start with LOCKSTEP_DEEP=1"))
