"""Longer runs: a policy that learns, and every example as it stands."""

import runpy
import subprocess
import sys

import pytest
from conftest import CLONE

EXAMPLES = CLONE / "examples"


@pytest.mark.parametrize("example", ["five_lines.py", "save_and_restore.py"])
def test_an_example_runs_as_it_stands(example):
    done = subprocess.run([sys.executable, EXAMPLES / example], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.deep
def test_a_policy_learns_to_play_pong():
    pytest.importorskip("torch", reason="torch is not here, and is too large for everyday tests: pip install torch")
    train = runpy.run_path(str(EXAMPLES / "train_torch.py"))["train"]
    rewards = train(steps=1_500_000)
    first, last = sum(rewards[:5]) / 5, sum(rewards[-5:]) / 5
    # At random nearly every point is lost; whoever returns balls is paid for each.
    assert last > first + 0.02, (first, last)
