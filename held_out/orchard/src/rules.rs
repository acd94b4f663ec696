//! The rules of the orchard, function by function as in orchard.py.

use crate::state::{State, get, put};
use crate::world::{BASKET, CROWS, HEIGHT, MAX_FRUIT, PLACE, PRICE, RIPENING, SEASON, TREES, WIDTH, World};
use bytemuck::Zeroable;
use lockstep_core::{
    Draws, Files, Mask, Options, Out, Outcome, Reader, Refusal, Regions, Rules, Shape, Start, WorldError, Writer,
};

const EAST: u32 = 1;
const WEST: u32 = 2;
const SOUTH: u32 = 3;
const NORTH: u32 = 4;
const PICK: u32 = 5;
const CLAP: u32 = 6;
const WATER: u32 = 7;

const CLEAR: u32 = 0;
const CLOUDY: u32 = 1;
const RAIN: u32 = 2;

/// The manifest names no sites.
const SITE: u32 = 0;

/// Attempts to place a tree, after which a taken cell is accepted: only a dead source of draws gets there.
const ATTEMPTS_MAX: u32 = 4096;

/// The orchard.
pub struct Orchard;

impl Rules for Orchard {
    const NAME: &'static str = "orchard";
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
        *state = State::zeroed();
        state.turn = 0;
        state.x = WIDTH / 2;
        state.y = HEIGHT / 2;
        state.money = put(0.0);
        state.water = 0;
        state.rotted = 0;
        state.stolen = 0;
        state.sky = draws.below(3, SITE);
        let mut planted = 0;
        let mut attempts = 0;
        while planted < TREES {
            let x = draws.below(WIDTH as u32, SITE) as i32;
            let y = draws.below(HEIGHT as u32, SITE) as i32;
            attempts += 1;
            if attempts <= ATTEMPTS_MAX && taken(state, planted, x, y) {
                continue;
            }
            state.trees_x[planted] = x;
            state.trees_y[planted] = y;
            state.trees_kind[planted] = draws.below(3, SITE);
            // random.uniform(0.3, 0.8): a + (b - a) * random().
            state.trees_moisture[planted] = put(0.3 + (0.8 - 0.3) * random(draws));
            let count = (draws.below(4, SITE) as usize).min(MAX_FRUIT);
            for i in 0..count {
                state.trees_fruit[planted][i] = draws.below(9, SITE) as i32;
            }
            state.trees_fruit[planted][..count].sort_unstable_by(|a, b| b.cmp(a));
            state.trees_fruit_count[planted] = count as u32;
            planted += 1;
        }
        look(world, state, regions, out);
    }

    fn deciders(_world: &World, _state: &State) -> u32 {
        1
    }

    /// Not called: the manifest has no mask.
    fn legal(_world: &World, _state: &State, _regions: &impl Regions, _agent: usize, mask: &mut Mask<'_>) {
        for action in 0..8 {
            mask.allow(action);
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
        let before = get(state.money);
        let mut penalty = act(state, action[0]);
        change_weather(state, draws);
        for tree in 0..TREES {
            let lost = grow(state, tree, draws);
            state.rotted = state.rotted.wrapping_add(lost);
            let rot = 0.05 * f64::from(lost);
            penalty = penalty + rot;
        }
        // move_crows sums its own penalty, which is then added at once.
        let eaten = move_crows(state, draws);
        penalty = penalty + eaten;
        call_crows(state, draws);
        let turn = i64::from(state.turn) + 1;
        state.turn = state.turn.wrapping_add(1);
        let reward = (get(state.money) - before) - penalty;
        out.reward(0, reward);
        let terminated = i64::from(state.rotted) + i64::from(state.stolen) >= 60;
        let truncated = turn >= i64::from(SEASON);
        look(world, state, regions, out);
        Outcome { terminated, truncated }
    }

    /// `observe`.
    fn observe(_world: &World, state: &State, _regions: &impl Regions, _agent: usize, out: &mut Writer<'_>) {
        out.f64(f64::from(state.x) / f64::from(WIDTH));
        out.f64(f64::from(state.y) / f64::from(HEIGHT));
        out.f64(f64::from(state.basket_count) / BASKET as f64);
        out.f64(f64::from(state.water) / 5.0);
        out.f64(f64::from(state.turn) / f64::from(SEASON));
        for sky in [CLEAR, CLOUDY, RAIN] {
            out.f64(if state.sky == sky { 1.0 } else { 0.0 });
        }
        for tree in 0..TREES {
            let dx = i64::from(state.trees_x[tree]) - i64::from(state.x);
            let dy = i64::from(state.trees_y[tree]) - i64::from(state.y);
            out.f64(dx as f64 / f64::from(WIDTH));
            out.f64(dy as f64 / f64::from(HEIGHT));
            out.f64(ripe(state, tree) as f64 / MAX_FRUIT as f64);
            out.f64(get(state.trees_moisture[tree]));
        }
        let count = crows_count(state);
        let mut near = [0_i64; CROWS];
        for crow in 0..count {
            near[crow] = apart(state.crows_x[crow], state.crows_y[crow], state.x, state.y);
        }
        near[..count].sort_unstable();
        for place in 0..3 {
            if place < count {
                out.f64(near[place] as f64 / f64::from(WIDTH + HEIGHT));
            } else {
                out.f64(1.0);
            }
        }
    }

    fn canonical(_world: &World, state: &State, out: &mut Writer<'_>) {
        out.i32(state.turn);
        out.i32(state.x);
        out.i32(state.y);
        for price in state.basket {
            put_f64(out, price);
        }
        out.u32(state.basket_count);
        put_f64(out, state.money);
        out.i32(state.water);
        out.i32(state.rotted);
        out.i32(state.stolen);
        out.u8(state.sky as u8);
        for x in state.trees_x {
            out.i32(x);
        }
        for y in state.trees_y {
            out.i32(y);
        }
        for kind in state.trees_kind {
            out.u8(kind as u8);
        }
        for moisture in state.trees_moisture {
            put_f64(out, moisture);
        }
        for fruit in state.trees_fruit {
            for age in fruit {
                out.i32(age);
            }
        }
        for count in state.trees_fruit_count {
            out.u32(count);
        }
        for x in state.crows_x {
            out.i32(x);
        }
        for y in state.crows_y {
            out.i32(y);
        }
        for hunger in state.crows_hunger {
            out.i32(hunger);
        }
        for seated in state.crows_seated {
            out.u8(seated as u8);
        }
        out.u32(state.crows_count);
        out.u32(state.capacity);
    }

    fn inject(_world: &World, state: &mut State, input: &mut Reader<'_>) -> Result<(), Refusal> {
        let mut new = State::zeroed();
        new.turn = input.i32()?;
        new.x = input.i32()?;
        new.y = input.i32()?;
        for price in new.basket.iter_mut() {
            *price = take_f64(input)?;
        }
        new.basket_count = input.u32()?;
        new.money = take_f64(input)?;
        new.water = input.i32()?;
        new.rotted = input.i32()?;
        new.stolen = input.i32()?;
        new.sky = u32::from(input.u8()?);
        for x in new.trees_x.iter_mut() {
            *x = input.i32()?;
        }
        for y in new.trees_y.iter_mut() {
            *y = input.i32()?;
        }
        for kind in new.trees_kind.iter_mut() {
            *kind = u32::from(input.u8()?);
        }
        for moisture in new.trees_moisture.iter_mut() {
            *moisture = take_f64(input)?;
        }
        for fruit in new.trees_fruit.iter_mut() {
            for age in fruit.iter_mut() {
                *age = input.i32()?;
            }
        }
        for count in new.trees_fruit_count.iter_mut() {
            *count = input.u32()?;
        }
        for x in new.crows_x.iter_mut() {
            *x = input.i32()?;
        }
        for y in new.crows_y.iter_mut() {
            *y = input.i32()?;
        }
        for hunger in new.crows_hunger.iter_mut() {
            *hunger = input.i32()?;
        }
        for seated in new.crows_seated.iter_mut() {
            *seated = u32::from(input.u8()?);
        }
        new.crows_count = input.u32()?;
        new.capacity = input.u32()?;

        if new.sky > RAIN {
            return Err(Refusal(format!("sky is {}", new.sky)));
        }
        if new.basket_count as usize > BASKET {
            return Err(Refusal(format!("basket_count is {}", new.basket_count)));
        }
        if new.crows_count as usize > CROWS {
            return Err(Refusal(format!("crows_count is {}", new.crows_count)));
        }
        for tree in 0..TREES {
            if new.trees_kind[tree] > 2 {
                return Err(Refusal(format!("trees_kind of tree {tree} is {}", new.trees_kind[tree])));
            }
            if new.trees_fruit_count[tree] as usize > MAX_FRUIT {
                return Err(Refusal(format!("trees_fruit_count of tree {tree} is {}", new.trees_fruit_count[tree])));
            }
        }
        for crow in 0..new.crows_count as usize {
            if new.crows_seated[crow] > 1 {
                return Err(Refusal(format!("crows_seated of crow {crow} is {}", new.crows_seated[crow])));
            }
        }

        // What is past a count is not read by the adapter, and it shows 0 there.
        for i in new.basket_count as usize..BASKET {
            new.basket[i] = [0, 0];
        }
        for tree in 0..TREES {
            for i in new.trees_fruit_count[tree] as usize..MAX_FRUIT {
                new.trees_fruit[tree][i] = 0;
            }
        }
        for crow in new.crows_count as usize..CROWS {
            clear_crow(&mut new, crow);
        }
        *state = new;
        Ok(())
    }
}

