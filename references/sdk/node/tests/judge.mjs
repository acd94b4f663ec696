/** A small judge for the tests: starts an adapter as Lockstep does, speaks `lockstep/1` to it, and takes records apart. */

import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

import { VERBS } from "../lockstep-sdk/wire.mjs";

const PEBBLES = fileURLToPath(new URL("pebbles.mjs", import.meta.url));
export const NO_GRAIN = 0xffffffff;

const FIELDS = [
    { name: "heap", dtype: "i32", shape: [] },
    { name: "taken", dtype: "u32", shape: [2] },
    { name: "clock", dtype: "u64", shape: [] },
    { name: "scratch", dtype: "region", shape: [100] },
];

export function helloOf(changes = {}) {
    return {
        protocol: "lockstep/1",
        environment: "pebbles",
        configuration: { name: "default", hash: "ab".repeat(32), options: {} },
        settings: {},
        files: {},
        lanes: 8,
        agents: 1,
        width: 1,
        action: { kind: "discrete", count: 4, extra: 0, mask: true },
        draws: { level: "served", sites: ["refill"], named: true },
        grains: [{ name: "take", row: [{ name: "agent", dtype: "u32", shape: [] }, { name: "most", dtype: "i32", shape: [] }] }],
        canonical: FIELDS,
        observation: [{ name: "view", dtype: "f32", shape: [2] }],
        reward: "f32",
        resets: "harness",
        episode_steps_max: 20,
        digests: ["xxh64", "blake2b"],
        ...changes,
    };
}

/** An error reply. */
export class Failure extends Error {
    constructor({ kind, error, where }) {
        super(error);
        Object.assign(this, { kind, where });
    }
}

export class Judge {
    /** Starts a side; the hello is sent at once unless it is null. */
    static async start(hello = helloOf(), ...options) {
        const judge = new Judge(hello, options);
        if (hello !== null) judge.about = JSON.parse(await judge.ask(VERBS.hello, Buffer.from(JSON.stringify(hello))));
        return judge;
    }

    constructor(hello, options) {
        this.hello = hello;
        this.sequence = 0;
        this.child = spawn(process.execPath, [PEBBLES, ...options], { stdio: ["ignore", "pipe", "pipe", "pipe", "pipe"] });
        this.log = "";
        this.child.stdout.on("data", (text) => (this.log += text));
        this.child.stderr.on("data", (text) => (this.log += text));
        this.ended = new Promise((resolve) => this.child.on("close", resolve));
        this.child.stdio[3].on("error", () => {});
        this.parts = [];
        this.size = 0;
        this.wake = () => {};
        this.child.stdio[4].on("data", (part) => {
            this.parts.push(part);
            this.size += part.length;
            this.wake();
        });
        this.child.stdio[4].on("end", () => this.wake((this.gone = true)));
    }

    /** Hangs up and returns the exit status. */
    end(last = Buffer.alloc(0)) {
        this.child.stdio[3].end(last);
        return this.ended;
    }

    async ask(verb, body = Buffer.alloc(0), { status = 0, reserved = 0 } = {}) {
        this.sequence++;
        this.child.stdio[3].write(Buffer.concat([header(body.length, this.sequence, verb, status, reserved), body]));
        const head = await this.exactly(16);
        const reply = await this.exactly(head.readUInt32LE(4));
        if (head.toString("latin1", 0, 4) !== "LKS1" || head.readUInt32LE(8) !== this.sequence || head[12] !== verb) {
            throw new Error(`not a reply to the request ${this.sequence}: ${head.toString("hex")}`);
        }
        if (head[13] !== 0) throw new Failure(JSON.parse(reply));
        return reply;
    }

    async exactly(size) {
        while (this.size < size) {
            if (this.gone) throw new Error(`the side hung up: ${this.log}`);
            await new Promise((resolve) => (this.wake = resolve));
        }
        const all = Buffer.concat(this.parts);
        this.parts = [all.subarray(size)];
        this.size -= size;
        return all.subarray(0, size);
    }

    async reset({ lane = 0, seed = 1, stream = 2, episode = 0, list = null, mode = 0 } = {}) {
        const source = list === null ? [0, 0] : [1, list.length, ...list];
        const reply = await this.ask(VERBS.reset, u32(mode, 1, lane, episode, seed, 0, stream, 0, ...source));
        return mode === 0 ? reply.toString("hex") : sized(reply, 0).part;
    }

