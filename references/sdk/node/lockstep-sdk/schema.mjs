/**
 * The `hello` of the judge, checked, and the layouts that follow from it: how values become the bytes of a record.
 *
 * Values that come as one flat array are written by a single loop over their types; only when a value doesn't fit does anybody
 * look up which field it belongs to.
 */

import { DIGEST } from "./digest.mjs";
import { Sites } from "./draws.mjs";
import { AdapterError, BadRequest, kindOf } from "./errors.mjs";

export const PROTOCOL = "lockstep/1";

const AGENTS_MAX = 16;
const SIZE_MAX = 256 << 20;
const DIGEST_SIZE = 8;

const U8 = 0, I8 = 1, U16 = 2, I16 = 3, U32 = 4, I32 = 5, U64 = 6, I64 = 7, F32 = 8, F64 = 9, REGION = 10;

/** [code, size, the array whose bytes are those of the wire]. */
const DTYPES = new Map([
    ["u8", [U8, 1, Uint8Array]], ["i8", [I8, 1, Int8Array]], ["u16", [U16, 2, Uint16Array]], ["i16", [I16, 2, Int16Array]],
    ["u32", [U32, 4, Uint32Array]], ["i32", [I32, 4, Int32Array]], ["u64", [U64, 8, BigUint64Array]],
    ["i64", [I64, 8, BigInt64Array]], ["f32", [F32, 4, Float32Array]], ["f64", [F64, 8, Float64Array]],
    ["region", [REGION, 1, null]],
]);

/** One named value, array or region of a record. */
export class Field {
    constructor(json, what) {
        this.name = take(json, "name", "string", what);
        this.dtype = take(json, "dtype", "string", what);
        const known = DTYPES.get(this.dtype);
        if (known === undefined) throw new BadRequest(`${what} \`${this.name}\` has the unknown dtype "${this.dtype}"`);
        [this.code, this.unit, this.array] = known;
        const shape = take(json, "shape", "array", what, []);
        this.count = 1;
        for (const size of shape) {
            if (!Number.isInteger(size) || size < 1 || size > SIZE_MAX) {
                throw new BadRequest(`${what} \`${this.name}\` has the size ${kindOf(size)} in its shape`);
            }
            this.count *= size;
        }
        this.region = this.code === REGION;
        if (this.region && shape.length !== 1) {
            throw new BadRequest(`${what} \`${this.name}\` is a region and needs a shape of one size`);
        }
        this.single = shape.length === 0;
        this.size = this.count * this.unit;
        if (this.size > SIZE_MAX) throw new BadRequest(`${what} \`${this.name}\` is larger than ${SIZE_MAX} bytes`);
        this.codes = new Uint8Array(this.region ? 1 : this.count).fill(this.code);
    }

    /** Writes a value that may be bytes, an array or nested arrays; returns where it ends. */
    put(target, at, value, digests, method) {
        if (this.region) {
            const end = putNumbers(this.codes, [value], target, at, digests, [this.size]);
            if (end < 0) throw this.wrong(value, method);
            return end;
        }
        if (this.knows(value)) return putBytes(target, at, bytesOf(value));
        const values = this.single ? [value] : flatten(value);
        if (values.length !== this.count) {
            throw new AdapterError(`${this.said(method)} has ${values.length} values, expected ${this.count}`, method);
        }
        const end = putNumbers(this.codes, values, target, at);
        if (end < 0) throw this.wrong(values[~end], method);
        return end;
    }

    /** The value in bytes of the state form: a number, an array of numbers, bytes; what has 64 bits is a BigInt. */
    get(view, at) {
        if (this.region) return new Uint8Array(view.buffer, view.byteOffset + at, this.size).slice();
        if (this.single) return getNumber(this.code, view, at);
        return Array.from({ length: this.count }, (_, place) => getNumber(this.code, view, at + place * this.unit));
    }

    /** Whether an array has the bytes that are wanted, so that not even those of a NaN change on the way. */
    knows(value) {
        if (this.single || !ArrayBuffer.isView(value) || value.byteLength !== this.size) return false;
        return isBytes(value) || (this.array !== null && value instanceof this.array);
    }

