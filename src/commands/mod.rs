//! One file per verb.

pub mod bench;
pub mod bench_static;
pub mod certify;
pub mod check;
pub mod completions;
pub mod converge;
pub mod doctor;
pub mod fuzz;
pub mod gpu_bundle;
pub mod gpu_import;
pub mod minimize;
pub mod new;
pub mod ptx;
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

/// A count as people write it: `1000000`, `1_000_000`, `1M`, `2.5k`, `1G`.
pub fn parse_count(text: &str) -> Result<u64, String> {
    let plain: String = text.chars().filter(|c| !matches!(c, '_' | ',')).collect();
    let (digits, factor) = match plain.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (&plain[..at], 1e3),
        Some((at, 'm' | 'M')) => (&plain[..at], 1e6),
        Some((at, 'g' | 'G' | 'b' | 'B')) => (&plain[..at], 1e9),
        _ => (&plain[..], 1.0),
    };
    let wrong = || format!("{text:?} is not a count like 1000000, 1_000_000, 1M or 2.5k");
    let plain_number = digits.chars().all(|c| c.is_ascii_digit() || c == '.');
    if !plain_number || !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(wrong());
    }
    let whole = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor as u64));
    let count = match (whole, digits.parse::<f64>()) {
        (Some(whole), _) => whole,
        (None, Ok(number)) if number * factor < 1e18 && (number * factor).fract() == 0.0 => (number * factor) as u64,
        _ => return Err(wrong()),
    };
    if count == 0 { Err(format!("{text:?} is no count: at least 1")) } else { Ok(count) }
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

#[cfg(test)]
mod tests {
    use super::parse_count;

    #[test]
    fn a_count_is_read_as_people_write_it_and_nonsense_is_refused() {
        for (text, count) in
            [("7", 7), ("1_000_000", 1_000_000), ("100M", 100_000_000), ("2.5k", 2_500), ("1G", 1_000_000_000)]
        {
            assert_eq!(parse_count(text), Ok(count), "{text}");
        }
        for text in ["", "0", "M", "-1", "1.5", "1e3", "nan", "1 M", "99999999999G", "0.0001k"] {
            assert!(parse_count(text).is_err(), "{text}");
        }
    }
}
