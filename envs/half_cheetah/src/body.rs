//! Where the bodies are, how heavy they are to turn, and what gravity and rotation do to them.
//!
//! Positions are relative to the torso's origin, so nothing here depends on how far the cheetah has run. A rotation by
//! `a` about +y takes (x, z) to (c x + s z, -s x + c z).

use crate::arrow::{Arrow, at};
use crate::model::{Model, PARENT};
use crate::real::Real;

/// Where the bodies are.
#[derive(Clone, Copy)]
pub struct Pose<V> {
    /// Sine and cosine of each body's angle.
    pub turn: [(V, V); 7],
    /// From the parent's origin to the body's: x, z.
    pub step: [[V; 2]; 7],
    /// From the torso's origin to the body's.
    pub origin: [[V; 2]; 7],
    /// From the body's origin to its centre of mass.
    pub centre: [[V; 2]; 7],
}

/// Turns a vector of the model.
#[inline(always)]
pub fn turned<V: Real>((sine, cosine): (V, V), [x, z]: [f64; 2]) -> [V; 2] {
    let (x, z) = (V::of(x), V::of(z));
    [cosine * x + sine * z, cosine * z - sine * x]
}

#[inline(always)]
fn dot<V: Real>(a: [V; 2], b: [V; 2]) -> V {
    a[0] * b[0] + a[1] * b[1]
}

/// The turning moment about +y of a force at the end of an arm.
#[inline(always)]
fn moment<V: Real>(arm: [V; 2], force: [V; 2]) -> V {
    arm[1] * force[0] - arm[0] * force[1]
}

/// Places the bodies.
#[inline(always)]
pub fn pose<V: Real>(model: &Model, qpos: &[V; 9]) -> Pose<V> {
    let zero = V::of(0.0);
    let mut angle = [qpos[2]; 7];
    let mut turn = [(zero, zero); 7];
    let mut step = [[zero; 2]; 7];
    let mut origin = [[zero; 2]; 7];
    let mut centre = [[zero; 2]; 7];
    each!(body in [0, 1, 2, 3, 4, 5, 6] {
        let parent = PARENT[body];
        if body > 0 {
            angle[body] = angle[parent] + qpos[2 + body];
            step[body] = turned(turn[parent], model.offset[body]);
            origin[body] = [origin[parent][0] + step[body][0], origin[parent][1] + step[body][1]];
        }
        turn[body] = angle[body].sin_cos();
        centre[body] = turned(turn[body], model.centre[body]);
    });
    Pose { turn, step, origin, centre }
}

/// The inertia in joint space, with armature. No entry is -0.0, so that adding a zero changes nothing.
#[inline(always)]
pub fn inertia<V: Real>(model: &Model, pose: &Pose<V>) -> Arrow<V> {
    let zero = V::of(0.0);
    // First moment and moment of inertia about its own origin, of each body with its descendants.
    let mut first = [[zero; 2]; 7];
    let mut second = [zero; 7];
    each!(body in [0, 1, 2, 3, 4, 5, 6] {
        let (mass, r) = (V::of(model.mass[body]), pose.centre[body]);
        first[body] = [mass * r[0], mass * r[1]];
        second[body] = V::of(model.inertia[body]) + mass * dot(r, r);
    });
    each!(body in [6, 5, 4, 3, 2, 1] {
        let (parent, d) = (PARENT[body], pose.step[body]);
        let mass = V::of(model.subtree_mass[body]);
        second[parent] = second[parent] + (second[body] + V::of(2.0) * dot(d, first[body]) + mass * dot(d, d));
        first[parent] =
            [first[parent][0] + (first[body][0] + mass * d[0]), first[parent][1] + (first[body][1] + mass * d[1])];
    });
    let total = V::of(model.subtree_mass[0]);
    let mut m = Arrow { root: [zero; 6], leg: [[zero; 6]; 2], side: [[[zero; 3]; 3]; 2] };
    m.root = [total, zero, total, first[0][1] + zero, zero - first[0][0], second[0]];
    each!(leg in [0, 1] {
        each!(i in [0, 1, 2] {
            let body = 1 + 3 * leg + i;
            let (s, p) = (first[body], pose.origin[body]);
            m.side[leg][i] = [s[1] + zero, zero - s[0], second[body] + dot(p, s) + zero];
            each!(j in [0, 1] {
                if j < i {
                    let above = pose.origin[1 + 3 * leg + j];
                    m.leg[leg][at(i, j)] = second[body] + dot([p[0] - above[0], p[1] - above[1]], s) + zero;
                }
            });
            m.leg[leg][at(i, i)] = second[body] + V::of(model.armature[3 * leg + i]);
        });
    });
    m
}

/// The forces that gravity and rotation ask of each degree of freedom.
#[inline(always)]
pub fn bias<V: Real>(model: &Model, pose: &Pose<V>, qvel: &[V; 9]) -> [V; 9] {
    let zero = V::of(0.0);
    let mut rate = [qvel[2]; 7];
    let mut acceleration = [[zero, V::of(model.gravity)]; 7];
    let mut force = [[zero; 2]; 7];
    let mut torque = [zero; 7];
    each!(body in [0, 1, 2, 3, 4, 5, 6] {
        let parent = PARENT[body];
        if body > 0 {
            rate[body] = rate[parent] + qvel[2 + body];
            let square = rate[parent] * rate[parent];
            let d = pose.step[body];
            acceleration[body] = [acceleration[parent][0] - square * d[0], acceleration[parent][1] - square * d[1]];
        }
        let (square, r) = (rate[body] * rate[body], pose.centre[body]);
        let mass = V::of(model.mass[body]);
        force[body] = [mass * (acceleration[body][0] - square * r[0]), mass * (acceleration[body][1] - square * r[1])];
        torque[body] = moment(r, force[body]);
    });
    each!(body in [6, 5, 4, 3, 2, 1] {
        let parent = PARENT[body];
        torque[parent] = torque[parent] + (torque[body] + moment(pose.step[body], force[body]));
        force[parent] = [force[parent][0] + force[body][0], force[parent][1] + force[body][1]];
    });
    [force[0][0], force[0][1], torque[0], torque[1], torque[2], torque[3], torque[4], torque[5], torque[6]]
}

/// What drives the cheetah: motors, springs and dampers, less the bias. No entry is -0.0.
#[inline(always)]
pub fn applied<V: Real>(model: &Model, bias: &[V; 9], qpos: &[V; 9], qvel: &[V; 9], torque: &[V; 6]) -> [V; 9] {
    let zero = V::of(0.0);
    let mut force = [zero; 9];
    each!(dof in [0, 1, 2] {
        force[dof] = zero - bias[dof];
    });
    each!(joint in [0, 1, 2, 3, 4, 5] {
        let dof = 3 + joint;
        let passive = V::of(model.stiffness[joint]) * qpos[dof] + V::of(model.damping[joint]) * qvel[dof];
        force[dof] = zero + (torque[joint] - passive - bias[dof]);
    });
    force
}
