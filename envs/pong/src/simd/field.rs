//! The lanes, as blocks of arrays of 16-bit whole numbers, and the one step that training and the judge both take.
//!
//! A step of one lane reads 1 byte of action and 14 of state, and writes 16 bytes of state, 24 of observation as columns
//! or 32 as rows, 4 of reward and 1 of terminal; what belongs to points (a ledger of 64 bytes) is touched when one is
//! made. The results of a lane do not depend on how many lanes there are, on its place, or on its neighbours.

use super::instructions::Instructions;
use super::ledger::{Ledger, Ledgers, Point, SCORE_MAX};
use super::portable;
use super::rules::{
    BALL_SPEED_X, BALL_SPEED_Y_MAX, FIELD_HEIGHT, PADDLE_HEIGHT, SERVE_CENTRE, SERVE_X, SERVE_Y, X_MAX, Y_MAX, play,
};
use super::vector::{Vector, slot_of_lane};
use crate::rules::Pong;
use crate::state::State;
use crate::world::World;
use lockstep_core::{Header, Refusal, Rules, Source, Writer};
use std::ops::RangeInclusive;

/// How far outside the field a ball may be set.
const MARGIN: i16 = 64;

/// 32 lanes, each field in the order of the instruction set's slots.
#[repr(C, align(64))]
#[derive(Clone)]
pub(super) struct Block {
    pub centre_l: [i16; Block::LANES],
    pub centre_r: [i16; Block::LANES],
    pub x: [i16; Block::LANES],
    pub y: [i16; Block::LANES],
    pub vx: [i16; Block::LANES],
    pub vy: [i16; Block::LANES],
    /// Of the agent's paddle in the last step.
    pub direction: [i16; Block::LANES],
    /// Bounces of this round that the ledger does not hold yet.
    pub bounces: [i16; Block::LANES],
}

impl Block {
    pub const LANES: usize = 32;

    /// Lanes in which nothing ever happens: a last block is filled up with them.
    const IDLE: Block = Block {
        centre_l: [SERVE_CENTRE; Block::LANES],
        centre_r: [SERVE_CENTRE; Block::LANES],
        x: [SERVE_X; Block::LANES],
        y: [SERVE_Y; Block::LANES],
        vx: [0; Block::LANES],
        vy: [0; Block::LANES],
        direction: [0; Block::LANES],
        bounces: [0; Block::LANES],
    };
}

/// How observations lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `[8][lanes]`: a column for each value. The last two are always 0; a step does not write them.
    Columns,
    /// `[lanes][8]`: a row for each lane.
    Rows,
}

/// Where a step writes its results. Nothing in them is read, so each step may have other ones.
pub struct Outputs<'a> {
    /// `8 × lanes`, in the layout asked for.
    pub observations: &'a mut [f32],
    /// `lanes`.
    pub rewards: &'a mut [f32],
    /// `lanes`, 1 where an episode ended.
    pub terminals: &'a mut [u8],
}

/// Many lanes of Pong.
pub struct Field {
    instructions: Instructions,
    world: World,
    lanes: usize,
    blocks: Vec<Block>,
    ledgers: Ledgers,
    /// Steps until the blocks' bounces could overflow.
    steps_to_carry: u32,
    /// Observations that were set and are not those of the state: a point before the next one leaves them standing.
    held: Vec<(usize, [f32; 8])>,
}

/// One step for an instruction set to play.
pub(super) struct Task<'a> {
    pub blocks: *mut Block,
    pub lanes: usize,
    pub frameskip: u32,
    pub ledgers: &'a mut Ledgers,
    pub actions: *const u8,
    pub observations: *mut f32,
    pub rewards: *mut f32,
    pub terminals: *mut u8,
    layout: Layout,
}

/// The variants of a step that are compiled apart.
pub(super) enum Kernel {
    Columns,
    ColumnsSkip,
    Rows,
    RowsSkip,
}

