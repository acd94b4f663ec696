//! What the physics computes with: one number, or the same number of many lanes at once.
//!
//! Every function of the physics is written once, over this trait. A lane's bits don't depend on how many lanes stand
//! beside it, because each operation is the same IEEE operation on every lane, in the same order: there is no fused
//! multiply-add, no libm and no sum over lanes. What a lane does not need is computed all the same and thrown away by
//! [`Real::pick`]; [`Real::any`] only leaves out what no lane needs.

use std::ops::{Add, Div, Mul, Neg, Sub};

/// A number, or one number of each lane.
pub trait Real:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self> + Neg<Output = Self>
{
    /// A truth value for each lane.
    type Mask: Copy;

    /// The same number in every lane, rounded to the precision.
    fn of(value: f64) -> Self;

    /// Whether `self < other`.
    fn below(self, other: Self) -> Self::Mask;

    /// `yes` where the mask holds, else `no`.
    fn pick(mask: Self::Mask, yes: Self, no: Self) -> Self;

    /// Sine and cosine.
    fn sin_cos(self) -> (Self, Self);

    /// Where both hold.
    fn both(a: Self::Mask, b: Self::Mask) -> Self::Mask;

    /// Where one of them holds.
    fn either(a: Self::Mask, b: Self::Mask) -> Self::Mask;

    /// Where they differ.
    fn differ(a: Self::Mask, b: Self::Mask) -> Self::Mask;

    /// The same truth value in every lane.
    fn always(value: bool) -> Self::Mask;

    /// Whether it holds in any lane.
    fn any(mask: Self::Mask) -> bool;

    /// The absolute value.
    #[inline(always)]
    fn abs(self) -> Self {
        Self::pick(self.below(Self::of(0.0)), -self, self)
    }

    /// 1 where the mask holds, else 0.
    #[inline(always)]
    fn one_where(mask: Self::Mask) -> Self {
        Self::pick(mask, Self::of(1.0), Self::of(0.0))
    }
}

/// Sine and cosine in double precision: the argument minus a multiple of π/2, then polynomials on [-π/4, π/4].
///
/// The three parts of π/2 have trailing zeros, so that the product with a multiple below 2^20 is exact; the polynomials
/// are those of FreeBSD's `k_sin.c` and `k_cos.c`, within one unit in the last place of what they stand for.
pub mod double {
    /// 2 / π.
    pub const TURNS: f64 = std::f64::consts::FRAC_2_PI;
    /// Added and subtracted again it rounds to a whole number; the lowest bits of the sum are that number's.
    pub const ROUND: f64 = 6_755_399_441_055_744.0;
    /// π/2 in three parts of 33 bits.
    pub const PART: [f64; 3] = [1.570_796_326_734_125_6, 6.077_100_506_303_966e-11, 2.022_266_248_711_166_5e-21];
    /// Of x^3, x^5, … in the sine.
    pub const SINE: [f64; 6] = [
        -1.666_666_666_666_663_2e-1,
        8.333_333_333_322_49e-3,
        -1.984_126_982_985_795e-4,
        2.755_731_370_707_006_8e-6,
        -2.505_076_025_340_686_3e-8,
        1.589_690_995_211_55e-10,
    ];
    /// Of x^4, x^6, … in the cosine.
    pub const COSINE: [f64; 6] = [
        4.166_666_666_666_66e-2,
        -1.388_888_888_887_411e-3,
        2.480_158_728_947_673e-5,
        -2.755_731_435_139_066_3e-7,
        2.087_572_321_298_175e-9,
        -1.135_964_755_778_819_5e-11,
    ];
}

/// Sine and cosine in single precision, in the same way; the parts and polynomials are those of Cephes' `sinf.c`.
pub mod single {
    /// Added and subtracted again it rounds to a whole number; the lowest bits of the sum are that number's.
    pub const ROUND: f64 = 12_582_912.0;
    /// π/2 in three parts, the first two of 11 bits.
    pub const PART: [f64; 3] = [1.570_312_5, 4.837_512_969_970_703e-4, 7.549_789_948_768_648e-8];
    /// Of x^3, x^5, x^7 in the sine.
    pub const SINE: [f64; 3] = [-1.666_665_461_1e-1, 8.332_160_873_6e-3, -1.951_529_589_1e-4];
    /// Of x^4, x^6, x^8 in the cosine.
    pub const COSINE: [f64; 3] = [4.166_664_568_298_827e-2, -1.388_731_625_493_765e-3, 2.443_315_711_809_948e-5];
}

impl Real for f64 {
    type Mask = bool;

    #[inline(always)]
    fn of(value: f64) -> Self {
        value
    }

    #[inline(always)]
    fn below(self, other: Self) -> bool {
        self < other
    }

