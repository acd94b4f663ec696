/** Whole conversations with an adapter in a process of its own, and with one that misbehaves. */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { Page } from "../lockstep-sdk/digest.mjs";
import { Draws, Sites, UnloggedDraws } from "../lockstep-sdk/draws.mjs";
import { VERBS } from "../lockstep-sdk/wire.mjs";
import { Failure, Judge, NO_GRAIN, header, helloOf, partsOf, u32 } from "./judge.mjs";

const PEBBLES = fileURLToPath(new URL("pebbles.mjs", import.meta.url));
let word = 7;
const TOKENS = Array.from({ length: 400 }, () => (word = (Math.imul(word, 1664525) + 1013904223) >>> 0));

/** A test that hangs up in the end, and then expects the side to have ended well. */
function talk(name, hello, body, ...options) {
    test(name, async () => {
        const judge = await Judge.start(hello, ...options);
        try {
            await body(judge);
            assert.equal(await judge.end(), 0, judge.log);
        } finally {
            judge.child.kill();
        }
    });
}

async function failure(promise, kind, words) {
    const error = await promise.then(() => assert.fail(`${words}: no error`), (error) => error);
    assert.ok(error instanceof Failure, String(error.stack));
    assert.equal(error.kind, kind, error.message);
    assert.ok(error.message.includes(words), error.message);
    assert.ok(!error.message.includes("\n"));
    return error;
}

function digest(bytes, chain = "0000000000000000") {
    const page = new Page();
    const seed = Buffer.from(chain, "hex");
    const lane = { chainLow: seed.readUInt32LE(0), chainHigh: seed.readUInt32LE(4) };
    page.raw(bytes);
    page.close(lane);
    return u32(lane.chainLow, lane.chainHigh).toString("hex");
}

talk("hello answers with the sizes of all parts", helloOf(), async ({ about }) => {
    assert.equal(about.protocol, "lockstep/1");
    assert.equal(about.name, "pebbles");
    assert.equal(about.configuration_hash, "ab".repeat(32));
    assert.deepEqual([about.canonical_bytes, about.state_bytes], [28, 120]);
    assert.deepEqual([about.observation_bytes, about.mask_bytes, about.reward_bytes], [8, 4, 4]);
    assert.deepEqual([about.row_bytes, about.digest], [[8], "xxh64"]);
    assert.equal(about.capabilities.inject, "full");
    assert.equal(about.capabilities.explain, false);
});

talk("the digest of a reset record is the chain", helloOf(), async (judge) => {
    const record = await judge.reset({ mode: 1 });
    const found = partsOf(record, judge.hello);
    assert.deepEqual([found.kind, found.deciders, found.draws, found.masks], [1, 1, [], [7]]);
    assert.equal(await judge.reset(), digest(record));
    assert.equal(await judge.reset({ mode: 1, seed: 1, lane: 3 }).then(digest), digest(record));
});

for (const agents of [1, 2]) {
    talk(`all modes advance the chain equally with ${agents} agents`, helloOf({ agents }), async (judge) => {
        const tokens = TOKENS.slice(0, 200);
        let chain = await judge.reset();
        const { ended, chains } = await judge.steps(tokens, { window: 7 });
        const drawn = await judge.draws();
        await judge.reset();
        const full = await judge.steps(tokens, { mode: 1, window: 7 });
        assert.equal(full.ended, ended);
        assert.ok(ended > 3);
        assert.deepEqual(await judge.draws(), drawn);
        const windows = [];
        let stepCount = 0;
        for (const { record } of full.records) {
            const isStep = partsOf(record, judge.hello).kind === 0;
            if (isStep && stepCount++ % 7 === 0) windows.push([]);
            windows.at(-1).push(record);
        }
        assert.deepEqual(windows.map((records) => (chain = digest(Buffer.concat(records), chain))), chains);
        await judge.reset({ lane: 1 });
        const state = await judge.steps(tokens, { lane: 1, mode: 2, window: 7 });
        state.records.forEach(({ record }, place) => {
            const whole = partsOf(record, judge.hello, { mode: 2 }).state;
            const brief = partsOf(full.records[place].record, judge.hello).state;
            assert.deepEqual(brief, Buffer.concat([whole.subarray(0, 20), Buffer.from(digest(whole.subarray(20)), "hex")]));
        });
        assert.deepEqual(await judge.steps([1, 2]), await judge.steps([1, 2], { lane: 1 }));
    });
}

