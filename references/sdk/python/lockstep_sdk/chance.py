"""Takes over the random numbers of an environment that never heard of Lockstep: Python's and numpy's generators.

The one idea: `random.Random`, `numpy.random.Generator` and `numpy.random.RandomState` are replaced by subclasses before
the environment is imported. While a lane is played, their methods ask the lane's draws (level `served`), or draw as ever
and note what came (the other levels); at any other time they do what they always did. The same method makes the same
draws at every level, so a backend in Rust is written once:

    random()                   below(2^27) = a, below(2^26) = b, then (a * 2^26 + b) / 2^53
    random(dtype=float32)      below(2^24) / 2^24
    uniform(low, high)         low + (high - low) * random()
    integers(low, high)        low + below(high - low); randrange, randint, choice, … likewise
    choice(a, p=p)             random(), looked up in the running sums of p, divided by the last of them
    choice(a, k, replace=False), sample    k times below(n - i): swap item i with item i + that; the first k
    shuffle, permutation       for i from n - 1 down to 1: j = below(i + 1), swap items i and j
    getrandbits(k), bytes      words, the lowest first; what is left of k bits is below(2^rest)
    normal, exponential, …     at level `recorded` alone: the bits of the result in two words, the upper one first
"""

import random
import struct

try:
    import numpy
except ImportError:
    numpy = None

HIGH, LOW = 1 << 27, 1 << 26
BOUND_MAX = (1 << 32) - 1


class Unhandled(Exception):
    """A random number of a kind that can't be handled at this draw level."""

    def __init__(self, what, why):
        super().__init__(f"{what} is not handled: {why}")


class Chance:
    """Where the random numbers of one lane come from; `with chance:` stands around whatever the environment does."""

    def __init__(self, draws, level):
        self.draws = draws
        self.served = level == "served"
        self.used = None
        self.begin(0)

    def begin(self, seed):
        """Seeds the generators that belong to no object: those behind `random.random()` and `numpy.random.rand()`."""
        self.python = None if self.served else _Random(seed)
        self.legacy = None
        if numpy is not None and not self.served:
            self.legacy = _RandomState(seed & 0xFFFFFFFF)

    def state(self):
        """What belongs to the lane, as plain data: the classes behind it go by other names now."""
        python = self.python and self.python.getstate()
        return python, self.legacy and self.legacy.get_state(legacy=False)

    def restore(self, state):
        self.begin(0)
        python, legacy = state
        if python:
            self.python.setstate(python)
        if legacy:
            self.legacy.set_state(legacy)

    def __enter__(self):
        global _now
        self.before, _now = _now, self

    def __exit__(self, *_):
        global _now
        _now = self.before

    def below(self, bound, real):
        """One draw; `real` makes it with the environment's own generator."""
        if not 0 < bound <= BOUND_MAX:
            raise Unhandled(f"a draw of one in {bound}", "a draw has at most 2^32 - 1 values")
        if self.served:
            return self.draws.below(bound)
        value = int(real())
        self.draws.note(bound, value)
        return value

    def double(self, real):
        """A double in 0 … 1, from 53 bits."""
        if self.served:
            return (self.draws.below(HIGH) * LOW + self.draws.below(LOW)) / (1 << 53)
        value = float(real())
        bits = int(value * (1 << 53))
        self.draws.note(HIGH, bits >> 26)
        self.draws.note(LOW, bits & LOW - 1)
        return value

    def bits(self, count, real):
        """A number of `count` bits."""
        value = 0 if self.served else real()
        for at in range(0, count, 32):
            width = min(32, count - at)
            if not self.served:
                self.draws.note(1 << width, value >> at & (1 << width) - 1)
            elif width == 32:
                value |= self.draws.word() << at
            else:
                value |= self.draws.below(1 << width) << at
        return value

    def whole(self, what, real):
        """The result of a method as it is, in two words for each number."""
        if self.served:
            raise Unhandled(what, "its result follows from uniform numbers by functions that differ between machines")
        value = real()
        for one in numpy.ravel(value).tolist() if hasattr(value, "dtype") else [value]:
            low, high = struct.unpack("<II", struct.pack("<d" if isinstance(one, float) else "<q", one))
            self.draws.note(1 << 32, high)
            self.draws.note(1 << 32, low)
        return value

    def noticed(self, what):
        """For whoever looks at what an environment uses."""
        if self.used is not None:
            self.used[what] = self.used.get(what, 0) + 1


class Fixed:
    """Draws that are the same for every lane and every process: for what an environment draws while it is made."""

    def __init__(self):
        self.random = _Random(0)

    def below(self, bound, site=None):
        return self.random.randrange(bound)

    def word(self, site=None):
        return self.random.getrandbits(32)

    def note(self, bound, value, site=None):
        pass


