//! What an instruction computes in one lane, where no processor has an instruction of just that meaning.

use crate::code::{Atomic, Rounding, Type, Whole1, Whole2};

/// The one that is not a number on a GPU.
const NOT_A_NUMBER: u32 = 0x7FFF_FFFF;

/// The bits of a result: a GPU has one value that is not a number, whatever went in.
#[inline(always)]
pub(super) fn number32(value: f32) -> u32 {
    if value.is_nan() { NOT_A_NUMBER } else { value.to_bits() }
}

/// The smaller number; -0 is smaller than 0, and a number is preferred to none.
#[inline(always)]
pub(super) fn min32(a: f32, b: f32) -> u32 {
    if a.is_nan() {
        return number32(b);
    }
    if b.is_nan() {
        return a.to_bits();
    }
    if a == b { a.to_bits() | b.to_bits() & 1 << 31 } else { if a < b { a } else { b }.to_bits() }
}

/// The larger number.
#[inline(always)]
pub(super) fn max32(a: f32, b: f32) -> u32 {
    if a.is_nan() {
        return number32(b);
    }
    if b.is_nan() {
        return a.to_bits();
    }
    if a == b { a.to_bits() & b.to_bits() } else { if a > b { a } else { b }.to_bits() }
}

/// As [`min32`].
#[inline(always)]
pub(super) fn min64(a: f64, b: f64) -> u64 {
    if a.is_nan() {
        return b.to_bits();
    }
    if b.is_nan() {
        return a.to_bits();
    }
    if a == b { a.to_bits() | b.to_bits() & 1 << 63 } else { if a < b { a } else { b }.to_bits() }
}

/// As [`max32`].
#[inline(always)]
pub(super) fn max64(a: f64, b: f64) -> u64 {
    if a.is_nan() {
        return b.to_bits();
    }
    if b.is_nan() {
        return a.to_bits();
    }
    if a == b { a.to_bits() & b.to_bits() } else { if a > b { a } else { b }.to_bits() }
}

/// Divisors are not 0 in lanes that count; in the others the result is of no use.
#[inline(always)]
pub(super) fn word2(two: Whole2, x: u32, y: u32) -> u32 {
    let (signed_x, signed_y) = (x as i32, y as i32);
    match two {
        Whole2::Add => x.wrapping_add(y),
        Whole2::Sub => x.wrapping_sub(y),
        Whole2::Mul => x.wrapping_mul(y),
        Whole2::MulHighU => ((u64::from(x) * u64::from(y)) >> 32) as u32,
        Whole2::MulHighS => ((i64::from(signed_x) * i64::from(signed_y)) >> 32) as u32,
        Whole2::And => x & y,
        Whole2::Or => x | y,
        Whole2::Xor => x ^ y,
        Whole2::Shl => x.checked_shl(y).unwrap_or(0),
        Whole2::ShrU => x.checked_shr(y).unwrap_or(0),
        Whole2::ShrS => (signed_x >> y.min(31)) as u32,
        Whole2::MinU => x.min(y),
        Whole2::MaxU => x.max(y),
        Whole2::MinS => signed_x.min(signed_y) as u32,
        Whole2::MaxS => signed_x.max(signed_y) as u32,
        Whole2::DivU => x.checked_div(y).unwrap_or(0),
        Whole2::DivS => {
            if y == 0 {
                0
            } else {
                signed_x.wrapping_div(signed_y) as u32
            }
        }
        Whole2::RemU => x.checked_rem(y).unwrap_or(0),
        Whole2::RemS => {
            if y == 0 {
                0
            } else {
                signed_x.wrapping_rem(signed_y) as u32
            }
        }
    }
}

/// As [`word2`], in 64 bits.
#[inline(always)]
pub(super) fn wide2(two: Whole2, x: u64, y: u64) -> u64 {
    let (signed_x, signed_y) = (x as i64, y as i64);
    match two {
        Whole2::Add => x.wrapping_add(y),
        Whole2::Sub => x.wrapping_sub(y),
        Whole2::Mul => x.wrapping_mul(y),
        Whole2::MulHighU => ((u128::from(x) * u128::from(y)) >> 64) as u64,
        Whole2::MulHighS => ((i128::from(signed_x) * i128::from(signed_y)) >> 64) as u64,
        Whole2::And => x & y,
        Whole2::Or => x | y,
        Whole2::Xor => x ^ y,
        Whole2::Shl => x.checked_shl(y as u32).unwrap_or(0),
        Whole2::ShrU => x.checked_shr(y as u32).unwrap_or(0),
        Whole2::ShrS => (signed_x >> y.min(63)) as u64,
        Whole2::MinU => x.min(y),
        Whole2::MaxU => x.max(y),
        Whole2::MinS => signed_x.min(signed_y) as u64,
        Whole2::MaxS => signed_x.max(signed_y) as u64,
        Whole2::DivU => x.checked_div(y).unwrap_or(0),
        Whole2::DivS => {
            if y == 0 {
                0
            } else {
                signed_x.wrapping_div(signed_y) as u64
            }
        }
        Whole2::RemU => x.checked_rem(y).unwrap_or(0),
        Whole2::RemS => {
            if y == 0 {
                0
            } else {
                signed_x.wrapping_rem(signed_y) as u64
            }
        }
    }
}

