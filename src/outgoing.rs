//! What may leave this machine: `.lockstepignore`, and a look for keys in every file that a model may read.

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use std::path::{Path, PathBuf};

/// The file of patterns.
pub const FILE: &str = ".lockstepignore";

/// Why a file is not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Withheld {
    /// A pattern matches it.
    #[error(
        "{} stands in `model_may_read`, and {} keeps it back with the pattern {pattern:?}\n(hint: take it out of one of the two; nothing was sent)",
        path.display(),
        ignore.display()
    )]
    Ignored {
        /// The file.
        path: PathBuf,
        /// The file of patterns.
        ignore: PathBuf,
        /// The pattern.
        pattern: String,
    },
    /// The patterns can't be read.
    #[error("{}: {reason}\n(hint: one pattern a line, as in .gitignore; nothing was sent)", path.display())]
    Patterns {
        /// The file of patterns.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It holds what looks like a key.
    #[error(
        "{}:{line} holds what looks like {what}\n(hint: move it to an environment variable, or the file to {FILE}; nothing was sent)",
        path.display()
    )]
    Key {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What it looks like, without the key itself.
        what: &'static str,
    },
}

/// Whether a file may be sent: no `.lockstepignore` in its folder, the reference's, or one above these matches it, and no
/// line holds a key.
///
/// # Errors
/// Why it may not.
pub fn may_leave(path: &Path, text: &str, reference: &Path) -> Result<(), Withheld> {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let reference = reference.canonicalize().unwrap_or_else(|_| reference.to_owned());
    let mut seen = Vec::new();
    for folder in path.ancestors().skip(1).chain(reference.ancestors()) {
        let file = folder.join(FILE);
        if seen.contains(&file) || !file.is_file() {
            continue;
        }
        seen.push(file.clone());
        let patterns = read(&file)?;
        // A file that lies elsewhere than the patterns is matched by its name and the folders that it is in.
        let below = path.strip_prefix(folder).unwrap_or(path.strip_prefix("/").unwrap_or(&path));
        if let ignore::Match::Ignore(glob) = patterns.matched_path_or_any_parents(below, false) {
            return Err(Withheld::Ignored { path, ignore: file, pattern: glob.original().to_owned() });
        }
    }
    match key(text) {
        Some((line, what)) => Err(Withheld::Key { path, line, what }),
        None => Ok(()),
    }
}

fn read(file: &Path) -> Result<Gitignore, Withheld> {
    let wrong = |reason: String| Withheld::Patterns { path: file.to_owned(), reason };
    // Without a root: what is matched is a path below it already.
    let mut builder = GitignoreBuilder::new("");
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    for (place, line) in text.lines().enumerate() {
        builder.add_line(None, line).map_err(|error| wrong(format!("line {}: {error}", place + 1)))?;
    }
    builder.build().map_err(|error| wrong(error.to_string()))
}

/// Beginnings of keys, how long such a word is at least, and whose they are.
const BEGINNINGS: [(&str, usize, &str); 16] = [
    ("sk-ant-", 20, "a key of Anthropic (sk-ant-…)"),
    ("sk-proj-", 24, "a key of OpenAI (sk-proj-…)"),
    ("sk-or-", 24, "a key of OpenRouter (sk-or-…)"),
    ("sk-", 35, "a key that begins with sk-…"),
    ("sk_live_", 20, "a key of Stripe (sk_live_…)"),
    ("ghp_", 30, "a token of GitHub (ghp_…)"),
    ("gho_", 30, "a token of GitHub (gho_…)"),
    ("ghs_", 30, "a token of GitHub (ghs_…)"),
    ("github_pat_", 30, "a token of GitHub (github_pat_…)"),
    ("glpat-", 20, "a token of GitLab (glpat-…)"),
    ("AKIA", 20, "a key of AWS (AKIA…)"),
    ("AIza", 35, "a key of Google (AIza…)"),
    ("xoxb-", 20, "a token of Slack (xoxb-…)"),
    ("xoxp-", 20, "a token of Slack (xoxp-…)"),
    ("hf_", 30, "a token of Hugging Face (hf_…)"),
    ("npm_", 36, "a token of npm (npm_…)"),
];

/// The first line that holds what looks like a key, from 1, and what it looks like.
pub fn key(text: &str) -> Option<(usize, &'static str)> {
    text.lines().enumerate().find_map(|(place, line)| Some((place + 1, key_in(line)?)))
}

