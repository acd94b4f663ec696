"""Plays an environment with random actions and proposes what `lockstep new` writes: action, observation, state, bounds.

`python -m lockstep_sdk.propose` reads a request as JSON on standard input and writes its answer to the file that it
names, because environments print. An attribute of the environment that changes while it is played is a part of its
state; one that never did is a constant, and is listed as such, because to play at random is not to see everything.
"""

import ast
import enum
import faulthandler
import importlib
import inspect
import json
import keyword
import math
import os
import pickle
import re
import sys
import time
import types
from collections import deque

from . import chance
from .errors import AdapterError, is_users, user_frames
from .gym import reseed, seed_of, stepped

SKIPPED = set(
    "spec metadata render_mode np_random _np_random _np_random_seed action_space observation_space reward_range screen "
    "clock window viewer surf font renderer window_surface isopen screen_width screen_height".split()
)
LEAVES_MAX = 100_000
# Steps of each look, unless they take four times as long as was asked for.
STEPS_MIN = 400
WORDS_MAX = 256
# Wrappers of Gymnasium that change nothing, or only the time limit, which the manifest has.
HARMLESS = {"TimeLimit", "OrderEnforcing", "PassiveEnvChecker"}


class Cannot(Exception):
    """Why nothing can be proposed, and what to do about it."""

    def __init__(self, message, hint="", where=()):
        super().__init__(message)
        self.hint, self.where = hint, list(where)


def main():
    request = json.load(sys.stdin)
    faulthandler.enable()
    # Where it hangs is worth knowing; the caller ends us a little later.
    faulthandler.dump_traceback_later(request.get("deadline", 50), exit=True)
    try:
        answer = {"ok": True, **propose(request)}
    except Cannot as error:
        answer = {"ok": False, "error": str(error), "hint": error.hint, "where": error.where}
    except BaseException as error:  # `sys.exit` in an environment is an answer too
        answer = {"ok": False, **told(error), "hint": "the environment itself failed; mend it, then type the same again"}
    with open(request["answer"], "w", encoding="utf-8") as file:
        json.dump(answer, file)


def told(error):
    if isinstance(error, AdapterError):
        return {"error": str(error), "where": error.where or user_frames(error)}
    text = " ".join(str(error).split())[:2000]
    name = type(error).__name__
    return {"error": f"{name}: {text}" if text else name, "where": user_frames(error)}


def propose(request):
    options = request.get("options", {})
    if "gymnasium" in request:
        source = Gymnasium(request["gymnasium"], options)
    else:
        source = Own(request["from"], request.get("folder", "."), options)
    seconds = request.get("seconds", 8)
    try:
        return Proposal(source, "served", request, seconds).answer()
    except chance.Unhandled as error:
        if request.get("draws") == "served":
            raise Cannot(str(error), "leave --draws out, and the draws are recorded", user_frames(error)) from None
        why = str(error)
    proposal = Proposal(source, "recorded", request, seconds).answer()
    proposal["why"] = proposal["why"] or why
    return proposal


