//! One step of the physics: `mj_step` for this model, once.

use crate::arrow::at;
use crate::body::{applied, bias, inertia, pose};
use crate::constraint::{Rows, find};
use crate::model::Model;
use crate::real::Real;
use crate::solver::solve;

/// What moves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Motion<V> {
    /// Positions: rootx, rootz, rooty, then the joints of the back and the front leg.
    pub qpos: [V; 9],
    /// Velocities.
    pub qvel: [V; 9],
    /// The acceleration of the step before, where the solver begins.
    pub warmstart: [V; 9],
}

/// An acceleration beyond this, or one that is no number, has exploded (`mjMAXVAL`).
const ACCELERATION_MAX: f64 = 1e10;

/// Plays one substep and leaves its rows in `rows`. Returns the solver's steps.
///
/// `last` says where somebody will look at the warm start; in free flight it takes a solution of its own, which has no
/// influence on what comes after, so that other substeps leave the damped acceleration there.
#[inline(always)]
pub fn substep<V: Real>(
    model: &Model,
    motion: &mut Motion<V>,
    torque: &mut [V; 6],
    last: V::Mask,
    rows: &mut Rows<V>,
) -> usize {
    let before = *motion;
    let (steps, exploded) = attempt(model, motion, torque, last, rows);
    if V::any(exploded) {
        *motion = before;
        start_again(model, motion, torque, exploded, last, rows);
    }
    steps
}

/// The substep of the lanes that exploded, from the model's own pose and with the motors off; the others get the same
/// bits again.
#[cold]
#[inline(never)]
fn start_again<V: Real>(
    model: &Model,
    motion: &mut Motion<V>,
    torque: &mut [V; 6],
    exploded: V::Mask,
    last: V::Mask,
    rows: &mut Rows<V>,
) {
    // MuJoCo resets its data, controls too, and goes on from there.
    let zero = V::of(0.0);
    for values in [&mut motion.qpos, &mut motion.qvel, &mut motion.warmstart] {
        for value in values {
            *value = V::pick(exploded, zero, *value);
        }
    }
    for value in torque.iter_mut() {
        *value = V::pick(exploded, zero, *value);
    }
    attempt(model, motion, torque, V::either(exploded, last), rows);
}

/// The substep as if nothing could explode. Returns the solver's steps, and where it did.
#[inline(always)]
fn attempt<V: Real>(
    model: &Model,
    motion: &mut Motion<V>,
    torque: &[V; 6],
    last: V::Mask,
    rows: &mut Rows<V>,
) -> (usize, V::Mask) {
    let pose = pose(model, &motion.qpos);
    let inertia = inertia(model, &pose);
    let bias = bias(model, &pose, &motion.qvel);
    let force = applied(model, &bias, &motion.qpos, &motion.qvel, torque);
    find(model, &pose, &motion.qpos, &motion.qvel, rows);
    let bound = V::of(0.5).below(rows.contacts + rows.limits);

    // What acts in total: the applied forces, or inertia times the acceleration under constraints.
    let mut total = force;
    let mut undamped = motion.warmstart;
    let mut steps = 0;
    if V::any(bound) {
        let (acceleration, taken) = solve(model, &inertia, &force, rows, &motion.warmstart);
        let product = inertia.times(&acceleration);
        for dof in 0..9 {
            total[dof] = V::pick(bound, product[dof], force[dof]);
            undamped[dof] = acceleration[dof];
        }
        steps = taken;
    }

    // The dampers are integrated implicitly.
    let mut damped = inertia;
    for joint in 0..6 {
        let (leg, i) = (joint / 3, joint % 3);
        damped.leg[leg][at(i, i)] = damped.leg[leg][at(i, i)] + V::of(model.implicit[joint]);
    }
    let acceleration = damped.solve(&total);
    let (near, limit, yes) = (V::of(0.1 * ACCELERATION_MAX), V::of(ACCELERATION_MAX), V::always(true));
    let mut seen = last;
    for value in &acceleration {
        seen = V::either(seen, V::differ(value.abs().below(near), yes));
    }
    let free = if V::any(seen) { inertia.solve(&force) } else { acceleration };
    let timestep = V::of(model.timestep);
    let mut exploded = V::always(false);
    for dof in 0..9 {
        motion.warmstart[dof] = V::pick(bound, undamped[dof], V::pick(seen, free[dof], acceleration[dof]));
        // A NaN is not below anything.
        exploded = V::either(exploded, V::differ(motion.warmstart[dof].abs().below(limit), yes));
        motion.qvel[dof] = motion.qvel[dof] + timestep * acceleration[dof];
        motion.qpos[dof] = motion.qpos[dof] + timestep * motion.qvel[dof];
    }
    (steps, exploded)
}
