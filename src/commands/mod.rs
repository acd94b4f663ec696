//! One file per verb.

pub mod bench;
pub mod certify;
pub mod check;
pub mod completions;
pub mod converge;
pub mod doctor;
pub mod fuzz;
pub mod minimize;
pub mod new;
pub mod python;
pub mod record;
pub mod replay;
pub mod resume;
pub mod runs;
pub mod schema;
pub mod test;
pub mod verify;

use crate::exit::Failure;

/// A seed as people write it: decimal, or hexadecimal with 0x.
pub fn parse_seed(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("{text:?} is not a number like 42 or 0x2a"))
}

/// A seed that nobody chose, printed before it is used.
pub fn fresh_seed() -> u64 {
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_nanos());
    u64::from(lockstep_core::draw_word(time as u64, u64::from(std::process::id()), 0, 0))
}

/// Prints JSON on standard output.
pub fn print_json(value: &serde_json::Value) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::usage(error.to_string()))?;
    anstream::println!("{text}");
    Ok(())
}
