//! What matters of a compiler's output: the first errors whole, and how many more there are of which kind.

use super::tokens;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Lines of an output without a recognizable error, from its end.
const TAIL_LINES: usize = 60;

/// The errors of rustc, gcc, clang or nvcc in `output`, in `tokens_max` tokens or less; warnings are dropped.
pub(super) fn trimmed(output: &str, tokens_max: u64) -> String {
    let lines: Vec<String> = output.lines().map(plain).collect();
    let errors = errors(&lines);
    if errors.is_empty() {
        let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
        return super::shortened(&tail, tokens_max);
    }
    let mut text = String::new();
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    for error in &errors {
        let whole = error.join("\n");
        if left.is_empty() && tokens(&text) + tokens(&whole) <= tokens_max {
            text.push_str(whole.trim_end());
            text.push_str("\n\n");
        } else if text.is_empty() {
            text = super::shortened(&whole, tokens_max) + "\n\n";
        } else {
            *left.entry(error[0].as_str()).or_default() += 1;
        }
    }
    let count: usize = left.values().sum();
    if count > 0 {
        let _ = writeln!(text, "… and {count} more:");
        for (head, count) in left.iter().take(12) {
            let _ = writeln!(text, "{count} x {}", head.chars().take(160).collect::<String>());
        }
    }
    text.trim_end().to_owned()
}

/// Without colours, and without what cargo sets before the output of a build script.
fn plain(line: &str) -> String {
    let mut out = String::new();
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        if letter == '\u{1b}' {
            letters.by_ref().find(|letter| letter.is_ascii_alphabetic());
        } else {
            out.push(letter);
        }
    }
    let bare = out.trim_start();
    let bare = bare.strip_prefix("cargo:warning=").or_else(|| {
        // `warning: lockstep-env-x@0.1.0: rules.cuh:12:5: error: …`
        let rest = bare.strip_prefix("warning: ")?;
        let (package, rest) = rest.split_once(": ")?;
        package.contains('@').then_some(rest)
    });
    bare.map_or(out.clone(), str::to_owned)
}

/// Each error with the lines that belong to it, repeated ones once.
fn errors(lines: &[String]) -> Vec<Vec<String>> {
    let mut errors: Vec<Vec<String>> = Vec::new();
    let mut inside = false;
    for line in lines {
        let cpp = line.contains(": error: ") || line.contains(": fatal error: ") || line.contains(": error #");
        let rust = line.starts_with("error");
        let other = line.starts_with("warning")
            || line.contains(": warning: ")
            || ["   Compiling ", "    Checking ", "    Finished ", "    Building "]
                .iter()
                .any(|word| line.starts_with(word));
        let summary = ["error: could not compile", "error: aborting due to", "error: failed to run custom build"]
            .iter()
            .any(|text| line.starts_with(text))
            || line.starts_with("For more information about this error")
            || line.starts_with("Some errors have detailed");
        if summary || other {
            inside = false;
        } else if cpp || rust {
            inside = true;
            errors.push(vec![line.clone()]);
        } else if inside && let Some(error) = errors.last_mut() {
            error.push(line.clone());
        }
    }
    let mut seen = Vec::new();
    errors.retain(|error| {
        !seen.contains(error) && {
            seen.push(error.clone());
            true
        }
    });
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUSTC: &str = "   Compiling x v0.1.0\nwarning: unused import: `a`\n --> src/rules.rs:1:5\n  |\n\nerror[E0308]: mismatched types\n  --> src/rules.rs:10:5\n   |\n10 |     1.0f64\n   |     ^^^^^^ expected `f32`, found `f64`\n\nerror[E0425]: cannot find value `tick` in this scope\n --> src/rules.rs:12:1\n\nSome errors have detailed explanations: E0308, E0425.\nFor more information about this error, try `rustc --explain E0308`.\nerror: could not compile `x` (lib) due to 2 previous errors; 1 warning emitted\n";

    #[test]
    fn errors_stay_whole_and_warnings_go() {
        let text = trimmed(RUSTC, 1_000);
        assert!(text.starts_with("error[E0308]") && text.contains("expected `f32`, found `f64`"), "{text}");
        assert!(text.ends_with("src/rules.rs:12:1"), "{text}");
        assert!(!text.contains("unused import") && !text.contains("could not compile"), "{text}");
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let many: String =
            (0..300).map(|i| format!("error[E0425]: cannot find value\n --> src/rules.rs:{i}:1\n\n")).collect();
        let text = trimmed(&many, 200);
        assert!(tokens(&text) < 300 && text.contains("more:") && text.contains(" x error[E0425]"), "{text}");
    }

    #[test]
    fn errors_of_a_cuda_source_are_found_in_cargos_output() {
        let text = "warning: lockstep-env-x@0.1.0: cuda/rules.cuh:3:1: error: 'fminf' was not declared\nwarning: lockstep-env-x@0.1.0:     3 | fminf(a, b);\nerror: failed to run custom build command for `x`\n";
        let trimmed = trimmed(text, 1_000);
        assert!(
            trimmed.starts_with("cuda/rules.cuh:3:1: error: 'fminf'") && trimmed.contains("fminf(a, b);"),
            "{trimmed}"
        );
        assert!(!trimmed.contains("custom build"), "{trimmed}");
    }

    #[test]
    fn an_output_without_errors_gives_its_end() {
        assert_eq!(trimmed("a\nkilled: out of memory", 100), "a\nkilled: out of memory");
    }
}
