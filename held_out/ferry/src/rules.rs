//! The rules of the ferry, function by function as in ferry.ts.

use crate::state::State;
use crate::world::{
    ABOARD_MAX, CAPACITY, DEBRIS_MAX, DRIFT, HEIGHT, PIERS, QUEUE, TANK, WAITING_MAX, WIDTH, World,
};
use bytemuck::Zeroable;
use lockstep_core::{
    Draws, Files, Mask, Options, Out, Outcome, Reader, Refusal, Regions, Rules, Shape, Start, WorldError, Writer,
};

const CALM: u32 = 0;
const EAST: u32 = 1;
const WEST: u32 = 2;

/// The manifest has no sites; `Math.random()` draws at none of them.
const NO_SITE: u32 = u32::MAX;

/// `Math.PI`.
const PI: f64 = 3.141592653589793;

/// A ferry across a tidal strait.
pub struct Ferry;

impl Rules for Ferry {
    const NAME: &'static str = "ferry";
    const AGENTS: usize = 1;
    const MANIFEST: &'static str = include_str!("../env.toml");
    type World = World;
    type State = State;
    type Reward = f64;

    fn world(options: Options, files: &Files) -> Result<World, WorldError> {
        World::new(options, files)
    }

    fn shape(world: &World) -> Shape {
        world.shape()
    }

    /// `reset`.
    fn reset<D: Draws, O: Out<f64>>(
        world: &World,
        state: &mut State,
        regions: &mut impl Regions,
        _start: Start,
        draws: &mut D,
        out: &mut O,
    ) {
        // The lists are empty, `wind` is calm, and everything else that is not set below is 0.
        *state = State::zeroed();
        state.x = 7;
        state.y = 4;
        state.tick = 0;
        state.fuel = TANK;
        state.hull = 5;
        state.carried = 0;
        state.left = 0;
        state.refuelled = 0;
        state.tide = dice(draws, 24);
        state.wind = CALM;
        let crowd = 2 + dice(draws, 3);
        for _ in 0..crowd {
            arrive(state, draws);
        }
        for _ in 0..3 {
            let x = 2 + dice(draws, WIDTH - 4);
            let y = dice(draws, HEIGHT);
            let size = 1 + dice(draws, 3);
            push_debris(state, x, y, size);
        }
        look(world, state, regions, out);
    }

    fn deciders(_world: &World, _state: &State) -> u32 {
        1
    }

    /// `actionMasks`.
    fn legal(_world: &World, state: &State, _regions: &impl Regions, _agent: usize, mask: &mut Mask<'_>) {
        let pier = pier(state);
        let engine = state.fuel > 0;
        mask.allow(0);
        if engine {
            mask.allow(1);
            mask.allow(2);
            mask.allow(3);
            mask.allow(4);
        }
        if pier >= 0 && aboard_length(state) < CAPACITY && waiting_at(state, pier) > 0 {
            mask.allow(5);
        }
        if pier >= 0 && aboard_for(state, pier) > 0 {
            mask.allow(6);
        }
        if pier == 2 && state.fuel < TANK {
            mask.allow(7);
        }
    }

    /// `step`.
    fn step<D: Draws, O: Out<f64>>(
        world: &World,
        state: &mut State,
        regions: &mut impl Regions,
        action: &[u32],
        draws: &mut D,
        out: &mut O,
    ) -> Outcome {
        let action = action[0];
        let mut reward: f64 = -0.01;
        match action {
            1..=4 => reward += sail(state, action),
            5 => reward += board(state),
            6 => reward += land(state),
            7 => reward += refuel(state),
            _ => {}
        }
        // QUIRK(step): the ferry counts as moored for actions 5 to 7, even where they fail away from a pier.
        flow(state, action >= 5, draws);
        reward -= drift(state, draws);
        lose(state);
        if waiting_length(state) < QUEUE && random(draws) < 0.12 {
            arrive(state, draws);
        }
        state.tick = state.tick.wrapping_add(1);
        let terminated = state.hull <= 0 || state.left >= 12;
        if state.hull <= 0 {
            reward -= 3.0;
        }
        out.reward(0, reward);
        look(world, state, regions, out);
        // QUIRK(step): the reference has its own time limit, which the manifest does not name.
        Outcome { terminated, truncated: state.tick >= world.ticks_max }
    }