def aside():
    """Stands around the construction of an environment: not an episode yet, so it takes nothing from the lane."""
    return Chance(Fixed(), "served")


_now = None
_Random = random.Random
# What Python's generator computes with logarithms and the like.
_WHOLE_PYTHON = (
    "betavariate binomialvariate expovariate gammavariate gauss lognormvariate normalvariate paretovariate "
    "vonmisesvariate weibullvariate"
).split()
_METHODS_PYTHON = (
    _WHOLE_PYTHON + "random getrandbits randbytes randrange randint choice choices sample shuffle uniform triangular seed".split()
)


class Random(_Random):
    """`random.Random`, asking the lane's draws."""

    def _own(self):
        # The generator behind `random.random()` belongs to nobody, so each lane has one of its own.
        return _now.python if self is _module_random else _super(self)

    def random(self):
        now = _now
        if now is None:
            return super().random()
        now.noticed("random.random")
        return now.double(lambda: self._own().random())

    def getrandbits(self, k):
        now = _now
        if now is None:
            return super().getrandbits(k)
        now.noticed("random.getrandbits")
        return now.bits(k, lambda: self._own().getrandbits(k))

    def _randbelow(self, n):
        now = _now
        if now is None:
            return _randbelow(self, n)
        now.noticed("random.randrange, choice, shuffle or sample")
        return now.below(n, lambda: _randbelow(self._own(), n))

    def sample(self, population, k, **rest):
        if _now is None or rest:
            return super().sample(population, k, **rest)
        items = list(population)
        if not 0 <= k <= len(items):
            raise ValueError("Sample larger than population or is negative")
        for at in range(k):
            other = at + self._randbelow(len(items) - at)
            items[at], items[other] = items[other], items[at]
        return items[:k]

    def seed(self, *args, **kwargs):
        if _now is None or self is not _module_random:
            return super().seed(*args, **kwargs)
        if not _now.served:
            _now.python.seed(*args, **kwargs)

    def __reduce__(self):
        return _random_again, (self.getstate(),)


class _super:
    """The methods of a generator as they were before they were taken over."""

    def __init__(self, instance):
        self.instance = instance

    def __getattr__(self, name):
        return getattr(_Random, name).__get__(self.instance)


def _randbelow(own, n):
    # As Python does it, in the bits that it takes.
    if n == 0:
        return 0
    k = n.bit_length()
    r = own.getrandbits(k) if not isinstance(own, Random) else _Random.getrandbits(own, k)
    while r >= n:
        r = own.getrandbits(k) if not isinstance(own, Random) else _Random.getrandbits(own, k)
    return r


def _random_again(state):
    again = Random()
    again.setstate(state)
    return again


def _whole_python(name):
    def method(self, *args, **kwargs):
        global _now
        now = _now
        real = getattr(_Random, name)
        if now is None:
            return real(self, *args, **kwargs)
        now.noticed(f"random.{name}")

        def alone():
            global _now
            _now = None
            try:
                return real(now.python if self is _module_random else self, *args, **kwargs)
            finally:
                _now = now

        return now.whole(f"random.{name}", alone)

    method.__name__ = name
    return method


for _name in _WHOLE_PYTHON:
    if hasattr(_Random, _name):
        setattr(Random, _name, _whole_python(_name))
_module_random = Random()


def install():
    """Replaces the generators. What was imported from them before keeps the old ones."""
    random.Random = Random
    for name in _METHODS_PYTHON:
        if hasattr(_module_random, name):
            setattr(random, name, getattr(_module_random, name))
    if numpy is not None:
        numpy.random.Generator = Generator
        numpy.random.RandomState = RandomState
        numpy.random.default_rng = default_rng
        for name in _LEGACY:
            setattr(numpy.random, name, getattr(_module_legacy, name))


