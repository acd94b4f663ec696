//! Doubles as plain Rust: four lanes at once, which a compiler puts into whatever vectors the machine has.

use super::kernel::{Lanes, Task, play};
use crate::real::Real;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// One step of the task's lanes.
pub(super) fn step(task: &mut Task<'_>) {
    play::<Portable>(task);
}

/// How many lanes.
const COUNT: usize = 4;

/// Four doubles.
#[derive(Clone, Copy)]
#[repr(align(32))]
pub(super) struct Portable([f64; COUNT]);

macro_rules! operator {
    ($name:ident $verb:ident $sign:tt) => {
        impl $name for Portable {
            type Output = Self;
            #[inline(always)]
            fn $verb(self, other: Self) -> Self {
                Portable(std::array::from_fn(|lane| self.0[lane] $sign other.0[lane]))
            }
        }
    };
}

operator!(Add add +);
operator!(Sub sub -);
operator!(Mul mul *);
operator!(Div div /);

impl Neg for Portable {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        Portable(self.0.map(|value| -value))
    }
}

impl Real for Portable {
    type Mask = [bool; COUNT];

    #[inline(always)]
    fn of(value: f64) -> Self {
        Portable([value; COUNT])
    }

    #[inline(always)]
    fn below(self, other: Self) -> Self::Mask {
        std::array::from_fn(|lane| self.0[lane] < other.0[lane])
    }

    #[inline(always)]
    fn pick(mask: Self::Mask, yes: Self, no: Self) -> Self {
        Portable(std::array::from_fn(|lane| if mask[lane] { yes.0[lane] } else { no.0[lane] }))
    }

    #[inline(always)]
    fn sin_cos(self) -> (Self, Self) {
        let both = self.0.map(Real::sin_cos);
        (Portable(both.map(|pair| pair.0)), Portable(both.map(|pair| pair.1)))
    }

    #[inline(always)]
    fn both(a: Self::Mask, b: Self::Mask) -> Self::Mask {
        std::array::from_fn(|lane| a[lane] & b[lane])
    }

    #[inline(always)]
    fn either(a: Self::Mask, b: Self::Mask) -> Self::Mask {
        std::array::from_fn(|lane| a[lane] | b[lane])
    }

    #[inline(always)]
    fn differ(a: Self::Mask, b: Self::Mask) -> Self::Mask {
        std::array::from_fn(|lane| a[lane] != b[lane])
    }

    #[inline(always)]
    fn always(value: bool) -> Self::Mask {
        [value; COUNT]
    }

    #[inline(always)]
    fn any(mask: Self::Mask) -> bool {
        mask.iter().any(|lane| *lane)
    }
}

impl Lanes for Portable {
    const LANES: usize = COUNT;

    #[inline(always)]
    fn load(from: &[f64]) -> Self {
        Portable(std::array::from_fn(|lane| from[lane]))
    }

    #[inline(always)]
    fn store(self, to: &mut [f64]) {
        to[..COUNT].copy_from_slice(&self.0);
    }

    #[inline(always)]
    fn bits(mask: Self::Mask) -> u32 {
        (0..COUNT).map(|lane| u32::from(mask[lane]) << lane).sum()
    }
}
