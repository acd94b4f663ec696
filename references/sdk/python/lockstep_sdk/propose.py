"""Plays an environment with random actions and proposes what `lockstep new` writes: action, observation, state, bounds.

`python -m lockstep_sdk.propose` reads a request as JSON on standard input and writes its answer to the file that it
names, because environments print. An attribute of the environment that changes while it is played is a part of its
state; one that never did is a constant, and is listed as such, because to play at random is not to see everything.
"""

import ast
import faulthandler
import importlib
import inspect
import json
import os
import pickle
import sys
import time
import types

from . import chance
from .actions import Action
from .errors import AdapterError, Cannot, is_users, user_frames
from .fields import Field, Fields
from .gym import reseed, seed_of, stepped
from .seen import SKIPPED, Seen, attributes, compiled_type, describe, fingerprint, is_state, merge

# Steps of each look, unless they take four times as long as was asked for.
STEPS_MIN = 400
# Wrappers of Gymnasium that change nothing, or only the time limit, which the manifest has.
HARMLESS = {"TimeLimit", "OrderEnforcing", "PassiveEnvChecker"}


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


if __name__ == "__main__":
    main()
