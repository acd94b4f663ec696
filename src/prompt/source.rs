//! The reference's source as a model may read it: in the order of `model_may_read`, and less of it where it does not fit.
//!
//! What is left out is a whole function or block: first what never ran, where the reference can tell; else what nothing
//! that the manifest names leads to. A file is never cut within a function.

use super::template::{Text, Values, part};
use super::{Context, PromptError, hex, tokens};
use crate::outgoing::may_leave;
use lockstep_harness::manifest::{Action, Manifest};
use lockstep_harness::reference::Reference;
use lockstep_harness::side::{LaneStart, Source, Terms};
use lockstep_harness::sides::Sides;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Steps of each configuration that are explained, to see which lines run.
const EXPLAINED_STEPS: u32 = 200;

/// A file that stands in prompts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Its name in prompts: the last part of its path.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// SHA-256 of the text.
    pub hash: String,
}

/// Lines of the reference that ran, by the name of the file, counted from 1.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Executed {
    /// Lines by file.
    pub lines: BTreeMap<String, BTreeSet<usize>>,
}

/// The files that a model may read, in the order of `reference.toml`; where it may read none, `spec.md` of the reference.
///
/// # Errors
/// If a file can't be read, or there is nothing at all.
pub fn sources(reference: &Reference, prepared: &Path) -> Result<Vec<SourceFile>, PromptError> {
    let mut files = Vec::new();
    for entry in &reference.file.model_may_read {
        let filled = entry
            .replace("{prepared}", &prepared.display().to_string())
            .replace("{here}", &reference.folder.display().to_string());
        files.push(read(entry, &reference.folder.join(filled))?);
    }
    let spec = reference.folder.join("spec.md");
    if files.is_empty() && spec.is_file() {
        files.push(read("spec.md", &spec)?);
    }
    for file in &files {
        may_leave(&file.path, &file.text, &reference.folder)?;
    }
    if files.is_empty() { Err(PromptError::NothingToRead(reference.file.name.clone())) } else { Ok(files) }
}

fn read(entry: &str, path: &Path) -> Result<SourceFile, PromptError> {
    let bytes = std::fs::read(path);
    let failed = |reason: String| PromptError::Source { path: entry.to_owned(), reason };
    let text = String::from_utf8(bytes.map_err(|error| failed(error.to_string()))?)
        .map_err(|_| failed("it is not UTF-8".into()))?
        .replace("\r\n", "\n");
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(SourceFile { hash: hex(&Sha256::digest(text.as_bytes())), name, path: path.to_owned(), text })
}

/// Plays the reference a little in each configuration and asks what ran; `None` where it can't tell.
pub fn executed(sides: &dyn Sides, manifest: &Manifest, source: &[SourceFile]) -> Option<Executed> {
    let mut found = Executed::default();
    for configuration in manifest.configurations() {
        let configuration = Arc::new(configuration.clone());
        let mut terms = Terms::new(1);
        terms.deadline = sides.deadline();
        let mut side = sides.reference(configuration.clone(), terms).ok()?;
        if !side.capabilities.explain {
            return None;
        }
        let start = LaneStart { lane: 0, episode: 0, seed: 1, stream: 0, source: Source::Seeded };
        side.reset(std::slice::from_ref(&start)).ok()?;
        for step in 0..EXPLAINED_STEPS {
            let tokens: Vec<u32> = (0..configuration.tokens_per_step() as u32)
                .map(|i| {
                    let word = lockstep_core::draw_word(7, u64::from(i), 0, step);
                    match &configuration.action {
                        Action::Discrete { .. } => word & 0x7FFF_FFFF,
                        Action::Continuous { low, high } => {
                            let share = (word >> 8) as f32 / (1 << 24) as f32;
                            lockstep_core::continuous_token(low + (high - low) * share)
                        }
                    }
                })
                .collect();
            // An explained step is a step: it is made, and the next one follows.
            let Ok(answer) = side.explain(0, &tokens) else { break };
            let lines = answer["lines"].as_array().map(Vec::as_slice).unwrap_or_default();
            for line in lines {
                let (Some(file), Some(number)) = (line["file"].as_str(), line["line"].as_u64()) else { continue };
                if let Some(name) = known(source, file) {
                    found.lines.entry(name.to_owned()).or_default().insert(number as usize);
                }
            }
        }
        side.close();
    }
    (!found.lines.is_empty()).then_some(found)
}

/// The name of the file that a side means, if a model may read it.
pub(super) fn known<'a>(source: &'a [SourceFile], file: &str) -> Option<&'a str> {
    let name = Path::new(file).file_name()?.to_string_lossy();
    source.iter().find(|known| known.name == name).map(|known| known.name.as_str())
}