class Own:
    """A class in a file or module of the user."""

    def __init__(self, entry, folder, options):
        path, _, self.name = entry.rpartition(":")
        if not path:
            raise Cannot(f"{entry!r} does not name a class", "write my_env.py:MyEnv, the file and the class in it")
        self.folder = os.path.abspath(folder)
        if path.endswith(".py"):
            file = os.path.join(self.folder, path)
            if not os.path.isfile(file):
                raise Cannot(f"there is no file {path}", "name the file that holds the class, such as my_env.py:MyEnv")
            self.path = os.path.dirname(os.path.abspath(file))
            self.module_name = os.path.basename(path)[:-3]
            if not self.module_name.isidentifier():
                raise Cannot(f"{path} can't be imported: {self.module_name!r} is no name in Python", "rename the file")
        else:
            self.path, self.module_name = self.folder, path
        sys.path.insert(0, self.path)
        try:
            self.module = importlib.import_module(self.module_name)
        except BaseException as error:
            said = told(error)
            where = said["where"] or syntax_place(error)
            # The frames of this file are not the user's.
            hint = f"it has to be importable by {sys.executable}"
            if isinstance(error, ModuleNotFoundError):
                hint = f"{sys.executable} does not have it: install it there, or choose another interpreter with --python"
            raise Cannot(f"{self.module_name} can't be imported: {said['error']}", hint, where) from None
        found = getattr(self.module, self.name, None)
        if not inspect.isclass(found):
            mine = [
                name
                for name, value in vars(self.module).items()
                if inspect.isclass(value) and value.__module__ == self.module.__name__
            ]
            is_what = "has no" if found is None else f"has {type(found).__name__}, not a class, as"
            raise Cannot(
                f"{path} {is_what} {self.name}", f"it has the classes {', '.join(mine)}" if mine else "it has no class"
            )
        self.cls = found
        self.options = options
        self.steps_max = None
        self.licence, self.version, self.about = "not stated", "", f"the class {self.name} of {path}"
        self.make_lines = [
            f"from {self.module_name} import {self.name}",
            "",
            f"return {self.name}(**options)",
        ]

    def make(self):
        try:
            return self.cls(**self.options)
        except TypeError as error:
            frames = user_frames(error)
            if frames and frames[0]["function"] != "make":
                raise
            try:
                shown = str(inspect.signature(self.cls))
            except (TypeError, ValueError):
                shown = "(…)"
            raise Cannot(
                f"{self.name}{shown} can't be made: {error}",
                "give its arguments as JSON, such as --options '{\"size\": 5}'",
            ) from None


class Gymnasium:
    """An environment that is registered in Gymnasium."""

    def __init__(self, name, options):
        try:
            import gymnasium
        except ImportError as error:
            raise Cannot(
                f"{sys.executable} can't import gymnasium: {error}",
                f"{sys.executable} -m pip install gymnasium, or choose another interpreter with --python",
            ) from None
        self.gymnasium, self.id, self.options = gymnasium, name, options
        try:
            made = gymnasium.make(name, disable_env_checker=True, **options)
        except gymnasium.error.Error as error:
            raise Cannot(f"Gymnasium can't make {name}: {error}", "python -c 'import gymnasium; gymnasium.pprint_registry()' lists all") from None
        except TypeError as error:
            raise Cannot(f"Gymnasium can't make {name}: {error}", "its arguments are given with --options") from None
        except ImportError as error:
            raise Cannot(f"{name} can't be imported: {error}", "install what it needs; only environments in pure Python can be taken") from None
        layer = made
        while hasattr(layer, "env"):
            if type(layer).__name__ not in HARMLESS:
                raise Cannot(
                    f"{name} has the wrapper {type(layer).__name__}, which changes what it does",
                    "put it and the environment into a class of your own and take that: lockstep new NAME --from FILE.py:CLASS",
                )
            layer = layer.env
        self.cls = type(made.unwrapped)
        self.name = self.cls.__name__
        self.module = sys.modules[self.cls.__module__]
        self.module_name = self.cls.__module__
        self.path = os.path.dirname(os.path.abspath(self.module.__file__))
        self.steps_max = made.spec.max_episode_steps
        self.licence = "MIT" if self.module_name.startswith("gymnasium.") else "not stated"
        self.version, self.about = f"gymnasium {gymnasium.__version__}", f"{name} of Gymnasium"
        self.make_lines = [
            "import gymnasium",
            "",
            f"return gymnasium.make({name!r}, disable_env_checker=True, **options).unwrapped",
        ]

    def make(self):
        return self.gymnasium.make(self.id, disable_env_checker=True, **self.options).unwrapped


def syntax_place(error):
    if isinstance(error, SyntaxError) and error.filename:
        text = (error.text or "").strip()
        return [{"file": error.filename, "line": error.lineno or 0, "function": "", "text": text}]
    return []


