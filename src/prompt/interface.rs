//! The interface that a model writes against, cut out of the sources themselves, so that a prompt can't go stale.
//!
//! An item is taken with its documentation. Of a trait or type all is taken, of a function or an `impl` only the
//! signatures, because bodies cost tokens and tell a caller nothing.

use super::PromptError;

macro_rules! core {
    ($name:literal) => {
        (concat!("lockstep_core: ", $name), include_str!(concat!("../../harness/core/src/", $name)))
    };
}

const RULES: (&str, &str) = core!("rules.rs");
const DRAWS: (&str, &str) = core!("draws.rs");
const SHAPE: (&str, &str) = core!("shape.rs");
const OPTIONS: (&str, &str) = core!("options.rs");
const HOST: (&str, &str) = core!("host.rs");
const CUDA: &str = include_str!("../../harness/cuda/lockstep.cuh");
const KERNELS: &str = include_str!("../../harness/cuda/kernels.cuh");

/// What `src/world.rs`, `src/state.rs` and `src/rules.rs` are written against.
const RUST_ITEMS: &[((&str, &str), &[&str])] = &[
    (
        RULES,
        &[
            "pub struct Start",
            "pub struct Outcome",
            "pub struct Refusal",
            "pub trait Reward",
            "impl Reward for f32",
            "impl Reward for f64",
            "impl<'a> Mask<'a>",
            "pub trait Regions",
            "pub trait Out<R>",
            "pub trait Rules",
        ],
    ),
    (DRAWS, &["pub trait Draws", "pub fn below"]),
    (SHAPE, &["pub enum Resets", "pub enum ActionKind", "pub struct RegionShape", "pub struct Shape"]),
    (OPTIONS, &["pub type Files", "pub struct WorldError", "impl Options"]),
];

/// What the two ends of the wire look like; macros make the methods, so they are told in words.
const BYTES: &str = "\
// From lockstep_core: bytes.rs. Both take every value as packed little-endian bytes, without padding.
impl Writer<'_> {
    // fn u8(&mut self, value: u8), and likewise i8 u16 i16 u32 i32 u64 i64 f32 f64: appends one value.
    pub fn put(&mut self, bytes: &[u8]);      // appends raw bytes
    pub fn remaining(&self) -> usize;         // bytes that are still to be written; writing past the end panics
}
impl Reader<'_> {
    // fn u8(&mut self) -> Result<u8, Cut>, and likewise i8 u16 i16 u32 i32 u64 i64 f32 f64: takes one value.
    // `Refusal: From<Cut>`, so `?` works in `inject`.
    pub fn take(&mut self, size: usize) -> Result<&[u8], Cut>;
    pub fn rest(&self) -> &[u8];              // what was not read yet
}";

/// The Rust interface.
pub(super) fn rust() -> Result<String, PromptError> {
    let mut text = String::new();
    for ((name, source), items) in RUST_ITEMS {
        text.push_str(&format!("// From {name}.\n"));
        for item in *items {
            text.push_str(&cut(name, source, item)?);
            text.push('\n');
        }
    }
    text.push_str(BYTES);
    Ok(text)
}

/// What `src/cuda.rs` is written against.
pub(super) fn host() -> Result<String, PromptError> {
    let (name, source) = HOST;
    Ok(format!("// From {name}: lockstep_core::host.\n{}", cut(name, source, "pub trait HostRules")?))
}

/// What `cuda/rules.cuh` is written against: all of `lockstep.cuh`, and of `kernels.cuh` what asks the rules for sizes.
pub(super) fn cuda() -> Result<String, PromptError> {
    let mut text = format!("{}\n// From kernels.cuh, which lockstep.cuh includes at its end:\n\n", CUDA.trim_end());
    for item in [
        "LS_FN LsOutcome ls_step_logged",
        "LS_FN void ls_kernel_inject",
        "LS_FN void ls_kernel_layout",
        "LS_FN void ls_kernel_limits",
    ] {
        text.push_str(&cut_c(KERNELS, item)?);
        text.push('\n');
    }
    Ok(text)
}

fn missing(file: &str, item: &str) -> PromptError {
    PromptError::Interface { file: file.to_owned(), item: item.to_owned() }
}

