"""From what was seen to fields of the manifest, and to the lines of the adapter that read and write them."""

import keyword
import math
import re

from .errors import Cannot
from .seen import DTYPES, LEAVES_MAX, Seen


class Field:
    def __init__(self, name, dtype, shape, reference, read, limits=None):
        self.name, self.dtype, self.shape, self.reference, self.read = name, dtype, shape, reference, read
        self.limits = limits

    def json(self):
        # JSON has no infinity; such a field has no limits.
        limits = self.limits if self.limits and all(map(math.isfinite, self.limits)) else None
        return {
            "name": self.name,
            "dtype": self.dtype,
            "shape": self.shape,
            "reference": self.reference,
            "read": self.read,
            "limits": limits,
        }


class Column:
    """One number, or a fixed number of them, of a value; `{}` stands for the value in `read` and for the field in `write`."""

    def __init__(self, suffix, dtype, shape, read, write, limits, below=""):
        self.suffix, self.dtype, self.shape, self.read, self.write, self.below = suffix, dtype, shape, read, write, below
        # The smallest and largest that an injected state may hold.
        self.limits = limits
        # Of a list in an object in a list: how many items it has room for, and whether this is their number.
        self.room, self.counts = None, False


def limits_of(seen):
    """What was seen, with room on both sides: what an episode reaches must pass, what only a type could hold must not."""
    if seen.kind == "bool":
        return [0, 1]
    low, high = seen.low, seen.high
    if low is None:
        return None
    if seen.kind in ("float", "single") or seen.dtype in ("float32", "float64"):
        room = 4 * (high - low)
        return [low - room, high + room]
    return [min(low, 0) if low >= 0 else 4 * low - 64, 4 * max(high, 0) + 64]


def whole_dtype(seen):
    return "i32" if -(1 << 27) < seen.low and seen.high < 1 << 27 else "i64"


