//! Takes the edits out of a model's answer and applies them: whole files, and search/replace blocks.
//!
//! What applies is kept even if something else does not, and each thing that does not apply is told with the place that
//! it probably meant, so that the model needs to send only that again. The one exception is a path that is not its own:
//! then nothing of the answer is applied.

use std::collections::BTreeMap;
use std::fmt;

/// Files by their path in the environment's folder.
pub type Files = BTreeMap<String, String>;

/// Bytes of an answer at most.
pub const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Lines that a complaint quotes at most.
const QUOTED_LINES_MAX: usize = 16;
/// Below this share of similar lines no place is called near.
const NEAR_MIN: f32 = 0.6;
/// Places that are compared letter by letter.
const CHOSEN: usize = 8;

/// What came of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    /// All files, after what did apply.
    pub files: Files,
    /// Paths whose text is another one now, sorted.
    pub changed: Vec<String>,
    /// What did not apply, in the order of the answer.
    pub problems: Vec<EditProblem>,
}

/// Something in an answer that was not applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EditProblem {
    /// There is neither a `<file>` nor an `<edit>` in it.
    Nothing,
    /// It is longer than [`ANSWER_BYTES_MAX`].
    TooLong(usize),
    /// A path that the model may not write; nothing was applied.
    NotAllowed {
        /// The path as it was written.
        path: String,
        /// Those that are allowed.
        allowed: Vec<String>,
    },
    /// A tag without its end: the answer was cut, or an end is missing.
    Unclosed {
        /// The path.
        path: String,
        /// `file` or `edit`.
        tag: &'static str,
    },
    /// A whole file without text.
    Empty(String),
    /// An `<edit>` without a complete block.
    NoBlock(String),
    /// A block that lacks its `=======` or its `>>>>>>> REPLACE`.
    BrokenBlock {
        /// The path.
        path: String,
        /// The number of the block in the answer's edits of this file, from 1.
        block: usize,
    },
    /// A block for a file that is not there.
    NoFile(String),
    /// An empty search in a file that has text.
    EmptySearch {
        /// The path.
        path: String,
        /// The block, from 1.
        block: usize,
    },
    /// The text that is searched for does not stand there.
    NotFound {
        /// The path.
        path: String,
        /// The block, from 1.
        block: usize,
        /// The nearest place: its first line's number, from 1, and its lines.
        near: Option<(usize, Vec<String>)>,
        /// Number and text of the first line there that differs, and what was searched for.
        differs: Option<(usize, String, String)>,
    },
    /// The text that is searched for stands there more than once.
    Ambiguous {
        /// The path.
        path: String,
        /// The block, from 1.
        block: usize,
        /// The numbers of the first lines, from 1.
        lines: Vec<usize>,
    },
}

impl fmt::Display for EditProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EditProblem::Nothing => write!(
                f,
                "the answer has no <file path=\"…\"> and no <edit path=\"…\">, each at the beginning of a line; nothing was changed: send the files in that form"
            ),
            EditProblem::TooLong(size) => write!(
                f,
                "the answer has {size} bytes, and {ANSWER_BYTES_MAX} are taken; nothing was changed: send less, as <edit> blocks"
            ),
            EditProblem::NotAllowed { path, allowed } => write!(
                f,
                "{path:?} is not one of your files, so nothing of the answer was applied; send it again with changes to {} alone",
                allowed.join(", ")
            ),
            EditProblem::Unclosed { path, tag } => write!(
                f,
                "the <{tag}> of {path} has no </{tag}> on a line of its own, so the answer may have been cut there; send this {tag} again as a whole"
            ),
            EditProblem::Empty(path) => write!(f, "the <file> of {path} is empty; send its whole text"),
            EditProblem::NoBlock(path) => write!(
                f,
                "the <edit> of {path} has no block of <<<<<<< SEARCH, =======, >>>>>>> REPLACE; send blocks, or the whole file as <file>"
            ),
            EditProblem::BrokenBlock { path, block } => write!(
                f,
                "block {block} of {path} lacks its ======= or its >>>>>>> REPLACE and was not applied; send it again as a whole"
            ),
            EditProblem::NoFile(path) => {
                write!(f, "{path} does not exist yet, so nothing can be searched in it; send it whole, as <file>")
            }
            EditProblem::EmptySearch { path, block } => write!(
                f,
                "block {block} of {path} searches for nothing, and the file has text; search for lines that stand there"
            ),
            EditProblem::NotFound { path, block, near, differs } => {
                write!(f, "the SEARCH of block {block} does not stand in {path}, so it was not applied.")?;
                if let Some((first, lines)) = near {
                    write!(f, " The nearest lines are\n{}", numbered(*first, lines))?;
                }
                if let Some((line, there, searched)) = differs {
                    write!(f, "\nLine {line} differs first: there it is\n{there}\nand you searched for\n{searched}")?;
                }
                write!(f, "\nCopy the lines exactly as they stand, or send the whole file")
            }
            EditProblem::Ambiguous { path, block, lines } => {
                let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "the SEARCH of block {block} stands {} times in {path}, at lines {}, so it was not applied; add lines around it",
                    lines.len(),
                    lines.join(", ")
                )
            }
        }
    }
}

