//! What the source of a candidate may name: rules compute, and whatever else a program can do they can't even ask for.
//!
//! The sandbox holds while a candidate is judged; this also holds afterwards, when accepted source is loaded into somebody's
//! training. It keeps out what makes source behave otherwise than it was judged: files, variables, clocks, threads, memory
//! that lanes share, another code for another build. It reads words and not meaning, so it errs towards refusing, and says
//! what and where, as a compiler does.

use crate::edit::Files;
use std::fmt::Write as _;

/// Parts of Rust's library that compute; all others are refused by name.
const LIBRARY: &[&str] = &[
    "any",
    "array",
    "ascii",
    "borrow",
    "boxed",
    "cell",
    "char",
    "clone",
    "cmp",
    "collections",
    "convert",
    "default",
    "error",
    "f32",
    "f64",
    "fmt",
    "hash",
    "hint",
    "i8",
    "i16",
    "i32",
    "i64",
    "i128",
    "isize",
    "iter",
    "marker",
    "mem",
    "num",
    "ops",
    "option",
    "primitive",
    "rc",
    "result",
    "slice",
    "str",
    "string",
    "u8",
    "u16",
    "u32",
    "u64",
    "u128",
    "usize",
    "vec",
    // Of macros.
    "assert",
    "assert_eq",
    "assert_ne",
    "concat",
    "debug_assert",
    "debug_assert_eq",
    "debug_assert_ne",
    "format",
    "matches",
    "panic",
    "stringify",
    "todo",
    "unimplemented",
    "unreachable",
    "write",
    "writeln",
];
/// What is refused in Rust wherever it stands, and why.
const WORDS: &[(&str, &str)] = &[
    ("unsafe", "rules need none"),
    ("extern", "nothing is linked or exported by rules"),
    ("macro_rules", "a macro hides what it names; write a function"),
    ("thread_local", "memory that outlives a call is a lane's State or a region"),
    ("cfg_attr", "rules are the same in every build"),
    ("include", "no file is read"),
    ("include_bytes", "no file is read"),
    ("option_env", "variables are not seen"),
    ("print", "rules say nothing"),
    ("println", "rules say nothing"),
    ("eprint", "rules say nothing"),
    ("eprintln", "rules say nothing"),
    ("dbg", "rules say nothing"),
    ("as_ptr", "an address is no part of a state"),
    ("as_mut_ptr", "an address is no part of a state"),
    ("RandomState", "chance comes in through `draws`"),
    ("DefaultHasher", "its results differ between versions"),
];
/// What is refused in CUDA source wherever it stands, and why.
const CUDA_WORDS: &[(&str, &str)] = &[
    ("extern", "nothing is linked or exported by rules"),
    ("asm", "rules are the same on every machine"),
    ("__asm__", "rules are the same on every machine"),
    ("__asm", "rules are the same on every machine"),
    ("thread_local", "memory that outlives a call is a lane's State or a region"),
    ("volatile", "memory that outlives a call is a lane's State or a region"),
    ("__shared__", "lanes share nothing"),
    ("__managed__", "lanes share nothing"),
    ("__global__", "the kernels are Lockstep's"),
    ("threadIdx", "a lane does not know its place"),
    ("blockIdx", "a lane does not know its place"),
    ("blockDim", "a lane does not know its place"),
    ("gridDim", "a lane does not know its place"),
    ("clock", "there is no clock"),
    ("clock64", "there is no clock"),
    ("__CUDA_ARCH__", "rules are the same in every build"),
    ("__CUDACC__", "rules are the same in every build"),
    ("__DATE__", "there is no clock"),
    ("__TIME__", "there is no clock"),
    ("__FILE__", "rules are the same in every build"),
    ("__attribute__", "rules are the same in every build"),
    ("printf", "rules say nothing"),
    ("fprintf", "rules say nothing"),
    ("puts", "rules say nothing"),
    ("fopen", "no file is read"),
    ("remove", "no file is written"),
    ("rename", "no file is written"),
    ("popen", "rules start no program"),
    ("FILE", "no file is read"),
    ("namespace", "one file is one space"),
    ("malloc", "there is no heap"),
    ("new", "there is no heap"),
    ("delete", "there is no heap"),
];
/// What is refused in Rust by its shape rather than by one word: as it is told to a model, and why.
const SHAPES: &[(&str, &str)] = &[
    ("std::…", "rules get all that they need as arguments"),
    ("static mut", "lanes share nothing"),
    ("cfg", "rules are the same in every build"),
    ("include_str", "no file is read but the manifest, `include_str!(\"../env.toml\")`"),
    ("env!", "variables are not seen"),
    ("#[path]", "the files of a candidate are those of the manifest"),
    ("*mut", "an address is no part of a state"),
    ("*const", "an address is no part of a state"),
    ("&raw", "an address is no part of a state"),
    ("__…", "it is the inside of another crate"),
    ("é", "names are written in ASCII"),
];
/// The same of CUDA source.
const CUDA_SHAPES: &[(&str, &str)] = &[
    ("#include", "lockstep.cuh has all that there is"),
    ("#if", "rules are the same in every build"),
    ("a global variable", "lanes share nothing: a variable of all is const"),
    ("static in a function", "memory that outlives a call is a lane's State or a region"),
];
/// What CUDA source may include.
const HEADERS: &[&str] = &["\"lockstep.cuh\""];

