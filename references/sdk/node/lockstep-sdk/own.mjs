/**
 * The adapter of a class with `reset` and `step`, of which `lockstep new` writes the particular part.
 *
 * A subclass says how the environment is made (`make`), which numbers an observation is made of (`look`) and which the state
 * (`canonical`), and may say how a state is put back (`put`) and which lists have a bound (`sizes`). A list that outgrows its
 * bound ends the episode as truncated and is counted in the field `capacity`: the backend does the same, so it is compared
 * like everything else, and nothing is cut in silence. `Math.random` asks Lockstep while a lane is played.
 */

import { AdapterError, Refused } from "./errors.mjs";

/** Who gives the numbers of `Math.random` now; outside of a lane it is a generator that always begins alike. */
let source = null;
let aside = 1;

Math.random = () => {
    if (source !== null) return source();
    aside = (Math.imul(aside, 1664525) + 1013904223) >>> 0;
    return aside / 4294967296;
};

/** Calls something with other random numbers. */
export function drawing(from, call) {
    const before = source;
    source = from;
    try {
        return call();
    } finally {
        source = before;
    }
}

/** A double of two draws: 27 bits and 26. */
export function double(below) {
    const high = below(134217728), low = below(67108864);
    return (high * 67108864 + low) / 9007199254740992;
}

export class OwnLane {
    static version = "1";
    /** Texts that stand in the state as numbers: {field: [text, …]}, numbered from 0. */
    static words = {};
    /** What an injected state may hold: {field: [smallest, largest]}. Beyond what was seen, an environment may do anything. */
    static limits = {};

    constructor(setup, draws) {
        this.setup = setup;
        this.draws = draws;
        this.stepsMax = setup.episodeStepsMax;
        this.elapsed = this.capacity = 0;
        this.injected = false;
        this.observations = [];
        this.env = this.begun();
    }

    // What a subclass says: make(options), look(observation), canonical(), and maybe put(fields), sizes(), act(action).

    act(action) {
        return action;
    }

    sizes() {
        return [];
    }

    begun() {
        aside = 1;
        return this.make({ ...this.setup.options });
    }

    served(call) {
        return drawing(() => double((bound) => this.draws.below(bound)), call);
    }

    reset(start) {
        this.elapsed = start.elapsed;
        this.capacity = 0;
        this.injected = false;
        // Nothing of the last episode survives in an object that is new.
        this.env = this.begun();
        const observation = this.served(() => this.env.reset());
        for (const [name, size, bound] of this.sizes()) {
            if (size > bound) throw new AdapterError(`\`${name}\` has ${size} items after a reset, and the manifest has room for ${bound}`);
        }
        this.observations = this.look(observation);
    }

    step(actions) {
        let answer;
        try {
            answer = this.served(() => this.env.step(this.act(actions[0])));
        } catch (error) {
            if (this.injected && !(error instanceof AdapterError)) throw new Refused(`the environment fails in this state: ${error.message}`);
            throw error;
        }
        const [observation, reward, terminated, truncated] = stepped(answer);
        this.elapsed += 1;
        let cut = truncated || (this.stepsMax !== null && this.elapsed >= this.stepsMax);
        for (const [, size, bound] of this.sizes()) {
            if (size > bound) {
                this.capacity += 1;
                cut = true;
            }
        }
        this.observations = this.look(observation);
        return { rewards: [reward], terminated, truncated: cut };
    }

    legal() {
        return this.env.actionMasks().map(Boolean);
    }

    takeOver(start, fields, observations) {
        for (const [name, [low, high]] of Object.entries(this.constructor.limits)) {
            const values = typeof fields[name] === "object" ? [...fields[name]] : [fields[name]];
            if (!values.every((value) => low <= value && value <= high)) {
                throw new Refused(`\`${name}\` is beyond ${low} to ${high}, see \`limits\` in the adapter`);
            }
        }
        this.elapsed = start.elapsed;
        this.capacity = fields.capacity ?? 0;
        this.injected = true;
        this.env = this.begun();
        // So that everything is there that `put` writes into. These draws are not the episode's.
        this.env.reset();
        this.put(fields);
        this.observations = [...observations];
    }

    snapshot() {
        const { env, observations, elapsed, capacity, injected } = this;
        return { env: packed(env, "env", new Map()), observations: [...observations], elapsed, capacity, injected };
    }

    restore({ env, ...rest }) {
        Object.assign(this, rest);
        known(this.begun());
        this.env = unpacked(env, []);
    }

    code(field, text) {
        const place = this.constructor.words[field].indexOf(text ?? null);
        if (place < 0) {
            const words = this.constructor.words[field].map((word) => JSON.stringify(word)).join(", ");
            throw new AdapterError(`\`${field}\` is ${JSON.stringify(text)}, which \`words\` in the adapter does not have: ${words} (hint: add it there)`);
        }
        return place;
    }

    word(field, code) {
        const words = this.constructor.words[field];
        if (code >= words.length) throw new Refused(`\`${field}\` has no word ${code}`);
        return words[code];
    }
}

