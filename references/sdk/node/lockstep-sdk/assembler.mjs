/**
 * A small assembler for WebAssembly: enough of its text form to write one function on 64-bit integers, which JavaScript
 * itself doesn't have. It exists so that what runs is readable here instead of being a blob.
 *
 * The text is a sequence of instructions for a stack machine, operands after their instruction; locals have names.
 */

/** [opcode, operand]; the operand of a load or store is its offset, that of a branch how many blocks it leaves. */
const INSTRUCTIONS = {
    block: [0x02, "block"], loop: [0x03, "block"], if: [0x04, "block"], else: [0x05], end: [0x0b], br: [0x0c, "depth"],
    br_if: [0x0d, "depth"], "local.get": [0x20, "local"], "local.set": [0x21, "local"], "i32.load": [0x28, "offset"],
    "i64.load": [0x29, "offset"], "i64.load8_u": [0x31, "offset"], "i64.load32_u": [0x35, "offset"],
    "i64.store": [0x37, "offset"], "i32.const": [0x41, "i32"], "i64.const": [0x42, "i64"], "i32.lt_u": [0x49],
    "i32.gt_u": [0x4b], "i32.le_u": [0x4d], "i32.ge_u": [0x4f], "i32.add": [0x6a], "i32.sub": [0x6b], "i64.add": [0x7c],
    "i64.sub": [0x7d], "i64.mul": [0x7e], "i64.xor": [0x85], "i64.shr_u": [0x88], "i64.rotl": [0x89], "i64.extend_i32_u": [0xad],
};

const TYPES = { i32: 0x7f, i64: 0x7e };
const NO_RESULT = 0x40;

/**
 * A module with one function `run` and one memory, both exported.
 *
 * @param {Record<string, "i32" | "i64">} parameters
 * @param {Record<string, "i32" | "i64">} locals
 * @param {string} text
 */
export function assemble(parameters, locals, text) {
    const names = [...Object.keys(parameters), ...Object.keys(locals)];
    const code = [];
    const words = text.trim().split(/\s+/);
    for (let at = 0; at < words.length; at++) {
        const [opcode, operand] = INSTRUCTIONS[words[at]];
        code.push(opcode);
        if (operand === "block") code.push(NO_RESULT);
        if (operand === "offset") code.push(0);
        if (operand === "local") code.push(...unsigned(names.indexOf(words[++at])));
        if (operand === "depth" || operand === "offset") code.push(...unsigned(Number(words[++at])));
        if (operand === "i32") code.push(...signed(BigInt.asIntN(32, BigInt(words[++at]))));
        if (operand === "i64") code.push(...signed(BigInt.asIntN(64, BigInt(words[++at]))));
    }
    const body = [...vector(Object.values(locals).map((type) => [1, TYPES[type]])), ...code, INSTRUCTIONS.end[0]];
    return new Uint8Array([
        ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
        ...section(1, vector([[0x60, ...vector(Object.values(parameters).map((type) => [TYPES[type]])), 0]])),
        ...section(3, vector([[0]])),
        ...section(5, vector([[0, 1]])),
        ...section(7, vector([[...name("run"), 0, 0], [...name("memory"), 2, 0]])),
        ...section(10, vector([[...unsigned(body.length), ...body]])),
    ]);
}

function section(number, content) {
    return [number, ...unsigned(content.length), ...content];
}

function vector(items) {
    return [...unsigned(items.length), ...items.flat()];
}

function name(text) {
    return vector([...text].map((character) => [character.charCodeAt(0)]));
}

function unsigned(value) {
    const bytes = [];
    do {
        bytes.push((value & 127) | (value > 127 ? 128 : 0));
        value >>>= 7;
    } while (value > 0);
    return bytes;
}

function signed(value) {
    for (const bytes = []; ; ) {
        const part = Number(value & 127n);
        value >>= 7n;
        const last = value === (part & 64 ? -1n : 0n);
        bytes.push(part | (last ? 0 : 128));
        if (last) return bytes;
    }
}