fn numbered(first: usize, lines: &[String]) -> String {
    let shown: Vec<String> =
        lines.iter().take(QUOTED_LINES_MAX).enumerate().map(|(i, line)| format!("{:>5} | {line}", first + i)).collect();
    let more = lines.len().saturating_sub(QUOTED_LINES_MAX);
    if more > 0 { format!("{}\n      … {more} more lines", shown.join("\n")) } else { shown.join("\n") }
}

/// Applies what an answer says to `before`. Only the paths in `allowed` may be written.
///
/// A path is compared after a leading `./` is taken away; every other way of writing it (absolute, `..`, `\`) is not
/// allowed. Line ends become `\n`. Code fences just inside a tag are taken away. A file that is sent twice counts as it
/// was sent last, and a block that is sent twice counts once.
pub fn apply(answer: &str, before: &Files, allowed: &[String]) -> Edited {
    let unchanged = |problem| Edited { files: before.clone(), changed: Vec::new(), problems: vec![problem] };
    if answer.len() > ANSWER_BYTES_MAX {
        return unchanged(EditProblem::TooLong(answer.len()));
    }
    let answer = answer.replace("\r\n", "\n");
    let pieces = pieces(&answer);
    if pieces.is_empty() {
        return unchanged(EditProblem::Nothing);
    }
    if let Some(foreign) = pieces.iter().find(|piece| !allowed.contains(&piece.path)) {
        return unchanged(EditProblem::NotAllowed { path: foreign.path.clone(), allowed: allowed.to_vec() });
    }
    let mut files = before.clone();
    let mut problems = Vec::new();
    let mut blocks_seen: BTreeMap<&str, Vec<Block>> = BTreeMap::new();
    for piece in &pieces {
        let Some(body) = &piece.body else {
            problems.push(EditProblem::Unclosed { path: piece.path.clone(), tag: piece.tag });
            continue;
        };
        let body = without_fence(body);
        if piece.tag == "file" {
            if body.iter().all(|line| line.trim().is_empty()) {
                problems.push(EditProblem::Empty(piece.path.clone()));
            } else {
                files.insert(piece.path.clone(), joined(&body));
                blocks_seen.remove(piece.path.as_str());
            }
            continue;
        }
        let blocks = blocks(&body);
        if blocks.is_empty() {
            problems.push(EditProblem::NoBlock(piece.path.clone()));
        }
        let seen = blocks_seen.entry(&piece.path).or_default();
        for block in blocks {
            let number = seen.len() + 1;
            if !block.whole {
                problems.push(EditProblem::BrokenBlock { path: piece.path.clone(), block: number });
            } else if !seen.contains(&block)
                && let Err(problem) = apply_block(&mut files, &piece.path, number, &block)
            {
                problems.push(problem);
            }
            seen.push(block);
        }
    }
    let changed = files.iter().filter(|(path, text)| before.get(*path) != Some(text)).map(|(path, _)| path.clone());
    Edited { changed: changed.collect(), files, problems }
}