talk("an episode that ends is followed by a reset record, and draws anew", helloOf(), async (judge) => {
    await judge.reset();
    const { ended, records } = await judge.steps(TOKENS, { mode: 1 });
    const found = records.map(({ record }) => partsOf(record, judge.hello));
    assert.equal(found.filter(({ kind }) => kind === 1).length, ended);
    found.slice(1).forEach((each, place) => {
        assert.equal(each.kind === 1, found[place].terminated || found[place].truncated);
    });
    const starts = found.flatMap(({ kind }, place) => (kind === 1 ? [place] : []));
    const drawn = found.slice(starts[2] + 1, starts[3] + 1).flatMap(({ draws }) => draws);
    const steps = (end) => found.slice(0, end).filter(({ kind }) => kind === 0).length;
    await judge.reset({ episode: 3 });
    await judge.steps(TOKENS.slice(steps(starts[2]), steps(starts[3])));
    assert.deepEqual(await judge.draws(), drawn);
});

talk("a reference that resets itself writes no reset record", helloOf({ resets: "reference" }), async (judge) => {
    await judge.reset();
    const { ended, records } = await judge.steps(Array(25).fill(0), { mode: 1 });
    assert.deepEqual([ended, records.length], [1, 25]);
    assert.ok(partsOf(records[19].record, judge.hello).truncated);
});

talk("rows follow each record and enter the chain", helloOf(), async (judge) => {
    await judge.reset();
    const { records } = await judge.steps(TOKENS.slice(0, 60), { mode: 1, grain: 0 });
    let total = 0;
    for (const { record, rows } of records) {
        const found = partsOf(record, judge.hello, { grain: true });
        if (found.kind === 1) assert.equal(rows.length, 0);
        else assert.deepEqual(found.rows, { count: rows.length / 8, digest: digest(rows) });
        total += rows.length;
    }
    assert.ok(total > 0);
    const chain = await judge.reset({ lane: 1 });
    const { chains } = await judge.steps(TOKENS.slice(0, 60), { lane: 1, grain: 0 });
    assert.equal(chains[0], digest(Buffer.concat(records.map(({ record }) => record)), chain));
});

talk("several lanes in one frame are as each alone", helloOf({ agents: 2 }), async (judge) => {
    const resets = [0, 1, 2].flatMap((lane) => [lane, 0, 9, 0, lane, 0, 0, 0]);
    await judge.ask(VERBS.reset, u32(0, 3, ...resets));
    const tokens = TOKENS.slice(0, 60);
    const reply = await judge.ask(VERBS.step_many, u32(0, NO_GRAIN, 64, 0, 3, 30, ...tokens, ...tokens, ...tokens));
    for (const lane of [0, 1, 2]) {
        await judge.reset({ lane: lane + 4, seed: 9, stream: lane });
        const { chains } = await judge.steps(tokens, { lane: lane + 4 });
        assert.equal(reply.toString("hex", 12 * lane + 4, 12 * lane + 12), chains[0]);
    }
});

talk("listed draws are used and can be appended", helloOf(), async (judge) => {
    await judge.reset({ list: [5] });
    await judge.steps([0, 0]);
    assert.deepEqual(await judge.draws(), [[0, 3, 2], [0, 3, 0]]);
    await judge.reset();
    await judge.ask(VERBS.draws, u32(0, 1, 2, 4, 5));
    await judge.steps([0, 0]);
    assert.deepEqual(await judge.draws(), [[0, 3, 1], [0, 3, 2]]);
});

talk("unnamed draws have no site", helloOf({ draws: { level: "served", sites: [], named: false } }), async (judge) => {
    await judge.reset();
    await judge.steps([0]);
    assert.equal((await judge.draws())[0][0], 0xffffffff);
});

for (const kind of ["record", "named"]) {
    const options = kind === "named" ? ["named"] : [];
    const goesOn = async (judge) => {
        await judge.reset();
        await judge.steps(TOKENS.slice(0, 34));
        const blob = await judge.snapshot();
        const expected = await judge.steps(TOKENS.slice(34, 80), { window: 8 });
        await judge.restore(blob);
        assert.deepEqual(await judge.steps(TOKENS.slice(34, 80), { window: 8 }), expected);
        // In another lane, that has never been used, and in another process.
        await judge.restore(blob, 5);
        assert.deepEqual(await judge.steps(TOKENS.slice(34, 80), { lane: 5, window: 8 }), expected);
        assert.deepEqual(await judge.draws(5), await judge.draws(0));
        const other = await Judge.start(judge.hello, ...options);
        await other.restore(blob, 2);
        assert.deepEqual(await other.steps(TOKENS.slice(34, 80), { lane: 2, window: 8 }), expected);
        await other.end();
    };
    talk(`a restored lane goes on with equal digests (${kind})`, helloOf({ agents: 2 }), goesOn, ...options);
}

