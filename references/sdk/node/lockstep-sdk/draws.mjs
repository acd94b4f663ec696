/**
 * Draws: the random numbers that the harness gives to an environment, and the log of all that were drawn.
 *
 * Threefry works on words of 32 bits, which `| 0` keeps JavaScript's numbers to; only the product in `below` has more, and
 * is taken apart so that each half stays below 2^53.
 */

import { AdapterError, kindOf } from "./errors.mjs";

const UNNAMED = 0xffffffff;
const WORD_BOUND = 2 ** 32;
const PARITY = 0x1bd11bda;

/** Words of the log for each draw: site, bound and value, the last two in halves. */
const LOG_WORDS = 5;

/** The size of a draw in a record. */
export const DRAW_SIZE = 4 * LOG_WORDS;

/** The draws of one lane. An environment calls `below`, `word` and `note`; the rest is for the SDK. */
export class Draws {
    /** @param {Sites} sites */
    constructor(sites) {
        this.sites = sites;
        this.log = new Uint32Array(64 * LOG_WORDS);
        this.count = 0;
        this.words = new Uint32Array(4);
        this.key = new Int32Array(5);
        this.start({ seedLow: 0, seedHigh: 0, streamLow: 0, streamHigh: 0, episode: 0 });
    }

    /** A uniform number in 0 … bound - 1, asked for at a site of the manifest. */
    below(bound, site) {
        if (!(bound >= 1 && bound < WORD_BOUND && Math.floor(bound) === bound)) throw wrongBound(bound);
        const word = this.next();
        const value = this.list !== null ? word % bound : scaled(word, bound);
        this.write(this.sites.place(site), bound, 0, value, 0);
        return value;
    }

    /** A whole u32. */
    word(site) {
        const word = this.next();
        this.write(this.sites.place(site), 0, 1, word, 0);
        return word;
    }

    /** Logs a draw that the environment made with a generator of its own. Numbers beyond 2^53 are BigInts. */
    note(bound, value, site) {
        const place = this.sites.place(site);
        this.write(place, low(bound), high(bound), low(value), high(value));
    }

    // For the SDK.

    /** Begins anew: seeded at `index` of an episode, or with a list at the place `index`. */
    start(start, index = 0, list = null) {
        const { key } = this;
        this.seeds = [start.seedLow, start.seedHigh, start.streamLow, start.streamHigh];
        for (let place = 0; place < 4; place++) key[place] = this.seeds[place];
        key[4] = key[0] ^ key[1] ^ key[2] ^ key[3] ^ PARITY;
        this.episode = start.episode;
        this.list = list;
        this.index = index;
        this.block = -1;
    }

    /** Goes to the first draw of an episode; a list keeps its place. */
    nextEpisode(episode) {
        this.episode = episode;
        if (this.list === null) this.index = 0;
        this.block = -1;
    }

    /** More values for the list; a seeded lane becomes listed, starting with these. */
    append(values) {
        if (this.list === null) {
            this.list = [];
            this.index = 0;
        }
        for (const value of values) this.list.push(value);
    }

    /** What a snapshot keeps, and how to go back to it. */
    state() {
        return { seeds: this.seeds, episode: this.episode, index: this.index, list: this.list };
    }

    restore({ seeds, episode, index, list }) {
        const [seedLow, seedHigh, streamLow, streamHigh] = seeds;
        this.start({ seedLow, seedHigh, streamLow, streamHigh, episode }, index, list);
        this.count = 0;
    }

    /** The size of the log. */
    get size() {
        return this.count * DRAW_SIZE;
    }

    /** Copies the log from the draw number `from` on. */
    copy(view, at, from) {
        const { log } = this;
        const end = this.count * LOG_WORDS;
        for (let place = from * LOG_WORDS; place < end; place++, at += 4) view.setUint32(at, log[place], true);
        return at;
    }

    next() {
        const index = this.index;
        this.index = index + 1;
        if (this.list !== null) return index < this.list.length ? this.list[index] : 0;
        const block = Math.floor(index / 4);
        if (block !== this.block) {
            threefry(this.key, block | 0, this.episode | 0, 0, 0, this.words);
            this.block = block;
        }
        return this.words[index & 3];
    }

    write(site, boundLow, boundHigh, valueLow, valueHigh) {
        let at = this.count * LOG_WORDS;
        if (at === this.log.length) {
            const longer = new Uint32Array(2 * at);
            longer.set(this.log);
            this.log = longer;
        }
        const { log } = this;
        log[at] = site;
        log[at + 1] = boundLow;
        log[at + 2] = boundHigh;
        log[at + 3] = valueLow;
        log[at + 4] = valueHigh;
        this.count++;
    }
}

