//! The acceleration under constraints: the lowest point of a convex function that is a parabola on each set of rows.
//!
//! With the rows that push given, the lowest point is one linear solution. If the same rows push there, it is exact, and
//! it is the only one, so it does not matter how it was found or what MuJoCo's solver did on the way. Steps are full at
//! first; where the set of rows goes round in circles, they are halved until the function falls, which must end.

use crate::arrow::{Arrow, at};
use crate::constants::POINT_BODY;
use crate::constraint::{Contact, Rows, along};
use crate::model::{DEPTH, LEG, Model};
use crate::real::Real;

/// Full steps before steps are halved where the function does not fall.
const FULL_STEPS: usize = 8;
/// Steps after which the last point is taken as it is. None of the tests' states needs half of them.
pub const STEPS_MAX: usize = 40;
/// Halvings of one step at most.
const HALVINGS: usize = 12;

/// Which rows push.
#[derive(Clone, Copy)]
pub struct Pushing<V: Real> {
    /// Of each contact: normal plus tangent, normal minus tangent, normal.
    contact: [[V::Mask; 3]; 16],
    /// Of each limit.
    limit: [V::Mask; 6],
}

/// What the rows of a contact lack of their reference acceleration at `x`; negative where they push.
#[inline(always)]
fn lacking<V: Real>(model: &Model, contact: &Contact<V>, x: &[V; 9]) -> [V; 3] {
    let [normal, tangent] = along(contact, x);
    let straight = normal - contact.reference[0];
    let across = V::of(model.friction) * (tangent - contact.reference[1]);
    [straight + across, straight - across, straight]
}

/// The rows that push at `x`.
#[inline(always)]
pub fn pushing<V: Real>(model: &Model, rows: &Rows<V>, x: &[V; 9]) -> Pushing<V> {
    let (zero, never) = (V::of(0.0), V::always(false));
    let mut set = Pushing { contact: [[never; 3]; 16], limit: [never; 6] };
    for (contact, masks) in rows.contact[..rows.count].iter().zip(&mut set.contact) {
        let values = lacking(model, contact, x);
        *masks = values.map(|value| V::both(contact.active, value.below(zero)));
    }
    for joint in 0..6 {
        let limit = &rows.limit[joint];
        if V::any(limit.active) {
            let value = limit.sign * x[3 + joint] - limit.reference;
            set.limit[joint] = V::both(limit.active, value.below(zero));
        }
    }
    set
}

/// Where two sets of rows differ.
#[inline(always)]
fn differ<V: Real>(rows: &Rows<V>, a: &Pushing<V>, b: &Pushing<V>) -> V::Mask {
    let mut any = V::always(false);
    for index in 0..rows.count {
        for row in 0..3 {
            any = V::either(any, V::differ(a.contact[index][row], b.contact[index][row]));
        }
    }
    for joint in 0..6 {
        any = V::either(any, V::differ(a.limit[joint], b.limit[joint]));
    }
    any
}

/// The lowest point of the parabola that belongs to a set of rows.
#[inline(always)]
fn lowest<V: Real>(model: &Model, inertia: &Arrow<V>, force: &[V; 9], rows: &Rows<V>, set: &Pushing<V>) -> [V; 9] {
    let mut h = *inertia;
    let mut right = *force;
    let mu = V::of(model.friction);
    for joint in 0..6 {
        let limit = &rows.limit[joint];
        if V::any(set.limit[joint]) {
            let weight = V::pick(set.limit[joint], limit.weight, V::of(0.0));
            let (leg, i) = (joint / 3, joint % 3);
            h.leg[leg][at(i, i)] = h.leg[leg][at(i, i)] + weight;
            right[3 + joint] = right[3 + joint] + weight * (limit.sign * limit.reference);
        }
    }
    for (contact, masks) in rows.contact[..rows.count].iter().zip(&set.contact) {
        if !V::any(V::either(masks[0], V::either(masks[1], masks[2]))) {
            continue;
        }
        let weight = contact.weight;
        let [plus, minus, straight] = masks.map(|mask| V::pick(mask, weight, V::of(0.0)));
        let (sum, difference) = (plus + minus, plus - minus);
        let nn = sum + V::of(model.straight_rows) * straight;
        let nt = mu * difference;
        let tt = mu * mu * sum;
        let [n, t] = contact.reference;
        add_contact(&mut h, &mut right, contact, [nn, nt, tt], [nn * n + nt * t, nt * n + tt * t]);
    }
    h.solve(&right)
}

