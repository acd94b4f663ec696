"""What a step of somebody's environment is given: from its action space, or from the number of actions."""

from . import chance, gym
from .errors import Cannot


class Action:
    """What a step is given, from the action space or from the number of actions."""

    def __init__(self, env, count):
        self.width, self.names, self.low, self.high = 1, [], None, None
        self.kind, self.code, self.numpy = "discrete", "actions[0]", False
        space = getattr(env, "action_space", None)
        if callable(space) and not hasattr(space, "sample"):
            space = space()
        if count is not None:
            self.discrete(int(count))
            return
        if space is None:
            for name in ("n_actions", "num_actions", "action_count", "ACTIONS", "actions"):
                value = getattr(env, name, None)
                if isinstance(value, int) and not isinstance(value, bool):
                    self.discrete(value)
                    return
            raise Cannot(
                "the environment has no action_space",
                "say how many actions there are with --actions N (they are the numbers from 0), or give it an action_space as Gymnasium has it",
            )
        kind = type(space).__name__
        if kind == "Discrete" or kind not in ("MultiDiscrete", "MultiBinary", "Box") and isinstance(getattr(space, "n", None), int):
            start = int(getattr(space, "start", 0))
            self.discrete(int(space.n))
            if start:
                self.code = f"actions[0] + {start}"
        elif kind == "MultiDiscrete":
            sizes = [int(n) for n in chance.numpy.ravel(space.nvec)]
            if chance.numpy.ndim(space.nvec) != 1 or any(chance.numpy.ravel(getattr(space, "start", 0))):
                raise Cannot(f"the action space {space} is not handled", "use one row of sizes that starts at 0")
            self.numpy = True
            if len(set(sizes)) == 1 and 1 < len(sizes) <= 64:
                self.discrete(sizes[0])
                self.width, self.code = len(sizes), "numpy.array(actions[0])"
            else:
                total = 1
                for size in sizes:
                    total *= size
                self.discrete(total)
                self.code = f"numpy.array(digits(actions[0], {sizes}))"
                self.bases = sizes
        elif kind == "MultiBinary" and isinstance(space.n, int) and 1 < space.n <= 64:
            self.width, self.names, self.numpy = space.n, ["off", "on"], True
            self.code = "numpy.array(actions[0], 'int8')"
        elif kind == "Box":
            self.box(space)
        else:
            raise Cannot(
                f"the action space {space} is not handled",
                "Lockstep knows Discrete, MultiDiscrete, MultiBinary and Box; translate it in a small class of your own",
            )

    def discrete(self, count):
        if not 0 < count <= 4096:
            raise Cannot(f"there are {count} actions", "Lockstep lists each one by name; 1 to 4096 are sensible")
        self.names = [str(action) for action in range(count)]
        self.bases = None

    def box(self, space):
        numpy = chance.numpy
        low, high = numpy.ravel(space.low).astype(float), numpy.ravel(space.high).astype(float)
        if not (numpy.isfinite(low).all() and numpy.isfinite(high).all()):
            raise Cannot(f"the action space {space} has no finite bounds", "give it some")
        if not numpy.issubdtype(space.dtype, numpy.floating) or not 0 < low.size <= 64:
            raise Cannot(f"the action space {space} is not handled", "1 to 64 floating-point numbers are")
        self.kind, self.width, self.numpy = "continuous", int(low.size), True
        self.low, self.high = float(low.min()), float(high.max())
        self.shape, self.dtype = tuple(space.shape), str(space.dtype)
        self.lows, self.highs = space.low, space.high
        value = "actions[0]" if self.width > 1 else "actions"
        self.code = f"numpy.array({value}, {self.dtype!r}).reshape({self.shape})"
        if not (low == low[0]).all() or not (high == high[0]).all():
            self.code = f"numpy.clip({self.code}, {space.low.tolist()}, {space.high.tolist()}).astype({self.dtype!r})"

    def roll(self, rolls, mask=None):
        if self.kind == "continuous":
            values = [rolls.uniform(low, high) for low, high in zip(chance.numpy.ravel(self.lows), chance.numpy.ravel(self.highs))]
            actions = [tuple(values)] if self.width > 1 else values
        elif mask is not None:
            legal = [place for place, one in enumerate(mask) if one] or [0]
            actions = [rolls.choice(legal)]
        elif self.width > 1:
            actions = [tuple(rolls.randrange(len(self.names)) for _ in range(self.width))]
        else:
            actions = [rolls.randrange(len(self.names))]
        return eval(self.code, {"actions": actions, "numpy": chance.numpy, "digits": gym.digits})

    def manifest(self, masked):
        if self.kind == "continuous":
            return {"kind": "continuous", "low": self.low, "high": self.high}
        return {"kind": "discrete", "names": self.names, "mask": masked}