talk("objects by field name give the same records as flat arrays", helloOf(), async (judge) => {
    const flat = await Judge.start(helloOf());
    const typed = await Judge.start(helloOf({ settings: { fault: "typed" } }));
    for (const mode of [0, 1, 2]) {
        const expected = [await judge.reset({ mode }), await judge.steps(TOKENS, { mode })];
        for (const other of [flat, typed]) {
            assert.deepEqual([await other.reset({ mode }), await other.steps(TOKENS, { mode })], expected);
        }
    }
    await flat.end();
    await typed.end();
}, "named");

talk("what a snapshot can't see through is refused", helloOf({ settings: { fault: "private" } }), async (judge) => {
    await judge.reset();
    await failure(judge.snapshot(), "exception", "`helper` is an object of Helper");
});

talk("an injected state goes on like the original", helloOf(), async (judge) => {
    await judge.reset({ seed: 5 });
    const { ended, records } = await judge.steps([0, 4, 1, 0], { mode: 2 });
    assert.equal(ended, 0);
    const found = partsOf(records.at(-1).record, judge.hello, { mode: 2 });
    const index = (await judge.draws()).length;
    const start = { lane: 1, seed: 5, elapsed: 4, index, mode: 2 };
    const injected = partsOf(await judge.inject(found.state, found.observations, start), judge.hello, { mode: 2 });
    assert.deepEqual([injected.kind, injected.rewards, injected.draws], [2, [0], []]);
    for (const name of ["deciders", "state", "masks", "observations"]) assert.deepEqual(injected[name], found[name]);
    const rest = TOKENS.slice(0, 60);
    assert.deepEqual(await judge.steps(rest, { mode: 1 }), await judge.steps(rest, { lane: 1, mode: 1 }));
    await failure(judge.inject(Buffer.alloc(120, 255), found.observations), "refused", "no heap");
});

talk("a state that came out differently is refused by name", helloOf({ settings: { fault: "forgetful" } }), async (judge) => {
    const state = Buffer.alloc(120);
    state[0] = 4;
    state[12] = 9;
    await failure(judge.inject(state, Buffer.alloc(8)), "refused", "`clock`");
    await failure(judge.steps([0]), "bad_request", "the lane 0 needs a reset");
});

const FAULTS = {
    throw: "TypeError: Cannot read properties of undefined",
    string: '"a string" (string) was thrown',
    exit: "process.exit(3) was called",
    site: 'the draw site "nowhere" is not in the manifest',
    bound: "RangeError: below(0)",
    outcome: "step() must return",
    promise: "a step can't be asynchronous",
    rewards: "step() gave the rewards",
    observation: '`view` from observations is "two"',
    deciders: "deciders is 9",
    type: "`taken` from record() is 1.5 (number), which is no u32",
    range: "`heap` from record()",
    short: "record() gave 4 values, expected 5",
    region: "`scratch` from record() is 99 bytes, expected 100",
    recursion: "RangeError: Maximum call stack",
};

for (const [fault, words] of Object.entries(FAULTS)) {
    talk(`a fault is told in all modes: ${fault}`, helloOf({ settings: { fault } }), async (judge) => {
        for (const mode of [0, 1]) {
            await judge.reset();
            const told = await failure(judge.steps([1, 4], { mode }), "exception", words);
            for (const frame of told.where) assert.equal(frame.file, PEBBLES);
            if (fault === "throw") {
                const names = told.where.map((frame) => frame.function.split(".").at(-1));
                assert.deepEqual(names, ["stumble", "fail", "step"]);
                assert.equal(told.where[0].text, "return purses.missing.more;");
            }
            if (fault === "type") assert.equal(told.where[0].text, "record() {");
            // Only this lane is lost, and only until its next reset.
            await failure(judge.steps([0]), "bad_request", "needs a reset");
            await judge.reset({ lane: 1 });
        }
    });
}

