//! What touches and what is bent too far, as rows that push in one direction.
//!
//! A contact has four rows: along the normal plus and minus friction times the tangent in the plane, and twice along the
//! normal alone, because the second tangent points along y, where nothing moves. A limit has one.

use crate::body::{Pose, turned};
use crate::constants::{CONTACT_WIDTH, IMPEDANCE_MAX, LIMIT_WIDTH, POINT_BODY, RADIUS, TORSO_HEIGHT};
use crate::model::{DEPTH, LEG, Model};
use crate::real::Real;

/// A capsule's end point at or below the floor, in some lane.
#[derive(Clone, Copy)]
pub struct Contact<V: Real> {
    /// The end point.
    pub point: usize,
    /// The lanes in which it touches.
    pub active: V::Mask,
    /// Signed distance from the floor, negative below it.
    pub distance: V,
    /// Weight of each of its rows.
    pub weight: V,
    /// Reference acceleration along the normal, and along the tangent.
    pub reference: [V; 2],
    /// Lever arms for the normal: of the torso's hinge, then of the leg's joints; 0 of those below the body.
    pub normal: [V; 4],
    /// Lever arms for the tangent.
    pub tangent: [V; 4],
    /// The lanes in which its rows push: normal plus tangent, normal minus tangent, normal.
    pub pushes: [V::Mask; 3],
}

/// A joint beyond its range, in some lane.
#[derive(Clone, Copy)]
pub struct Limit<V: Real> {
    /// The lanes in which it is.
    pub active: V::Mask,
    /// Weight of its row.
    pub weight: V,
    /// Reference acceleration of its row.
    pub reference: V,
    /// 1 below the range, -1 above it.
    pub sign: V,
    /// The lanes in which its row pushes.
    pub pushes: V::Mask,
}

/// All rows.
pub struct Rows<V: Real> {
    /// Places for contacts, of which the first `count` are in use.
    pub contact: [Contact<V>; 16],
    /// How many end points touch in some lane.
    pub count: usize,
    /// The joints.
    pub limit: [Limit<V>; 6],
    /// Contacts of each lane.
    pub contacts: V,
    /// Limits of each lane.
    pub limits: V,
}

impl<V: Real> Rows<V> {
    /// No rows.
    #[inline(always)]
    pub fn new() -> Self {
        let (zero, never) = (V::of(0.0), V::always(false));
        let contact = Contact {
            point: 0,
            active: never,
            distance: zero,
            weight: zero,
            reference: [zero; 2],
            normal: [zero; 4],
            tangent: [zero; 4],
            pushes: [never; 3],
        };
        let limit = Limit { active: never, weight: zero, reference: zero, sign: zero, pushes: never };
        Rows { contact: [contact; 16], count: 0, limit: [limit; 6], contacts: zero, limits: zero }
    }
}

impl<V: Real> Default for Rows<V> {
    fn default() -> Self {
        Rows::new()
    }
}

/// How much of a constraint's force is there at a depth (`solimp`).
#[inline(always)]
fn impedance<V: Real>(model: &Model, depth: V, width: f64) -> V {
    let one = V::of(1.0);
    let x = depth * V::of(1.0 / width);
    let rest = one - x;
    let near = V::of(2.0) * x * x;
    let far = one - V::of(2.0) * rest * rest;
    let y = V::pick(V::of(0.5).below(x), far, near);
    let y = V::pick(x.below(one), y, one);
    V::of(model.impedance_min) + y * V::of(IMPEDANCE_MAX - model.impedance_min)
}

/// The acceleration of a point along normal and tangent, or any other such product with a vector.
#[inline(always)]
pub fn along<V: Real>(contact: &Contact<V>, x: &[V; 9]) -> [V; 2] {
    let first = LEG[POINT_BODY[contact.point]];
    let mut normal = x[1] + contact.normal[0] * x[2];
    let mut tangent = x[0] + contact.tangent[0] * x[2];
    each!(i in [0, 1, 2] {
        normal = normal + contact.normal[1 + i] * x[first + i];
        tangent = tangent + contact.tangent[1 + i] * x[first + i];
    });
    [normal, tangent]
}

