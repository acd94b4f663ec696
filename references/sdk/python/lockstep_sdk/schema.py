"""The `hello` of the judge, checked, and the layouts that follow from it: how values become the bytes of a record.

The one idea: the values of a whole record are packed by one `struct.Struct` that was compiled before, one for each number
of draws. Only when that fails does anybody look at the fields one by one, to name the one that is wrong.
"""

import struct

from .digest import choose
from .draws import Sites
from .errors import AdapterError, BadRequest

PROTOCOL = "lockstep/1"
CODES = {"u8": "B", "i8": "b", "u16": "H", "i16": "h", "u32": "I", "i32": "i", "u64": "Q", "i64": "q", "f32": "f", "f64": "d"}
AGENTS_MAX = 16
SIZE_MAX = 256 << 20


class Field:
    """One named value, array or region of a record."""

    def __init__(self, json, what):
        self.name = _take(json, "name", str, what)
        self.dtype = _take(json, "dtype", str, what)
        self.shape = _take(json, "shape", list, what, [])
        self.region = self.dtype == "region"
        if not self.region and self.dtype not in CODES:
            raise BadRequest(f"{what} `{self.name}` has the unknown dtype {self.dtype!r}")
        self.count = 1
        for size in self.shape:
            if type(size) is not int or not 0 < size <= SIZE_MAX:
                raise BadRequest(f"{what} `{self.name}` has the size {size!r} in its shape")
            self.count *= size
        if self.region and len(self.shape) != 1:
            raise BadRequest(f"{what} `{self.name}` is a region and needs a shape of one size")
        if self.count > SIZE_MAX:
            raise BadRequest(f"{what} `{self.name}` is larger than {SIZE_MAX} bytes")
        self.single = self.shape == []
        code = "s" if self.region else CODES[self.dtype]
        self.code = code if self.single else f"{self.count}{code}"
        self.layout = struct.Struct("<" + self.code)
        self.size = self.layout.size
        # In a record a region is its digest.
        self.record_code = "Q" if self.region else self.code
        if self.size > SIZE_MAX:
            raise BadRequest(f"{what} `{self.name}` is larger than {SIZE_MAX} bytes")

    def pack(self, value, method):
        """The bytes of one value; the error names the field."""
        if _is_bytes(value):
            data = bytes(value)
            if len(data) != self.size:
                raise AdapterError(f"{self._named(method)} is {len(data)} bytes, expected {self.size}", method)
            return data
        if self.region:
            raise AdapterError(f"{self._named(method)} is {_kind(value)}, expected {self.size} bytes", method)
        values = (value,) if self.single else flatten(value)
        if len(values) != self.count:
            raise AdapterError(f"{self._named(method)} has {len(values)} values, expected {self.count}", method)
        try:
            return self.layout.pack(*values)
        except (struct.error, TypeError, OverflowError) as error:
            for one in values:
                try:
                    struct.pack("<" + CODES[self.dtype], one)
                except (struct.error, TypeError, OverflowError):
                    raise AdapterError(
                        f"{self._named(method)} is {_kind(one)}, which is no {self.dtype}", method
                    ) from None
            raise AdapterError(f"{self._named(method)}: {error}", method) from None

    def _named(self, method):
        return f"`{self.name}` from {_said_by(method)}"


class Fields:
    """The fields of one part of a record, in order."""

    def __init__(self, json, what):
        if not isinstance(json, list):
            raise BadRequest(f"{what} is not a list")
        self.all = [Field(each, f"the field {place} of {what}") for place, each in enumerate(json)]
        self.names = [field.name for field in self.all]
        if len(set(self.names)) != len(self.names):
            raise BadRequest(f"{what} has two fields of one name")
        # One argument for each value, and one for each array (as bytes).
        self.flat_code = "".join(field.record_code for field in self.all)
        self.flat_count = sum(1 if field.region else field.count for field in self.all)
        self.whole_code = "".join(
            field.record_code if field.single or field.region else f"{field.size}s" for field in self.all
        )
        self.record_size = struct.calcsize("<" + self.flat_code)
        self.state_size = sum(field.size for field in self.all)
        if self.state_size > SIZE_MAX:
            raise BadRequest(f"{what} is larger than {SIZE_MAX} bytes")

    def unpack(self, data):
        """From the state form to a dict: numbers, tuples of numbers, bytes."""
        values = {}
        at = 0
        for field in self.all:
            part = field.layout.unpack_from(data, at)
            values[field.name] = part[0] if field.single or field.region else part
            at += field.size
        return values

    def values(self, fields, method):
        """The values of a dict in order; an array becomes bytes. For `whole_code`, but with regions in full."""
        if not isinstance(fields, dict):
            raise AdapterError(f"{_said_by(method)} gave {_kind(fields)}, expected a dict by field name", method)
        try:
            values = [
                fields[field.name] if field.single or field.region else field.pack(fields[field.name], method)
                for field in self.all
            ]
        except KeyError:
            values = ()
        if len(fields) != len(values):
            missing = [name for name in self.names if name not in fields]
            extra = [str(name) for name in fields if name not in self.names]
            said = [f"lacks `{name}`" for name in missing] + [f"has `{name}`, which the manifest does not" for name in extra]
            raise AdapterError(f"{_said_by(method)} {', '.join(said)}", method)
        return values

    def check(self, values, method, flat):
        """Looks for the value that can't be packed, among flat or whole ones."""
        values = list(values)
        expected = self.flat_count if flat else len(self.all)
        if len(values) != expected:
            raise AdapterError(
                f"{_said_by(method)} gave {len(values)} values, expected {expected}: {', '.join(self.names)}", method
            )
        at = 0
        for field in self.all:
            count = field.count if flat and not field.region else 1
            # One value, or an array as bytes, stands for itself.
            field.pack(values[at : at + count] if flat and not field.single and not field.region else values[at], method)
            at += count