fn key_in(line: &str) -> Option<&'static str> {
    if line.contains("-----BEGIN ") && line.contains("PRIVATE KEY-----") {
        return Some("a private key");
    }
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    for word in line.split(|letter: char| !is_part(letter)) {
        let known = BEGINNINGS.iter().find(|(begin, length, _)| {
            // Words in a name are no key: a key has digits.
            word.starts_with(begin) && word.len() >= *length && word.bytes().any(|byte| byte.is_ascii_digit())
        });
        if let Some((_, _, what)) = known {
            return Some(what);
        }
    }
    let mut parts = line.split('.');
    if parts.any(|part| {
        part.rsplit(|letter: char| !is_part(letter))
            .next()
            .is_some_and(|word| word.starts_with("eyJ") && word.len() > 16)
    }) && line.matches('.').count() >= 2
    {
        return Some("a signed token (eyJ…)");
    }
    assigned(line).then_some("a secret that stands in the source")
}

/// Whether a line gives a name such as `api_key` a long text of letters and digits.
fn assigned(line: &str) -> bool {
    let Some((name, value)) = line.split_once(['=', ':']) else { return false };
    let name = name.to_lowercase();
    let telling = ["api_key", "apikey", "api-key", "secret", "password", "passwd", "access_token", "auth_token"];
    if !telling.iter().any(|word| name.contains(word)) {
        return false;
    }
    let value = value.trim_start_matches(['=', ' ', ':']);
    let Some(quote) = value.chars().next().filter(|letter| ['"', '\'', '`'].contains(letter)) else { return false };
    let text = value[1..].split(quote).next().unwrap_or_default();
    let has = |test: fn(&u8) -> bool| text.as_bytes().iter().any(test);
    text.len() >= 16 && !text.contains(' ') && has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Put together, so that no scanner of this repository finds a key here.
    fn made(begin: &str, length: usize) -> String {
        format!("{begin}{}", "a1B2c3D4".repeat(length / 8 + 1))
    }

    #[test]
    fn a_key_is_found_by_its_beginning_and_its_line_is_told() {
        for (begin, length, what) in BEGINNINGS {
            let text = format!("x = 1\nclient(\"{}\")\n", made(begin, length));
            assert_eq!(key(&text), Some((2, what)), "{begin}");
        }
        assert_eq!(key("-----BEGIN RSA PRIVATE KEY-----"), Some((1, "a private key")));
        let token = format!("{}.{}.x", made("eyJ", 20), made("eyJ", 20));
        assert_eq!(key(&token).map(|found| found.0), Some(1));
        assert_eq!(key(&format!("API_KEY = \"{}\"", made("", 24))).map(|found| found.0), Some(1));
    }

    #[test]
    fn ordinary_source_holds_no_key() {
        let text = "task-sk-learn = 3\nhf_transfer_is_a_name_that_is_rather_long = 1\npassword = input()\nsecret = \"none\"\nsk-\nself.api_key = os.environ[\"KEY\"]\nkey = \"left\"\na.eyJ.b\n";
        assert_eq!(key(text), None);
        for folder in ["references", "envs"] {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
            for path in sources_below(&root) {
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                assert_eq!(key(&text), None, "{}", path.display());
            }
        }
    }

    fn sources_below(folder: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder).expect("it is there").flatten() {
            let path = entry.path();
            let known =
                path.extension().is_some_and(|end| ["rs", "py", "c", "h", "ts", "mjs"].iter().any(|one| end == *one));
            if path.is_dir() {
                found.extend(sources_below(&path));
            } else if known {
                found.push(path);
            }
        }
        found
    }

    #[test]
    fn a_pattern_beside_the_manifest_keeps_a_file_back_wherever_it_lies() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let reference = folder.path().join("my_env/reference");
        std::fs::create_dir_all(&reference).expect("made");
        std::fs::create_dir_all(folder.path().join("private")).expect("made");
        let put = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            path
        };
        let (mine, secret, inside) = (put("my_env.py", ""), put("my_secret.py", ""), put("private/rules.py", ""));
        put("my_env/.lockstepignore", "# nothing\n*secret*\nprivate/\n");
        assert_eq!(may_leave(&mine, "", &reference), Ok(()));
        for path in [&secret, &inside] {
            let error = may_leave(path, "", &reference).expect_err("it is kept back");
            assert!(matches!(error, Withheld::Ignored { .. }), "{error}");
            assert!(error.to_string().contains("(hint:"));
        }
        let error = may_leave(&mine, &format!("\nk = '{}'", made("ghp_", 36)), &reference).expect_err("a key");
        assert!(error.to_string().contains("my_env.py:2 holds what looks like a token of GitHub"), "{error}");
        assert!(!error.to_string().contains("a1B2"), "the key itself is not shown");
    }
}