    /// `observe`.
    fn observe(_world: &World, state: &State, _regions: &impl Regions, _agent: usize, out: &mut Writer<'_>) {
        out.f64(f64::from(state.x) / f64::from(WIDTH));
        out.f64(f64::from(state.y) / f64::from(HEIGHT));
        out.f64(f64::from(state.fuel) / f64::from(TANK));
        out.f64(f64::from(state.hull) / 5.0);
        out.f64(f64::from(state.tide) / 24.0);
        out.f64(if state.wind == CALM {
            0.0
        } else if state.wind == EAST {
            1.0
        } else {
            -1.0
        });
        for pier in 0..3 {
            out.f64(f64::from(waiting_at(state, pier)) / QUEUE as f64);
        }
        for pier in 0..3 {
            out.f64(f64::from(aboard_for(state, pier)) / CAPACITY as f64);
        }
        // The two smallest of the sorted distances, -1 where there is none.
        let mut first: f64 = -1.0;
        let mut second: f64 = -1.0;
        for at in 0..debris_length(state) {
            let distance = hypot(
                f64::from(state.debris_x[at]) - f64::from(state.x),
                f64::from(state.debris_y[at]) - f64::from(state.y),
            );
            if at == 0 || distance < first {
                second = first;
                first = distance;
            } else if at == 1 || distance < second {
                second = distance;
            }
        }
        out.f64(first);
        out.f64(second);
    }

    fn canonical(_world: &World, state: &State, out: &mut Writer<'_>) {
        out.i32(state.x);
        out.i32(state.y);
        out.i32(state.tick);
        out.i32(state.fuel);
        out.i32(state.hull);
        out.i32(state.carried);
        out.i32(state.left);
        out.i32(state.tide);
        out.u8(state.wind as u8);
        write_list(out, &state.aboard_from);
        write_list(out, &state.aboard_to);
        write_list(out, &state.aboard_patience);
        out.u32(state.aboard_count);
        write_list(out, &state.waiting_from);
        write_list(out, &state.waiting_to);
        write_list(out, &state.waiting_patience);
        out.u32(state.waiting_count);
        write_list(out, &state.debris_x);
        write_list(out, &state.debris_y);
        write_list(out, &state.debris_size);
        out.u32(state.debris_count);
        out.u8(state.refuelled as u8);
        out.u32(state.capacity);
    }

    fn inject(_world: &World, state: &mut State, input: &mut Reader<'_>) -> Result<(), Refusal> {
        let mut next = State::zeroed();
        next.x = input.i32()?;
        next.y = input.i32()?;
        next.tick = input.i32()?;
        next.fuel = input.i32()?;
        next.hull = input.i32()?;
        next.carried = input.i32()?;
        next.left = input.i32()?;
        next.tide = input.i32()?;
        next.wind = u32::from(input.u8()?);
        next.aboard_from = read_list(input)?;
        next.aboard_to = read_list(input)?;
        next.aboard_patience = read_list(input)?;
        next.aboard_count = input.u32()?;
        next.waiting_from = read_list(input)?;
        next.waiting_to = read_list(input)?;
        next.waiting_patience = read_list(input)?;
        next.waiting_count = input.u32()?;
        next.debris_x = read_list(input)?;
        next.debris_y = read_list(input)?;
        next.debris_size = read_list(input)?;
        next.debris_count = input.u32()?;
        next.refuelled = u32::from(input.u8()?);
        next.capacity = input.u32()?;
        if next.wind > WEST {
            return Err(Refusal(format!("wind is {}", next.wind)));
        }
        if next.aboard_count as usize > ABOARD_MAX {
            return Err(Refusal(format!("aboard_count is {}", next.aboard_count)));
        }
        if next.waiting_count as usize > WAITING_MAX {
            return Err(Refusal(format!("waiting_count is {}", next.waiting_count)));
        }
        if next.debris_count as usize > DEBRIS_MAX {
            return Err(Refusal(format!("debris_count is {}", next.debris_count)));
        }
        if next.refuelled > 1 {
            return Err(Refusal(format!("refuelled is {}", next.refuelled)));
        }
        // What lies behind a list's end is no part of the list: the adapter pads with 0.
        let length = aboard_length(&next);
        clear_aboard(&mut next, length, ABOARD_MAX);
        let length = waiting_length(&next);
        clear_waiting(&mut next, length, WAITING_MAX);
        let length = debris_length(&next);
        clear_debris(&mut next, length, DEBRIS_MAX);
        *state = next;
        Ok(())
    }
}

