/**
 * Lockstep's SDK for Node: it makes an environment behind a small adapter class speak `lockstep/1`.
 *
 * An adapter is a class of which each object is one lane; `index.d.mts` says what it must have and what it may have, and
 * references/sdk/README.md shows one. `main(Adapter, import.meta.url)` does the rest.
 */

import { realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { bareMain } from "./bare.mjs";
import { serve } from "./serve.mjs";

export { Refused } from "./errors.mjs";
export { serve };

/**
 * What an adapter ends with: serves the judge on the descriptors 3 and 4, or measures with --bare-tokens.
 *
 * @param {import("./index.d.mts").Adapter} adapter
 * @param {string} [url] `import.meta.url` of the adapter: then nothing happens when another module imports it
 */
export function main(adapter, url) {
    if (url !== undefined && fileURLToPath(url) !== realpathSync(process.argv[1])) return;
    process.exit(status(adapter, process.argv.slice(2)));
}

function status(adapter, options) {
    if (options[0] === "--bare-tokens") return bareMain(adapter, options.slice(1));
    if (options.length > 0) {
        console.error(`error: unknown argument ${JSON.stringify(options[0])}`);
        return 2;
    }
    try {
        return serve(adapter);
    } catch (error) {
        if (!error.code) throw error;
        console.error(`error: ${error.message} (hint: the judge starts adapters with the descriptors 3 and 4 open)`);
        return 1;
    }
}