    wrong(value, method) {
        const bytes = this.region ? bytesOf(value) : null;
        if (bytes !== null) {
            return new AdapterError(`${this.said(method)} is ${bytes.length} bytes, expected ${this.size}`, method);
        }
        return new AdapterError(`${this.said(method)} is ${kindOf(value)}, which is no ${this.dtype}`, method);
    }

    said(method) {
        return `\`${this.name}\` from ${saidBy(method)}`;
    }
}

/** The fields of one part of a record, in order. */
export class Fields {
    constructor(json, what) {
        if (!Array.isArray(json)) throw new BadRequest(`${what} is not a list`);
        this.all = json.map((each, place) => new Field(each, `the field ${place} of ${what}`));
        this.names = this.all.map((field) => field.name);
        if (new Set(this.names).size !== this.names.length) throw new BadRequest(`${what} has two fields of one name`);
        const sum = (size) => this.all.reduce((total, field) => total + size(field), 0);
        this.stateSize = sum((field) => field.size);
        if (this.stateSize > SIZE_MAX) throw new BadRequest(`${what} is larger than ${SIZE_MAX} bytes`);
        this.recordSize = sum((field) => (field.region ? DIGEST_SIZE : field.size));
        // What digesting one region needs beside the record.
        this.regionSize = Math.max(0, ...this.all.filter((field) => field.region).map((field) => field.size));
        this.codes = Uint8Array.from(this.all.flatMap((field) => [...field.codes]));
        this.sizes = this.all.flatMap((field) => Array.from(field.codes, () => field.size));
        const arrays = new Set(this.all.map((field) => field.array));
        this.array = arrays.size === 1 ? this.all[0].array : null;
    }

    /** Writes the values that came as one flat array. */
    putFlat(target, at, values, digests, method) {
        if (values === null || typeof values !== "object" || values.length !== this.codes.length) {
            const given = values?.length === undefined ? kindOf(values) : `${values.length} values`;
            throw new AdapterError(
                `${saidBy(method)} gave ${given}, expected ${this.codes.length}: ${this.names.join(", ")}`,
                method,
            );
        }
        const end = putNumbers(this.codes, values, target, at, digests, this.sizes);
        if (end < 0) throw this.wrong(~end, values[~end], method);
        return end;
    }

    /** Writes the values of an object by field name. */
    putNamed(target, at, object, digests, method) {
        if (object === null || typeof object !== "object") {
            throw new AdapterError(`${saidBy(method)} gave ${kindOf(object)}, expected an object by field name`, method);
        }
        const given = Object.keys(object);
        const isMissing = (name) => !Object.hasOwn(object, name);
        if (given.length !== this.all.length || this.names.some(isMissing)) {
            const missing = this.names.filter(isMissing).map((name) => `lacks \`${name}\``);
            const extra = given.filter((name) => !this.names.includes(name));
            const said = [...missing, ...extra.map((name) => `has \`${name}\`, which the manifest does not`)];
            throw new AdapterError(`${saidBy(method)} ${said.join(", ")}`, method);
        }
        for (const field of this.all) at = field.put(target, at, object[field.name], digests, method);
        return at;
    }

    /** From the state form to an object by field name. */
    get(bytes) {
        const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
        const values = Object.create(null);
        let at = 0;
        for (const field of this.all) {
            values[field.name] = field.get(view, at);
            at += field.size;
        }
        return values;
    }

    wrong(place, value, method) {
        let field = 0;
        for (let at = place - this.all[0].codes.length; at >= 0; at -= this.all[field].codes.length) field++;
        return this.all[field].wrong(value, method);
    }
}