/// Writes the observation, where somebody looks at it.
fn look(world: &World, state: &State, regions: &impl Regions, out: &mut impl Out<f64>) {
    if let Some(mut writer) = out.observation(0) {
        Ferry::observe(world, state, regions, 0, &mut writer);
    }
}

/// Writes a padded list.
fn write_list(out: &mut Writer<'_>, values: &[i32]) {
    for value in values {
        out.i32(*value);
    }
}

/// Reads a padded list.
fn read_list<const N: usize>(input: &mut Reader<'_>) -> Result<[i32; N], Refusal> {
    let mut values = [0i32; N];
    for value in values.iter_mut() {
        *value = input.i32()?;
    }
    Ok(values)
}

/// `aboard.length`.
fn aboard_length(state: &State) -> usize {
    (state.aboard_count as usize).min(ABOARD_MAX)
}

/// `waiting.length`.
fn waiting_length(state: &State) -> usize {
    (state.waiting_count as usize).min(WAITING_MAX)
}

/// `debris.length`.
fn debris_length(state: &State) -> usize {
    (state.debris_count as usize).min(DEBRIS_MAX)
}

/// Zeroes vacated places of `aboard`.
fn clear_aboard(state: &mut State, from: usize, to: usize) {
    for at in from..to {
        state.aboard_from[at] = 0;
        state.aboard_to[at] = 0;
        state.aboard_patience[at] = 0;
    }
}

/// Zeroes vacated places of `waiting`.
fn clear_waiting(state: &mut State, from: usize, to: usize) {
    for at in from..to {
        state.waiting_from[at] = 0;
        state.waiting_to[at] = 0;
        state.waiting_patience[at] = 0;
    }
}

/// Zeroes vacated places of `debris`.
fn clear_debris(state: &mut State, from: usize, to: usize) {
    for at in from..to {
        state.debris_x[at] = 0;
        state.debris_y[at] = 0;
        state.debris_size[at] = 0;
    }
}

/// `debris.push`; called only below the bound.
fn push_debris(state: &mut State, x: i32, y: i32, size: i32) {
    let at = debris_length(state);
    if at >= DEBRIS_MAX {
        return;
    }
    state.debris_x[at] = x;
    state.debris_y[at] = y;
    state.debris_size[at] = size;
    state.debris_count = at as u32 + 1;
}

/// How many of `waiting` have `from === pier`.
fn waiting_at(state: &State, pier: i32) -> u32 {
    let mut count = 0;
    for at in 0..waiting_length(state) {
        if state.waiting_from[at] == pier {
            count += 1;
        }
    }
    count
}

/// How many of `aboard` have `to === pier`.
fn aboard_for(state: &State, pier: i32) -> u32 {
    let mut count = 0;
    for at in 0..aboard_length(state) {
        if state.aboard_to[at] == pier {
            count += 1;
        }
    }
    count
}

/// `clamp`, of whole numbers.
fn clamp(value: i32, low: i32, high: i32) -> i32 {
    let value = if value < low { low } else { value };
    if value > high { high } else { value }
}

/// `Math.random()`, as the adapter serves it.
fn random(draws: &mut impl Draws) -> f64 {
    let a = draws.below(1 << 27, NO_SITE);
    let b = draws.below(1 << 26, NO_SITE);
    (f64::from(a) * 67108864.0 + f64::from(b)) / 9007199254740992.0
}

/// `dice`.
fn dice(draws: &mut impl Draws, n: i32) -> i32 {
    (random(draws) * f64::from(n)).floor() as i32
}

/// `pier`: -1 away from all piers.
fn pier(state: &State) -> i32 {
    for at in 0..PIERS.len() {
        let (x, y) = PIERS[at];
        if x == state.x && y == state.y {
            return at as i32;
        }
    }
    -1
}

/// `sail`.
fn sail(state: &mut State, action: u32) -> f64 {
    if state.fuel <= 0 {
        return -0.05;
    }
    let (dx, dy): (i32, i32) = match action {
        1 => (1, 0),
        2 => (-1, 0),
        3 => (0, 1),
        _ => (0, -1),
    };
    let against = (state.wind == EAST && dx < 0) || (state.wind == WEST && dx > 0);
    // QUIRK(sail): the fuel is spent even if the ferry is blocked by the edge.
    let fuel = state.fuel.wrapping_sub(if against { 2 } else { 1 });
    state.fuel = if fuel < 0 { 0 } else { fuel };
    // QUIRK(sail): both coordinates are clamped on every move, so a ferry outside is pulled in, and that is a move.
    let x = clamp(state.x.wrapping_add(dx), 0, WIDTH - 1);
    let y = clamp(state.y.wrapping_add(dy), 0, HEIGHT - 1);
    if x == state.x && y == state.y {
        return -0.05;
    }
    state.x = x;
    state.y = y;
    0.0
}