/** [observation, reward, terminated, truncated] of what a `step` returned: a list of them, or an object. */
export function stepped(answer) {
    if (Array.isArray(answer) && answer.length >= 3 && answer.length <= 5) {
        return [answer[0], number(answer[1]), Boolean(answer[2]), Boolean(answer.length > 3 && answer[3])];
    }
    if (answer !== null && typeof answer === "object" && "reward" in answer) {
        const ended = answer.terminated ?? answer.done ?? false;
        return [answer.observation ?? answer.obs ?? answer.state, number(answer.reward), Boolean(ended), Boolean(answer.truncated ?? false)];
    }
    throw new AdapterError(`step() gave ${shown(answer)}, expected {observation, reward, terminated, truncated} or a list of the four`);
}

function number(reward) {
    if (typeof reward !== "number" && typeof reward !== "boolean") throw new AdapterError(`the reward is ${shown(reward)}, and no number`);
    return Number(reward);
}

export function shown(value) {
    return value === null ? "null" : Array.isArray(value) ? `a list of ${value.length}` : typeof value === "object" ? `an object of ${value.constructor?.name ?? "no class"}` : `${typeof value} ${String(value).slice(0, 40)}`;
}

/** All numbers of these values, in order, as one list. */
export function flat(...values) {
    const numbers = [];
    const add = (value) => {
        if (typeof value === "number" || typeof value === "boolean") numbers.push(Number(value));
        else if (ArrayBuffer.isView(value) || Array.isArray(value) || value instanceof Set) for (const one of value) add(one);
        else if (value !== null && typeof value === "object") for (const one of Object.values(value)) add(one);
        else throw new AdapterError(`there is ${shown(value)} where a number was seen before`);
    };
    for (const value of values) add(value);
    return numbers;
}

/** Exactly `count` numbers: those of the items, then zeros. What is beyond is counted in `capacity`, see `sizes`. */
export function padded(items, count) {
    const numbers = flat(items).slice(0, count);
    while (numbers.length < count) numbers.push(0);
    return numbers;
}

/** The first `count` rows of `width` numbers. */
export function rows(numbers, count, width) {
    return Array.from({ length: count }, (_, row) => [...numbers.slice(row * width, (row + 1) * width)]);
}

/** A number that has to be whole: one with a fraction is an error, and not cut off. */
export function whole(value) {
    if (!Number.isSafeInteger(value)) throw new AdapterError(`there is ${shown(value)} where a whole number was seen before (hint: make the field f64 in env.toml)`);
    return value;
}

// Snapshots: data with its classes, which are found by their names.

const prototypes = new Map();

/** Remembers the classes of everything in an object. */
export function known(value, seen = new Set()) {
    if (value === null || typeof value !== "object" || seen.has(value)) return;
    seen.add(value);
    const prototype = Object.getPrototypeOf(value);
    if (prototype?.constructor?.name) prototypes.set(prototype.constructor.name, prototype);
    const parts = value instanceof Map || value instanceof Set ? [...value].flat() : ArrayBuffer.isView(value) ? [] : Object.values(value);
    for (const part of parts) known(part, seen);
}

function packed(value, path, places) {
    if (typeof value === "function" || typeof value === "symbol") throw new AdapterError(`\`${path}\` is a ${typeof value}: write snapshot() and restore(state) in the adapter`);
    if (value === null || typeof value !== "object") return value;
    if (places.has(value)) return { again: places.get(value) };
    places.set(value, places.size);
    if (ArrayBuffer.isView(value)) return { view: value.slice() };
    const each = (part, name) => packed(part, `${path}.${name}`, places);
    if (Array.isArray(value)) return { list: value.map(each) };
    if (value instanceof Map) return { map: [...value].map(([key, part]) => [each(key, "key"), each(part, key)]) };
    if (value instanceof Set) return { set: [...value].map(each) };
    const prototype = Object.getPrototypeOf(value);
    const kind = prototype === Object.prototype || prototype === null ? null : prototype.constructor.name;
    if (kind !== null) prototypes.set(kind, prototype);
    return { kind, parts: Object.entries(value).map(([name, part]) => [name, each(part, name)]) };
}

function unpacked(data, made) {
    if (data === null || typeof data !== "object") return data;
    if ("again" in data) return made[data.again];
    if ("view" in data) {
        made.push(data.view);
        return data.view;
    }
    if ("list" in data) {
        const list = [];
        made.push(list);
        for (const part of data.list) list.push(unpacked(part, made));
        return list;
    }
    if ("map" in data) {
        const map = new Map();
        made.push(map);
        for (const [key, part] of data.map) map.set(unpacked(key, made), unpacked(part, made));
        return map;
    }
    if ("set" in data) {
        const set = new Set();
        made.push(set);
        for (const part of data.set) set.add(unpacked(part, made));
        return set;
    }
    if (data.kind !== null && !prototypes.has(data.kind)) throw new AdapterError(`a snapshot holds an object of ${data.kind}, which is not known here`);
    const object = Object.create(data.kind === null ? Object.prototype : prototypes.get(data.kind));
    made.push(object);
    for (const [name, part] of data.parts) object[name] = unpacked(part, made);
    return object;
}