for (const [fault, words] of [["missing", "canonical() lacks `taken`"], ["extra", "has `spare`, which the manifest does not"]]) {
    talk(`a field by name is told: ${fault}`, helloOf({ settings: { fault } }), async (judge) => {
        await judge.reset();
        await failure(judge.steps([0, 0]), "exception", words);
    }, "named");
}

talk("probe answers JSON and refuses what it does not know", helloOf(), async (judge) => {
    assert.deepEqual(judge.about.capabilities.probe, ["double", "fails", "odd"]);
    const probe = (request) => judge.ask(VERBS.probe, Buffer.from(JSON.stringify(request)));
    assert.deepEqual(JSON.parse(await probe({ function: "double", input: 4 })), { output: 8 });
    await failure(probe({ function: "odd" }), "exception", "no JSON");
    await failure(probe({ function: "fails" }), "exception", "TypeError");
    await failure(probe({ function: "toString" }), "refused", "toString");
});

talk("hostile frames are bad requests and touch no lane", helloOf(), async (judge) => {
    await judge.reset();
    const expected = await judge.snapshot();
    const damaged = Buffer.from(expected);
    damaged[damaged.length - 1] ^= 1;
    const none = NO_GRAIN;
    for (const [verb, body] of [
        [0, u32()], [11, u32()], [255, u32()], [VERBS.hello, Buffer.from(JSON.stringify(helloOf()))],
        [VERBS.reset, u32()], [VERBS.reset, u32(0)], [VERBS.reset, u32(3, 0)], [VERBS.reset, u32(0, 1)],
        [VERBS.reset, u32(0, 1, 8, 0, 0, 0, 0, 0, 0, 0)], [VERBS.reset, u32(0, 1, 1, 0, 0, 0, 0, 0, 2, 0)],
        [VERBS.reset, u32(0, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1)], [VERBS.reset, u32(0, 1, 1, 0, 0, 0, 0, 0, 1, none)],
        [VERBS.step_many, u32()], [VERBS.step_many, u32(0, none, 0, 0, 1, 1, 1)], [VERBS.step_many, u32(0, none, 65, 0, 1, 1, 1)],
        [VERBS.step_many, u32(0, 1, 64, 0, 1, 1, 1)], [VERBS.step_many, u32(7, none, 64, 0, 1, 1, 1)],
        [VERBS.step_many, u32(0, none, 64, 0, 9, 0)], [VERBS.step_many, u32(0, none, 64, none, 1, 1, 1)],
        [VERBS.step_many, u32(0, none, 64, 0, 1, none, 1)], [VERBS.step_many, u32(0, none, 64, 0, 1, 1, 1, 1)],
        [VERBS.step_many, u32(0, none, 64, 3, 1, 1, 1)], [VERBS.snapshot, u32(1)], [VERBS.snapshot, u32(1, 7)],
        [VERBS.snapshot, u32(none, 0)], [VERBS.restore, u32(1, 1, 4, 0)], [VERBS.restore, u32(1, 1, none)],
        [VERBS.restore, Buffer.concat([u32(1, 1, damaged.length), damaged])],
        [VERBS.inject, Buffer.concat([u32(0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3), Buffer.from("abc"), u32(0)])],
        [VERBS.draws, u32(0, 2)], [VERBS.draws, u32(0, 1, 9)], [VERBS.draws, u32(9, 0)], [VERBS.probe, Buffer.from([255])],
        [VERBS.probe, Buffer.from("null")], [VERBS.explain, Buffer.from('{"lane": 0, "tokens": [1, 2]}')],
        [VERBS.explain, Buffer.from('{"lane": -1, "tokens": [1]}')], [VERBS.explain, Buffer.from('{"lane": 0, "tokens": [4294967296]}')],
        [VERBS.explain, Buffer.from("[".repeat(100000))], [VERBS.close, Buffer.from("x")],
    ]) {
        const told = await failure(judge.ask(verb, body), "bad_request", "");
        assert.deepEqual(told.where, []);
    }
    await failure(judge.ask(VERBS.draws, u32(0, 0), { status: 1 }), "bad_request", "header");
    await failure(judge.ask(VERBS.draws, u32(0, 0), { reserved: 1 }), "bad_request", "header");
    assert.deepEqual(await judge.snapshot(), expected);
    await failure(judge.ask(VERBS.explain, Buffer.from('{"lane": 0, "tokens": [1]}')), "refused", "explain");
});