/// Looks at every file of a candidate.
///
/// # Errors
/// What is refused, one message after the other, in the form of a compiler's.
pub(super) fn look(files: &Files, environment: &str) -> Result<(), String> {
    let mut text = String::new();
    for (path, source) in files {
        let refused = if path.ends_with(".rs") { rust(source, environment) } else { cuda(source) };
        for Refused { line, what, why } in refused {
            let _ = write!(text, "error: {what} can't stand in rules: {why}\n --> {path}:{line}\n\n");
        }
    }
    if text.is_empty() { Ok(()) } else { Err(text) }
}

/// What a model is told of the gate for Rust: every word and shape that is refused, by reason, and what may be named.
pub fn told_of_rust() -> String {
    let but = |what: &str| match what {
        "std::…" => format!(
            "paths into `std`, `core` and `alloc`, except `sync::Arc` and {}",
            LIBRARY.iter().map(|part| format!("`{part}`")).collect::<Vec<_>>().join(", ")
        ),
        "cfg" => "`cfg`, except `#[cfg(test)]`".into(),
        "include_str" => "`include_str!`, except of `\"../env.toml\"`".into(),
        "__…" => "names that begin with `__`".into(),
        "é" => "names with letters outside of ASCII".into(),
        _ => format!("`{what}`"),
    };
    let shapes = SHAPES.iter().map(|(what, why)| (but(what), *why));
    by_reason(WORDS.iter().map(|(word, why)| (format!("`{word}`"), *why)).chain(shapes))
}

/// The same of CUDA source.
pub fn told_of_cuda() -> String {
    let but = |what: &str| match what {
        "#include" => format!("`#include` of anything but `{}`", HEADERS.join("`, `")),
        "#if" => {
            "every directive but `#include`, `#define` without `##`, `#undef`, `#pragma once` and `#pragma unroll`; \
                  so no `#if`"
                .into()
        }
        "a global variable" => "a variable outside of functions that is neither `const` nor `constexpr`".into(),
        "static in a function" => "`static` of a variable inside of a function or struct, unless it is constant".into(),
        _ => format!("`{what}`"),
    };
    let shapes = CUDA_SHAPES.iter().map(|(what, why)| (but(what), *why));
    by_reason(CUDA_WORDS.iter().map(|(word, why)| (format!("`{word}`"), *why)).chain(shapes))
}

/// A list with one line for each reason, in the order in which reasons come up.
fn by_reason<'a>(refused: impl Iterator<Item = (String, &'a str)>) -> String {
    let mut lines: Vec<(&str, Vec<String>)> = Vec::new();
    for (what, why) in refused {
        match lines.iter_mut().find(|(reason, _)| *reason == why) {
            Some((_, all)) => all.push(what),
            None => lines.push((why, vec![what])),
        }
    }
    lines.iter().map(|(why, all)| format!("- {}: {why}\n", all.join(", "))).collect()
}

