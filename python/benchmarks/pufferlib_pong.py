"""PufferLib's own vector step for Pong beside this package's, at equal lanes, on one core, in one run.

    python python/benchmarks/pufferlib_pong.py FOLDER

FOLDER is kept: the first run downloads PufferLib 3.0.0's source distribution into it (61 MB, checked by its hash), and
compiles Pong's binding, which needs `cc` and Python's headers. It can't be installed without PyTorch, so its packages are
imported from there; `pufferlib.ocean`, whose `__init__` imports every environment, is entered without it. What is timed
is `pufferlib.vector.make(Pong, backend=PufferEnv)`, the fastest that PufferLib has, with the step as it is there.

Both step the same random actions in turns, pinned to one core where the system can; the time is CPU time of the process.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import sysconfig
import time
import types
from pathlib import Path

import numpy as np

import lockstep_rl

LOCK = Path(__file__).resolve().parents[2] / "references/pong/requirements.lock"
ROUNDS = 9


def prepare(folder: Path) -> Path:
    """The unpacked distribution with its compiled binding."""
    unpacked = folder / "unpacked"
    found = sorted(unpacked.glob("pip-download-*/pufferlib_*/pufferlib/ocean/pong/binding.c"))
    if not found:
        unpacked.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder / "empty")], check=True)
        command = [str(folder / "empty/bin/python"), "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--no-binary", "pufferlib", "--no-build-isolation", "--no-clean", "--require-hashes"]
        command += ["--requirement", str(LOCK), "--dest", str(folder / "downloaded")]
        # Its metadata step fails in an empty environment, on purpose: the unpacked source stays behind.
        environment = {**os.environ, "TMPDIR": str(unpacked.resolve())}
        subprocess.run(command, env=environment, check=False, capture_output=True)
        found = sorted(unpacked.glob("pip-download-*/pufferlib_*/pufferlib/ocean/pong/binding.c"))
        if not found:
            raise SystemExit("error: the source distribution of pufferlib 3.0.0 could not be had\n(hint: look at PyPI)")
    source = found[0].parents[3]
    binding = found[0].with_name("binding" + sysconfig.get_config_var("EXT_SUFFIX"))
    if not binding.is_file():
        raylib = next(source.glob("raylib-*"))
        # -O2 as setup.py has it, with link-time optimisation, which made it the fastest of its builds.
        command = ["cc", "-shared", "-fPIC", "-O2", "-flto", "-fwrapv", "-w", "-DPLATFORM_DESKTOP"]
        command += ["-I", sysconfig.get_path("include"), "-I", np.get_include(), "-I", str(raylib / "include")]
        command += [str(found[0]), "-o", str(binding), str(raylib / "lib/libraylib.a"), "-lm", "-lpthread", "-ldl"]
        subprocess.run(command, check=True)
    return source


def pufferlib_pong(source: Path, lanes: int, frameskip: int):
    """PufferLib's vector environment."""
    sys.path.insert(0, str(source))
    here = os.getcwd()
    # Its import leaves a link behind in the current folder.
    os.chdir(source)
    try:
        ocean = types.ModuleType("pufferlib.ocean")
        ocean.__path__ = [str(source / "pufferlib/ocean")]
        sys.modules.setdefault("pufferlib.ocean", ocean)
        import pufferlib.vector
        from pufferlib.ocean.pong.pong import Pong
    finally:
        os.chdir(here)
    arguments = {"num_envs": lanes, "frameskip": frameskip}
    return pufferlib.vector.make(Pong, env_kwargs=arguments, backend=pufferlib.PufferEnv)


def seconds(step, actions, calls: int) -> float:
    """CPU seconds of some steps."""
    count = len(actions)
    begin = time.process_time()
    for call in range(calls):
        step(actions[call % count])
    return time.process_time() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lanes", type=int, nargs="+", default=[1024, 4096])
    parser.add_argument("--frameskip", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--steps", type=int, default=4_000_000, help="of each contender in each round, over all lanes")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    source = prepare(asked.folder.resolve())
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    pong = lockstep_rl.load("pong")
    rows = []
    for frameskip in asked.frameskip:
        for lanes in asked.lanes:
            theirs = pufferlib_pong(source, lanes, frameskip)
            theirs.reset(seed=1)
            generator = np.random.default_rng(1)
            drawn = [generator.integers(3, size=lanes) for _ in range(64)]
            contenders = {"pufferlib": theirs.step}
            for backend in pong.backends:
                options = {"configuration": "default" if frameskip == 1 else f"frameskip{frameskip}", "backend": backend}
                vector = pong.make_vec(lanes, **options)
                vector.reset(seed=1)
                puffer = pong.puffer(lanes, **options)
                puffer.reset(seed=1)
                contenders |= {f"VectorEnv {backend}": vector.step, f"PufferEnv {backend}": puffer.step}
            calls = max(1, asked.steps // lanes // frameskip)
            times = {name: [] for name in contenders}
            for _ in range(ROUNDS):
                for name, step in contenders.items():
                    times[name].append(seconds(step, drawn, calls) / calls / lanes)
            base = statistics.median(times["pufferlib"])
            for name, spent in times.items():
                middle = statistics.median(spent)
                rows.append(
                    {
                        "frameskip": frameskip, "lanes": lanes, "contender": name, "steps_per_cpu_second": 1 / middle,
                        "ratio": base / middle, "ratio_low": min(times["pufferlib"]) / max(spent),
                        "ratio_high": max(times["pufferlib"]) / min(spent),
                    }  # fmt: skip
                )
    if asked.json:
        print(json.dumps(rows, indent=2))
        return
    print(f"{'frameskip':>9}{'lanes':>8}  {'contender':<22}{'M steps/s':>11}{'ratio':>8}  spread")
    for row in rows:
        print(
            f"{row['frameskip']:>9}{row['lanes']:>8}  {row['contender']:<22}{row['steps_per_cpu_second'] / 1e6:>11.1f}"
            f"{row['ratio']:>8.2f}  {row['ratio_low']:.2f} to {row['ratio_high']:.2f}"
        )


if __name__ == "__main__":
    main()