/// Writes the bits of an f64.
fn put_f64(out: &mut Writer<'_>, words: [u32; 2]) {
    out.u32(words[0]);
    out.u32(words[1]);
}

/// Takes the bits of an f64.
fn take_f64(input: &mut Reader<'_>) -> Result<[u32; 2], Refusal> {
    let low = input.u32()?;
    let high = input.u32()?;
    Ok([low, high])
}

/// Writes the observation, where somebody looks at it.
fn look(world: &World, state: &State, regions: &impl Regions, out: &mut impl Out<f64>) {
    if let Some(mut writer) = out.observation(0) {
        Orchard::observe(world, state, regions, 0, &mut writer);
    }
}

/// `random.random()`: two draws.
fn random(draws: &mut impl Draws) -> f64 {
    let a = u64::from(draws.below(1 << 27, SITE));
    let b = u64::from(draws.below(1 << 26, SITE));
    (a * (1 << 26) + b) as f64 / 9007199254740992.0
}

/// Python's `min(a, 1.0)`.
fn min_one(a: f64) -> f64 {
    if 1.0 < a { 1.0 } else { a }
}

/// Python's `max(a, 0.0)`.
fn max_zero(a: f64) -> f64 {
    if 0.0 > a { 0.0 } else { a }
}

/// `abs(ax - bx) + abs(ay - by)`.
fn apart(ax: i32, ay: i32, bx: i32, by: i32) -> i64 {
    (i64::from(ax) - i64::from(bx)).abs() + (i64::from(ay) - i64::from(by)).abs()
}

