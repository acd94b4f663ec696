"""PufferLib's interface and PettingZoo's parallel one, against the vector environment and their own checks."""

import sys
import warnings

import numpy as np
import pytest
from conftest import actions_of
from pettingzoo.test import parallel_api_test, parallel_seed_test

import lockstep_rl


@pytest.mark.parametrize("configuration", ["default", "duel", "tape"])
def test_the_parallel_view_passes_the_checks_of_pettingzoo(configuration):
    counter = lockstep_rl.load("counter")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parallel_api_test(counter.parallel(configuration=configuration), num_cycles=300)
        parallel_seed_test(lambda: counter.parallel(configuration=configuration), num_cycles=30)


def test_the_parallel_view_shows_each_agent_its_own():
    counter = lockstep_rl.load("counter")
    view, envs = counter.parallel(configuration="duel"), counter.make_vec(1, configuration="duel", autoreset="disabled")
    observations, infos = view.reset(seed=5)
    together, info = envs.reset(seed=[5])
    generator = np.random.default_rng(5)
    while view.agents:
        actions = actions_of(envs, generator)
        waiting = [agent for agent in view.agents if not infos[agent]["deciding"]]
        given = {f"agent_{i}": actions[0, i] for i in range(2)}
        given = {agent: action for agent, action in given.items() if agent not in waiting}
        observations, rewards, terminated, truncated, infos = view.step(given)
        together, first, ended, cut, info = envs.step(actions)
        for i, agent in enumerate(observations):
            assert np.array_equal(observations[agent], together[0, i]) and rewards[agent] == info["rewards"][0, i]
            assert np.array_equal(infos[agent]["action_mask"], info["action_mask"][0, i])
            assert infos[agent]["deciding"] == info["deciders"][0, i]
            assert (terminated[agent], truncated[agent]) == (ended[0], cut[0])
    assert first[0] == rewards["agent_0"]
    with pytest.raises(ValueError, match="no agent 'agent_7'"):
        view.reset(seed=5)
        view.step({"agent_7": 0})
    with pytest.raises(ValueError, match="agent_. decides in this step and has no action"):
        view.step({})


@pytest.mark.parametrize(
    ("name", "configuration"), [("pong", "default"), ("pong", "continuous8"), ("counter", "default"), ("counter", "duel")]
)
@pytest.mark.parametrize("shared", [False, True])
def test_the_interface_of_pufferlib_gives_the_rows_of_the_vector_environment(name, configuration, shared):
    environment = lockstep_rl.load(name)
    mode = "reference" if name == "pong" else "same_step"
    envs = environment.make_vec(6, configuration=configuration, autoreset=mode)
    plain = environment.puffer(6, configuration=configuration)
    buf = None
    if shared:
        names = ("observations", "rewards", "terminals", "truncations", "masks", "actions")
        buf = {part: np.zeros_like(getattr(plain, part)) for part in names}
    puffer = environment.puffer(6, configuration=configuration, buf=buf)
    rows = puffer.num_agents
    assert puffer.single_observation_space.shape == puffer.observations.shape[1:]
    assert puffer.observations.shape[0] == rows == 6 * puffer.agents
    puffer.async_reset(seed=8)
    together, _ = envs.reset(seed=8)
    generator = np.random.default_rng(8)
    for _ in range(300):
        assert np.array_equal(puffer.observations, together.reshape(puffer.observations.shape))
        actions = actions_of(envs, generator)
        puffer.send(actions.reshape(puffer.action_space.shape))
        observations, rewards, terminals, truncations, infos, agents, masks = puffer.recv()
        together, first, ended, cut, info = envs.step(actions)
        assert np.array_equal(rewards, info.get("rewards", first).reshape(-1))
        assert np.array_equal(terminals, np.repeat(ended, puffer.agents))
        assert np.array_equal(truncations, np.repeat(cut, puffer.agents))
        assert np.array_equal(masks, np.reshape(info["deciders"], -1) if puffer.agents > 1 else np.ones(rows, bool))
    assert observations is puffer.observations and len(agents) == rows and infos == []
    if shared:
        assert observations is buf["observations"]
    puffer.close()


def test_pufferlib_itself_is_a_base_class_where_it_is_installed():
    base = sys.modules.get("pufferlib")
    expected = base.PufferEnv if base is not None and hasattr(base, "PufferEnv") else object
    from lockstep_rl.puffer import PufferEnv

    assert PufferEnv.__mro__[1] is expected
