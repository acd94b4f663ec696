"""What was seen of the values of an environment: kind, range and size, merged over all steps of play."""

import enum
import pickle
import sys
import types
from collections import deque

from . import chance

SKIPPED = set(
    "spec metadata render_mode np_random _np_random _np_random_seed action_space observation_space reward_range screen "
    "clock window viewer surf font renderer window_surface isopen screen_width screen_height".split()
)
LEAVES_MAX = 100_000
WORDS_MAX = 256


def attributes(thing):
    """The attributes of an object, by `__dict__` and `__slots__`."""
    for name, value in list(getattr(thing, "__dict__", {}).items()):
        yield name, value
    for cls in type(thing).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(thing, name):
                yield name, getattr(thing, name)


def is_state(name, value):
    """Whether an attribute may be a part of the state: no space, generator, function, or thing to draw with."""
    if name in SKIPPED or name.startswith("__"):
        return False
    if callable(value) and not hasattr(value, "__dict__") or isinstance(value, (types.FunctionType, types.MethodType, type, types.ModuleType)):
        return False
    if isinstance(value, chance._Random) or chance.numpy is not None and isinstance(value, (chance._Generator, chance._RandomState)):
        return False
    module = type(value).__module__
    return not module.startswith(("gymnasium.spaces", "gym.spaces", "gymnasium.envs.registration", "pygame", "logging", "threading"))


def compiled_type(value):
    """The name of a type that is compiled, and not of Python or numpy."""
    cls = type(value)
    root = cls.__module__.split(".")[0]
    if root in ("builtins", "numpy", "collections", "_thread", "_random", "random", "datetime", "decimal", "fractions", "functools", "itertools"):
        return ""
    module = sys.modules.get(cls.__module__)
    file = getattr(module, "__file__", "") or ""
    compiled = not file.endswith(".py") or "SwigPyObject" in repr(cls.__mro__) or hasattr(cls, "thisown")
    return f"{cls.__module__}.{cls.__name__}" if compiled and cls.__module__ != "__main__" else ""


def fingerprint(value):
    try:
        return pickle.dumps(value, 4)
    except Exception:
        text = repr(value)
        return text if " at 0x" not in text else id(value)


class Seen:
    """`kind` is one of bool, int, float, single, text, array, list, record, map, nothing, other."""

    def __init__(self, kind, **rest):
        self.kind = kind
        self.optional = False
        self.low = self.high = None
        self.words = []
        self.dtype = self.shape = None
        self.varies = False
        self.type = None
        self.count_low = self.count_high = 0
        self.item = None
        self.parts = {}
        self.why = ""
        self.mark = None
        self.__dict__.update(rest)

    def leaf_varies(self):
        if self.optional or self.varies:
            return True
        if self.kind in ("bool", "int", "float", "single"):
            return self.low != self.high
        if self.kind == "text":
            return len(self.words) > 1
        parts = [part for part in (self.item, *self.parts.values()) if part is not None]
        if self.kind in ("list", "map", "record"):
            return self.count_low != self.count_high or any(part.leaf_varies() for part in parts)
        return self.kind == "other"


def describe(value, known, path, depth=0):
    """What one value is. `known` has the objects seen before in the same state, by id."""
    if value is None:
        return Seen("nothing")
    numpy = chance.numpy
    if isinstance(value, bool) or numpy is not None and isinstance(value, numpy.bool_):
        return Seen("bool", low=bool(value), high=bool(value))
    if isinstance(value, enum.Enum):
        members = list(type(value))
        return Seen("text", words=members, type=type(value), varies=False, mark=members.index(value))
    if isinstance(value, str):
        return Seen("text", words=[str(value)])
    if isinstance(value, int) or numpy is not None and isinstance(value, numpy.integer):
        return Seen("int", low=int(value), high=int(value))
    if numpy is not None and isinstance(value, numpy.float32):
        return Seen("single", low=float(value), high=float(value))
    if isinstance(value, float) or numpy is not None and isinstance(value, numpy.floating) and value.dtype.itemsize == 8:
        return Seen("float", low=float(value), high=float(value))
    if numpy is not None and isinstance(value, numpy.ndarray):
        return array(value)
    if depth > 6:
        return Seen("other", why="nested too deeply")
    if isinstance(value, (bytes, bytearray)):
        value = list(value)
    if isinstance(value, (list, tuple, deque, set, frozenset, dict)) or hasattr(value, "__dict__") or hasattr(type(value), "__slots__"):
        mutable = not isinstance(value, (tuple, frozenset))
        if mutable and id(value) in known:
            return Seen("other", why=f"the same object as `{known[id(value)]}`: keep its place in a list instead, as a number")
        known[id(value)] = path
        known[("alive", id(value))] = value
    if isinstance(value, (set, frozenset)):
        try:
            items = sorted(value)
        except TypeError:
            return Seen("other", why="a set of things without an order")
        return sequence(items, type(value), known, path, depth)
    if isinstance(value, (list, tuple, deque)):
        return sequence(value, type(value), known, path, depth)
    if isinstance(value, dict):
        return mapping(value, known, path, depth)
    if callable(value) or isinstance(value, (types.ModuleType,)):
        return Seen("other", why="a function")
    if (hasattr(value, "__dict__") or hasattr(type(value), "__slots__")) and not compiled_type(value):
        parts = {}
        for name, part in attributes(value):
            if is_state(name, part):
                parts[name] = describe(part, known, f"{path}.{name}", depth + 1)
        return Seen("record", parts=parts, type=type(value))
    return Seen("other", why=f"a {type(value).__module__}.{type(value).__name__}")