/** The same numbers without the log: what an environment would draw by itself, for measuring it alone. */
export class UnloggedDraws extends Draws {
    below(bound) {
        if (!(bound >= 1 && bound < WORD_BOUND && Math.floor(bound) === bound)) throw wrongBound(bound);
        const word = this.next();
        return this.list !== null ? word % bound : scaled(word, bound);
    }

    word() {
        return this.next();
    }

    note() {}
}

/** From the name of a site to its number in the manifest; no name is a draw without a site. */
export class Sites {
    constructor(names, named) {
        this.names = names;
        this.named = named;
        this.places = new Map(named ? names.map((name, place) => [name, place]) : []);
    }

    place(site) {
        const place = this.places.get(site);
        return place !== undefined ? place : this.other(site);
    }

    other(site) {
        if (site === undefined || site === null || !this.named) return UNNAMED;
        const known = this.names.join(", ") || "none";
        throw new AdapterError(`the draw site ${JSON.stringify(site)} is not in the manifest, which has: ${known}`);
    }
}

/** (word × bound) >> 32, exactly. */
export function scaled(word, bound) {
    if (bound <= 0x200000) return Math.floor((word * bound) / WORD_BOUND);
    const lower = (word & 0xffff) * bound;
    const upper = (word >>> 16) * bound;
    return Math.floor((upper + Math.floor(lower / 0x10000)) / 0x10000);
}

/**
 * One block of Threefry-4x32 with 20 rounds.
 *
 * @param {Int32Array} key four words and their parity
 * @param {Uint32Array} into four words
 */
export function threefry(key, c0, c1, c2, c3, into) {
    let a = (c0 + key[0]) | 0;
    let b = (c1 + key[1]) | 0;
    let c = (c2 + key[2]) | 0;
    let d = (c3 + key[3]) | 0;
    // Four rounds and a piece of the key, five times; the rotations of rounds 5 to 8 are others than those of 1 to 4.
    for (let turn = 1; turn <= 5; turn++) {
        if (turn & 1) {
            a = (a + b) | 0; b = ((b << 10) | (b >>> 22)) ^ a; c = (c + d) | 0; d = ((d << 26) | (d >>> 6)) ^ c;
            a = (a + d) | 0; d = ((d << 11) | (d >>> 21)) ^ a; c = (c + b) | 0; b = ((b << 21) | (b >>> 11)) ^ c;
            a = (a + b) | 0; b = ((b << 13) | (b >>> 19)) ^ a; c = (c + d) | 0; d = ((d << 27) | (d >>> 5)) ^ c;
            a = (a + d) | 0; d = ((d << 23) | (d >>> 9)) ^ a; c = (c + b) | 0; b = ((b << 5) | (b >>> 27)) ^ c;
        } else {
            a = (a + b) | 0; b = ((b << 6) | (b >>> 26)) ^ a; c = (c + d) | 0; d = ((d << 20) | (d >>> 12)) ^ c;
            a = (a + d) | 0; d = ((d << 17) | (d >>> 15)) ^ a; c = (c + b) | 0; b = ((b << 11) | (b >>> 21)) ^ c;
            a = (a + b) | 0; b = ((b << 25) | (b >>> 7)) ^ a; c = (c + d) | 0; d = ((d << 10) | (d >>> 22)) ^ c;
            a = (a + d) | 0; d = ((d << 18) | (d >>> 14)) ^ a; c = (c + b) | 0; b = ((b << 20) | (b >>> 12)) ^ c;
        }
        a = (a + key[turn % 5]) | 0;
        b = (b + key[(turn + 1) % 5]) | 0;
        c = (c + key[(turn + 2) % 5]) | 0;
        d = (d + key[(turn + 3) % 5] + turn) | 0;
    }
    into[0] = a;
    into[1] = b;
    into[2] = c;
    into[3] = d;
}

function wrongBound(bound) {
    return new RangeError(`below(${String(bound)}): the bound must be a whole number from 1 to 2^32 - 1`);
}

function low(value) {
    return typeof value === "bigint" ? Number(BigInt.asUintN(32, value)) : value >>> 0;
}

function high(value) {
    if (typeof value === "bigint" && BigInt.asUintN(64, value) === value) return Number(value >> 32n);
    if (Number.isSafeInteger(value) && value >= 0) return Math.floor(value / WORD_BOUND);
    throw new RangeError(`note() was told ${kindOf(value)}, which is no u64`);
}
