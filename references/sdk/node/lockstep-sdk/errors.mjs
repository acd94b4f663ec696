/**
 * What can go wrong while a frame is answered, and how it is told: the JSON of an error reply.
 *
 * The one idea: an error of the judge (`bad_request`), of the adapter (`exception`) and of nobody (`refused`) are three
 * classes here, so that whoever notices something wrong decides at the `throw` whose fault it is.
 */

import { readFileSync } from "node:fs";
import { findSourceMap } from "node:module";
import { dirname, sep } from "node:path";
import { fileURLToPath } from "node:url";

const SDK_FOLDER = dirname(fileURLToPath(import.meta.url)) + sep;
const SERVE = `${SDK_FOLDER}serve.mjs`;

/** A recursion that ran away has a thousand equal frames; the first ones tell it all. */
const FRAMES_MAX = 32;

let inspector = null;
try {
    inspector = await import("node:inspector");
} catch {
    // Node can be built without it; then a broken contract is told without its place.
}

/** The request is malformed: the judge's fault. */
export class BadRequest extends Error {}

/** The request is well formed, but this side can't do it. Adapters throw this from `inject` or `restore`. */
export class Refused extends Error {}

/** The adapter broke its contract with the SDK; `method` is the one that did, for want of a frame. */
export class AdapterError extends Error {
    constructor(message, method) {
        super(message);
        this.method = method;
    }
}

/** The body of the error reply, as an object. */
export function replyOf(error) {
    if (error instanceof BadRequest) return { kind: "bad_request", error: line(error.message), where: [] };
    if (error instanceof Refused) return { kind: "refused", error: line(error.message), where: [] };
    const where = userFrames(error);
    if (error instanceof AdapterError) {
        return { kind: "exception", error: line(error.message), where: where.length > 0 ? where : definition(error.method) };
    }
    return { kind: "exception", error: line(describe(error)), where };
}

/** The frames of the adapter and the environment, innermost first, without those of the SDK and of Node itself. */
export function userFrames(error) {
    let stack = "";
    try {
        stack = String(error.stack);
    } catch {
        // Anything can be thrown, even what has no stack.
    }
    const frames = [];
    for (const text of stack.split("\n")) {
        const found = /^\s+at (?:(.*) \()?(.+?):(\d+):\d+\)?$/.exec(text);
        if (found === null || frames.length === FRAMES_MAX) continue;
        const file = pathOf(found[2]);
        // Beyond it is only the adapter's call of `main`.
        if (file === SERVE) break;
        if (isUsers(file)) frames.push(place(file, Number(found[3]), found[1] ?? "<module>"));
    }
    return frames;
}

/** A value as it may stand in a message. */
export function kindOf(value) {
    if (typeof value === "function") return "a function";
    if (typeof value === "object" && value !== null) return `an object of ${value.constructor?.name ?? "no class"}`;
    const text = typeof value === "string" ? JSON.stringify(value) : String(value);
    return `${text.length < 40 ? text : `${text.slice(0, 37)}…`} (${typeof value})`;
}

function describe(error) {
    try {
        if (error instanceof Error) return error.message ? `${error.name}: ${error.message}` : error.name;
        return `${kindOf(error)} was thrown`;
    } catch {
        return "something was thrown that can't be described";
    }
}

function pathOf(text) {
    const bare = text.replace(/^async /, "");
    if (!bare.startsWith("file:")) return bare;
    try {
        return fileURLToPath(bare);
    } catch {
        return bare;
    }
}

function isUsers(file) {
    return file.startsWith(sep) && !file.startsWith(SDK_FOLDER);
}

function place(file, line, name) {
    let text = "";
    try {
        text = (readFileSync(file, "utf8").split("\n")[line - 1] ?? "").trim();
    } catch {
        // The file may be gone; its name and the line still help.
    }
    return { file, line, function: name, text };
}

/** Where a function stands, in the file that its author wrote; only the debugger's interface knows. */
function definition(method) {
    if (typeof method !== "function" || inspector === null) return [];
    const session = new inspector.Session();
    const files = new Map();
    let found = null;
    try {
        session.connect();
        session.on("Debugger.scriptParsed", ({ params }) => files.set(params.scriptId, params.url));
        session.post("Debugger.enable");
        globalThis[STASH] = method;
        session.post("Runtime.evaluate", { expression: `globalThis[Symbol.for("lockstep.method")]` }, (_, answer) => {
            const objectId = answer?.result?.objectId;
            if (objectId === undefined) return;
            session.post("Runtime.getProperties", { objectId, ownProperties: true }, (_, properties) => {
                const location = properties?.internalProperties?.find(({ name }) => name === "[[FunctionLocation]]");
                found = location?.value?.value ?? null;
            });
        });
    } catch {
        return [];
    } finally {
        delete globalThis[STASH];
        session.disconnect();
    }
    if (found === null) return [];
    let file = pathOf(files.get(found.scriptId) ?? "");
    let number = found.lineNumber + 1;
    const original = findSourceMap(file)?.findEntry(found.lineNumber, found.columnNumber);
    if (original?.originalSource) {
        file = pathOf(original.originalSource);
        number = original.originalLine + 1;
    }
    return isUsers(file) ? [place(file, number, method.name)] : [];
}

const STASH = Symbol.for("lockstep.method");

function line(text) {
    return String(text).split(/\s+/).join(" ").trim().slice(0, 2000);
}
