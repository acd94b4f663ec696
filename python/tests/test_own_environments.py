"""`lockstep new --gymnasium`, its part in Python, on real environments of Gymnasium: what it proposes, and what it refuses."""

import json
import os
import subprocess
import sys

import pytest

SDK = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "references", "sdk", "python")


def proposed(tmp_path, **request):
    """The answer to a request, from a process of its own, as the command has it."""
    answer = tmp_path / "answer.json"
    request = {"seconds": 0.5, "deadline": 50, "answer": str(answer), **request}
    subprocess.run(
        [sys.executable, "-m", "lockstep_sdk.propose"],
        input=json.dumps(request),
        text=True,
        env={**os.environ, "PYTHONPATH": SDK},
        cwd=tmp_path,
        check=True,
    )
    return json.loads(answer.read_text())


@pytest.mark.parametrize(
    ("name", "fields", "method"),
    [
        ("CliffWalking-v1", {"s": "i32", "lastaction": "i32", "lastaction_given": "u8"}, "Generator.random"),
        ("FrozenLake-v1", {"s": "i32", "lastaction": "i32", "lastaction_given": "u8"}, "Generator.random"),
        ("CartPole-v1", {"state": "f64"}, "Generator.uniform"),
    ],
)
def test_an_environment_of_gymnasium_is_taken_in_one_line(tmp_path, name, fields, method):
    answer = proposed(tmp_path, gymnasium=name)
    assert answer["ok"], answer
    found = {field["name"]: field["dtype"] for field in answer["canonical"]}
    assert fields.items() <= found.items()
    assert answer["level"] == "served"
    assert list(answer["used"]) == [method]
    assert answer["put"]
    assert answer["files"]


def test_the_hands_of_blackjack_have_a_bound_and_its_texts_a_number(tmp_path):
    answer = proposed(tmp_path, gymnasium="Blackjack-v1")
    assert answer["ok"], answer
    found = {field["name"]: field["shape"] for field in answer["canonical"]}
    assert len(found["player"]) == len(found["dealer"]) == 1
    assert {"player_count", "dealer_count", "capacity"} <= set(found)
    assert answer["words"]["dealer_top_card_suit"] == ["C", "D", "H", "S"]


def test_the_time_limit_of_gymnasium_is_taken_over(tmp_path):
    assert proposed(tmp_path, gymnasium="CartPole-v1")["episode_steps_max"] == 500


def test_an_unknown_environment_is_refused_with_what_to_do(tmp_path):
    answer = proposed(tmp_path, gymnasium="NoSuchThing-v0")
    assert not answer["ok"]
    assert "NoSuchThing" in answer["error"]
    assert "pprint_registry" in answer["hint"]


WRAPPED = """
import gymnasium
from gymnasium.envs.registration import register, WrapperSpec

class Plain(gymnasium.Env):
    action_space = gymnasium.spaces.MultiDiscrete([2, 3])
    observation_space = gymnasium.spaces.Dict({"a": gymnasium.spaces.Discrete(9)})

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.a, self.wind = 0, 0.0
        return {"a": self.a}, {}

    def step(self, action):
        self.a = (self.a + int(action[0]) * 3 + int(action[1])) % 9
        self.wind = self.np_random.normal(0, 1)
        return {"a": self.a}, 0.5, self.a == 8, False, {}
"""


def test_what_numpy_draws_by_logarithms_is_recorded_and_not_served(tmp_path):
    (tmp_path / "wrapped.py").write_text(WRAPPED)
    answer = proposed(tmp_path, **{"from": "wrapped.py:Plain", "folder": str(tmp_path)})
    assert answer["ok"], answer
    assert answer["level"] == "recorded"
    assert "Generator.normal" in answer["why"]
    assert len(answer["action"]["names"]) == 6
    refused = proposed(tmp_path, draws="served", **{"from": "wrapped.py:Plain", "folder": str(tmp_path)})
    assert not refused["ok"]
    assert "Generator.normal is not handled" in refused["error"]
    assert any(place["file"].endswith("wrapped.py") for place in refused["where"])


def test_a_wrapper_that_changes_something_is_refused_by_name(tmp_path):
    script = WRAPPED + (
        "\nregister('Clipped-v0', entry_point='wrapped:Plain', additional_wrappers=("
        "WrapperSpec('ClipReward', 'gymnasium.wrappers:TransformReward', {'func': abs}),))\n"
    )
    (tmp_path / "wrapped.py").write_text(script)
    answer = proposed(tmp_path, gymnasium="wrapped:Clipped-v0")
    assert not answer["ok"]
    assert "the wrapper TransformReward" in answer["error"]