class Proposal:
    """What was seen of one environment at one draw level."""

    def __init__(self, source, level, request, seconds):
        self.source, self.level = source, level
        self.rolls = chance._Random(20261125)
        self.chance = chance.Chance(chance.Fixed(), level)
        self.chance.used = {}
        self.why = ""
        with chance.aside():
            self.env = source.make()
        for method in ("reset", "step"):
            if not callable(getattr(self.env, method, None)):
                raise Cannot(
                    f"{source.name} has no `{method}`",
                    "Lockstep plays environments with reset() and step(action), as Gymnasium has them; "
                    "for anything else write the adapter by hand: docs/bring-your-own.md",
                )
        if hasattr(self.env, "possible_agents"):
            raise Cannot(
                f"{source.name} has several agents (possible_agents)",
                "write its adapter by hand: docs/bring-your-own.md; counter's `duel` is an example",
            )
        self.action = Action(self.env, request.get("actions"))
        self.seed_wanted = seed_of(self.env.reset)
        self.masked = callable(getattr(self.env, "action_masks", None)) and self.action.kind == "discrete"
        self.episodes = self.steps = self.longest = 0
        self.observation = None
        self.compiled()
        torch = torch_state()
        began = time.perf_counter()
        self.prints, self.varying, self.missing = {}, set(), set()
        self.surviving = self.survives()
        self.play(seconds * 0.35, self.fingerprint)
        self.state = {}
        self.globals_before = self.module_globals()
        self.play(seconds * 0.55, self.describe)
        self.seconds = time.perf_counter() - began
        # What it costs without looking; draws are made, as in every lockstep.
        steps, began = self.steps, time.perf_counter()
        self.play(seconds * 0.1, lambda: None)
        self.speed = (self.steps - steps) / (time.perf_counter() - began)
        if torch_state() != torch:
            raise Cannot(
                f"{source.name} draws from torch's generator",
                "Lockstep takes over Python's and numpy's generators; draw from one of these instead, or write the adapter by hand",
            )

    def survives(self):
        """The attributes that are otherwise after a reset than in a new environment with the same random numbers."""
        found = []
        env, before = self.env, self.chance
        for _ in range(2):
            self.chance = chance.Chance(chance.Fixed(), self.level)
            self.chance.used = before.used
            self.chance.begin(7)
            if not self.chance.served:
                reseed(env, 7)
            with self.chance:
                env.reset(seed=7) if self.seed_wanted else env.reset()
            found.append({name: fingerprint(value) for name, value in attributes(env) if is_state(name, value)})
            for _ in range(40):
                mask = list(env.action_masks()) if self.masked else None
                with self.chance:
                    answer = env.step(self.action.roll(self.rolls, mask))
                _, _, terminated, truncated = stepped(answer, env.step)
                if terminated or truncated:
                    break
        self.chance = before
        first, second = found
        return [name for name in second if first.get(name) != second[name] and not isinstance(second[name], int)]

    def compiled(self):
        """Refuses state in compiled code by name, where nobody can look into it."""
        if not isinstance(self.source, Gymnasium):
            return
        for name, value in attributes(self.env):
            where = compiled_type(value)
            if where and name not in SKIPPED:
                raise Cannot(
                    f"{self.source.name} holds a {where} in `{name}`: its state is in compiled code",
                    "only environments in pure Python can be taken like this; write the adapter by hand: docs/bring-your-own.md",
                )

    def play(self, seconds, look):
        # On a machine that is busy a time alone may be no step at all.
        began, enough = time.perf_counter(), self.steps + STEPS_MIN
        until = began + seconds
        while True:
            with self.chance:
                answer = self.env.reset(seed=7 + self.episodes) if self.seed_wanted == "must" else self.env.reset()
            if type(answer) is tuple and len(answer) == 2 and isinstance(answer[1], dict):
                answer = answer[0]
            self.see(answer)
            look()
            length = 0
            while True:
                if self.masked:
                    action = self.action.roll(self.rolls, list(self.env.action_masks()))
                else:
                    action = self.action.roll(self.rolls)
                with self.chance:
                    answer = self.env.step(action)
                observation, reward, terminated, truncated = stepped(answer, self.env.step)
                float(reward)
                length += 1
                self.steps += 1
                self.see(observation)
                look()
                now = time.perf_counter()
                over = now > until and (self.steps >= enough or now > began + 4 * seconds)
                limit = self.source.steps_max
                if terminated or truncated or (limit and length >= limit) or over or length >= 20_000:
                    break
            self.longest = max(self.longest, length)
            ended = not over or terminated or truncated
            self.episodes += ended
            if over:
                return

    def see(self, observation):
        seen = describe(observation, {}, "observation")
        self.observation = seen if self.observation is None else merge(self.observation, seen)

    def fingerprint(self):
        here = dict(attributes(self.env))
        self.missing |= set(self.prints) - set(here)
        first = not self.prints
        for name, value in here.items():
            if is_state(name, value):
                mark = fingerprint(value)
                if name not in self.prints and not first:
                    self.missing.add(name)
                    self.varying.add(name)
                if self.prints.setdefault(name, mark) != mark:
                    self.varying.add(name)

    def describe(self):
        known = {}
        here = dict(attributes(self.env))
        for name in self.state.keys() - here.keys():
            self.missing.add(name)
        for name, value in here.items():
            if is_state(name, value):
                # What did not vary before may vary now; what did is described.
                if name not in self.varying and fingerprint(value) != self.prints.get(name):
                    self.varying.add(name)
                if name in self.varying:
                    seen = describe(value, known, name)
                    self.state[name] = merge(self.state[name], seen) if name in self.state else seen

    def module_globals(self):
        skipped = (types.ModuleType, types.FunctionType, type)
        return {
            name: fingerprint(value)
            for name, value in vars(self.source.module).items()
            if not name.startswith("__") and not isinstance(value, skipped)
        }

    def answer(self):
        fields = Fields("env")
        self.literals()
        for name, seen in self.state.items():
            path = f"env.{name}"
            # It may also be missing because an environment that is made anew for each episode does not have it yet.
            if name in self.missing or name in self.surviving:
                seen, path = merge(seen, Seen("nothing")), f"getattr(env, {name!r}, None)"
            fields.add(name, path, seen)
        changed = [name for name, mark in self.module_globals().items() if mark != self.globals_before.get(name)]
        if changed:
            fields.left_out.append([f"{self.source.module_name}.{changed[0]}", "a global of the module that changed: all lanes share it, so lanes can't be kept apart"])
        if not fields.fields:
            left = "; ".join(f"{name}: {why}" for name, why in fields.left_out)
            raise Cannot(
                f"no attribute of {self.source.name} changed in {self.steps} steps that could be compared{': ' + left if left else ''}",
                "its state is kept elsewhere (a global, a closure, compiled code): write `canonical` of the adapter by hand, docs/bring-your-own.md",
            )
        views = Fields("observation")
        views.add("observation", "observation", self.observation, top=True)
        if views.left_out:
            name, why = views.left_out[0]
            raise Cannot(f"the observation can't be compared: {name} is {why}", "return numbers, arrays, or tuples and dicts of them")
        if not views.fields:
            raise Cannot("the observation holds no number", "return numbers, arrays, or tuples and dicts of them")
        if fields.sizes or views.sizes:
            fields.fields.append(Field("capacity", "u32", [], "lists that outgrew their bound in this episode", "self.capacity", [0, 0]))
        if views.sizes:
            fields.no_put = fields.no_put or "the observation has a list with a bound"
        pickled = pickle_problem(self.env)
        sizes = fields.sizes + views.sizes
        return {
            "class": self.source.name,
            "module": self.source.module_name,
            "path": self.source.path,
            "files": self.files(),
            "licence": self.source.licence,
            "version": self.source.version,
            "about": self.source.about,
            "make": self.source.make_lines,
            "action": self.action.manifest(self.masked),
            "width": self.action.width,
            "act": self.action.code,
            "numpy": self.action.numpy,
            "canonical": [field.json() for field in fields.fields],
            "put": None if fields.no_put else fields.puts,
            "no_put": fields.no_put,
            "sizes": sizes,
            "words": {**fields.words, **views.words},
            "observation": [field.json() for field in views.fields],
            "constants": sorted(set(self.prints) - self.varying),
            "left_out": fields.left_out,
            "pickled": pickled,
            "surviving": self.surviving,
            "level": self.level,
            "why": self.why,
            "used": self.chance.used,
            "episode_steps_max": self.source.steps_max,
            "steps": self.steps,
            "episodes": self.episodes,
            "longest": self.longest,
            "seconds": round(self.seconds, 2),
            "speed": round(self.speed),
            "python": sys.executable,
        }

    def literals(self):
        """Texts that the source assigns to an attribute are known, even if none of the steps came there."""
        found = {}
        for file in self.files():
            with open(file, encoding="utf-8") as source:
                try:
                    tree = ast.parse(source.read())
                except SyntaxError:
                    continue
            for node in ast.walk(tree):
                if isinstance(node, ast.Assign):
                    names = [target.attr for target in node.targets if isinstance(target, ast.Attribute)]
                    values = [node.value.body, node.value.orelse] if isinstance(node.value, ast.IfExp) else [node.value]
                    for value in values:
                        if isinstance(value, ast.Constant) and isinstance(value.value, str):
                            for name in names:
                                found.setdefault(name, []).append(value.value)

        def known(name, seen):
            if seen.kind == "text" and seen.type is None:
                seen.words += [word for word in found.get(name, []) if word not in seen.words]
            for key, part in seen.parts.items():
                if part is not None:
                    known(key, part)
            if seen.item is not None:
                known(name, seen.item)

        for name, seen in self.state.items():
            known(name, seen)

    def files(self):
        """The source of the class and of what it imports from beside it."""
        found = [os.path.abspath(inspect.getfile(self.source.cls))]
        if isinstance(self.source, Own):
            # The module may only hand on a class that stands elsewhere.
            for module in list(sys.modules.values()):
                file = getattr(module, "__file__", None)
                if file and file.endswith(".py"):
                    file = os.path.abspath(file)
                    # What is sent to a model later: the user's own, no package, not Python's, not this SDK.
                    inside = file.startswith(self.source.path + os.sep) and "-packages" not in file
                    if inside and is_users(file) and file not in found:
                        found.append(file)
        else:
            for base in self.source.cls.__mro__:
                # A class that it inherits from, but not Gymnasium's own.
                module = sys.modules.get(base.__module__)
                file = getattr(module, "__file__", None)
                if file and base.__module__.startswith("gymnasium.envs.") and os.path.abspath(file) not in found:
                    found.append(os.path.abspath(file))
            for value in list(vars(self.source.module).values()):
                # A function that it imported from a neighbour.
                if isinstance(value, types.FunctionType) and value.__module__.startswith("gymnasium.envs."):
                    file = os.path.abspath(value.__code__.co_filename)
                    if file not in found:
                        found.append(file)
        return found


