/**
 * Tokens and legal actions: what a u32 of a trace means as an action of this configuration.
 *
 * The one idea: a set of legal actions comes again and again, so what follows from it (the words of the mask, the legal actions in
 * order) is computed once and looked up by its bits. An array of bools for more than 32 actions is counted each time.
 */

import { AdapterError, BadRequest, kindOf } from "./errors.mjs";

const TOP_BIT = 0x80000000;
const SETS_MAX = 65536;

/** What `legal(agent)` says, as the words of its mask and its choices: the legal actions in order. */
export class LegalSets {
    constructor(action) {
        this.action = action;
        this.known = new Map();
        const all = action.kind === "discrete" ? Array.from({ length: action.count }, (_, place) => place) : [];
        /** Of an agent that may do everything, because there is no mask. */
        this.free = { words: new Uint32Array(0), choices: all };
        /** Of an agent that is not deciding. */
        this.idle = { words: new Uint32Array(action.maskWords), choices: null };
    }

    /** @param {number | bigint | ArrayLike<boolean | number>} legal a bit mask, or a bool for each action */
    of(legal) {
        const { count } = this.action;
        let bits = legal;
        if (typeof legal === "object" && legal !== null) {
            if (legal.length !== count) {
                throw new AdapterError(`legal() gave ${legal.length} bools, expected one for each of ${count} actions`);
            }
            if (count > 32) return this.counted((place) => Boolean(legal[place]));
            bits = 0;
            for (let place = 0; place < count; place++) if (legal[place]) bits |= 1 << place;
            bits >>>= 0;
        }
        return this.known.get(bits) ?? this.learn(bits);
    }

    learn(bits) {
        const { count } = this.action;
        const isMask = Number.isSafeInteger(bits) || typeof bits === "bigint";
        if (!isMask || bits < 0 || (BigInt(bits) >> BigInt(count)) !== 0n) {
            throw new AdapterError(`legal() gave ${kindOf(bits)}, expected a mask with bits below ${count} or as many bools`);
        }
        const wide = BigInt(bits);
        const set = this.counted((place) => (wide >> BigInt(place)) & 1n);
        if (this.known.size >= SETS_MAX) this.known.clear();
        this.known.set(bits, set);
        return set;
    }

    counted(isLegal) {
        const words = new Uint32Array(this.action.maskWords);
        const choices = [];
        for (let place = 0; place < this.action.count; place++) {
            if (!isLegal(place)) continue;
            words[place >>> 5] |= 1 << (place & 31);
            choices.push(place);
        }
        // A deciding agent that may do nothing does action 0.
        return { words, choices: choices.length > 0 ? choices : NOTHING };
    }
}

const NOTHING = [0];

/** A function from a token and the choices of an agent (null when it isn't deciding) to its action. */
export function decoder(action) {
    if (action.kind === "continuous") return (token, choices) => (choices === null ? 0 : continuous(token));
    const { count, extra } = action;
    if (extra === 0) return (token, choices) => (choices === null ? 0 : choices[token % choices.length]);
    return (token, choices) => {
        if (choices === null) return 0;
        return token >= TOP_BIT ? count + ((token & 0x7fffffff) % extra) : choices[token % choices.length];
    };
}

/** The f32 whose bits, rotated left by one, are the token. */
export function continuous(token) {
    BITS[0] = (token >>> 1) | (token << 31);
    const value = SINGLE[0];
    if (!Number.isFinite(value)) {
        throw new BadRequest(`the token 0x${token.toString(16).padStart(8, "0")} is ${value} as an action`);
    }
    return value;
}

const BITS = new Uint32Array(1);
const SINGLE = new Float32Array(BITS.buffer);