/// `(x, y) in taken`, in `reset`.
fn taken(state: &State, planted: usize, x: i32, y: i32) -> bool {
    if (x, y) == (state.x, state.y) || (x, y) == (0, 0) {
        return true;
    }
    for tree in 0..planted {
        if (state.trees_x[tree], state.trees_y[tree]) == (x, y) {
            return true;
        }
    }
    false
}

/// `len(self.basket)`.
fn basket_count(state: &State) -> usize {
    (state.basket_count as usize).min(BASKET)
}

/// `len(self.crows)`.
fn crows_count(state: &State) -> usize {
    (state.crows_count as usize).min(CROWS)
}

/// `len(tree.fruit)`.
fn fruit_count(state: &State, tree: usize) -> usize {
    (state.trees_fruit_count[tree] as usize).min(MAX_FRUIT)
}

/// `tree.kind`, as a place in the tables.
fn kind_of(state: &State, tree: usize) -> usize {
    (state.trees_kind[tree] as usize).min(2)
}

/// `len(tree.ripe())`.
fn ripe(state: &State, tree: usize) -> usize {
    let ripening = RIPENING[kind_of(state, tree)];
    let mut count = 0;
    for i in 0..fruit_count(state, tree) {
        if state.trees_fruit[tree][i] >= ripening {
            count += 1;
        }
    }
    count
}

