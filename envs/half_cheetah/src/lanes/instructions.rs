//! Which instruction sets there are, which of them this machine has, and how one is asked for by name.

/// An instruction set that the physics is compiled for. All give the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instructions {
    /// What every machine has.
    Portable,
    /// Vectors of 256 bits.
    Avx2,
    /// Vectors of 512 bits: AVX-512 with F and DQ.
    Avx512,
}

/// What the physics computes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// The numbers of the readable backend: its bits.
    Double,
    /// Singles; between steps a state is kept in doubles.
    Single,
}

/// The environment variable that asks for one by name.
const VARIABLE: &str = "LOCKSTEP_HALF_CHEETAH_SIMD";

impl Instructions {
    /// All, the slowest first.
    pub const ALL: [Instructions; 3] = [Instructions::Portable, Instructions::Avx2, Instructions::Avx512];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Instructions::Portable => "portable",
            Instructions::Avx2 => "avx2",
            Instructions::Avx512 => "avx512",
        }
    }

    /// Whether this machine has it.
    pub fn is_available(self) -> bool {
        match self {
            Instructions::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq"),
            #[cfg(not(target_arch = "x86_64"))]
            Instructions::Avx2 | Instructions::Avx512 => false,
        }
    }

    /// Those that this machine has, the slowest first.
    pub fn available() -> Vec<Instructions> {
        Instructions::ALL.into_iter().filter(|instructions| instructions.is_available()).collect()
    }

    /// The one that `LOCKSTEP_HALF_CHEETAH_SIMD` names, or the fastest of this machine.
    ///
    /// # Errors
    /// If the variable names none, or one that this machine lacks.
    pub fn chosen() -> Result<Self, String> {
        let Ok(name) = std::env::var(VARIABLE) else {
            return Ok(Instructions::available().pop().expect("portable is always there"));
        };
        let named = Instructions::ALL.into_iter().find(|instructions| instructions.name() == name);
        let named = named.ok_or_else(|| format!("{VARIABLE} is {name:?}, none of portable, avx2, avx512"))?;
        if !named.is_available() {
            return Err(format!("{VARIABLE} asks for {name}, which this machine lacks"));
        }
        Ok(named)
    }
}
