"""A small orchard: pick ripe fruit, chase crows, keep the irrigation going.

The farmer walks over a field of trees.  Fruit ripens and rots, crows land on trees and eat, weather changes the soil.
One action a turn: wait, walk in four directions, pick, clap (scares crows that are near), or carry water from the well.
"""

import random
from dataclasses import dataclass, field

WIDTH = 9
HEIGHT = 7
MAX_FRUIT = 6
BASKET = 10
SEASON = 240

WAIT, EAST, WEST, SOUTH, NORTH, PICK, CLAP, WATER = range(8)
MOVES = {EAST: (1, 0), WEST: (-1, 0), SOUTH: (0, 1), NORTH: (0, -1)}
KINDS = ("apple", "pear", "plum")
PRICE = {"apple": 1.0, "pear": 1.5, "plum": 0.5}
RIPENING = {"apple": 6, "pear": 9, "plum": 4}
SKIES = ("clear", "cloudy", "rain")


@dataclass
class Tree:
    x: int
    y: int
    kind: str
    moisture: float
    fruit: list = field(default_factory=list)  # ages, oldest first

    def ripe(self):
        return [age for age in self.fruit if age >= RIPENING[self.kind]]

    def grow(self, sky):
        """One turn of weather and growth; returns how many fruits rotted."""
        if sky == "rain":
            self.moisture = min(self.moisture + 0.08, 1.0)
        elif sky == "clear":
            self.moisture = max(self.moisture - 0.03, 0.0)
        else:
            self.moisture = max(self.moisture - 0.01, 0.0)
        if self.moisture > 0.15:
            self.fruit = [age + 1 for age in self.fruit]
        rotten = sum(age > 3 * RIPENING[self.kind] for age in self.fruit)
        self.fruit = [age for age in self.fruit if age <= 3 * RIPENING[self.kind]]
        if len(self.fruit) < MAX_FRUIT and random.random() < 0.12 * self.moisture:
            self.fruit.append(0)
        return rotten


@dataclass
class Crow:
    x: int
    y: int
    hunger: int
    seated: bool = False