/// `board`.
fn board(state: &mut State) -> f64 {
    let pier = pier(state);
    if pier < 0 {
        return -0.05;
    }
    let waiting = waiting_length(state);
    let mut best: Option<usize> = None;
    for at in 0..waiting {
        if state.waiting_from[at] != pier {
            continue;
        }
        let better = match best {
            None => true,
            Some(other) => state.waiting_patience[at] < state.waiting_patience[other],
        };
        if better {
            best = Some(at);
        }
    }
    let aboard = aboard_length(state);
    let best = match best {
        Some(best) if aboard < CAPACITY => best,
        _ => return -0.05,
    };
    let from = state.waiting_from[best];
    let to = state.waiting_to[best];
    let patience = state.waiting_patience[best];
    // `splice`: those behind move up.
    for at in best + 1..waiting {
        state.waiting_from[at - 1] = state.waiting_from[at];
        state.waiting_to[at - 1] = state.waiting_to[at];
        state.waiting_patience[at - 1] = state.waiting_patience[at];
    }
    clear_waiting(state, waiting - 1, waiting);
    state.waiting_count = waiting as u32 - 1;
    // QUIRK(board): the newcomer goes to the front of `aboard`, by `unshift`.
    for at in (0..aboard).rev() {
        state.aboard_from[at + 1] = state.aboard_from[at];
        state.aboard_to[at + 1] = state.aboard_to[at];
        state.aboard_patience[at + 1] = state.aboard_patience[at];
    }
    state.aboard_from[0] = from;
    state.aboard_to[0] = to;
    state.aboard_patience[0] = patience;
    state.aboard_count = aboard as u32 + 1;
    0.1
}

/// `land`.
fn land(state: &mut State) -> f64 {
    let pier = pier(state);
    let leaving = aboard_for(state, pier);
    if pier < 0 || leaving == 0 {
        return -0.05;
    }
    let aboard = aboard_length(state);
    let mut sum: f64 = 0.0;
    let mut kept = 0;
    for at in 0..aboard {
        if state.aboard_to[at] == pier {
            sum = sum + 1.0 + f64::from(state.aboard_patience[at]) / 80.0;
            continue;
        }
        state.aboard_from[kept] = state.aboard_from[at];
        state.aboard_to[kept] = state.aboard_to[at];
        state.aboard_patience[kept] = state.aboard_patience[at];
        kept += 1;
    }
    clear_aboard(state, kept, aboard);
    state.aboard_count = kept as u32;
    state.carried = state.carried.wrapping_add(leaving as i32);
    sum
}

/// `refuel`.
fn refuel(state: &mut State) -> f64 {
    if pier(state) != 2 || state.fuel >= TANK {
        return -0.05;
    }
    state.refuelled = 1;
    // QUIRK(refuel): the price is that of a full tank, though at most 20 are filled in.
    let price = f64::from(TANK.wrapping_sub(state.fuel)) * 0.004;
    let fuel = state.fuel.wrapping_add(20);
    state.fuel = if fuel > TANK { TANK } else { fuel };
    -price
}

/// `flow`.
fn flow(state: &mut State, moored: bool, draws: &mut impl Draws) {
    // `%` has the sign of the dividend, in both languages.
    state.tide = state.tide.wrapping_add(1) % 24;
    if random(draws) < 0.08 {
        state.wind = dice(draws, 3) as u32;
    }
    if moored || pier(state) >= 0 {
        return;
    }
    let strength = sin(f64::from(state.tide) / 24.0 * 2.0 * PI);
    // QUIRK(flow): at tide 12 the strength is not 0 but some 1.2e-16, so a random number of 0 moves the ferry.
    if random(draws) < 0.5 * strength.abs() {
        let push = if strength > 0.0 { 1 } else { -1 };
        state.y = clamp(state.y.wrapping_add(push), 0, HEIGHT - 1);
    }
}

