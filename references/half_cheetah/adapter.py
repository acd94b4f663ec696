"""Makes Gymnasium's HalfCheetah-v5 on MuJoCo speak Lockstep: one object of this class is one lane.

    adapter.py --setting tight|default

The environment is the one that `gymnasium.make` gives, with its time limit, and its `step` is what a step calls. What is
added looks at MuJoCo's data afterwards. The one exception is the grain `substep`: when its rows are asked for, the five
`mj_step` of a step are made one by one instead of by one call.
"""

import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.environ.get("LOCKSTEP_SDK") or os.path.join(HERE, "..", "sdk", "python"))
sys.path.insert(0, HERE)

import gymnasium  # noqa: E402
import lockstep_sdk  # noqa: E402
import mujoco  # noqa: E402
import numpy as np  # noqa: E402
import probes  # noqa: E402

PINS = {"gymnasium": (gymnasium.__version__, "1.4.0"), "mujoco": (mujoco.__version__, "4.0.0")}
# Beyond these MuJoCo goes on, but no play reaches them, and its rounding in world coordinates is larger than what is
# compared: at rootx 32767 a velocity is off by 3.7e-11.
POSITION_MAX = (1e3, 1e2, 1e3, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0)
VELOCITY_MAX = (300.0,) * 9
ACCELERATION_MAX = (1e6,) * 9
# At a tolerance of 1e-15 one state in some 60,000 still ends 1.5e-9 short in a velocity; at 1e-20 none does.
TIGHT = {"tolerance": 1e-20, "iterations": 200, "ls_tolerance": 1e-10}
SETTINGS = {"default": {}, "tight": TIGHT}
# A raw word of the generator has 64 bits; this is as near to 2^64 as a bound can be written.
RAW_BOUND = (1 << 64) - 1

setting = "tight"


def check_pins():
    """Ends the process with one sentence if another version than the pinned one was loaded."""
    for name, (found, pinned) in PINS.items():
        if found != pinned:
            print(
                f"error: {name} {found} is installed, the reference is {name} {pinned}\n"
                "(hint: delete the prepared folder of half_cheetah in the cache and run again)",
                file=sys.stderr,
            )
            sys.exit(3)


class HalfCheetahLane:
    name = "HalfCheetah-v5"
    version = "gymnasium 1.4.0, mujoco 4.0.0"
    probes = probes.FUNCTIONS
    # What --bare-tokens plays.
    example = {
        "agents": 1,
        "width": 6,
        "action": {"kind": "continuous", "low": -1.0, "high": 1.0},
        "episode_steps_max": 1000,
        "options": {},
    }

    def __init__(self, setup, draws):
        self.draws = draws
        limit = setup.episode_steps_max or 1000
        self.env = gymnasium.make(
            "HalfCheetah-v5", disable_env_checker=True, max_episode_steps=limit, **setup.options
        )
        self.cheetah = self.env.unwrapped
        self.limit = next(layer for layer in layers(self.env) if hasattr(layer, "_elapsed_steps"))
        self.model, self.data = self.cheetah.model, self.cheetah.data
        for name, value in SETTINGS[setting].items():
            setattr(self.model.opt, name, value)
        self.cheetah._step_mujoco_simulation = self.simulate
        self.rows = None
        self.contact_count = self.limit_count = 0
        self.observations = ()

    def reset(self, start):
        # One number that Gymnasium takes as it is: stream and episode 0 give what `reset(seed=seed)` gives.
        seed = start.seed | start.stream << 64 | start.episode << 128
        observation, _ = self.env.reset(seed=seed)
        self.note_draws(seed)
        self.contact_count = self.limit_count = 0
        self.observations = tuple(observation.tolist())

    def note_draws(self, seed):
        """Logs the raw words that the reset took, found by drawing them again."""
        end = self.cheetah.np_random.bit_generator.state["state"]["state"]
        again = np.random.PCG64(np.random.SeedSequence(seed))
        count = 0
        while again.state["state"]["state"] != end:
            self.draws.note(RAW_BOUND, int(again.random_raw()), "qpos" if count < 9 else "qvel")
            count += 1

    def step(self, actions, rows=None):
        self.rows = rows
        observation, reward, terminated, truncated, _ = self.env.step(np.array(actions[0], dtype=np.float32))
        self.contact_count, self.limit_count = int(self.data.ncon), int(self.data.nl)
        self.observations = tuple(observation.tolist())
        return [float(reward)], bool(terminated), bool(truncated)

    def simulate(self, ctrl, n_frames):
        """Stands in for the environment's own `_step_mujoco_simulation`, which it repeats unless rows are wanted."""
        self.data.ctrl[:] = ctrl
        if self.rows is None:
            mujoco.mj_step(self.model, self.data, nstep=n_frames)
        else:
            for _ in range(n_frames):
                mujoco.mj_step(self.model, self.data)
                data = self.data
                arrays = (data.qpos, data.qvel, data.qacc_warmstart)
                self.rows.append((int(data.ncon), int(data.nl), *np.concatenate(arrays).tolist()))
        mujoco.mj_rnePostConstraint(self.model, self.data)

    def record(self):
        data = self.data
        state = np.concatenate((data.qpos, data.qvel, data.qacc_warmstart)).tolist()
        return (*state, self.contact_count, self.limit_count)

    def inject(self, start, fields, observations):
        for name, bounds in (("qpos", POSITION_MAX), ("qvel", VELOCITY_MAX), ("qacc_warmstart", ACCELERATION_MAX)):
            for index, (value, bound) in enumerate(zip(fields[name], bounds)):
                # A NaN is not below any bound.
                if not abs(value) <= bound:
                    raise lockstep_sdk.Refused(f"{name}[{index}] is not a number or beyond {bound:g}")
        if fields["ncon"] > 16 or fields["nlimit"] > 6:
            raise lockstep_sdk.Refused("there are at most 16 contacts and 6 limits")
        # The wrappers want a reset before the first step; its noise is overwritten.
        self.env.reset(seed=0)
        self.place(fields["qpos"], fields["qvel"], fields["qacc_warmstart"])
        self.contact_count, self.limit_count = fields["ncon"], fields["nlimit"]
        self.limit._elapsed_steps = start.elapsed
        self.observations = tuple(observations)

    def place(self, qpos, qvel, warmstart):
        self.data.qpos[:] = qpos
        self.data.qvel[:] = qvel
        self.data.qacc_warmstart[:] = warmstart

    def snapshot(self):
        data = self.data
        arrays = [array.tolist() for array in (data.qpos, data.qvel, data.qacc_warmstart)]
        return arrays, self.contact_count, self.limit_count, self.limit._elapsed_steps, self.observations

    def restore(self, state):
        arrays, self.contact_count, self.limit_count, elapsed, self.observations = state
        self.env.reset(seed=0)
        self.place(*arrays)
        self.limit._elapsed_steps = elapsed


def layers(env):
    """The wrappers of an environment, outermost first."""
    while env is not env.unwrapped:
        yield env
        env = env.env


if __name__ == "__main__":
    if sys.argv[1:2] == ["--setting"]:
        setting = sys.argv[2]
        del sys.argv[1:3]
        if setting not in SETTINGS:
            print(f"error: setting {setting!r} is neither tight nor default", file=sys.stderr)
            sys.exit(2)
    check_pins()
    # MuJoCo writes its log of warnings into the current folder.
    os.chdir(tempfile.gettempdir())
    lockstep_sdk.main(HalfCheetahLane)