/// As [`word2`], in 16 bits. Shifts count in 32.
#[inline(always)]
pub(super) fn half2(two: Whole2, x: u32, y: u32) -> u32 {
    let (unsigned, signed) = (x & 0xFFFF, x as i16 as i32 as u32);
    let result = match two {
        Whole2::Shl | Whole2::ShrU => word2(two, unsigned, y),
        Whole2::ShrS => word2(two, signed, y),
        Whole2::MinS | Whole2::MaxS | Whole2::DivS | Whole2::RemS => word2(two, signed, y as i16 as i32 as u32),
        _ => word2(two, unsigned, y & 0xFFFF),
    };
    result & 0xFFFF
}

#[inline(always)]
pub(super) fn word1(one: Whole1, x: u32) -> u32 {
    let find = |x: u32| 31u32.wrapping_sub(x.leading_zeros());
    let signed = if (x as i32) < 0 { !x } else { x };
    match one {
        Whole1::Not => !x,
        Whole1::Neg => x.wrapping_neg(),
        Whole1::Abs => (x as i32).wrapping_abs() as u32,
        Whole1::Reverse => x.reverse_bits(),
        Whole1::Ones => x.count_ones(),
        Whole1::LeadingZeros => x.leading_zeros(),
        Whole1::FindU => {
            if x == 0 {
                u32::MAX
            } else {
                find(x)
            }
        }
        Whole1::FindS => {
            if signed == 0 {
                u32::MAX
            } else {
                find(signed)
            }
        }
        Whole1::FindShiftU => {
            if x == 0 {
                u32::MAX
            } else {
                x.leading_zeros()
            }
        }
        Whole1::FindShiftS => {
            if signed == 0 {
                u32::MAX
            } else {
                signed.leading_zeros()
            }
        }
    }
}

#[inline(always)]
pub(super) fn wide1(one: Whole1, x: u64) -> u64 {
    let none = u64::from(u32::MAX);
    let find = |x: u64| 63 - u64::from(x.leading_zeros());
    let signed = if (x as i64) < 0 { !x } else { x };
    match one {
        Whole1::Not => !x,
        Whole1::Neg => x.wrapping_neg(),
        Whole1::Abs => (x as i64).wrapping_abs() as u64,
        Whole1::Reverse => x.reverse_bits(),
        Whole1::Ones => u64::from(x.count_ones()),
        Whole1::LeadingZeros => u64::from(x.leading_zeros()),
        Whole1::FindU => {
            if x == 0 {
                none
            } else {
                find(x)
            }
        }
        Whole1::FindS => {
            if signed == 0 {
                none
            } else {
                find(signed)
            }
        }
        Whole1::FindShiftU => {
            if x == 0 {
                none
            } else {
                u64::from(x.leading_zeros())
            }
        }
        Whole1::FindShiftS => {
            if signed == 0 {
                none
            } else {
                u64::from(signed.leading_zeros())
            }
        }
    }
}

#[inline(always)]
pub(super) fn half1(one: Whole1, x: u32) -> u32 {
    match one {
        Whole1::Not => !x & 0xFFFF,
        Whole1::Neg => x.wrapping_neg() & 0xFFFF,
        Whole1::Abs => u32::from((x as i16).wrapping_abs() as u16),
        _ => word1(one, x & 0xFFFF),
    }
}

/// Four bytes out of eight, chosen by four bits each; the fourth bit of a choice copies the sign.
#[inline(always)]
pub(super) fn permute(a: u32, b: u32, choices: u32) -> u32 {
    let both = u64::from(b) << 32 | u64::from(a);
    let mut result = 0;
    for i in 0..4 {
        let choice = choices >> (4 * i);
        let byte = (both >> (8 * (choice & 7))) as u32 & 0xFF;
        let byte = if choice & 8 == 0 { byte } else { (byte >> 7) * 0xFF };
        result |= byte << (8 * i);
    }
    result
}

/// `count` bits from `first` on.
pub(super) fn extract(kind: Type, value: u64, first: u32, count: u32) -> u64 {
    let width = 8 * kind.size() as u32;
    let (first, count) = (first & 0xFF, count & 0xFF);
    let value = if width == 32 { value & u64::from(u32::MAX) } else { value };
    if count == 0 {
        return 0;
    }
    let top = (first + count - 1).min(width - 1);
    let sign = kind.signed() && value >> top & 1 == 1;
    let bits = if first >= width { 0 } else { value >> first };
    if count >= width {
        let filled = width.saturating_sub(first);
        return if sign && filled < 64 { bits | u64::MAX.checked_shl(filled).unwrap_or(0) } else { bits };
    }
    let mask = (1u64 << count) - 1;
    let taken = bits & mask & if first + count > width { (1u64 << width.saturating_sub(first)) - 1 } else { u64::MAX };
    let have = count.min(width.saturating_sub(first));
    if sign { taken | u64::MAX.checked_shl(have).unwrap_or(0) } else { taken }
}

