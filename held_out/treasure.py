import random


class Treasure:
    n_actions = 5

    def __init__(self, size=6):
        self.size = size

    def reset(self):
        self.x, self.y, self.steps, self.phase = 0, 0, 0, "search"
        self.coins = [(random.randrange(self.size), random.randrange(self.size)) for _ in range(3)]
        return self.look()

    def look(self):
        return [self.x / self.size, self.y / self.size, len(self.coins)]

    def step(self, action):
        dx, dy = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))[action]
        self.x = min(max(self.x + dx, 0), self.size - 1)
        self.y = min(max(self.y + dy, 0), self.size - 1)
        found = self.coins.count((self.x, self.y))
        self.coins = [coin for coin in self.coins if coin != (self.x, self.y)]
        self.steps += 1
        if self.steps > 30:
            self.phase = "hurry"
        return self.look(), float(found), not self.coins, self.steps >= 60, {}
