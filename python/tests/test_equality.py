"""What Python shows is what the Rust backend says to the judge: traces of whole batches, played by the runner as well."""

import json
import os
import shutil
import socket
import struct
import subprocess
import sys

import numpy as np
import pytest
from conftest import CLONE, ENVIRONMENTS, actions_of, configurations

import lockstep_rl

HEADER = struct.Struct("<4sIIBBH")
HELLO, RESET, STEP_MANY = 1, 2, 3
FULL_STATE = 2
NO_GRAIN = 0xFFFFFFFF


class Runner:
    """The runner of an environment, asked as `docs/protocol.md` says."""

    def __init__(self, name, backend, hello):
        near, far = socket.socketpair()
        script = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(3, 4); os.execv(sys.argv[2], sys.argv[2:])"
        command = [sys.executable, "-c", script, str(far.fileno()), str(runner_of(name)), backend]
        self.child = subprocess.Popen(command, pass_fds=[far.fileno()], stdin=subprocess.DEVNULL)
        far.close()
        self.near, self.sequence, self.agents = near, 0, hello["agents"]
        # Seeded draws are the same on both sides, whatever level the manifest has for its reference.
        self.ask(HELLO, json.dumps({**hello, "lanes": 1, "digests": ["xxh64"], "settings": {}}).encode())

    def ask(self, verb, body):
        self.sequence += 1
        self.near.sendall(HEADER.pack(b"LKS1", len(body), self.sequence, verb, 0, 0) + body)
        magic, size, sequence, said, status, _ = HEADER.unpack(self.exactly(HEADER.size))
        assert (magic, sequence, said) == (b"LKS1", self.sequence, verb)
        reply = self.exactly(size)
        assert status == 0, reply
        return reply

    def exactly(self, size):
        data = bytearray()
        while len(data) < size:
            part = self.near.recv(size - len(data))
            assert part, "the runner hung up"
            data += part
        return bytes(data)

    def play(self, seed, stream, tokens):
        """All records of a trace: that of the reset, then those of the steps and of resets between them."""
        reply = self.ask(RESET, struct.pack("<IIIIQQII", FULL_STATE, 1, 0, 0, seed, stream, 0, 0))
        records = [reply[4:]]
        body = struct.pack("<IIIIII", FULL_STATE, NO_GRAIN, 64, 0, 1, len(tokens) // self.tokens_per_step)
        reply = self.ask(STEP_MANY, body + tokens.astype("<u4").tobytes())
        at = 8
        while at < len(reply):
            (size,) = struct.unpack_from("<I", reply, at)
            records.append(reply[at + 4 : at + 4 + size])
            at += 4 + size
        return records

    def close(self):
        self.near.close()
        self.child.wait(10)


def runner_of(name):
    """Builds the runner, which costs nothing where the tests of Rust have done so."""
    if shutil.which("cargo") is None:
        pytest.skip("there is no cargo to build the runner with")
    command = ["cargo", "build", "--quiet", "--package", f"lockstep-env-{name}", "--bin", f"lockstep-env-{name}"]
    subprocess.run(command, cwd=CLONE, check=True)
    target = os.environ.get("CARGO_TARGET_DIR", CLONE / "target")
    return CLONE / target / "debug" / f"lockstep-env-{name}"


def tokens_of(envs, actions, legal):
    """The tokens of actions, as `docs/protocol.md` defines them; those of waiting agents are 0."""
    configuration = envs.configuration
    if not configuration.actions:
        bits = np.ascontiguousarray(actions, np.float32).view(np.uint32)
        return (bits << 1) | (bits >> 31)
    if not configuration.mask:
        return np.asarray(actions, np.uint32)
    before = np.cumsum(legal, axis=-1) - legal
    tokens = np.take_along_axis(before, np.asarray(actions)[..., np.newaxis], -1)[..., 0]
    return np.where(legal.any(-1), tokens, 0).astype(np.uint32)


def trace_of(configuration, environment, seed, stream, tokens):
    """The text of a trace file."""
    head = {
        "format": "lockstep/trace/1",
        "environment": environment,
        "configuration": configuration.name,
        "configuration_hash": configuration.hash,
        "start": {"seed": hex(seed), "stream": hex(stream)},
        "draws": "seeded",
    }
    lines = [head, *({"step": i, "tokens": row.tolist()} for i, row in enumerate(tokens)), {"end": len(tokens)}]
    return "".join(json.dumps(line) + "\n" for line in lines)


@pytest.mark.skipif(os.name == "nt", reason="runners are asked over a socket pair")
@pytest.mark.parametrize(("name", "configuration", "backend"), configurations())
def test_a_batch_shows_what_the_runner_says(name, configuration, backend):
    seed, lanes, steps = 77, 24, 500
    environment = lockstep_rl.load(name)
    envs = environment.make_vec(
        lanes,
        configuration=configuration,
        backend=backend,
        autoreset=None if environment.configuration(configuration).resets_itself else "same_step",
        threads=2,
    )
    agents = envs.configuration.agents
    generator = np.random.default_rng(4)
    observations, _ = envs.reset(seed=seed)
    shown = [bytes_of(envs)]
    tokens, rewards, flags, finals = [], [], [], []
    for _ in range(steps):
        actions, legal = actions_of(envs, generator), envs.legal_actions()
        tokens.append(tokens_of(envs, actions, legal).reshape(lanes, -1))
        observations, first, terminated, truncated, info = envs.step(actions)
        shown.append(bytes_of(envs))
        rewards.append(np.copy(info.get("rewards", first)).reshape(lanes, agents))
        flags.append(np.stack([terminated, truncated], -1))
        finals.append(np.copy(info["_final_obs"]) if "_final_obs" in info else np.zeros(lanes, bool))
    tokens, rewards, flags = np.array(tokens), np.array(rewards), np.array(flags)
    runner = Runner(name, backend, json.loads(environment.library.configuration(configuration))["hello"])
    runner.tokens_per_step = tokens.shape[-1]
    for lane in (0, 1, lanes // 2, lanes - 1):
        trace = trace_of(envs.configuration, name, seed, lane, tokens[:, lane])
        replayed = environment.replay(trace, backend)
        assert np.array_equal(replayed.rewards, rewards[:, lane])
        assert np.array_equal(np.stack([replayed.terminated, replayed.truncated], -1), flags[:, lane])
        records = iter(runner.play(seed, lane, tokens[:, lane].reshape(-1)))
        parts = parts_of(next(records), envs.configuration)
        for step in range(steps + 1):
            # What the lane shows after a reset in the same step is the record of that reset.
            if step > 0:
                parts = parts_of(next(records), envs.configuration)
                assert parts["flags"] == tuple(flags[step - 1, lane])
                assert parts["rewards"] == rewards[step - 1, lane].tobytes()
                if any(parts["flags"]) and not envs.configuration.resets_itself:
                    assert parts["observations"] == rows_of(replayed.final_observations, step - 1)
                    parts = parts_of(next(records), envs.configuration)
            assert parts["observations"] == shown[step][lane] == rows_of(replayed.observations, step), (lane, step)
            assert parts["state"] == b"".join(field[step].tobytes() for field in replayed.states.values())
        assert next(records, None) is None
    runner.close()


def bytes_of(envs):
    """The observations of each lane as bytes."""
    rows = envs._lanes.words()[0].view(np.uint8)
    size = envs.configuration.agents * envs.configuration.observation_bytes
    return [rows[lane * size : (lane + 1) * size].tobytes() for lane in range(envs.num_envs)]


def rows_of(fields, step):
    """One row of a replay, agent by agent, as bytes."""
    agents = next(iter(fields.values())).shape[1]
    return b"".join(values[step, agent].tobytes() for agent in range(agents) for values in fields.values())


def parts_of(record, configuration):
    """A record of the runner, taken apart from its end."""
    head, draws = struct.unpack_from("<II", record)
    rewards = configuration.agents * configuration.reward.itemsize
    observations = configuration.agents * configuration.observation_bytes
    masks = 4 * configuration.agents * -(-len(configuration.actions) // 32) if configuration.mask else 0
    at = len(record) - rewards
    return {
        "flags": (bool(head & 256), bool(head & 512)),
        "rewards": record[at:],
        "observations": record[at - observations : at],
        "state": record[8 + 20 * draws : at - observations - masks],
    }


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_kept_traces_play_the_same_on_every_backend(name):
    environment = lockstep_rl.load(name)
    traces = sorted((CLONE / "envs" / name / "traces").glob("*.jsonl"))
    if not traces:
        pytest.skip(f"{name} has no kept traces")
    for trace in traces:
        configuration = json.loads(trace.read_text().splitlines()[0])["configuration"]
        played = [environment.replay(trace, backend) for backend in environment.configuration(configuration).backends]
        for other in played[1:]:
            assert np.array_equal(played[0].rewards, other.rewards)
            for fields, others in ((played[0].observations, other.observations), (played[0].states, other.states)):
                assert all(np.array_equal(fields[field], others[field]) for field in fields)
        assert len(played[0].rewards) == sum('"step"' in line for line in trace.read_text().splitlines())