/// Puts `count` bits of `value` into `into` from `first` on.
pub(super) fn insert(width: u32, value: u64, into: u64, first: u32, count: u32) -> u64 {
    let first = first & 0xFF;
    if count == 0 || first >= width {
        return into;
    }
    let count = count.min(width - first);
    let mask = (u64::MAX >> (64 - count)) << first;
    into & !mask | value << first & mask
}

/// What an atomic leaves in memory.
pub(super) fn atomic(atomic: Atomic, kind: Type, old: u64, b: u64, c: u64) -> u64 {
    let signed = |value: u64| if kind == Type::S32 { i64::from(value as i32) } else { value as i64 };
    match atomic {
        Atomic::Add => old.wrapping_add(b),
        Atomic::And => old & b,
        Atomic::Or => old | b,
        Atomic::Xor => old ^ b,
        Atomic::Exchange => b,
        Atomic::CompareExchange => {
            if old == b {
                c
            } else {
                old
            }
        }
        Atomic::Min if kind.signed() => signed(old).min(signed(b)) as u64,
        Atomic::Max if kind.signed() => signed(old).max(signed(b)) as u64,
        Atomic::Min => old.min(b),
        Atomic::Max => old.max(b),
    }
}

/// A conversion. A float becomes the nearest whole number that there is, and none becomes 0.
pub(super) fn convert(from: Type, to: Type, round: Option<Rounding>, saturate: bool, bits: u64) -> u64 {
    enum Value {
        Whole(i128),
        Single(f32),
        Double(f64),
    }
    let value = match from {
        Type::U8 => Value::Whole(i128::from(bits as u8)),
        Type::S8 => Value::Whole(i128::from(bits as i8)),
        Type::U16 => Value::Whole(i128::from(bits as u16)),
        Type::S16 => Value::Whole(i128::from(bits as i16)),
        Type::U32 => Value::Whole(i128::from(bits as u32)),
        Type::S32 => Value::Whole(i128::from(bits as i32)),
        Type::U64 => Value::Whole(i128::from(bits)),
        Type::S64 => Value::Whole(i128::from(bits as i64)),
        Type::F32 => Value::Single(f32::from_bits(bits as u32)),
        Type::F64 => Value::Double(f64::from_bits(bits)),
    };
    let rounded = |value: f64| match round {
        Some(Rounding::Nearest) => value.round_ties_even(),
        Some(Rounding::Down) => value.floor(),
        Some(Rounding::Up) => value.ceil(),
        Some(Rounding::Zero) => value.trunc(),
        None => value,
    };
    let float = to.float();
    match (value, to) {
        (Value::Whole(value), Type::F32) => u64::from((value as f32).to_bits()),
        (Value::Whole(value), Type::F64) => (value as f64).to_bits(),
        (Value::Single(value), Type::F32) => {
            let value = rounded(f64::from(value)) as f32;
            u64::from(number32(if saturate { saturated(value) } else { value }))
        }
        (Value::Single(value), Type::F64) => f64::from(value).to_bits(),
        (Value::Double(value), Type::F32) => u64::from(number32(value as f32)),
        (Value::Double(value), Type::F64) => rounded(value).to_bits(),
        (Value::Single(value), _) => whole(to, rounded(f64::from(value))),
        (Value::Double(value), _) => whole(to, rounded(value)),
        (Value::Whole(value), _) => {
            let (low, high) = limits(to);
            let value = if saturate && !float { value.clamp(low, high) } else { value };
            widened(to, value as u64)
        }
    }
}

fn saturated(value: f32) -> f32 {
    if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) }
}

fn limits(kind: Type) -> (i128, i128) {
    let bits = 8 * kind.size() as u32;
    if kind.signed() { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) }
}

fn whole(kind: Type, value: f64) -> u64 {
    match kind {
        Type::U8 => u64::from(value as u8),
        Type::S8 => value as i8 as i64 as u64,
        Type::U16 => u64::from(value as u16),
        Type::S16 => value as i16 as i64 as u64,
        Type::U32 => u64::from(value as u32),
        Type::S32 => value as i32 as i64 as u64,
        Type::U64 => value as u64,
        _ => value as i64 as u64,
    }
}

fn widened(kind: Type, value: u64) -> u64 {
    match kind {
        Type::U8 => u64::from(value as u8),
        Type::S8 => value as i8 as i64 as u64,
        Type::U16 => u64::from(value as u16),
        Type::S16 => value as i16 as i64 as u64,
        Type::U32 => u64::from(value as u32),
        _ => value,
    }
}

/// A value of memory as it stands in a wider register.
#[inline(always)]
pub(super) fn widen(kind: Type, value: u64) -> u64 {
    match kind {
        Type::S8 => value as i8 as i64 as u64,
        Type::S16 => value as i16 as i64 as u64,
        Type::S32 => value as i32 as i64 as u64,
        _ => value,
    }
}
