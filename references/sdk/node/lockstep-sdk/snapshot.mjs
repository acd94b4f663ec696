/**
 * Snapshots: a lane as bytes and back.
 *
 * An environment that has no `snapshot` and `restore` of its own is kept property by property, if all of them are plain data:
 * objects of classes, closures and private fields can't be seen through, so they are refused instead of lost.
 */

import { deserialize, serialize } from "node:v8";

import { DIGEST, Page } from "./digest.mjs";
import { AdapterError, BadRequest } from "./errors.mjs";

const SUM_SIZE = 8;

export function save(lane) {
    const state = lane.env.snapshot !== undefined ? lane.env.snapshot() : gather(lane);
    const { start, episode, elapsed, chainLow, chainHigh } = lane;
    let data;
    try {
        data = serialize({ digest: DIGEST, start: { ...start }, episode, elapsed, chainLow, chainHigh, draws: lane.draws.state(), state });
    } catch (error) {
        throw new AdapterError(`snapshot() gave what can't be kept: ${error.message}`, lane.env.snapshot);
    }
    // Damaged bytes could become anything; the sum keeps accidents out.
    return Buffer.concat([sum(lane.layout.page, data), data]);
}

export function load(lane, blob) {
    const data = blob.subarray(SUM_SIZE);
    if (blob.length < SUM_SIZE || sum(lane.layout.page, data).compare(blob, 0, SUM_SIZE) !== 0) {
        throw new BadRequest("the blob is not a snapshot of this side");
    }
    lane.ready = false;
    const { start, episode, elapsed, chainLow, chainHigh, draws, state } = deserialize(Buffer.from(data));
    lane.start = Object.assign(lane.start.at(0, 0), start);
    Object.assign(lane, { episode, elapsed, chainLow, chainHigh });
    lane.draws.restore(draws);
    if (lane.env.restore !== undefined) lane.env.restore(state);
    else pour(lane, state);
    lane.recall();
    lane.ready = true;
}

function sum(page, data) {
    const seed = { chainLow: 0, chainHigh: 0 };
    page.end = Page.START;
    page.raw(data);
    page.close(seed);
    return Buffer.from(Uint32Array.of(seed.chainLow, seed.chainHigh).buffer);
}

/** The environment's own properties, without what it has from the SDK and from its constructor. */
function gather(lane) {
    const { env } = lane;
    if (hasPrivateFields(env)) throw refusal("the class has #private fields");
    const state = {};
    const seen = new Set();
    const buffers = new Map();
    for (const [name, value] of Object.entries(env)) {
        if (isFixed(lane, name, value)) continue;
        if (!ArrayBuffer.isView(value)) check(value, name, seen, buffers);
        state[name] = value;
    }
    return state;
}

function pour(lane, state) {
    const { env } = lane;
    const shared = sharedBuffers(env);
    for (const [name, value] of Object.entries(env)) {
        if (!isFixed(lane, name, value) && !Object.hasOwn(state, name)) delete env[name];
    }
    for (const [name, value] of Object.entries(state)) {
        // Two views of one memory stay two views of it.
        const old = env[name];
        if (ArrayBuffer.isView(old) && shared.has(old.buffer) && old.length === value.length) old.set(value);
        else env[name] = value;
    }
}

function isFixed(lane, name, value) {
    return value === lane.draws || value === lane.layout.setup || (typeof value === "function" && lane.own.get(name) === value);
}

/** Only what `serialize` brings back as it was. */
function check(value, path, seen, buffers) {
    if (typeof value === "function" || typeof value === "symbol") throw refusal(`\`${path}\` is a ${typeof value}`);
    if (typeof value !== "object" || value === null || seen.has(value)) return;
    seen.add(value);
    if (ArrayBuffer.isView(value)) {
        if (buffers.has(value.buffer)) throw refusal(`\`${path}\` shares its memory with \`${buffers.get(value.buffer)}\``);
        buffers.set(value.buffer, path);
        return;
    }
    if (value instanceof Map || value instanceof Set) {
        for (const each of [...value].flat()) check(each, `${path}[…]`, seen, buffers);
        return;
    }
    const prototype = Object.getPrototypeOf(value);
    if (prototype !== Object.prototype && prototype !== Array.prototype && prototype !== null && !(value instanceof Date)) {
        throw refusal(`\`${path}\` is an object of ${value.constructor?.name ?? "another class"}`);
    }
    for (const [name, each] of Object.entries(value)) check(each, `${path}.${name}`, seen, buffers);
}

function sharedBuffers(env) {
    const views = Object.values(env).filter(ArrayBuffer.isView);
    return new Set(views.map(({ buffer }) => buffer).filter((buffer, place, all) => all.indexOf(buffer) !== place));
}

function hasPrivateFields(env) {
    for (let maker = env.constructor; typeof maker === "function" && maker.prototype; maker = Object.getPrototypeOf(maker)) {
        if (/[\s;{.]#\w+/.test(Function.prototype.toString.call(maker))) return true;
    }
    return false;
}

function refusal(why) {
    return new AdapterError(`the environment can't be kept as it is (${why}): write snapshot() and restore(state)`);
}
