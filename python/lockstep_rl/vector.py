"""Many lanes as a Gymnasium vector environment."""

from __future__ import annotations

import json
import operator
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector import VectorEnv as GymnasiumVectorEnv
from gymnasium.vector.utils import batch_space

from . import spaces
from .environment import Configuration, Environment, Replay, views_of

#: What Gymnasium calls each mode. The reference's own rule resets in the step that ends an episode.
MODES = {
    "next_step": AutoresetMode.NEXT_STEP,
    "same_step": AutoresetMode.SAME_STEP,
    "disabled": AutoresetMode.DISABLED,
    "reference": AutoresetMode.SAME_STEP,
}


class VectorEnv(GymnasiumVectorEnv[Any, Any, np.ndarray]):
    """``num_envs`` lanes of one environment, stepped together in Rust.

    A lane's results follow its seed, its stream (by default its number) and its actions, and nothing else: neither
    ``num_envs`` nor ``threads`` nor ``backend`` changes them.

    The arrays that :meth:`reset` and :meth:`step` return are written in place and never copied. With two sets of them,
    which is the default, what one step returned is still there after the next, and is overwritten by the one after
    that; copy what you keep longer. They share memory through ``numpy``, ``torch.from_numpy`` and DLPack
    (``torch.from_dlpack(observations)``).

    Shapes, with N lanes, A agents and C actions (where A is 1, its axis is left out):

    - observations ``(N, A, *shape)``, or a dictionary of such arrays if an observation has several fields;
    - rewards ``(N,)``, those of the first agent, and with several agents ``info["rewards"]`` ``(N, A)``;
    - terminations, truncations ``(N,)``, boolean;
    - ``info["action_mask"]`` ``(N, A, C)``, int8, where some actions are illegal in some states;
    - ``info["deciders"]`` ``(N, A)``, boolean, with several agents: who decides next. The action of a waiting agent must
      be there and is ignored;
    - ``info["final_obs"]`` ``(N,)`` of objects in mode ``same_step``: the last observation of each lane that ended.
    """

    def __init__(
        self,
        environment: Environment | str,
        num_envs: int = 1,
        *,
        configuration: str = "default",
        backend: str | None = None,
        autoreset: str | AutoresetMode | None = None,
        threads: int = 1,
        buffers: int = 2,
        illegal: str = "raise",
        options: dict[str, Any] | None = None,
        files: dict[str, str] | None = None,
        render_mode: str | None = None,
    ) -> None:
        """Opens the lanes.

        Args:
            environment: An environment, or what :func:`lockstep_rl.load` takes.
            num_envs: How many lanes.
            configuration: One of the environment's configurations.
            backend: One of its backends; without a name the fastest that plays the configuration as ``rust`` does.
            autoreset: ``next_step``, ``same_step``, ``disabled``, or ``reference``, which is what the reference itself
                does. An environment whose reference resets itself has only this one; the others start with
                ``next_step``.
            threads: How many threads step the lanes. With one, it is the caller's.
            buffers: How many sets of arrays results are written to in turn, 1 or 2.
            illegal: What an action does that is not legal now: ``raise``, or ``wrap``, which takes
                ``legal[action % len(legal)]`` and so accepts every action of the space.
            options: Options of the world that differ from the configuration's. What was verified is the configuration.
            files: Files of the world, such as a ROM, by name.
            render_mode: ``None`` or ``rgb_array``.
        """
        if not isinstance(environment, Environment):
            from .environment import load

            environment = load(environment)
        num_envs = _whole("num_envs", num_envs, 1, 1 << 24)
        self.environment = environment
        self.configuration: Configuration = environment.configuration(configuration)
        # With other options than those of the configuration only the readable backend is sure to play.
        fastest = self.configuration.fastest if not options else "rust"
        self.backend = fastest if backend is None else backend
        self.autoreset = _mode(autoreset, self.configuration)
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode is {render_mode!r}, neither None nor 'rgb_array'")
        if render_mode is not None and not self.configuration.picture:
            raise ValueError(f"{environment.name} can't be rendered: its env.toml has no [picture]")
        if illegal not in ("raise", "wrap"):
            raise ValueError(f"illegal is {illegal!r}, neither 'raise' nor 'wrap'")
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.threads = _whole("threads", threads, 1, 1024)
        self.metadata = {
            "autoreset_mode": MODES[self.autoreset],
            "autoreset": self.autoreset,
            "render_modes": ["rgb_array"] if self.configuration.picture else [],
            "render_fps": 60,
        }
        paths = {name: str(environment.folder / path) for name, path in self.configuration.files.items()}
        self._given = {"illegal": illegal, "options": dict(options or {}), "files": dict(files or {})}
        self._lanes = environment.library.open(
            configuration,
            backend=self.backend,
            lanes=num_envs,
            mode=self.autoreset,
            threads=self.threads,
            buffers=_whole("buffers", buffers, 1, 2),
            wraps=illegal == "wrap",
            options=json.dumps({**self.configuration.options, **(options or {})}),
            files=json.dumps({**paths, **{name: str(Path(path)) for name, path in (files or {}).items()}}),
        )
        self._step = self._lanes.step
        self._has_started = False
        self.single_observation_space = spaces.observation_space(self.configuration)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.single_action_space = spaces.action_space(self.configuration)
        self.action_space = spaces.batched_action_space(self.configuration, num_envs, self.legal_actions)
        self._present()

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Starts episodes.

        Args:
            seed: A number s, with which lane i starts at stream i of seed s; or one for each lane, with which it starts at
                stream 0 of it, as an environment with one lane does; a ``None`` among them is a lane's next episode.
                Without any seed each lane starts its next episode, and the very first time a seed is drawn.
            options: ``{"reset_mask": mask}``, a boolean array ``(N,)`` of the lanes that are reset; the others stay.

        Returns:
            Observations ``(N, A, *shape)`` and info.
        """
        which = self._reset_mask(options)
        if seed is None and not self._has_started:
            seed = int(np.random.SeedSequence().generate_state(1, np.uint64)[0])
        starts: list[tuple[int, int]] | None = None
        if seed is not None and not isinstance(seed, (Sequence, np.ndarray)):
            seed = _whole("seed", seed, 0, (1 << 64) - 1)
            super().reset(seed=seed)
            starts = [(seed, lane) for lane in range(self.num_envs)]
        elif seed is not None:
            if len(seed) != self.num_envs:
                raise ValueError(f"there are {len(seed)} seeds for {self.num_envs} lanes: give one number, or one each")
            if any(one is None for one in seed):
                given = np.array([one is not None for one in seed])
                if not self._has_started:
                    self.reset()
                if which is not None:
                    given &= which
                    self._lanes.reset(None, (which & ~given).tolist())
                else:
                    self._lanes.reset(None, (~given).tolist())
                which = given
            starts = [(0, 0) if one is None else (_whole("a seed", one, 0, (1 << 64) - 1), 0) for one in seed]
        if which is not None and not self._has_started:
            raise ValueError("lanes can be reset one by one only after a reset of all: call reset() without a mask")
        result = self._lanes.reset(starts, None if which is None else which.tolist())
        self._has_started = True
        return result

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Plays one step of all lanes.

        Args:
            actions: ``(N,)`` of any integer type; ``(N, A)`` with several agents; ``(N, A, W)`` with W actions an agent;
                floats, ``(N, A, W)`` with W at least 1, where actions are continuous.

        Returns:
            Observations, rewards, terminations, truncations and info; see the class.

        Raises:
            ValueError: A wrong shape, a value outside the space, or an action that is not legal now; no lane is stepped.
            TypeError: A wrong type.
            gymnasium.error.ResetNeeded: Nothing was reset, or a lane has finished (mode ``disabled``).
            gymnasium.error.ClosedEnvironmentError: It was closed.
        """
        return self._step(actions)

    def legal_actions(self) -> np.ndarray | None:
        """What is legal now, a boolean array ``(N, A, C)``; ``None`` before the first reset, or where all is."""
        if not self._has_started or not self.configuration.mask:
            return None
        mask = self._lanes.results()[4]["action_mask"].astype(np.bool_)
        if self.configuration.width > 1:
            mask = np.repeat(mask[..., np.newaxis, :], self.configuration.width, axis=-2)
        return mask

    def render(self, lanes: Sequence[int] | None = None) -> tuple[np.ndarray, ...] | None:
        """Pictures of all lanes, or of some: arrays ``(height, width, 3)`` of bytes."""
        if self.render_mode is None:
            raise ValueError("nothing is rendered without render_mode='rgb_array'")
        return tuple(self.picture(lane) for lane in (range(self.num_envs) if lanes is None else lanes))

    def picture(self, lane: int = 0) -> np.ndarray:
        """A picture of one lane, ``(height, width, 3)`` of bytes."""
        height, width, pixels = self._lanes.picture(operator.index(lane))
        return np.frombuffer(pixels, np.uint8).reshape(height, width, 3).copy()

    def state(self, lane: int = 0) -> dict[str, np.ndarray]:
        """The canonical state of one lane: what is verified, by field."""
        row = np.frombuffer(self._lanes.state(operator.index(lane)), np.uint8).copy()
        return views_of(self.configuration.canonical, row)

    def save(self, lane: int = 0) -> bytes:
        """One lane as bytes. Any lane of the same configuration can take them back, also of another backend."""
        return self._lanes.save(operator.index(lane))

    def restore(self, lane: int, saved: bytes) -> None:
        """Takes a saved lane back; observations and masks show it at once, its reward is 0 and its flags are off."""
        self._lanes.restore(operator.index(lane), bytes(saved))

    def replay(self, trace: Any) -> Replay:
        """Plays a trace on a lane of its own, with this backend; see :meth:`Environment.replay`."""
        return self.environment.replay(trace, self.backend)

    def certificate(self) -> dict[str, Any] | None:
        """What was verified of this backend in this configuration, without other options; ``None`` if nothing was."""
        certificate = self.environment.certificate(self.backend)
        if certificate is None or self._given["options"]:
            return None
        hashes = [row["hash"] for row in certificate["configurations"]]
        return certificate if self.configuration.hash in hashes else None

    def close_extras(self, **arguments: Any) -> None:
        """Frees the lanes. Arrays that were handed out stay as they are."""
        if hasattr(self, "_lanes"):
            self._lanes.close()

    @property
    def unwrapped(self) -> VectorEnv:
        """Itself."""
        return self

    def __getstate__(self) -> dict[str, Any]:
        if self.closed:
            raise ValueError("a closed environment can't be copied or pickled")
        shown = None
        if self._has_started:
            # What each array holds, word for word, and every lane.
            shown = (
                [self._lanes.save(lane) for lane in range(self.num_envs)],
                [np.array(part) for part in self._lanes.words()],
            )
        return {
            "path": str(self.environment.path),
            "folder": str(self.environment.folder),
            "num_envs": self.num_envs,
            "arguments": {
                "configuration": self.configuration.name,
                "backend": self.backend,
                "autoreset": self.autoreset,
                "threads": self.threads,
                "buffers": self._lanes.sets,
                "render_mode": self.render_mode,
                **self._given,
            },
            "hash": self.configuration.hash,
            "shown": shown,
            "spec": self.spec,
            "np_random": (self._np_random, self._np_random_seed),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        environment = Environment(state["path"], state["folder"])
        self.__init__(environment, state["num_envs"], **state["arguments"])  # type: ignore[misc]
        if self.configuration.hash != state["hash"]:
            raise ValueError(f"{state['path']} is another version of {environment.name} than the one that was pickled")
        if state["shown"] is not None:
            lanes, words = state["shown"]
            self._lanes.resume()
            for lane, saved in enumerate(lanes):
                self._lanes.restore(lane, saved)
            for here, there in zip(self._lanes.words(), words, strict=True):
                here[...] = there
            self._has_started = True
        self.spec = state["spec"]
        self._np_random, self._np_random_seed = state["np_random"]

    def _reset_mask(self, options: dict[str, Any] | None) -> np.ndarray | None:
        unknown = sorted(set(options or {}) - {"reset_mask"})
        if unknown:
            raise ValueError(f"reset has no option {unknown[0]!r}, only 'reset_mask': options of the world are given to make")
        mask = (options or {}).get("reset_mask")
        if mask is None:
            return None
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
            raise TypeError("options['reset_mask'] is a numpy array of booleans")
        if mask.shape != (self.num_envs,):
            raise ValueError(f"options['reset_mask'] has the shape {mask.shape}, not ({self.num_envs},)")
        if not mask.any():
            raise ValueError("options['reset_mask'] names no lane: there is nothing to reset")
        return mask

    def _present(self) -> None:
        """Tells the native half how to look at its arrays."""
        configuration, lanes = self.configuration, self.num_envs
        agents = configuration.agents
        several = agents > 1

        def shaped(array: np.ndarray, per_agent: tuple[int, ...] = ()) -> np.ndarray:
            return array.reshape((lanes, agents, *per_agent) if several else (lanes, *per_agent))

        def observed(words: np.ndarray) -> Any:
            size = lanes * agents * configuration.observation_bytes
            rows = words.view(np.uint8)[:size].reshape(lanes, agents, -1)
            views = views_of(configuration.observation, rows if several else rows[:, 0])
            return next(iter(views.values())) if len(views) == 1 else views

        always = np.ones(lanes, np.bool_)
        for number in range(self._lanes.sets):
            observations, rewards, terminated, truncated, finals, legal, deciding, skip = self._lanes.arrays(number)
            terminated, truncated = (flags.view(np.bool_)[:lanes] for flags in (terminated, truncated))
            rewards = shaped(rewards.view(configuration.reward)[: lanes * agents])
            info: list[tuple[str, np.ndarray]] = []
            if configuration.mask:
                count = len(configuration.actions)
                mask = shaped(legal.view(np.int8)[: lanes * agents * count], (count,))
                info += [("action_mask", mask), ("_action_mask", always)]
            if several:
                deciders = deciding.view(np.bool_)[skip : skip + lanes * agents].reshape(lanes, agents)
                info += [("rewards", rewards), ("_rewards", always), ("deciders", deciders), ("_deciders", always)]
            complete = None
            if self.autoreset == "same_step":
                complete = _Final(observed(finals), terminated, truncated)
            first = rewards[:, 0] if several else rewards
            self._lanes.present(number, (observed(observations), first, terminated, truncated), info, complete)


class _Final:
    """Adds the last observations of lanes that ended, as Gymnasium's own vector environments do."""

    def __init__(self, finals: Any, terminated: np.ndarray, truncated: np.ndarray) -> None:
        self.finals, self.terminated, self.truncated = finals, terminated, truncated

    def __call__(self, info: dict[str, Any]) -> None:
        ended = self.terminated | self.truncated
        final = np.full(len(ended), None, object)
        for lane in np.flatnonzero(ended):
            if isinstance(self.finals, dict):
                final[lane] = {name: values[lane].copy() for name, values in self.finals.items()}
            else:
                final[lane] = self.finals[lane].copy()
        info.update(final_obs=final, _final_obs=ended, final_info={}, _final_info=ended)


def _whole(name: str, value: Any, least: int, most: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}, not a whole number") from None
    if not least <= number <= most:
        raise ValueError(f"{name} is {number}, not from {least} to {most}")
    return number


def _mode(asked: str | AutoresetMode | None, configuration: Configuration) -> str:
    own = "reference" if configuration.resets_itself else "next_step"
    if asked is None:
        return own
    names = {AutoresetMode.NEXT_STEP: "next_step", AutoresetMode.SAME_STEP: "same_step", AutoresetMode.DISABLED: "disabled"}
    mode = names[asked] if isinstance(asked, AutoresetMode) else asked
    if mode not in MODES:
        raise ValueError(f"autoreset is {mode!r}, none of {', '.join(MODES)}")
    if (mode == "reference") != configuration.resets_itself:
        which = "resets itself" if configuration.resets_itself else "does not reset itself"
        fitting = "reference" if configuration.resets_itself else "next_step, same_step or disabled"
        raise ValueError(f"autoreset is {mode!r}, but the reference of this environment {which}: use {fitting}")
    return mode
