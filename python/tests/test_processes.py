"""Threads, forks, pickles and other processes: what happens to an environment there is defined, and the same each time."""

import copy
import multiprocessing
import pickle
import signal
import subprocess
import sys
import threading
import time

import gymnasium
import numpy as np
import pytest
from conftest import actions_of, configurations

import lockstep_rl


@pytest.mark.parametrize(("name", "configuration", "backend"), configurations())
def test_a_pickled_environment_goes_on_as_the_original(name, configuration, backend):
    environment = lockstep_rl.load(name)
    modes = ["reference"] if environment.configuration(configuration).resets_itself else ["next_step", "same_step", "disabled"]
    for mode in modes:
        envs = environment.make_vec(5, configuration=configuration, backend=backend, autoreset=mode)
        assert pickle.loads(pickle.dumps(envs)).num_envs == 5
        envs.reset(seed=9)
        generator = np.random.default_rng(9)
        for _ in range(40):
            over = np.logical_or(*envs.step(actions_of(envs, generator))[2:4])
            if mode == "disabled" and over.any():
                envs.reset(options={"reset_mask": over})
        for other in (pickle.loads(pickle.dumps(envs)), copy.deepcopy(envs)):
            assert other.metadata == envs.metadata
            for ours, theirs in zip(envs._lanes.words(), other._lanes.words(), strict=True):
                assert np.array_equal(ours, theirs)
            branch = pickle.loads(pickle.dumps(envs))
            for _ in range(60):
                actions = actions_of(branch, generator)
                one, two = branch.step(actions), other.step(actions)
                assert all(np.array_equal(a, b) for a, b in zip(one[:4], two[:4], strict=True))
                over = one[2] | one[3]
                if mode == "disabled" and over.any():
                    branch.reset(options={"reset_mask": over})
                    other.reset(options={"reset_mask": over})


def test_a_closed_environment_is_not_pickled():
    envs = lockstep_rl.load("pong").make_vec(1)
    envs.close()
    with pytest.raises(ValueError, match="closed environment"):
        pickle.dumps(envs)


def play(envs, seed, steps=200):
    generator = np.random.default_rng(seed)
    return [[np.copy(part) for part in envs.step(actions_of(envs, generator))[:2]] for _ in range(steps)]


def _in_child(envs, queue):
    queue.put(play(envs, 3))


@pytest.mark.skipif(not hasattr(multiprocessing, "get_context") or sys.platform == "win32", reason="no fork here")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("backend", ["rust", "rust.simd"])
def test_a_forked_process_has_a_copy_that_goes_on_by_itself(threads, backend):
    envs = lockstep_rl.load("pong").make_vec(64, backend=backend, threads=threads)
    envs.reset(seed=1)
    play(envs, 1, 20)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(envs, queue))
    child.start()
    theirs = queue.get(timeout=60)
    child.join(60)
    assert child.exitcode == 0
    ours = play(envs, 3)
    assert all(np.array_equal(a, b) for one, two in zip(ours, theirs, strict=True) for a, b in zip(one, two, strict=True))


def test_a_spawned_process_is_given_a_pickle():
    envs = lockstep_rl.load("pong").make_vec(8)
    envs.reset(seed=1)
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(envs, queue))
    child.start()
    theirs = queue.get(timeout=60)
    child.join(60)
    ours = play(envs, 3)
    assert all(np.array_equal(a, b) for one, two in zip(ours, theirs, strict=True) for a, b in zip(one, two, strict=True))


def test_gymnasium_s_own_processes_can_hold_it():
    envs = gymnasium.make_vec("lockstep/Counter-v0", num_envs=2, vectorization_mode="async")
    envs.reset(seed=1)
    envs.step(np.ones(2, int))
    envs.close()


def test_two_threads_can_not_use_one_environment_at_once_and_each_has_its_own_time():
    envs = lockstep_rl.load("pong").make_vec(1 << 16, backend="rust")
    envs.reset(seed=1)
    actions = np.zeros(1 << 16, int)
    told, stop = [], threading.Event()

    def other():
        while not stop.is_set():
            try:
                envs.step(actions)
            except RuntimeError as error:
                told.append(str(error))

    thread = threading.Thread(target=other)
    thread.start()
    deadline = time.monotonic() + 20
    while not told and time.monotonic() < deadline:
        try:
            envs.step(actions)
        except RuntimeError as error:
            told.append(str(error))
    stop.set()
    thread.join()
    assert told and "give each thread one of its own" in told[0]


def test_python_s_lock_is_free_while_lanes_are_stepped():
    envs = lockstep_rl.load("pong").make_vec(1 << 19, backend="rust", configuration="frameskip8")
    envs.reset(seed=1)
    actions = np.zeros(1 << 19, int)
    counted, stop = [0], threading.Event()

    def count():
        while not stop.is_set():
            counted[0] += 1
            time.sleep(0)

    thread = threading.Thread(target=count)
    thread.start()
    try:
        time.sleep(0.05)
        before = counted[0]
        envs._lanes.step(actions)
        during = counted[0] - before
    finally:
        stop.set()
        thread.join()
    # Without the release it would be 0 or 1: the switch before the call and the one after it.
    assert during > 3


@pytest.mark.skipif(sys.platform == "win32", reason="no signals to a process there")
def test_control_c_ends_a_loop_of_steps():
    script = """if True:
        import signal, numpy, lockstep_rl
        # A run started in the background, as CI may be, hands down that Ctrl-C is ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        envs = lockstep_rl.load("pong").make_vec(4096)
        envs.reset(seed=1)
        print("steps", flush=True)
        while True:
            envs.step(numpy.zeros(4096, int))
    """
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "steps\n"
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=30)
    assert "KeyboardInterrupt" in said