/** What a token may mean. */
class Action {
    constructor(json) {
        this.kind = take(json, "kind", "string", "action");
        if (this.kind === "discrete") {
            this.count = take(json, "count", "integer", "action");
            this.extra = take(json, "extra", "integer", "action", 0);
            this.mask = take(json, "mask", "boolean", "action", false);
            if (this.count < 1 || this.count > 1 << 20 || this.extra < 0 || this.extra > 2 ** 31) {
                throw new BadRequest("`count` or `extra` of action is out of range");
            }
        } else if (this.kind === "continuous") {
            this.count = 0;
            this.extra = 0;
            this.mask = false;
        } else {
            throw new BadRequest(`action has the unknown kind ${JSON.stringify(this.kind)}`);
        }
        this.maskWords = this.mask ? Math.ceil(this.count / 32) : 0;
    }
}

/** What an adapter is made from. `options`, `files` and `settings` come from the manifest and the user. */
export class Setup {
    constructor(hello) {
        if (!isObject(hello)) throw new BadRequest("hello is not a JSON object");
        if (hello.protocol !== PROTOCOL) {
            throw new BadRequest(`the judge speaks ${JSON.stringify(hello.protocol)}, this side speaks "${PROTOCOL}"`);
        }
        this.environment = take(hello, "environment", "string", "hello");
        const configuration = take(hello, "configuration", "object", "hello");
        this.configuration = take(configuration, "name", "string", "configuration", "");
        this.configurationHash = take(configuration, "hash", "string", "configuration", "");
        this.options = take(configuration, "options", "object", "configuration", {});
        this.settings = take(hello, "settings", "object", "hello", {});
        this.files = take(hello, "files", "object", "hello", {});
        this.lanes = take(hello, "lanes", "integer", "hello");
        this.agents = take(hello, "agents", "integer", "hello", 1);
        this.width = take(hello, "width", "integer", "hello", 1);
        const within = (value, most) => value >= 1 && value <= most;
        if (!within(this.lanes, 0xffffffff) || !within(this.agents, AGENTS_MAX) || !within(this.width, 1 << 16)) {
            throw new BadRequest("`lanes`, `agents` or `width` is out of range");
        }
        this.action = new Action(take(hello, "action", "object", "hello"));
        const draws = take(hello, "draws", "object", "hello", {});
        this.drawLevel = take(draws, "level", "string", "draws", "served");
        this.sites = new Sites(names(draws.sites ?? [], "`sites`"), take(draws, "named", "boolean", "draws", true));
        this.grains = take(hello, "grains", "array", "hello", []).map((grain) => {
            const name = take(grain, "name", "string", "a grain");
            const row = new Fields(take(grain, "row", "array", `grain \`${name}\``), `grain \`${name}\``);
            if (row.regionSize > 0) throw new BadRequest(`grain \`${name}\` has a region in its row`);
            return { name, row };
        });
        this.canonical = new Fields(take(hello, "canonical", "array", "hello"), "canonical");
        this.observation = new Fields(take(hello, "observation", "array", "hello", []), "observation");
        if (this.observation.regionSize > 0) throw new BadRequest("observation has a region");
        this.reward = take(hello, "reward", "string", "hello");
        const reward = DTYPES.get(this.reward);
        if (reward === undefined || this.reward === "region") {
            throw new BadRequest(`reward has the unknown dtype ${JSON.stringify(this.reward)}`);
        }
        this.rewardSize = reward[1];
        const resets = take(hello, "resets", "string", "hello", "harness");
        if (resets !== "harness" && resets !== "reference") throw new BadRequest(`\`resets\` is ${JSON.stringify(resets)}`);
        this.harnessResets = resets === "harness";
        this.episodeStepsMax = hello.episode_steps_max ?? null;
        if (this.episodeStepsMax !== null && !Number.isInteger(this.episodeStepsMax)) {
            throw new BadRequest("`episode_steps_max` is neither a number nor null");
        }
        const offered = names(hello.digests ?? [], "`digests`");
        if (!offered.includes(DIGEST)) throw new BadRequest(`of the digests [${offered}] this side has none, only ${DIGEST}`);
        this.observationSize = this.agents * this.observation.stateSize;
        if (this.observationSize > SIZE_MAX) throw new BadRequest(`observation is larger than ${SIZE_MAX} bytes`);
        this.observationCodes = repeated(this.observation.codes, this.agents);
        this.rewardCodes = repeated([reward[0]], this.agents);
    }