/// `drift`.
fn drift(state: &mut State, draws: &mut impl Draws) -> f64 {
    let mut damage: f64 = 0.0;
    let count = debris_length(state);
    for at in 0..count {
        state.debris_y[at] = state.debris_y[at].wrapping_add(if state.tide < 12 { 1 } else { -1 });
        if state.wind != CALM && random(draws) < 0.3 {
            state.debris_x[at] = state.debris_x[at].wrapping_add(if state.wind == EAST { 1 } else { -1 });
        }
    }
    let mut kept = 0;
    for at in 0..count {
        let x = state.debris_x[at];
        let y = state.debris_y[at];
        let size = state.debris_size[at];
        if x == state.x && y == state.y {
            state.hull = state.hull.wrapping_sub(size);
            damage += 0.2 * f64::from(size);
            continue;
        }
        if y >= 0 && y < HEIGHT && x >= 0 && x < WIDTH {
            state.debris_x[kept] = x;
            state.debris_y[kept] = y;
            state.debris_size[kept] = size;
            kept += 1;
        }
    }
    clear_debris(state, kept, count);
    state.debris_count = kept as u32;
    if kept < DRIFT && random(draws) < 0.25 {
        let y = if state.tide < 12 { 0 } else { HEIGHT - 1 };
        let x = 1 + dice(draws, WIDTH - 2);
        let size = if random(draws) < 0.2 { 3 } else { 1 + dice(draws, 2) };
        // QUIRK(drift): a new piece at the ferry's place does no damage in this step.
        push_debris(state, x, y, size);
    }
    damage
}

/// `lose`.
fn lose(state: &mut State) {
    let before = waiting_length(state);
    let mut kept = 0;
    for at in 0..before {
        let patience = state.waiting_patience[at].wrapping_sub(1);
        if patience > 0 {
            state.waiting_from[kept] = state.waiting_from[at];
            state.waiting_to[kept] = state.waiting_to[at];
            state.waiting_patience[kept] = patience;
            kept += 1;
        }
    }
    clear_waiting(state, kept, before);
    state.waiting_count = kept as u32;
    state.left = state.left.wrapping_add((before - kept) as i32);
}

/// `arrive`; called only below the bound.
fn arrive(state: &mut State, draws: &mut impl Draws) {
    let from = dice(draws, 3);
    let to = (from + 1 + dice(draws, 2)) % 3;
    let patience = 40 + dice(draws, 40);
    let at = waiting_length(state);
    if at >= WAITING_MAX {
        return;
    }
    state.waiting_from[at] = from;
    state.waiting_to[at] = to;
    state.waiting_patience[at] = patience;
    state.waiting_count = at as u32 + 1;
}

/// `Math.hypot` of two numbers as V8 computes it: scaled by the larger one, with Kahan's summation.
fn hypot(x: f64, y: f64) -> f64 {
    let values = [x.abs(), y.abs()];
    let mut max: f64 = 0.0;
    for value in values {
        if value > max {
            max = value;
        }
    }
    if max == 0.0 {
        return 0.0;
    }
    let mut sum: f64 = 0.0;
    let mut compensation: f64 = 0.0;
    for value in values {
        let n = value / max;
        let summand = n * n - compensation;
        let preliminary = sum + summand;
        compensation = (preliminary - sum) - summand;
        sum = preliminary;
    }
    sum.sqrt() * max
}

const S1: f64 = -1.66666666666666324348e-01;
const S2: f64 = 8.33333333332248946124e-03;
const S3: f64 = -1.98412698298579493134e-04;
const S4: f64 = 2.75573137070700676789e-06;
const S5: f64 = -2.50507602534068634195e-08;
const S6: f64 = 1.58969099521155010221e-10;

const C1: f64 = 4.16666666666666019037e-02;
const C2: f64 = -1.38888888888741095749e-03;
const C3: f64 = 2.48015872894767294178e-05;
const C4: f64 = -2.75573143513906633035e-07;
const C5: f64 = 2.08757232129817482790e-09;
const C6: f64 = -1.13596475577881948265e-11;

const INVPIO2: f64 = 6.36619772367581382433e-01;
const PIO2_1: f64 = 1.57079632673412561417e+00;
const PIO2_1T: f64 = 6.07710050650619224932e-11;
const PIO2_2: f64 = 6.07710050630396597660e-11;
const PIO2_2T: f64 = 2.02226624879595063154e-21;
const PIO2_3: f64 = 2.02226624871116645580e-21;
const PIO2_3T: f64 = 8.47842766036889956997e-32;