/// Takes the fruit at a place out of a tree's list; the others keep their order.
fn remove_fruit(state: &mut State, tree: usize, at: usize) {
    let count = fruit_count(state, tree);
    if at >= count {
        return;
    }
    for i in at + 1..count {
        state.trees_fruit[tree][i - 1] = state.trees_fruit[tree][i];
    }
    state.trees_fruit[tree][count - 1] = 0;
    state.trees_fruit_count[tree] = (count - 1) as u32;
}

/// Sets a crow's place in the arrays to 0.
fn clear_crow(state: &mut State, crow: usize) {
    state.crows_x[crow] = 0;
    state.crows_y[crow] = 0;
    state.crows_hunger[crow] = 0;
    state.crows_seated[crow] = 0;
}

/// `self.crows = [crow for crow in self.crows if crow.hunger > 0]`.
fn keep_hungry(state: &mut State) {
    let count = crows_count(state);
    let mut kept = 0;
    for crow in 0..count {
        if state.crows_hunger[crow] > 0 {
            state.crows_x[kept] = state.crows_x[crow];
            state.crows_y[kept] = state.crows_y[crow];
            state.crows_hunger[kept] = state.crows_hunger[crow];
            state.crows_seated[kept] = state.crows_seated[crow];
            kept += 1;
        }
    }
    for crow in kept..count {
        clear_crow(state, crow);
    }
    state.crows_count = kept as u32;
}

/// `Tree.grow`: one turn of weather and growth; returns how many fruits rotted.
fn grow(state: &mut State, tree: usize, draws: &mut impl Draws) -> i32 {
    let mut moisture = get(state.trees_moisture[tree]);
    if state.sky == RAIN {
        moisture = min_one(moisture + 0.08);
    } else if state.sky == CLEAR {
        moisture = max_zero(moisture - 0.03);
    } else {
        moisture = max_zero(moisture - 0.01);
    }
    state.trees_moisture[tree] = put(moisture);
    let count = fruit_count(state, tree);
    if moisture > 0.15 {
        for i in 0..count {
            // An age at the end of the range is rotten either way.
            state.trees_fruit[tree][i] = state.trees_fruit[tree][i].saturating_add(1);
        }
    }
    let limit = 3 * RIPENING[kind_of(state, tree)];
    let mut kept = 0;
    for i in 0..count {
        let age = state.trees_fruit[tree][i];
        if age <= limit {
            state.trees_fruit[tree][kept] = age;
            kept += 1;
        }
    }
    for i in kept..count {
        state.trees_fruit[tree][i] = 0;
    }
    state.trees_fruit_count[tree] = kept as u32;
    let rotten = (count - kept) as i32;
    // QUIRK(grow): a full tree makes no draw.
    if kept < MAX_FRUIT && random(draws) < 0.12 * moisture {
        state.trees_fruit[tree][kept] = 0;
        state.trees_fruit_count[tree] = (kept + 1) as u32;
    }
    rotten
}