/// The section about the reference, in `budget` tokens or less where that can be had.
pub(super) fn section(context: &Context<'_>, files: &[SourceFile], budget: u64) -> Result<Text, PromptError> {
    let all: Vec<Vec<Block>> = files.iter().map(|file| blocks(&file.text)).collect();
    let full = written(context, files, &all, &|_, _| true)?;
    if tokens(&full.sent) <= budget {
        return Ok(full);
    }
    if let Some(executed) = context.executed {
        let ran = |file: usize, block: usize| {
            let block = &all[file][block];
            let lines = executed.lines.get(&files[file].name);
            // Of what can't run (types, constants, comments) nothing is known, so it stays; so does a whole file
            // of which no line was seen, because the reference may not be able to look into it.
            !block.function || lines.is_none_or(|lines| lines.range(block.first + 1..=block.last + 1).next().is_some())
        };
        let sliced = written(context, files, &all, &ran)?;
        if tokens(&sliced.sent) <= budget {
            return Ok(sliced);
        }
    }
    let reached = reached(context.manifest, &all);
    written(context, files, &all, &|file, block| reached.contains(&(file, block)))
}

fn written(
    context: &Context<'_>,
    files: &[SourceFile],
    blocks: &[Vec<Block>],
    keeps: &dyn Fn(usize, usize) -> bool,
) -> Result<Text, PromptError> {
    let mut text = Text::default();
    for (at, file) in files.iter().enumerate() {
        let lines: Vec<&str> = file.text.lines().collect();
        let language = Path::new(&file.name).extension().unwrap_or_default().to_string_lossy();
        text.sent.push_str(&format!("`{}`:\n\n```{language}\n", file.name));
        text.stored.push_str(&format!("`{}`:\n\n", file.name));
        // Neighbours are kept, or left out, as one stretch.
        let mut block = 0;
        while block < blocks[at].len() {
            let kept = keeps(at, block);
            let mut end = block;
            while end + 1 < blocks[at].len() && keeps(at, end + 1) == kept {
                end += 1;
            }
            let (first, last) = (blocks[at][block].first, blocks[at][end].last);
            if kept {
                let piece = lines[first..=last].join("\n");
                let hash = hex(&Sha256::digest(piece.as_bytes()));
                text.stored.push_str(&format!("({}, lines {}-{}, sha256 {hash})\n", file.name, first + 1, last + 1));
                text.sent.push_str(&piece);
                text.sent.push('\n');
            } else {
                text.sent.push_str(&format!("… lines {}-{} left out …\n", first + 1, last + 1));
            }
            block = end + 1;
        }
        text.sent.push_str("```\n\n");
        text.stored.push('\n');
    }
    let file = &context.reference.file;
    let about = format!("{} ({}). {}", file.name, file.version, file.about);
    part(
        "parts/reference",
        &Values::from([("about", (about.trim_end_matches([' ', '.']).to_owned() + ".").into()), ("source", text)]),
    )
}

/// A stretch of lines that is kept or left out as a whole, from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Block {
    first: usize,
    last: usize,
    /// What it defines, as far as that can be seen.
    names: Vec<String>,
    /// All its words.
    words: BTreeSet<String>,
    /// Whether it is a function: it can be said to have run, or not.
    function: bool,
}

/// Cuts a file where a definition begins: at the left margin, or one level in for the methods of a class.
fn blocks(text: &str) -> Vec<Block> {
    let lines: Vec<&str> = text.lines().collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut starts = vec![0];
    for at in 1..lines.len() {
        let (line, before) = (lines[at], lines[at - 1]);
        let at_margin = !line.is_empty()
            && indent(line) == 0
            && !line.starts_with(['}', ')', ']', '{'])
            && (before.trim().is_empty() || before.starts_with('}'));
        let method = indent(line) <= 4
            && indent(line) > 0
            && before.trim().is_empty()
            && ["def ", "async def ", "@"].iter().any(|word| line.trim_start().starts_with(word));
        if at_margin || method {
            starts.push(at);
        }
    }
    starts.dedup();
    let ends = starts.iter().skip(1).map(|start| start - 1).chain([lines.len().saturating_sub(1)]);
    let blocks = starts.iter().copied().zip(ends).filter(|(first, last)| first <= last && !lines.is_empty());
    blocks.map(|(first, last)| block(first, last, &lines[first..=last])).collect()
}

fn block(first: usize, last: usize, lines: &[&str]) -> Block {
    let text = lines.join("\n");
    let code: Vec<&&str> = lines
        .iter()
        .filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with(['/', '#', '*', '@']))
        .collect();
    let head = code.first().map_or("", |line| line.trim());
    let words: BTreeSet<String> = words(&text).map(str::to_owned).collect();
    let is_def = head.starts_with("def ") || head.starts_with("async def ");
    let is_c = head.contains('(') && head.ends_with('{') && !head.starts_with("class ");
    let is_js = head.contains("function ");
    let mut names = Vec::new();
    // The word before the first parenthesis of a function; of anything else every name at its margin.
    if is_def || is_c || is_js {
        names.extend(self::words(head.split('(').next().unwrap_or_default()).last().map(str::to_owned));
    } else {
        names.extend(words.iter().cloned());
    }
    Block { first, last, names, words, function: is_def || is_c || is_js }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| word.len() > 1 && !word.starts_with(|c: char| c.is_ascii_digit()))
}