/// One `<file>` or `<edit>`.
struct Piece<'a> {
    tag: &'static str,
    path: String,
    /// `None` where the end is missing.
    body: Option<Vec<&'a str>>,
}

fn pieces(answer: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut lines = answer.lines();
    while let Some(line) = lines.next() {
        let Some((tag, path, rest)) = opening(line) else { continue };
        let end = format!("</{tag}>");
        // `<file path="a">text</file>` on one line, however odd.
        if let Some(inner) = rest.trim_end().strip_suffix(&end) {
            let body = if inner.is_empty() { vec![] } else { vec![inner] };
            pieces.push(Piece { tag, path, body: Some(body) });
            continue;
        }
        let mut body = if rest.trim().is_empty() { vec![] } else { vec![rest] };
        let mut closed = false;
        let mut ahead = lines.clone();
        while let Some(line) = ahead.next() {
            if line.trim() == end {
                closed = true;
                lines = ahead;
                break;
            }
            // Another opening tag before the end: the end of this one was forgotten.
            if opening(line).is_some() {
                break;
            }
            body.push(line);
        }
        pieces.push(Piece { tag, path, body: closed.then_some(body) });
    }
    pieces
}

/// The tag that a line opens with, its path, and what follows on the line.
fn opening(line: &str) -> Option<(&'static str, String, &str)> {
    let line = line.trim_start();
    let (tag, rest) = ["file", "edit"].into_iter().find_map(|tag| {
        let rest = line.strip_prefix('<')?.strip_prefix(tag)?;
        rest.starts_with(char::is_whitespace).then_some((tag, rest))
    })?;
    let rest = rest.trim_start().strip_prefix("path")?.trim_start().strip_prefix('=')?.trim_start();
    let quote = rest.chars().next().filter(|quote| ['"', '\''].contains(quote))?;
    let (path, rest) = rest[1..].split_once(quote)?;
    let rest = rest.trim_start().strip_prefix('>')?;
    let path = path.trim();
    Some((tag, path.strip_prefix("./").unwrap_or(path).to_owned(), rest))
}

/// Takes away a code fence around everything.
fn without_fence<'a>(body: &[&'a str]) -> Vec<&'a str> {
    let filled = |line: &&str| !line.trim().is_empty();
    let (Some(first), Some(last)) = (body.iter().position(filled), body.iter().rposition(filled)) else {
        return body.to_vec();
    };
    let opens = body[first].trim_start().starts_with("```");
    let closes = body[last].trim() == "```";
    if opens && closes && first < last { body[first + 1..last].to_vec() } else { body.to_vec() }
}

fn joined(lines: &[&str]) -> String {
    let from = lines.iter().position(|line| !line.trim().is_empty()).unwrap_or(0);
    let to = lines.iter().rposition(|line| !line.trim().is_empty()).map_or(0, |last| last + 1);
    let mut text = lines[from..to].join("\n");
    text.push('\n');
    text
}

/// One search/replace block.
#[derive(Clone, PartialEq, Eq)]
struct Block {
    search: Vec<String>,
    replace: Vec<String>,
    /// Its three marks are all there.
    whole: bool,
}

fn blocks(body: &[&str]) -> Vec<Block> {
    let mark = |line: &str, sign: char, word: &str| {
        let rest = line.trim().trim_start_matches(sign);
        let signs = line.trim().len() - rest.len();
        (5..=9).contains(&signs) && rest.trim().eq_ignore_ascii_case(word)
    };
    let mut blocks = Vec::new();
    let mut at = 0;
    while at < body.len() {
        if !mark(body[at], '<', "SEARCH") {
            at += 1;
            continue;
        }
        let mut block = Block { search: Vec::new(), replace: Vec::new(), whole: false };
        let mut divided = false;
        at += 1;
        while at < body.len() && !mark(body[at], '<', "SEARCH") {
            let line = body[at];
            at += 1;
            if !divided && mark(line, '=', "") {
                divided = true;
            } else if mark(line, '>', "REPLACE") {
                block.whole = divided;
                break;
            } else if divided {
                block.replace.push(line.to_owned());
            } else {
                block.search.push(line.to_owned());
            }
        }
        blocks.push(block);
    }
    blocks
}

