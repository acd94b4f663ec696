"""Saves one lane and tries several continuations from there: the same actions give the same future, others another."""

import numpy as np

import lockstep_rl

envs = lockstep_rl.load("pong").make_vec(num_envs=4)
generator = np.random.default_rng(0)
envs.reset(seed=1)
for _ in range(100):
    envs.step(generator.integers(3, size=4))

saved = envs.save(lane=2)
for lane in range(4):
    envs.restore(lane, saved)
print("all lanes now show the ball at", envs.state(0)["ball_x"], envs.state(0)["ball_y"])

# Lanes 0 and 1 go up, lanes 2 and 3 go down.
for _ in range(30):
    envs.step(np.array([1, 1, 2, 2]))
paddles = [float(envs.state(lane)["paddle_yr"]) for lane in range(4)]
print("the paddles are at", paddles)
assert paddles[0] == paddles[1] != paddles[2] == paddles[3]