impl Task<'_> {
    pub fn kernel(&self) -> Kernel {
        match (self.layout, self.frameskip) {
            (Layout::Columns, 1) => Kernel::Columns,
            (Layout::Columns, _) => Kernel::ColumnsSkip,
            (Layout::Rows, 1) => Kernel::Rows,
            (Layout::Rows, _) => Kernel::RowsSkip,
        }
    }
}

impl Field {
    /// `lanes` lanes that start with [`Field::reset`].
    ///
    /// # Errors
    /// Names the option with which the state would not be whole numbers.
    pub fn new(world: &World, lanes: usize, instructions: Instructions) -> Result<Self, String> {
        assert!(instructions.is_available(), "{} is not available", instructions.name());
        refuse_other_options(world)?;
        Ok(Field {
            instructions,
            world: world.clone(),
            lanes,
            blocks: vec![Block::IDLE; lanes.div_ceil(Block::LANES)],
            ledgers: Ledgers::new(lanes),
            steps_to_carry: steps_to_carry(world),
            held: Vec::new(),
        })
    }

    /// Starts all lanes at their first episode; lane i draws from stream i of `seed`.
    pub fn reset(&mut self, seed: u64) {
        for lane in 0..self.lanes {
            self.start(lane, Header { seed, stream: lane as u64, ..Header::default() }, Source::Seeded);
        }
    }

    /// Starts the episode that `header` names in one lane; returns what was drawn for its serve.
    pub fn start(&mut self, lane: usize, header: Header, source: Source) -> u32 {
        self.enter(lane, header, source);
        let drawn = self.ledgers.draw(lane);
        let round = [SERVE_CENTRE, SERVE_CENTRE, SERVE_X, SERVE_Y, BALL_SPEED_X, drawn as i16 - 1, 0, 0];
        self.put(lane, round);
        drawn
    }

    /// Writes the observations of all lanes as they follow from their states, also what a step never writes.
    pub fn observe(&self, layout: Layout, observations: &mut [f32]) {
        assert_eq!(observations.len(), 8 * self.lanes);
        for lane in 0..self.lanes {
            for (i, value) in self.view(&self.state(lane)).into_iter().enumerate() {
                let place = if layout == Layout::Rows { 8 * lane + i } else { i * self.lanes + lane };
                observations[place] = value;
            }
        }
    }

    /// Plays one step of all lanes. Action 1 is up, 2 is down, every other one stands still. A lane whose episode ends
    /// shows the next one's first observation, as the reference does; after another point its observation is the last
    /// one before the point.
    pub fn step(&mut self, layout: Layout, actions: &[u8], outputs: Outputs<'_>) {
        let lanes = self.lanes;
        assert_eq!(actions.len(), lanes, "one action per lane");
        assert_eq!(outputs.observations.len(), 8 * lanes, "eight values per lane");
        assert_eq!((outputs.rewards.len(), outputs.terminals.len()), (lanes, lanes), "one value per lane");
        self.ledgers.points.clear();
        self.ledgers.clock = self.ledgers.clock.wrapping_add(1);
        let task = Task {
            blocks: self.blocks.as_mut_ptr(),
            lanes,
            frameskip: self.world.frameskip,
            ledgers: &mut self.ledgers,
            actions: actions.as_ptr(),
            observations: outputs.observations.as_mut_ptr(),
            rewards: outputs.rewards.as_mut_ptr(),
            terminals: outputs.terminals.as_mut_ptr(),
            layout,
        };
        // SAFETY: the instruction set is available, as `new` asserted; the slices have the sizes of the lanes, as
        // asserted above, and the blocks are as many as the lanes need.
        unsafe {
            match self.instructions {
                Instructions::Portable => play_portable(task),
                #[cfg(target_arch = "x86_64")]
                Instructions::Avx2 => super::avx2::step(task),
                #[cfg(target_arch = "x86_64")]
                Instructions::Avx512 => super::avx512::step(task),
                #[cfg(not(target_arch = "x86_64"))]
                _ => unreachable!("it is not available"),
            }
        }
        if !self.held.is_empty() {
            self.show_held(layout, outputs.observations);
        }
        self.steps_to_carry -= 1;
        if self.steps_to_carry == 0 {
            self.carry_bounces();
        }
    }

