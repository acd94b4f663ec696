/** The types of an adapter: what it must have and what it may have. */

/** What an adapter is made from: the configuration and what the user has set. */
export interface Setup<Options = Record<string, unknown>> {
    readonly options: Options;
    readonly files: Readonly<Record<string, string>>;
    readonly settings: Readonly<Record<string, unknown>>;
    readonly agents: number;
    readonly width: number;
    /** The name of the configuration. */
    readonly configuration: string;
    readonly episodeStepsMax: number | null;
}

/** The random numbers of the harness. They stay with the lane for good; a method that is kept survives snapshots. */
export interface Draws {
    /** A uniform number in 0 … bound - 1, asked for at a site of the manifest. */
    below(bound: number, site?: string): number;
    /** A whole u32. */
    word(site?: string): number;
    /** Tells of a draw that the environment made by itself. */
    note(bound: number | bigint, value: number | bigint, site?: string): void;
}

/** The header of a lane. The seeds are there whole and in halves; the halves cost less. */
export interface Start {
    readonly seed: bigint;
    readonly stream: bigint;
    readonly seedLow: number;
    readonly seedHigh: number;
    readonly streamLow: number;
    readonly streamHigh: number;
    readonly episode: number;
    readonly elapsed: number;
}

export interface Outcome {
    rewards: ArrayLike<number | bigint>;
    terminated: boolean;
    truncated: boolean;
}

/** Numbers of 64 bits may be BigInts. Bytes are the bytes of the wire, as are arrays of the field's own type. */
export type Value = number | bigint | ArrayBufferView | ArrayBuffer | readonly Value[];

/** The rows of one step: push an array of numbers for each. */
export type Rows = (readonly (number | bigint)[])[] & { readonly grain: string };

/** A state to take over: numbers, arrays of them, bytes for a region, BigInts for what has 64 bits. */
export type Fields = Readonly<Record<string, any>>;

/** One lane. */
export interface Lane {
    /** The last that was written: a flat array of all agents' numbers (fastest), bytes, or one item for each agent. */
    observations: unknown;
    /** A bit set of the agents who decide next; all of them by default. */
    deciders?: number;
    reset(start: Start): void;
    /** One action for each agent, an array of them where `width` is not 1. The arrays are used again for the next step. */
    step(actions: readonly any[], rows?: Rows): Outcome;
    /** With a mask: a bool for each action, or a bit mask. */
    legal?(agent: number): number | bigint | ArrayLike<boolean | number>;
    /** The state by field name. */
    canonical?(): Readonly<Record<string, Value>>;
    /** Instead: the same as one flat array in the order of the manifest, arrays spread out, regions as bytes. Saves time. */
    record?(): ArrayLike<unknown>;
    /** Takes over a state; what can't be done is refused with `Refused`. */
    inject?(start: Start, fields: Fields, observations: readonly number[]): void;
    /** What to keep, and how to go back to it; without them all own properties are kept, if they are plain data. */
    snapshot?(): unknown;
    restore?(state: any): void;
}

/** The class of which each object is one lane. */
export interface Adapter {
    new (setup: Setup<any>, draws: Draws): Lane;
    /** What it is called, else the name of the class. */
    readonly name: string;
    readonly version?: string;
    /** What it can inject, "full" by default. */
    readonly injects?: "full" | "patch";
    /** Pure functions from JSON to JSON. */
    readonly probes?: Readonly<Record<string, (input: any) => unknown>>;
    /** Parts of a `hello` for `--bare-tokens`. */
    readonly example?: Readonly<Record<string, unknown>>;
}

/** Thrown by `inject` and `restore` for what can't be done. */
export class Refused extends Error {}

/**
 * What an adapter ends with: serves the judge, or measures with --bare-tokens. With `import.meta.url` it does nothing when
 * another module imports the adapter.
 */
export function main(adapter: Adapter, url?: string): void;

/** Answers on two descriptors until `close` or the end of the stream; returns the exit status. */
export function serve(adapter: Adapter, source?: number, target?: number): number;

declare global {
    interface ImportMeta {
        url: string;
    }
}
