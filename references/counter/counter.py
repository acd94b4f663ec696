"""Counter, a small game: one or two players count up to a limit, and whoever reaches it wins.

Waiting puts a coin into one's purse, a coin buys a leap of unknown length, and a leap takes everybody's eyes off the
board: what the players see is not drawn anew until somebody moves by foot again.
"""

import random
import struct

WAIT, UP, DOWN, LEAP = range(4)
MASK = 0xFFFFFFFF


def single(x):
    """The nearest f32, as a float."""
    return struct.unpack("f", struct.pack("f", x))[0]


TENTH = single(0.1)


class Counter:
    """`draws` says where chance comes from: "served" asks `source`, "exact" is a generator that is part of the game, and
    "recorded" is Python's own. `source` has `below(n, site)` and is told with `note(n, value, site)` of all other draws."""

    def __init__(self, agents=1, limit=10, memory=0, draws="served", steps_max=None, source=None):
        self.agents = agents
        self.limit = limit
        self.everybody = (1 << agents) - 1
        self.steps_max = steps_max
        self.source = source
        self.memory = bytearray(memory)
        self.below = {"served": source.below, "exact": self.below_exact, "recorded": self.below_recorded}[draws]
        self.draws = draws

    def reset(self, seed, stream, episode):
        self.value = 0
        self.deciders = self.everybody
        self.purse = [0, 0]
        self.tick = 0
        self.steps_left = self.steps_max
        self.memory = bytearray(len(self.memory))
        self.generator = (seed ^ stream * 0x9E3779B9 ^ episode * 0x85EBCA6B) & MASK if self.draws == "exact" else 0
        if self.draws == "recorded":
            self.random = random.Random(seed * 1000003 + stream * 7919 + episode)
        self.look()

    def legal(self, agent):
        """Whether each action is allowed."""
        return (True, True, self.value > 0, self.purse[agent] > 0)

    def step(self, actions, pulses=None):
        """One move of everybody who decides; `pulses` gets a row for each unit that the value moves."""
        self.tick += 1
        rewards = [0.0] * self.agents
        leapt = 0
        terminated = False
        for agent, action in enumerate(actions):
            if not self.deciders >> agent & 1:
                continue
            if action == WAIT:
                self.purse[agent] += 1
            elif action == UP:
                for _ in range(1 + self.below(3, "gust")):
                    self.value += 1
                    self.pulse(agent, pulses)
                rewards[agent] += TENTH
            elif action == DOWN:
                self.value -= 1
                self.pulse(agent, pulses)
            else:
                self.purse[agent] -= 1
                self.value += self.below(6, "leap")
                leapt |= 1 << agent
            if self.value >= self.limit:
                rewards = [single(r + 1.0) if a == agent else single(r - 1.0) for a, r in enumerate(rewards)]
                terminated = True
                break
        # Who leaps in a duel has to sit out, unless both did.
        both = self.deciders == 3
        self.deciders = self.everybody
        if both and leapt in (1, 2):
            self.deciders = 3 - leapt
        if not leapt or terminated:
            self.look()
        truncated = False
        if self.steps_left is not None:
            self.steps_left -= 1
            truncated = self.steps_left <= 0
        return rewards, terminated, truncated

    def pulse(self, agent, pulses):
        if pulses is not None:
            pulses.append((agent, self.value))
        if self.memory:
            cell = ((self.value & MASK) * 257 + self.tick & MASK) % len(self.memory)
            self.memory[cell] = self.memory[cell] + 1 & 0xFF

    def look(self):
        """Writes what everybody sees, one player after another: the progress, the own purse, whether it's their turn."""
        view = (self.value / self.limit, self.purse[0], self.deciders & 1)
        if self.agents == 2:
            view += (self.value / self.limit, self.purse[1], self.deciders >> 1)
        self.observations = view

    def below_exact(self, n, site):
        self.generator = self.generator * 1664525 + 1013904223 & MASK
        value = self.generator * n >> 32
        self.source.note(n, value, site)
        return value

    def below_recorded(self, n, site):
        value = self.random.randrange(n)
        self.source.note(n, value, site)
        return value