    /// The points of the last step.
    pub fn points(&self) -> &[Point] {
        &self.ledgers.points
    }

    /// Where one lane is in its draws and episodes.
    pub fn header(&self, lane: usize) -> Header {
        self.ledgers.lanes[lane].header(self.ledgers.clock)
    }

    /// Where one lane's draws come from.
    pub fn source(&self, lane: usize) -> &Source {
        &self.ledgers.sources[lane]
    }

    /// One lane's state, as the readable backend has it.
    pub fn state(&self, lane: usize) -> State {
        let ledger = &self.ledgers.lanes[lane];
        let clock = self.ledgers.clock;
        let [centre_l, centre_r, x, y, vx, vy, direction, bounces] = self.get(lane);
        // A flat ball that was set outside the field turns there in every subframe: 0, -0, 0, …
        let turns = clock.wrapping_sub(ledger.flat_clock).wrapping_mul(self.world.frameskip);
        let is_negative = vy == 0 && !(0..=Y_MAX).contains(&y) && ((turns & 1 == 1) != ledger.is_flat_negative);
        State {
            paddle_yl: f32::from(centre_l - PADDLE_HEIGHT / 2),
            paddle_yr: f32::from(centre_r - PADDLE_HEIGHT / 2),
            ball_x: f32::from(x),
            ball_y: f32::from(y),
            ball_vx: f32::from(vx),
            ball_vy: if is_negative { -0.0 } else { f32::from(vy) },
            paddle_dir: f32::from(direction),
            score_l: ledger.score_l.into(),
            score_r: ledger.score_r.into(),
            tick: clock.wrapping_sub(ledger.round_clock) as i32,
            n_bounces: ledger.bounces.wrapping_add(bounces.into()),
            win: ledger.win,
        }
    }

    /// Sets one lane; `observation` is the last one that it showed.
    ///
    /// # Errors
    /// Names what is not a whole number in the range of the game; the lane is then as it was.
    pub fn set(
        &mut self,
        lane: usize,
        header: Header,
        source: Source,
        state: &State,
        observation: [f32; 8],
    ) -> Result<(), Refusal> {
        let paddle = -PADDLE_HEIGHT / 2..=FIELD_HEIGHT - PADDLE_HEIGHT / 2;
        let centre_l = whole("paddle_yl", state.paddle_yl, paddle.clone())? + PADDLE_HEIGHT / 2;
        let centre_r = whole("paddle_yr", state.paddle_yr, paddle)? + PADDLE_HEIGHT / 2;
        let x = whole("ball_x", state.ball_x, -MARGIN..=X_MAX + MARGIN)?;
        let y = whole("ball_y", state.ball_y, -MARGIN..=Y_MAX + MARGIN)?;
        let vx = whole("ball_vx", state.ball_vx, -BALL_SPEED_X..=BALL_SPEED_X)?;
        if vx.abs() != BALL_SPEED_X {
            return Err(Refusal(format!("ball_vx is {vx}, not {BALL_SPEED_X} or -{BALL_SPEED_X}: use backend rust")));
        }
        let is_flat_negative = state.ball_vy.to_bits() == (-0.0f32).to_bits() && !(0..=Y_MAX).contains(&y);
        let vy = if is_flat_negative { 0.0 } else { state.ball_vy };
        let vy = whole("ball_vy", vy, -BALL_SPEED_Y_MAX..=BALL_SPEED_Y_MAX)?;
        let direction = whole("paddle_dir", state.paddle_dir, -1..=1)?;
        let (score_l, score_r) = (score("score_l", state.score_l)?, score("score_r", state.score_r)?);
        if observation[6..].iter().any(|value| value.to_bits() != 0) {
            return Err(Refusal("the observation shows scores other than 0: use backend rust".into()));
        }
        self.enter(lane, header, source);
        let clock = self.ledgers.clock;
        let ledger = &mut self.ledgers.lanes[lane];
        (ledger.score_l, ledger.score_r) = (score_l, score_r);
        (ledger.win, ledger.bounces) = (state.win, state.n_bounces);
        ledger.round_clock = clock.wrapping_sub(state.tick as u32);
        (ledger.flat_clock, ledger.is_flat_negative) = (clock, is_flat_negative);
        self.put(lane, [centre_l, centre_r, x, y, vx, vy, direction, 0]);
        if self.view(state).map(f32::to_bits) != observation.map(f32::to_bits) {
            self.held.push((lane, observation));
        }
        Ok(())
    }

