/** Bytes that grow at their end: the body of a reply, and (with a memory of its own) the page of records. */

import { BadRequest } from "./errors.mjs";

export class Bytes {
    /** @param {ArrayBuffer} buffer */
    constructor(buffer) {
        this.end = 0;
        this.use(buffer);
    }

    use(buffer) {
        this.bytes = new Uint8Array(buffer);
        this.view = new DataView(buffer);
    }

    /** Makes room for so many bytes after the end; afterwards `bytes` and `view` may be others. */
    reserve(size) {
        if (this.end + size > this.bytes.length) this.use(this.larger(this.end + size));
    }

    u32(value) {
        this.reserve(4);
        this.view.setUint32(this.end, value, true);
        this.end += 4;
    }

    raw(bytes) {
        this.reserve(bytes.length);
        this.bytes.set(bytes, this.end);
        this.end += bytes.length;
    }

    larger(size) {
        const bytes = new Uint8Array(Math.max(size, 2 * this.bytes.length));
        bytes.set(this.bytes.subarray(0, this.end));
        return bytes.buffer;
    }
}

/** The body of a reply, with room for the header of its frame in front. */
export class Reply extends Bytes {
    constructor(headerSize, bodySizeMax) {
        super(new ArrayBuffer(1 << 16));
        this.headerSize = headerSize;
        this.bodySizeMax = bodySizeMax;
        this.clear();
    }

    clear() {
        this.end = this.headerSize;
    }

    larger(size) {
        if (size > this.headerSize + this.bodySizeMax) {
            throw new BadRequest(`the reply would have more than ${this.bodySizeMax} bytes`);
        }
        return super.larger(size);
    }
}
