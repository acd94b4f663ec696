//! The digests that stand for records on the wire.
//!
//! One digest covers a window of up to 64 steps, because hashing each step by itself costs three times as much.

use xxhash_rust::xxh64::xxh64;

/// A digest algorithm, as `hello` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digest {
    /// XXH64; the seed is the algorithm's own.
    Xxh64,
    /// BLAKE2b with an 8-byte output over seed and bytes, for adapters that have nothing but a standard library.
    Blake2b,
}

impl Digest {
    /// The algorithm with this name in `hello`.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "xxh64" => Some(Digest::Xxh64),
            "blake2b" => Some(Digest::Blake2b),
            _ => None,
        }
    }

    /// Its name in `hello`.
    pub fn name(self) -> &'static str {
        match self {
            Digest::Xxh64 => "xxh64",
            Digest::Blake2b => "blake2b",
        }
    }

    /// The digest of `bytes`, seeded with `seed`.
    #[inline]
    pub fn of(self, seed: u64, bytes: &[u8]) -> u64 {
        match self {
            Digest::Xxh64 => xxh64(bytes, seed),
            Digest::Blake2b => {
                let mut state = blake2b_simd::Params::new().hash_length(8).to_state();
                state.update(&seed.to_le_bytes()).update(bytes);
                u64::from_le_bytes(state.finalize().as_bytes().try_into().expect("eight bytes were asked for"))
            }
        }
    }
}