/// The high words of pi/2, pi, 3 pi/2, 2 pi.
const NPIO2_HW: [u32; 4] = [0x3FF921FB, 0x400921FB, 0x4012D97C, 0x401921FB];

/// The high word of a double.
fn high_word(x: f64) -> u32 {
    (x.to_bits() >> 32) as u32
}

/// `Math.sin`, fdlibm's. The arguments are those of tides from -23 to 23, so below 2 pi in size.
fn sin(x: f64) -> f64 {
    let ix = high_word(x) & 0x7FFFFFFF;
    if ix <= 0x3FE921FB {
        return kernel_sin(x, 0.0, false);
    }
    let (n, y0, y1) = rem_pio2(x);
    match n & 3 {
        0 => kernel_sin(y0, y1, true),
        1 => kernel_cos(y0, y1),
        2 => -kernel_sin(y0, y1, true),
        _ => -kernel_cos(y0, y1),
    }
}

/// fdlibm's `__kernel_sin`; `tail` says whether `y` counts.
fn kernel_sin(x: f64, y: f64, tail: bool) -> f64 {
    let ix = high_word(x) & 0x7FFFFFFF;
    if ix < 0x3E400000 {
        // Below 2^-27 the whole part is 0.
        return x;
    }
    let z = x * x;
    let v = z * x;
    let r = S2 + z * (S3 + z * (S4 + z * (S5 + z * S6)));
    if tail {
        x - ((z * (0.5 * y - v * r) - y) - v * S1)
    } else {
        x + v * (S1 + z * r)
    }
}

/// fdlibm's `__kernel_cos`.
fn kernel_cos(x: f64, y: f64) -> f64 {
    let ix = high_word(x) & 0x7FFFFFFF;
    if ix < 0x3E400000 {
        return 1.0;
    }
    let z = x * x;
    let r = z * (C1 + z * (C2 + z * (C3 + z * (C4 + z * (C5 + z * C6)))));
    if ix < 0x3FD33333 {
        return 1.0 - (0.5 * z - (z * r - x * y));
    }
    let qx = if ix > 0x3FE90000 { 0.28125 } else { f64::from_bits(u64::from(ix - 0x00200000) << 32) };
    let iz = 0.5 * z - qx;
    let a = 1.0 - qx;
    a - (iz - (z * r - x * y))
}

/// fdlibm's `__ieee754_rem_pio2`, for arguments of pi/4 to 2 pi in size: the quadrant, and the rest in two parts.
fn rem_pio2(x: f64) -> (i32, f64, f64) {
    let negative = high_word(x) >> 31 != 0;
    let ix = high_word(x) & 0x7FFFFFFF;
    if ix < 0x4002D97C {
        if !negative {
            let mut z = x - PIO2_1;
            if ix != 0x3FF921FB {
                let y0 = z - PIO2_1T;
                return (1, y0, (z - y0) - PIO2_1T);
            }
            z -= PIO2_2;
            let y0 = z - PIO2_2T;
            return (1, y0, (z - y0) - PIO2_2T);
        }
        let mut z = x + PIO2_1;
        if ix != 0x3FF921FB {
            let y0 = z + PIO2_1T;
            return (-1, y0, (z - y0) + PIO2_1T);
        }
        z += PIO2_2;
        let y0 = z + PIO2_2T;
        return (-1, y0, (z - y0) + PIO2_2T);
    }
    let mut t = x.abs();
    let n = (t * INVPIO2 + 0.5) as i32;
    let number = f64::from(n);
    let mut r = t - number * PIO2_1;
    let mut w = number * PIO2_1T;
    let mut y0 = r - w;
    let quick = n >= 1 && n <= 4 && ix != NPIO2_HW[(n - 1) as usize];
    if !quick {
        let j = (ix >> 20) as i32;
        let i = j - ((high_word(y0) >> 20) & 0x7FF) as i32;
        if i > 16 {
            t = r;
            w = number * PIO2_2;
            r = t - w;
            w = number * PIO2_2T - ((t - r) - w);
            y0 = r - w;
            let i = j - ((high_word(y0) >> 20) & 0x7FF) as i32;
            if i > 49 {
                t = r;
                w = number * PIO2_3;
                r = t - w;
                w = number * PIO2_3T - ((t - r) - w);
                y0 = r - w;
            }
        }
    }
    let y1 = (r - y0) - w;
    if negative { (-n, -y0, -y1) } else { (n, y0, y1) }
}