/// `act`: the farmer's action; returns the penalty.
fn act(state: &mut State, action: u32) -> f64 {
    if action == EAST || action == WEST || action == SOUTH || action == NORTH {
        let (dx, dy): (i64, i64) = match action {
            EAST => (1, 0),
            WEST => (-1, 0),
            SOUTH => (0, 1),
            _ => (0, -1),
        };
        let x = i64::from(state.x) + dx;
        let y = i64::from(state.y) + dy;
        if !(0 <= x && x < i64::from(WIDTH) && 0 <= y && y < i64::from(HEIGHT)) {
            return 0.02;
        }
        state.x = x as i32;
        state.y = y as i32;
        if (x, y) == (0, 0) {
            sell(state);
            state.water = 5;
        }
    } else if action == PICK {
        return pick(state);
    } else if action == CLAP {
        clap(state);
        return 0.01;
    } else if action == WATER {
        let Some(tree) = tree_at(state, state.x, state.y) else {
            return 0.02;
        };
        // QUIRK(act): only a water of exactly 0 is refused; a negative one waters on.
        if state.water == 0 {
            return 0.02;
        }
        state.water = state.water.wrapping_sub(1);
        state.trees_moisture[tree] = put(min_one(get(state.trees_moisture[tree]) + 0.25));
    }
    0.0
}

/// `pick`.
fn pick(state: &mut State) -> f64 {
    let Some(tree) = tree_at(state, state.x, state.y) else {
        return 0.02;
    };
    let basket = basket_count(state);
    if basket >= BASKET {
        return 0.02;
    }
    let kind = kind_of(state, tree);
    // QUIRK(pick): the first ripe fruit of the list is taken, which need not be the oldest.
    let mut first = None;
    for i in 0..fruit_count(state, tree) {
        if state.trees_fruit[tree][i] >= RIPENING[kind] {
            first = Some(i);
            break;
        }
    }
    let Some(at) = first else {
        return 0.02;
    };
    let age = state.trees_fruit[tree][at];
    remove_fruit(state, tree, at);
    let late = i64::from(age) - i64::from(RIPENING[kind]);
    let share = late as f64 / f64::from(4 * RIPENING[kind]);
    let price = PRICE[kind] * (1.0 - share);
    state.basket[basket] = put(price);
    state.basket_count = (basket + 1) as u32;
    0.0
}

/// `sell`.
fn sell(state: &mut State) {
    let count = basket_count(state);
    // sort(reverse=True) is stable: equal prices keep their order.
    for i in 1..count {
        let words = state.basket[i];
        let price = get(words);
        let mut j = i;
        while j > 0 && get(state.basket[j - 1]) < price {
            state.basket[j] = state.basket[j - 1];
            j -= 1;
        }
        state.basket[j] = words;
    }
    let mut money = get(state.money);
    for place in 0..count {
        let paid = get(state.basket[place]) * PLACE[place];
        money = money + paid;
    }
    state.money = put(money);
    state.basket = [[0, 0]; BASKET];
    state.basket_count = 0;
}

/// `clap`.
fn clap(state: &mut State) {
    for crow in 0..crows_count(state) {
        let distance = apart(state.crows_x[crow], state.crows_y[crow], state.x, state.y);
        if distance <= 2 {
            state.crows_seated[crow] = 0;
            state.crows_hunger[crow] = state.crows_hunger[crow].saturating_sub(2);
        }
    }
    // QUIRK(clap): crows that are far away go as well if they are not hungry.
    keep_hungry(state);
}

/// `change_weather`.
fn change_weather(state: &mut State, draws: &mut impl Draws) {
    if random(draws) < 0.1 {
        if state.sky == CLOUDY {
            state.sky = if draws.below(2, SITE) == 0 { CLEAR } else { RAIN };
        } else {
            state.sky = CLOUDY;
        }
    }
}

/// `call_crows`.
fn call_crows(state: &mut State, draws: &mut impl Draws) {
    let mut fruit = 0;
    for tree in 0..TREES {
        fruit += ripe(state, tree);
    }
    let count = crows_count(state);
    // QUIRK(call_crows): with six crows or more there is no draw.
    if count >= 6 {
        return;
    }
    let more = 0.01 * fruit as f64;
    if random(draws) < 0.02 + more {
        let x;
        let y;
        if random(draws) < 0.5 {
            x = if draws.below(2, SITE) == 0 { 0 } else { WIDTH - 1 };
            y = draws.below(HEIGHT as u32, SITE) as i32;
        } else {
            x = draws.below(WIDTH as u32, SITE) as i32;
            y = if draws.below(2, SITE) == 0 { 0 } else { HEIGHT - 1 };
        }
        let hunger = 3 + draws.below(4, SITE) as i32;
        state.crows_x[count] = x;
        state.crows_y[count] = y;
        state.crows_hunger[count] = hunger;
        state.crows_seated[count] = 0;
        state.crows_count = (count + 1) as u32;
    }
}

