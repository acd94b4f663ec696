//! The rules of Puffer Pong in whole numbers, on as many lanes as a vector holds.
//!
//! It follows `rules.rs` of the readable backend in the order of events. A condition there is a mask here: all lanes
//! take every branch, and the mask tells which of them keep the result. Only a point, which is rare, leaves the
//! vectors: it needs a draw. A paddle is held by its centre, of which both the opponent and the observation speak.

use super::field::{Block, Task};
use super::ledger::Point;
use super::quotient::view;
use super::vector::{Vector, lane_of_slot};

pub(super) const FIELD_WIDTH: i16 = 500;
pub(super) const FIELD_HEIGHT: i16 = 640;
pub(super) const PADDLE_HEIGHT: i16 = 70;
pub(super) const BALL_SIZE: i16 = 32;
pub(super) const PADDLE_SPEED: i16 = 8;
pub(super) const BALL_SPEED_X: i16 = 10;
pub(super) const BALL_SPEED_Y_MAX: i16 = 13;
pub(super) const BALL_SPEED_Y_INCREMENT: i16 = 3;

/// The centre of a paddle at the start of a round.
pub(super) const SERVE_CENTRE: i16 = FIELD_HEIGHT / 2;
pub(super) const SERVE_X: i16 = FIELD_WIDTH / 5;
pub(super) const SERVE_Y: i16 = FIELD_HEIGHT / 2 - BALL_SIZE / 2;

/// The largest place of the ball inside the field.
pub(super) const X_MAX: i16 = FIELD_WIDTH - BALL_SIZE;
pub(super) const Y_MAX: i16 = FIELD_HEIGHT - BALL_SIZE;

/// Rewards by their code, which is a place in this table: nothing, a bounce, a point won, a point lost.
pub(super) const REWARDS: [f32; 8] = [0.0, 0.1, 1.0, -1.0, 0.0, 0.0, 0.0, 0.0];
const BOUNCE: i16 = 1;
const WON: i16 = 2;
const LOST: i16 = 3;

const UP: i16 = 1;
const DOWN: i16 = 2;

/// What a subframe moves.
#[derive(Clone, Copy)]
struct Court<V> {
    centre_l: V,
    centre_r: V,
    x: V,
    y: V,
    vx: V,
    vy: V,
}

/// What else came of a subframe, in the lanes that played it.
struct Rally<M> {
    bounced: M,
    bounced_right: M,
    missed: M,
    missed_right: M,
}

/// What the agents do in one step: 1, -1 or 0, and its multiples.
struct Stick<V> {
    direction: V,
    push: V,
    spin: V,
}

/// One step of all lanes of a task.
///
/// # Safety
/// The machine has the instruction set of `V`, and the task's pointers are good for its lanes.
#[inline(always)]
pub(super) unsafe fn play<V: Vector, const ROWS: bool, const SKIP: bool>(mut task: Task<'_>) {
    let whole = task.lanes / Block::LANES;
    // SAFETY: the machine and the pointers are as the caller promises; the last block, where it is not full, reads and
    // writes arrays of its own that have room for all of its lanes.
    unsafe {
        for block in 0..whole {
            let lane = block * Block::LANES;
            let actions = task.actions.add(lane);
            let observations = task.observations.add(if ROWS { 8 * lane } else { lane });
            let places = Places {
                actions,
                observations,
                stride: task.lanes,
                rewards: task.rewards.add(lane),
                terminals: task.terminals.add(lane),
            };
            play_block::<V, ROWS, SKIP>(&mut task, block, places);
        }
        let rest = task.lanes % Block::LANES;
        if rest == 0 {
            return;
        }
        let lane = whole * Block::LANES;
        let (mut actions, mut terminals) = ([0u8; Block::LANES], [0u8; Block::LANES]);
        let (mut observations, mut rewards) = ([0.0f32; 8 * Block::LANES], [0.0f32; Block::LANES]);
        task.actions.add(lane).copy_to_nonoverlapping(actions.as_mut_ptr(), rest);
        let places = Places {
            actions: actions.as_ptr(),
            observations: observations.as_mut_ptr(),
            stride: Block::LANES,
            rewards: rewards.as_mut_ptr(),
            terminals: terminals.as_mut_ptr(),
        };
        play_block::<V, ROWS, SKIP>(&mut task, whole, places);
        if ROWS {
            task.observations.add(8 * lane).copy_from_nonoverlapping(observations.as_ptr(), 8 * rest);
        } else {
            for i in 0..6 {
                let column = task.observations.add(i * task.lanes + lane);
                column.copy_from_nonoverlapping(observations.as_ptr().add(i * Block::LANES), rest);
            }
        }
        task.rewards.add(lane).copy_from_nonoverlapping(rewards.as_ptr(), rest);
        task.terminals.add(lane).copy_from_nonoverlapping(terminals.as_ptr(), rest);
    }
}