class Orchard:
    n_actions = 8

    def __init__(self, trees=8):
        self.tree_count = trees

    def reset(self):
        self.turn = 0
        self.x, self.y = WIDTH // 2, HEIGHT // 2
        self.basket = []
        self.money = 0.0
        self.water = 0
        self.rotted = 0
        self.stolen = 0
        self.sky = random.choice(SKIES)
        self.crows = []
        self.trees = []
        taken = {(self.x, self.y), (0, 0)}
        while len(self.trees) < self.tree_count:
            x, y = random.randrange(WIDTH), random.randrange(HEIGHT)
            if (x, y) in taken:
                continue
            taken.add((x, y))
            tree = Tree(x, y, random.choice(KINDS), random.uniform(0.3, 0.8))
            tree.fruit = sorted((random.randint(0, 8) for _ in range(random.randint(0, 3))), reverse=True)
            self.trees.append(tree)
        return self.observe()

    # -- what happens in a turn ---------------------------------------------------------------------------------

    def step(self, action):
        before = self.money
        penalty = self.act(action)
        self.change_weather()
        for tree in self.trees:
            lost = tree.grow(self.sky)
            self.rotted += lost
            penalty += 0.05 * lost
        penalty += self.move_crows()
        self.call_crows()
        self.turn += 1
        reward = self.money - before - penalty
        ruined = self.rotted + self.stolen >= 60
        return self.observe(), reward, ruined, self.turn >= SEASON, {}

    def act(self, action):
        if action in MOVES:
            dx, dy = MOVES[action]
            x, y = self.x + dx, self.y + dy
            if not (0 <= x < WIDTH and 0 <= y < HEIGHT):
                return 0.02
            self.x, self.y = x, y
            if (x, y) == (0, 0):
                self.sell()
                self.water = 5
        elif action == PICK:
            return self.pick()
        elif action == CLAP:
            self.clap()
            return 0.01
        elif action == WATER:
            tree = self.tree_at(self.x, self.y)
            if tree is None or self.water == 0:
                return 0.02
            self.water -= 1
            tree.moisture = min(tree.moisture + 0.25, 1.0)
        return 0.0

    def pick(self):
        tree = self.tree_at(self.x, self.y)
        if tree is None or len(self.basket) >= BASKET:
            return 0.02
        ripe = tree.ripe()
        if not ripe:
            return 0.02
        age = ripe[0]
        tree.fruit.remove(age)
        # Fruit that is long over its time is worth less.
        late = age - RIPENING[tree.kind]
        self.basket.append(PRICE[tree.kind] * (1.0 - late / (4 * RIPENING[tree.kind])))
        return 0.0

    def sell(self):
        self.basket.sort(reverse=True)
        for place, price in enumerate(self.basket):
            # The market takes the best ones at full price and then pays less and less.
            self.money += price * (0.95 ** place)
        self.basket = []

    def clap(self):
        for crow in self.crows:
            distance = abs(crow.x - self.x) + abs(crow.y - self.y)
            if distance <= 2:
                crow.seated = False
                crow.hunger -= 2
        self.crows = [crow for crow in self.crows if crow.hunger > 0]

    # -- the others ---------------------------------------------------------------------------------------------

    def change_weather(self):
        if random.random() < 0.1:
            at = SKIES.index(self.sky)
            if at == 1:
                self.sky = random.choice(("clear", "rain"))
            else:
                self.sky = "cloudy"

    def call_crows(self):
        fruit = sum(len(tree.ripe()) for tree in self.trees)
        if len(self.crows) < 6 and random.random() < 0.02 + 0.01 * fruit:
            if random.random() < 0.5:
                x, y = random.choice((0, WIDTH - 1)), random.randrange(HEIGHT)
            else:
                x, y = random.randrange(WIDTH), random.choice((0, HEIGHT - 1))
            self.crows.append(Crow(x, y, random.randint(3, 6)))

    def move_crows(self):
        penalty = 0.0
        for crow in self.crows:
            tree = self.tree_at(crow.x, crow.y)
            if crow.seated and tree is not None and tree.ripe():
                if random.random() < 0.4:
                    tree.fruit.remove(max(tree.fruit))
                    crow.hunger -= 1
                    self.stolen += 1
                    penalty += 0.1
                continue
            crow.seated = False
            target = self.target_of(crow)
            if target is None:
                crow.x += random.choice((-1, 0, 1))
                crow.y += random.choice((-1, 0, 1))
                crow.x = min(max(crow.x, 0), WIDTH - 1)
                crow.y = min(max(crow.y, 0), HEIGHT - 1)
            else:
                crow.x += (target.x > crow.x) - (target.x < crow.x)
                crow.y += (target.y > crow.y) - (target.y < crow.y)
                crow.seated = (crow.x, crow.y) == (target.x, target.y)
        self.crows = [crow for crow in self.crows if crow.hunger > 0]
        return penalty

    def target_of(self, crow):
        """The nearest tree with ripe fruit, away from the farmer; the first one of those that are as near."""
        best, nearest = None, 99
        for tree in self.trees:
            if not tree.ripe() or abs(tree.x - self.x) + abs(tree.y - self.y) <= 1:
                continue
            distance = max(abs(tree.x - crow.x), abs(tree.y - crow.y))
            if distance < nearest:
                best, nearest = tree, distance
        return best

    # -- what is seen -------------------------------------------------------------------------------------------

    def tree_at(self, x, y):
        for tree in self.trees:
            if (tree.x, tree.y) == (x, y):
                return tree
        return None

    def observe(self):
        seen = [self.x / WIDTH, self.y / HEIGHT, len(self.basket) / BASKET, self.water / 5, self.turn / SEASON]
        seen += [float(self.sky == sky) for sky in SKIES]
        for tree in self.trees:
            seen += [(tree.x - self.x) / WIDTH, (tree.y - self.y) / HEIGHT, len(tree.ripe()) / MAX_FRUIT, tree.moisture]
        near = sorted(abs(crow.x - self.x) + abs(crow.y - self.y) for crow in self.crows)
        seen += [distance / (WIDTH + HEIGHT) for distance in near[:3]]
        seen += [1.0] * (3 - len(near[:3]))
        return seen
