/** The SDK agrees with references/sdk/vectors.json. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { Page } from "../lockstep-sdk/digest.mjs";
import { Draws, Sites, scaled, threefry } from "../lockstep-sdk/draws.mjs";
import { BadRequest } from "../lockstep-sdk/errors.mjs";
import { LegalSets, continuous, decoder } from "../lockstep-sdk/tokens.mjs";

const VECTORS = JSON.parse(readFileSync(new URL("../../vectors.json", import.meta.url), "utf8"));
const low = (text) => Number(BigInt(text) & 0xffffffffn);
const high = (text) => Number(BigInt(text) >> 32n);
const hexOf = ({ chainLow, chainHigh }) => ((BigInt(chainHigh) << 32n) | BigInt(chainLow)).toString(16);

function startOf({ seed, stream, episode }) {
    return { seedLow: low(seed), seedHigh: high(seed), streamLow: low(stream), streamHigh: high(stream), episode };
}

test("threefry gives the known answers", () => {
    for (const { key, counter, words } of VECTORS.threefry4x32_20) {
        const whole = Int32Array.from([...key, key[0] ^ key[1] ^ key[2] ^ key[3] ^ 0x1bd11bda]);
        const into = new Uint32Array(4);
        threefry(whole, ...counter, into);
        assert.deepEqual([...into], words);
    }
});

test("seeded draws agree when started at any index", () => {
    const draws = new Draws(new Sites([], true));
    for (const entry of VECTORS.draws_seeded) {
        draws.start(startOf(entry), entry.index);
        assert.equal(draws.word(), entry.word);
        draws.start(startOf(entry), entry.index);
        assert.equal(draws.below(entry.bound), entry.below);
        assert.equal(draws.index, entry.index + 1);
    }
});

test("below is exact for every size of bound", () => {
    for (const word of [0, 1, 0xffff, 0x10000, 0x7fffffff, 0x80000001, 0xfffffffe, 0xffffffff]) {
        for (const bound of [1, 2, 3, 0x1fffff, 0x200000, 0x200001, 0x7fffffff, 0x80000001, 0xfffffffe, 0xffffffff]) {
            assert.equal(scaled(word, bound), Number((BigInt(word) * BigInt(bound)) >> 32n), `${word} ${bound}`);
        }
    }
});

test("listed draws end in zeros and can be appended to", () => {
    for (const { values, bounds, results } of VECTORS.draws_listed) {
        const draws = new Draws(new Sites([], true));
        draws.start(startOf({ seed: 0, stream: 0, episode: 0 }), 0, [...values]);
        assert.deepEqual(bounds.map((bound) => (bound === 2 ** 32 ? draws.word() : draws.below(bound))), results);
        draws.index = values.length;
        draws.append([9]);
        assert.equal(draws.word(), 9);
    }
});

test("digests and chains agree", () => {
    const page = new Page();
    const digested = (lane, bytes) => {
        page.raw(bytes);
        page.close(lane);
    };
    for (const { seed, bytes, xxh64 } of VECTORS.digests) {
        const lane = { chainLow: low(seed), chainHigh: high(seed) };
        digested(lane, Buffer.from(bytes, "hex"));
        assert.equal(hexOf(lane), BigInt(xxh64).toString(16));
    }
    for (const { seed, parts, xxh64 } of VECTORS.chains) {
        const lane = { chainLow: low(seed), chainHigh: high(seed) };
        for (const part of parts) digested(lane, Buffer.from(part, "hex"));
        assert.equal(hexOf(lane), BigInt(xxh64).toString(16));
    }
});

test("discrete tokens decode with mask and extra", () => {
    for (const { count, extra, legal, token, action } of VECTORS.tokens_discrete) {
        const layout = { kind: "discrete", count, extra, maskWords: Math.ceil(count / 32) };
        const sets = new LegalSets(layout);
        let set = sets.free;
        if (legal !== undefined) {
            set = sets.of(Array.from({ length: count }, (_, place) => legal.includes(place)));
            const bits = legal.reduce((sum, place) => sum + (1n << BigInt(place)), 0n);
            assert.deepEqual(sets.of(bits), set);
        }
        assert.equal(decoder(layout)(token, set.choices), action);
        // Who isn't deciding does nothing, whatever the token says.
        assert.equal(decoder(layout)(token, sets.idle.choices), 0);
    }
});

test("continuous tokens are floats rotated and never infinite", () => {
    for (const { token, bits, accepted } of VECTORS.tokens_continuous) {
        if (!accepted) {
            assert.throws(() => continuous(token), BadRequest);
            continue;
        }
        const view = new DataView(new ArrayBuffer(4));
        view.setFloat32(0, continuous(token));
        assert.equal(view.getUint32(0), bits);
    }
});
