/**
 * XXH64, the one digest of this side, in WebAssembly, on a page of memory that records are written to directly.
 *
 * A number of JavaScript holds 53 bits and its BigInt allocates, so digests and seeds travel as pairs of u32 in memory.
 * (BLAKE2b with an output of 8 bytes is not what `node:crypto` gives: it has only the one of 64, which is another function.)
 */

import { assemble } from "./assembler.mjs";
import { Bytes } from "./bytes.mjs";

export const DIGEST = "xxh64";

const PRIME_1 = 0x9e3779b185ebca87n;
const PRIME_2 = 0xc2b2ae3d27d4eb4fn;
const PRIME_3 = 0x165667b19e3779f9n;
const PRIME_4 = 0x85ebca77c2b2ae63n;
const PRIME_5 = 0x27d4eb2f165667c5n;

const rotated = (value, bits) => `${value} i64.const ${bits} i64.rotl`;
const times = (value, prime) => `${value} i64.const ${prime} i64.mul`;
const plus = (value, prime) => `${value} i64.const ${prime} i64.add`;
const round = (sum, word) => times(rotated(`${sum} ${times(word, PRIME_2)} i64.add`, 31), PRIME_1);
const word = (offset) => `local.get at i64.load ${offset}`;
const skip = (size) => `local.get at i32.const ${size} i32.add local.set at`;
const merged = (sum) => `
    local.get hash ${round("i64.const 0", `local.get ${sum}`)} i64.xor local.set hash
    ${plus(times("local.get hash", PRIME_1), PRIME_4)} local.set hash`;
const folded = (bits) => `local.get hash local.get hash i64.const ${bits} i64.shr_u i64.xor local.set hash`;

const XXH64 = `
    local.get seed_at i64.load 0 local.set seed
    local.get at local.get size i32.add local.set end
    local.get size i32.const 32 i32.ge_u
    if
        ${plus(plus("local.get seed", PRIME_1), PRIME_2)} local.set a
        ${plus("local.get seed", PRIME_2)} local.set b
        local.get seed local.set c
        local.get seed i64.const ${PRIME_1} i64.sub local.set d
        loop
            ${round("local.get a", word(0))} local.set a
            ${round("local.get b", word(8))} local.set b
            ${round("local.get c", word(16))} local.set c
            ${round("local.get d", word(24))} local.set d
            ${skip(32)}
            local.get end local.get at i32.sub i32.const 32 i32.ge_u br_if 0
        end
        ${rotated("local.get a", 1)} ${rotated("local.get b", 7)} i64.add
        ${rotated("local.get c", 12)} i64.add ${rotated("local.get d", 18)} i64.add local.set hash
        ${merged("a")} ${merged("b")} ${merged("c")} ${merged("d")}
    else
        ${plus("local.get seed", PRIME_5)} local.set hash
    end
    local.get hash local.get size i64.extend_i32_u i64.add local.set hash
    block
        loop
            local.get end local.get at i32.sub i32.const 8 i32.lt_u br_if 1
            local.get hash ${round("i64.const 0", word(0))} i64.xor local.set hash
            ${plus(times(rotated("local.get hash", 27), PRIME_1), PRIME_4)} local.set hash
            ${skip(8)}
            br 0
        end
    end
    local.get end local.get at i32.sub i32.const 4 i32.ge_u
    if
        local.get hash ${times("local.get at i64.load32_u 0", PRIME_1)} i64.xor local.set hash
        ${plus(times(rotated("local.get hash", 23), PRIME_2), PRIME_3)} local.set hash
        ${skip(4)}
    end
    block
        loop
            local.get at local.get end i32.ge_u br_if 1
            local.get hash ${times("local.get at i64.load8_u 0", PRIME_5)} i64.xor local.set hash
            ${times(rotated("local.get hash", 11), PRIME_1)} local.set hash
            ${skip(1)}
            br 0
        end
    end
    ${folded(33)} ${times("local.get hash", PRIME_2)} local.set hash
    ${folded(29)} ${times("local.get hash", PRIME_3)} local.set hash
    ${folded(32)}
    local.get to local.get hash i64.store 0`;

const MODULE = new WebAssembly.Module(
    assemble(
        { at: "i32", size: "i32", seed_at: "i32", to: "i32" },
        { end: "i32", seed: "i64", hash: "i64", a: "i64", b: "i64", c: "i64", d: "i64" },
        XXH64,
    ),
);

/** Where the page keeps a seed, the digest of it, and eight zeros. */
const SEED_AT = 0;
const RESULT_AT = 8;
const ZERO_AT = 16;

const WASM_PAGE_SIZE = 65536;

/** Memory for the records of a window, from `START` on, and what digests it. */
export class Page extends Bytes {
    static START = 32;

    constructor() {
        const { memory, run } = new WebAssembly.Instance(MODULE).exports;
        super(memory.buffer);
        this.memory = memory;
        this.run = run;
        this.end = Page.START;
    }

    /** Writes the digest, seeded with 0, of some bytes of this page to another place of it. */
    digest(begin, size, to) {
        this.run(begin, size, ZERO_AT, to);
    }

    /** Digests all that was written, seeded with the chain of a lane, which it becomes, and forgets it. */
    close(lane) {
        const { view } = this;
        view.setUint32(SEED_AT, lane.chainLow, true);
        view.setUint32(SEED_AT + 4, lane.chainHigh, true);
        this.run(Page.START, this.end - Page.START, SEED_AT, RESULT_AT);
        lane.chainLow = view.getUint32(RESULT_AT, true);
        lane.chainHigh = view.getUint32(RESULT_AT + 4, true);
        this.end = Page.START;
    }

    larger(size) {
        // Growing may move the memory, but keeps what is in it.
        this.memory.grow(Math.ceil((Math.max(size, 2 * this.bytes.length) - this.bytes.length) / WASM_PAGE_SIZE));
        return this.memory.buffer;
    }
}