    /// A new ledger for a lane.
    fn enter(&mut self, lane: usize, header: Header, source: Source) {
        let is_listed = source != Source::Seeded;
        self.ledgers.lanes[lane] = Ledger::at(header, self.ledgers.clock, is_listed);
        self.ledgers.sources[lane] = source;
        self.held.retain(|(held, _)| *held != lane);
    }

    /// What the readable backend would show of this state.
    pub(super) fn view(&self, state: &State) -> [f32; 8] {
        let mut bytes = [0; 32];
        Pong::observe(&self.world, state, &NoRegions, 0, &mut Writer::new(&mut bytes));
        std::array::from_fn(|i| f32::from_le_bytes(bytes[4 * i..4 * i + 4].try_into().expect("four bytes")))
    }

    /// Puts back what was shown before a point that no observation preceded. It is over after one step: the serve that
    /// follows a point is seen at once.
    fn show_held(&mut self, layout: Layout, observations: &mut [f32]) {
        for (lane, view) in self.held.drain(..) {
            let stale = |point: &Point| point.lane == lane && point.opening && !point.terminal;
            if self.ledgers.points.iter().any(stale) {
                for (i, value) in view.into_iter().enumerate().take(6) {
                    let place = if layout == Layout::Rows { 8 * lane + i } else { i * self.lanes + lane };
                    observations[place] = value;
                }
            }
        }
    }

    /// Moves the blocks' bounces into the ledgers, before one of them could overflow.
    fn carry_bounces(&mut self) {
        for lane in 0..self.lanes {
            let slot = self.slot(lane);
            let bounces = std::mem::take(&mut self.blocks[lane / Block::LANES].bounces[slot]);
            let ledger = &mut self.ledgers.lanes[lane];
            ledger.bounces = ledger.bounces.wrapping_add(bounces.into());
        }
        self.steps_to_carry = steps_to_carry(&self.world);
    }

    fn slot(&self, lane: usize) -> usize {
        let lane = lane % Block::LANES;
        match self.instructions {
            Instructions::Portable => slot_in_block::<portable::Portable>(lane),
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => slot_in_block::<super::avx2::Avx2>(lane),
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => slot_in_block::<super::avx512::Avx512>(lane),
            #[cfg(not(target_arch = "x86_64"))]
            _ => unreachable!("it is not available"),
        }
    }

    fn put(&mut self, lane: usize, values: [i16; 8]) {
        let slot = self.slot(lane);
        let block = &mut self.blocks[lane / Block::LANES];
        block.centre_l[slot] = values[0];
        block.centre_r[slot] = values[1];
        block.x[slot] = values[2];
        block.y[slot] = values[3];
        block.vx[slot] = values[4];
        block.vy[slot] = values[5];
        block.direction[slot] = values[6];
        block.bounces[slot] = values[7];
    }

