/**
 * Plays an environment with random actions and proposes what `lockstep new` writes: action, observation, state, bounds.
 *
 * The request comes as JSON on standard input, the answer goes to the file that it names, because environments print. A
 * property of the environment that changes while it is played is a part of its state; one that never did is a constant,
 * and is listed as such, because to play at random is not to see everything.
 */

import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

import { AdapterError, replyOf } from "./errors.mjs";
import { double, drawing, flat, known, shown, stepped } from "./own.mjs";

const STEPS_MIN = 400;
const LEAVES_MAX = 100_000;
const WORDS_MAX = 256;

/** Why an environment can't be taken, and what to do. */
class Cannot extends Error {
    constructor(message, hint) {
        super(message);
        this.hint = hint;
    }
}

/** The same numbers in every run. */
function generator(state) {
    return (bound) => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        return Math.floor((state / 4294967296) * bound);
    };
}

async function propose({ compiled, name, options, actions, seconds }) {
    let module;
    try {
        module = await import(pathToFileURL(compiled).href);
    } catch (error) {
        throw new Cannot(`it can't be loaded: ${error.message}`, "it is compiled to CommonJS for Node; what it imports must lie beside it");
    }
    const names = { ...module.default, ...module };
    const Class = names[name] ?? (name === "default" ? module.default : undefined);
    if (typeof Class !== "function") {
        const there = Object.keys(names).filter((key) => typeof names[key] === "function");
        throw new Cannot(`it exports no ${name}`, there.length > 0 ? `it exports ${there.join(", ")}` : `write \`export class ${name}\``);
    }
    const make = () => (Object.keys(options).length > 0 || Class.length > 0 ? new Class(options) : new Class());
    const env = make();
    for (const method of ["reset", "step"]) {
        if (typeof env[method] !== "function") {
            throw new Cannot(`${name} has no \`${method}\``, "Lockstep plays environments with reset() and step(action); for anything else write the adapter by hand: docs/bring-your-own.md");
        }
    }
    if (/[\s;{.]#\w+/.test(Function.prototype.toString.call(Class))) {
        throw new Cannot(`${name} has #private fields, which nobody can look into`, "write `private x` instead of `#x`");
    }
    const count = actions ?? env.nActions ?? Class.nActions ?? env.actions?.length;
    if (!Number.isSafeInteger(count) || count < 1 || count > 4096) throw new Cannot(`${name} does not say how many actions it has`, "give it a property `nActions`, or type --actions N");
    const masked = typeof env.actionMasks === "function";
    const play = new Play(make, count, masked);
    play.run(seconds * 0.9, true);
    const [steps, began] = [play.steps, performance.now()];
    play.run(seconds * 0.1, false);
    const speed = Math.round((1000 * (play.steps - steps)) / Math.max(performance.now() - began, 1e-3));
    return answerOf(play, { name, count, masked, speed });
}

class Play {
    constructor(make, count, masked) {
        Object.assign(this, { make, count, masked, steps: 0, episodes: 0, longest: 0, used: {} });
        this.state = null;
        this.observation = null;
        this.rolls = generator(20261125);
        this.draws = generator(7);
    }

    served(call) {
        return drawing(() => {
            this.used["Math.random"] = (this.used["Math.random"] ?? 0) + 1;
            return double(this.draws);
        }, call);
    }

    look(env, observation) {
        const seen = describe(observation, "observation", 0);
        this.observation = this.observation === null ? seen : merge(this.observation, seen);
        const state = describe(env, "env", 0);
        this.state = this.state === null ? state : merge(this.state, state);
    }

    run(seconds, looks) {
        const [until, late, enough] = [performance.now() + 1000 * seconds, performance.now() + 4000 * seconds, this.steps + STEPS_MIN];
        for (;;) {
            const env = this.make();
            let observation = this.served(() => env.reset());
            if (looks) this.look(env, observation);
            let length = 0, over = false, ended = false;
            while (!over && !ended && length < 20_000) {
                let action = this.rolls(this.count);
                if (this.masked) {
                    const legal = [...env.actionMasks()].flatMap((one, place) => (one ? [place] : []));
                    if (legal.length > 0) action = legal[action % legal.length];
                }
                const [seen, , terminated, truncated] = stepped(this.served(() => env.step(action)));
                observation = seen;
                length += 1;
                this.steps += 1;
                if (looks) this.look(env, observation);
                ended = terminated || truncated;
                const now = performance.now();
                over = now > until && (this.steps >= enough || now > late);
            }
            known(env);
            this.longest = Math.max(this.longest, length);
            if (ended) this.episodes += 1;
            if (over) return;
        }
    }
}

/** What one value is: {kind, …}, kind being one of bool, number, text, view, list, record, map, set, nothing, other. */
function describe(value, path, depth) {
    if (value === null || value === undefined) return { kind: "nothing" };
    if (typeof value === "boolean") return { kind: "bool", low: +value, high: +value };
    if (typeof value === "number") return { kind: "number", low: value, high: value, whole: Number.isSafeInteger(value) };
    if (typeof value === "string") return { kind: "text", words: new Set([value]) };
    if (typeof value !== "object") return { kind: "other", why: `a ${typeof value}` };
    if (depth > 6) return { kind: "other", why: "nested too deeply" };
    if (value instanceof Map) return { kind: "other", why: "a Map: keep a list of pairs, or an object" };
    if (ArrayBuffer.isView(value)) {
        if (value.length > LEAVES_MAX) return { kind: "other", why: `an array of ${value.length} values` };
        return { kind: "view", dtype: value.constructor.name, count: value.length, mark: value.join(), varies: false, low: Math.min(...value), high: Math.max(...value) };
    }
    if (Array.isArray(value) || value instanceof Set) {
        const items = value instanceof Set ? [...value].sort((a, b) => a - b) : value;
        if (items.length > LEAVES_MAX) return { kind: "other", why: `a list of ${items.length}` };
        const found = { kind: "list", set: value instanceof Set, low: items.length, high: items.length, item: null };
        for (const one of items) {
            const seen = describe(one, path, depth + 1);
            found.item = found.item === null ? seen : merge(found.item, seen);
        }
        return found;
    }
    const parts = {};
    for (const [name, part] of Object.entries(value)) {
        if (typeof part !== "function") parts[name] = describe(part, `${path}.${name}`, depth + 1);
    }
    return { kind: "record", parts, plain: Object.getPrototypeOf(value) === Object.prototype };
}

function merge(a, b) {
    if (a.kind === "other" || b.kind === "other") return a.kind === "other" ? a : b;
    if (a.kind === "nothing" && b.kind === "nothing") return a;
    if (a.kind === "nothing" || b.kind === "nothing") return { ...(a.kind === "nothing" ? b : a), optional: true };
    const optional = a.optional || b.optional;
    const numeric = ["bool", "number"];
    if (numeric.includes(a.kind) && numeric.includes(b.kind)) {
        const kind = a.kind === "bool" && b.kind === "bool" ? "bool" : "number";
        return { kind, optional, low: Math.min(a.low, b.low), high: Math.max(a.high, b.high), whole: (a.whole ?? true) && (b.whole ?? true) };
    }
    if (a.kind !== b.kind) return { kind: "other", why: `sometimes ${a.kind} and sometimes ${b.kind}` };
    a.optional = optional;
    if (a.kind === "text") {
        for (const word of b.words) a.words.add(word);
        return a.words.size > WORDS_MAX ? { kind: "other", why: `text in more than ${WORDS_MAX} forms` } : a;
    }
    if (a.kind === "view") {
        if (a.dtype !== b.dtype || a.count !== b.count) return { kind: "other", why: "an array that changes its size or its type" };
        return Object.assign(a, { varies: a.varies || b.varies || a.mark !== b.mark, low: Math.min(a.low, b.low), high: Math.max(a.high, b.high) });
    }
    if (a.kind === "list") {
        a.low = Math.min(a.low, b.low);
        a.high = Math.max(a.high, b.high);
        a.item = a.item === null || b.item === null ? (a.item ?? b.item) : merge(a.item, b.item);
        return a;
    }
    for (const name of new Set([...Object.keys(a.parts), ...Object.keys(b.parts)])) {
        // What is not there yet is as if it were undefined.
        a.parts[name] = merge(a.parts[name] ?? { kind: "nothing" }, b.parts[name] ?? { kind: "nothing" });
    }
    return a;
}

function varies(seen) {
    if (seen.optional) return true;
    switch (seen.kind) {
        case "bool":
        case "number":
            return seen.low !== seen.high;
        case "text":
            return seen.words.size > 1;
        case "view":
            return seen.varies;
        case "list":
            return seen.low !== seen.high || (seen.item !== null && varies(seen.item));
        case "record":
            return Object.values(seen.parts).some(varies);
        default:
            return seen.kind === "other";
    }
}

const DTYPES = {
    Uint8Array: "u8", Int8Array: "i8", Uint16Array: "u16", Int16Array: "i16", Uint32Array: "u32", Int32Array: "i32",
    Float32Array: "f32", Float64Array: "f64", Uint8ClampedArray: "u8",
};

class Fields {
    constructor(root) {
        Object.assign(this, { root, fields: [], puts: [], sizes: [], words: {}, leftOut: [], noPut: "" });
    }

    add(name, path, seen, top) {
        if (!top && !varies(seen)) return;
        if (seen.kind === "record" && !seen.optional) {
            for (const [key, part] of Object.entries(seen.parts)) this.add(name === "" ? key : `${name}_${key}`, `${path}${property(key)}`, part, top);
            return;
        }
        try {
            this.column(this.fieldName(name), path, seen);
        } catch (error) {
            if (!(error instanceof Cannot)) throw error;
            this.leftOut.push([plain(path), error.message]);
        }
    }

    fieldName(name) {
        let text = name.replace(/(?<=[a-z0-9])(?=[A-Z])/g, "_").toLowerCase().replace(/\W/g, "_").replace(/^_+|_+$/g, "") || "field";
        if (/^\d/.test(text)) text = `field_${text}`;
        let made = text;
        for (let place = 2; this.fields.some((field) => field.name === made); place++) made = `${text}_${place}`;
        return made;
    }

    push(name, dtype, shape, path, read, limits) {
        const finite = limits && limits.every(Number.isFinite) ? limits : null;
        this.fields.push({ name, dtype, shape, reference: plain(path), read, limits: finite });
    }

    column(name, path, seen) {
        const state = this.root === "env";
        const put = (line) => state && !this.noPut && this.puts.push(line);
        if (seen.kind === "other") throw new Cannot(seen.why);
        if (seen.kind === "text") {
            this.words[name] = [...(seen.optional ? [null] : []), ...[...seen.words].sort()];
            this.push(name, "u8", [], path, `this.code(${JSON.stringify(name)}, ${path})`, [0, this.words[name].length - 1]);
            put(`${path} = this.word(${JSON.stringify(name)}, fields.${name});`);
            return;
        }
        if (seen.kind === "bool" || seen.kind === "number") {
            const [dtype, read] = scalar(seen, path);
            const back = seen.kind === "bool" ? `Boolean(fields.${name})` : `Number(fields.${name})`;
            if (!seen.optional) {
                this.push(name, dtype, [], path, read, limitsOf(seen));
                put(`${path} = ${back};`);
                return;
            }
            const [low, high] = limitsOf(seen);
            this.push(name, dtype, [], path, `${path} == null ? 0 : ${read}`, [Math.min(low, 0), Math.max(high, 0)]);
            this.push(`${name}_given`, "u8", [], path, `${path} == null ? 0 : 1`, [0, 1]);
            put(`${path} = fields.${name}_given ? ${back} : null;`);
            return;
        }
        if (seen.optional) throw new Cannot(`sometimes a ${seen.kind} and sometimes nothing`);
        if (seen.kind === "view") {
            this.push(name, DTYPES[seen.dtype] ?? fail(`a ${seen.dtype}`), [seen.count], path, path, limitsOf({ ...seen, whole: !/Float/.test(seen.dtype) }));
            put(`${path} = ${seen.dtype}.from(fields.${name});`);
            return;
        }
        if (seen.kind !== "list") throw new Cannot(`a ${seen.kind}`);
        this.list(name, path, seen, put);
    }

    list(name, path, seen, put) {
        const { item } = seen;
        if (item === null || item.kind === "nothing") throw new Cannot("a list that was always empty");
        const fixed = seen.low === seen.high;
        const bound = fixed ? seen.high : Math.max(8, Math.ceil((2 * seen.high) / 8) * 8);
        const items = seen.set ? `[...${path}].sort((a, b) => a - b)` : path;
        const back = (text) => (seen.set ? `new Set(${text})` : text);
        const padding = (text, size) => (fixed ? text : `padded(${text}, ${bound * size})`);
        const widen = (limits) => (fixed || !limits ? limits : [Math.min(limits[0], 0), Math.max(limits[1], 0)]);
        const taken = (field) => (fixed ? `[...fields.${field}]` : `[...fields.${field}].slice(0, fields.${name}_count)`);
        if (item.kind === "bool" || item.kind === "number") {
            if (item.optional) throw new Cannot("a list of numbers in which some are missing");
            const [dtype, read] = scalar(item, "one");
            const each = read === "one" ? items : `${items}.map((one) => ${read})`;
            this.push(name, dtype, [bound], path, padding(each, 1), widen(limitsOf(item)));
            const made = item.kind === "bool" ? `${taken(name)}.map(Boolean)` : taken(name);
            put(`${path} = ${back(made)};`);
        } else if (item.kind === "text") {
            if (item.optional) throw new Cannot("a list of texts in which some are missing");
            this.words[name] = [...item.words].sort();
            this.push(name, "u8", [bound], path, padding(`${items}.map((one) => this.code(${JSON.stringify(name)}, one))`, 1), [0, this.words[name].length - 1]);
            put(`${path} = ${back(`${taken(name)}.map((one) => this.word(${JSON.stringify(name)}, one))`)};`);
        } else if (item.kind === "list" && item.low === item.high && item.item !== null && ["bool", "number"].includes(item.item.kind) && !item.item.optional && !item.optional) {
            const [dtype, read] = scalar(item.item, "one");
            this.push(name, dtype, [bound, item.high], path, padding(read === "one" ? `flat(${items})` : `flat(${items}).map((one) => ${read})`, item.high), widen(limitsOf(item.item)));
            const count = fixed ? String(bound) : `fields.${name}_count`;
            put(`${path} = ${back(`rows([...fields.${name}], ${count}, ${item.high})`)};`);
        } else if (item.kind === "record" && !item.optional) {
            const scalars = Object.entries(item.parts).filter(([, part]) => varies(part) || !fixed);
            for (const [key, part] of scalars) {
                if (!["bool", "number", "text"].includes(part.kind) || part.optional) throw new Cannot(`a list of things that hold ${part.optional ? "what is sometimes missing" : `a ${part.kind}`} (${key})`);
            }
            const lines = [];
            for (const [key, part] of scalars) {
                const field = this.fieldName(`${name}_${key}`);
                let dtype = "u8", read, limits, value = "value";
                if (part.kind === "text") {
                    this.words[field] = [...part.words].sort();
                    read = `this.code(${JSON.stringify(field)}, one${property(key)})`;
                    limits = [0, this.words[field].length - 1];
                    value = `this.word(${JSON.stringify(field)}, value)`;
                } else {
                    [dtype, read] = scalar(part, `one${property(key)}`);
                    limits = limitsOf(part);
                    if (part.kind === "bool") value = "Boolean(value)";
                }
                this.push(field, dtype, [bound], path, padding(`${items}.map((one) => ${read})`, 1), widen(limits));
                lines.push([field, key, value]);
            }
            if (fixed && !seen.set) {
                for (const [field, key, value] of lines) put(`${path}.forEach((one, place) => { const value = fields.${field}[place]; one${property(key)} = ${value}; });`);
            } else if (item.plain && !seen.set && lines.length === Object.keys(item.parts).length) {
                const parts = lines.map(([field, key, value]) => `${JSON.stringify(key)}: ${value.replace("value", `fields.${field}[place]`)}`);
                put(`${path} = Array.from({ length: fields.${name}_count }, (_, place) => ({ ${parts.join(", ")} }));`);
            } else this.noPut = this.noPut || `\`${plain(path)}\` is a list of objects whose number changes`;
        } else throw new Cannot(`a list of ${item.kind === "list" ? "lists of varying length" : item.why ?? item.kind}`);
        if (!fixed) {
            this.push(`${name}_count`, "u32", [], path, seen.set ? `${path}.size` : `${path}.length`, [0, bound]);
            if (this.root === "env") this.sizes.push([name, seen.set ? `${path}.size` : `${path}.length`, bound]);
        }
    }
}

function fail(why) {
    throw new Cannot(why);
}

function property(key) {
    return /^[A-Za-z_$][\w$]*$/.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`;
}

function plain(path) {
    return path.replace(/^env\./, "");
}

function scalar(seen, path) {
    if (seen.kind === "bool") return ["u8", `Number(${path})`];
    if (!seen.whole) return ["f64", path];
    return [seen.low > -(2 ** 27) && seen.high < 2 ** 27 ? "i32" : "i64", `whole(${path})`];
}

/** What was seen, with room on both sides: what an episode reaches must pass, what only a type could hold must not. */
function limitsOf(seen) {
    if (seen.kind === "bool") return [0, 1];
    const { low, high } = seen;
    if (!seen.whole) return [low - 4 * (high - low), high + 4 * (high - low)];
    return [low >= 0 ? Math.min(low, 0) : 4 * low - 64, 4 * Math.max(high, 0) + 64];
}

function answerOf(play, { name, count, masked, speed }) {
    const state = new Fields("env");
    state.add("", "env", play.state, false);
    const views = new Fields("observation");
    const observed = play.observation;
    if (observed.kind === "record" || observed.kind === "list" || observed.kind === "view" || observed.kind === "number" || observed.kind === "bool") {
        const { kind, low, high } = observed;
        if (kind === "list" && low !== high) throw new Cannot("the observation can't be compared: a list whose length changes", "give it a fixed length");
        if (kind === "record") for (const [key, part] of Object.entries(observed.parts)) views.add(key, `observation${property(key)}`, part, true);
        else views.add("view", "observation", observed, true);
    }
    if (views.fields.length === 0 || views.leftOut.length > 0) {
        const why = views.leftOut.map(([what, reason]) => `${what}: ${reason}`).join("; ") || shown(observed);
        throw new Cannot(`the observation can't be compared: ${why}`, "observations are numbers, arrays, and objects of them");
    }
    if (state.fields.length === 0) throw new Cannot(`no property of ${name} changed`, "the state has to be in properties of the object, not in a module or a closure");
    const sizes = state.sizes;
    if (sizes.length > 0) state.push("capacity", "u32", [], "how often a list has outgrown its bound", "this.capacity", [0, 64]);
    const constants = Object.entries(play.state.parts).filter(([, part]) => !varies(part)).map(([key]) => key);
    return {
        class: name, module: "", path: "/", files: [], licence: "not stated", version: "", about: `the class ${name}`, make: [],
        action: { kind: "discrete", names: Array.from({ length: count }, (_, place) => `action_${place}`), mask: masked },
        width: 1, act: "actions[0]", canonical: state.fields, put: state.noPut ? null : state.puts, no_put: state.noPut,
        sizes, words: { ...state.words, ...views.words }, observation: views.fields, constants: constants.sort(), left_out: state.leftOut,
        pickled: "", surviving: [], level: "served", why: "", used: play.used, episode_steps_max: null,
        steps: play.steps, episodes: play.episodes, longest: play.longest, speed,
    };
}

const request = JSON.parse(readFileSync(0, "utf8"));
let answer;
try {
    answer = { ok: true, ...(await propose(request)) };
} catch (error) {
    if (error instanceof Cannot) answer = { ok: false, error: error.message, hint: error.hint, where: [] };
    else {
        const { error: text, where } = replyOf(error);
        answer = { ok: false, error: text, where, hint: "the environment itself failed; mend it, then type the same again" };
    }
}
writeFileSync(request.answer, JSON.stringify(answer));
process.exit(0);