/// The reason that a table has for a shape.
fn because(shapes: &[(&str, &'static str)], what: &str) -> &'static str {
    shapes.iter().find(|(shape, _)| *shape == what).map_or("it can't stand in rules", |(_, why)| why)
}

/// One thing that is refused.
struct Refused {
    line: usize,
    what: String,
    why: String,
}

/// A word, a sign or a text, and its line.
#[derive(Debug, Clone, PartialEq)]
struct Token {
    text: String,
    line: usize,
}

/// Finds what is refused in Rust.
fn rust(source: &str, environment: &str) -> Vec<Refused> {
    let tokens = without_table(tokens(source, true), environment);
    let mut refused = Vec::new();
    let mut refuse = |token: &Token, what: String, why: &str| {
        refused.push(Refused { line: token.line, what, why: why.to_owned() });
    };
    for (at, token) in tokens.iter().enumerate() {
        let text = token.text.as_str();
        let next = |offset: usize| tokens.get(at + offset).map_or("", |token| token.text.as_str());
        let before = |offset: usize| at.checked_sub(offset).map_or("", |place| tokens[place].text.as_str());
        match text {
            "std" | "core" | "alloc" if before(1) != "." => {
                for path in paths(&tokens, at) {
                    let part = path.first().map_or("", String::as_str);
                    let shared = path.iter().map(String::as_str).take(2).eq(["sync", "Arc"]);
                    if !shared && !LIBRARY.contains(&part) {
                        let shown =
                            if path.is_empty() { text.to_owned() } else { format!("{text}::{}", path.join("::")) };
                        refuse(token, format!("`{shown}`"), because(SHAPES, "std::…"));
                    }
                }
            }
            "static" if next(1) == "mut" => refuse(token, "`static mut`".into(), because(SHAPES, "static mut")),
            "cfg" if !(before(2) == "#" && next(1) == "(" && next(2) == "test" && next(3) == ")") => {
                refuse(token, "`cfg`".into(), because(SHAPES, "cfg"));
            }
            "include_str" if !(next(1) == "!" && next(2) == "(" && next(3) == "\"../env.toml\"") => {
                refuse(token, "`include_str`".into(), because(SHAPES, "include_str"));
            }
            "env" if next(1) == "!" => refuse(token, "`env!`".into(), because(SHAPES, "env!")),
            "path" if before(1) == "[" && before(2) == "#" => {
                refuse(token, "`#[path]`".into(), because(SHAPES, "#[path]"));
            }
            "*" if next(1) == "mut" || next(1) == "const" => {
                refuse(token, format!("`*{}`", next(1)), because(SHAPES, "*mut"));
            }
            "&" if next(1) == "raw" && (next(2) == "mut" || next(2) == "const") => {
                refuse(token, "`&raw`".into(), because(SHAPES, "&raw"));
            }
            _ if text.starts_with("__") => refuse(token, format!("`{text}`"), because(SHAPES, "__…")),
            _ if !text.is_ascii() && !text.starts_with(['"', '\'']) => {
                refuse(token, format!("`{text}`"), because(SHAPES, "é"));
            }
            _ => {
                if let Some((word, why)) = WORDS.iter().find(|(word, _)| *word == text) {
                    refuse(token, format!("`{word}`"), why);
                }
            }
        }
    }
    refused
}

/// The paths that begin with the word at `at`, each without it; `use std::{fs, io::{self, Read}};` has three.
fn paths(tokens: &[Token], at: usize) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut place = at + 1;
    follow(tokens, &mut place, &mut Vec::new(), &mut found);
    found
}

fn follow(tokens: &[Token], place: &mut usize, begun: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    let text = |place: usize| tokens.get(place).map_or("", |token| token.text.as_str());
    if text(*place) != "::" {
        found.push(begun.clone());
        return;
    }
    *place += 1;
    if text(*place) != "{" {
        begun.push(text(*place).to_owned());
        *place += 1;
        follow(tokens, place, begun, found);
        begun.pop();
        return;
    }
    *place += 1;
    while !matches!(text(*place), "}" | "") {
        if text(*place) == "," {
            *place += 1;
            continue;
        }
        let depth = begun.len();
        begun.push(text(*place).to_owned());
        *place += 1;
        follow(tokens, place, begun, found);
        begun.truncate(depth);
        // `as name`.
        while !matches!(text(*place), "," | "}" | "") {
            *place += 1;
        }
    }
    *place += 1;
}

/// Takes out the one place that needs `unsafe`: the table that the CUDA source exports when it is built for the CPU.
fn without_table(tokens: Vec<Token>, environment: &str) -> Vec<Token> {
    let table = format!("{environment}_cuda_host");
    let declared =
        ["unsafe", "extern", "\"C\"", "{", "fn", &table, "(", ")", "->", "*", "const", "HostTable", ";", "}"];
    let called = ["unsafe", "{", "&", "*", &table, "(", ")", "}"];
    let mut kept: Vec<Token> = Vec::new();
    let mut rest = tokens.as_slice();
    while let Some(token) = rest.first() {
        let begins = |words: &[&str]| {
            rest.len() >= words.len() && rest.iter().zip(words).all(|(token, word)| token.text == *word)
        };
        let skipped = [&declared[..], &called[..]].into_iter().find(|words| begins(words)).map_or(0, <[&str]>::len);
        if skipped == 0 {
            kept.push(token.clone());
        }
        rest = &rest[skipped.max(1)..];
    }
    kept
}

/// Finds what is refused in CUDA source.
fn cuda(source: &str) -> Vec<Refused> {
    let mut refused = Vec::new();
    let mut depth = 0_usize;
    let tokens = tokens(source, false);
    let mut refuse = |token: &Token, what: String, why: &str| {
        refused.push(Refused { line: token.line, what, why: why.to_owned() });
    };
    // A statement outside of every function: up to its first `(`, `{`, `;` or `=`.
    let (mut begun, mut filled): (Option<usize>, bool) = (None, false);
    for (at, token) in tokens.iter().enumerate() {
        let text = token.text.as_str();
        let next = |offset: usize| tokens.get(at + offset).map_or("", |token| token.text.as_str());
        if let Some(directive) = text.strip_prefix('#') {
            let (name, rest) = directive.split_once(char::is_whitespace).unwrap_or((directive, ""));
            let rest = rest.trim();
            match name {
                "include" if HEADERS.contains(&rest) => {}
                "include" => refuse(token, format!("`#include {rest}`"), because(CUDA_SHAPES, "#include")),
                "define" if !rest.contains("##") => {}
                "pragma" if rest == "once" || rest.starts_with("unroll") => {}
                "undef" => {}
                _ => refuse(token, format!("`#{name}`"), because(CUDA_SHAPES, "#if")),
            }
            for word in rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
                if let Some((word, why)) = CUDA_WORDS.iter().find(|(refused, _)| *refused == word) {
                    refuse(token, format!("`{word}`"), why);
                }
            }
            continue;
        }
        match text {
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                begun = None;
                continue;
            }
            _ => {}
        }
        if filled {
            // What a constant is filled with is no statement of its own.
            filled = text != ";" || depth > 0;
        } else {
            if depth == 0 && begun.is_none() && text != ";" {
                begun = Some(at);
            }
            if let (Some(from), "(" | "{" | ";" | "=" | "[") = (begun, text) {
                let words: Vec<&str> = tokens[from..at].iter().map(|token| token.text.as_str()).collect();
                let fixed = words.iter().any(|word| {
                    matches!(*word, "const" | "constexpr" | "struct" | "enum" | "union" | "typedef" | "using")
                });
                if matches!(text, ";" | "=" | "[") && !fixed && words.len() > 1 {
                    refuse(&tokens[from], format!("`{}`", words.join(" ")), because(CUDA_SHAPES, "a global variable"));
                }
                begun = None;
                filled = matches!(text, "=" | "[");
            }
        }
        if text == "static" && depth > 0 && !within(&tokens[at + 1..]) {
            refuse(token, "`static`".into(), because(CUDA_SHAPES, "static in a function"));
        }
        if text == "clock" && next(1) != "(" {
            continue;
        }
        if let Some((word, why)) = CUDA_WORDS.iter().find(|(word, _)| *word == text) {
            refuse(token, format!("`{word}`"), why);
        }
    }
    refused
}

