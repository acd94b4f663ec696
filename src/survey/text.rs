//! Reads C, C++, JavaScript and TypeScript for calls that differ from run to run, beyond comments and strings.

use super::Finding;
use std::path::Path;

/// Words of C and C++: what is called, its kind. A trailing `(` asks for a call.
const C: [(&str, &str); 22] = [
    ("rand(", "random"),
    ("rand_r(", "random"),
    ("random(", "random"),
    ("drand48(", "random"),
    ("lrand48(", "random"),
    ("mrand48(", "random"),
    ("erand48(", "random"),
    ("mt19937", "random"),
    ("mt19937_64", "random"),
    ("default_random_engine", "random"),
    ("srand(", "seed"),
    ("srandom(", "seed"),
    ("srand48(", "seed"),
    ("arc4random(", "outside"),
    ("getrandom(", "outside"),
    ("random_device", "outside"),
    ("time(", "clock"),
    ("clock(", "clock"),
    ("clock_gettime(", "clock"),
    ("gettimeofday(", "clock"),
    ("unordered_map", "order"),
    ("unordered_set", "order"),
];

/// Words of JavaScript and TypeScript.
const JAVASCRIPT: [(&str, &str); 9] = [
    ("Math.random(", "random"),
    ("crypto.getRandomValues(", "outside"),
    ("crypto.randomBytes(", "outside"),
    ("crypto.randomUUID(", "outside"),
    ("randomUUID(", "outside"),
    ("Date.now(", "clock"),
    ("new Date()", "clock"),
    ("performance.now(", "clock"),
    ("process.hrtime", "clock"),
];

/// The findings of one file; none in a language that is not known.
pub(super) fn scan(path: &Path) -> Vec<Finding> {
    let words: &[(&str, &str)] = match path.extension().and_then(|extension| extension.to_str()) {
        Some("c" | "h" | "cc" | "cpp" | "cxx" | "hpp" | "cu" | "cuh") => &C,
        Some("js" | "mjs" | "cjs" | "ts" | "mts" | "tsx" | "jsx") => &JAVASCRIPT,
        _ => return Vec::new(),
    };
    let file = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => found(&file, &text, words),
        Err(error) => {
            vec![Finding { file, line: 0, kind: "unread".into(), what: error.to_string(), text: String::new() }]
        }
    }
}

fn found(file: &str, text: &str, words: &[(&str, &str)]) -> Vec<Finding> {
    let code = without_comments(text);
    let mut findings = Vec::new();
    for (place, (line, raw)) in code.lines().zip(text.lines()).enumerate() {
        let mut tell = |what: &str, kind: &str| {
            findings.push(Finding {
                file: file.to_owned(),
                line: place as u64 + 1,
                kind: kind.to_owned(),
                what: what.to_owned(),
                text: raw.trim().to_owned(),
            });
        };
        for (word, kind) in words {
            let whole = line.match_indices(word).any(|(at, _)| {
                let before = line[..at].chars().next_back();
                let after = line[at + word.len()..].chars().next();
                let part =
                    |letter: Option<char>| letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
                // A method of something else is not the function of that name, except in a namespace.
                let method = before == Some('.') || before == Some('>');
                !part(before) && !method && (word.ends_with(['(', ')']) || !part(after))
            });
            if whole {
                tell(word.trim_end_matches('('), kind);
            }
        }
        if raw.contains("/dev/urandom") || raw.contains("/dev/random") {
            tell("/dev/urandom", "outside");
        }
    }
    findings
}

/// The same lines, with comments and the insides of strings blank.
fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    // What we are in: a string with its quote, or a comment.
    let (mut quote, mut line_comment, mut comment) = (None, false, false);
    while let Some(letter) = letters.next() {
        if letter == '\n' {
            line_comment = false;
            if quote != Some('`') {
                quote = None;
            }
            out.push('\n');
        } else if line_comment {
            out.push(' ');
        } else if comment {
            if letter == '*' && letters.peek() == Some(&'/') {
                letters.next();
                comment = false;
                out.push(' ');
            }
            out.push(' ');
        } else if let Some(end) = quote {
            if letter == '\\' {
                // An escaped line end is a line end all the same.
                if letters.peek().is_some_and(|next| *next != '\n') {
                    letters.next();
                    out.push(' ');
                }
                out.push(' ');
            } else {
                if letter == end {
                    quote = None;
                }
                out.push(if letter == end { letter } else { ' ' });
            }
        } else if letter == '/' && letters.peek() == Some(&'/') {
            line_comment = true;
            out.push(' ');
        } else if letter == '/' && letters.peek() == Some(&'*') {
            letters.next();
            comment = true;
            out.push_str("  ");
        } else {
            if ['"', '\'', '`'].contains(&letter) {
                quote = Some(letter);
            }
            out.push(letter);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, words: &[(&str, &str)]) -> Vec<String> {
        found("x", text, words).into_iter().map(|row| format!("{} {} {}", row.line, row.kind, row.what)).collect()
    }

    #[test]
    fn libc_s_generators_and_clocks_are_found_by_line() {
        let text = "int a = rand() % 6; // rand()\n/* srand(3);\nsrand(4); */ srand(5);\nx = time(NULL);\nfopen(\"/dev/urandom\", \"r\");\n";
        assert_eq!(shown(text, &C), ["1 random rand", "3 seed srand", "4 clock time", "5 outside /dev/urandom"]);
    }

    #[test]
    fn names_that_only_contain_a_word_and_texts_are_no_findings() {
        let text = "int grand(int x); operand(3); my_time(); puts(\"rand()\"); g->rand(); game.time();\n";
        assert_eq!(shown(text, &C), Vec::<String>::new());
        assert_eq!(
            shown("std::random_device d; std::mt19937 g(d());\n", &C),
            ["1 random mt19937", "1 outside random_device"]
        );
    }

    #[test]
    fn javascript_s_chance_is_found_and_its_comments_are_not() {
        let text =
            "const a = Math.random(); // Math.random()\nconst b = `Math.random()\n${1}`;\nconst c = Date.now();\n";
        assert_eq!(shown(text, &JAVASCRIPT), ["1 random Math.random", "4 clock Date.now"]);
    }
}
