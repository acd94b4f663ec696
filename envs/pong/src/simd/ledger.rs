//! What a lane needs only when a point is made: scores, clocks, and the draws of its serves.
//!
//! No step touches it otherwise. That is why it holds the clock at which a round and an episode began and not their
//! ages, and four serves at once, of which one block of the generator is made.

use lockstep_core::{Header, Source, below, threefry};

/// Points that end an episode.
pub(super) const SCORE_MAX: u32 = 21;

/// No block of draws has this number.
const NO_BLOCK: u32 = u32::MAX;

/// A point that a step made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// The lane.
    pub lane: usize,
    /// What was drawn for the serve after it: 0 goes up, 1 is flat.
    pub drawn: u32,
    /// Whether it ended the episode.
    pub terminal: bool,
    /// Whether it was made in the first subframe of its step, before any observation.
    pub opening: bool,
}

/// One lane's rare fields.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
pub(super) struct Ledger {
    pub seed: u64,
    pub stream: u64,
    pub episode: u32,
    pub draw_index: u32,
    /// The block of draws that `serves` holds, one bit each.
    block: u32,
    serves: u8,
    pub is_listed: bool,
    pub score_l: u8,
    pub score_r: u8,
    pub win: i32,
    /// Bounces of this round before those that the field still holds.
    pub bounces: i32,
    /// The clock at which the episode began.
    pub episode_clock: u32,
    /// The clock at which the round began.
    pub round_clock: u32,
    /// The clock at which a flat ball outside the field was set there, and with which sign of zero.
    pub flat_clock: u32,
    pub is_flat_negative: bool,
}

/// Those of all lanes.
pub(super) struct Ledgers {
    pub lanes: Vec<Ledger>,
    /// The lists of listed lanes.
    pub sources: Vec<Source>,
    /// Steps that were begun.
    pub clock: u32,
    /// The points of the last step.
    pub points: Vec<Point>,
}

impl Ledger {
    /// A ledger that is at `header`.
    pub fn at(header: Header, clock: u32, is_listed: bool) -> Self {
        Ledger {
            seed: header.seed,
            stream: header.stream,
            episode: header.episode,
            draw_index: header.draw_index,
            block: NO_BLOCK,
            is_listed,
            episode_clock: clock.wrapping_sub(header.elapsed),
            round_clock: clock,
            ..Ledger::default()
        }
    }

    /// The header that it is at.
    pub fn header(&self, clock: u32) -> Header {
        Header {
            seed: self.seed,
            stream: self.stream,
            episode: self.episode,
            elapsed: clock.wrapping_sub(self.episode_clock),
            draw_index: self.draw_index,
        }
    }

    /// `rand() % 2` of a seeded lane.
    fn draw(&mut self) -> u32 {
        let (block, place) = (self.draw_index >> 2, self.draw_index & 3);
        if block != self.block {
            let key = [self.seed as u32, (self.seed >> 32) as u32, self.stream as u32, (self.stream >> 32) as u32];
            let words = threefry(key, [block, self.episode, 0, 0]);
            self.block = block;
            self.serves = words.iter().rev().fold(0, |serves, &word| serves << 1 | below(word, 2) as u8);
        }
        self.draw_index = self.draw_index.wrapping_add(1);
        u32::from(self.serves >> place & 1)
    }
}

impl Ledgers {
    /// `lanes` ledgers before their first reset.
    pub fn new(lanes: usize) -> Self {
        Ledgers {
            lanes: vec![Ledger::at(Header::default(), 0, false); lanes],
            sources: vec![Source::Seeded; lanes],
            clock: 0,
            points: Vec::with_capacity(lanes),
        }
    }

    /// The draw of a serve.
    pub fn draw(&mut self, lane: usize) -> u32 {
        match &mut self.sources[lane] {
            Source::Listed { values, place } => {
                let value = values.get(*place).copied().unwrap_or(0);
                *place += 1;
                value % 2
            }
            Source::Seeded => self.lanes[lane].draw(),
        }
    }

    /// `point` and what the driver does at the end of an episode: in the step that is being played, `won` or not.
    pub fn point(&mut self, lane: usize, won: bool, opening: bool) -> Point {
        let drawn = if self.lanes[lane].is_listed { self.draw(lane) } else { self.lanes[lane].draw() };
        let clock = self.clock;
        let ledger = &mut self.lanes[lane];
        let score = if won { &mut ledger.score_r } else { &mut ledger.score_l };
        *score += 1;
        let terminal = u32::from(*score) == SCORE_MAX;
        ledger.win = i32::from(won);
        ledger.bounces = 0;
        ledger.round_clock = clock;
        if terminal {
            (ledger.score_l, ledger.score_r) = (0, 0);
            ledger.episode = ledger.episode.wrapping_add(1);
            ledger.episode_clock = clock;
            ledger.draw_index = 0;
            ledger.block = NO_BLOCK;
        }
        let point = Point { lane, drawn, terminal, opening };
        self.points.push(point);
        point
    }
}
