"""The vector environment and its single lane against Gymnasium's own checkers, spaces and modes."""

import warnings

import gymnasium
import numpy as np
import pytest
from conftest import ENVIRONMENTS, actions_of, configurations
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.utils.performance import benchmark_vector_step
from gymnasium.vector import AutoresetMode

import lockstep_rl
from lockstep_rl.registration import name_of


def test_the_package_has_every_environment_of_the_clone():
    from conftest import CLONE

    clone = sorted(path.parent.name for path in (CLONE / "envs").glob("*/Cargo.toml"))
    assert clone == ENVIRONMENTS


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_five_lines_run_for_every_environment(name):
    envs = gymnasium.make_vec(f"lockstep/{name_of(name)}-v0", num_envs=64)
    observations, info = envs.reset(seed=7)
    for _ in range(100):
        observations, rewards, terminations, truncations, info = envs.step(envs.action_space.sample())
    assert observations in envs.observation_space and rewards.shape == terminations.shape == (64,)
    envs.close()


@pytest.mark.parametrize(("name", "configuration", "backend"), configurations())
def test_a_lane_passes_check_env(name, configuration, backend):
    # It steps actions that it has sampled before a reset, so what is legal then must not matter.
    own = lockstep_rl.load(name).configuration(configuration)
    env = gymnasium.make(
        f"lockstep/{name_of(name)}-v0",
        configuration=configuration,
        backend=backend,
        illegal="wrap",
        render_mode="rgb_array" if own.picture else None,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # What these two say is not about us: a wrapped environment, and a box without limits.
        warnings.filterwarnings("ignore", message=".*different from the unwrapped version.*")
        warnings.filterwarnings("ignore", message=".*(minimum|maximum) value is -?infinity.*")
        warnings.filterwarnings("ignore", message=".*recommend using a symmetric and normalized.*")
        check_env(env.unwrapped)


@pytest.mark.parametrize(("name", "configuration", "backend"), configurations())
def test_spaces_hold_what_steps_return(name, configuration, backend):
    envs = lockstep_rl.load(name).make_vec(9, configuration=configuration, backend=backend)
    generator = np.random.default_rng(1)
    observations, _ = envs.reset(seed=3)
    assert envs.observation_space.contains(observations)
    assert isinstance(envs.metadata["autoreset_mode"], AutoresetMode)
    for _ in range(50):
        actions = actions_of(envs, generator)
        assert envs.action_space.contains(actions)
        observations, rewards, terminations, truncations, _ = envs.step(actions)
        assert envs.observation_space.contains(observations)
        assert rewards.dtype == envs.configuration.reward and rewards.shape == (9,)
        assert terminations.dtype == truncations.dtype == np.bool_
        assert envs.action_space.contains(envs.action_space.sample())


def test_gymnasium_measures_and_wraps_it():
    envs = gymnasium.wrappers.vector.RecordEpisodeStatistics(gymnasium.make_vec("lockstep/Counter-v0", num_envs=8))
    assert benchmark_vector_step(envs, target_duration=1, seed=1) > 0
    for wrapper in (gymnasium.wrappers.vector.NormalizeReward, gymnasium.wrappers.vector.NormalizeObservation):
        wrapped = wrapper(gymnasium.make_vec("lockstep/Counter-v0", num_envs=8))
        wrapped.reset(seed=1)
        wrapped.step(wrapped.action_space.sample())


@pytest.mark.parametrize(("name", "configuration", "backend"), configurations())
def test_a_seed_repeats_everything_and_another_does_not(name, configuration, backend):
    def play(seed):
        envs = lockstep_rl.load(name).make_vec(33, configuration=configuration, backend=backend)
        generator = np.random.default_rng(5)
        kept = [np.copy(envs.reset(seed=seed)[0])]
        for _ in range(300):
            observations, rewards, *_ = envs.step(actions_of(envs, generator))
            kept += [np.copy(observations), np.copy(rewards)]
        return kept

    first = play(11)
    assert data_equivalence(first, play(11), exact=True)
    assert not data_equivalence(first, play(12), exact=True)


@pytest.mark.parametrize(("name", "configuration", "backend"), configurations())
def test_a_lane_follows_its_seed_and_nothing_else(name, configuration, backend):
    environment = lockstep_rl.load(name)
    many = environment.make_vec(40, configuration=configuration, backend=backend, threads=3)
    # In single precision it is another function than `rust`, to which tolerances hold it; to itself it is exact.
    judge = backend if backend.endswith(".f32") else "rust"
    one = environment.make_vec(1, configuration=configuration, backend=judge, buffers=1)
    generator = np.random.default_rng(6)
    alone, _ = one.reset(seed=[1017])
    together, _ = many.reset(seed=[1000 + lane for lane in range(40)])
    assert np.array_equal(together[17], alone[0])
    for _ in range(400):
        actions = actions_of(many, generator)
        together, rewards, ended, cut, _ = many.step(actions)
        alone, reward, over, stopped, _ = one.step(actions[17:18])
        assert np.array_equal(together[17], alone[0]) and rewards[17] == reward[0]
        assert (ended[17], cut[17]) == (over[0], stopped[0])


def test_singles_have_to_be_asked_for_by_name():
    for configuration in ("default", "substep"):
        cheetah = lockstep_rl.load("half_cheetah").configuration(configuration)
        assert cheetah.backends[-1] == "rust.f32" and cheetah.fastest == "rust.simd"
        assert lockstep_rl.load("half_cheetah").make_vec(2, configuration=configuration).backend == "rust.simd"
    assert lockstep_rl.load("pong").make_vec(2).backend == "rust.simd"


def test_resets_without_a_seed_go_on_to_the_next_episodes():
    envs = lockstep_rl.load("counter").make_vec(4, autoreset="disabled")
    draws = []
    envs.reset(seed=1)
    for _ in range(3):
        rewards = [envs.step(np.ones(4, int))[1].copy() for _ in range(3)]
        draws.append(np.array(rewards))
        envs.reset()
    assert envs._lanes.save(0) != envs._lanes.save(1)
    again = lockstep_rl.load("counter").make_vec(4, autoreset="disabled")
    again.reset(seed=1)
    again.reset()
    assert np.array_equal(draws[1], np.array([again.step(np.ones(4, int))[1].copy() for _ in range(3)]))


MODES = [("counter", "default"), ("counter", "duel")]


@pytest.mark.parametrize(("name", "configuration"), MODES)
def test_every_autoreset_mode_plays_the_same_episodes(name, configuration):
    """Against resets by hand: mode `disabled` with a mask."""
    environment = lockstep_rl.load(name)
    lanes = 12

    def played(mode):
        envs = environment.make_vec(lanes, configuration=configuration, autoreset=mode)
        generators = [np.random.default_rng(lane) for lane in range(lanes)]
        observations, info = envs.reset(seed=21)
        rows = [[np.copy(observations[lane])] for lane in range(lanes)]
        over = np.zeros(lanes, bool)
        for _ in range(400):
            legal = envs.legal_actions().reshape(lanes, -1, len(envs.configuration.actions))
            actions = np.zeros(envs.action_space.shape, int)
            for lane in range(lanes):
                if mode == "next_step" and over[lane]:
                    continue  # This step's action is ignored.
                scores = generators[lane].random(legal[lane].shape)
                actions[lane] = np.where(legal[lane], scores, -1).argmax(-1).reshape(actions[lane].shape)
            before = over.copy()
            observations, rewards, terminated, truncated, info = envs.step(actions)
            over = terminated | truncated
            for lane in range(lanes):
                if mode == "next_step" and before[lane]:
                    assert rewards[lane] == 0 and not over[lane]
                    rows[lane].append(np.copy(observations[lane]))
                    continue
                if mode == "same_step" and over[lane]:
                    assert info["_final_obs"][lane]
                    rows[lane] += [float(rewards[lane]), np.copy(info["final_obs"][lane]), np.copy(observations[lane])]
                else:
                    rows[lane] += [float(rewards[lane]), np.copy(observations[lane])]
            if mode == "same_step":
                assert ("final_obs" in info) == over.any()
                assert not over.any() or np.array_equal(info["_final_obs"], over)
            if mode == "disabled" and over.any():
                observations, _ = envs.reset(options={"reset_mask": over})
                for lane in np.flatnonzero(over):
                    rows[lane].append(np.copy(observations[lane]))
        return rows

    disabled, same_step, next_step = (played(mode) for mode in ("disabled", "same_step", "next_step"))
    for lane in range(lanes):
        # A mode that spends steps on resets has seen less of the same.
        for other in (same_step, next_step):
            count = min(len(disabled[lane]), len(other[lane]))
            assert count > 200 and data_equivalence(disabled[lane][:count], other[lane][:count], exact=True)


def test_an_environment_that_resets_itself_has_only_the_mode_of_its_reference():
    pong = lockstep_rl.load("pong")
    assert pong.make_vec(1).autoreset == "reference"
    for mode in ("next_step", "same_step", "disabled", AutoresetMode.NEXT_STEP):
        with pytest.raises(ValueError, match="resets itself: use reference"):
            pong.make_vec(1, autoreset=mode)
    with pytest.raises(ValueError, match="does not reset itself: use next_step, same_step or disabled"):
        lockstep_rl.load("counter").make_vec(1, autoreset="reference")


def test_what_a_step_returned_is_still_there_after_the_next():
    envs = lockstep_rl.load("pong").make_vec(16)
    generator = np.random.default_rng(2)
    observations, _ = envs.reset(seed=1)
    for _ in range(20):
        before = observations.copy()
        following, *_ = envs.step(actions_of(envs, generator))
        assert np.array_equal(observations, before) and not np.shares_memory(observations, following)
        observations = following
    one = lockstep_rl.load("pong").make_vec(16, buffers=1)
    first, _ = one.reset(seed=1)
    second, *_ = one.step(np.zeros(16, int))
    assert first is second


def test_arrays_are_shared_through_dlpack_without_a_copy():
    envs = lockstep_rl.load("pong").make_vec(16, buffers=1)
    observations, _ = envs.reset(seed=1)
    shared = np.from_dlpack(observations)
    assert shared.__array_interface__["data"][0] == observations.__array_interface__["data"][0]
    envs.step(np.ones(16, int))
    assert np.array_equal(shared, observations)
    del observations
    envs.close()
    assert np.isfinite(shared).all()


def test_a_picture_shows_the_state():
    envs = gymnasium.make_vec("lockstep/Pong-v0", num_envs=3, render_mode="rgb_array")
    envs.reset(seed=1)
    frames = envs.render()
    assert len(frames) == 3 and frames[0].shape == (640, 620, 3) and frames[0].dtype == np.uint8
    state = envs.state(0)
    # The ball is a square of ink, as [picture] says: y points up there.
    x, y = int(60 + state["ball_x"]) + 16, int(640 - state["ball_y"] - 32) + 16
    assert frames[0][y, x].max() < 64 and frames[0][5, 5].min() > 192
    for _ in range(20):
        envs.step(np.ones(3, int))
    assert not np.array_equal(envs.render()[0], frames[0])
    text = lockstep_rl.load("counter").make(render_mode="rgb_array")
    text.reset(seed=1)
    assert text.render().min() < 64


def test_a_saved_lane_goes_on_the_same_in_any_backend_and_lane():
    pong = lockstep_rl.load("pong")
    fast, readable = pong.make_vec(8, backend="rust.simd"), pong.make_vec(3, backend="rust")
    generator = np.random.default_rng(3)
    fast.reset(seed=1)
    readable.reset(seed=2)
    for _ in range(500):
        fast.step(actions_of(fast, generator))
    readable.restore(1, fast.save(5))
    assert readable.save(1) == fast.save(5)
    for _ in range(500):
        actions = actions_of(fast, generator)
        observations, rewards, *_ = fast.step(actions)
        others, payed, *_ = readable.step(np.array([0, actions[5], 0]))
        assert np.array_equal(observations[5], others[1]) and rewards[5] == payed[1]


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_certificate_is_that_of_the_backend_and_the_configuration(name):
    envs = lockstep_rl.load(name).make_vec(1, backend="rust")
    certificate = envs.certificate()
    if certificate is None:
        pytest.skip(f"{name} has no certificate of its default configuration in this clone")
    assert (certificate["environment"], certificate["backend"]) == (name, "rust")


def test_other_options_than_the_configuration_s_have_no_certificate():
    envs = lockstep_rl.load("pong").make_vec(1, options={"max_score": 5})
    assert envs.backend == "rust" and envs.certificate() is None
    assert lockstep_rl.load("pong").make_vec(1).certificate()["backend"] == "rust.simd"
