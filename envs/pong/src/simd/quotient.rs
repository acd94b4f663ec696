//! The observation's quotients as one exact product each, because a division costs ten of them.
//!
//! `a / b` is `(a × scale) × factor`, rounded once: the first product is a whole number that a single holds exactly, and
//! `scale` is chosen such that the single `factor` is very nearly `1 / (b × scale)`. A quotient of small whole numbers
//! is never close to the middle between two singles, so the tiny error of `factor` can't move it across; a test goes
//! through every numerator that a lane can hold.

use super::vector::Vector;

/// The smallest numerator for which the products are proven equal to the quotients.
pub const OBSERVED_MIN: i16 = -128;
/// The largest.
pub const OBSERVED_MAX: i16 = 1023;

/// One divisor, as two factors.
#[derive(Clone, Copy)]
pub(super) struct Quotient {
    pub scale: i16,
    pub factor: f32,
}

impl Quotient {
    const fn by(divisor: f32, scale: i16) -> Self {
        Quotient { scale, factor: 1.0 / (divisor * scale as f32) }
    }
}

/// By the field's width.
pub(super) const BY_WIDTH: Quotient = Quotient::by(500.0, 143);
/// By the field's height, which is also the way of a paddle.
pub(super) const BY_HEIGHT: Quotient = Quotient::by(640.0, 7);
/// By twice the largest vertical speed.
pub(super) const BY_SPEED: Quotient = Quotient::by(26.0, 5);

/// `(vx + 10) / 20` by the low three bits of `vx`, which is 10 or -10.
pub(super) const VIEW_OF_VX: [f32; 8] = [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0];

/// `(vy + 13) / 26` by the low five bits of `vy`.
pub(super) const VIEW_OF_VY: [f32; 32] = {
    let mut table = [0.0; 32];
    let mut speed = -13i16;
    while speed <= 13 {
        table[(speed & 31) as usize] = (speed + 13) as f32 / 26.0;
        speed += 1;
    }
    table
};

/// The first six values of the observation, one half of the lanes after the other.
///
/// # Safety
/// The machine has the instruction set of `V`.
#[inline(always)]
pub(super) unsafe fn view<V: Vector>([centre_l, centre_r, x, y, vx, vy]: [V; 6]) -> [[V::Floats; 2]; 6] {
    // SAFETY: as the caller promises.
    unsafe {
        [
            centre_l.quotient(BY_HEIGHT),
            centre_r.quotient(BY_HEIGHT),
            x.quotient(BY_WIDTH),
            y.quotient(BY_HEIGHT),
            vx.lookup(&VIEW_OF_VX),
            vy.view_of_vy(),
        ]
    }
}

/// What the instruction set makes of the numerators `[centre_l, centre_r, x, y, vx, vy]`, to be tested.
pub fn observed(instructions: super::Instructions, numerators: [i16; 6]) -> [f32; 6] {
    assert!(instructions.is_available());
    match instructions {
        // SAFETY: every machine has it.
        super::Instructions::Portable => unsafe { observed_by::<super::portable::Portable>(numerators) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: it is available, as asserted.
        super::Instructions::Avx2 => unsafe { super::avx2::observed(numerators) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: it is available, as asserted.
        super::Instructions::Avx512 => unsafe { super::avx512::observed(numerators) },
        #[cfg(not(target_arch = "x86_64"))]
        _ => unreachable!("it is not available"),
    }
}

/// # Safety
/// The machine has the instruction set of `V`.
#[inline(always)]
pub(super) unsafe fn observed_by<V: Vector>(numerators: [i16; 6]) -> [f32; 6] {
    // SAFETY: as the caller promises; each half of the lanes is at most 16 singles.
    unsafe {
        let columns = view(numerators.map(|numerator| V::splat(numerator)));
        columns.map(|halves| {
            let mut floats = [[0.0f32; 16]; 2];
            V::store_floats(halves[0], floats[0].as_mut_ptr());
            V::store_floats(halves[1], floats[1].as_mut_ptr());
            let first = floats[0][0];
            assert!(floats.iter().all(|half| half[..V::LANES / 2].iter().all(|x| x.to_bits() == first.to_bits())));
            first
        })
    }
}
