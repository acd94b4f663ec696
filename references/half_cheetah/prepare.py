"""Installs Gymnasium and MuJoCo from PyPI by hash; run by `reference.toml`.

    prepare.py PREPARED HERE

The packages lie beside the prepared folders, named after the lock file and the Python, so that an edit of the adapter
downloads nothing; the prepared folder has a link to them. Nothing is installed into the Python that runs this.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

FAILED = 3
# This machine can't have the packages: suites list their rows as skipped, with the reason.
UNAVAILABLE = 69

NETWORK_SIGNS = (
    "Max retries exceeded",
    "Failed to establish a new connection",
    "name resolution",
    "Name or service not known",
    "NewConnectionError",
    "ConnectTimeout",
    "Read timed out",
    "ProxyError",
    "ConnectionError",
    "Connection reset",
    "Network is unreachable",
)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def fail(text: str, hint: str, code: int = FAILED) -> None:
    say(f"error: {text}\n(hint: {hint})")
    sys.exit(code)


def install(lock: Path, site: Path) -> None:
    """Leaves the packages of the lock file in a folder, whole or not at all."""
    try:
        import ensurepip  # noqa: F401 (Debian's python3 comes without it)
    except ImportError:
        missing = "this Python can't make a virtual environment with pip"
        fail(missing, "install python3-venv and run again", UNAVAILABLE)
    with tempfile.TemporaryDirectory(prefix="lockstep-half-cheetah-") as scratch:
        empty = Path(scratch) / "empty"
        try:
            venv.EnvBuilder(with_pip=True, symlinks=os.name != "nt").create(empty)
        except (OSError, subprocess.CalledProcessError) as error:
            fail(f"the virtual environment could not be made: {error}", "install python3-venv and run again")
        partial = site.with_name(site.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        say("installing gymnasium 1.4.0 and mujoco 4.0.0 from PyPI")
        argv = [str(empty / "bin/python"), "-m", "pip", "install", "--only-binary", ":all:", "--require-hashes"]
        argv += ["--requirement", str(lock), "--target", str(partial)]
        environment = dict(os.environ, PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_NO_INPUT="1")
        environment.pop("PYTHONPATH", None)
        done = subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False, env=environment)
        if done.returncode:
            explain(done.stdout + done.stderr)
        partial.replace(site)


def explain(output: str) -> None:
    """Ends the process with one sentence on why pip failed."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")] or lines or ["it printed nothing"]
    say(f"  last line    {errors[-1]}")
    if "DO NOT MATCH THE HASHES" in output:
        fail("a package has another sha256 than requirements.lock", "run again, or look at your package index")
    if any(sign in output for sign in NETWORK_SIGNS):
        hint = "connect and run again; everything that was prepared before still works"
        fail("PyPI could not be reached", hint, UNAVAILABLE)
    if "No matching distribution found" in output:
        fail(
            "there is no wheel of a pinned package for this Python",
            "choose another Python with --python; 3.11 is the one that was tried",
            UNAVAILABLE,
        )
    fail("pip failed", "see its line above, and run again")


def main() -> None:
    if len(sys.argv) != 3:
        say("usage: prepare.py PREPARED HERE")
        sys.exit(2)
    prepared, here = (Path(argument).resolve() for argument in sys.argv[1:3])
    prepared.mkdir(parents=True, exist_ok=True)
    lock = here / "requirements.lock"
    made_from = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()
    site = prepared.parent / f"mujoco-4.0.0-{made_from[:16]}"
    if site.is_dir():
        say("the packages are there already")
    else:
        install(lock, site)
    link = prepared / "site"
    if not link.is_symlink():
        link.symlink_to(site, target_is_directory=True)


if __name__ == "__main__":
    main()
