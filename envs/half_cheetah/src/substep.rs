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

/// Plays one substep and leaves its rows in `rows`. Returns the solver's steps, and where the lane exploded and so began
/// again from the model's own pose.
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
) -> (usize, V::Mask) {
    let (steps, exploded) = attempt(model, motion, torque, last, rows, false);
    if V::any(exploded) {
        start_again(model, motion, torque, exploded, last, rows);
    }
    (steps, exploded)
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
    attempt(model, motion, torque, V::either(exploded, last), rows, true);
}

/// The substep. Returns the solver's steps, and where it exploded; if it did anywhere, nothing has moved unless `always`.
#[inline(always)]
fn attempt<V: Real>(
    model: &Model,
    motion: &mut Motion<V>,
    torque: &[V; 6],
    last: V::Mask,
    rows: &mut Rows<V>,
    always: bool,
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
        each!(dof in [0, 1, 2, 3, 4, 5, 6, 7, 8] {
            total[dof] = V::pick(bound, product[dof], force[dof]);
            undamped[dof] = acceleration[dof];
        });
        steps = taken;
    }

    // The dampers are integrated implicitly.
    let mut damped = inertia;
    each!(joint in [0, 1, 2, 3, 4, 5] {
        let (leg, i) = (joint / 3, joint % 3);
        damped.leg[leg][at(i, i)] = damped.leg[leg][at(i, i)] + V::of(model.implicit[joint]);
    });
    damped.solve(&mut total);
    let acceleration = total;
    let (near, limit, yes) = (V::of(0.1 * ACCELERATION_MAX), V::of(ACCELERATION_MAX), V::always(true));
    let mut seen = last;
    each!(dof in [0, 1, 2, 3, 4, 5, 6, 7, 8] {
        seen = V::either(seen, V::differ(acceleration[dof].abs().below(near), yes));
    });
    let mut free = acceleration;
    if V::any(seen) {
        free = force;
        let mut inertia = inertia;
        inertia.solve(&mut free);
    }
    let mut warmstart = undamped;
    let mut exploded = V::always(false);
    each!(dof in [0, 1, 2, 3, 4, 5, 6, 7, 8] {
        warmstart[dof] = V::pick(bound, undamped[dof], V::pick(seen, free[dof], acceleration[dof]));
        // A NaN is not below anything.
        exploded = V::either(exploded, V::differ(warmstart[dof].abs().below(limit), yes));
    });
    if always || !V::any(exploded) {
        let timestep = V::of(model.timestep);
        each!(dof in [0, 1, 2, 3, 4, 5, 6, 7, 8] {
            motion.warmstart[dof] = warmstart[dof];
            motion.qvel[dof] = motion.qvel[dof] + timestep * acceleration[dof];
            motion.qpos[dof] = motion.qpos[dof] + timestep * motion.qvel[dof];
        });
    }
    (steps, exploded)
}
