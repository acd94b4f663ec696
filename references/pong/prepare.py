"""Gets PufferLib's Pong from PyPI and compiles the adapter against it; run once by `reference.toml`.

    prepare.py PREPARED HERE SDK-FOR-C CC

PufferLib 3.0.0 is only there as a source distribution, and to install it takes PyTorch. Pong needs one header of it. So
pip downloads the distribution in an empty virtual environment: its metadata step fails at `import numpy`, on purpose,
and leaves the unpacked source behind.
"""

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

PONG_SHA256 = "47c08b8ed9f90c92bb6569cdc0be6999f1586f5abe11cf7777a6b9861a74f669"
UNAVAILABLE = 3

# Exact to the bit on every machine: no fused multiply-add where a compiler would make one, wrapping integers. The
# unused drawing code falls away with its section, so that raylib's library is not needed.
FLAGS = ["-std=gnu11", "-O2", "-ffp-contract=off", "-fwrapv"]
FLAGS += ["-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections"]

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
    "No matching distribution found",
)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def fail(text: str, hint: str) -> None:
    say(f"error: {text}\n(hint: {hint})")
    sys.exit(UNAVAILABLE)


def run(argv: list, **where) -> subprocess.CompletedProcess:
    return subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False, **where)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def is_fetched(prepared: Path) -> bool:
    header = prepared / "pong.h"
    return header.is_file() and sha256(header) == PONG_SHA256 and (prepared / "raylib.h").is_file()


def fetch(prepared: Path, here: Path, scratch: Path) -> None:
    """Leaves pong.h and raylib's headers in a folder."""
    package = download(here, scratch)
    header = package / "pufferlib/ocean/pong/pong.h"
    found = sha256(header)
    if found != PONG_SHA256:
        fail(f"pong.h has the sha256 {found} instead of {PONG_SHA256}", "report this: the pinned file can't change")
    headers = sorted(package.glob("raylib-*/include/*.h"))
    if not any(path.name == "raylib.h" for path in headers):
        fail("the source distribution holds no raylib.h", "report this: the pinned file can't change")
    # pong.h last: with it in place, everything is.
    for path in [*headers, package / "LICENSE", header]:
        place(path, prepared / ("LICENSE.pufferlib" if path.name == "LICENSE" else path.name))


def download(here: Path, scratch: Path) -> Path:
    """The unpacked source distribution."""
    say("making an empty virtual environment")
    python = make_environment(scratch / "empty")
    unpacked = scratch / "unpacked"
    unpacked.mkdir()
    say("downloading pufferlib 3.0.0 from PyPI (61 MB)")
    argv = [str(python), "-m", "pip", "download", "--no-deps", "--no-binary", "pufferlib", "--no-build-isolation"]
    argv += ["--no-clean", "--require-hashes", "--requirement", str(here / "requirements.lock")]
    argv += ["--dest", str(scratch / "downloaded")]
    environment = dict(os.environ, TMPDIR=str(unpacked), PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_NO_INPUT="1")
    environment.pop("PYTHONPATH", None)
    done = run(argv, env=environment, cwd=scratch)
    for header in unpacked.glob("pip-download-*/pufferlib_*/pufferlib/ocean/pong/pong.h"):
        return header.parents[3]
    explain(done.stdout + done.stderr)
    raise AssertionError("explain() ends the process")


def make_environment(folder: Path) -> Path:
    try:
        import ensurepip  # noqa: F401 (Debian's python3 comes without it)
    except ImportError:
        fail("this Python can't make a virtual environment with pip", "install python3-venv and run again")
    try:
        venv.EnvBuilder(with_pip=True, symlinks=os.name != "nt").create(folder)
    except (OSError, subprocess.CalledProcessError) as error:
        fail(f"the virtual environment could not be made: {error}", "install python3-venv and run again")
    return folder / "bin/python"


def explain(output: str) -> None:
    """Ends the process with one sentence on why pip left nothing behind."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")] or lines or ["it printed nothing"]
    say(f"  last line    {errors[-1]}")
    if "DO NOT MATCH THE HASHES" in output:
        fail("the download has another sha256 than requirements.lock", "run again, or look at your package index")
    if any(sign in output for sign in NETWORK_SIGNS):
        fail("PyPI could not be reached", "connect and run again; everything that was prepared before still works")
    fail("pip failed before the source was unpacked", "see pip's line above, and run again")


def place(source: Path, target: Path) -> None:
    partial = target.with_name(target.name + ".partial")
    shutil.copyfile(source, partial)
    partial.replace(target)


def compile_adapter(prepared: Path, here: Path, sdk: Path, cc: str) -> None:
    say("compiling the adapter")
    partial = prepared / "adapter.partial"
    argv = [*shlex.split(cc), *FLAGS, "-I", str(sdk), "-isystem", str(prepared), "-o", str(partial)]
    try:
        done = run([*argv, str(here / "adapter.c"), "-lm"])
    except OSError as error:
        fail(f"the C compiler `{cc}` does not start: {error.strerror}", "install gcc or clang, or set CC")
    if done.returncode:
        say(done.stderr)
        fail(f"`{cc}` did not compile adapter.c", "see its messages above")
    partial.replace(prepared / "adapter")


def main() -> None:
    if len(sys.argv) != 5:
        say("usage: prepare.py PREPARED HERE SDK CC")
        sys.exit(2)
    prepared, here, sdk = (Path(argument).resolve() for argument in sys.argv[1:4])
    prepared.mkdir(parents=True, exist_ok=True)
    # Beside the prepared folders, so that an edit of the adapter does not download anew.
    fetched = prepared.parent / "pufferlib-3.0.0"
    fetched.mkdir(exist_ok=True)
    if is_fetched(fetched):
        say("pong.h is there already")
    else:
        with tempfile.TemporaryDirectory(prefix="lockstep-pong-") as scratch:
            fetch(fetched, here, Path(scratch))
    for path in [*fetched.glob("*.h"), *fetched.glob("LICENSE*")]:
        place(path, prepared / path.name)
    compile_adapter(prepared, here, sdk, sys.argv[4])


if __name__ == "__main__":
    main()
