/**
 * Frames of `lockstep/1`: reading requests from one descriptor and writing replies to another.
 *
 * A broken frame can't be answered, because nobody knows where the next one starts; it ends the process (`Broken`).
 */

import { readSync, writeSync } from "node:fs";

import { BadRequest } from "./errors.mjs";

export const BODY_SIZE_MAX = 256 << 20;
export const HEADER_SIZE = 16;

export const VERBS = {
    hello: 1, reset: 2, step_many: 3, snapshot: 4, restore: 5, inject: 6, draws: 7, probe: 8, explain: 9, close: 10,
};
export const OK = 0;
export const ERROR = 1;

const MAGIC = 0x31534b4c; // "LKS1"
const PART_SIZE = 1 << 20;

/** The stream is no longer a sequence of frames. */
export class Broken extends Error {}

/** Both ends of the talk with the judge; works on sockets and pipes, blocking or not. */
export class Channel {
    constructor(source, target) {
        this.source = source;
        this.target = target;
        this.header = new Uint8Array(HEADER_SIZE);
        this.body = new Uint8Array(1 << 16);
    }

    /** The next request, or null at the end of the stream. Its body is good until the next call. */
    read() {
        if (!this.fill(this.header, 0, HEADER_SIZE)) return null;
        const view = new DataView(this.header.buffer);
        const magic = view.getUint32(0, true);
        const size = view.getUint32(4, true);
        if (magic !== MAGIC) {
            throw new Broken(`a frame begins with 0x${magic.toString(16).padStart(8, "0")} instead of "LKS1"`);
        }
        if (size > BODY_SIZE_MAX) throw new Broken(`a frame announces ${size} bytes, ${BODY_SIZE_MAX} are allowed`);
        // Grown piece by piece: a header that lies about its size must not make this side allocate it.
        for (let at = 0; at < size; ) {
            const end = Math.min(size, at + PART_SIZE);
            if (end > this.body.length) {
                const larger = new Uint8Array(Math.max(end, Math.min(size, 2 * this.body.length)));
                larger.set(this.body.subarray(0, at));
                this.body = larger;
            }
            if (!this.fill(this.body, at, end)) return null;
            at = end;
        }
        return {
            sequence: view.getUint32(8, true),
            verb: view.getUint8(12),
            status: view.getUint8(13),
            reserved: view.getUint16(14, true),
            body: this.body.subarray(0, size),
        };
    }

    /** Writes a reply, whose bytes have room for the header in front. */
    write(sequence, verb, status, reply) {
        const { view } = reply;
        view.setUint32(0, MAGIC, true);
        view.setUint32(4, reply.end - HEADER_SIZE, true);
        view.setUint32(8, sequence, true);
        view.setUint8(12, verb);
        view.setUint8(13, status);
        view.setUint16(14, 0, true);
        for (let at = 0; at < reply.end; ) {
            at += patiently(() => writeSync(this.target, reply.bytes, at, reply.end - at));
        }
    }

    fill(bytes, begin, end) {
        for (let at = begin; at < end; ) {
            const size = patiently(() => readSync(this.source, bytes, at, end - at, null));
            if (size === 0) return false;
            at += size;
        }
        return true;
    }
}

/** Again and again while a descriptor that doesn't block has nothing to read or no room. */
function patiently(call) {
    for (;;) {
        try {
            return call();
        } catch (error) {
            if (error.code === "EOF") return 0;
            if (error.code !== "EAGAIN" && error.code !== "EINTR") throw error;
            if (error.code === "EAGAIN") Atomics.wait(NEVER, 0, 0, 1);
        }
    }
}

const NEVER = new Int32Array(new SharedArrayBuffer(4));

/** Walks through the binary body of a request; every read is checked against its end. */
export class Cursor {
    constructor(body) {
        this.body = body;
        this.view = new DataView(body.buffer, body.byteOffset, body.length);
        this.at = 0;
    }

    u32(what) {
        const at = this.skip(4, what);
        return this.view.getUint32(at, true);
    }

    /** A part of the body, not a copy of it. */
    bytes(size, what) {
        const at = this.skip(size, what);
        return this.body.subarray(at, at + size);
    }

    numbers(count, what) {
        const at = this.skip(4 * count, what);
        const values = new Array(count);
        for (let place = 0; place < count; place++) values[place] = this.view.getUint32(at + 4 * place, true);
        return values;
    }

    skip(size, what) {
        const at = this.at;
        if (at + size > this.body.length) throw new BadRequest(`the body ends before ${what}`);
        this.at = at + size;
        return at;
    }

    left() {
        return this.body.length - this.at;
    }

    finish() {
        if (this.left() > 0) throw new BadRequest(`${this.left()} bytes too many at the end of the body`);
    }
}

/** The JSON of a body. */
export function jsonOf(body) {
    try {
        return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
    } catch (error) {
        throw new BadRequest(`the body is no JSON: ${error.message}`);
    }
}
