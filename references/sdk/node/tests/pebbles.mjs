/**
 * Pebbles, the environment of the tests: agents take pebbles from a heap that chance refills. It has all that an adapter
 * can have, and fails in every way that one can, as `setup.settings.fault` tells from the second step on.
 */

import { Refused, main } from "../lockstep-sdk/index.mjs";

class Pebbles {
    static name = "pebbles";
    static version = "2";
    static probes = { double: (x) => 2 * x, odd: () => 1n, fails: () => null.x };

    constructor(setup, draws) {
        this.agents = setup.agents;
        this.stepsMax = setup.episodeStepsMax;
        this.fault = setup.settings.fault;
        this.draws = draws;
        this.scratch = new Uint8Array(100);
        this.below = draws.below.bind(draws);
        if (this.fault === "private") this.helper = new (class Helper {})();
    }

    reset(start) {
        this.heap = 5 + Number(start.seed % 3n);
        this.taken = [0, 0];
        this.clock = 0n;
        this.deciders = 2 ** this.agents - 1;
        this.scratch.fill(0);
        this.look();
    }

    legal(agent) {
        return [true, this.heap > 0, this.heap > 1, this.taken[agent] > 0];
    }

    step(actions, rows) {
        this.clock++;
        if (this.fault && this.clock > 1n) this.fail();
        const rewards = actions.map(() => 0);
        actions.forEach((action, agent) => {
            if (((this.deciders >> agent) & 1) === 0) return;
            if (action === 0) this.heap += this.below(3, "refill");
            if (action === 3) this.taken[agent]--;
            if (action === 1 || action === 2) {
                const most = Math.min(action, this.heap);
                this.heap -= most;
                this.taken[agent] += most;
                rewards[agent] = most / 10;
                rows?.push([agent, most]);
            }
            this.scratch[(Number(this.clock) * 7 + action) % 100]++;
        });
        if (this.agents === 2) this.deciders = this.heap % 2 === 0 ? 3 : 1 + (this.heap % 3 === 0);
        if (actions[0] !== 3) this.look();
        const outcome = { rewards, terminated: this.heap === 0, truncated: Number(this.clock) === this.stepsMax };
        if (this.fault === "observation") this.observations = [1, "two"];
        if (this.fault === "outcome") return rewards;
        if (this.fault === "promise") return Promise.resolve(outcome);
        if (this.fault === "rewards") outcome.rewards = [0, 0, 0];
        return outcome;
    }

    fail() {
        if (this.fault === "throw") this.stumble({});
        if (this.fault === "string") throw "a string";
        if (this.fault === "exit") process.exit(3);
        if (this.fault === "site") this.draws.below(2, "nowhere");
        if (this.fault === "bound") this.draws.below(0, "refill");
        if (this.fault === "deciders") this.deciders = 9;
        if (this.fault === "recursion") this.fail();
    }

    stumble(purses) {
        return purses.missing.more;
    }

    look() {
        this.observations = [];
        for (let agent = 0; agent < this.agents; agent++) this.observations.push(this.heap / 3, this.taken[agent]);
        if (this.fault === "typed") this.observations = Float32Array.from(this.observations);
    }

    record() {
        const fields = [this.heap, ...this.taken, this.clock, this.scratch];
        if (this.fault && this.clock > 1n) {
            if (this.fault === "type") fields[1] = 1.5;
            if (this.fault === "range") fields[0] = 2 ** 40;
            if (this.fault === "short") fields.pop();
            if (this.fault === "region") fields[4] = new Uint8Array(99);
        }
        return fields;
    }

    inject(start, fields, observations) {
        if (fields.heap < 0) throw new Refused("no heap is smaller than nothing");
        this.reset(start);
        this.heap = fields.heap;
        this.taken = [...fields.taken];
        this.clock = this.fault === "forgetful" ? 0n : fields.clock;
        this.scratch.set(fields.scratch);
        this.observations = [...observations];
    }
}

/** The same by field name, with a snapshot of its own. */
class Named extends Pebbles {
    static name = "named";

    canonical() {
        const fields = { heap: this.heap, taken: this.taken, clock: this.clock, scratch: this.scratch };
        if (this.fault === "missing" && this.clock > 1n) delete fields.taken;
        if (this.fault === "extra" && this.clock > 1n) fields.spare = 1;
        return fields;
    }

    snapshot() {
        const { heap, taken, clock, deciders, scratch, observations } = this;
        return { heap, taken, clock, deciders, scratch, observations };
    }

    restore(state) {
        Object.assign(this, state);
    }
}

const NAMED = process.argv[2] === "named";
if (NAMED) {
    process.argv.pop();
    // The SDK prefers `record` where there is one.
    delete Pebbles.prototype.record;
}

main(NAMED ? Named : Pebbles, import.meta.url);