talk("noise never gets anything but a bad request", helloOf(), async (judge) => {
    await judge.reset();
    for (let turn = 0; turn < 400; turn++) {
        const size = TOKENS[turn] % 80;
        const body = Buffer.from(Array.from({ length: size }, (_, at) => [0, 1, 2, 255, TOKENS[(turn + at) % 400] & 255][(TOKENS[(turn * 7 + at) % 400] >>> 9) % 5]));
        await judge.ask(2 + (TOKENS[turn] >>> 8) % 8, body).catch((error) => {
            assert.ok(["bad_request", "refused"].includes(error.kind), String(error.stack));
        });
    }
    await judge.reset();
});

talk("hellos that make no sense are bad requests", null, async (judge) => {
    await failure(judge.ask(VERBS.reset, u32(0, 0)), "bad_request", "first request must be hello");
    for (const change of [
        { protocol: "lockstep/2" }, { lanes: 0 }, { agents: 17 }, { agents: true }, { action: { kind: "jump" } },
        { action: { kind: "discrete", count: 0 } }, { canonical: [{ name: "x", dtype: "u128" }] },
        { canonical: [{ name: "x", dtype: "u8", shape: [-1] }] }, { canonical: [{ name: "x", dtype: "u8", shape: [1 << 28, 1 << 28] }] },
        { canonical: [{ name: "x", dtype: "u8" }, { name: "x", dtype: "u8" }] }, { canonical: "x" }, { reward: "u128" },
        { digests: ["blake2b"] }, { resets: "never" }, { episode_steps_max: "x" },
    ]) {
        await failure(judge.ask(VERBS.hello, Buffer.from(JSON.stringify(helloOf(change)))), "bad_request", "");
    }
    // One more try with a good one is welcome.
    await judge.ask(VERBS.hello, Buffer.from(JSON.stringify(helloOf())));
    assert.equal((await judge.ask(VERBS.close)).length, 0);
    assert.equal(await judge.ended, 0);
});

for (const [name, last, status] of [
    ["a wrong magic", header(0, 1, 1, 0, 0, "LKS2"), 1],
    ["a body too large", header((256 << 20) + 1, 1, 1), 1],
    ["an end", Buffer.alloc(0), 0],
    ["an end within a header", Buffer.from("LKS"), 0],
    ["an end within a body", header(100, 1, 1), 0],
]) {
    test(`${name} ends the process with ${status}`, async () => {
        const judge = await Judge.start(null);
        assert.equal(await judge.end(last), status);
        assert.equal(judge.log.startsWith("error: "), status === 1, judge.log);
    });
}

talk("an action that is no number is a bad request", helloOf({ action: { kind: "continuous" } }), async (judge) => {
    await judge.reset();
    await failure(judge.steps([0xff000000]), "bad_request", "Infinity as an action");
});

talk("the bytes of big frames arrive whole", helloOf({ episode_steps_max: null }), async (judge) => {
    await judge.reset();
    const tokens = Array.from({ length: 300000 }, (_, place) => TOKENS[place % 400]);
    const { records } = await judge.steps(tokens, { mode: 2 });
    assert.ok(records.length > tokens.length);
});

test("draws without a log are the same numbers", () => {
    const [one, other] = [new Draws(new Sites(["a"], true)), new UnloggedDraws(new Sites(["a"], true))];
    for (let turn = 0; turn < 50; turn++) assert.equal(one.below(1000, "a"), other.below(1000, "a"));
    assert.deepEqual([one.count, other.count], [50, 0]);
});

test("bare mode counts steps without a judge", () => {
    const folder = mkdtempSync(join(tmpdir(), "lockstep-"));
    const path = join(folder, "tokens");
    const hello = join(folder, "hello");
    writeFileSync(path, u32(...TOKENS));
    writeFileSync(hello, JSON.stringify(helloOf()));
    const run = (...options) => spawnSync(process.execPath, [PEBBLES, "--bare-tokens", ...options], { encoding: "utf8" });
    const done = run(path, "2", "100", "--hello", hello);
    assert.equal(done.status, 0, done.stderr);
    assert.equal(JSON.parse(done.stdout).steps, 200);
    assert.equal(run(path, "2", "500", "--hello", hello).status, 2);
    assert.equal(run(path, "x").status, 2);
    rmSync(folder, { recursive: true });
});