class Action:
    """What a token may mean."""

    def __init__(self, json, agents):
        self.kind = _take(json, "kind", str, "action")
        if self.kind == "discrete":
            self.count = _take(json, "count", int, "action")
            self.extra = _take(json, "extra", int, "action", 0)
            self.mask = _take(json, "mask", bool, "action", False)
            if not 0 < self.count <= 1 << 20 or not 0 <= self.extra <= 1 << 31:
                raise BadRequest("`count` or `extra` of action is out of range")
        elif self.kind == "continuous":
            self.count, self.extra, self.mask = 0, 0, False
        else:
            raise BadRequest(f"action has the unknown kind {self.kind!r}")
        self.mask_words = (self.count + 31) // 32 if self.mask else 0


class Setup:
    """What an adapter is made from. `options`, `files` and `settings` come from the manifest and the user."""

    def __init__(self, hello):
        if not isinstance(hello, dict):
            raise BadRequest("hello is not a JSON object")
        protocol = hello.get("protocol")
        if protocol != PROTOCOL:
            raise BadRequest(f"the judge speaks {protocol!r}, this side speaks {PROTOCOL!r}")
        self.environment = _take(hello, "environment", str, "hello")
        configuration = _take(hello, "configuration", dict, "hello")
        self.configuration = _take(configuration, "name", str, "configuration", "")
        self.configuration_hash = _take(configuration, "hash", str, "configuration", "")
        self.options = _take(configuration, "options", dict, "configuration", {})
        self.settings = _take(hello, "settings", dict, "hello", {})
        self.files = _take(hello, "files", dict, "hello", {})
        self.lanes = _take(hello, "lanes", int, "hello")
        self.agents = _take(hello, "agents", int, "hello", 1)
        self.width = _take(hello, "width", int, "hello", 1)
        if not 0 < self.lanes < 1 << 32 or not 0 < self.agents <= AGENTS_MAX or not 0 < self.width <= 1 << 16:
            raise BadRequest("`lanes`, `agents` or `width` is out of range")
        self.action = Action(_take(hello, "action", dict, "hello"), self.agents)
        draws = _take(hello, "draws", dict, "hello", {})
        self.draw_level = _take(draws, "level", str, "draws", "served")
        self.sites = Sites(_names(draws.get("sites", []), "`sites`"), _take(draws, "named", bool, "draws", True))
        self.grains = []
        for grain in _take(hello, "grains", list, "hello", []):
            name = _take(grain, "name", str, "a grain")
            row = Fields(_take(grain, "row", list, f"grain `{name}`"), f"grain `{name}`")
            if any(field.region for field in row.all):
                raise BadRequest(f"grain `{name}` has a region in its row")
            self.grains.append((name, row))
        self.canonical = Fields(_take(hello, "canonical", list, "hello"), "canonical")
        self.observation = Fields(_take(hello, "observation", list, "hello", []), "observation")
        if any(field.region for field in self.observation.all):
            raise BadRequest("observation has a region")
        self.reward_code = CODES.get(_take(hello, "reward", str, "hello"))
        if self.reward_code is None:
            raise BadRequest(f"reward has the unknown dtype {hello['reward']!r}")
        resets = _take(hello, "resets", str, "hello", "harness")
        if resets not in ("harness", "reference"):
            raise BadRequest(f"`resets` is {resets!r}")
        self.harness_resets = resets == "harness"
        self.episode_steps_max = hello.get("episode_steps_max")
        if self.episode_steps_max is not None and type(self.episode_steps_max) is not int:
            raise BadRequest("`episode_steps_max` is neither a number nor null")
        offered = _names(hello.get("digests", []), "`digests`")
        self.digest = choose(offered)
        if self.digest is None:
            raise BadRequest(f"of the digests {offered} this side has none")
        self.observation_values = self.agents * self.observation.flat_count
        self.observation_size = self.agents * self.observation.state_size

    def reply(self, adapter, capabilities):
        return {
            "protocol": PROTOCOL,
            "environment": self.environment,
            "name": getattr(adapter, "name", adapter.__name__),
            "version": str(getattr(adapter, "version", "0")),
            "configuration_hash": self.configuration_hash,
            "digest": self.digest,
            "canonical_bytes": self.canonical.record_size,
            "state_bytes": self.canonical.state_size,
            "observation_bytes": self.observation.state_size,
            "mask_bytes": 4 * self.action.mask_words,
            "reward_bytes": struct.calcsize("<" + self.reward_code),
            "row_bytes": [row.state_size for _, row in self.grains],
            "capabilities": capabilities,
        }