/// One item of a Rust file that rustfmt has formatted, with its documentation.
fn cut(file: &str, source: &str, item: &str) -> Result<String, PromptError> {
    let lines: Vec<&str> = source.lines().collect();
    let starts = |line: &str| {
        let rest = line.strip_prefix(item);
        rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    };
    let at = lines.iter().position(|line| starts(line)).ok_or_else(|| missing(file, item))?;
    let above = lines[..at].iter().rev().take_while(|line| line.starts_with("///") || line.starts_with("#[")).count();
    let one_line = lines[at].ends_with(';') || lines[at].ends_with('}');
    let end = if one_line {
        at
    } else {
        let end = lines[at..].iter().position(|line| *line == "}" || *line == ");");
        at + end.ok_or_else(|| missing(file, item))?
    };
    let head = lines[at - above..at].iter().filter(|line| !line.starts_with("#[inline"));
    let mut out: Vec<String> = head.map(|line| (*line).to_owned()).collect();
    if item.starts_with("pub fn") {
        out.push(lines[at].trim_end_matches(" {").to_owned() + ";");
        return Ok(out.join("\n") + "\n");
    }
    if item.starts_with("impl") && !item.contains(" for ") {
        out.extend(signatures(&lines[at..=end]));
    } else {
        out.extend(lines[at..=end].iter().map(|line| (*line).to_owned()));
    }
    Ok(out.join("\n") + "\n")
}

/// An `impl` block with the bodies of its public functions left out, and its private ones left out whole.
fn signatures(block: &[&str]) -> Vec<String> {
    let mut out = vec![block[0].to_owned()];
    let mut docs: Vec<String> = Vec::new();
    let mut lines = block[1..].iter();
    while let Some(line) = lines.next() {
        // Constructors are the harness's business.
        let made_elsewhere = line.starts_with("    pub fn new(");
        if line.starts_with("    ///") {
            docs.push((*line).to_owned());
        } else if line.starts_with("    pub fn") && line.ends_with('{') {
            if !made_elsewhere {
                out.append(&mut docs);
                out.push(line.trim_end_matches(" {").to_owned() + ";");
            }
            docs.clear();
            for line in lines.by_ref() {
                if *line == "    }" {
                    break;
                }
            }
        } else if !line.starts_with("    #[") {
            docs.clear();
        }
    }
    out.push("}".to_owned());
    out
}

/// One function of a CUDA file, with the comment above it and its body.
fn cut_c(source: &str, item: &str) -> Result<String, PromptError> {
    let lines: Vec<&str> = source.lines().collect();
    let at = lines.iter().position(|line| line.starts_with(item)).ok_or_else(|| missing("kernels.cuh", item))?;
    let above =
        lines[..at].iter().rev().take_while(|line| line.starts_with("///") || line.starts_with("template")).count();
    let end = lines[at..].iter().position(|line| *line == "}").ok_or_else(|| missing("kernels.cuh", item))?;
    Ok(lines[at - above..=at + end].join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interface_has_the_signatures_of_the_sources() {
        let text = rust().expect("every item is found");
        for line in [
            "    fn deciders(world: &Self::World, state: &Self::State) -> u32;",
            "    fn inject(world: &Self::World, state: &mut Self::State, input: &mut Reader<'_>) -> Result<(), Refusal>;",
            "    pub fn f32(&mut self, name: &str, default: f32, range: RangeInclusive<f32>) -> Result<f32, WorldError>;",
            "    pub fn finish(self) -> Result<(), WorldError>;",
            "pub fn below(word: u32, bound: u32) -> u32;",
            "    pub fn allow(&mut self, action: u32);",
            "    fn row(&mut self, grain: usize) -> Option<Writer<'_>>;",
            "    pub episode_steps_max: Option<u32>,",
            "    const DTYPE: &'static str = \"f64\";",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        assert!(!text.contains("fn threefry_gives"), "tests have no place in it");
    }

    #[test]
    fn every_method_that_is_told_in_words_is_there() {
        let source = include_str!("../../harness/core/src/bytes.rs");
        for kind in ["u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64", "f32", "f64"] {
            assert_eq!(source.matches(&format!("{kind}: {kind}")).count(), 2, "{kind} in put! and get!");
        }
        for text in [
            "pub fn put(&mut self, bytes: &[u8])",
            "pub fn remaining(&self) -> usize",
            "pub fn take(&mut self, size: usize)",
            "pub fn rest(&self)",
        ] {
            assert!(source.contains(text), "{text}");
        }
    }

    #[test]
    fn the_cuda_interface_has_the_prelude_and_what_asks_for_sizes() {
        let text = cuda().expect("every item is found");
        for line in [
            "LS_FN u32 ls_below(LsDraws& draws, u32 bound, u32 site)",
            "*draws_max = Rules::DRAWS_MAX;",
            "Rules::layout(layout);",
        ] {
            assert!(text.contains(line), "{line}");
        }
        assert!(host().expect("it is found").contains("type DeviceWorld: Pod + Send + Sync;"));
    }

    #[test]
    fn an_item_that_is_gone_is_an_error_that_names_it() {
        let error = cut("rules.rs", "pub fn a() {\n}\n", "pub fn b").expect_err("it is gone").to_string();
        assert!(error.contains("pub fn b") && error.contains("rules.rs"), "{error}");
    }
}