/// Whether what follows `static` is a constant or a function.
fn within(tokens: &[Token]) -> bool {
    for token in tokens {
        match token.text.as_str() {
            "const" | "constexpr" | "(" => return true,
            ";" | "=" | "{" | "[" => return false,
            _ => {}
        }
    }
    false
}

/// The words, signs and texts of a source, without comments. In CUDA source a line that begins with `#` is one of them.
fn tokens(source: &str, rust: bool) -> Vec<Token> {
    let letters: Vec<char> = source.chars().collect();
    let (mut tokens, mut at, mut line) = (Vec::new(), 0, 1);
    let mut fresh = true;
    while at < letters.len() {
        let letter = letters[at];
        let next = letters.get(at + 1).copied().unwrap_or(' ');
        let begun = at;
        if letter == '\n' {
            (fresh, line, at) = (true, line + 1, at + 1);
            continue;
        }
        if letter.is_whitespace() {
            at += 1;
            continue;
        }
        let here = line;
        match (letter, next) {
            ('/', '/') => {
                while at < letters.len() && letters[at] != '\n' {
                    at += 1;
                }
                continue;
            }
            ('/', '*') => {
                let mut depth = 0;
                while at < letters.len() {
                    let pair = (letters[at], letters.get(at + 1).copied().unwrap_or(' '));
                    line += usize::from(pair.0 == '\n');
                    match pair {
                        ('/', '*') if rust || depth == 0 => (depth, at) = (depth + 1, at + 2),
                        ('*', '/') => (depth, at) = (depth - 1, at + 2),
                        _ => at += 1,
                    }
                    if depth == 0 {
                        break;
                    }
                }
                continue;
            }
            ('#', _) if !rust && fresh => {
                let mut text = String::new();
                while at < letters.len() && letters[at] != '\n' {
                    if letters[at] == '\\' && letters.get(at + 1) == Some(&'\n') {
                        (at, line) = (at + 2, line + 1);
                        continue;
                    }
                    if letters[at] == '/' && letters.get(at + 1) == Some(&'/') {
                        break;
                    }
                    text.push(letters[at]);
                    at += 1;
                }
                let text = format!("#{}", text[1..].trim());
                tokens.push(Token { text, line: here });
                continue;
            }
            ('"', _) => at = quoted(&letters, at, '"'),
            ('r' | 'b' | 'c', '"' | '#' | 'r') if rust => {
                let mut ahead = at + 1;
                while letters.get(ahead) == Some(&'r') {
                    ahead += 1;
                }
                let raw = letters[at..ahead].contains(&'r');
                let hashes = letters[ahead..].iter().take_while(|letter| **letter == '#').count();
                if letters.get(ahead + hashes) == Some(&'"') && (raw || hashes == 0) {
                    at = if raw { raw_end(&letters, ahead + hashes + 1, hashes) } else { quoted(&letters, ahead, '"') };
                } else if raw && hashes == 1 {
                    // `r#name` is the name.
                    let from = ahead + 1;
                    at = word_end(&letters, from);
                    tokens.push(Token { text: letters[from..at].iter().collect(), line: here });
                    fresh = false;
                    continue;
                } else {
                    at = word_end(&letters, at);
                }
            }
            ('\'', _) if rust => {
                // A letter in quotes, or the name of a lifetime.
                let closed = if next == '\\' { Some(quoted(&letters, at, '\'')) } else { None };
                at = match closed {
                    Some(end) => end,
                    None if letters.get(at + 2) == Some(&'\'') => at + 3,
                    None => word_end(&letters, at + 1),
                };
            }
            ('\'', _) => at = quoted(&letters, at, '\''),
            (':', ':') | ('-', '>') => at += 2,
            _ if letter.is_alphanumeric() || letter == '_' => at = word_end(&letters, at),
            _ => at += 1,
        }
        fresh = false;
        let at_most = at.min(letters.len());
        line += letters[begun..at_most].iter().filter(|letter| **letter == '\n').count();
        tokens.push(Token { text: letters[begun..at_most].iter().collect(), line: here });
    }
    tokens
}

