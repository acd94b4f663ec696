/** Makes counter.ts speak Lockstep: one object of this class is one lane. */

import { type Draws, type Fields, Refused, type Setup, type Start, main } from "../sdk/node/lockstep-sdk/index.mjs";
import { Counter, type Options } from "./counter.ts";

// Beyond this an f32 no longer holds every whole number, and the rules were never meant for it.
const EXACT_MAX = 1 << 24;

export class CounterLane extends Counter {
    static override readonly name = "counter.ts";
    static readonly version = "1";
    // What --bare-tokens plays.
    static readonly example = {
        agents: 1,
        action: { kind: "discrete", count: 4, mask: true },
        draws: { sites: ["gust", "leap"] },
        episode_steps_max: 64,
        options: { agents: 1, limit: 10, memory: 0, draws: "served" },
    };

    constructor(setup: Setup<Options>, draws: Draws) {
        super(setup.options, setup.episodeStepsMax, draws);
    }

    reset(start: Start): void {
        this.begin(start.seedLow, start.streamLow, start.episode);
    }

    /** The fields of the manifest in their order, flat; `canonical` with an object would do, but costs more time. */
    record(): unknown[] {
        const fields = [this.value, this.deciders, this.purse[0], this.purse[1], this.tick, this.generator];
        return this.memory.length > 0 ? [...fields, this.memory] : fields;
    }

    inject(start: Start, fields: Fields, observations: readonly number[]): void {
        if (this.draws === "recorded") throw new Refused("the private generator is not a part of the state");
        if (fields.deciders <= 0 || fields.deciders > this.everybody) {
            throw new Refused(`nobody decides: deciders is 0x${fields.deciders.toString(16)}`);
        }
        const largest = Math.max(...[fields.value, ...fields.purse, fields.tick].map(Math.abs));
        if (largest > EXACT_MAX) throw new Refused(`a number is beyond ${EXACT_MAX}`);
        this.reset(start);
        this.value = fields.value;
        this.deciders = fields.deciders;
        this.purse = [...fields.purse];
        this.tick = fields.tick;
        this.generator = fields.generator;
        this.memory.set(fields.memory ?? []);
        this.stepsLeft -= start.elapsed;
        this.observations = [...observations];
    }
}

main(CounterLane, import.meta.url);
