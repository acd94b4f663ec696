//! Doubles or singles as plain Rust: four lanes at once, which a compiler puts into whatever vectors the machine has.

use super::kernel::{Lanes, Task, play};
use crate::real::Real;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// One step of the task's lanes, in double precision.
pub(super) fn step(task: &mut Task<'_>) {
    play::<Portable<f64>>(task);
}

/// One step of the task's lanes, in single precision.
pub(super) fn step_single(task: &mut Task<'_>) {
    play::<Portable<f32>>(task);
}

/// How many lanes.
const COUNT: usize = 4;

/// A number.
pub(super) trait Number: Real<Mask = bool> {
    const IS_SINGLE: bool;
    fn widened(self) -> f64;
}

impl Number for f64 {
    const IS_SINGLE: bool = false;
    #[inline(always)]
    fn widened(self) -> f64 {
        self
    }
}

impl Number for f32 {
    const IS_SINGLE: bool = true;
    #[inline(always)]
    fn widened(self) -> f64 {
        f64::from(self)
    }
}

/// Four numbers.
#[derive(Clone, Copy)]
#[repr(align(32))]
pub(super) struct Portable<T>([T; COUNT]);

macro_rules! operator {
    ($name:ident $verb:ident $sign:tt) => {
        impl<T: Number> $name for Portable<T> {
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

impl<T: Number> Neg for Portable<T> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        Portable(self.0.map(|value| -value))
    }
}

impl<T: Number> Real for Portable<T> {
    type Mask = [bool; COUNT];

    #[inline(always)]
    fn of(value: f64) -> Self {
        Portable([T::of(value); COUNT])
    }

    #[inline(always)]
    fn below(self, other: Self) -> Self::Mask {
        std::array::from_fn(|lane| self.0[lane].below(other.0[lane]))
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

impl<T: Number> Lanes for Portable<T> {
    const IS_SINGLE: bool = T::IS_SINGLE;
    const LANES: usize = COUNT;

    #[inline(always)]
    fn load(from: &[f64]) -> Self {
        Portable(std::array::from_fn(|lane| T::of(from[lane])))
    }

    #[inline(always)]
    fn store(self, to: &mut [f64]) {
        to[..COUNT].copy_from_slice(&self.0.map(Number::widened));
    }

    #[inline(always)]
    fn bits(mask: Self::Mask) -> u32 {
        (0..COUNT).map(|lane| u32::from(mask[lane]) << lane).sum()
    }
}