    async inject(state, observations, { lane = 0, seed = 1, stream = 2, episode = 0, elapsed = 0, index = 0, mode = 0 } = {}) {
        const head = u32(mode, 1, lane, episode, elapsed, index, seed, 0, stream, 0, 0, 0);
        const body = Buffer.concat([head, u32(state.length), state, u32(observations.length), observations]);
        const reply = await this.ask(VERBS.inject, body);
        return mode === 0 ? reply.toString("hex") : sized(reply, 0).part;
    }

    /** One lane: { ended, chains } in mode 0, else { ended, records: [{ record, rows }] }. */
    async steps(tokens, { lane = 0, mode = 0, window = 64, grain = null } = {}) {
        const stepCount = tokens.length / (this.hello.agents * this.hello.width);
        const head = u32(mode, grain ?? NO_GRAIN, window, lane, 1, stepCount);
        const reply = await this.ask(VERBS.step_many, Buffer.concat([head, Buffer.from(Uint32Array.from(tokens).buffer)]));
        const ended = reply.readUInt32LE(0);
        if (mode === 0) return { ended, chains: reply.toString("hex", 4).match(/.{16}/g) ?? [] };
        const records = [];
        let at = 8;
        for (let count = reply.readUInt32LE(4); count > 0; count--) {
            const { part: record, end } = sized(reply, at);
            at = end;
            let rows = null;
            if (grain !== null) ({ part: rows, end: at } = sized(reply, at));
            records.push({ record, rows });
        }
        if (at !== reply.length) throw new Error("bytes behind the last record");
        return { ended, records };
    }

    async snapshot(lane = 0) {
        return sized(await this.ask(VERBS.snapshot, u32(1, lane)), 0).part;
    }

    restore(blob, lane = 0) {
        return this.ask(VERBS.restore, Buffer.concat([u32(1, lane, blob.length), blob]));
    }

    /** The draws of a lane: [site, bound, value] each. */
    async draws(lane = 0) {
        const reply = await this.ask(VERBS.draws, u32(lane, 0));
        return drawsOf(reply, 4, reply.readUInt32LE(0));
    }
}

export function header(size, sequence, verb, status = 0, reserved = 0, magic = "LKS1") {
    const head = Buffer.alloc(16);
    head.write(magic, 0, "latin1");
    head.writeUInt32LE(size, 4);
    head.writeUInt32LE(sequence, 8);
    head[12] = verb;
    head[13] = status;
    head.writeUInt16LE(reserved, 14);
    return head;
}

export function u32(...values) {
    const bytes = Buffer.alloc(4 * values.length);
    values.forEach((value, place) => bytes.writeUInt32LE(value, 4 * place));
    return bytes;
}

/** A record of pebbles as an object. */
export function partsOf(record, hello, { mode = 1, grain = false } = {}) {
    const head = record.readUInt32LE(0);
    const count = record.readUInt32LE(4);
    let at = 8 + 20 * count;
    const found = {
        kind: head & 255,
        terminated: (head & 256) !== 0,
        truncated: (head & 512) !== 0,
        deciders: head >>> 16,
        draws: drawsOf(record, 8, count),
    };
    if (grain && found.kind === 0) {
        found.rows = { count: record.readUInt32LE(at), digest: record.toString("hex", at + 4, at + 12) };
        at += 12;
    }
    const size = 4 + 8 + 8 + (mode === 2 ? 100 : 8);
    found.state = record.subarray(at, at + size);
    at += size;
    const take = (width) => Array.from({ length: hello.agents }, () => record.subarray(at, (at += width)));
    found.masks = take(4).map((bytes) => bytes.readUInt32LE(0));
    found.observations = Buffer.concat(take(8));
    found.rewards = take(4).map((bytes) => bytes.readFloatLE(0));
    if (at !== record.length) throw new Error("bytes behind the rewards");
    return found;
}

function drawsOf(bytes, begin, count) {
    const at = (place) => begin + 20 * place;
    return Array.from({ length: count }, (_, place) => [
        bytes.readUInt32LE(at(place)),
        Number(bytes.readBigUInt64LE(at(place) + 4)),
        Number(bytes.readBigUInt64LE(at(place) + 12)),
    ]);
}

function sized(bytes, at) {
    const end = at + 4 + bytes.readUInt32LE(at);
    return { part: bytes.subarray(at + 4, end), end };
}
