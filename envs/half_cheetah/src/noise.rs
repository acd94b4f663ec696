//! NumPy's generator as Gymnasium seeds it: SeedSequence, PCG64, uniform and normal numbers, bit for bit.
//!
//! Each episode is a reset with a seed of its own, `seed | stream << 64 | episode << 128`, so nothing of the generator
//! outlives a reset. Logarithm and exponential are those of the machine's libm, as they are for NumPy, because no other
//! rounds the same: a reset is always played on the host. They stand in a branch that one normal number in seventy takes.

use crate::noise_tables::{HEIGHT, INNER, WIDTH};
use lockstep_core::{Draws, Start};

/// Where the tail of the normal curve begins.
const RADIUS: f64 = 3.654_152_885_361_009;
/// Its reciprocal.
const RADIUS_INVERSE: f64 = 0.273_661_237_329_758_3;
/// The bound under which raw words are noted: as near to 2^64 as can be written.
const RAW_BOUND: u64 = u64::MAX;

/// PCG64, an LCG of 128 bits whose output is folded and rotated.
pub struct Noise<'a, D: Draws> {
    state: u128,
    increment: u128,
    draws: &'a mut D,
    /// The site under which words are noted.
    pub site: u32,
}

impl<'a, D: Draws> Noise<'a, D> {
    /// The generator of one episode.
    pub fn new(start: Start, draws: &'a mut D) -> Self {
        let words = seed_sequence(&entropy(start));
        let pair = |at: usize| u128::from(words[at]) << 64 | u128::from(words[at + 1]);
        let mut noise = Noise { state: 0, increment: pair(2) << 1 | 1, draws, site: 0 };
        noise.advance();
        noise.state = noise.state.wrapping_add(pair(0));
        noise.advance();
        noise
    }

    fn advance(&mut self) {
        const MULTIPLIER: u128 = 0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645;
        self.state = self.state.wrapping_mul(MULTIPLIER).wrapping_add(self.increment);
    }

    fn raw(&mut self) -> u64 {
        self.advance();
        let folded = (self.state >> 64) as u64 ^ self.state as u64;
        let word = folded.rotate_right((self.state >> 122) as u32);
        self.draws.note(RAW_BOUND, word, self.site);
        word
    }

    /// In [0, 1).
    fn unit(&mut self) -> f64 {
        (self.raw() >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
    }

    /// In [low, high).
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// With mean 0 and deviation 1.
    pub fn normal(&mut self) -> f64 {
        loop {
            let word = self.raw();
            let strip = (word & 0xFF) as usize;
            let distance = word >> 9 & 0x000F_FFFF_FFFF_FFFF;
            let size = distance as f64 * WIDTH[strip];
            let x = if word >> 8 & 1 == 1 { -size } else { size };
            if distance < INNER[strip] {
                return x;
            }
            if strip == 0 {
                loop {
                    let over = -RADIUS_INVERSE * (-self.unit()).ln_1p();
                    let height = -(-self.unit()).ln_1p();
                    if height + height > over * over {
                        return if distance >> 8 & 1 == 1 { -(RADIUS + over) } else { RADIUS + over };
                    }
                }
            }
            if (HEIGHT[strip - 1] - HEIGHT[strip]) * self.unit() + HEIGHT[strip] < (-0.5 * x * x).exp() {
                return x;
            }
        }
    }
}

/// The seed's 32-bit words, the lowest first, without zeros at the end.
fn entropy(start: Start) -> Vec<u32> {
    let (seed, stream) = (start.seed, start.stream);
    let mut words = vec![seed as u32, (seed >> 32) as u32, stream as u32, (stream >> 32) as u32, start.episode];
    while words.len() > 1 && words.last() == Some(&0) {
        words.pop();
    }
    words
}

/// Four words of 64 bits from any number of words of 32.
fn seed_sequence(entropy: &[u32]) -> [u64; 4] {
    let mut constant = 0x43B0_D7E5u32;
    let mut hash = |mut value: u32| {
        value ^= constant;
        constant = constant.wrapping_mul(0x931E_8875);
        value = value.wrapping_mul(constant);
        value ^ value >> 16
    };
    let mix = |a: u32, b: u32| {
        let value = a.wrapping_mul(0xCA01_F9DD).wrapping_sub(b.wrapping_mul(0x4973_F715));
        value ^ value >> 16
    };
    let mut pool = [0u32; 4];
    for (place, word) in pool.iter_mut().enumerate() {
        *word = hash(entropy.get(place).copied().unwrap_or(0));
    }
    for from in 0..4 {
        for to in (0..4).filter(|to| *to != from) {
            pool[to] = mix(pool[to], hash(pool[from]));
        }
    }
    for word in entropy.iter().skip(4) {
        for slot in &mut pool {
            *slot = mix(*slot, hash(*word));
        }
    }
    let mut constant = 0x8B51_F9DDu32;
    let mut words = [0u32; 8];
    for (place, word) in words.iter_mut().enumerate() {
        let mut value = pool[place % 4] ^ constant;
        constant = constant.wrapping_mul(0x58F3_8DED);
        value = value.wrapping_mul(constant);
        *word = value ^ value >> 16;
    }
    std::array::from_fn(|at| u64::from(words[2 * at]) | u64::from(words[2 * at + 1]) << 32)
}
