//! One step of many lanes: vectors of them are put together, played with the functions of the readable backend, and
//! taken apart.
//!
//! A lane's bits depend on nothing but itself, so any lanes may stand side by side. Those that touched the floor with
//! the same points are put together, because what no lane of a vector needs is not computed.

use crate::constraint::Rows;
use crate::model::Model;
use crate::real::Real;
use crate::rules::{reward, torques};
use crate::state::State;
use crate::substep::{Motion, substep};
use crate::world::World;

/// A number of each of several lanes, with the way in and out.
pub(super) trait Lanes: Real {
    /// Whether the numbers are singles.
    const IS_SINGLE: bool;
    /// How many lanes.
    const LANES: usize;

    /// The first of these numbers, rounded to the precision.
    fn load(from: &[f64]) -> Self;

    /// Writes the numbers to the first of these places.
    fn store(self, to: &mut [f64]);

    /// A bit for each lane.
    fn bits(mask: Self::Mask) -> u32;
}

/// Lanes of a vector at most.
const LANES_MAX: usize = 16;

/// One step of lanes that lie in arrays.
pub(super) struct Task<'a> {
    pub world: &'a World,
    pub states: &'a mut [State],
    /// What each lane touched in its last substep: lanes with the same number are put together.
    pub keys: &'a mut [u32],
    /// Room for as many numbers as there are lanes.
    pub order: &'a mut Vec<u64>,
    /// Controls of each lane.
    pub controls: &'a [[f32; 6]],
    pub rewards: &'a mut [f64],
}

/// Lanes whose order is settled together; their states stay in a near cache.
const SORTED: usize = 512;

/// Numbers of the lanes of a vector side by side.
#[repr(align(64))]
struct Columns([[f64; LANES_MAX]; 33]);

/// Plays it.
#[inline(always)]
pub(super) fn play<V: Lanes>(task: &mut Task<'_>) {
    let count = task.states.len();
    let mut rows = Rows::new();
    let mut columns = Columns([[0.0; LANES_MAX]; 33]);
    for first in (0..count).step_by(SORTED) {
        let end = count.min(first + SORTED);
        task.order.clear();
        task.order.extend((first..end).map(|lane| u64::from(task.keys[lane]) << 32 | lane as u64));
        task.order.sort_unstable();
        for from in (0..end - first).step_by(V::LANES) {
            let to = (end - first).min(from + V::LANES);
            let mut lanes = [0; LANES_MAX];
            for (place, lane) in lanes[..V::LANES].iter_mut().enumerate() {
                // The last vector is filled up with its last lane.
                *lane = task.order[(from + place).min(to - 1)] as u32 as usize;
            }
            play_vector::<V>(task, &lanes, to - from, &mut rows, &mut columns);
        }
    }
}

/// Plays the lanes of one vector, of which the first `count` are kept.
#[inline(always)]
fn play_vector<V: Lanes>(
    task: &mut Task<'_>,
    lanes: &[usize; LANES_MAX],
    count: usize,
    rows: &mut Rows<V>,
    columns: &mut Columns,
) {
    let world = task.world;
    for place in 0..V::LANES {
        let lane = lanes[place];
        let state = &task.states[lane];
        for dof in 0..9 {
            columns.0[dof][place] = state.qpos[dof];
            columns.0[9 + dof][place] = state.qvel[dof];
            columns.0[18 + dof][place] = state.qacc_warmstart[dof];
        }
        if V::IS_SINGLE {
            // Nothing depends on `rootx`, and on `rooty` by whole turns.
            columns.0[0][place] = 0.0;
            columns.0[2][place] = turned_back(state.qpos[2]);
        }
        let torque = torques(world, &task.controls[lane]);
        for joint in 0..6 {
            columns.0[27 + joint][place] = torque[joint];
        }
    }
    let mut motion = Motion {
        qpos: std::array::from_fn(|dof| V::load(&columns.0[dof])),
        qvel: std::array::from_fn(|dof| V::load(&columns.0[9 + dof])),
        warmstart: std::array::from_fn(|dof| V::load(&columns.0[18 + dof])),
    };
    let mut torque: [V; 6] = std::array::from_fn(|joint| V::load(&columns.0[27 + joint]));
    let mut exploded = V::always(false);
    for index in 0..world.frame_skip {
        let last = V::always(index + 1 == world.frame_skip);
        let (_, now) = substep(&Model::MUJOCO, &mut motion, &mut torque, last, rows);
        exploded = V::either(exploded, now);
    }
    let exploded = V::bits(exploded);
    for dof in 0..9 {
        motion.qpos[dof].store(&mut columns.0[dof]);
        motion.qvel[dof].store(&mut columns.0[9 + dof]);
        motion.warmstart[dof].store(&mut columns.0[18 + dof]);
    }
    rows.contacts.store(&mut columns.0[27]);
    rows.limits.store(&mut columns.0[28]);
    let mut keys = [0u32; LANES_MAX];
    for contact in &rows.contact[..rows.count] {
        let bits = V::bits(contact.active);
        for (place, key) in keys[..V::LANES].iter_mut().enumerate() {
            *key |= (bits >> place & 1) << (6 + contact.point);
        }
    }
    for (joint, limit) in rows.limit.iter().enumerate() {
        let bits = V::bits(limit.active);
        for (place, key) in keys[..V::LANES].iter_mut().enumerate() {
            *key |= (bits >> place & 1) << joint;
        }
    }
    for place in 0..count {
        let lane = lanes[place];
        let state = &mut task.states[lane];
        let before = state.qpos;
        for dof in 0..9 {
            state.qpos[dof] = columns.0[dof][place];
            state.qvel[dof] = columns.0[9 + dof][place];
            state.qacc_warmstart[dof] = columns.0[18 + dof][place];
        }
        state.ncon = columns.0[27][place] as u32;
        state.nlimit = columns.0[28][place] as u32;
        task.keys[lane] = keys[place];
        // An explosion has put rootx and rooty at 0, and neither goes on from where it was.
        if V::IS_SINGLE && exploded >> place & 1 == 0 {
            let turned = f64::from(turned_back(before[2]) as f32);
            task.rewards[lane] = reward(world, 0.0, state.qpos[0], &task.controls[lane]);
            state.qpos[0] += before[0];
            state.qpos[2] = before[2] + (state.qpos[2] - turned);
        } else {
            task.rewards[lane] = reward(world, before[0], state.qpos[0], &task.controls[lane]);
        }
    }
}

/// An angle without its whole turns, between -π and π.
#[inline(always)]
fn turned_back(angle: f64) -> f64 {
    angle - std::f64::consts::TAU * (angle / std::f64::consts::TAU).round()
}