def torch_state():
    torch = sys.modules.get("torch")
    return bytes(torch.get_rng_state().numpy()) if torch is not None and hasattr(torch, "get_rng_state") else None


def pickle_problem(env):
    """Why the environment can't be pickled, by the name of the attribute; "" if it can."""
    try:
        pickle.dumps(env, 4)
        return ""
    except Exception as error:
        for name, value in attributes(env):
            try:
                pickle.dumps(value, 4)
            except Exception as inner:
                return f"`{name}`: {' '.join(str(inner).split())[:200]}"
        return " ".join(str(error).split())[:200]


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


# What was seen of a value, merged over all steps.


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


# From what was seen to fields, and to the lines of the adapter that read and write them.


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
                if part is not None and part.kind in ("list", "map") and part.count_low != part.count_high:
                    raise Cannot("a list of things that hold lists of varying length")
                below = f"[{key!r}]" if seen.type in (dict, tuple) else f".{key}"
                for column in self.columns(part, f"{name}_{key}", True):
                    read = column.read.replace("{}", "{}" + below)
                    columns.append(Column(f"_{self.field_name(str(key)) if isinstance(key, str) else key}" + column.suffix, column.dtype, column.shape, read, column.write, column.limits, below))
            return columns
        return self.listed(seen, name, inner)

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
        bound = seen.count_high if fixed else max(8, -(-2 * seen.count_high // 8) * 8)
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
        what = {"map": "a dict", "list": f"a {seen.type.__name__} of more than numbers"}.get(seen.kind, "an object or None")
        self.no_put = f"`{path}` is {what}"


def made_of(kind, text):
    """An expression for a container of this type."""
    return f"{'list' if kind in (bytes, bytearray) else kind.__name__}({text})"


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
        from . import gym

        return eval(self.code, {"actions": actions, "numpy": chance.numpy, "digits": gym.digits})

    def manifest(self, masked):
        if self.kind == "continuous":
            return {"kind": "continuous", "low": self.low, "high": self.high}
        return {"kind": "discrete", "names": self.names, "mask": masked}


if __name__ == "__main__":
    main()
