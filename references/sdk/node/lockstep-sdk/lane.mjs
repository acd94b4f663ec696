/**
 * One lane: an environment with its header, its draws, its chain, and the loop that plays tokens and writes records.
 *
 * A reference is often a fraction of a microsecond fast, so a record is written straight to the page on which the digest is
 * computed, and the actions, the outcome and the observations are read where they lie.
 */

import { Page } from "./digest.mjs";
import { DRAW_SIZE, Draws } from "./draws.mjs";
import { AdapterError, Refused, kindOf } from "./errors.mjs";
import { putNumbers, putObservations } from "./schema.mjs";
import { LegalSets, decoder } from "./tokens.mjs";

const STEP = 0, RESET = 1, INJECT = 2;
const TERMINATED = 1 << 8, TRUNCATED = 1 << 9;
export const DIGEST = 0, FULL = 1, STATE = 2;

const HEAD_SIZE = 8;
const TALLY_SIZE = 12;

/** What an environment gets for a reset: the header of its lane. The seeds are BigInts, and halves that cost less. */
export class Start {
    constructor(seedLow, seedHigh, streamLow, streamHigh, episode, elapsed) {
        this.seedLow = seedLow;
        this.seedHigh = seedHigh;
        this.streamLow = streamLow;
        this.streamHigh = streamHigh;
        this.episode = episode;
        this.elapsed = elapsed;
    }

    get seed() {
        return (BigInt(this.seedHigh) << 32n) | BigInt(this.seedLow);
    }

    get stream() {
        return (BigInt(this.streamHigh) << 32n) | BigInt(this.streamLow);
    }

    at(episode, elapsed) {
        return new Start(this.seedLow, this.seedHigh, this.streamLow, this.streamHigh, episode, elapsed);
    }
}

/** What all lanes of a session share: the adapter, the setup, the page. */
export class Layout {
    constructor(adapter, setup) {
        this.adapter = adapter;
        this.setup = setup;
        this.page = new Page();
        this.stride = setup.agents * setup.width;
        this.decode = decoder(setup.action);
        this.sets = new LegalSets(setup.action);
        this.flat = "record" in adapter.prototype;
        this.allDeciding = 2 ** setup.agents - 1;
        this.recordSize =
            HEAD_SIZE +
            TALLY_SIZE +
            setup.canonical.recordSize +
            setup.agents * (4 * setup.action.maskWords + setup.rewardSize) +
            setup.observationSize;
    }

    /** The actions of a step, of which there is one array for all steps. */
    actions() {
        const { agents, width } = this.setup;
        return Array.from({ length: agents }, () => (width === 1 ? 0 : new Array(width).fill(0)));
    }
}

export class Lane {
    constructor(layout, number) {
        this.layout = layout;
        this.number = number;
        this.draws = new Draws(layout.setup.sites);
        this.start = new Start(0, 0, 0, 0, 0, 0);
        this.episode = 0;
        this.elapsed = 0;
        this.chainLow = 0;
        this.chainHigh = 0;
        // False while something is done with the lane and after it failed.
        this.ready = false;
        this.env = new layout.adapter(layout.setup, this.draws);
        if (!("deciders" in this.env)) this.env.deciders = layout.allDeciding;
        // What the environment has from its constructor and what a snapshot leaves as it is.
        this.own = new Map(Object.entries(this.env).filter(([, value]) => typeof value === "function"));
        this.actions = layout.actions();
        /** Of each agent, what it may do next. */
        this.legal = new Array(layout.setup.agents).fill(layout.sets.idle);
        /** How many of the draws stand in records already. */
        this.told = 0;
        this.noRewards = new Array(layout.setup.agents).fill(0);
    }

    // What the judge asks for.

    reset(start, list, mode, reply) {
        this.begin(start, 0, list);
        this.env.reset(start);
        this.first(RESET, mode, reply);
    }

    inject(start, index, list, state, observations, mode, reply) {
        const { setup } = this.layout;
        this.begin(start, index, list);
        const fields = setup.canonical.get(state);
        const values = new Array(setup.agents).fill(0).flatMap((_, agent) => {
            const size = setup.observation.stateSize;
            return Object.values(setup.observation.get(observations.subarray(agent * size, agent * size + size))).flat();
        });
        this.env.inject(start, fields, values);
        this.draws.count = 0;
        this.expect(fields, state, observations);
        this.first(INJECT, mode, reply);
    }