class Packers(dict):
    """From a number of draws to the `pack` of a record with as many."""

    def __init__(self, canonical, masks, observations, rewards):
        super().__init__()
        self.tail = canonical + masks + observations + rewards

    def __missing__(self, count):
        pack = struct.Struct("<II" + "IQQ" * count + self.tail).pack
        if count < 256:
            self[count] = pack
        return pack


def packers(setup, flat_canonical, flat_observations):
    """The packers for one of four ways in which an adapter may hand over its values."""
    canonical = setup.canonical.flat_code if flat_canonical else setup.canonical.whole_code
    if flat_observations:
        observations = setup.observation.flat_code * setup.agents
    else:
        observations = f"{setup.observation_size}s"
    masks = "I" * (setup.agents * setup.action.mask_words)
    return Packers(canonical, masks, observations, setup.reward_code * setup.agents)


def pack_observations(setup, written):
    """All agents' observations as bytes, from bytes, a flat tuple, or one item for each agent."""
    if _is_bytes(written):
        data = bytes(written)
        if len(data) != setup.observation_size:
            raise AdapterError(f"observations are {len(data)} bytes, expected {setup.observation_size}")
        return data
    written = list(written)
    if len(written) != setup.agents and len(written) == setup.observation_values:
        size = setup.observation.flat_count
        written = [written[place * size : place * size + size] for place in range(setup.agents)]
    if len(written) != setup.agents:
        raise AdapterError(
            f"observations has {len(written)} items, expected one for each of {setup.agents} agents "
            f"or {setup.observation_values} numbers"
        )
    fields = setup.observation.all
    parts = []
    for one in written:
        if isinstance(one, dict):
            setup.observation.values(one, None)
            parts += [field.pack(one[field.name], None) for field in fields]
        elif _is_bytes(one):
            if memoryview(one).nbytes != setup.observation.state_size:
                raise AdapterError(
                    f"an observation is {memoryview(one).nbytes} bytes, expected {setup.observation.state_size}"
                )
            parts.append(bytes(one))
        else:
            values = flatten(one)
            if len(values) != setup.observation.flat_count:
                raise AdapterError(
                    f"an observation has {len(values)} values, expected {setup.observation.flat_count}"
                )
            at = 0
            for field in fields:
                parts.append(field.pack(values[at] if field.single else values[at : at + field.count], None))
                at += field.count
    return b"".join(parts)


def flatten(value):
    """Nested sequences as one flat list."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if not isinstance(value, (list, tuple)):
        try:
            value = list(value)
        except TypeError:
            return [value]
    if not any(isinstance(each, (list, tuple)) or hasattr(each, "tolist") for each in value):
        return value
    flat = []
    for each in value:
        flat.extend(flatten(each))
    return flat


def _said_by(method):
    # Observations are an attribute; everything else comes from a method.
    return f"{method.__name__}()" if method is not None else "observations"


def _is_bytes(value):
    if isinstance(value, (bytes, bytearray, memoryview)):
        return True
    # Arrays of numpy and `array.array` know their bytes; their numbers would lose the bits of a NaN on the way. Numbers of numpy
    # have a buffer too, but no length.
    if not hasattr(value, "__len__") or isinstance(value, (str, list, tuple, dict)):
        return False
    try:
        memoryview(value)
    except TypeError:
        return False
    return True


def _kind(value):
    text = repr(value)
    return f"{text if len(text) < 40 else text[:37] + '…'} ({type(value).__name__})"


_ABSENT = object()


def _take(json, key, kind, what, default=_ABSENT):
    if not isinstance(json, dict):
        raise BadRequest(f"{what} is not a JSON object")
    value = json.get(key, default)
    if value is _ABSENT:
        raise BadRequest(f"{what} lacks `{key}`")
    if type(value) is not kind:
        raise BadRequest(f"`{key}` of {what} is {_kind(value)}")
    return value


def _names(value, what):
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise BadRequest(f"{what} is not a list of strings")
    return value
