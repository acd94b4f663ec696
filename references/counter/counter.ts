/**
 * Counter, a small game: one or two players count up to a limit, and whoever reaches it wins.
 *
 * Waiting puts a coin into one's purse, a coin buys a leap of unknown length, and a leap takes everybody's eyes off the
 * board: what the players see is not drawn anew until somebody moves by foot again.
 */

export const WAIT = 0;
export const UP = 1;
export const DOWN = 2;
export const LEAP = 3;

const TENTH = Math.fround(0.1);
const WORD_BOUND = 2 ** 32;

/** Where chance comes from, or what is told of it. */
export interface Source {
    below(n: number, site: string): number;
    note(n: number, value: number, site: string): void;
}

/** A row for each unit that the value moves: who moved it, and to where. */
export interface Pulses {
    push(row: [agent: number, value: number]): unknown;
}

export interface Options {
    agents: 1 | 2;
    limit: number;
    /** Bytes. */
    memory: number;
    /** "served" asks the source, "exact" is a generator that is part of the game, and "recorded" is a private one. */
    draws: "served" | "exact" | "recorded";
}

export interface Outcome {
    rewards: number[];
    terminated: boolean;
    truncated: boolean;
}

export class Counter {
    value = 0;
    deciders = 0;
    purse = [0, 0];
    tick = 0;
    generator = 0;
    memory: Uint8Array;
    /** What the players see, one after another: the progress, the own purse, whether it's their turn. */
    observations: number[] = [];

    agents: number;
    limit: number;
    everybody: number;
    draws: Options["draws"];
    source: Source;
    stepsMax: number | null;
    stepsLeft = 0;
    /** The private generator. */
    hidden = 0;

    constructor(options: Options, stepsMax: number | null, source: Source) {
        this.agents = options.agents;
        this.limit = options.limit;
        this.everybody = (1 << options.agents) - 1;
        this.memory = new Uint8Array(options.memory);
        this.draws = options.draws;
        this.stepsMax = stepsMax;
        this.source = source;
    }

    /** The lower halves of seed and stream are all that the game's own generator takes. */
    begin(seed: number, stream: number, episode: number): void {
        this.value = 0;
        this.deciders = this.everybody;
        this.purse = [0, 0];
        this.tick = 0;
        this.stepsLeft = this.stepsMax ?? Infinity;
        this.memory.fill(0);
        const start = (seed ^ Math.imul(stream, 0x9e3779b9) ^ Math.imul(episode, 0x85ebca6b)) >>> 0;
        this.generator = this.draws === "exact" ? start : 0;
        this.hidden = this.draws === "recorded" ? start : 0;
        this.look();
    }

    /** Whether each action is allowed, as bits. */
    legal(agent: number): number {
        return (1 << WAIT) | (1 << UP) | (this.value > 0 ? 1 << DOWN : 0) | (this.purse[agent]! > 0 ? 1 << LEAP : 0);
    }

    /** One move of everybody who decides; `pulses` gets a row for each unit that the value moves. */
    step(actions: readonly number[], pulses?: Pulses): Outcome {
        this.tick++;
        const rewards = this.agents === 1 ? [0] : [0, 0];
        let leapt = 0;
        let terminated = false;
        for (let agent = 0; agent < this.agents; agent++) {
            if (((this.deciders >> agent) & 1) === 0) continue;
            switch (actions[agent]) {
                case WAIT:
                    this.purse[agent]!++;
                    break;
                case UP:
                    for (let left = 1 + this.below(3, "gust"); left > 0; left--) {
                        this.value++;
                        this.pulse(agent, pulses);
                    }
                    rewards[agent] = Math.fround(rewards[agent]! + TENTH);
                    break;
                case DOWN:
                    this.value--;
                    this.pulse(agent, pulses);
                    break;
                default:
                    this.purse[agent]!--;
                    this.value += this.below(6, "leap");
                    leapt |= 1 << agent;
            }
            if (this.value >= this.limit) {
                for (let each = 0; each < this.agents; each++) {
                    rewards[each] = Math.fround(rewards[each]! + (each === agent ? 1 : -1));
                }
                terminated = true;
                break;
            }
        }
        // Who leaps in a duel has to sit out, unless both did.
        const both = this.deciders === 3;
        this.deciders = both && (leapt === 1 || leapt === 2) ? 3 - leapt : this.everybody;
        if (leapt === 0 || terminated) this.look();
        this.stepsLeft--;
        return { rewards, terminated, truncated: this.stepsLeft <= 0 };
    }

    pulse(agent: number, pulses: Pulses | undefined): void {
        pulses?.push([agent, this.value]);
        if (this.memory.length > 0) {
            const cell = ((Math.imul(this.value, 257) + this.tick) >>> 0) % this.memory.length;
            this.memory[cell]!++;
        }
    }

    /** Writes what everybody sees. */
    look(): void {
        const progress = Math.fround(this.value / this.limit);
        this.observations = [progress, this.purse[0]!, this.deciders & 1];
        if (this.agents === 2) this.observations.push(progress, this.purse[1]!, this.deciders >> 1);
    }

    below(n: number, site: string): number {
        switch (this.draws) {
            case "served":
                return this.source.below(n, site);
            case "exact":
                this.generator = (Math.imul(this.generator, 1664525) + 1013904223) >>> 0;
                return this.noted(n, Math.floor((this.generator * n) / WORD_BOUND), site);
            default:
                return this.noted(n, Math.floor((this.random() * n) / WORD_BOUND), site);
        }
    }

    noted(n: number, value: number, site: string): number {
        this.source.note(n, value, site);
        return value;
    }

    /** A u32 of a generator that nobody else has to know (mulberry32). */
    random(): number {
        this.hidden = (this.hidden + 0x6d2b79f5) >>> 0;
        let word = Math.imul(this.hidden ^ (this.hidden >>> 15), this.hidden | 1);
        word ^= word + Math.imul(word ^ (word >>> 7), word | 61);
        return (word ^ (word >>> 14)) >>> 0;
    }
}
