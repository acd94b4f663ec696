"""Makes counter.py speak Lockstep: one object of this class is one lane."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.environ.get("LOCKSTEP_SDK") or os.path.join(HERE, "..", "sdk", "python"))
sys.path.insert(0, HERE)

import lockstep_sdk  # noqa: E402
from counter import Counter  # noqa: E402

# Beyond this an f32 no longer holds every whole number, and the rules were never meant for it.
EXACT_MAX = 1 << 24


class CounterLane(Counter):
    name = "counter.py"
    version = "1"
    # What --bare-tokens plays.
    example = {
        "agents": 1,
        "action": {"kind": "discrete", "count": 4, "mask": True},
        "draws": {"sites": ["gust", "leap"]},
        "episode_steps_max": 64,
        "options": {"agents": 1, "limit": 10, "memory": 0, "draws": "served"},
    }

    def __init__(self, setup, draws):
        super().__init__(**setup.options, steps_max=setup.episode_steps_max, source=draws)
        self.hidden_generator = setup.options.get("draws") == "recorded"

    def reset(self, start):
        super().reset(start.seed, start.stream, start.episode)

    def record(self):
        """The fields of the manifest in their order, flat; `canonical` with a dict would do, but costs more time."""
        fields = (self.value, self.deciders, self.purse[0], self.purse[1], self.tick, self.generator)
        return fields + (self.memory,) if self.memory else fields

    def inject(self, start, fields, observations):
        if self.hidden_generator:
            raise lockstep_sdk.Refused("Python's generator is not a part of the state")
        if not 0 < fields["deciders"] <= self.everybody:
            raise lockstep_sdk.Refused(f"nobody decides: deciders is {fields['deciders']:#x}")
        if max(map(abs, (fields["value"], *fields["purse"]))) > EXACT_MAX or fields["tick"] > EXACT_MAX:
            raise lockstep_sdk.Refused(f"a number is beyond {EXACT_MAX}")
        self.reset(start)
        self.value = fields["value"]
        self.deciders = fields["deciders"]
        self.purse = list(fields["purse"])
        self.tick = fields["tick"]
        self.generator = fields["generator"]
        self.memory = bytearray(fields.get("memory", b""))
        if self.steps_max is not None:
            self.steps_left = self.steps_max - start.elapsed
        self.observations = observations


if __name__ == "__main__":
    lockstep_sdk.main(CounterLane)
