/** Serves `lockstep/1`: reads requests, has the lanes do them, and answers each one, with an error if need be. */

import { Reply } from "./bytes.mjs";
import { AdapterError, BadRequest, Refused, replyOf } from "./errors.mjs";
import { DIGEST, Lane, Layout, STATE, Start } from "./lane.mjs";
import { Setup } from "./schema.mjs";
import { load, save } from "./snapshot.mjs";
import { BODY_SIZE_MAX, Broken, Channel, Cursor, ERROR, HEADER_SIZE, OK, VERBS, jsonOf } from "./wire.mjs";

const NO_GRAIN = 0xffffffff;
const WINDOW_MAX = 64;
const STACK_FRAMES = 64;

/** Answers until `close` or the end of the stream; returns the exit status. */
export function serve(adapter, source = 3, target = 4) {
    const channel = new Channel(source, target);
    const session = new Session(adapter);
    Error.stackTraceLimit = STACK_FRAMES;
    const exit = process.exit;
    // What an environment calls in a step must not end the conversation.
    process.exit = (code) => {
        throw new Error(`process.exit(${code ?? ""}) was called`);
    };
    try {
        for (;;) {
            const frame = channel.read();
            if (frame === null) return 0;
            const status = session.answer(frame);
            channel.write(frame.sequence, frame.verb, status, session.reply);
            if (frame.verb === VERBS.close && status === OK) return 0;
        }
    } catch (error) {
        if (error.code === "EPIPE" || error.code === "ECONNRESET") return 0;
        if (!(error instanceof Broken)) throw error;
        console.error(`error: ${error.message}`);
        return 1;
    } finally {
        process.exit = exit;
    }
}

/** What lasts from `hello` to `close`: the setup and the lanes. */
export class Session {
    constructor(adapter) {
        this.adapter = adapter;
        this.setup = null;
        this.layout = null;
        // Made when first needed: an environment may take long to start, and not every lane is always used.
        this.lanes = new Map();
        this.reply = new Reply(HEADER_SIZE, BODY_SIZE_MAX);
        this.verbs = new Map([
            [VERBS.reset, this.reset], [VERBS.step_many, this.stepMany], [VERBS.snapshot, this.snapshot],
            [VERBS.restore, this.restore], [VERBS.inject, this.inject], [VERBS.draws, this.draws],
            [VERBS.probe, this.probe], [VERBS.explain, this.explain], [VERBS.close, this.close],
        ]);
    }

    /** The status of the reply, whose body is in `reply`; whatever goes wrong becomes an error reply. */
    answer({ verb, status, reserved, body }) {
        this.reply.clear();
        try {
            if (status !== 0 || reserved !== 0) throw new BadRequest("the header of a request has a status or reserved bits");
            if (verb === VERBS.hello) this.hello(body);
            else if (!this.verbs.has(verb)) throw new BadRequest(`there is no verb ${verb}`);
            else if (this.setup === null && verb !== VERBS.close) throw new BadRequest("the first request must be hello");
            else this.verbs.get(verb).call(this, body);
            return OK;
        } catch (error) {
            this.reply.clear();
            this.json(replyOf(error));
            return ERROR;
        }
    }

    hello(body) {
        if (this.setup !== null) throw new BadRequest("hello came a second time");
        const { adapter } = this;
        const setup = new Setup(jsonOf(body));
        const has = (name) => name in adapter.prototype;
        if (setup.action.mask && !has("legal")) throw new Refused(`the manifest has a mask, but ${adapter.name} has no \`legal\``);
        if (!has("record") && !has("canonical")) throw new Refused(`${adapter.name} has neither \`canonical\` nor \`record\``);
        this.layout = new Layout(adapter, setup);
        this.setup = setup;
        this.json(
            setup.reply(adapter, {
                snapshot: true,
                inject: has("inject") ? (adapter.injects ?? "full") : "none",
                probe: Object.keys(adapter.probes ?? {}).sort(),
                explain: false,
                draw_sites: setup.sites.named,
            }),
        );
    }

    reset(body) {
        const cursor = new Cursor(body);
        const mode = modeOf(cursor);
        const count = cursor.u32("count");
        for (let place = 0; place < count; place++) {
            const number = cursor.u32("a lane");
            const start = startOf(cursor, cursor.u32("episode"), 0);
            const list = listOf(cursor);
            this.lane(number).reset(start, list, mode, this.reply);
        }
        cursor.finish();
    }

    stepMany(body) {
        const { setup, layout } = this;
        const cursor = new Cursor(body);
        const mode = modeOf(cursor);
        const place = cursor.u32("grain");
        const window = cursor.u32("window");
        const first = cursor.u32("lane_first");
        const laneCount = cursor.u32("lane_count");
        const stepCount = cursor.u32("step_count");
        if (place !== NO_GRAIN && place >= setup.grains.length) throw new BadRequest(`there is no grain ${place}`);
        if (window < 1 || window > WINDOW_MAX) throw new BadRequest(`the window ${window} is not 1 to ${WINDOW_MAX}`);
        if (first + laneCount > setup.lanes) {
            throw new BadRequest(`there are ${setup.lanes} lanes, ${first + laneCount} were asked for`);
        }
        const expected = 4 * stepCount * layout.stride * laneCount;
        if (cursor.left() !== expected) throw new BadRequest(`${cursor.left()} bytes of tokens, expected ${expected}`);
        if (stepCount === 0 && laneCount > 1 << 20) throw new BadRequest(`${laneCount} lanes without a step`);
        const lanes = [];
        for (let number = first; number < first + laneCount; number++) lanes.push(this.ready(number));
        const grain = place === NO_GRAIN ? null : setup.grains[place];
        let at = cursor.at;
        for (const lane of lanes) at = lane.play(cursor.view, at, stepCount, window, mode, grain, this.reply);
    }

