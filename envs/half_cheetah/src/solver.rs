//! The acceleration under constraints: the lowest point of a convex function that is a parabola on each set of rows.
//!
//! With the rows that push given, the lowest point is one linear solution. If the same rows push there, it is exact, and
//! it is the only one, so it does not matter how it was found or what MuJoCo's solver did on the way. Steps are full at
//! first; where the set of rows goes round in circles, they are halved until the function falls, which must end.

use crate::arrow::{Arrow, at};
use crate::constants::POINT_BODY;
use crate::constraint::{Contact, Rows, along};
use crate::model::{LEG, Model};
use crate::real::Real;

/// Full steps before steps are halved where the function does not fall.
const FULL_STEPS: usize = 8;
/// Steps after which the last point is taken as it is. None of the tests' states needs half of them.
pub const STEPS_MAX: usize = 40;
/// Halvings of one step at most.
const HALVINGS: usize = 12;

/// What the rows of a contact lack of their reference acceleration at `x`; negative where they push.
#[inline(always)]
fn lacking<V: Real>(model: &Model, contact: &Contact<V>, x: &[V; 9]) -> [V; 3] {
    let [normal, tangent] = along(contact, x);
    let straight = normal - contact.reference[0];
    let across = V::of(model.friction) * (tangent - contact.reference[1]);
    [straight + across, straight - across, straight]
}

/// Notes which rows push at `x`; where that is not what was noted before.
#[inline(always)]
fn note_pushing<V: Real>(model: &Model, rows: &mut Rows<V>, x: &[V; 9]) -> V::Mask {
    let zero = V::of(0.0);
    let mut changed = V::always(false);
    for contact in &mut rows.contact[..rows.count] {
        let values = lacking(model, contact, x);
        each!(row in [0, 1, 2] {
            let pushes = V::both(contact.active, values[row].below(zero));
            changed = V::either(changed, V::differ(pushes, contact.pushes[row]));
            contact.pushes[row] = pushes;
        });
    }
    for joint in 0..6 {
        let limit = &mut rows.limit[joint];
        if V::any(limit.active) {
            let value = limit.sign * x[3 + joint] - limit.reference;
            let pushes = V::both(limit.active, value.below(zero));
            changed = V::either(changed, V::differ(pushes, limit.pushes));
            limit.pushes = pushes;
        }
    }
    changed
}

/// The lowest point of the parabola that belongs to the rows that were noted to push.
#[inline(always)]
fn lowest<V: Real>(model: &Model, inertia: &Arrow<V>, force: &[V; 9], rows: &Rows<V>) -> [V; 9] {
    let mut h = *inertia;
    let mut right = *force;
    let mu = V::of(model.friction);
    for joint in 0..6 {
        let limit = &rows.limit[joint];
        if V::any(limit.active) {
            let weight = V::pick(limit.pushes, limit.weight, V::of(0.0));
            let (leg, i) = (joint / 3, joint % 3);
            h.leg[leg][at(i, i)] = h.leg[leg][at(i, i)] + weight;
            right[3 + joint] = right[3 + joint] + weight * (limit.sign * limit.reference);
        }
    }
    for contact in &rows.contact[..rows.count] {
        let (weight, zero) = (contact.weight, V::of(0.0));
        let plus = V::pick(contact.pushes[0], weight, zero);
        let minus = V::pick(contact.pushes[1], weight, zero);
        let straight = V::pick(contact.pushes[2], weight, zero);
        let (sum, difference) = (plus + minus, plus - minus);
        let nn = sum + V::of(model.straight_rows) * straight;
        let nt = mu * difference;
        let tt = mu * mu * sum;
        let [n, t] = contact.reference;
        add_contact(&mut h, &mut right, contact, [nn, nt, tt], [nn * n + nt * t, nt * n + tt * t]);
    }
    h.solve(&mut right);
    right
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
    let first = LEG[POINT_BODY[contact.point]];
    let leg = first / 3 - 1;
    let (normal, tangent) = (&contact.normal, &contact.tangent);
    right[0] = right[0] + drag;
    right[1] = right[1] + push;
    right[2] = right[2] + (push * normal[0] + drag * tangent[0]);
    let down = nn * normal[0] + nt * tangent[0];
    let back = nt * normal[0] + tt * tangent[0];
    h.root[at(0, 0)] = h.root[at(0, 0)] + tt;
    h.root[at(1, 0)] = h.root[at(1, 0)] + nt;
    h.root[at(1, 1)] = h.root[at(1, 1)] + nn;
    h.root[at(2, 0)] = h.root[at(2, 0)] + back;
    h.root[at(2, 1)] = h.root[at(2, 1)] + down;
    h.root[at(2, 2)] = h.root[at(2, 2)] + (down * normal[0] + back * tangent[0]);
    let (block, side) = (&mut h.leg[leg], &mut h.side[leg]);
    each!(i in [0, 1, 2] {
        let (n, t) = (normal[1 + i], tangent[1 + i]);
        let (down, back) = (nn * n + nt * t, nt * n + tt * t);
        right[first + i] = right[first + i] + (push * n + drag * t);
        side[i][0] = side[i][0] + back;
        side[i][1] = side[i][1] + down;
        side[i][2] = side[i][2] + (down * normal[0] + back * tangent[0]);
        each!(k in [0, 1, 2] {
            if k <= i {
                block[at(i, k)] = block[at(i, k)] + (down * normal[1 + k] + back * tangent[1 + k]);
            }
        });
    });
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
    rows: &mut Rows<V>,
    guess: &[V; 9],
) -> ([V; 9], usize) {
    let mut x = *guess;
    note_pushing(model, rows, &x);
    let mut open = V::always(true);
    for step in 0..STEPS_MAX {
        let mut next = lowest(model, inertia, force, rows);
        let wrong = V::both(open, note_pushing(model, rows, &next));
        if step >= FULL_STEPS && V::any(wrong) {
            next = halved(model, inertia, force, rows, &x, &next, wrong);
            note_pushing(model, rows, &next);
        }
        each!(dof in [0, 1, 2, 3, 4, 5, 6, 7, 8] {
            x[dof] = V::pick(open, next[dof], x[dof]);
        });
        open = wrong;
        if !V::any(open) {
            return (x, step + 1);
        }
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