/// Where one block reads and writes.
struct Places {
    actions: *const u8,
    observations: *mut f32,
    /// From one column of the observations to the next.
    stride: usize,
    rewards: *mut f32,
    terminals: *mut u8,
}

/// # Safety
/// As [`play`], for all lanes of the block.
#[inline(always)]
unsafe fn play_block<V: Vector, const ROWS: bool, const SKIP: bool>(task: &mut Task<'_>, block: usize, places: Places) {
    for part in 0..Block::LANES / V::LANES {
        let lane = part * V::LANES;
        // SAFETY: as the caller promises; the part lies in the block.
        unsafe {
            let places = Places {
                actions: places.actions.add(lane),
                observations: places.observations.add(if ROWS { 8 * lane } else { lane }),
                stride: places.stride,
                rewards: places.rewards.add(lane),
                terminals: places.terminals.add(lane),
            };
            play_part::<V, ROWS, SKIP>(task, block, lane, places);
        }
    }
}

/// `c_step` of `V::LANES` lanes.
///
/// # Safety
/// As [`play_block`], for `V::LANES` lanes.
#[inline(always)]
unsafe fn play_part<V: Vector, const ROWS: bool, const SKIP: bool>(
    task: &mut Task<'_>,
    block: usize,
    lane: usize,
    places: Places,
) {
    // SAFETY: as the caller promises.
    unsafe {
        let at = task.blocks.add(block);
        let stick = Stick::of(V::actions(places.actions));
        let mut court = Court::<V> {
            centre_l: V::load((&raw const (*at).centre_l).cast::<i16>().add(lane)),
            centre_r: V::load((&raw const (*at).centre_r).cast::<i16>().add(lane)),
            x: V::load((&raw const (*at).x).cast::<i16>().add(lane)),
            y: V::load((&raw const (*at).y).cast::<i16>().add(lane)),
            vx: V::load((&raw const (*at).vx).cast::<i16>().add(lane)),
            vy: V::load((&raw const (*at).vy).cast::<i16>().add(lane)),
        };
        let mut bounces = V::load((&raw const (*at).bounces).cast::<i16>().add(lane));
        // What the observation shows: the court after the last subframe that was played to its end.
        let mut seen = court;
        let mut reward = V::splat(0);
        let mut playing = V::all();
        V::clear(places.terminals);
        for subframe in 0..if SKIP { task.frameskip } else { 1 } {
            let (mut next, rally) = court.subframe(&stick, playing);
            let mut shown = next;
            bounces = V::select(rally.bounced, bounces.add(V::splat(1)), bounces);
            reward = V::select(rally.bounced_right, V::splat(BOUNCE), reward);
            let missed = V::bits(rally.missed);
            if missed != 0 {
                let first = block * Block::LANES + lane;
                let serves = points::<V>(task, first, missed, V::bits(rally.missed_right), subframe == 0, &places);
                reward = V::select(rally.missed, V::splat(WON), reward);
                reward = V::select(rally.missed_right, V::splat(LOST), reward);
                bounces = V::select(rally.missed, V::splat(0), bounces);
                next = Court::select(rally.missed, Court::serve(V::mask(serves.upward)), next);
                // QUIRK(pong.h, c_step, a_point_leaves_the_observation_stale)
                shown = Court::select(V::mask(missed & !serves.terminal), seen, next);
            }
            if SKIP {
                // QUIRK(pong.h, c_step, a_point_ends_the_frameskip_loop)
                court = Court::select(playing, next, court);
                seen = Court::select(playing, shown, seen);
                playing = V::and_not(playing, rally.missed);
            } else {
                (court, seen) = (next, shown);
            }
        }
        court.centre_l.store((&raw mut (*at).centre_l).cast::<i16>().add(lane));
        court.centre_r.store((&raw mut (*at).centre_r).cast::<i16>().add(lane));
        court.x.store((&raw mut (*at).x).cast::<i16>().add(lane));
        court.y.store((&raw mut (*at).y).cast::<i16>().add(lane));
        court.vx.store((&raw mut (*at).vx).cast::<i16>().add(lane));
        court.vy.store((&raw mut (*at).vy).cast::<i16>().add(lane));
        bounces.store((&raw mut (*at).bounces).cast::<i16>().add(lane));
        stick.direction.store((&raw mut (*at).direction).cast::<i16>().add(lane));
        let [first, second] = reward.lookup(&REWARDS);
        V::store_floats(first, places.rewards);
        V::store_floats(second, places.rewards.add(V::LANES / 2));
        let columns = view([seen.centre_l, seen.centre_r, seen.x, seen.y, seen.vx, seen.vy]);
        if ROWS {
            V::store_rows(columns, places.observations);
        } else {
            for (i, [first, second]) in columns.into_iter().enumerate() {
                V::store_floats(first, places.observations.add(i * places.stride));
                V::store_floats(second, places.observations.add(i * places.stride + V::LANES / 2));
            }
        }
    }
}