    #[inline(always)]
    fn pick(mask: bool, yes: Self, no: Self) -> Self {
        if mask { yes } else { no }
    }

    #[inline(always)]
    fn sin_cos(self) -> (Self, Self) {
        let shifted = self * double::TURNS + double::ROUND;
        let whole = shifted - double::ROUND;
        let quarter = shifted.to_bits();
        let (sine, cosine) =
            kernel(((self - whole * double::PART[0]) - whole * double::PART[1]) - whole * double::PART[2], PARTS);
        let (sine, cosine) = if quarter & 1 == 0 { (sine, cosine) } else { (cosine, sine) };
        let sine = if quarter & 2 == 0 { sine } else { -sine };
        let cosine = if (quarter + 1) & 2 == 0 { cosine } else { -cosine };
        (sine, cosine)
    }

    #[inline(always)]
    fn both(a: bool, b: bool) -> bool {
        a & b
    }

    #[inline(always)]
    fn either(a: bool, b: bool) -> bool {
        a | b
    }

    #[inline(always)]
    fn differ(a: bool, b: bool) -> bool {
        a != b
    }

    #[inline(always)]
    fn always(value: bool) -> bool {
        value
    }

    #[inline(always)]
    fn any(mask: bool) -> bool {
        mask
    }
}

impl Real for f32 {
    type Mask = bool;

    #[inline(always)]
    fn of(value: f64) -> Self {
        value as f32
    }

    #[inline(always)]
    fn below(self, other: Self) -> bool {
        self < other
    }

    #[inline(always)]
    fn pick(mask: bool, yes: Self, no: Self) -> Self {
        if mask { yes } else { no }
    }

    #[inline(always)]
    fn sin_cos(self) -> (Self, Self) {
        let part = single::PART.map(|part| part as f32);
        let shifted = self * double::TURNS as f32 + single::ROUND as f32;
        let whole = shifted - single::ROUND as f32;
        let quarter = shifted.to_bits();
        let (sine, cosine) = kernel(((self - whole * part[0]) - whole * part[1]) - whole * part[2], SINGLE_PARTS);
        let (sine, cosine) = if quarter & 1 == 0 { (sine, cosine) } else { (cosine, sine) };
        let sine = if quarter & 2 == 0 { sine } else { -sine };
        let cosine = if (quarter + 1) & 2 == 0 { cosine } else { -cosine };
        (sine, cosine)
    }

    #[inline(always)]
    fn both(a: bool, b: bool) -> bool {
        a & b
    }

    #[inline(always)]
    fn either(a: bool, b: bool) -> bool {
        a | b
    }

    #[inline(always)]
    fn differ(a: bool, b: bool) -> bool {
        a != b
    }

    #[inline(always)]
    fn always(value: bool) -> bool {
        value
    }

    #[inline(always)]
    fn any(mask: bool) -> bool {
        mask
    }
}

/// The polynomials of sine and cosine in double precision.
pub const PARTS: (&[f64; 6], &[f64; 6]) = (&double::SINE, &double::COSINE);
/// The same in single precision.
pub const SINGLE_PARTS: (&[f64; 3], &[f64; 3]) = (&single::SINE, &single::COSINE);

/// Sine and cosine on [-π/4, π/4].
#[inline(always)]
pub fn kernel<V: Real, const N: usize>(x: V, parts: (&[f64; N], &[f64; N])) -> (V, V) {
    let z = x * x;
    let sine = polynomial(parts.0, z);
    let cosine = polynomial(parts.1, z);
    (x + x * z * sine, V::of(1.0) - (V::of(0.5) * z - z * z * cosine))
}

/// A polynomial whose lowest coefficient stands first.
#[inline(always)]
pub fn polynomial<V: Real, const N: usize>(parts: &[f64; N], z: V) -> V {
    let mut sum = V::of(parts[N - 1]);
    for part in parts[..N - 1].iter().rev() {
        sum = sum * z + V::of(*part);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::Real;

    #[test]
    fn sine_and_cosine_are_within_a_unit_in_the_last_place_of_the_library() {
        let mut worst = 0.0f64;
        for index in -2_000_000..2_000_000i32 {
            let x = f64::from(index) * 0.000_712_345_678_9;
            let (sine, cosine) = x.sin_cos_here();
            let error = (sine - x.sin()).abs().max((cosine - x.cos()).abs());
            worst = worst.max(error);
        }
        assert!(worst <= 2.3e-16, "the error is {worst:e}");
    }

    trait Here {
        fn sin_cos_here(self) -> (f64, f64);
    }

    impl Here for f64 {
        fn sin_cos_here(self) -> (f64, f64) {
            Real::sin_cos(self)
        }
    }
}
