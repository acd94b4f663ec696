"""The adapter of an environment with Gymnasium's `reset` and `step`, of which `lockstep new` writes the particular part.

A subclass says how the environment is made (`make`), what an action is (`act`), which numbers an observation is made of
(`look`) and which the state (`canonical`), and may say how a state is put back (`put`) and which lists have a bound
(`sizes`). A list that outgrows its bound ends the episode as truncated and is counted in the field `capacity`: the
backend does the same, so it is compared like everything else, and nothing is cut in silence.

Importing this replaces Python's and numpy's generators (chance.py), so import it before the environment.
"""

import importlib
import inspect

from . import chance
from .chance import Chance, aside
from .errors import AdapterError, Refused
from .schema import flatten

chance.install()


class GymLane:
    version = "1"
    # Texts that stand in the state as numbers: {field: [text, …]}, numbered from 0.
    words = {}
    # What an injected state may hold: {field: (smallest, largest)}. Beyond what was seen, an environment may do anything.
    limits = {}
    # Whether each episode gets a new environment, because something of the last one survives its `reset`.
    fresh = False

    def __init_subclass__(cls):
        super().__init_subclass__()
        if hasattr(cls, "put"):
            cls.inject = cls._inject

    def __init__(self, setup, draws):
        self.chance = Chance(draws, setup.draw_level)
        self.steps_max = setup.episode_steps_max
        with aside():
            self.env = self.make(dict(setup.options))
        self.seed_wanted = seed_of(self.env.reset)
        self.elapsed = self.capacity = 0
        # Whether this episode began in a state that somebody put together, which may be none.
        self.injected = False
        # What the environment returned, and the numbers of it.
        self.seen, self.observations = None, ()
        # What it was made from stays; a snapshot holds the rest.
        self.setup = setup

    # What a subclass says.

    def make(self, options):
        """The environment."""
        raise NotImplementedError

    def act(self, actions):
        """What the environment's `step` is given for the actions of this step."""
        return actions[0]

    def look(self, observation):
        """The numbers of an observation, as one flat tuple: `flat(…)`."""
        raise NotImplementedError

    def sizes(self):
        """(name, size, bound) of each list that has a bound."""
        return ()

    # What the SDK asks for.

    def reset(self, start):
        self.elapsed, self.capacity, self.injected = start.elapsed, 0, False
        seed = (start.seed * 1000003 + start.stream * 7919 + start.episode) & 0x7FFFFFFF
        self.chance.begin(seed)
        if self.fresh:
            with aside():
                self.env = self.make(dict(self.setup.options))
        if not self.chance.served:
            reseed(self.env, seed)
        with self.chance:
            self.seen = observation = self.begin(seed)
        for name, size, bound in self.sizes():
            if size > bound:
                raise AdapterError(f"`{name}` has {size} items after a reset, and the manifest has room for {bound}")
        self.observations = self.look(observation)

    def begin(self, seed):
        """Calls the environment's `reset` and returns the observation."""
        # A generator that is served is not seeded: its numbers are the harness's.
        needed = self.seed_wanted == "must" or (self.seed_wanted and not self.chance.served)
        answer = self.env.reset(seed=seed) if needed else self.env.reset()
        if type(answer) is tuple and len(answer) == 2 and isinstance(answer[1], dict):
            return answer[0]
        return answer

    def step(self, actions, rows=None):
        action = self.act(actions)
        try:
            with self.chance:
                answer = self.env.step(action)
        except Exception as error:
            if self.injected:
                raise Refused(f"the environment fails in this state: {type(error).__name__}: {error}") from error
            raise
        observation, reward, terminated, truncated = stepped(answer, self.env.step)
        self.seen = observation
        self.elapsed += 1
        if self.steps_max is not None and self.elapsed >= self.steps_max:
            truncated = True
        for _, size, bound in self.sizes():
            if size > bound:
                self.capacity += 1
                truncated = True
        self.observations = self.look(observation)
        return (float(reward),), bool(terminated), bool(truncated)

    def snapshot(self):
        return self.env, self.observations, self.elapsed, self.capacity, self.injected, self.chance.state()

    def restore(self, state):
        self.env, self.observations, self.elapsed, self.capacity, self.injected, drawn = state
        self.chance.restore(drawn)

    def _inject(self, start, fields, observations):
        if not self.chance.served:
            raise Refused("the generators of the environment are not a part of the state")
        for name, (low, high) in self.limits.items():
            values = fields[name] if isinstance(fields[name], tuple) else (fields[name],)
            if not all(low <= value <= high for value in values):
                raise Refused(f"`{name}` is beyond {low} to {high}, see `limits` in the adapter")
        self.elapsed, self.capacity, self.injected = start.elapsed, fields.get("capacity", 0), True
        # So that everything is there that `put` writes into. These draws are not the episode's.
        with aside():
            if self.fresh:
                self.env = self.make(dict(self.setup.options))
            self.begin(0)
        self.put(fields)
        self.observations = observations

    # Texts as numbers.

    def code(self, field, text):
        known = self.words[field]
        for place, word in enumerate(known):
            if word == text:
                return place
        raise AdapterError(
            f"`{field}` is {text!r}, which `words` in the adapter does not have: {', '.join(map(repr, known))} "
            "(hint: add it there)",
            self.canonical,
        )

    def word(self, field, code):
        known = self.words[field]
        if code >= len(known):
            raise Refused(f"`{field}` has no word {code}")
        return known[code]


