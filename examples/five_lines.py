"""The five lines: an environment with 4,096 lanes, played at random."""

import gymnasium

import lockstep_rl  # noqa: F401 (it registers the environments)

envs = gymnasium.make_vec("lockstep/Pong-v0", num_envs=4096)
observations, info = envs.reset(seed=0)
for _ in range(1000):
    observations, rewards, terminations, truncations, info = envs.step(envs.action_space.sample())
print(f"{int(terminations.sum())} of {envs.num_envs} episodes ended in the last step")