fn apply_block(files: &mut Files, path: &str, number: usize, block: &Block) -> Result<(), EditProblem> {
    let searches = block.search.iter().any(|line| !line.trim().is_empty());
    let text = files.get(path).map(|text| text.replace("\r\n", "\n")).unwrap_or_default();
    if !searches {
        if !text.trim().is_empty() {
            return Err(EditProblem::EmptySearch { path: path.into(), block: number });
        }
        if block.replace.iter().all(|line| line.trim().is_empty()) {
            return Err(EditProblem::Empty(path.into()));
        }
        files.insert(path.into(), joined(&block.replace.iter().map(String::as_str).collect::<Vec<_>>()));
        return Ok(());
    }
    if !files.contains_key(path) {
        return Err(EditProblem::NoFile(path.into()));
    }
    let lines: Vec<&str> = text.lines().collect();
    // As it stands; then without blanks at the end of lines; then indented as a whole by more or less.
    let exact = |there: &str, searched: &str| there == searched;
    let loose = |there: &str, searched: &str| there.trim_end() == searched.trim_end();
    let bare = |there: &str, searched: &str| there.trim() == searched.trim();
    for same in [&exact as &dyn Fn(&str, &str) -> bool, &loose, &bare] {
        let places = places(&lines, &block.search, same);
        match places[..] {
            [] => continue,
            [place] => {
                let there = &lines[place..place + block.search.len()];
                let replace = reindented(&block.search, there, &block.replace);
                let mut after: Vec<String> = lines[..place].iter().map(|line| (*line).to_owned()).collect();
                after.extend(replace);
                after.extend(lines[place + block.search.len()..].iter().map(|line| (*line).to_owned()));
                files.insert(path.into(), after.join("\n") + "\n");
                return Ok(());
            }
            _ => {
                let lines = places.iter().map(|place| place + 1).collect();
                return Err(EditProblem::Ambiguous { path: path.into(), block: number, lines });
            }
        }
    }
    let (near, differs) = nearest(&lines, &block.search);
    Err(EditProblem::NotFound { path: path.into(), block: number, near, differs })
}

fn places(lines: &[&str], search: &[String], same: &dyn Fn(&str, &str) -> bool) -> Vec<usize> {
    if search.len() > lines.len() {
        return Vec::new();
    }
    let fits = |at: &usize| search.iter().zip(&lines[*at..]).all(|(searched, there)| same(there, searched));
    (0..=lines.len() - search.len()).filter(fits).collect()
}

/// The replacement, moved by as many blanks as the place found is off the text searched for.
fn reindented(search: &[String], there: &[&str], replace: &[String]) -> Vec<String> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let Some(at) = search.iter().position(|line| !line.trim().is_empty()) else { return replace.to_vec() };
    let (wanted, has) = (indent(there[at]), indent(&search[at]));
    if wanted == has {
        return replace.to_vec();
    }
    let blank = if there[at].starts_with('\t') { '\t' } else { ' ' };
    let moved = |line: &String| {
        if line.trim().is_empty() {
            String::new()
        } else if wanted > has {
            blank.to_string().repeat(wanted - has) + line
        } else {
            let less = (has - wanted).min(indent(line));
            line[less..].to_owned()
        }
    };
    replace.iter().map(moved).collect()
}

type Near = (Option<(usize, Vec<String>)>, Option<(usize, String, String)>);

