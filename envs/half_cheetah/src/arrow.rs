//! Symmetric matrices in the shape of the cheetah: two legs that know nothing of each other, and a root that both know.
//!
//! Eliminating the legs before the root, foot first, fills in nothing, so that a solution takes some 300 operations. The
//! order is that of MuJoCo.

use crate::real::Real;

/// The place of (row, column) with column <= row in a packed triangle.
#[inline(always)]
pub const fn at(row: usize, column: usize) -> usize {
    row * (row + 1) / 2 + column
}

/// A matrix over the nine degrees of freedom: rootx, rootz, rooty, the back leg, the front leg.
#[derive(Clone, Copy)]
pub struct Arrow<V> {
    /// Root by root, packed.
    pub root: [V; 6],
    /// Leg by leg, packed.
    pub leg: [[V; 6]; 2],
    /// Each joint of a leg by each of the root.
    pub side: [[[V; 3]; 3]; 2],
}

impl<V: Real> Arrow<V> {
    /// The solution of `self * x = right`.
    #[inline(always)]
    pub fn solve(mut self, right: &[V; 9]) -> [V; 9] {
        let mut x = *right;
        let mut inverse = [V::of(0.0); 9];
        for leg in 0..2 {
            let first = 3 + 3 * leg;
            let (block, side) = (&mut self.leg[leg], &mut self.side[leg]);
            for i in (0..3).rev() {
                let inv = V::of(1.0) / block[at(i, i)];
                inverse[first + i] = inv;
                for j in (0..i).rev() {
                    let factor = block[at(i, j)] * inv;
                    for k in 0..=j {
                        block[at(j, k)] = block[at(j, k)] - factor * block[at(i, k)];
                    }
                    for k in 0..3 {
                        side[j][k] = side[j][k] - factor * side[i][k];
                    }
                    x[first + j] = x[first + j] - factor * x[first + i];
                }
                for j in (0..3).rev() {
                    let factor = side[i][j] * inv;
                    for k in 0..=j {
                        self.root[at(j, k)] = self.root[at(j, k)] - factor * side[i][k];
                    }
                    x[j] = x[j] - factor * x[first + i];
                }
            }
        }
        for i in (0..3).rev() {
            let inv = V::of(1.0) / self.root[at(i, i)];
            inverse[i] = inv;
            for j in (0..i).rev() {
                let factor = self.root[at(i, j)] * inv;
                for k in 0..=j {
                    self.root[at(j, k)] = self.root[at(j, k)] - factor * self.root[at(i, k)];
                }
                x[j] = x[j] - factor * x[i];
            }
        }
        // Back from the root to the feet.
        for i in 0..3 {
            let mut sum = x[i];
            for k in 0..i {
                sum = sum - self.root[at(i, k)] * x[k];
            }
            x[i] = sum * inverse[i];
        }
        for leg in 0..2 {
            let first = 3 + 3 * leg;
            for i in 0..3 {
                let mut sum = x[first + i];
                for k in 0..3 {
                    sum = sum - self.side[leg][i][k] * x[k];
                }
                for k in 0..i {
                    sum = sum - self.leg[leg][at(i, k)] * x[first + k];
                }
                x[first + i] = sum * inverse[first + i];
            }
        }
        x
    }

    /// The product with a vector.
    #[inline(always)]
    pub fn times(&self, x: &[V; 9]) -> [V; 9] {
        let mut product = [V::of(0.0); 9];
        for i in 0..3 {
            for k in 0..3 {
                let entry = if k <= i { self.root[at(i, k)] } else { self.root[at(k, i)] };
                product[i] = product[i] + entry * x[k];
            }
        }
        for leg in 0..2 {
            let first = 3 + 3 * leg;
            for i in 0..3 {
                for k in 0..3 {
                    let entry = if k <= i { self.leg[leg][at(i, k)] } else { self.leg[leg][at(k, i)] };
                    product[first + i] = product[first + i] + entry * x[first + k];
                    product[first + i] = product[first + i] + self.side[leg][i][k] * x[k];
                    product[k] = product[k] + self.side[leg][i][k] * x[first + i];
                }
            }
        }
        product
    }
}
