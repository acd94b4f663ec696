"""PPO on Puffer Pong in torch, in the manner of CleanRL: one file, nothing hidden.

    python examples/train_torch.py --steps 2000000

Observations go to torch without a copy. An episode that ends is followed by the next in the same step, as in PufferLib,
so `terminations` cuts the returns and nothing has to be bootstrapped.
"""

import argparse
import time

import gymnasium
import torch
from torch import nn

import lockstep_rl  # noqa: F401 (it registers the environments)


def layer(inputs: int, outputs: int, gain: float) -> nn.Linear:
    linear = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(linear.weight, gain)
    nn.init.zeros_(linear.bias)
    return linear


class Agent(nn.Module):
    """Two hidden layers, one head for actions and one for the value."""

    def __init__(self, inputs: int, actions: int, width: int = 64) -> None:
        super().__init__()
        self.body = nn.Sequential(layer(inputs, width, 2**0.5), nn.Tanh(), layer(width, width, 2**0.5), nn.Tanh())
        self.policy, self.value = layer(width, actions, 0.01), layer(width, 1, 1.0)

    def forward(self, observations: torch.Tensor) -> tuple[torch.distributions.Categorical, torch.Tensor]:
        hidden = self.body(observations)
        return torch.distributions.Categorical(logits=self.policy(hidden)), self.value(hidden).squeeze(-1)


def train(
    steps: int, lanes: int = 256, horizon: int = 64, epochs: int = 2, batches: int = 4, seed: int = 1, frameskip8: bool = True
) -> list[float]:
    """Trains; returns the mean reward per step of each rollout."""
    torch.manual_seed(seed)
    configuration = "frameskip8" if frameskip8 else "default"
    envs = gymnasium.make_vec("lockstep/Pong-v0", num_envs=lanes, configuration=configuration)
    agent = Agent(envs.single_observation_space.shape[0], int(envs.single_action_space.n))
    optimiser = torch.optim.Adam(agent.parameters(), lr=1e-3, eps=1e-5)
    shape = (horizon, lanes)
    seen = torch.zeros(*shape, *envs.single_observation_space.shape)
    actions, log_probabilities, rewards, values, ends = (torch.zeros(shape) for _ in range(5))
    observations, _ = envs.reset(seed=seed)
    means, started = [], time.monotonic()
    for rollout in range(max(1, steps // (lanes * horizon))):
        for step in range(horizon):
            # The array is written again after the step after the next; the copy into `seen` is the one that is kept.
            seen[step] = torch.from_numpy(observations)
            with torch.no_grad():
                policy, values[step] = agent(seen[step])
            action = policy.sample()
            actions[step], log_probabilities[step] = action, policy.log_prob(action)
            observations, reward, terminations, truncations, _ = envs.step(action.numpy())
            rewards[step] = torch.from_numpy(reward)
            ends[step] = torch.from_numpy(terminations | truncations)
        with torch.no_grad():
            following = agent(torch.from_numpy(observations))[1]
        advantages, advantage = torch.zeros(shape), torch.zeros(lanes)
        for step in reversed(range(horizon)):
            goes_on = 1 - ends[step]
            delta = rewards[step] + 0.99 * following * goes_on - values[step]
            advantage = delta + 0.99 * 0.95 * goes_on * advantage
            advantages[step], following = advantage, values[step]
        returns = advantages + values
        flat = [part.reshape(lanes * horizon, *part.shape[2:]) for part in (seen, actions, log_probabilities, advantages, returns)]
        for _ in range(epochs):
            for chosen in torch.randperm(lanes * horizon).chunk(batches):
                seen_now, action, before, advantage, target = (part[chosen] for part in flat)
                policy, value = agent(seen_now)
                ratio = (policy.log_prob(action) - before).exp()
                advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
                gain = torch.min(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage).mean()
                loss = (value - target).square().mean() / 2 - gain - 0.01 * policy.entropy().mean()
                optimiser.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
                optimiser.step()
        means.append(float(rewards.mean()))
        if rollout % 10 == 0:
            played = (rollout + 1) * lanes * horizon
            print(f"{played:>10} steps  {played / (time.monotonic() - started):>9.0f} steps/s  reward {means[-1]:+.4f} a step")
    envs.close()
    return means


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2_000_000)
    train(parser.parse_args().steps)