/// Finds all rows.
#[inline(always)]
pub fn find<V: Real>(model: &Model, pose: &Pose<V>, qpos: &[V; 9], qvel: &[V; 9], rows: &mut Rows<V>) {
    find_limits(model, qpos, qvel, rows);
    find_contacts(model, pose, qpos, qvel, rows);
}

#[inline(always)]
fn find_limits<V: Real>(model: &Model, qpos: &[V; 9], qvel: &[V; 9], rows: &mut Rows<V>) {
    let (zero, one) = (V::of(0.0), V::of(1.0));
    rows.limits = zero;
    each!(joint in [0, 1, 2, 3, 4, 5] {
        let [low, high] = model.range[joint];
        let active = V::either(qpos[3 + joint].below(V::of(low)), V::of(high).below(qpos[3 + joint]));
        rows.limit[joint].active = active;
    });
    for joint in 0..6 {
        let active = rows.limit[joint].active;
        if !V::any(active) {
            continue;
        }
        let q = qpos[3 + joint];
        let [low, high] = model.range[joint];
        let is_below = q.below(V::of(low));
        let depth = V::pick(is_below, V::of(low) - q, q - V::of(high));
        let sign = V::pick(is_below, one, -one);
        let impedance = impedance(model, depth, LIMIT_WIDTH);
        let weight = impedance / ((one - impedance) * V::of(model.joint_weight[joint]));
        let reference = V::of(model.reference_stiffness) * impedance * depth
            - V::of(model.reference_damping) * (sign * qvel[3 + joint]);
        rows.limits = rows.limits + V::one_where(active);
        let weight = V::pick(active, weight, zero);
        rows.limit[joint] = Limit { active, weight, reference, sign, pushes: V::always(false) };
    }
}

#[inline(always)]
fn find_contacts<V: Real>(model: &Model, pose: &Pose<V>, qpos: &[V; 9], qvel: &[V; 9], rows: &mut Rows<V>) {
    let (zero, one) = (V::of(0.0), V::of(1.0));
    let height = V::of(TORSO_HEIGHT) + qpos[1];
    rows.count = 0;
    rows.contacts = zero;
    let mut places = [[zero; 2]; 16];
    let mut touching = 0u32;
    each!(point in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15] {
        let body = POINT_BODY[point];
        let arm = turned(pose.turn[body], model.point[point]);
        places[point] = [pose.origin[body][0] + arm[0], pose.origin[body][1] + arm[1]];
        let distance = height + places[point][1] - V::of(RADIUS);
        touching |= u32::from(V::any(distance.below(zero))) << point;
    });
    while touching != 0 {
        let point = touching.trailing_zeros() as usize;
        touching &= touching - 1;
        let (body, place) = (POINT_BODY[point], places[point]);
        let distance = height + place[1] - V::of(RADIUS);
        let active = distance.below(zero);
        rows.contacts = rows.contacts + V::one_where(active);
        let contact = &mut rows.contact[rows.count & 15];
        rows.count += 1;
        contact.point = point;
        contact.active = active;
        contact.distance = distance;
        // The contact lies halfway between the floor and the capsule's lowest point.
        let (x, z) = (place[0], V::of(0.5) * distance - height);
        contact.normal[0] = zero - x;
        contact.tangent[0] = z;
        let (first, depth) = (LEG[body] - 2, DEPTH[body]);
        each!(i in [0, 1, 2] {
            let joint = pose.origin[first + i];
            contact.normal[1 + i] = if i < depth { joint[0] - x } else { zero };
            contact.tangent[1 + i] = if i < depth { z - joint[1] } else { zero };
        });
        let impedance = impedance(model, -distance, CONTACT_WIDTH);
        let mu = model.friction;
        let diagonal = model.body_weight[body] * (1.0 + mu * mu) * (2.0 * mu * mu);
        let weight = impedance / ((one - impedance) * V::of(diagonal));
        contact.weight = V::pick(active, weight, zero);
        let [normal, tangent] = along(contact, qvel);
        contact.reference = [
            V::of(model.reference_stiffness) * impedance * -distance - V::of(model.reference_damping) * normal,
            -(V::of(model.reference_damping) * tangent),
        ];
    }
}