impl<V: Vector> Stick<V> {
    /// # Safety
    /// The machine has the instruction set of `V`.
    #[inline(always)]
    unsafe fn of(action: V) -> Self {
        // SAFETY: as the caller promises.
        unsafe {
            let (up, down) = (action.eq(V::splat(UP)), action.eq(V::splat(DOWN)));
            // QUIRK(pong.h, c_step, other_actions_stand_still)
            let times = |size: i16| V::select(up, V::splat(size), V::select(down, V::splat(-size), V::splat(0)));
            Stick { direction: times(1), push: times(PADDLE_SPEED), spin: times(BALL_SPEED_Y_INCREMENT) }
        }
    }
}

impl<V: Vector> Court<V> {
    /// One turn of the frameskip loop, up to the draw of a serve.
    ///
    /// # Safety
    /// The machine has the instruction set of `V`.
    #[inline(always)]
    unsafe fn subframe(self, stick: &Stick<V>, playing: V::Mask) -> (Self, Rally<V::Mask>) {
        // SAFETY: as the caller promises.
        unsafe {
            let (zero, way) = (V::splat(0), V::splat(FIELD_HEIGHT));
            let speed = V::splat(PADDLE_SPEED);
            let centre_r = self.centre_r.add(stick.push).max(zero).min(way);
            let delta = self.y.sub(self.centre_l).max(V::splat(-PADDLE_SPEED)).min(speed);
            let centre_l = self.centre_l.add(delta).max(zero).min(way);
            let (x, y) = (self.x.add(self.vx), self.y.add(self.vy));
            let vy = V::select(y.within(V::splat(Y_MAX)), self.vy, zero.sub(self.vy));
            let inside = x.within(V::splat(X_MAX));
            let at_edge = V::and_not(playing, inside);
            let right = x.above(V::splat(X_MAX));
            let meets = meets_paddle(y, V::select(right, centre_r, centre_l));
            let (bounced, missed) = (V::and(at_edge, meets), V::and_not(at_edge, meets));
            let (bounced_right, missed_right) = (V::and(bounced, right), V::and(missed, right));
            // QUIRK(pong.h, c_step, a_left_bounce_does_not_clip)
            let vx = V::select(bounced, zero.sub(self.vx), self.vx);
            // After a bounce on the right:
            let speed_max = V::splat(BALL_SPEED_Y_MAX);
            let spun = vy.add(stick.spin).max(zero.sub(speed_max)).min(speed_max);
            // QUIRK(pong.h, c_step, a_flat_bounce_goes_down)
            let spun = V::select(spun.eq(zero), V::splat(BALL_SPEED_Y_INCREMENT), spun);
            let vy = V::select(bounced_right, spun, vy);
            // QUIRK(pong.h, c_step, a_right_bounce_clips_both_axes)
            let x = V::select(bounced_right, V::splat(X_MAX), x);
            let y = V::select(bounced_right, y.max(zero).min(V::splat(Y_MAX)), y);
            let next = Court { centre_l, centre_r, x, y, vx, vy };
            (next, Rally { bounced, bounced_right, missed, missed_right })
        }
    }

