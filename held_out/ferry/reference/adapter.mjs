/**
 * Makes Ferry speak Lockstep. Written by `lockstep new`; change what it got wrong.
 *
 * `canonical` reads every field of env.toml from the environment, `look` the numbers of an observation. The base class is
 * own.mjs of the SDK for Node; reference.toml says how the environment is translated.
 *
 * Math.random() draws below(2^27) = a, then below(2^26) = b, at no site of the manifest; it is (a * 2^26 + b) / 2^53.
 */

import { OwnLane, flat, padded, whole } from "./sdk/own.mjs";
import { main } from "./sdk/index.mjs";
import own from "./own/ferry.js";

class FerryLane extends OwnLane {
    static name = "ferry.Ferry";
    // Texts of the state, as numbers from 0. One that is missing ends in an error that names it.
    static words = {
        wind: ["calm", "east", "west"],
    };
    // What was seen, with room: states that the property tier puts together beyond these are refused.
    static limits = {
        x: [0, 120],
        y: [0, 96],
        tick: [0, 1092],
        fuel: [0, 304],
        hull: [-72, 84],
        carried: [0, 72],
        left: [0, 120],
        tide: [0, 156],
        wind: [0, 2],
        aboard_from: [0, 72],
        aboard_to: [0, 72],
        aboard_patience: [0, 380],
        aboard_count: [0, 8],
        waiting_from: [0, 72],
        waiting_to: [0, 72],
        waiting_patience: [0, 380],
        waiting_count: [0, 16],
        debris_x: [0, 120],
        debris_y: [0, 96],
        debris_size: [0, 76],
        debris_count: [0, 16],
        refuelled: [0, 1],
        capacity: [0, 64],
    };

    make(options) {
        return new own.Ferry(options);
    }

    look(observation) {
        return flat(observation);
    }

    canonical() {
        const { env } = this;
        return {
            x: whole(env.x),
            y: whole(env.y),
            tick: whole(env.tick),
            fuel: whole(env.fuel),
            hull: whole(env.hull),
            carried: whole(env.carried),
            left: whole(env.left),
            tide: whole(env.tide),
            wind: this.code("wind", env.wind),
            aboard_from: padded(env.aboard.map((one) => whole(one.from)), 8),
            aboard_to: padded(env.aboard.map((one) => whole(one.to)), 8),
            aboard_patience: padded(env.aboard.map((one) => whole(one.patience)), 8),
            aboard_count: env.aboard.length,
            waiting_from: padded(env.waiting.map((one) => whole(one.from)), 16),
            waiting_to: padded(env.waiting.map((one) => whole(one.to)), 16),
            waiting_patience: padded(env.waiting.map((one) => whole(one.patience)), 16),
            waiting_count: env.waiting.length,
            debris_x: padded(env.debris.map((one) => whole(one.x)), 16),
            debris_y: padded(env.debris.map((one) => whole(one.y)), 16),
            debris_size: padded(env.debris.map((one) => whole(one.size)), 16),
            debris_count: env.debris.length,
            refuelled: Number(env.refuelled),
            capacity: this.capacity,
        };
    }

    sizes() {
        // A list that outgrows its bound ends the episode and is counted in `capacity`.
        const { env } = this;
        return [
            ["aboard", env.aboard.length, 8],
            ["waiting", env.waiting.length, 16],
            ["debris", env.debris.length, 16],
        ];
    }

    put(fields) {
        const { env } = this;
        env.x = Number(fields.x);
        env.y = Number(fields.y);
        env.tick = Number(fields.tick);
        env.fuel = Number(fields.fuel);
        env.hull = Number(fields.hull);
        env.carried = Number(fields.carried);
        env.left = Number(fields.left);
        env.tide = Number(fields.tide);
        env.wind = this.word("wind", fields.wind);
        env.aboard = Array.from({ length: fields.aboard_count }, (_, place) => ({ "from": fields.aboard_from[place], "to": fields.aboard_to[place], "patience": fields.aboard_patience[place] }));
        env.waiting = Array.from({ length: fields.waiting_count }, (_, place) => ({ "from": fields.waiting_from[place], "to": fields.waiting_to[place], "patience": fields.waiting_patience[place] }));
        env.debris = Array.from({ length: fields.debris_count }, (_, place) => ({ "x": fields.debris_x[place], "y": fields.debris_y[place], "size": fields.debris_size[place] }));
        env.refuelled = Boolean(fields.refuelled);
    }

    inject(start, fields, observations) {
        this.takeOver(start, fields, observations);
    }
}

main(FerryLane, import.meta.url);
