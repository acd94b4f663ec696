"""The bare reference as `lockstep bench` times it: bench.py gymnasium|rollout STEPS LANES OPTIONS.

`gymnasium` is one environment as `gymnasium.make` gives it, stepped from Python. `rollout` is MuJoCo's own batched driver
on one thread, with what an environment adds: observations, rewards, the time limit and resets. It is told the controls of
ten steps at once, which is the best that can be done for it. Episodes of the lanes are spread over the time limit, and
what is played before the clock starts has brought them to the floor. Prints one JSON object with steps and CPU seconds.
"""

import json
import os
import sys
import tempfile
import time

import gymnasium
import mujoco
import mujoco.rollout
import numpy as np

EPISODE_STEPS = 1000
WARM_UP = 60
# Steps of one call.
STEPS = 10


def time_gymnasium(steps, lanes, options):
    env = gymnasium.make("HalfCheetah-v5", disable_env_checker=True, **options)
    env.reset(seed=7)
    rng = np.random.default_rng(1)
    actions = rng.uniform(-1, 1, (1024, 6)).astype(np.float32)

    def play(count):
        for index in range(count):
            _, _, terminated, truncated, _ = env.step(actions[index % 1024])
            if terminated or truncated:
                env.reset()

    play(WARM_UP)
    begin = time.process_time()
    play(steps)
    return steps, time.process_time() - begin, "24 B of actions", "136 B of observations, 8 B of reward, a dict of info"


def time_rollout(steps, lanes, options):
    cheetah = gymnasium.make("HalfCheetah-v5", **options).unwrapped
    model, data = cheetah.model, mujoco.MjData(cheetah.model)
    skip, scale = cheetah.frame_skip, cheetah._reset_noise_scale
    first = 0 if not cheetah._exclude_current_positions_from_observation else 1
    size = mujoco.mj_stateSize(model, mujoco.mjtState.mjSTATE_FULLPHYSICS)
    rng = np.random.default_rng(7)

    def start(count):
        place = np.zeros((count, size))
        place[:, 1:10] = rng.uniform(-scale, scale, (count, 9))
        place[:, 10:19] = scale * rng.standard_normal((count, 9))
        return place

    place = start(lanes)
    elapsed = np.arange(lanes) * EPISODE_STEPS // lanes // STEPS * STEPS
    actions = rng.uniform(-1, 1, (4, lanes, STEPS, 6))
    controls = np.repeat(np.clip(actions, -1, 1), skip, axis=2)
    costs = cheetah._ctrl_cost_weight * (actions**2).sum(axis=3)
    states = np.empty((lanes, STEPS * skip, size))
    models, datas = [model] * lanes, [data]

    def play(count):
        nonlocal place
        for index in range(count):
            before = place[:, 1].copy()
            mujoco.rollout.rollout(
                models, datas, place, controls[index % 4], skip_checks=True, nstep=STEPS * skip, state=states
            )
            seen = states[:, skip - 1 :: skip]
            x = np.concatenate((before[:, None], seen[:, :, 1]), axis=1)
            rewards = cheetah._forward_reward_weight * np.diff(x) / cheetah.dt - costs[index % 4]
            observations = np.ascontiguousarray(seen[:, :, 1 + first : 19])
            place = seen[:, -1].copy()
            elapsed[:] += STEPS
            ended = elapsed >= EPISODE_STEPS
            if ended.any():
                place[ended] = start(int(ended.sum()))
                elapsed[ended] = 0
        return observations, rewards

    play(WARM_UP // STEPS)
    calls = max(1, round(steps / lanes / STEPS))
    begin = time.process_time()
    play(calls)
    seconds = time.process_time() - begin
    return calls * STEPS * lanes, seconds, "48 B of actions", f"{8 * (18 - first)} B of observations, 8 B of reward"


def main():
    if len(sys.argv) != 5 or sys.argv[1] not in ("gymnasium", "rollout"):
        print("usage: bench.py gymnasium|rollout STEPS LANES OPTIONS", file=sys.stderr)
        sys.exit(2)
    how, steps, lanes, options = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4])
    # MuJoCo writes its log of warnings into the current folder.
    os.chdir(tempfile.gettempdir())
    play = time_rollout if how == "rollout" else time_gymnasium
    done, seconds, reads, writes = play(steps, lanes, options)
    layout = {"steps": done, "cpu_seconds": seconds, "layout": "rows", "instructions": "as in its wheel"}
    print(json.dumps({**layout, "reads": reads, "writes": writes}))


if __name__ == "__main__":
    main()
