"""Builds the wheel: the libraries of all environments with cargo, then everything with maturin.

A wheel holds a folder for each environment of the clone, with its library and its certificates. What the environments
are is what stands in `envs/`; nothing here names one.
"""

import json
import shutil
import subprocess
from pathlib import Path

import maturin
from maturin import build_sdist, get_requires_for_build_sdist, get_requires_for_build_wheel  # noqa: F401

HERE = Path(__file__).resolve().parents[1]
ENVIRONMENTS = HERE.parent / "envs"
BUNDLED = HERE / "lockstep_rl" / "environments"
SUFFIXES = (".so", ".dylib", ".dll")


def bundle(config_settings) -> None:
    """Puts every environment's library and certificates into the package, built with the profile that maturin is given."""
    crates = sorted(path.parent for path in ENVIRONMENTS.glob("*/Cargo.toml"))
    if not crates:
        raise SystemExit(f"error: there are no environments in {ENVIRONMENTS}: install from a whole clone")
    if shutil.which("cargo") is None:
        raise SystemExit("error: there is no cargo to build the environments: install Rust from https://rustup.rs")
    command = ["cargo", "build", "--lib", "--message-format=json-render-diagnostics"]
    asked = str((config_settings or {}).get("build-args", "")).split()
    command += ["--profile", asked[asked.index("--profile") + 1] if "--profile" in asked else "release"]
    for crate in crates:
        command += ["--package", f"lockstep-env-{crate.name}"]
    done = subprocess.run(command, cwd=HERE.parent, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit("error: the environments do not build: see cargo's messages above")
    libraries = {}
    for line in done.stdout.splitlines():
        message = json.loads(line)
        if message.get("reason") == "compiler-artifact":
            names = [name for name in message["filenames"] if name.endswith(SUFFIXES)]
            libraries.update((Path(message["manifest_path"]).parent, name) for name in names)
    shutil.rmtree(BUNDLED, ignore_errors=True)
    for crate in crates:
        if crate not in libraries:
            raise SystemExit(f'error: {crate} builds no library: its Cargo.toml needs crate-type = ["rlib", "cdylib"]')
        folder = BUNDLED / crate.name
        folder.mkdir(parents=True)
        for path in [Path(libraries[crate]), *crate.glob("certificate*.json")]:
            shutil.copyfile(path, folder / path.name)


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    """The hook of PEP 517."""
    bundle(config_settings)
    return maturin.build_wheel(wheel_directory, config_settings, metadata_directory)


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    """The hook of PEP 517."""
    return maturin.prepare_metadata_for_build_wheel(metadata_directory, config_settings)


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    """The hook of PEP 660."""
    bundle(config_settings)
    return maturin.build_editable(wheel_directory, config_settings, metadata_directory)


get_requires_for_build_editable = get_requires_for_build_wheel
prepare_metadata_for_build_editable = prepare_metadata_for_build_wheel