/// `move_crows`: returns its own penalty.
fn move_crows(state: &mut State, draws: &mut impl Draws) -> f64 {
    let mut penalty = 0.0;
    for crow in 0..crows_count(state) {
        if state.crows_seated[crow] != 0 {
            if let Some(tree) = tree_at(state, state.crows_x[crow], state.crows_y[crow]) {
                if ripe(state, tree) > 0 {
                    if random(draws) < 0.4 {
                        // tree.fruit.remove(max(tree.fruit)): the first one of the oldest.
                        let mut oldest = 0;
                        for i in 1..fruit_count(state, tree) {
                            if state.trees_fruit[tree][i] > state.trees_fruit[tree][oldest] {
                                oldest = i;
                            }
                        }
                        remove_fruit(state, tree, oldest);
                        state.crows_hunger[crow] = state.crows_hunger[crow].saturating_sub(1);
                        state.stolen = state.stolen.wrapping_add(1);
                        penalty = penalty + 0.1;
                    }
                    continue;
                }
            }
        }
        state.crows_seated[crow] = 0;
        match target_of(state, crow) {
            None => {
                let dx = draws.below(3, SITE) as i32 - 1;
                state.crows_x[crow] = state.crows_x[crow].saturating_add(dx);
                let dy = draws.below(3, SITE) as i32 - 1;
                state.crows_y[crow] = state.crows_y[crow].saturating_add(dy);
                state.crows_x[crow] = within(state.crows_x[crow], WIDTH - 1);
                state.crows_y[crow] = within(state.crows_y[crow], HEIGHT - 1);
            }
            Some(tree) => {
                let (x, y) = (state.trees_x[tree], state.trees_y[tree]);
                state.crows_x[crow] = towards(state.crows_x[crow], x);
                state.crows_y[crow] = towards(state.crows_y[crow], y);
                let there = (state.crows_x[crow], state.crows_y[crow]) == (x, y);
                state.crows_seated[crow] = u32::from(there);
            }
        }
    }
    // QUIRK(move_crows): a crow without hunger goes only after it has had its turn.
    keep_hungry(state);
    penalty
}

/// `min(max(value, 0), high)`.
fn within(value: i32, high: i32) -> i32 {
    if value < 0 {
        0
    } else if value > high {
        high
    } else {
        value
    }
}

/// `from + (to > from) - (to < from)`.
fn towards(from: i32, to: i32) -> i32 {
    if to > from {
        from.saturating_add(1)
    } else if to < from {
        from.saturating_sub(1)
    } else {
        from
    }
}

/// `target_of`: the nearest tree with ripe fruit, away from the farmer; the first one of those that are as near.
fn target_of(state: &State, crow: usize) -> Option<usize> {
    let mut best = None;
    // QUIRK(target_of): a tree that is 99 or more away is never a target.
    let mut nearest: i64 = 99;
    for tree in 0..TREES {
        if ripe(state, tree) == 0 || apart(state.trees_x[tree], state.trees_y[tree], state.x, state.y) <= 1 {
            continue;
        }
        let dx = (i64::from(state.trees_x[tree]) - i64::from(state.crows_x[crow])).abs();
        let dy = (i64::from(state.trees_y[tree]) - i64::from(state.crows_y[crow])).abs();
        let distance = if dy > dx { dy } else { dx };
        if distance < nearest {
            best = Some(tree);
            nearest = distance;
        }
    }
    best
}

/// `tree_at`: the first tree in that cell.
fn tree_at(state: &State, x: i32, y: i32) -> Option<usize> {
    for tree in 0..TREES {
        if (state.trees_x[tree], state.trees_y[tree]) == (x, y) {
            return Some(tree);
        }
    }
    None
}
