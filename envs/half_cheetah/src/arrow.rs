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
    /// Turns the right side of `self * x = right` into its solution, and uses up the matrix.
    #[inline(always)]
    pub fn solve(&mut self, x: &mut [V; 9]) {
        let mut inverse = [V::of(0.0); 9];
        each!(leg in [0, 1] {
            let first = 3 + 3 * leg;
            let (block, side) = (&mut self.leg[leg], &mut self.side[leg]);
            each!(i in [2, 1, 0] {
                let inv = V::of(1.0) / block[at(i, i)];
                inverse[first + i] = inv;
                each!(j in [1, 0] {
                    if j < i {
                        let factor = block[at(i, j)] * inv;
                        each!(k in [0, 1] {
                            if k <= j {
                                block[at(j, k)] = block[at(j, k)] - factor * block[at(i, k)];
                            }
                        });
                        each!(k in [0, 1, 2] {
                            side[j][k] = side[j][k] - factor * side[i][k];
                        });
                        x[first + j] = x[first + j] - factor * x[first + i];
                    }
                });
                each!(j in [2, 1, 0] {
                    let factor = side[i][j] * inv;
                    each!(k in [0, 1, 2] {
                        if k <= j {
                            self.root[at(j, k)] = self.root[at(j, k)] - factor * side[i][k];
                        }
                    });
                    x[j] = x[j] - factor * x[first + i];
                });
            });
        });
        each!(i in [2, 1, 0] {
            let inv = V::of(1.0) / self.root[at(i, i)];
            inverse[i] = inv;
            each!(j in [1, 0] {
                if j < i {
                    let factor = self.root[at(i, j)] * inv;
                    each!(k in [0, 1] {
                        if k <= j {
                            self.root[at(j, k)] = self.root[at(j, k)] - factor * self.root[at(i, k)];
                        }
                    });
                    x[j] = x[j] - factor * x[i];
                }
            });
        });
        // Back from the root to the feet.
        each!(i in [0, 1, 2] {
            let mut sum = x[i];
            each!(k in [0, 1] {
                if k < i {
                    sum = sum - self.root[at(i, k)] * x[k];
                }
            });
            x[i] = sum * inverse[i];
        });
        each!(leg in [0, 1] {
            let first = 3 + 3 * leg;
            each!(i in [0, 1, 2] {
                let mut sum = x[first + i];
                each!(k in [0, 1, 2] {
                    sum = sum - self.side[leg][i][k] * x[k];
                });
                each!(k in [0, 1] {
                    if k < i {
                        sum = sum - self.leg[leg][at(i, k)] * x[first + k];
                    }
                });
                x[first + i] = sum * inverse[first + i];
            });
        });
    }

    /// The product with a vector.
    #[inline(always)]
    pub fn times(&self, x: &[V; 9]) -> [V; 9] {
        let mut product = [V::of(0.0); 9];
        each!(i in [0, 1, 2] {
            each!(k in [0, 1, 2] {
                let entry = if k <= i { self.root[at(i, k)] } else { self.root[at(k, i)] };
                product[i] = product[i] + entry * x[k];
            });
        });
        each!(leg in [0, 1] {
            let first = 3 + 3 * leg;
            each!(i in [0, 1, 2] {
                each!(k in [0, 1, 2] {
                    let entry = if k <= i { self.leg[leg][at(i, k)] } else { self.leg[leg][at(k, i)] };
                    product[first + i] = product[first + i] + entry * x[first + k];
                    product[first + i] = product[first + i] + self.side[leg][i][k] * x[k];
                    product[k] = product[k] + self.side[leg][i][k] * x[first + i];
                });
            });
        });
        product
    }
}