fn word_end(letters: &[char], from: usize) -> usize {
    let length = letters[from.min(letters.len())..].iter().take_while(|it| it.is_alphanumeric() || **it == '_').count();
    (from + length).max(from + usize::from(length == 0))
}

/// Behind the closing sign of a text that opens at `at`.
fn quoted(letters: &[char], at: usize, sign: char) -> usize {
    let mut at = at + 1;
    while at < letters.len() && letters[at] != sign {
        at += 1 + usize::from(letters[at] == '\\');
    }
    at + 1
}

fn raw_end(letters: &[char], from: usize, hashes: usize) -> usize {
    let mut at = from;
    while at < letters.len() {
        if letters[at] == '"'
            && letters[at + 1..].iter().take(hashes).filter(|letter| **letter == '#').count() == hashes
        {
            return at + 1 + hashes;
        }
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &str, source: &str) -> String {
        look(&Files::from([(path.to_owned(), source.to_owned())]), "game").err().unwrap_or_default()
    }

    #[test]
    fn the_gate_lets_through_every_source_that_was_accepted_and_the_worked_example() {
        let clone = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut seen = 0;
        let mut look_in = |folder: &std::path::Path, name: &str| {
            for path in ["src/world.rs", "src/state.rs", "src/rules.rs", "src/cuda.rs", "cuda/rules.cuh"] {
                let Ok(text) = std::fs::read_to_string(folder.join(path)) else { continue };
                let said = look(&Files::from([(path.to_owned(), text)]), name).err().unwrap_or_default();
                assert!(said.is_empty(), "{}: {said}", folder.join(path).display());
                seen += 1;
            }
        };
        let folders = ["envs", "held_out"].map(|folder| std::fs::read_dir(clone.join(folder)).unwrap().flatten());
        for environment in folders.into_iter().flatten() {
            let name = environment.file_name().to_string_lossy().into_owned();
            look_in(&environment.path(), &name);
            for run in std::fs::read_dir(environment.path().join("recordings")).into_iter().flatten().flatten() {
                look_in(&run.path().join("final"), &name);
            }
        }
        look_in(&clone.join("prompts/parts/example"), "lantern");
        assert!(seen > 20, "{seen} files");
    }

    #[test]
    fn a_model_is_told_every_reason_and_word_for_which_the_gate_refuses_and_the_gate_refuses_each_word_that_is_told() {
        for (path, words, shapes, told) in [
            ("src/rules.rs", WORDS, SHAPES, told_of_rust()),
            ("cuda/rules.cuh", CUDA_WORDS, CUDA_SHAPES, told_of_cuda()),
        ] {
            for (word, why) in words {
                let line = told.lines().find(|line| line.contains(&format!("`{word}`"))).expect("it is told");
                assert!(line.ends_with(why), "{line}");
                let said = refused(path, &format!("fn f() {{ {word}(); }}"));
                assert!(said.contains(&format!("`{word}`")) && said.contains(why), "{word}: {said}");
            }
            for (shape, why) in shapes {
                assert!(told.contains(why), "{shape}");
            }
        }
        // Each shape as it may stand, and the reason that is told for it.
        for (path, shapes, source, shape) in [
            ("src/rules.rs", SHAPES, "use std::fs;", "std::…"),
            ("src/rules.rs", SHAPES, "static mut X: u32 = 0;", "static mut"),
            ("src/rules.rs", SHAPES, "#[cfg(debug_assertions)] fn f() {}", "cfg"),
            ("src/rules.rs", SHAPES, "const K: &str = include_str!(\"x\");", "include_str"),
            ("src/rules.rs", SHAPES, "const K: &str = env!(\"HOME\");", "env!"),
            ("src/rules.rs", SHAPES, "#[path = \"x\"] mod x;", "#[path]"),
            ("src/rules.rs", SHAPES, "fn f(x: *mut u8) {}", "*mut"),
            ("src/rules.rs", SHAPES, "fn f(x: *const u8) {}", "*const"),
            ("src/rules.rs", SHAPES, "fn f(x: u8) { &raw const x; }", "&raw"),
            ("src/rules.rs", SHAPES, "fn f() { __x(); }", "__…"),
            ("src/rules.rs", SHAPES, "fn é() {}", "é"),
            ("cuda/rules.cuh", CUDA_SHAPES, "#include <math.h>", "#include"),
            ("cuda/rules.cuh", CUDA_SHAPES, "#if 1", "#if"),
            ("cuda/rules.cuh", CUDA_SHAPES, "int seen;", "a global variable"),
            ("cuda/rules.cuh", CUDA_SHAPES, "void f() { static int x; }", "static in a function"),
        ] {
            let said = refused(path, source);
            let (_, why) = shapes.iter().find(|(known, _)| *known == shape).expect("it is in the table");
            assert!(said.contains(why), "{source}: {said}");
        }
    }

    #[test]
    fn the_gate_names_what_rules_can_t_name_however_it_is_written() {
        for (source, what) in [
            ("fn f() { std::fs::read(\"x\"); }", "`std::fs::read`"),
            ("use std::{fmt, fs};", "`std::fs`"),
            ("use std::{collections::{BTreeMap, HashMap}, sync::{Arc, Mutex}};", "`std::sync::Mutex`"),
            ("use std as s;", "`std`"),
            ("use ::core::sync::atomic::AtomicU32;", "`core::sync::atomic::AtomicU32`"),
            ("use std::*;", "`std::*`"),
            ("fn f() { r#std::time::Instant::now(); }", "`std::time::Instant::now`"),
            ("fn f() { std /* a\n comment */ :: env::var(\"X\"); }", "`std::env::var`"),
            ("const K: &str = include_str!(\"../../../secret\");", "`include_str`"),
            ("const K: &str = env!(\"HOME\");", "`env!`"),
            ("fn f() { if cfg!(debug_assertions) {} }", "`cfg`"),
            ("#[cfg(debug_assertions)]\nfn f() {}", "`cfg`"),
            ("#[path = \"/etc/passwd\"]\nmod x;", "`#[path]`"),
            ("static mut X: u32 = 0;", "`static mut`"),
            ("thread_local! { static X: u32 = 0; }", "`thread_local`"),
            ("#[unsafe(no_mangle)]\npub fn clock_gettime() {}", "`unsafe`"),
            ("fn f(x: &u32) -> usize { x as *const u32 as usize }", "`*const`"),
            ("macro_rules! m { ($a:tt $b:tt) => { $a $b fs::read } }", "`macro_rules`"),
            ("fn f() { bytemuck::__core::arch::x(); }", "`__core`"),
            ("fn f() { println!(\"VERDICT: PASS\"); }", "`println`"),
            ("fn f() { ' '; std::process::exit(0) }", "`std::process::exit`"),
        ] {
            let said = refused("src/rules.rs", source);
            assert!(said.contains(what) && said.contains("src/rules.rs:"), "{source}\n{said}");
        }
        for (source, what) in [
            ("#include </etc/passwd>", "`#include </etc/passwd>`"),
            ("#  include \"kernels.cuh\"", "`#include \"kernels.cuh\"`"),
            ("#ifdef __CUDA_ARCH__\n#endif", "`#ifdef`"),
            ("#define GLUE(a, b) a##b", "`#define`"),
            ("#define E extern", "`extern`"),
            ("extern \"C\" int clock_gettime(int, void*) { return 0; }", "`extern`"),
            ("u32 shared = 0;", "`u32 shared`"),
            ("u32 shared[4];", "`u32 shared`"),
            ("struct Game { static __device__ u32 f() { static u32 calls; return ++calls; } };", "`static`"),
            ("struct Game { u32 f() { asm(\"nop\"); } };", "`asm`"),
            ("struct Game { u32 f() { return threadIdx.x; } };", "`threadIdx`"),
        ] {
            let said = refused("cuda/rules.cuh", source);
            assert!(said.contains(what) && said.contains("cuda/rules.cuh:"), "{source}\n{said}");
        }
    }

    #[test]
    fn words_in_comments_and_texts_and_what_computes_are_let_through() {
        let source = "//! std::fs is not used; unsafe neither\nuse std::{array, sync::Arc};\n\n/* std::env /* nested */ */\n\
                      const A: &str = \"std::fs::read\"; const B: &str = r#\"unsafe { \"x\" }\"#; const C: char = '\"';\n\
                      fn f<'a>(x: &'a [u32]) -> u32 { let env = x[0]; std::array::from_fn::<u32, 2, _>(|i| i as u32)[0] * env }\n\
                      #[cfg(test)]\nmod tests {}\n";
        assert_eq!(refused("src/rules.rs", source), "");
        let cuda = "#pragma once\n#include \"lockstep.cuh\"\n#define LIMIT 4u // extern\nconst u32 A = 1;\nconst u32 T[2] = {1, 2};\n\
                    struct Game {\n    static const u32 AGENTS = 1;\n    struct State { u32 clock; };\n    static __device__ u32 f(const State& s) { u32 x = s.clock; return x; }\n};\n\
                    static __device__ u32 helper(u32 x) { return x; }\n";
        assert_eq!(refused("cuda/rules.cuh", cuda), "");
    }
}