    /** All steps of the tokens from `at` on; writes what travels to the reply. */
    play(tokens, at, stepCount, window, mode, grain, reply) {
        const { page } = this.layout;
        this.ready = false;
        this.draws.count = 0;
        this.told = 0;
        page.end = Page.START;
        const head = reply.end;
        reply.u32(0);
        if (mode !== DIGEST) reply.u32(0);
        let ended = 0;
        let recordCount = 0;
        for (let begin = 0; begin < stepCount; begin += window) {
            const end = Math.min(begin + window, stepCount);
            for (let step = begin; step < end; step++) {
                if (this.step(tokens, at, mode, grain, reply)) {
                    ended++;
                    if (this.layout.setup.harnessResets) recordCount++;
                }
                recordCount++;
                at += 4 * this.layout.stride;
            }
            page.close(this);
            if (mode === DIGEST) {
                reply.u32(this.chainLow);
                reply.u32(this.chainHigh);
            }
        }
        reply.view.setUint32(head, ended, true);
        if (mode !== DIGEST) reply.view.setUint32(head + 4, recordCount, true);
        this.ready = true;
        return at;
    }

    /** Looks at an environment that was just restored, without a record. */
    recall() {
        this.told = 0;
        this.survey();
    }

    // The loop.

    begin(start, index, list) {
        this.ready = false;
        this.start = start;
        this.episode = start.episode;
        this.elapsed = start.elapsed;
        this.draws.count = 0;
        this.draws.start(start, index, list);
        this.told = 0;
    }

    /** The first record after a reset or an injection. */
    first(kind, mode, reply) {
        const { page } = this.layout;
        page.end = Page.START;
        this.observe(kind, this.noRewards, mode, null, reply);
        this.chainLow = 0;
        this.chainHigh = 0;
        page.close(this);
        if (mode === DIGEST) {
            reply.u32(this.chainLow);
            reply.u32(this.chainHigh);
        }
        this.ready = true;
    }

    /** One step; returns whether it ended the episode. */
    step(tokens, at, mode, grain, reply) {
        const { env, layout } = this;
        const { setup } = layout;
        decodeStep(layout, tokens, at, this.legal, this.actions);
        let rows = null;
        let outcome;
        if (grain === null) {
            outcome = env.step(this.actions);
        } else {
            const list = [];
            list.grain = grain.name;
            outcome = env.step(this.actions, list);
            rows = this.rows(list, grain.row);
        }
        if (typeof outcome !== "object" || outcome === null || outcome.rewards === undefined) throw this.wrongOutcome(outcome);
        this.elapsed++;
        const terminated = Boolean(outcome.terminated);
        const truncated = Boolean(outcome.truncated);
        const kind = STEP | (terminated ? TERMINATED : 0) | (truncated ? TRUNCATED : 0);
        this.observe(kind, outcome.rewards, mode, rows, reply);
        if (!terminated && !truncated) return false;
        this.elapsed = 0;
        this.episode = (this.episode + 1) >>> 0;
        this.draws.nextEpisode(this.episode);
        if (setup.harnessResets) {
            env.reset(this.start.at(this.episode, 0));
            this.observe(RESET, this.noRewards, mode, null, reply);
            if (grain !== null && mode !== DIGEST) reply.u32(0);
        }
        return true;
    }

    /** Looks at the environment and writes the record to the page; with a mode, what travels goes to the reply. */
    observe(kind, rewards, mode, rows, reply) {
        const { env, layout, draws } = this;
        const { page, setup } = layout;
        const { canonical } = setup;
        const drawCount = draws.count - this.told;
        const rowsSize = rows === null ? 0 : rows.bytes.length;
        page.reserve(layout.recordSize + DRAW_SIZE * drawCount + Math.max(canonical.regionSize, rowsSize));
        const { view } = page;
        const begin = page.end;
        const deciders = this.survey();
        view.setUint32(begin, kind | (deciders << 16), true);
        view.setUint32(begin + 4, drawCount, true);
        let at = draws.copy(view, begin + HEAD_SIZE, this.told);
        this.told = draws.count;
        if (rows !== null) {
            view.setUint32(at, rows.count, true);
            page.bytes.set(rows.bytes, at + TALLY_SIZE);
            page.digest(at + TALLY_SIZE, rowsSize, at + 4);
            at += TALLY_SIZE;
        }
        const before = at;
        at = this.putCanonical(page, at, true);
        const after = at;
        for (const { words } of this.legal) {
            for (let place = 0; place < words.length; place++, at += 4) view.setUint32(at, words[place], true);
        }
        const written = env.observations;
        // The usual case, a flat array of numbers, without a call that looks at all the others.
        const end = isFlat(setup, written) ? putNumbers(setup.observationCodes, written, page, at) : -1;
        at = end >= 0 ? end : putObservations(setup, page, at, written);
        const last = rewards.length === setup.agents ? putNumbers(setup.rewardCodes, rewards, page, at) : -1;
        if (last < 0) throw this.wrongRewards(rewards);
        page.end = last;
        if (mode === DIGEST) return;
        const { bytes } = page;
        const stateGrowth = mode === STATE ? canonical.stateSize - canonical.recordSize : 0;
        reply.u32(last - begin + stateGrowth);
        if (mode === STATE) {
            reply.raw(bytes.subarray(begin, before));
            this.state(reply);
            reply.raw(bytes.subarray(after, last));
        } else {
            reply.raw(bytes.subarray(begin, last));
        }
        if (rows !== null) {
            reply.u32(rowsSize);
            reply.raw(rows.bytes);
        }
    }