    reply(adapter, capabilities) {
        return {
            protocol: PROTOCOL,
            environment: this.environment,
            name: String(adapter.name),
            version: String(adapter.version ?? "0"),
            configuration_hash: this.configurationHash,
            digest: DIGEST,
            canonical_bytes: this.canonical.recordSize,
            state_bytes: this.canonical.stateSize,
            observation_bytes: this.observation.stateSize,
            mask_bytes: 4 * this.action.maskWords,
            reward_bytes: this.rewardSize,
            row_bytes: this.grains.map(({ row }) => row.stateSize),
            capabilities,
        };
    }
}

/**
 * Writes numbers, each in the form of its code; a region, whose size is in `sizes`, becomes its digest or its bytes.
 * Returns where they end, or `~place` for the first value that doesn't fit. The target has room, for digests also for one
 * region behind them.
 */
export function putNumbers(codes, values, target, at, digests = false, sizes = null) {
    const { view } = target;
    for (let place = 0; place < codes.length; place++) {
        const value = values[place];
        switch (codes[place]) {
            case U32:
                if (value >>> 0 !== value) return ~place;
                view.setUint32(at, value, true);
                at += 4;
                break;
            case I32:
                if ((value | 0) !== value) return ~place;
                view.setInt32(at, value, true);
                at += 4;
                break;
            case F32: {
                const single = Math.fround(value);
                if (typeof value !== "number" || (Math.abs(single) === Infinity && single !== value)) return ~place;
                view.setFloat32(at, single, true);
                at += 4;
                break;
            }
            case F64:
                if (typeof value !== "number") return ~place;
                view.setFloat64(at, value, true);
                at += 8;
                break;
            case U8:
                if ((value & 0xff) !== value) return ~place;
                view.setUint8(at, value);
                at += 1;
                break;
            case I8:
                if ((value << 24) >> 24 !== value) return ~place;
                view.setInt8(at, value);
                at += 1;
                break;
            case U16:
                if ((value & 0xffff) !== value) return ~place;
                view.setUint16(at, value, true);
                at += 2;
                break;
            case I16:
                if ((value << 16) >> 16 !== value) return ~place;
                view.setInt16(at, value, true);
                at += 2;
                break;
            case U64:
                if (typeof value === "bigint" ? BigInt.asUintN(64, value) !== value : !Number.isSafeInteger(value) || value < 0) {
                    return ~place;
                }
                putWide(view, at, value);
                at += 8;
                break;
            case I64:
                if (typeof value === "bigint" ? BigInt.asIntN(64, value) !== value : !Number.isSafeInteger(value)) return ~place;
                putWide(view, at, value);
                at += 8;
                break;
            default: {
                const bytes = bytesOf(value);
                if (bytes === null || bytes.length !== sizes[place]) return ~place;
                at = digests ? putDigest(target, at, bytes) : putBytes(target, at, bytes);
            }
        }
    }
    return at;
}

/** Bytes, a flat array, or one item for each agent. The target has room. */
export function putObservations(setup, target, at, written) {
    const { observation, agents } = setup;
    if (isBytes(written) || (observation.array !== null && written instanceof observation.array)) {
        if (written.byteLength === setup.observationSize) return putBytes(target, at, bytesOf(written));
    }
    if (written === null || typeof written !== "object") {
        throw new AdapterError(`observations is ${kindOf(written)}, expected an array`);
    }
    const items = typeof written.length === "number" ? written : [...(written[Symbol.iterator]?.() ?? [written])];
    if (items.length === setup.observationCodes.length && items.length !== agents) {
        const end = putNumbers(setup.observationCodes, items, target, at);
        if (end < 0) throw observation.wrong(~end % observation.codes.length, items[~end]);
        return end;
    }
    if (items.length !== agents) {
        throw new AdapterError(
            `observations has ${items.length} items, expected one for each of ${agents} agents ` +
                `or ${setup.observationCodes.length} numbers`,
        );
    }
    for (let agent = 0; agent < agents; agent++) at = putObservation(observation, target, at, items[agent]);
    return at;
}