if numpy is not None:
    _Generator = numpy.random.Generator
    _RandomState = numpy.random.RandomState
    _default_rng = numpy.random.default_rng

    class _Both:
        """What the new generator of numpy and the old one share; `_kind` is numpy's own class."""

        __slots__ = ()

        def _real(self, name, *args, **kwargs):
            """The method as it was, on the generator that belongs to this lane."""
            global _now
            now, own = _now, self
            if self is _module_legacy:
                own = now.legacy
            _now = None
            try:
                return getattr(self._kind, name)(own, *args, **kwargs)
            finally:
                _now = now

        def _many(self, size, one):
            """One value, or an array of `size`, in the order in which numpy fills it."""
            if size is None:
                return one()
            shape = (size,) if isinstance(size, (int, numpy.integer)) else tuple(size)
            values = [one() for _ in range(int(numpy.prod(shape)))]
            return numpy.array(values, type(values[0]) if values else float).reshape(shape)

        def _double(self):
            return _now.double(lambda: self._real("random"))

        def uniform(self, low=0.0, high=1.0, size=None):
            if _now is None:
                return self._real("uniform", low, high, size)
            _now.noticed(f"{self._called}.uniform")
            low, high = _spread(low, high, size)
            if isinstance(low, float):
                return self._many(size, lambda: low + (high - low) * self._double())
            values = [a + (b - a) * self._double() for a, b in zip(low.ravel().tolist(), high.ravel().tolist())]
            return numpy.array(values).reshape(low.shape)

        def _span(self, low, high, size, dtype, real):
            if high is None:
                low, high = 0, low
            if isinstance(low, numpy.ndarray) or isinstance(high, numpy.ndarray) or isinstance(low, (list, tuple)):
                raise Unhandled(f"{self._called} with an array of bounds", "ask for one number at a time")
            low, span = int(low), int(high) - int(low)
            if span <= 0:
                raise ValueError("low >= high")
            kind = numpy.dtype(dtype).type
            value = self._many(size, lambda: kind(low + _now.below(span, lambda: real(low, low + span) - low)))
            # As numpy: the default is numpy's own whole number, and `int` is Python's.
            return int(value) if size is None and dtype is int else value

        def _position(self, n):
            return _now.below(n, lambda: self._real(self._whole_number, 0, n))

        def _ordered(self, n):
            """n positions in random order."""
            order = list(range(n))
            if _now.served:
                for i in range(n - 1, 0, -1):
                    j = _now.draws.below(i + 1)
                    order[i], order[j] = order[j], order[i]
                return order
            made = self._real("permutation", n).tolist()
            # Which draws led to it: each position was swapped once, from the last to the second.
            for i in range(n - 1, 0, -1):
                j = order.index(made[i])
                order[i], order[j] = order[j], order[i]
                _now.draws.note(i + 1, j)
            return made

        def shuffle(self, x, axis=0):
            if _now is None:
                return self._real("shuffle", x, axis) if self._kind is _Generator else self._real("shuffle", x)
            _now.noticed(f"{self._called}.shuffle")
            if axis:
                raise Unhandled(f"{self._called}.shuffle along axis {axis}", "only the first axis is")
            order = self._ordered(len(x))
            x[:] = x[order] if isinstance(x, numpy.ndarray) else [x[place] for place in order]

        def permutation(self, x, axis=0):
            if _now is None:
                return self._real("permutation", x, axis) if self._kind is _Generator else self._real("permutation", x)
            _now.noticed(f"{self._called}.permutation")
            if axis:
                raise Unhandled(f"{self._called}.permutation along axis {axis}", "only the first axis is")
            if isinstance(x, (int, numpy.integer)):
                return numpy.array(self._ordered(int(x)))
            x = numpy.asarray(x)
            return x[self._ordered(len(x))]

        def choice(self, a, size=None, replace=True, p=None, axis=0, shuffle=True):
            if _now is None:
                rest = (axis, shuffle) if self._kind is _Generator else ()
                return self._real("choice", a, size, replace, p, *rest)
            _now.noticed(f"{self._called}.choice")
            if axis or not shuffle:
                raise Unhandled(f"{self._called}.choice with axis or shuffle", "leave these out")
            items = None if isinstance(a, (int, numpy.integer)) else numpy.asarray(a)
            n = int(a) if items is None else len(items)
            if n == 0 and size != 0:
                raise ValueError("a cannot be empty unless no samples are taken")
            if not replace and size is not None:
                if p is not None:
                    raise Unhandled(f"{self._called}.choice with p and without replacement", "numpy rejects and draws anew")
                places = self._some(n, size)
            elif p is None:
                places = self._many(size, lambda: numpy.int64(self._position(n)))
            else:
                sums = numpy.cumsum(numpy.asarray(p, float))
                if len(sums) != n or not numpy.isclose(sums[-1], 1.0):
                    raise ValueError("probabilities do not sum to 1, or are not one for each item")
                sums /= sums[-1]
                places = self._many(size, lambda: numpy.int64(sums.searchsorted(self._double(), side="right")))
            if items is not None:
                return items[places]
            # One position is Python's whole number, as numpy has it.
            return int(places) if size is None else places

        def _some(self, n, size):
            shape = (size,) if isinstance(size, (int, numpy.integer)) else tuple(size)
            count = int(numpy.prod(shape))
            if count > n:
                raise ValueError("Cannot take a larger sample than population when replace is False")
            made = None if _now.served else numpy.ravel(self._real("choice", n, count, False)).tolist()
            order = list(range(n))
            for i in range(count):
                if made is None:
                    j = _now.draws.below(n - i)
                else:
                    j = order.index(made[i]) - i
                    _now.draws.note(n - i, j)
                order[i], order[i + j] = order[i + j], order[i]
            return numpy.array(order[:count]).reshape(shape)

        def bytes(self, length):
            if _now is None:
                return self._real("bytes", length)
            _now.noticed(f"{self._called}.bytes")
            real = lambda: int.from_bytes(self._real("bytes", length), "little")  # noqa: E731
            return _now.bits(8 * length, real).to_bytes(length, "little")

    class Generator(_Both, _Generator):
        """`numpy.random.Generator`, asking the lane's draws."""

        _kind, _called, _whole_number = _Generator, "Generator", "integers"

        def random(self, size=None, dtype=numpy.float64, out=None):
            if _now is None:
                return self._real("random", size, dtype, out)
            _now.noticed("Generator.random")
            if out is not None:
                raise Unhandled("Generator.random with out", "take what it returns")
            if numpy.dtype(dtype) == numpy.float32:
                real = lambda: int(self._real("random", None, numpy.float32) * (1 << 24))  # noqa: E731
                one = lambda: numpy.float32(_now.below(1 << 24, real) / (1 << 24))  # noqa: E731
                value = self._many(size, one)
                return float(value) if size is None else value
            return self._many(size, self._double)

        def integers(self, low, high=None, size=None, dtype=numpy.int64, endpoint=False):
            if _now is None:
                return self._real("integers", low, high, size, dtype, endpoint)
            _now.noticed("Generator.integers")
            if endpoint:
                low, high = (0, low + 1) if high is None else (low, high + 1)
            return self._span(low, high, size, dtype, lambda a, b: int(self._real("integers", a, b)))

        def permuted(self, x, *, axis=None, out=None):
            if _now is None:
                return self._real("permuted", x, axis=axis, out=out)
            raise Unhandled("Generator.permuted", "use permutation")

        def __reduce__(self):
            return Generator, (self.bit_generator,)

    class RandomState(_Both, _RandomState):
        """`numpy.random.RandomState`, asking the lane's draws."""

        _kind, _called, _whole_number = _RandomState, "RandomState", "randint"

        def random_sample(self, size=None):
            if _now is None:
                return self._real("random_sample", size)
            _now.noticed("RandomState.random_sample")
            return self._many(size, self._double)

        def random(self, size=None):
            return self.random_sample(size)

        def rand(self, *shape):
            return self.random_sample(shape or None)

        def randint(self, low, high=None, size=None, dtype=int):
            if _now is None:
                return self._real("randint", low, high, size, dtype)
            _now.noticed("RandomState.randint")
            return self._span(low, high, size, dtype, lambda a, b: int(self._real("randint", a, b)))

        def seed(self, seed=None):
            if _now is None or self is not _module_legacy:
                return _RandomState.seed(self, seed)
            if not _now.served:
                _now.legacy.seed(seed)

        def __reduce__(self):
            return _state_again, (self.get_state(legacy=False),)

    def default_rng(seed=None):
        """`numpy.random.default_rng`."""
        if isinstance(seed, Generator):
            return seed
        made = _default_rng(seed)
        return Generator(made.bit_generator)

    def _state_again(state):
        again = RandomState()
        again.set_state(state)
        return again

    def _whole(kind, called, name):
        def method(self, *args, **kwargs):
            if _now is None:
                return self._real(name, *args, **kwargs)
            _now.noticed(f"{called}.{name}")
            return _now.whole(f"{called}.{name}", lambda: self._real(name, *args, **kwargs))

        method.__name__ = name
        return method

    _DISTRIBUTIONS = (
        "beta binomial chisquare dirichlet exponential f gamma geometric gumbel hypergeometric laplace logistic "
        "lognormal logseries multinomial multivariate_hypergeometric multivariate_normal negative_binomial "
        "noncentral_chisquare noncentral_f normal pareto poisson power rayleigh standard_cauchy standard_exponential "
        "standard_gamma standard_normal standard_t triangular vonmises wald weibull zipf randn tomaxint random_integers"
    ).split()
    for _class, _called in ((Generator, "Generator"), (RandomState, "RandomState")):
        for _name in _DISTRIBUTIONS:
            if hasattr(_class._kind, _name):
                setattr(_class, _name, _whole(_class._kind, _called, _name))
    _module_legacy = RandomState(0)
    _LEGACY = [
        _name
        for _name in _DISTRIBUTIONS + "bytes choice permutation rand randint random random_sample seed shuffle uniform".split()
        if hasattr(_module_legacy, _name)
    ]

    def _spread(low, high, size):
        """The bounds as floats, or as arrays of one shape."""
        if numpy.ndim(low) == 0 and numpy.ndim(high) == 0:
            return float(low), float(high)
        low, high = numpy.broadcast_arrays(numpy.asarray(low, float), numpy.asarray(high, float))
        if size is not None:
            low, high = numpy.broadcast_to(low, size), numpy.broadcast_to(high, size)
        return low, high

else:
    _module_legacy = None