class Fields:
    """The fields of a state or an observation."""

    def __init__(self, root):
        self.root = root
        self.fields, self.puts, self.sizes, self.words, self.left_out = [], [], [], {}, []
        self.no_put = ""

    def add(self, name, path, seen, top=False):
        """Everything below an attribute; what can't be compared is left out by name."""
        if not top and not seen.leaf_varies():
            return
        if seen.kind == "record" and not seen.optional:
            for key, part in seen.parts.items():
                below = f"{path}[{key!r}]" if seen.type in (dict, tuple) else f"{path}.{key}"
                plain = key if isinstance(key, str) else str(key)
                self.add(plain if top and seen.type is dict else f"{name}_{plain}", below, part, top)
            if seen.type is tuple and not top:
                self.no_put = self.no_put or f"`{path}` is a tuple, which can't be written into"
            return
        try:
            columns = self.columns(seen, self.field_name(name))
        except Cannot as error:
            why = str(error)
            if path.startswith("getattr"):
                why = f"not there after a reset: set it in `reset` ({why})"
            self.left_out.append([self.plain(path), why])
            return
        variable = seen.kind in ("list", "map") and seen.count_low != seen.count_high
        base = self.field_name(name)
        seen_path = "self.seen" + path[len("observation") :] if self.root == "observation" else path
        for size in self.sizes:
            if size[1] == "@inner":
                size[1] = f"max((len(item) for item in {seen_path}), default=0)"
            size[1] = size[1].replace("{}", seen_path)
        for column in columns:
            field = self.unique(base + column.suffix)
            self.fields.append(Field(field, column.dtype, column.shape, self.plain(path), column.read.replace("{}", path), column.limits))
            column.field = field
        if self.root == "observation":
            return
        self.write(path, seen, columns, variable)

    def plain(self, path):
        """The place without the root, as it stands in the manifest."""
        return re.sub(r"getattr\(env, '(\w+)', None\)", r"\1", path).replace("env.", "", 1)

    def field_name(self, name):
        name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
        name = re.sub(r"\W", "_", name).strip("_") or "field"
        return name + "_" if keyword.iskeyword(name) else name if not name[0].isdigit() else f"field_{name}"

    def unique(self, name):
        taken = {field.name for field in self.fields}
        place, plain = 2, name
        while name in taken:
            name, place = f"{plain}_{place}", place + 1
        return name

    def columns(self, seen, name, inner=False):
        """The columns of one value; raises if it has none."""
        kind = seen.kind
        if kind == "other":
            raise Cannot(seen.why)
        if kind == "nothing":
            return []
        if kind == "text":
            words = ([None] if seen.optional else []) + (sorted(seen.words) if seen.type is None else [])
            if seen.type is not None:
                if seen.optional:
                    raise Cannot("a member of an enum, or None")
                return [Column("", "u8", [], "list(type({0})).index({0})".replace("{0}", "{}"), "list(type(@))[{}]", [0, len(seen.words) - 1])]
            self.words[name] = words
            return [Column("", "u8", [], f"self.code({name!r}, {{}})", f"self.word({name!r}, {{}})", [0, len(words) - 1])]
        if kind in ("bool", "int", "float", "single"):
            dtype, read, write = {
                # Without `int()`: a number that has a fraction after all must be an error, not cut off.
                "bool": ("u8", "{} + 0", "bool({})"),
                "int": (whole_dtype(seen), "{}", "{}") if kind == "int" else ("", "", ""),
                "float": ("f64", "{}", "{}"),
                "single": ("f32", "singles({})[0]", "numpy.float32({})"),
            }[kind]
            limits = limits_of(seen)
            if not seen.optional:
                return [Column("", dtype, [], read, write, limits)]
            if inner:
                if kind != "int" or seen.low < 0:
                    raise Cannot("sometimes a number and sometimes None, in a list")
                return [Column("", dtype, [], "-1 if {} is None else {}", "None if {} < 0 else {}", [-1, limits[1]])]
            return [
                Column("", dtype, [], f"0 if {{}} is None else {read}", write, [min(limits[0], 0), max(limits[1], 0)]),
                Column("_given", "u8", [], "{} is not None", "", [0, 1]),
            ]
        if seen.optional:
            raise Cannot(f"sometimes a {kind} and sometimes None")
        if kind == "array":
            dtype = DTYPES[seen.dtype]
            shape = list(seen.shape)
            if dtype == "f32":
                return [Column("", dtype, shape, f"singles({{}}, {tuple(shape)})", f"numpy.array({{}}, 'float32').reshape({tuple(shape)})", limits_of(seen))]
            return [Column("", dtype, shape, "{}", f"numpy.array({{}}, {seen.dtype!r}).reshape({tuple(shape)})", limits_of(seen))]
        if kind == "record":
            columns = []
            for key, part in seen.parts.items():
                below = f"[{key!r}]" if seen.type in (dict, tuple) else f".{key}"
                if part is not None and part.kind in ("list", "map") and part.count_low != part.count_high:
                    columns += self.held(seen, key, below, part, name)
                    continue
                for column in self.columns(part, f"{name}_{key}", True):
                    read = column.read.replace("{}", "{}" + below)
                    columns.append(Column(f"_{self.field_name(str(key)) if isinstance(key, str) else key}" + column.suffix, column.dtype, column.shape, read, column.write, column.limits, below))
            return columns
        return self.listed(seen, name, inner)

    def held(self, seen, key, below, part, name):
        """Of a list of varying length that an object in a list holds: its items, with room, and their number."""
        item = part.item
        plain = part.kind == "list" and part.type in (list, tuple) and seen.type is not tuple
        if not plain or item is None or item.kind not in ("bool", "int", "float", "text") or item.optional:
            raise Cannot("a list of things that hold lists of varying length, of more than numbers and texts")
        base = f"_{self.field_name(str(key))}"
        (column,) = self.columns(item, f"{name}{base}", True)
        bound = room_for(part.count_high)
        each = "{}" + below if column.read == "{}" else f"[{column.read.replace('{}', 'one')} for one in {{}}{below}]"
        limits = column.limits and [min(column.limits[0], 0), max(column.limits[1], 0)]
        numbers = Column(base, column.dtype, [bound], f"padded({each}, {bound})", column.write, limits, below)
        count = Column(base + "_count", "u32", [], f"len({{}}{below})", "", [0, bound], below)
        numbers.room, count.counts = bound, True
        self.sizes.append([name + base, f"max((len(item{below}) for item in {{}}), default=0)", bound])
        return [numbers, count]

    def listed(self, seen, name, inner):
        """Of a list, set or dict: its items side by side, and their number where that varies."""
        of = {"list": "{}", "map": "sorted({}.items())"}[seen.kind]
        if seen.kind == "list" and seen.type in (set, frozenset):
            of = "sorted({})"
        if seen.kind == "map":
            item = Seen("record", type=tuple, parts={0: seen.parts.get("key"), 1: seen.parts.get("value")})
            if None in item.parts.values():
                raise Cannot("a dict that was always empty")
        else:
            item = seen.item
        if item is None or item.kind == "nothing":
            raise Cannot("a list that was always empty")
        inner_columns = self.columns(item, name, True)
        fixed = seen.count_low == seen.count_high
        bound = seen.count_high if fixed else room_for(seen.count_high)
        var = f"item{name.count('_')}" if inner else "item"
        columns = []
        for column in inner_columns:
            size = 1
            for one in column.shape:
                size *= one
            each = f"[{column.read.replace('{}', var)} for {var} in {of}]" if column.read != "{}" else of
            read = each if fixed else f"padded({each}, {bound * size})"
            suffix = column.suffix
            if seen.kind == "map":
                suffix = suffix.replace("_0", "_key", 1) if suffix.startswith("_0") else suffix.replace("_1", "_value", 1)
            if len(column.shape) >= 4:
                raise Cannot("nested too deeply")
            limits = column.limits
            if limits and not fixed:
                limits = [min(limits[0], 0), max(limits[1], 0)]
            columns.append(Column(suffix, column.dtype, [bound] + column.shape, read, column.write, limits, column.below))
            columns[-1].room, columns[-1].counts = column.room, column.counts
        if bound * sum(1 for _ in columns) > LEAVES_MAX:
            raise Cannot(f"a list of up to {seen.count_high}: keep it as an array")
        if not fixed:
            columns.append(Column("_count", "u32", [], "len({})", "", [0, bound]))
            if inner:
                # A list in a list: the sizes are looked at one by one.
                self.sizes.append([name, "@inner", bound])
            else:
                self.sizes.append([name, "len({})", bound])
        return columns

    def remade(self, item, columns):
        """An expression for the i-th object of a list, made anew from its fields; none if it holds more than that can say."""
        parts = []
        for key, part in item.parts.items():
            below = f"[{key!r}]" if item.type is dict else f".{key}"
            own = [column for column in columns if column.below == below]
            if not own or part is None or part.optional or not (isinstance(key, str) and key.isidentifier()):
                return None
            value = f"fields[{own[0].field!r}]"
            if part.kind in ("bool", "int", "float", "single") or part.kind == "text" and part.type is None:
                made = own[0].write.replace("{}", f"{value}[i]")
            elif part.kind == "list" and len(own) == 2 and own[0].room and own[1].counts:
                room = own[0].room
                numbers = f"{value}[{room} * i : {room} * i + fields[{own[1].field!r}][i]]"
                each = own[0].write.replace("{}", "one")
                made = made_of(part.type, numbers if each == "one" else f"{each} for one in {numbers}")
            else:
                return None
            parts.append((key, made))
        if item.type is dict:
            return "{" + ", ".join(f"{key!r}: {made}" for key, made in parts) + "}"
        module, name = item.type.__module__, item.type.__qualname__
        if not name.isidentifier() or module == "builtins":
            return None
        return f"made({module!r}, {name!r}, {', '.join(f'{key}={made}' for key, made in parts)})"

    def write(self, path, seen, columns, variable):
        """The line that puts the fields back, or why there is none."""
        if self.no_put:
            return
        first = columns[0]
        path = re.sub(r"getattr\(env, '(\w+)', None\)", r"env.\1", path)
        value = f"fields[{first.field!r}]"
        if seen.kind in ("bool", "int", "float", "single", "text", "array"):
            text = first.write.replace("{}", value).replace("@", path)
            if seen.optional and seen.kind != "text":
                text = f"{text} if fields[{columns[1].field!r}] else None"
            self.puts.append(f"{path} = {text}")
            return
        item = seen.item
        plain = item is not None and item.kind in ("bool", "int", "float", "text") and len(columns) == 1 + variable
        if seen.kind == "list" and plain:
            numbers = f"{value}[: fields[{columns[-1].field!r}]]" if variable else value
            each = first.write.replace("{}", "one").replace("@", f"{path}[0]")
            if item.kind == "text" and item.type is not None:
                self.no_put = f"`{path}` is a list of members of an enum"
                return
            made = numbers if each == "one" else f"{each} for one in {numbers}"
            self.puts.append(f"{path} = {made_of(seen.type, made)}")
            return
        pairs = item is not None and item.kind == "list" and item.count_low == item.count_high and item.item is not None
        if seen.kind == "list" and pairs and item.item.kind in ("bool", "int", "float") and not item.item.optional and len(columns) == 1 + variable:
            width = item.count_high
            count = f"fields[{columns[-1].field!r}]" if variable else str(seen.count_high)
            each = f"{made_of(item.type, 'row')} for row in rows({value}, {count}, {width})"
            self.puts.append(f"{path} = {made_of(seen.type, each)}")
            return
        scalars = item is not None and item.kind == "record" and item.type is not tuple and len(columns) == len(item.parts)
        if seen.kind == "list" and scalars and not variable and all(
            part.kind in ("bool", "int", "float", "single") and not part.optional for part in item.parts.values()
        ):
            for column in columns:
                value = column.write.replace("{}", "value")
                self.puts.append(f"for item, value in zip({path}, fields[{column.field!r}]):")
                self.puts.append(f"    item{column.below} = {value}")
            return
        if seen.kind == "list" and item is not None and item.kind == "record" and item.type is not tuple:
            made = self.remade(item, columns)
            if made:
                count = f"fields[{columns[-1].field!r}]" if variable else str(seen.count_high)
                self.puts.append(f"{path} = {made_of(seen.type, f'{made} for i in range({count})')}")
                return
        what = {"map": "a dict", "list": f"a {seen.type.__name__} of more than numbers"}.get(seen.kind, "an object or None")
        self.no_put = f"`{path}` is {what}"


def room_for(count):
    """The bound of a list of which at most so many items were seen."""
    return max(8, -(-2 * count // 8) * 8)


def made_of(kind, text):
    """An expression for a container of this type."""
    return f"{'list' if kind in (bytes, bytearray) else kind.__name__}({text})"
