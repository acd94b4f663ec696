/** What own.mjs does for a class with `reset` and `step`: served random numbers, bounds that are counted, states put back. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { OwnLane, padded, stepped, whole } from "../lockstep-sdk/own.mjs";

class Item {
    constructor(worth) {
        this.worth = worth;
    }
}

class Heap {
    constructor({ first = 1 } = {}) {
        this.first = first;
        this.items = [];
    }

    reset() {
        this.items = [new Item(this.first)];
        this.luck = Math.random();
        return [this.items.length];
    }

    step(action) {
        if (action === 1) this.items.push(new Item(Math.floor(Math.random() * 4)));
        return { observation: [this.items.length], reward: 1, terminated: action === 2, truncated: false };
    }
}

class HeapLane extends OwnLane {
    make(options) {
        return new Heap(options);
    }

    look(observation) {
        return observation;
    }

    canonical() {
        return { worth: padded(this.env.items.map((one) => whole(one.worth)), 4), items_count: this.env.items.length };
    }

    sizes() {
        return [["items", this.env.items.length, 4]];
    }
}

function lane() {
    const asked = [];
    const draws = {
        below(bound) {
            asked.push(bound);
            return bound - 1;
        },
    };
    const made = new HeapLane({ options: { first: 3 }, episodeStepsMax: null }, draws);
    made.reset({ elapsed: 0 });
    return { made, asked };
}

test("Math.random asks the harness for 27 bits and 26 while a lane is played, and not outside of it", () => {
    const { made, asked } = lane();
    assert.deepEqual(asked, [2 ** 27, 2 ** 26]);
    assert.equal(made.env.luck, (2 ** 53 - 1) / 2 ** 53);
    Math.random();
    made.step([0]);
    assert.equal(asked.length, 2);
    made.step([1]);
    assert.deepEqual(asked.slice(2), [2 ** 27, 2 ** 26]);
});

test("a list that outgrows its bound ends the episode as truncated and is counted, and never cut in silence", () => {
    const { made } = lane();
    for (const expected of [2, 3, 4]) {
        const { truncated } = made.step([1]);
        assert.deepEqual([truncated, made.capacity, made.canonical().items_count], [false, 0, expected]);
    }
    const { truncated, terminated } = made.step([1]);
    assert.deepEqual([truncated, terminated, made.capacity, made.canonical().items_count], [true, false, 1, 5]);
    assert.equal(made.canonical().worth.length, 4);
});

test("a snapshot brings back objects with their classes, and what they share", () => {
    const { made } = lane();
    made.step([1]);
    made.env.again = made.env.items;
    const kept = structuredClone(made.snapshot());
    made.step([1]);
    made.restore(kept);
    assert.equal(made.env.items.length, 2);
    assert.ok(made.env.items[0] instanceof Item && made.env instanceof Heap);
    assert.equal(made.env.again, made.env.items);
});

test("what a step returns is taken as a list or as an object, and anything else is told", () => {
    assert.deepEqual(stepped([[1], 2, true, false, {}]), [[1], 2, true, false]);
    assert.deepEqual(stepped({ observation: 7, reward: true, done: true }), [7, 1, true, false]);
    assert.throws(() => stepped(3), /step\(\) gave number 3/);
    assert.throws(() => stepped([1, "2", true]), /the reward is string 2/);
    assert.throws(() => whole(0.5), /make the field f64/);
});
