//! Randomness as an input: who draws, from what, and the counter generator that all SDKs share.
//!
//! A seeded draw is a pure function of (seed, stream, episode, index), so two sides that draw the same number of times
//! in the same order see the same numbers, however many lanes run beside them.

/// What the rules ask for random numbers.
///
/// Sites are the places in the manifest's `draws.sites`. Implementations that keep no log cost nothing but the draw.
pub trait Draws {
    /// A number below `bound`, uniform; `bound` is at least 1.
    fn below(&mut self, bound: u32, site: u32) -> u32;

    /// A whole random word.
    fn word(&mut self, site: u32) -> u32;

    /// Notes a draw that the rules made by themselves, from a ported generator whose state is part of the lane
    /// (draw level `exact`). `bound` is 2^32 or more for whole words.
    fn note(&mut self, bound: u64, value: u64, site: u32);
}

/// Threefry-4x32 with 20 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): adds, rotations
/// and exclusive-ors of 32-bit words, so that it is the same few lines in Rust, C, CUDA, Python and JavaScript.
pub fn threefry(key: [u32; 4], counter: [u32; 4]) -> [u32; 4] {
    const PARITY: u32 = 0x1BD1_1BDA;
    const ROTATIONS: [[u32; 2]; 8] = [[10, 26], [11, 21], [13, 27], [23, 5], [6, 20], [17, 11], [25, 10], [18, 20]];
    let keys = [key[0], key[1], key[2], key[3], PARITY ^ key[0] ^ key[1] ^ key[2] ^ key[3]];
    let mut x: [u32; 4] = std::array::from_fn(|i| counter[i].wrapping_add(keys[i]));
    for round in 0..20 {
        let [a, b] = ROTATIONS[round % 8];
        let (p, q) = if round % 2 == 0 { (1, 3) } else { (3, 1) };
        x[0] = x[0].wrapping_add(x[p]);
        x[p] = x[p].rotate_left(a) ^ x[0];
        x[2] = x[2].wrapping_add(x[q]);
        x[q] = x[q].rotate_left(b) ^ x[2];
        if round % 4 == 3 {
            let injection = round / 4 + 1;
            for (i, word) in x.iter_mut().enumerate() {
                *word = word.wrapping_add(keys[(injection + i) % 5]);
            }
            x[3] = x[3].wrapping_add(injection as u32);
        }
    }
    x
}

/// Draw number `index` of an episode, as a whole word.
#[inline]
pub fn draw_word(seed: u64, stream: u64, episode: u32, index: u32) -> u32 {
    let key = [seed as u32, (seed >> 32) as u32, stream as u32, (stream >> 32) as u32];
    threefry(key, [index >> 2, episode, 0, 0])[(index & 3) as usize]
}

/// Maps a whole word to a number below `bound`.
#[inline]
pub fn below(word: u32, bound: u32) -> u32 {
    debug_assert!(bound > 0);
    ((u64::from(word) * u64::from(bound)) >> 32) as u32
}

/// Draws straight from a generator word, without a log: for probes and property tests.
pub struct Unlogged<F: FnMut() -> u32>(pub F);

impl<F: FnMut() -> u32> Draws for Unlogged<F> {
    fn below(&mut self, bound: u32, _site: u32) -> u32 {
        below((self.0)(), bound)
    }

    fn word(&mut self, _site: u32) -> u32 {
        (self.0)()
    }

    fn note(&mut self, _bound: u64, _value: u64, _site: u32) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    // Known answers of Random123's kat_vectors for threefry4x32 with 20 rounds.
    #[test]
    fn threefry_gives_the_published_answers() {
        assert_eq!(threefry([0; 4], [0; 4]), [0x9c6c_a96a, 0xe17e_ae66, 0xfc10_ecd4, 0x5256_a7d8]);
        assert_eq!(threefry([!0; 4], [!0; 4]), [0x2a88_1696, 0x5701_2287, 0xf6c7_446e, 0xa16a_6732]);
        assert_eq!(
            threefry(
                [0xa409_3822, 0x299f_31d0, 0x082e_fa98, 0xec4e_6c89],
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344]
            ),
            [0x59cd_1dbb, 0xb887_9579, 0x86b5_d00c, 0xac8b_6d84]
        );
    }

    #[test]
    fn below_covers_its_range_and_nothing_else() {
        assert_eq!(below(0, 3), 0);
        assert_eq!(below(u32::MAX, 3), 2);
        assert_eq!(below(u32::MAX, 1), 0);
    }
}
