"""Whatever is thrown at an environment, a Python exception comes back that names it and says what to do."""

import shutil
import subprocess
from pathlib import Path

import gymnasium
import numpy as np
import pytest

import lockstep_rl


@pytest.fixture
def pong():
    envs = lockstep_rl.load("pong").make_vec(4)
    envs.reset(seed=1)
    return envs


@pytest.fixture
def continuous():
    envs = lockstep_rl.load("pong").make_vec(4, configuration="continuous")
    envs.reset(seed=1)
    return envs


@pytest.mark.parametrize(
    ("actions", "error", "said"),
    [
        (np.zeros(3, int), ValueError, r"shape \(3,\), not \(4,\)"),
        (np.zeros((4, 1), int), ValueError, r"shape \(4, 1\), not \(4,\)"),
        (np.zeros((1, 4), int), ValueError, r"shape \(1, 4\), not \(4,\)"),
        (np.int64(1), ValueError, r"shape \(\), not \(4,\)"),
        (np.zeros(4), TypeError, r"dtype float64, not int64.*astype"),
        (np.zeros(4, bool), TypeError, "dtype bool"),
        (np.zeros(4, ">i8"), TypeError, "dtype >i8.*byte order"),
        (np.zeros(4, object), TypeError, "dtype object"),
        (np.zeros(4, "datetime64[s]"), TypeError, "dtype datetime64"),
        (["up"] * 4, TypeError, "dtype <U2"),
        (None, ValueError, r"shape \(\)"),
        (np.array([0, 3, 0, 0]), ValueError, r"action 3 \(lane 1\) is none of 0 still, 1 up, 2 down"),
        (np.array([0, 0, -1, 0]), ValueError, r"action -1 \(lane 2\)"),
        (np.array([0, 0, 0, 2**63], np.uint64), ValueError, r"action 9223372036854775808 \(lane 3\)"),
        (np.array([2**32, 0, 0, 0]), ValueError, r"action 4294967296 \(lane 0\)"),
    ],
)
def test_wrong_actions_are_refused_and_no_lane_is_stepped(pong, actions, error, said):
    before = [pong.save(lane) for lane in range(4)]
    with pytest.raises(error, match=said):
        pong.step(actions)
    assert [pong.save(lane) for lane in range(4)] == before


def test_any_order_type_and_list_of_right_values_is_read_alike():
    envs = [lockstep_rl.load("counter").make_vec(6, configuration="duel") for _ in range(6)]
    for one in envs:
        one.reset(seed=4)
    legal = envs[0].legal_actions()
    actions = np.where(legal.any(-1), legal.argmax(-1), 0)
    odd = np.zeros(13 + 8 * actions.size, np.uint8)[13:].view(np.int64).reshape(actions.shape)
    odd[...] = actions
    forms = [
        actions,
        np.asfortranarray(actions),
        np.repeat(np.repeat(actions, 2, 0), 3, 1)[::2, ::3],
        actions.astype(np.uint8)[::-1][::-1],
        odd,
        actions.tolist(),
    ]
    results = [np.copy(one.step(form)[0]) for one, form in zip(envs, forms, strict=True)]
    assert all(np.array_equal(results[0], other) for other in results)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1.5, -1.0001])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_continuous_actions_outside_the_space_are_refused(continuous, value, dtype):
    actions = np.zeros((4, 1), dtype)
    actions[2] = value
    with pytest.raises(ValueError, match=r"\(lane 2\) is not from -1 to 1: numpy.clip"):
        continuous.step(actions)
    with pytest.raises(TypeError, match="dtype int64, not float32"):
        continuous.step(np.zeros((4, 1), int))
    with pytest.raises(ValueError, match=r"shape \(4,\), not \(4, 1\)"):
        continuous.step(np.zeros(4, dtype))