    /** Appends the state form. */
    state(target) {
        target.reserve(this.layout.setup.canonical.stateSize);
        target.end = this.putCanonical(target, target.end, false);
    }

    putCanonical(target, at, digests) {
        const { env } = this;
        const { canonical } = this.layout.setup;
        if (this.layout.flat) return canonical.putFlat(target, at, env.record(), digests, env.record);
        return canonical.putNamed(target, at, env.canonical(), digests, env.canonical);
    }

    /** Finds out what each agent may do next; returns who decides. */
    survey() {
        const { env, layout, legal } = this;
        const { deciders } = env;
        if ((deciders & layout.allDeciding) !== deciders) {
            throw new AdapterError(`deciders is ${kindOf(deciders)}, expected a bit set of ${layout.setup.agents} agents`);
        }
        surveyInto(layout, env, deciders, legal);
        return deciders;
    }

    rows(list, row) {
        const bytes = new Uint8Array(list.length * row.stateSize);
        const target = { bytes, view: new DataView(bytes.buffer) };
        let at = 0;
        for (const values of list) {
            const end = values?.length === row.codes.length ? putNumbers(row.codes, values, target, at) : -1;
            if (end < 0) {
                const said = Array.isArray(values) ? `[${values.map(kindOf).join(", ")}]` : kindOf(values);
                const message = `a row of \`${list.grain}\` is ${said}, expected ${row.names.join(", ")}`;
                throw new AdapterError(message, this.env.step);
            }
            at = end;
        }
        return { count: list.length, bytes };
    }

    /** An environment that quietly made something else of the state would be compared from a wrong start. */
    expect(fields, state, observations) {
        const { page, setup } = this.layout;
        page.end = Page.START;
        this.state(page);
        const made = page.bytes.slice(Page.START, page.end);
        if (!isEqual(made, state)) {
            const now = setup.canonical.get(made);
            const differs = (name) => String(now[name]) !== String(fields[name]) && `\`${name}\``;
            const wrong = setup.canonical.names.map(differs).filter(Boolean).join(", ");
            throw new Refused(`the injected state can't be reproduced: ${wrong || "some bits"} came out differently`);
        }
        page.end = Page.START;
        page.reserve(setup.observationSize);
        const end = putObservations(setup, page, page.end, this.env.observations);
        if (!isEqual(page.bytes.subarray(Page.START, end), observations)) {
            throw new Refused("the injected observations can't be reproduced");
        }
    }

    wrongOutcome(outcome) {
        const hint = typeof outcome?.then === "function" ? "; a step can't be asynchronous" : "";
        const said = outcome !== null && typeof outcome === "object" ? "an object without rewards" : kindOf(outcome);
        const message = `step() must return { rewards, terminated, truncated }, not ${said}${hint}`;
        return new AdapterError(message, this.env.step);
    }

    wrongRewards(rewards) {
        const { agents, reward } = this.layout.setup;
        const said = Array.isArray(rewards) ? `[${rewards.map(kindOf).join(", ")}]` : kindOf(rewards);
        return new AdapterError(`step() gave the rewards ${said}, expected ${agents} of ${reward}`, this.env.step);
    }
}

/** What each agent may do next. */
export function surveyInto(layout, env, deciders, legal) {
    const { sets } = layout;
    const { mask } = layout.setup.action;
    for (let agent = 0; agent < legal.length; agent++) {
        if (((deciders >>> agent) & 1) === 0) legal[agent] = sets.idle;
        else legal[agent] = mask ? sets.of(env.legal(agent)) : sets.free;
    }
}

/** The actions that the tokens at a place stand for. */
export function decodeStep(layout, tokens, at, legal, actions) {
    const { decode, setup } = layout;
    const { width } = setup;
    for (let agent = 0; agent < actions.length; agent++) {
        const { choices } = legal[agent];
        if (width === 1) {
            actions[agent] = decode(tokens.getUint32(at, true), choices);
            at += 4;
            continue;
        }
        for (let place = 0; place < width; place++, at += 4) {
            actions[agent][place] = decode(tokens.getUint32(at, true), choices);
        }
    }
}

function isFlat(setup, written) {
    return Array.isArray(written) && written.length === setup.observationCodes.length;
}

function isEqual(one, other) {
    return one.length === other.length && one.every((byte, place) => byte === other[place]);
}