/// The stretch of lines that is most like the search, and where it first differs.
fn nearest(lines: &[&str], search: &[String]) -> Near {
    let size = search.len().min(lines.len());
    if size == 0 {
        return (None, None);
    }
    // Bags of letters are compared everywhere, letter by letter only the few places that they choose.
    let bags = |lines: &[&str]| -> Vec<Bag> { lines.iter().map(|line| Bag::of(line.trim())).collect() };
    let there = bags(lines);
    let searched = bags(&search.iter().map(String::as_str).collect::<Vec<_>>());
    let rough = |at: &usize| -> f32 { searched.iter().zip(&there[*at..]).map(|(a, b)| a.alike(b)).sum() };
    let mut chosen: Vec<(f32, usize)> = (0..=lines.len() - size).map(|at| (rough(&at), at)).collect();
    chosen.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let score = |at: usize| -> f32 {
        let pairs = search.iter().zip(&lines[at..]);
        pairs.map(|(searched, there)| alike(there.trim(), searched.trim())).sum::<f32>() / search.len() as f32
    };
    let best = chosen.iter().take(CHOSEN).map(|(_, at)| (score(*at), *at));
    let best = best.max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
    let Some((_, at)) = best.filter(|(score, _)| *score >= NEAR_MIN) else { return (None, None) };
    let near = lines[at..(at + size).min(lines.len())].iter().map(|line| (*line).to_owned()).collect();
    let differs = search.iter().enumerate().find_map(|(i, searched)| {
        let there = lines.get(at + i).copied().unwrap_or("(the end of the file)");
        (there.trim() != searched.trim()).then(|| (at + i + 1, there.to_owned(), searched.clone()))
    });
    (Some((at + 1, near)), differs)
}

/// The letters of a line, without their order.
struct Bag {
    counts: [u8; 64],
    size: usize,
}

impl Bag {
    fn of(line: &str) -> Self {
        let mut counts = [0u8; 64];
        line.bytes().for_each(|byte| {
            let count = &mut counts[usize::from(byte) % 64];
            *count = count.saturating_add(1);
        });
        Bag { counts, size: line.len() }
    }

    /// The share of letters that both have, from 0 to 1.
    fn alike(&self, other: &Bag) -> f32 {
        if self.size + other.size == 0 {
            return 1.0;
        }
        let shared: u32 = self.counts.iter().zip(&other.counts).map(|(a, b)| u32::from(*a.min(b))).sum();
        shared as f32 * 2.0 / (self.size + other.size) as f32
    }
}