/// Adds the rows of a contact: `weights` for normal twice, normal and tangent, tangent twice.
#[inline(always)]
fn add_contact<V: Real>(
    h: &mut Arrow<V>,
    right: &mut [V; 9],
    contact: &Contact<V>,
    [nn, nt, tt]: [V; 3],
    [push, drag]: [V; 2],
) {
    let body = POINT_BODY[contact.point];
    let (depth, leg) = (DEPTH[body], LEG[body] / 3 - 1);
    let (normal, tangent) = (&contact.normal, &contact.tangent);
    right[0] = right[0] + drag;
    right[1] = right[1] + push;
    h.root[at(0, 0)] = h.root[at(0, 0)] + tt;
    h.root[at(1, 0)] = h.root[at(1, 0)] + nt;
    h.root[at(1, 1)] = h.root[at(1, 1)] + nn;
    for i in 0..=depth {
        let down = nn * normal[i] + nt * tangent[i];
        let back = nt * normal[i] + tt * tangent[i];
        let turn = push * normal[i] + drag * tangent[i];
        if i == 0 {
            right[2] = right[2] + turn;
            h.root[at(2, 0)] = h.root[at(2, 0)] + back;
            h.root[at(2, 1)] = h.root[at(2, 1)] + down;
            h.root[at(2, 2)] = h.root[at(2, 2)] + (down * normal[0] + back * tangent[0]);
            continue;
        }
        let side = &mut h.side[leg][i - 1];
        right[LEG[body] + i - 1] = right[LEG[body] + i - 1] + turn;
        side[0] = side[0] + back;
        side[1] = side[1] + down;
        side[2] = side[2] + (down * normal[0] + back * tangent[0]);
        for k in 1..=i {
            let entry = &mut h.leg[leg][at(i - 1, k - 1)];
            *entry = *entry + (down * normal[k] + back * tangent[k]);
        }
    }
}

/// The function whose lowest point is the acceleration.
#[inline(always)]
fn cost<V: Real>(model: &Model, inertia: &Arrow<V>, force: &[V; 9], rows: &Rows<V>, x: &[V; 9]) -> V {
    let product = inertia.times(x);
    let half = V::of(0.5);
    let mut sum = V::of(0.0);
    for dof in 0..9 {
        sum = sum + x[dof] * (half * product[dof] - force[dof]);
    }
    let zero = V::of(0.0);
    for contact in &rows.contact[..rows.count] {
        let [plus, minus, straight] =
            lacking(model, contact, x).map(|value| V::pick(V::both(contact.active, value.below(zero)), value, zero));
        let squares = plus * plus + minus * minus + V::of(model.straight_rows) * (straight * straight);
        sum = sum + half * (contact.weight * squares);
    }
    for joint in 0..6 {
        let limit = &rows.limit[joint];
        if V::any(limit.active) {
            let value = limit.sign * x[3 + joint] - limit.reference;
            let value = V::pick(V::both(limit.active, value.below(zero)), value, zero);
            sum = sum + half * (limit.weight * (value * value));
        }
    }
    sum
}

/// The acceleration of the lanes that have rows, from a guess; of the others it is without meaning. Also the steps taken.
#[inline(always)]
pub fn solve<V: Real>(
    model: &Model,
    inertia: &Arrow<V>,
    force: &[V; 9],
    rows: &Rows<V>,
    guess: &[V; 9],
) -> ([V; 9], usize) {
    let mut x = *guess;
    let mut set = pushing(model, rows, &x);
    let mut open = V::always(true);
    for step in 0..STEPS_MAX {
        let mut next = lowest(model, inertia, force, rows, &set);
        let mut reached = pushing(model, rows, &next);
        let wrong = V::both(open, differ(rows, &set, &reached));
        if step >= FULL_STEPS && V::any(wrong) {
            next = halved(model, inertia, force, rows, &x, &next, wrong);
            reached = pushing(model, rows, &next);
        }
        for dof in 0..9 {
            x[dof] = V::pick(open, next[dof], x[dof]);
        }
        open = wrong;
        if !V::any(open) {
            return (x, step + 1);
        }
        set = reached;
    }
    (x, STEPS_MAX)
}

/// The way to `to`, halved until the function falls, in the lanes of the mask.
#[cold]
#[inline(never)]
fn halved<V: Real>(
    model: &Model,
    inertia: &Arrow<V>,
    force: &[V; 9],
    rows: &Rows<V>,
    from: &[V; 9],
    to: &[V; 9],
    mask: V::Mask,
) -> [V; 9] {
    let before = cost(model, inertia, force, rows, from);
    let mut next = *to;
    let mut still = mask;
    for _ in 0..HALVINGS {
        let now = cost(model, inertia, force, rows, &next);
        let falls = now.below(before);
        still = V::both(still, V::differ(falls, V::always(true)));
        if !V::any(still) {
            break;
        }
        for dof in 0..9 {
            let middle = from[dof] + V::of(0.5) * (next[dof] - from[dof]);
            next[dof] = V::pick(still, middle, next[dof]);
        }
    }
    next
}