    /// `reset_round`: the ball goes up where 0 was drawn, and is flat where 1 was.
    ///
    /// # Safety
    /// The machine has the instruction set of `V`.
    #[inline(always)]
    unsafe fn serve(upward: V::Mask) -> Self {
        // SAFETY: as the caller promises.
        unsafe {
            Court {
                centre_l: V::splat(SERVE_CENTRE),
                centre_r: V::splat(SERVE_CENTRE),
                x: V::splat(SERVE_X),
                y: V::splat(SERVE_Y),
                vx: V::splat(BALL_SPEED_X),
                vy: V::select(upward, V::splat(-1), V::splat(0)),
            }
        }
    }

    /// # Safety
    /// The machine has the instruction set of `V`.
    #[inline(always)]
    unsafe fn select(mask: V::Mask, yes: Self, no: Self) -> Self {
        // SAFETY: as the caller promises.
        unsafe {
            Court {
                centre_l: V::select(mask, yes.centre_l, no.centre_l),
                centre_r: V::select(mask, yes.centre_r, no.centre_r),
                x: V::select(mask, yes.x, no.x),
                y: V::select(mask, yes.y, no.y),
                vx: V::select(mask, yes.vx, no.vx),
                vy: V::select(mask, yes.vy, no.vy),
            }
        }
    }
}

/// `ball_y + ball_height > paddle_y && ball_y < paddle_y + paddle_height`.
///
/// # Safety
/// The machine has the instruction set of `V`.
#[inline(always)]
unsafe fn meets_paddle<V: Vector>(y: V, centre: V) -> V::Mask {
    // From the top of the paddle the ball is at -31 to 69, both included.
    const ABOVE: i16 = PADDLE_HEIGHT / 2 + BALL_SIZE - 1;
    const SPAN: i16 = PADDLE_HEIGHT + BALL_SIZE - 2;
    // SAFETY: as the caller promises.
    unsafe { y.sub(centre).add(V::splat(ABOVE)).within(V::splat(SPAN)) }
}

/// What the points of one subframe make of their lanes; bit i is slot i.
struct Serves {
    upward: u32,
    terminal: u32,
}

/// Enters the points of one subframe, one lane after the other.
///
/// # Safety
/// `places` is that of `V::LANES` lanes.
#[inline(never)]
unsafe fn points<V: Vector>(
    task: &mut Task<'_>,
    first: usize,
    missed: u32,
    right: u32,
    opening: bool,
    places: &Places,
) -> Serves {
    let mut serves = Serves { upward: 0, terminal: 0 };
    let mut left = missed;
    while left != 0 {
        let slot = left.trailing_zeros();
        left &= left - 1;
        let within = lane_of_slot::<V>(slot as usize);
        let won = right >> slot & 1 == 0;
        let Point { drawn, terminal, .. } = task.ledgers.point(first + within, won, opening);
        serves.upward |= (drawn ^ 1) << slot;
        serves.terminal |= u32::from(terminal) << slot;
        if terminal {
            // SAFETY: the lane is one of the `V::LANES` of `places`.
            unsafe { *places.terminals.add(within) = 1 };
        }
    }
    serves
}