function putObservation(observation, target, at, item) {
    const isPlain = isObject(item) && !ArrayBuffer.isView(item) && item[Symbol.iterator] === undefined;
    if (isPlain) return observation.putNamed(target, at, item, false);
    if (isBytes(item) || (observation.array !== null && item instanceof observation.array)) {
        if (item.byteLength === observation.stateSize) {
            return putBytes(target, at, bytesOf(item));
        }
    }
    const values = flatten(item);
    if (values.length !== observation.codes.length) {
        throw new AdapterError(`an observation has ${values.length} values, expected ${observation.codes.length}`);
    }
    const end = putNumbers(observation.codes, values, target, at);
    if (end < 0) throw observation.wrong(~end, values[~end]);
    return end;
}

/** Nested arrays as one flat one. */
function flatten(value) {
    if (ArrayBuffer.isView(value) && !(value instanceof DataView)) return value;
    if (Array.isArray(value)) return value.some(isObject) ? value.flatMap((each) => Array.from(flatten(each))) : value;
    return isObject(value) && value[Symbol.iterator] ? [...value] : [value];
}

function putBytes(target, at, bytes) {
    target.bytes.set(bytes, at);
    return at + bytes.length;
}

function putWide(view, at, value) {
    if (typeof value === "bigint") {
        view.setBigUint64(at, BigInt.asUintN(64, value), true);
    } else {
        view.setUint32(at, value, true);
        view.setInt32(at + 4, Math.floor(value / 2 ** 32), true);
    }
}

function getNumber(code, view, at) {
    switch (code) {
        case U8: return view.getUint8(at);
        case I8: return view.getInt8(at);
        case U16: return view.getUint16(at, true);
        case I16: return view.getInt16(at, true);
        case U32: return view.getUint32(at, true);
        case I32: return view.getInt32(at, true);
        case U64: return view.getBigUint64(at, true);
        case I64: return view.getBigInt64(at, true);
        case F32: return view.getFloat32(at, true);
        default: return view.getFloat64(at, true);
    }
}

/** The digest of bytes, which are copied behind it for a moment. */
function putDigest(target, at, bytes) {
    const end = at + DIGEST_SIZE;
    target.bytes.set(bytes, end);
    target.digest(end, bytes.length, at);
    return end;
}

function bytesOf(value) {
    if (value instanceof Uint8Array) return value;
    if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
    return value instanceof ArrayBuffer ? new Uint8Array(value) : null;
}

function isBytes(value) {
    return value instanceof Uint8Array || value instanceof Uint8ClampedArray || value instanceof DataView;
}

function isObject(value) {
    return typeof value === "object" && value !== null;
}

function repeated(codes, times) {
    const all = new Uint8Array(codes.length * times);
    for (let place = 0; place < times; place++) all.set(codes, place * codes.length);
    return all;
}

function saidBy(method) {
    // Observations are a property; everything else comes from a method.
    return method === undefined ? "observations" : `${method.name}()`;
}

const KINDS = {
    string: (value) => typeof value === "string",
    integer: (value) => Number.isInteger(value),
    boolean: (value) => typeof value === "boolean",
    array: (value) => Array.isArray(value),
    object: (value) => isObject(value) && !Array.isArray(value),
};

function take(json, key, kind, what, otherwise) {
    if (!KINDS.object(json)) throw new BadRequest(`${what} is not a JSON object`);
    const value = Object.hasOwn(json, key) ? json[key] : otherwise;
    if (value === undefined) throw new BadRequest(`${what} lacks \`${key}\``);
    if (!KINDS[kind](value)) throw new BadRequest(`\`${key}\` of ${what} is ${kindOf(value)}`);
    return value;
}

function names(value, what) {
    if (!Array.isArray(value) || !value.every((name) => typeof name === "string")) {
        throw new BadRequest(`${what} is not a list of strings`);
    }
    return value;
}
