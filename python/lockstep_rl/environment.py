"""Environments as files: those in the package, those by path, and what is known of them without opening any lane."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core
from ._core import Error

if TYPE_CHECKING:
    from .pettingzoo import ParallelEnv
    from .puffer import PufferEnv
    from .single import Env
    from .vector import VectorEnv

#: Where the environments that came with the package are, a folder for each.
BUNDLED = Path(__file__).parent / "environments"

#: How a library's file may end, by system.
SUFFIXES = (".so", ".dylib", ".dll")

DTYPES = {
    "u8": np.uint8, "i8": np.int8, "u16": np.uint16, "i16": np.int16, "u32": np.uint32, "i32": np.int32,
    "u64": np.uint64, "i64": np.int64, "f32": np.float32, "f64": np.float64,
}  # fmt: skip


@dataclass(frozen=True)
class Field:
    """One field of an observation or state."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    #: Where it begins among its neighbours, in bytes.
    offset: int

    @property
    def size(self) -> int:
        """Its bytes."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


@dataclass(frozen=True)
class Configuration:
    """One configuration of an environment, as its manifest has it."""

    name: str
    about: str | None
    #: Over everything that fixes what a trace means.
    hash: str
    agents: int
    #: Actions of one agent in one step.
    width: int
    #: The names of discrete actions; empty if actions are continuous.
    actions: tuple[str, ...]
    #: Whether some actions are illegal in some states.
    mask: bool
    low: float | None
    high: float | None
    observation: tuple[Field, ...]
    canonical: tuple[Field, ...]
    reward: np.dtype[Any]
    #: Whether the reference's own step starts the next episode.
    resets_itself: bool
    episode_steps_max: int | None
    options: dict[str, Any]
    files: dict[str, str]
    #: The backends that can play it, the readable one first.
    backends: tuple[str, ...]
    #: The fastest of them whose results are those of ``rust``, bit for bit.
    fastest: str
    picture: bool

    @property
    def observation_bytes(self) -> int:
        """Bytes of one agent's observation."""
        return sum(field.size for field in self.observation)


@dataclass(frozen=True)
class Replay:
    """What a trace showed. T steps of a environment with A agents; the first row is before the first step."""

    configuration: str
    #: Fields by name, ``(T + 1, A, *shape)``. Where an episode ended, the first of the next one.
    observations: dict[str, np.ndarray]
    #: As ``observations``, without the first row: the last ones of episodes that ended in the step, zeros elsewhere.
    final_observations: dict[str, np.ndarray]
    #: The canonical fields by name, ``(T + 1, *shape)``.
    states: dict[str, np.ndarray]
    #: ``(T, A)``.
    rewards: np.ndarray
    #: ``(T,)``.
    terminated: np.ndarray
    #: ``(T,)``.
    truncated: np.ndarray


def fields_of(rows: list[dict[str, Any]]) -> tuple[Field, ...]:
    """Fields with their places."""
    fields, offset = [], 0
    for row in rows:
        # A region is its bytes.
        dtype = np.dtype(DTYPES.get(row["dtype"], np.uint8))
        fields.append(Field(row["name"], dtype, tuple(row["shape"]), offset))
        offset += fields[-1].size
    return tuple(fields)


def views_of(fields: tuple[Field, ...], rows: np.ndarray) -> dict[str, np.ndarray]:
    """Views of fields in bytes ``(..., size)``, each ``(..., *shape)``."""
    views = {}
    for field in fields:
        part = rows[..., field.offset : field.offset + field.size].view(field.dtype)
        views[field.name] = part.reshape((*rows.shape[:-1], *field.shape))
    return views


