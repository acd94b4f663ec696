"""Measures what the tolerances of env.toml rest on, from MuJoCo alone: tolerance.py [STATES], 60000 where none is given.

Each state makes one step of the environment in the setting `tight` five times: as it is, with every position and velocity
moved by one unit in the last place, with them rounded to singles, in the setting `default`, and with the solver going on
to 1e-30; and, where no speed is above 60 rad/s, as a program in singles would at best: rounded to singles and moved by up
to one unit in their last place before each substep. Printed are the 99th percentile and the largest difference, absolute
and divided by one plus the largest value, for steps of one substep, of three and of five. *Visited* states are those of random, bang-bang, held and wild play; in a *generated* one up to three numbers come
from another visited state or from the edges that the tiers property and interaction use.
"""

import os
import sys

import gymnasium
import mujoco
import numpy as np

SETTINGS = {"tight": (1e-20, 200, 1e-10), "default": (1e-8, 100, 0.01), "tighter": (1e-30, 200, 1e-10)}
POSITION_MAX = np.array([1e3, 1e2, 1e3] + [10.0] * 6)
FIELDS = {"qpos": slice(0, 9), "qvel": slice(9, 18), "qacc_warmstart": slice(18, 27)}


def load():
    folder = os.path.join(os.path.dirname(gymnasium.__file__), "envs", "mujoco", "assets")
    return mujoco.MjModel.from_xml_path(os.path.join(folder, "half_cheetah.xml"))


def step(model, data, state, ctrl, substeps, setting):
    model.opt.tolerance, model.opt.iterations, model.opt.ls_tolerance = SETTINGS[setting]
    mujoco.mj_resetData(model, data)
    data.qpos[:], data.qvel[:], data.qacc_warmstart[:] = state[:9], state[9:18], state[18:]
    data.ctrl[:] = ctrl
    mujoco.mj_step(model, data, nstep=substeps)
    return np.concatenate((data.qpos, data.qvel, data.qacc_warmstart)), data.time


def visited(model, data, rng, count):
    """States and controls along episodes of four ways to play."""
    found = []
    while len(found) < count:
        way = rng.integers(4)
        state = np.concatenate((rng.uniform(-0.1, 0.1, 9), 0.1 * rng.standard_normal(9), np.zeros(9)))
        if way == 3:
            state[2:9] += rng.uniform(-1, 1, 7)
        ctrl = np.zeros(6)
        for index in range(250):
            if way == 0 or way == 3 and index % 10 == 0:
                ctrl = rng.uniform(-1, 1, 6)
            elif way == 1 and index % 20 == 0:
                ctrl = rng.choice([-1.0, 1.0], 6)
            elif way == 2 and index % 50 == 0:
                ctrl = rng.uniform(-1, 1, 6) * rng.integers(2)
            found.append((state, ctrl))
            state, _ = step(model, data, state, ctrl, 5, "tight")
    return found[:count]


def generated(pool, rng):
    state, ctrl = pool[rng.integers(len(pool))]
    state = state.copy()
    for _ in range(1 + rng.integers(3)):
        at = rng.integers(27)
        if rng.integers(8):
            state[at] = pool[rng.integers(len(pool))][0][at]
        else:
            state[at] = rng.choice([0, 1, -1, 2, 127, 255]) * rng.choice([1, 0.5, 0.1])
    ok = (np.abs(state[:9]) <= POSITION_MAX).all()
    return (state, ctrl) if ok else generated(pool, rng)


def moved(state, rng):
    place = state.copy()
    place[:18] = np.nextafter(place[:18], place[:18] + rng.choice([-1, 1], 18))
    return place


def rounded(state):
    """Positions (but for rootx, which nothing depends on) and velocities as singles hold them."""
    place = state.copy()
    place[1:18] = place[1:18].astype(np.float32)
    return place


def in_singles(model, data, state, ctrl, substeps, rng):
    """A step whose state is a single's neighbour before each substep."""
    for _ in range(substeps):
        state = rounded(state)
        single = state[1:18].astype(np.float32)
        towards = rng.choice(np.array([-np.inf, np.nan, np.inf], np.float32), 17)
        state[1:18] = np.where(np.isnan(towards), single, np.nextafter(single, towards))
        state, _ = step(model, data, state, ctrl, 1, "tight")
    return state


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 60_000
    model = load()
    data = mujoco.MjData(model)
    rng = np.random.default_rng(1)
    pool = visited(model, data, rng, count)
    kinds = {"visited": pool, "generated": [generated(pool, rng) for _ in range(count)]}
    print("states substeps compared field p99 max p99-scaled max-scaled")
    for kind, states in kinds.items():
        for substeps in (1, 3, 5):
            errors = {name: [] for name in ("one ulp", "single", "default", "tighter", "singles")}
            for state, ctrl in states:
                base, time = step(model, data, state, ctrl, substeps, "tight")
                if time < 0.005 + 0.01 * (substeps - 1):
                    continue  # it exploded and was reset
                others = {
                    "one ulp": step(model, data, moved(state, rng), ctrl, substeps, "tight")[0],
                    "single": step(model, data, rounded(state), ctrl, substeps, "tight")[0],
                    "default": step(model, data, state, ctrl, substeps, "default")[0],
                    "tighter": step(model, data, state, ctrl, substeps, "tighter")[0],
                }
                if np.abs(state[9:18]).max() <= 60:
                    others["singles"] = in_singles(model, data, state, ctrl, substeps, rng)
                for name, other in others.items():
                    row = []
                    for part in FIELDS.values():
                        error = np.abs(base[part] - other[part]).max()
                        row += [error, error / (1 + np.abs(base[part]).max())]
                    errors[name].append(row)
            for name, rows in errors.items():
                rows = np.array(rows)
                for index, field in enumerate(FIELDS):
                    plain, scaled = rows[:, 2 * index], rows[:, 2 * index + 1]
                    numbers = (np.percentile(plain, 99), plain.max(), np.percentile(scaled, 99), scaled.max())
                    print(f"{kind:9} {substeps} {name:8} {field:14}", *(f"{number:.1e}" for number in numbers), len(rows))


if __name__ == "__main__":
    main()