/// How alike two lines are, from 0 to 1.
fn alike(a: &str, b: &str) -> f32 {
    match a == b {
        true => 1.0,
        // Lines of a thousand letters and more are no source that a model wrote by hand.
        false if a.len().max(b.len()) > 1_000 => 0.0,
        false => similar::TextDiff::from_chars(a, b).ratio(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str =
        "fn step() {\n    tick += 1;\n    if hit {\n        bounce();\n    }\n}\n\nfn reset() {\n    tick = 0;\n}\n";

    fn before() -> Files {
        Files::from([
            ("src/rules.rs".to_owned(), RULES.to_owned()),
            ("src/world.rs".to_owned(), "struct World;\n".to_owned()),
        ])
    }

    fn allowed() -> Vec<String> {
        ["src/rules.rs", "src/world.rs", "src/state.rs"].map(str::to_owned).to_vec()
    }

    fn applied(answer: &str) -> Edited {
        apply(answer, &before(), &allowed())
    }

    fn edit(blocks: &str) -> Edited {
        applied(&format!("Sure.\n<edit path=\"src/rules.rs\">\n{blocks}\n</edit>\n"))
    }

    fn block(search: &str, replace: &str) -> String {
        format!("<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE")
    }

    #[test]
    fn a_whole_file_takes_the_place_of_the_old_one_and_a_new_one_is_made() {
        let edited = applied(
            "I chose this.\n<file path=\"src/state.rs\">\npub struct State;\n</file>\n<file path='./src/world.rs'>\nstruct World(u8);\n</file>",
        );
        assert_eq!(edited.problems, []);
        assert_eq!(edited.changed, ["src/state.rs", "src/world.rs"]);
        assert_eq!(edited.files["src/state.rs"], "pub struct State;\n");
        assert_eq!(edited.files["src/world.rs"], "struct World(u8);\n");
        assert_eq!(edited.files["src/rules.rs"], RULES);
    }

    #[test]
    fn fences_inside_a_tag_and_windows_line_ends_are_taken_away() {
        let edited = applied("<file path=\"src/state.rs\">\r\n```rust\r\nstruct State;\r\n```\r\n</file>\r\n");
        assert_eq!(edited.files["src/state.rs"], "struct State;\n");
        let inner = applied("<file path=\"src/state.rs\">\n/// ```\n/// x\n/// ```\nstruct State;\n</file>");
        assert_eq!(inner.files["src/state.rs"], "/// ```\n/// x\n/// ```\nstruct State;\n");
    }

    #[test]
    fn several_blocks_apply_in_order_and_each_sees_the_one_before() {
        let edited = edit(&format!(
            "{}\n{}",
            block("    tick += 1;", "    tick += 2;"),
            block("    tick += 2;", "    tick += 3;")
        ));
        assert_eq!(edited.problems, []);
        assert!(edited.files["src/rules.rs"].contains("tick += 3;"));
    }

    #[test]
    fn a_block_that_is_sent_twice_counts_once() {
        let twice = format!("{0}\n{0}", block("    tick = 0;", "    tick = 1;"));
        let edited = edit(&twice);
        assert_eq!((edited.problems.len(), edited.files["src/rules.rs"].matches("tick = 1;").count()), (0, 1));
    }

    #[test]
    fn a_file_that_is_sent_twice_counts_as_it_was_sent_last() {
        let edited =
            applied("<file path=\"src/state.rs\">\na\n</file>\nNo, better:\n<file path=\"src/state.rs\">\nb\n</file>");
        assert_eq!((edited.files["src/state.rs"].as_str(), edited.problems.len()), ("b\n", 0));
    }

    #[test]
    fn blanks_that_a_model_got_wrong_do_not_matter_where_the_place_is_clear() {
        let trailing = edit(&block("    tick += 1;  ", "    tick += 2;"));
        assert_eq!((trailing.problems.len(), trailing.files["src/rules.rs"].contains("    tick += 2;\n")), (0, true));
        let shifted = edit(&block("if hit {\n    bounce();\n}", "if hit {\n    bounce();\n    count();\n}"));
        assert_eq!(shifted.problems, []);
        assert!(shifted.files["src/rules.rs"].contains("    if hit {\n        bounce();\n        count();\n    }\n"));
    }

    #[test]
    fn a_search_that_does_not_match_is_answered_with_the_nearest_lines_and_the_rest_is_applied() {
        let edited = edit(&format!(
            "{}\n{}",
            block("    if hits {\n        bounce();\n    }", "x"),
            block("    tick = 0;", "    tick = 9;")
        ));
        assert!(edited.files["src/rules.rs"].contains("tick = 9;"));
        assert_eq!(edited.changed, ["src/rules.rs"]);
        let text = edited.problems[0].to_string();
        assert!(text.contains("block 1") && text.contains("    3 |     if hit {\n    4 |         bounce();"), "{text}");
        assert!(
            text.contains("Line 3 differs first: there it is\n    if hit {\nand you searched for\n    if hits {"),
            "{text}"
        );
    }

    #[test]
    fn a_search_that_is_like_nothing_names_no_place() {
        let text = edit(&block("completely other words, thrice over", "x")).problems[0].to_string();
        assert!(!text.contains("nearest") && text.ends_with("or send the whole file"), "{text}");
    }

    #[test]
    fn a_search_that_stands_there_twice_is_answered_with_the_lines() {
        let files = Files::from([("src/rules.rs".to_owned(), "a();\nb();\na();\n".to_owned())]);
        let answer = format!("<edit path=\"src/rules.rs\">\n{}\n</edit>", block("a();", "c();"));
        let edited = apply(&answer, &files, &allowed());
        assert_eq!(edited.files, files);
        assert!(edited.problems[0].to_string().contains("2 times in src/rules.rs, at lines 1, 3"));
    }

    #[test]
    fn a_path_that_is_not_its_own_undoes_the_whole_answer() {
        for path in [
            "Cargo.toml",
            "../pong/src/rules.rs",
            "/etc/passwd",
            "src/../Cargo.toml",
            "src\\rules.rs",
            "SRC/rules.rs",
            "",
            "src/rules.rs/",
            "build.rs",
        ] {
            let answer = format!("<file path=\"src/rules.rs\">\nnew\n</file>\n<file path=\"{path}\">\nx\n</file>");
            let edited = applied(&answer);
            assert_eq!((edited.files, edited.changed.len()), (before(), 0), "{path}");
            let text = edited.problems[0].to_string();
            assert!(text.contains("nothing of the answer was applied") && text.contains("src/state.rs"), "{text}");
        }
    }

    #[test]
    fn an_answer_that_was_cut_keeps_what_was_whole() {
        let edited = applied("<file path=\"src/state.rs\">\na\n</file>\n<file path=\"src/rules.rs\">\nfn st");
        assert_eq!((edited.changed.as_slice(), edited.problems.len()), (["src/state.rs".to_owned()].as_slice(), 1));
        assert_eq!(edited.files["src/rules.rs"], RULES);
        assert!(edited.problems[0].to_string().contains("may have been cut"));
        let forgotten = applied("<file path=\"src/state.rs\">\na\n<file path=\"src/world.rs\">\nb\n</file>");
        assert_eq!((forgotten.changed, forgotten.problems.len()), (vec!["src/world.rs".to_owned()], 1));
        let block = edit("<<<<<<< SEARCH\n    tick = 0;\n=======\n    tick = 5;");
        assert!(block.problems[0].to_string().contains("lacks its ======="), "{:?}", block.problems);
    }

    #[test]
    fn an_answer_without_edits_and_one_that_is_far_too_long_change_nothing() {
        for answer in
            ["", "It is already right.", "```rust\nfn main() {}\n```", "see <file path=\"src/rules.rs\"> in the text"]
        {
            assert_eq!(applied(answer).problems, [EditProblem::Nothing], "{answer}");
        }
        let long = "x".repeat(10 * 1024 * 1024);
        assert_eq!(applied(&long).problems, [EditProblem::TooLong(long.len())]);
    }

    #[test]
    fn tags_in_the_middle_of_a_line_are_text() {
        let edited = applied(
            "<file path=\"src/state.rs\">\n// </file> stands here, and <file path=\"x\"> too\nstruct S;\n</file>",
        );
        assert_eq!(edited.problems, []);
        assert!(edited.files["src/state.rs"].starts_with("// </file> stands here"));
    }

    #[test]
    fn an_empty_file_and_an_empty_search_are_told() {
        assert_eq!(
            applied("<file path=\"src/rules.rs\">\n\n</file>").problems,
            [EditProblem::Empty("src/rules.rs".into())]
        );
        assert_eq!(
            edit(&block("", "x")).problems,
            [EditProblem::EmptySearch { path: "src/rules.rs".into(), block: 1 }]
        );
        assert_eq!(edit("nothing").problems, [EditProblem::NoBlock("src/rules.rs".into())]);
        let made = applied(&format!("<edit path=\"src/state.rs\">\n{}\n</edit>", block("", "struct State;")));
        assert_eq!((made.files["src/state.rs"].as_str(), made.problems.len()), ("struct State;\n", 0));
        let absent = applied(&format!("<edit path=\"src/state.rs\">\n{}\n</edit>", block("a", "b")));
        assert_eq!(absent.problems, [EditProblem::NoFile("src/state.rs".into())]);
    }

    #[test]
    fn deleting_lines_and_writing_what_is_there_already_are_edits_too() {
        let deleted = edit("<<<<<<< SEARCH\n    tick += 1;\n=======\n>>>>>>> REPLACE");
        assert_eq!((deleted.problems.len(), deleted.files["src/rules.rs"].contains("tick += 1")), (0, false));
        let same = applied(&format!("<file path=\"src/rules.rs\">\n{RULES}</file>"));
        assert_eq!((same.changed.len(), same.problems.len()), (0, 0));
    }

    #[test]
    fn a_hostile_answer_takes_no_long_time() {
        let lines: String = (0..20_000).map(|i| format!("line {i} of a long file();\n")).collect();
        let files = Files::from([("src/rules.rs".to_owned(), lines)]);
        let search: String = (0..50).map(|i| format!("line {i}0 of a lang file();\n")).collect();
        let answer = format!("<edit path=\"src/rules.rs\">\n{}\n</edit>", block(&search, "x"));
        let began = std::time::Instant::now();
        assert_eq!(apply(&answer, &files, &allowed()).problems.len(), 1);
        assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
    }
}