def stepped(answer, step):
    """(observation, reward, terminated, truncated) of what a `step` returned, in any of the forms that are around."""
    if type(answer) is tuple and len(answer) == 5:
        return answer[:4]
    if type(answer) is tuple and len(answer) == 4 and isinstance(answer[3], dict):
        observation, reward, done, info = answer
        truncated = bool(info.get("TimeLimit.truncated", False))
        return observation, reward, bool(done) and not truncated, truncated
    if type(answer) is tuple and len(answer) == 3:
        return (*answer, False)
    what = f"a tuple of {len(answer)}" if type(answer) is tuple else type(answer).__name__
    raise AdapterError(f"step() gave {what}, expected (observation, reward, terminated, truncated, info)", step)


def seed_of(reset):
    """Whether a `reset` takes a seed: False, "may" or "must"."""
    try:
        parameters = inspect.signature(reset).parameters
    except (TypeError, ValueError):
        return False
    seed = parameters.get("seed")
    if seed is None:
        return False
    return "must" if seed.default is inspect.Parameter.empty else "may"


def reseed(thing, seed, depth=3, seen=None):
    """Seeds the generators that an environment holds, so that an episode follows from its seed alone."""
    seen = set() if seen is None else seen
    for value in list(getattr(thing, "__dict__", {}).values()):
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, chance.Random):
            chance._Random.seed(value, seed)
        elif chance.numpy is not None and isinstance(value, chance.Generator):
            value.bit_generator.state = type(value.bit_generator)(seed).state
        elif chance.numpy is not None and isinstance(value, chance.RandomState):
            chance._RandomState.seed(value, seed)
        elif depth and hasattr(value, "__dict__") and not inspect.isclass(value) and not inspect.ismodule(value):
            reseed(value, seed, depth - 1, seen)


def flat(*values):
    """All numbers of these values, in order, as one tuple."""
    return tuple(flatten(values))


def padded(items, count):
    """Exactly `count` numbers: those of the items, then zeros. What is beyond is counted in `capacity`, see `sizes`."""
    numbers = list(flatten(list(items)))[:count]
    return numbers + [0] * (count - len(numbers))


def made(module, name, **attributes):
    """An object of a class with these attributes; its `__init__` is not run, since they are all that was seen of it."""
    kind = getattr(importlib.import_module(module), name)
    one = kind.__new__(kind)
    for attribute, value in attributes.items():
        object.__setattr__(one, attribute, value)
    return one


def rows(numbers, count, width):
    """The first `count` rows of `width` numbers."""
    return [tuple(numbers[at : at + width]) for at in range(0, min(count * width, len(numbers)), width)]


def singles(value, shape=()):
    """The numbers of an array of float32, and of nothing else: a double would be rounded in silence."""
    dtype = getattr(value, "dtype", type(value).__name__)
    if dtype != "float32":
        raise AdapterError(f"there is a {dtype} where a float32 was seen before (hint: make the field f64 in env.toml)")
    if value.shape != tuple(shape):
        raise AdapterError(f"there is an array of {value.shape} where {tuple(shape)} was seen before")
    return value.ravel().tolist()


def digits(number, bases):
    """The parts of an action that stands for several, the last one changing fastest."""
    parts = []
    for base in reversed(bases):
        number, part = divmod(number, base)
        parts.append(part)
    return parts[::-1]