def test_illegal_actions_are_named_with_what_is_legal():
    envs = lockstep_rl.load("counter").make_vec(2, configuration="duel")
    envs.reset(seed=1)
    for _ in range(200):
        legal, info = envs.legal_actions(), envs._lanes.results()[4]
        wrong = [(lane, agent) for lane, agent in np.ndindex(2, 2) if info["deciders"][lane, agent]]
        wrong = [place for place in wrong if not legal[place].all()]
        if wrong:
            lane, agent = wrong[0]
            actions = np.where(legal.any(-1), legal.argmax(-1), 0)
            actions[lane, agent] = np.flatnonzero(~legal[lane, agent])[0]
            with pytest.raises(ValueError, match=rf"\(lane {lane}, agent {agent}\) is not legal now, only .*action_mask"):
                envs.step(actions)
            wrapping = lockstep_rl.load("counter").make_vec(2, configuration="duel", illegal="wrap")
            wrapping.reset(seed=1)
            for each in range(2):
                wrapping.restore(each, envs.save(each))
            legal_now = np.flatnonzero(legal[lane, agent])
            envs_actions = actions.copy()
            envs_actions[lane, agent] = legal_now[actions[lane, agent] % len(legal_now)]
            assert np.array_equal(wrapping.step(actions)[0], envs.step(envs_actions)[0])
            return
        envs.step(envs.action_space.sample())
    pytest.fail("no state with an illegal action was reached")


def test_nothing_is_stepped_before_a_reset_or_after_a_close(pong):
    fresh = lockstep_rl.load("pong").make_vec(2)
    with pytest.raises(gymnasium.error.ResetNeeded, match="call reset"):
        fresh.step(np.zeros(2, int))
    with pytest.raises(gymnasium.error.ResetNeeded):
        fresh.save(0)
    pong.close()
    pong.close()
    for call in (lambda: pong.step(np.zeros(4, int)), pong.reset, lambda: pong.save(0), lambda: pong.state(0)):
        with pytest.raises(gymnasium.error.ClosedEnvironmentError, match="was closed"):
            call()


def test_a_finished_lane_has_to_be_reset_in_mode_disabled():
    envs = lockstep_rl.load("counter").make_vec(3, autoreset="disabled")
    envs.reset(seed=1)
    over = np.zeros(3, bool)
    while not over.any():
        *_, terminated, truncated, _ = envs.step(envs.action_space.sample())
        over = terminated | truncated
    with pytest.raises(gymnasium.error.ResetNeeded, match=f"lane {over.argmax()} has finished.*reset_mask"):
        envs.step(np.zeros(3, int))
    envs.reset(options={"reset_mask": over})
    envs.step(envs.action_space.sample())


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"num_envs": 0}, ValueError, "num_envs is 0, not from 1"),
        ({"num_envs": -1}, ValueError, "num_envs is -1"),
        ({"num_envs": 2.5}, TypeError, "num_envs is 2.5, not a whole number"),
        ({"num_envs": 1 << 40}, ValueError, "num_envs is"),
        ({"configuration": "fast"}, ValueError, "no configuration \"fast\", only default"),
        ({"backend": "cuda"}, ValueError, "no backend \"cuda\" here, only rust"),
        ({"backend": "rust.simd", "configuration": "continuous"}, ValueError, "use backend rust"),
        ({"autoreset": "never"}, ValueError, "none of next_step, same_step, disabled, reference"),
        ({"illegal": "ignore"}, ValueError, "illegal is 'ignore', neither 'raise' nor 'wrap'"),
        ({"threads": 0}, ValueError, "threads is 0"),
        ({"buffers": 3}, ValueError, "buffers is 3"),
        ({"render_mode": "human"}, ValueError, "neither None nor 'rgb_array'"),
        ({"options": {"gravity": 1}}, ValueError, "unknown option gravity"),
        ({"options": {"frameskip": "eight"}}, ValueError, "option frameskip is \"eight\""),
        ({"options": {"continuous": True}}, ValueError, "a configuration of their own"),
    ],
)
def test_wrong_arguments_are_named(arguments, error, said):
    with pytest.raises(error, match=said):
        lockstep_rl.load("pong").make_vec(**arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"seed": -1}, ValueError, "seed is -1, not from 0"),
        ({"seed": 1 << 64}, ValueError, "seed is"),
        ({"seed": 1.5}, TypeError, "seed is 1.5, not a whole number"),
        ({"seed": [1, 2]}, ValueError, "2 seeds for 4 lanes"),
        ({"seed": [1, 2, "3", 4]}, TypeError, "a seed is '3'"),
        ({"options": {"speed": 1}}, ValueError, "no option 'speed'"),
        ({"options": {"reset_mask": [True] * 4}}, TypeError, "numpy array of booleans"),
        ({"options": {"reset_mask": np.zeros(4)}}, TypeError, "numpy array of booleans"),
        ({"options": {"reset_mask": np.ones(3, bool)}}, ValueError, r"shape \(3,\), not \(4,\)"),
        ({"options": {"reset_mask": np.zeros(4, bool)}}, ValueError, "names no lane"),
    ],
)
def test_wrong_resets_are_named(pong, arguments, error, said):
    with pytest.raises(error, match=said):
        pong.reset(**arguments)


