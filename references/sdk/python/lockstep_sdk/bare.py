"""Plays tokens on the environment alone, without records, digests and frames: what Lockstep's own cost is measured against.

Everything that the environment has to do anyway stays in: its draws (but not their log), its legal actions, by which
a token becomes an action, and the observation that it writes.
"""

import json
import struct
import sys
import time

from .accel import draws_of
from .lane import Layout, Start
from .schema import Setup
from .tokens import IDLE

USAGE = "usage: adapter.py --bare-tokens FILE LANES STEPS [--options JSON] [--hello FILE]"


def bare_main(adapter, arguments):
    """The command line; prints one line of JSON and returns the exit status."""
    try:
        path, lanes, steps = arguments[0], int(arguments[1]), int(arguments[2])
        rest = dict(zip(arguments[3::2], arguments[4::2]))
        unknown = set(rest) - {"--options", "--hello"}
        if unknown or len(arguments) % 2 == 0:
            raise ValueError(" ".join(arguments[3:]))
        hello = example(adapter, json.loads(rest.get("--options", "{}")))
        if "--hello" in rest:
            with open(rest["--hello"], encoding="utf-8") as file:
                hello = json.load(file)
    except (IndexError, ValueError) as error:
        print(f"error: {error}\n{USAGE}", file=sys.stderr)
        return 2
    setup = Setup(hello)
    with open(path, "rb") as file:
        data = file.read()
    count = lanes * steps * setup.agents * setup.width
    if len(data) < 4 * count:
        print(f"error: {path} has {len(data)} bytes, {4 * count} are needed", file=sys.stderr)
        return 2
    print(json.dumps(bare(adapter, setup, struct.unpack_from(f"<{count}I", data), lanes, steps)))
    return 0


def example(adapter, options):
    """A `hello` for measuring: what the class says in `example`, with other options."""
    hello = {
        "protocol": "lockstep/1",
        "environment": "",
        "lanes": 1,
        "canonical": [],
        "reward": "f32",
        "digests": ["xxh64", "blake2b"],
    }
    hello.update(getattr(adapter, "example", {}))
    options = {**hello.get("options", {}), **options}
    hello["configuration"] = {"name": "", "hash": "", "options": options}
    if "agents" in options:
        hello["agents"] = options["agents"]
    return hello


def bare(adapter, setup, tokens, lane_count, step_count):
    """Plays lane after lane and returns {"steps", "cpu_seconds"}."""
    layout = Layout(adapter, setup)
    per_lane = step_count * layout.stride
    lanes = []
    for number in range(lane_count):
        draws = draws_of(setup.sites, logged=False)
        env = adapter(setup, draws)
        if not hasattr(env, "deciders"):
            env.deciders = layout.all_deciding
        lanes.append((env, draws, Start(1, number, 0, 0), tokens[number * per_lane : number * per_lane + per_lane]))
    begin = time.process_time()
    for lane in lanes:
        _play(layout, *lane)
    return {"steps": lane_count * step_count, "cpu_seconds": time.process_time() - begin}


def _play(layout, env, draws, start, tokens):
    draws.start(start.seed, start.stream, start.episode)
    env.reset(start)
    step, stride, decode = env.step, layout.stride, layout.decode
    single, masked, sets, free = layout.single, layout.masked, layout.legal_sets, layout.free
    harness_resets = layout.setup.harness_resets
    agents = range(layout.setup.agents)
    legal = None
    if masked:
        legal = env.legal
        if not isinstance(legal(0), (int, tuple)):
            listed = env.legal
            legal = lambda agent: tuple(listed(agent))  # noqa: E731
    episode = start.episode
    player = layout.player
    if player is not None:
        # As in `Lane._play_fast`, so that the same things are done by the same means.
        player.begin(None, struct.pack(f"<{len(tokens)}I", *tokens), [None] * len(agents) if not single else IDLE, [])
        choose, legal = player.choose, legal or bool
    for at in range(0, len(tokens), stride):
        deciders = env.deciders
        if player is not None:
            if single:
                actions = choose(legal(0) if deciders else player)
            else:
                actions = choose([legal(agent) if deciders >> agent & 1 else player for agent in agents])
        elif single:
            choices = (sets[legal(0)][1] if masked else free) if deciders else IDLE
            actions = (choices[tokens[at] % len(choices)],)
        else:
            choices = [
                (sets[legal(agent)][1] if masked else free) if deciders >> agent & 1 else None for agent in agents
            ]
            actions = decode(tokens[at : at + stride], choices)
        _, terminated, truncated = step(actions)
        if terminated or truncated:
            episode += 1
            draws.next_episode(episode)
            if harness_resets:
                env.reset(Start(start.seed, start.stream, episode, 0))
    if player is not None:
        player.end()