    snapshot(body) {
        const cursor = new Cursor(body);
        const numbers = cursor.numbers(cursor.u32("count"), "lanes");
        cursor.finish();
        for (const lane of numbers.map((number) => this.ready(number))) {
            const blob = save(lane);
            this.reply.u32(blob.length);
            this.reply.raw(blob);
        }
    }

    restore(body) {
        const cursor = new Cursor(body);
        const count = cursor.u32("count");
        for (let place = 0; place < count; place++) {
            const number = cursor.u32("a lane");
            const blob = cursor.bytes(cursor.u32("a size"), "a snapshot");
            load(this.lane(number), blob);
        }
        cursor.finish();
    }

    inject(body) {
        const { setup } = this;
        if (!("inject" in this.adapter.prototype)) throw new Refused(`${this.adapter.name} has no \`inject\``);
        const cursor = new Cursor(body);
        const mode = modeOf(cursor);
        const count = cursor.u32("count");
        for (let place = 0; place < count; place++) {
            const number = cursor.u32("a lane");
            const episode = cursor.u32("episode");
            const elapsed = cursor.u32("elapsed");
            const index = cursor.u32("draw_index");
            const start = startOf(cursor, episode, elapsed);
            const list = listOf(cursor);
            const state = sized(cursor, setup.canonical.stateSize, "the state form");
            const observations = sized(cursor, setup.observationSize, "the observations");
            this.lane(number).inject(start, index, list, state, observations, mode, this.reply);
        }
        cursor.finish();
    }

    draws(body) {
        const { reply } = this;
        const cursor = new Cursor(body);
        const lane = this.ready(cursor.u32("lane"));
        const op = cursor.u32("op");
        if (op > 1) throw new BadRequest(`draws has no op ${op}`);
        if (op === 1) {
            const values = cursor.numbers(cursor.u32("n"), "values");
            cursor.finish();
            lane.draws.append(values);
            return;
        }
        cursor.finish();
        reply.u32(lane.draws.count);
        reply.reserve(lane.draws.size);
        reply.end = lane.draws.copy(reply.view, reply.end, 0);
    }

    probe(body) {
        const request = jsonOf(body);
        const probes = this.adapter.probes ?? {};
        const name = request?.function;
        if (typeof name !== "string") throw new BadRequest("probe lacks `function`");
        if (!Object.hasOwn(probes, name)) throw new Refused(`there is no function ${JSON.stringify(name)} to probe`);
        const output = probes[name](request.input);
        let text;
        try {
            text = JSON.stringify(output);
        } catch (error) {
            throw new AdapterError(`the output of the probe \`${name}\` is no JSON: ${error.message}`, probes[name]);
        }
        if (text === undefined) throw new AdapterError(`the output of the probe \`${name}\` is no JSON`, probes[name]);
        this.json({ output });
    }

    explain(body) {
        const request = jsonOf(body);
        const isNumber = (value) => Number.isInteger(value) && value >= 0 && value <= 0xffffffff;
        if (!isNumber(request?.lane) || !Array.isArray(request.tokens) || !request.tokens.every(isNumber)) {
            throw new BadRequest("explain needs a `lane` and a list of `tokens`");
        }
        if (request.tokens.length !== this.layout.stride) {
            throw new BadRequest(`explain needs the ${this.layout.stride} tokens of one step`);
        }
        throw new Refused("the SDK for Node has no `explain`");
    }

    close(body) {
        if (body.length > 0) throw new BadRequest("close has a body");
    }

    lane(number) {
        let lane = this.lanes.get(number);
        if (lane === undefined) {
            if (number >= this.setup.lanes) throw new BadRequest(`there is no lane ${number} of ${this.setup.lanes}`);
            lane = new Lane(this.layout, number);
            this.lanes.set(number, lane);
        }
        return lane;
    }

    ready(number) {
        if (number >= this.setup.lanes) throw new BadRequest(`there is no lane ${number} of ${this.setup.lanes}`);
        const lane = this.lanes.get(number);
        if (lane === undefined || !lane.ready) {
            throw new BadRequest(`the lane ${number} needs a reset, a restore or an injection first`);
        }
        return lane;
    }

    json(value) {
        this.reply.raw(new TextEncoder().encode(JSON.stringify(value)));
    }
}

function modeOf(cursor) {
    const mode = cursor.u32("mode");
    if (mode < DIGEST || mode > STATE) throw new BadRequest(`there is no mode ${mode}`);
    return mode;
}

function startOf(cursor, episode, elapsed) {
    const [seedLow, seedHigh, streamLow, streamHigh] = cursor.numbers(4, "the seeds");
    return new Start(seedLow, seedHigh, streamLow, streamHigh, episode, elapsed);
}

/** The list of a listed source, null for a seeded one. */
function listOf(cursor) {
    const source = cursor.u32("the source of the draws");
    const count = cursor.u32("n");
    if (source > 1 || (source === 0 && count > 0)) {
        throw new BadRequest(`the source ${source} with ${count} values is neither seeded nor listed`);
    }
    const values = cursor.numbers(count, "the list of draws");
    return source === 1 ? values : null;
}

function sized(cursor, expected, what) {
    const size = cursor.u32(`the size of ${what}`);
    if (size !== expected) throw new BadRequest(`${what} has ${size} bytes, expected ${expected}`);
    return cursor.bytes(size, what);
}
