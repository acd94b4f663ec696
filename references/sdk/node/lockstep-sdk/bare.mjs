/**
 * Plays tokens on the environment alone, without records, digests and frames: what Lockstep's own cost is measured against.
 *
 * Everything that the environment has to do anyway stays in: its draws (but not their log), its legal actions, by which a
 * token becomes an action, and the observation that it writes.
 */

import { readFileSync } from "node:fs";

import { DIGEST } from "./digest.mjs";
import { UnloggedDraws } from "./draws.mjs";
import { Layout, Start, decodeStep, surveyInto } from "./lane.mjs";
import { PROTOCOL, Setup } from "./schema.mjs";

const USAGE = "usage: adapter --bare-tokens FILE LANES STEPS [--options JSON] [--hello FILE]";

/** The command line; prints one line of JSON and returns the exit status. */
export function bareMain(adapter, [path, ...rest]) {
    let setup, bytes, laneCount, stepCount;
    try {
        laneCount = Number(rest[0]);
        stepCount = Number(rest[1]);
        const isCount = (value) => Number.isInteger(value) && value > 0;
        const named = Object.fromEntries([2, 4].filter((at) => at < rest.length).map((at) => [rest[at], rest[at + 1]]));
        const unknown = Object.keys(named).filter((name) => name !== "--options" && name !== "--hello");
        if (!isCount(laneCount) || !isCount(stepCount) || unknown.length > 0 || rest.length > 6 || rest.length % 2 === 1) {
            throw new Error(`not understood: ${[path, ...rest].join(" ")}`);
        }
        const hello = named["--hello"] === undefined
            ? example(adapter, JSON.parse(named["--options"] ?? "{}"))
            : JSON.parse(readFileSync(named["--hello"], "utf8"));
        setup = new Setup(hello);
        bytes = readFileSync(path);
        const size = 4 * laneCount * stepCount * setup.agents * setup.width;
        if (bytes.length < size) throw new Error(`${path} has ${bytes.length} bytes, ${size} are needed`);
    } catch (error) {
        console.error(`error: ${error.message}\n${USAGE}`);
        return 2;
    }
    console.log(JSON.stringify(bare(adapter, setup, bytes, laneCount, stepCount)));
    return 0;
}

/** A `hello` for measuring: what the class says in `example`, with other options. */
export function example(adapter, options) {
    const hello = { protocol: PROTOCOL, environment: "", lanes: 1, canonical: [], reward: "f32", digests: [DIGEST], ...adapter.example };
    const all = { ...hello.options, ...options };
    hello.configuration = { name: "", hash: "", options: all };
    if (all.agents !== undefined) hello.agents = all.agents;
    return hello;
}

/** Plays lane after lane and returns { steps, cpu_seconds }. */
export function bare(adapter, setup, bytes, laneCount, stepCount) {
    const layout = new Layout(adapter, setup);
    const tokens = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const lanes = [];
    for (let number = 0; number < laneCount; number++) {
        const draws = new UnloggedDraws(setup.sites);
        const env = new adapter(setup, draws);
        if (!("deciders" in env)) env.deciders = layout.allDeciding;
        lanes.push({ env, draws, start: new Start(1, 0, number, 0, 0, 0), at: number * stepCount * layout.stride * 4 });
    }
    const begin = process.cpuUsage();
    for (const { env, draws, start, at } of lanes) play(layout, env, draws, start, tokens, at, stepCount);
    const { user, system } = process.cpuUsage(begin);
    return { steps: laneCount * stepCount, cpu_seconds: (user + system) / 1e6 };
}

function play(layout, env, draws, start, tokens, at, stepCount) {
    const actions = layout.actions();
    const legal = new Array(layout.setup.agents).fill(layout.sets.idle);
    let { episode } = start;
    draws.start(start);
    env.reset(start);
    for (let step = 0; step < stepCount; step++, at += 4 * layout.stride) {
        surveyInto(layout, env, env.deciders, legal);
        decodeStep(layout, tokens, at, legal, actions);
        const { terminated, truncated } = env.step(actions);
        if (!terminated && !truncated) continue;
        episode++;
        draws.nextEpisode(episode);
        if (layout.setup.harnessResets) env.reset(start.at(episode, 0));
    }
}
