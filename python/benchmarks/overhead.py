"""What a step call costs beyond the environment's own time: the call from Python against a loop over the table in Rust.

    python python/benchmarks/overhead.py

Both sides play the same actions on the same lanes in the same process, in turns; the median of the rounds is printed with
their spread.
"""

import argparse
import statistics
import time

import numpy as np

import lockstep_rl

ROUNDS = 301


def measure(name: str, configuration: str, backend: str, lanes: int) -> dict[str, object]:
    """Nanoseconds of one step, from Python and in Rust."""
    envs = lockstep_rl.load(name).make_vec(lanes, configuration=configuration, backend=backend)
    envs.reset(seed=1)
    actions = np.zeros(envs.action_space.shape, np.int64 if envs.configuration.actions else np.float32)
    if envs.configuration.mask:
        actions = envs.legal_actions().argmax(-1)
    # Short rounds, of some 2 ms, so that few of them are interrupted.
    envs.step(actions)
    calls = max(2, int(2_000_000 / max(envs._lanes.time(20) / 20, 400)))
    step = envs.step
    from_python, in_rust = [], []
    for _ in range(ROUNDS):
        begin = time.perf_counter_ns()
        for _ in range(calls):
            step(actions)
        from_python.append((time.perf_counter_ns() - begin) / calls)
        in_rust.append(envs._lanes.time(calls) / calls)
    extra = [whole - own for whole, own in zip(from_python, in_rust, strict=True)]
    return {
        "environment": name, "configuration": configuration, "backend": backend, "lanes": lanes,
        "step_ns": statistics.median(from_python), "own_ns": statistics.median(in_rust),
        "extra_ns": statistics.median(extra), "extra_ns_min": min(extra), "extra_ns_max": max(extra),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--environment", default="pong")
    parser.add_argument("--configuration", default="default")
    parser.add_argument("--lanes", type=int, nargs="+", default=[1, 64, 4096])
    asked = parser.parse_args()
    backends = lockstep_rl.load(asked.environment).configuration(asked.configuration).backends
    print(f"{'backend':<12}{'lanes':>8}{'step ns':>12}{'own ns':>12}{'beyond ns':>12}{'min':>10}{'max':>10}{'share':>9}")
    for backend in backends:
        for lanes in asked.lanes:
            row = measure(asked.environment, asked.configuration, backend, lanes)
            share = row["extra_ns"] / row["step_ns"]
            print(
                f"{backend:<12}{lanes:>8}{row['step_ns']:>12.0f}{row['own_ns']:>12.0f}{row['extra_ns']:>12.0f}"
                f"{row['extra_ns_min']:>10.0f}{row['extra_ns_max']:>10.0f}{share:>9.1%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