class Environment:
    """The library of one environment, loaded.

    To load a library is to run it: load only what you trust.
    """

    def __init__(self, path: str | os.PathLike[str], folder: str | os.PathLike[str] | None = None) -> None:
        """``path`` is a library; ``folder`` is where its certificates and files are, by default the library's."""
        self.path = Path(path).absolute()
        self.folder = Path(folder).absolute() if folder is not None else self.path.parent
        self.library = _core.Library(str(self.path))

    @property
    def name(self) -> str:
        """The environment's name, such as ``pong``."""
        return self.library.name

    @property
    def title(self) -> str:
        """One line for people."""
        return self.library.title

    @property
    def backends(self) -> list[str]:
        """The backends in this library; not every one plays every configuration."""
        return self.library.backends

    @property
    def configurations(self) -> list[str]:
        """The names of the configurations, ``default`` first."""
        return self.library.configurations

    def configuration(self, name: str = "default") -> Configuration:
        """One configuration."""
        row = json.loads(self.library.configuration(name))
        action = row["action"]
        return Configuration(
            name=row["name"],
            about=row["about"],
            hash=row["hash"],
            agents=row["agents"],
            width=row["width"],
            actions=tuple(action.get("names", ())),
            mask=bool(action.get("mask", False)),
            low=action.get("low"),
            high=action.get("high"),
            observation=fields_of(row["observation"]),
            canonical=fields_of(row["canonical"]),
            reward=np.dtype(DTYPES[row["reward"]]),
            resets_itself=row["resets"] == "reference",
            episode_steps_max=row["episode_steps_max"],
            options=row["options"],
            files=row["files"],
            backends=tuple(row["backends"]),
            fastest=row["fastest"],
            picture=row["picture"],
        )

    def make_vec(self, num_envs: int = 1, **arguments: Any) -> VectorEnv:
        """Many lanes as a :class:`gymnasium.vector.VectorEnv`; the arguments are those of :class:`VectorEnv`."""
        from .vector import VectorEnv

        return VectorEnv(self, num_envs, **arguments)

    def make(self, **arguments: Any) -> Env:
        """One lane as a :class:`gymnasium.Env`; the arguments are those of :class:`Env`."""
        from .single import Env

        return Env(self, **arguments)

    def puffer(self, num_envs: int = 1, **arguments: Any) -> PufferEnv:
        """Many lanes behind PufferLib's interface; the arguments are those of :class:`lockstep_rl.puffer.PufferEnv`."""
        from .puffer import PufferEnv

        return PufferEnv(self, num_envs, **arguments)

    def parallel(self, **arguments: Any) -> ParallelEnv:
        """One lane as a PettingZoo parallel environment; see :class:`lockstep_rl.pettingzoo.ParallelEnv`."""
        from .pettingzoo import ParallelEnv

        return ParallelEnv(self, **arguments)

    def replay(self, trace: str | os.PathLike[str], backend: str = "rust") -> Replay:
        """Plays a trace: a file of ``envs/<environment>/traces``, or its text.

        Raises :class:`ValueError` if it is not valid, or is for another environment or version of its configuration.
        """
        text = str(trace)
        if "\n" not in text:
            text = Path(trace).read_text(encoding="utf-8")
        name, *parts = self.library.replay(backend, text)
        configuration = self.configuration(name)
        observations, states, finals, rewards, terminated, truncated = (
            np.frombuffer(part, np.uint8).copy() for part in parts
        )
        agents, size = configuration.agents, configuration.observation_bytes
        state_size = sum(field.size for field in configuration.canonical)
        return Replay(
            configuration=name,
            observations=views_of(configuration.observation, observations.reshape(-1, agents, size)),
            final_observations=views_of(configuration.observation, finals.reshape(-1, agents, size)),
            states=views_of(configuration.canonical, states.reshape(-1, state_size)),
            rewards=rewards.view(configuration.reward).reshape(-1, agents),
            terminated=terminated.view(np.bool_),
            truncated=truncated.view(np.bool_),
        )

    def certificate(self, backend: str = "rust") -> dict[str, Any] | None:
        """What was verified of a backend, as ``lockstep certify`` wrote it; ``None`` where nothing was.

        It is the file that stood beside the source when the package was built. Whether it still holds for that source,
        ``lockstep certify --check`` says in a clone.
        """
        suffix = "" if backend == "rust" else f".{backend}"
        path = self.folder / f"certificate{suffix}.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def __repr__(self) -> str:
        return f"<lockstep environment {self.name}, backends {', '.join(self.backends)}>"


def environments() -> list[str]:
    """The names of the environments that came with the package."""
    if not BUNDLED.is_dir():
        return []
    return sorted(entry.name for entry in BUNDLED.iterdir() if library_in(entry) is not None)


def load(path: str | os.PathLike[str]) -> Environment:
    """Loads an environment: one of :func:`environments` by name, a library by its path, or the folder of an
    environment's crate, which is then built with cargo.

    Raises :class:`FileNotFoundError` if nothing is there, and :class:`Error` if it is no environment, was built by
    another version of Lockstep, or does not build.
    """
    place = Path(path)
    if place.is_file():
        return Environment(place)
    if (place / "Cargo.toml").is_file():
        return Environment(build(place), folder=place)
    if place.is_dir():
        library = library_in(place)
        if library is None:
            raise FileNotFoundError(f"{place} has neither a Cargo.toml nor a library: give the folder of an environment")
        return Environment(library)
    bundled = library_in(BUNDLED / str(path)) if place.name == str(path) else None
    if bundled is None:
        raise FileNotFoundError(f"there is no environment {path}: give a path, or one of {', '.join(environments())}")
    return Environment(bundled)


def library_in(folder: Path) -> Path | None:
    """The library in a folder."""
    if not folder.is_dir():
        return None
    return next((path for path in sorted(folder.iterdir()) if path.suffix in SUFFIXES), None)


def build(folder: Path) -> Path:
    """Builds the library of an environment's crate, and says where it is."""
    command = ["cargo", "build", "--release", "--lib", "--message-format=json-render-diagnostics"]
    try:
        done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=False)
    except FileNotFoundError as error:
        raise Error(f"{folder} is source, and there is no cargo to build it: install Rust from https://rustup.rs") from error
    if done.returncode:
        raise Error(f"{folder} does not build: see cargo's messages above")
    manifest = folder.resolve() / "Cargo.toml"
    for line in done.stdout.splitlines():
        message = json.loads(line)
        if message.get("reason") == "compiler-artifact" and Path(message["manifest_path"]).resolve() == manifest:
            for name in message["filenames"]:
                if name.endswith(SUFFIXES):
                    return Path(name)
    raise Error(f'{folder} builds no library that can be loaded: its Cargo.toml needs crate-type = ["rlib", "cdylib"]')