@pytest.mark.parametrize(
    ("saved", "said"),
    [
        (b"", "no saved lane"),
        (b"lockstep/save/1\n", "another configuration"),
        (b"x" * 500, "no saved lane"),
    ],
)
def test_bytes_that_are_no_saved_lane_are_refused(pong, saved, said):
    with pytest.raises(ValueError, match=said):
        pong.restore(0, saved)


def test_a_lane_of_another_configuration_or_cut_short_is_refused(pong):
    other = lockstep_rl.load("pong").make_vec(1, configuration="frameskip8")
    other.reset(seed=1)
    with pytest.raises(ValueError, match="another configuration than default of pong"):
        pong.restore(0, other.save(0))
    saved, before = pong.save(0), [pong.save(lane) for lane in range(4)]
    for size in range(len(saved)):
        with pytest.raises(ValueError):
            pong.restore(1, saved[:size])
    with pytest.raises(IndexError, match="no lane 4: there are 4, from 0 to 3"):
        pong.restore(4, saved)
    with pytest.raises(TypeError):
        pong.restore(0, "text")
    assert [pong.save(lane) for lane in range(4)] == before
    assert pong.save(-1) == pong.save(3)


def test_traces_that_are_not_valid_are_refused(pong, tmp_path):
    with pytest.raises(FileNotFoundError):
        pong.replay(tmp_path / "none.jsonl")
    for text, said in [("{}\n", "format"), ("no json\n", "line 1"), ('{"format":"lockstep/trace/9"}\n', "trace/9")]:
        with pytest.raises(ValueError, match=said):
            pong.replay(text)


def test_what_is_no_library_of_an_environment_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no environment nowhere: give a path, or one of counter"):
        lockstep_rl.load("nowhere")
    with pytest.raises(FileNotFoundError, match="neither a Cargo.toml nor a library"):
        lockstep_rl.load(tmp_path)
    text = tmp_path / "text.so"
    text.write_text("this is no library")
    with pytest.raises(lockstep_rl.Error, match="can't be loaded"):
        lockstep_rl.load(text)


@pytest.fixture
def compiled(tmp_path):
    """Compiles a library from C."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler `cc` to make a library with")

    def make(name: str, source: str) -> Path:
        (tmp_path / f"{name}.c").write_text(source)
        command = [compiler, "-shared", "-fPIC", "-o", f"{name}.so", f"{name}.c"]
        subprocess.run(command, cwd=tmp_path, check=True)
        return tmp_path / f"{name}.so"

    return make


def test_a_library_without_the_table_is_refused(compiled):
    with pytest.raises(lockstep_rl.Error, match="exports no lockstep_env_v1_empty: .*export_env!"):
        lockstep_rl.load(compiled("empty", "int nothing;"))


@pytest.mark.parametrize("words", ["{1, 96}", "{3, 120}", "{2, 8}"])
def test_a_library_of_another_version_is_refused(compiled, words):
    library = compiled("other", f"const unsigned lockstep_env_v1_other[64] = {words};")
    with pytest.raises(lockstep_rl.Error, match="version . of the table.*build both from the same lockstep"):
        lockstep_rl.load(library)
