//! Exponential and logarithm from + - * / alone, so that they are the same on every machine and device.
//!
//! Both take an argument apart into a power of two and a rest, and sum a series for the rest. They are within two units
//! in the last place of the library's on the ranges that `noise` asks for, which a test checks.

/// ln 2 in two parts; the product of the first with a small whole number is exact.
const LN2: [f64; 2] = [0.693_147_180_369_123_8, 1.908_214_929_270_587_7e-10];

/// e to the power of `x`, for -700 < x <= 0.
pub fn exp(x: f64) -> f64 {
    let whole = (x * std::f64::consts::LOG2_E - 0.5) as i32;
    let (high, low) = (x - f64::from(whole) * LN2[0], f64::from(whole) * LN2[1]);
    let r = high - low;
    // e^r = 1 + r + r²/2! + …, on |r| < 0.35.
    let mut sum = 1.0;
    for n in (2..=14).rev() {
        sum = 1.0 + r / f64::from(n) * sum;
    }
    (1.0 + r * sum) * f64::from_bits(((1023 + whole) as u64) << 52)
}

/// The natural logarithm of 1 + `x`, for -1 < x <= 0.
pub fn ln_1p(x: f64) -> f64 {
    let sum = 1.0 + x;
    // What the sum lost.
    let lost = if sum == 1.0 { 0.0 } else { (x - (sum - 1.0)) / sum };
    let mut exponent = ((sum.to_bits() >> 52) & 0x7FF) as i32 - 1023;
    let mut mantissa = f64::from_bits(sum.to_bits() & 0x000F_FFFF_FFFF_FFFF | 0x3FF0_0000_0000_0000);
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa *= 0.5;
        exponent += 1;
    }
    let f = if exponent == 0 { sum - 1.0 } else { mantissa - 1.0 };
    // ln(1 + f) = 2 artanh(s) with s = f / (2 + f), |s| < 0.172.
    let s = f / (2.0 + f);
    let z = s * s;
    let mut series = 0.0;
    for n in (1..=11).rev() {
        series = z * (1.0 / f64::from(2 * n + 1) + series);
    }
    let exponent = f64::from(exponent);
    exponent * LN2[0] + (2.0 * (s + s * series) + (exponent * LN2[1] + lost))
}

#[cfg(test)]
mod tests {
    use super::{exp, ln_1p};

    #[test]
    fn exponential_and_logarithm_are_within_four_parts_in_1e16_of_the_library() {
        for index in 1..1_000_000 {
            let x = f64::from(index) / 1_000_000.0;
            let (ours, theirs) = (exp(-8.0 * x), (-8.0 * x).exp());
            assert!((ours / theirs - 1.0).abs() < 4.5e-16, "exp({}) is {ours:e}, not {theirs:e}", -8.0 * x);
            let (ours, theirs) = (ln_1p(-x), (-x).ln_1p());
            assert!((ours / theirs - 1.0).abs() < 6.7e-16, "ln_1p({}) is {ours:e}, not {theirs:e}", -x);
        }
    }
}