/// The blocks that the names in the manifest lead to, directly or through what they mention. What is no function stays.
fn reached(manifest: &Manifest, files: &[Vec<Block>]) -> BTreeSet<(usize, usize)> {
    let file = &manifest.file;
    let fields = file.canonical.iter().chain(&file.observation).chain(file.grains.iter().flat_map(|grain| &grain.row));
    let mut wanted: BTreeSet<String> = fields
        .flat_map(|field| words(field.reference.as_deref().unwrap_or_default()).chain([field.name.as_str()]))
        .chain(["step", "reset", "init", "c_step", "c_reset", "__init__", "environment_step", "environment_reset"])
        .map(str::to_owned)
        .collect();
    let every = || files.iter().enumerate().flat_map(|(at, blocks)| (0..blocks.len()).map(move |block| (at, block)));
    let mut reached = BTreeSet::new();
    loop {
        let before = reached.len();
        for (at, block) in every() {
            let found = &files[at][block];
            if !reached.contains(&(at, block))
                && (!found.function || found.names.iter().any(|name| wanted.contains(name)))
            {
                reached.insert((at, block));
                if found.function {
                    wanted.extend(found.words.iter().cloned());
                }
            }
        }
        if reached.len() == before {
            return reached;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const C: &str = "#include <x.h>\n\ntypedef struct Game Game;\nstruct Game {\n    float x;\n};\n\nvoid move(Game* g) {\n    g->x += 1;\n\n    g->x *= 2;\n}\nvoid draw_it(Game* g) {\n    box(g->x);\n}\n\nvoid c_step(Game* g) {\n    move(g);\n}\n";

    #[test]
    fn a_file_is_cut_at_definitions_and_never_within_one() {
        let blocks = blocks(C);
        let spans: Vec<(usize, usize)> = blocks.iter().map(|block| (block.first + 1, block.last + 1)).collect();
        assert_eq!(spans, [(1, 2), (3, 7), (8, 12), (13, 16), (17, 19)]);
        assert_eq!(blocks[2].names, ["move"]);
        let python = "import x\n\nclass A:\n    \"\"\"Doc.\"\"\"\n\n    def step(self):\n        self.x = 1\n\n        self.y = 2\n\n    def draw(self):\n        pass\n";
        let spans: Vec<(usize, usize)> =
            self::blocks(python).iter().map(|block| (block.first + 1, block.last + 1)).collect();
        assert_eq!(spans, [(1, 2), (3, 5), (6, 10), (11, 12)]);
    }

    #[test]
    fn a_file_that_must_not_leave_is_an_error_before_anything_is_sent() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("it can be written");
        put(
            "reference.toml",
            "format = \"lockstep/reference/1\"\nname = \"g\"\nversion = \"1\"\nlicence = \"MIT\"\nmodel_may_read = [\"game.py\"]\n[adapters.python]\ndefault = true\nargv = [\"x\"]\n",
        );
        put("game.py", "x = 1\n");
        let reference = Reference::read(folder.path(), folder.path()).expect("valid");
        assert_eq!(sources(&reference, folder.path()).expect("it may").len(), 1);
        put("game.py", &format!("x = 1\nkey = '{}_{}'\n", "ghp", "a1B2".repeat(9)));
        let error = sources(&reference, folder.path()).expect_err("a key").to_string();
        assert!(error.contains("game.py:2 holds what looks like a token of GitHub"), "{error}");
        put("game.py", "x = 1\n");
        put(".lockstepignore", "*.py\n");
        let error = sources(&reference, folder.path()).expect_err("kept back").to_string();
        assert!(error.contains("nothing was sent"), "{error}");
    }

    #[test]
    fn what_nothing_leads_to_is_left_out_and_types_stay() {
        let text = "format = \"lockstep/manifest/1\"\nname = \"g\"\ntitle = \"g\"\nreference = \"g\"\naction = { kind = \"discrete\", names = [\"a\"] }\nreward = { dtype = \"f32\" }\ncanonical = [{ name = \"x\", dtype = \"f32\" }]\nobservation = [{ name = \"x\", dtype = \"f32\" }]\n[configurations.default]\n[backends.rust]\nfiles = []\n";
        let manifest = Manifest::parse(text).expect("valid");
        let blocks = vec![blocks(C)];
        let reached: Vec<usize> = reached(&manifest, &blocks).into_iter().map(|(_, block)| block).collect();
        assert_eq!(reached, [0, 1, 2, 4], "all but draw_it");
    }
}
