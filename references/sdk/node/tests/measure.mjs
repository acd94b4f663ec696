/**
 * Measures what Lockstep costs an adapter on Node: CPU time in lockstep (digests) against the bare environment.
 *
 *     node measure.mjs ADAPTER [LANES STEPS RUNS]
 *
 * ADAPTER is counter's, translated. Both ways of playing take the same tokens in one process, alternating; a line
 * gives the medians and the range of their ratio.
 */

import { randomFillSync } from "node:crypto";
import { pathToFileURL } from "node:url";

import { bare, example } from "../lockstep-sdk/bare.mjs";
import { Setup } from "../lockstep-sdk/schema.mjs";
import { Session } from "../lockstep-sdk/serve.mjs";
import { VERBS } from "../lockstep-sdk/wire.mjs";

const field = (name, dtype, shape = []) => ({ name, dtype, shape });
const FIELDS = [
    field("value", "i32"), field("deciders", "u32"), field("purse", "i32", [2]), field("tick", "u32"), field("generator", "u32"),
];
const MEMORY = field("memory", "region", [65536]);

function slower(adapter, turns) {
    return class extends adapter {
        step(actions, rows) {
            for (let turn = 0; turn < turns; turn++) this.spin = (Math.imul(this.spin ?? 1, 5) + 1) | 0;
            return super.step(actions, rows);
        }
    };
}

function measure(name, adapter, options, lanes, steps, runs) {
    const hello = example(adapter, options);
    const canonical = options.memory ? [...FIELDS, MEMORY] : FIELDS;
    Object.assign(hello, { lanes, canonical, observation: [field("view", "f32", [3])] });
    const bares = [], locks = [];
    for (let run = -1; run < runs; run++) {
        const tokens = randomFillSync(Buffer.alloc(4 * lanes * steps * hello.agents));
        const alone = bare(adapter, new Setup(hello), tokens, lanes, steps).cpu_seconds;
        const session = new Session(adapter);
        ask(session, VERBS.hello, Buffer.from(JSON.stringify(hello)));
        const resets = Array.from({ length: lanes }, (_, lane) => [lane, 0, 1, 0, lane, 0, 0, 0]).flat();
        ask(session, VERBS.reset, words([0, lanes, ...resets]));
        const body = Buffer.concat([words([0, 0xffffffff, 64, 0, lanes, steps]), tokens]);
        const begin = process.cpuUsage();
        ask(session, VERBS.step_many, body);
        const { user, system } = process.cpuUsage(begin);
        // The first run only warms the compiler up.
        if (run < 0) continue;
        bares.push(alone);
        locks.push((user + system) / 1e6);
    }
    const ratios = locks.map((lock, run) => lock / bares[run]).sort((a, b) => a - b);
    const micros = (values) => ((median(values) * 1e6) / (lanes * steps)).toFixed(3);
    const range = `${ratios[0].toFixed(2)} to ${ratios.at(-1).toFixed(2)}`;
    console.log(
        `${name.padEnd(28)} bare ${micros(bares)} us  lockstep ${micros(locks)} us  ratio ${median(ratios).toFixed(2)} (${range})`,
    );
}

function ask(session, verb, body) {
    const status = session.answer({ verb, status: 0, reserved: 0, body });
    if (status !== 0) throw new Error(Buffer.from(session.reply.bytes.subarray(16, session.reply.end)).toString());
}

function words(values) {
    const bytes = Buffer.alloc(4 * values.length);
    values.forEach((value, place) => bytes.writeUInt32LE(value, 4 * place));
    return bytes;
}

function median(values) {
    return [...values].sort((a, b) => a - b)[values.length >> 1];
}

const [path, lanes = 64, steps = 4096, runs = 9] = process.argv.slice(2);
if (path === undefined) {
    console.error("usage: node measure.mjs ADAPTER [LANES STEPS RUNS]");
    process.exit(2);
}
const { CounterLane } = await import(pathToFileURL(path));
const sizes = [Number(lanes), Number(steps), Number(runs)];
console.log(`Node ${process.versions.node}, ${lanes} lanes of ${steps} steps, ${runs} runs`);
measure("counter", CounterLane, {}, ...sizes);
measure("counter, own generator", CounterLane, { draws: "exact" }, ...sizes);
measure("duel", CounterLane, { agents: 2 }, ...sizes);
measure("1 us slower", slower(CounterLane, 220), {}, ...sizes);
measure("5 us slower", slower(CounterLane, 1100), {}, ...sizes);
measure("a region of 64 KiB", CounterLane, { memory: 65536, limit: 100 }, 4, 2048, sizes[2]);