DTYPES = {"bool": "u8", "uint8": "u8", "int8": "i8", "uint16": "u16", "int16": "i16", "uint32": "u32", "int32": "i32", "uint64": "u64", "int64": "i64", "float32": "f32", "float64": "f64"}


def array(value):
    if str(value.dtype) not in DTYPES:
        return Seen("other", why=f"an array of {value.dtype}")
    if value.size > LEAVES_MAX:
        return Seen("other", why=f"an array of {value.size} values: list it by hand, as a region")
    if value.size == 0 or value.ndim > 4:
        return Seen("other", why=f"an array of the shape {value.shape}")
    if value.ndim == 0:
        return describe(value[()], {}, "")
    low, high = value.min().item(), value.max().item()
    return Seen("array", dtype=str(value.dtype), shape=value.shape, mark=value.tobytes(), low=low, high=high)


def sequence(items, kind, known, path, depth):
    if len(items) > LEAVES_MAX:
        return Seen("other", why=f"a list of {len(items)}: keep it as an array")
    if kind is tuple and items and len({type(item) for item in items}) > 1 and not all(isinstance(item, (int, float)) for item in items):
        parts = {place: describe(item, known, f"{path}[{place}]", depth + 1) for place, item in enumerate(items)}
        return Seen("record", parts=parts, type=tuple)
    item = None
    for place, one in enumerate(items):
        seen = describe(one, known, f"{path}[{place}]", depth + 1)
        item = seen if item is None else merge(item, seen)
    return Seen("list", type=kind, count_low=len(items), count_high=len(items), item=item)


def mapping(value, known, path, depth):
    if len(value) > LEAVES_MAX:
        return Seen("other", why=f"a dict of {len(value)}: keep it as an array")
    if value and all(isinstance(key, str) and key.isidentifier() for key in value):
        parts = {key: describe(one, known, f"{path}[{key!r}]", depth + 1) for key, one in value.items()}
        return Seen("record", parts=parts, type=dict)
    try:
        keys = sorted(value)
    except TypeError:
        return Seen("other", why="a dict whose keys have no order")
    pairs = [(key, value[key]) for key in keys]
    seen = Seen("map", type=dict, count_low=len(pairs), count_high=len(pairs))
    for key, one in pairs:
        for name, part in (("key", key), ("value", one)):
            found = describe(part, known, f"{path}[{key!r}]", depth + 1)
            seen.parts[name] = merge(seen.parts[name], found) if name in seen.parts else found
    return seen


def merge(a, b):
    """What holds for both."""
    if a.kind == "nothing" and b.kind == "nothing":
        return a
    if b.kind == "nothing":
        a.optional = True
        return a
    if a.kind == "nothing":
        b.optional = True
        return b
    optional = a.optional or b.optional
    kinds = {a.kind, b.kind}
    if kinds <= {"bool", "int", "float"}:
        kind = "float" if "float" in kinds else "int" if "int" in kinds else "bool"
        return Seen(kind, low=min(a.low, b.low), high=max(a.high, b.high), optional=optional)
    if kinds == {"single"}:
        return Seen("single", low=min(a.low, b.low), high=max(a.high, b.high), optional=optional)
    if "other" in kinds:
        return a if a.kind == "other" else b
    if len(kinds) > 1:
        return Seen("other", why=f"sometimes {a.kind} and sometimes {b.kind}", optional=optional)
    a.optional = optional
    if a.kind == "text":
        if a.type is not b.type:
            return Seen("other", why="sometimes text and sometimes a member of an enum")
        if a.type is not None:
            a.varies = a.varies or b.varies or a.mark != b.mark
            return a
        a.words += [word for word in b.words if word not in a.words]
        return a if len(a.words) <= WORDS_MAX else Seen("other", why=f"text in more than {WORDS_MAX} forms")
    if a.kind == "array":
        if (a.dtype, a.shape) != (b.dtype, b.shape):
            return Seen("other", why=f"an array that was {a.dtype}{list(a.shape)} and then {b.dtype}{list(b.shape)}")
        a.varies = a.varies or b.varies or a.mark != b.mark
        a.low, a.high = min(a.low, b.low), max(a.high, b.high)
        return a
    if a.kind in ("list", "map"):
        if a.type is not b.type:
            return Seen("other", why=f"sometimes a {a.type.__name__} and sometimes a {b.type.__name__}")
        a.count_low, a.count_high = min(a.count_low, b.count_low), max(a.count_high, b.count_high)
        if a.item is None or b.item is None:
            a.item = a.item or b.item
        else:
            a.item = merge(a.item, b.item)
        for name, part in b.parts.items():
            a.parts[name] = merge(a.parts[name], part) if name in a.parts else part
        return a
    if a.type is not b.type:
        return Seen("other", why=f"sometimes a {a.type.__name__} and sometimes a {b.type.__name__}")
    if set(a.parts) != set(b.parts):
        return Seen("other", why="a dict whose keys change" if a.type is dict else "an object whose attributes change")
    for name, part in b.parts.items():
        a.parts[name] = merge(a.parts[name], part)
    return a