    fn get(&self, lane: usize) -> [i16; 8] {
        let slot = self.slot(lane);
        let block = &self.blocks[lane / Block::LANES];
        [
            block.centre_l[slot],
            block.centre_r[slot],
            block.x[slot],
            block.y[slot],
            block.vx[slot],
            block.vy[slot],
            block.direction[slot],
            block.bounces[slot],
        ]
    }
}

fn slot_in_block<V: Vector>(lane: usize) -> usize {
    lane / V::LANES * V::LANES + slot_of_lane::<V>(lane % V::LANES)
}

/// # Safety
/// The task's pointers are good.
unsafe fn play_portable(task: Task<'_>) {
    // SAFETY: as the caller promises; every machine has these instructions.
    unsafe {
        match task.kernel() {
            Kernel::Columns => play::<portable::Portable, false, false>(task),
            Kernel::ColumnsSkip => play::<portable::Portable, false, true>(task),
            Kernel::Rows => play::<portable::Portable, true, false>(task),
            Kernel::RowsSkip => play::<portable::Portable, true, true>(task),
        }
    }
}

/// There is at most one bounce in a subframe.
fn steps_to_carry(world: &World) -> u32 {
    i16::MAX as u32 / world.frameskip
}

fn whole(name: &str, value: f32, range: RangeInclusive<i16>) -> Result<i16, Refusal> {
    let number = value as i16;
    if f32::from(number).to_bits() != value.to_bits() || !range.contains(&number) {
        let (low, high) = (range.start(), range.end());
        return Err(Refusal(format!("{name} is {value:?}, not a whole number from {low} to {high}: use backend rust")));
    }
    Ok(number)
}

fn score(name: &str, value: u32) -> Result<u8, Refusal> {
    if value >= SCORE_MAX {
        return Err(Refusal(format!("{name} is {value}, and an episode ends at {SCORE_MAX}: use backend rust")));
    }
    Ok(value as u8)
}

/// Only the default parameters are compiled in.
fn refuse_other_options(world: &World) -> Result<(), String> {
    if world.continuous {
        return Err("option continuous is true, and rust.simd plays discrete actions only: use backend rust".into());
    }
    let default = World::new(lockstep_core::Options::default(), &lockstep_core::Files::new())
        .expect("all defaults are in their ranges");
    let options = [
        ("width", world.width, default.width),
        ("height", world.height, default.height),
        ("paddle_height", world.paddle_height, default.paddle_height),
        ("ball_width", world.ball_width, default.ball_width),
        ("ball_height", world.ball_height, default.ball_height),
        ("paddle_speed", world.paddle_speed, default.paddle_speed),
        ("ball_initial_speed_x", world.ball_initial_speed_x, default.ball_initial_speed_x),
        ("ball_initial_speed_y", world.ball_initial_speed_y, default.ball_initial_speed_y),
        ("ball_max_speed_y", world.ball_max_speed_y, default.ball_max_speed_y),
        ("ball_speed_y_increment", world.ball_speed_y_increment, default.ball_speed_y_increment),
        ("max_score", world.max_score as f32, default.max_score as f32),
    ];
    match options.into_iter().find(|(_, value, default)| value != default) {
        None => Ok(()),
        Some((name, value, default)) => {
            Err(format!("option {name} is {value}, and rust.simd plays only with {default}: use backend rust"))
        }
    }
}

/// Pong has no regions, but its observation takes some.
struct NoRegions;

impl lockstep_core::Regions for NoRegions {
    fn load8(&self, _region: usize, _offset: u32) -> u8 {
        unreachable!("pong has no regions")
    }

    fn store8(&mut self, _region: usize, _offset: u32, _value: u8) {
        unreachable!("pong has no regions")
    }

    fn load32(&self, _region: usize, _offset: u32) -> u32 {
        unreachable!("pong has no regions")
    }

    fn store32(&mut self, _region: usize, _offset: u32, _value: u32) {
        unreachable!("pong has no regions")
    }

    fn clear(&mut self, _region: usize) {
        unreachable!("pong has no regions")
    }
}
