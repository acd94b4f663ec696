//! The manifest as a model reads it: without what the judge knows and the model should find out.
//!
//! Comments, quirks, known divergences, feature buckets, amounts of testing, the picture, and the backends that the loop
//! does not write, with their tolerances, are left out. What remains is the file's own text, in its order, and means the same.

use super::PromptError;
use lockstep_harness::manifest::Manifest;

const LEFT_OUT: [&str; 5] = ["quirk", "known_divergence", "bucket", "tiers", "picture"];

/// The text of `env.toml` without comments and without what is left out; it has the same configurations.
///
/// # Errors
/// If the text is no manifest.
pub fn stripped_manifest(text: &str) -> Result<String, PromptError> {
    let invalid = |message: String| PromptError::Manifest(message);
    let manifest = Manifest::parse(text).map_err(|error| invalid(error.to_string()))?;
    let mut wanted: toml::Table = text.parse().map_err(|error: toml::de::Error| invalid(error.to_string()))?;
    LEFT_OUT.iter().for_each(|key| drop(wanted.remove(*key)));
    let kept =
        |name: &str| name == "rust" || manifest.file.backends.get(name).is_some_and(|table| !table.editable.is_empty());
    if let Some(toml::Value::Table(backends)) = wanted.get_mut("backends") {
        backends.retain(|name, _| kept(name));
    }
    if let Some(toml::Value::Array(rows)) = wanted.get_mut("tolerance") {
        rows.retain_mut(|row| row.as_table_mut().is_none_or(|row| keep_backends(row, &kept)));
    }
    let stripped = strip_lines(text, &kept);
    // Written in another way (a quirk as an inline table, say), the lines can't be left out one by one.
    let same = stripped.parse::<toml::Table>().is_ok_and(|found| found == wanted);
    let stripped =
        if same { stripped } else { toml::to_string(&wanted).map_err(|error| invalid(error.to_string()))? };
    let again = Manifest::parse(&stripped).map_err(|error| invalid(error.to_string()))?;
    let hashes = |manifest: &Manifest| -> Vec<String> {
        manifest.configurations().iter().map(|configuration| configuration.hash.clone()).collect()
    };
    if hashes(&again) == hashes(&manifest) {
        Ok(stripped)
    } else {
        Err(invalid("its configurations change when it is stripped".into()))
    }
}

fn strip_lines(text: &str, backend_kept: &dyn Fn(&str) -> bool) -> String {
    let mut out = String::new();
    let mut keeps = true;
    let mut in_tolerance = false;
    let mut tolerance_at = 0;
    let mut depth = 0i32;
    for line in text.lines() {
        let (code, change) = without_comment(line);
        let starts_section = depth == 0 && code.trim_start().starts_with('[');
        depth += if starts_section { 0 } else { change };
        if starts_section {
            let name = code.trim().trim_matches(['[', ']']);
            let (head, rest) = name.split_once('.').unwrap_or((name, ""));
            (in_tolerance, tolerance_at) = (head == "tolerance", out.len());
            keeps = !LEFT_OUT.contains(&head)
                && (head != "backends" || rest.is_empty() || backend_kept(rest.trim_matches(['"', '\''])));
        }
        let code = code.trim_end();
        // A row of tolerances loses the backends that are not shown, or goes as a whole.
        let mut row = match code.parse::<toml::Table>() {
            Ok(row) if in_tolerance && depth == 0 && row.contains_key("backend") => row,
            _ => toml::Table::new(),
        };
        let before = row.clone();
        if !keep_backends(&mut row, backend_kept) {
            out.truncate(tolerance_at);
            keeps = false;
        }
        let shorter = if row == before { None } else { row.get("backend").map(|list| format!("backend = {list}")) };
        let code = shorter.as_deref().unwrap_or(code);
        if keeps && !(code.is_empty() && (out.is_empty() || out.ends_with("\n\n"))) {
            out.push_str(code);
            out.push('\n');
        }
    }
    out.trim_end().to_owned() + "\n"
}

/// Leaves the kept backends in a row of tolerances; false if it was about others alone.
fn keep_backends(row: &mut toml::Table, kept: &dyn Fn(&str) -> bool) -> bool {
    match row.get_mut("backend") {
        Some(toml::Value::String(name)) => kept(name),
        Some(toml::Value::Array(names)) => {
            names.retain(|name| name.as_str().is_none_or(kept));
            !names.is_empty()
        }
        _ => true,
    }
}

/// The line without its comment, and by how many brackets it opens more than it closes.
fn without_comment(line: &str) -> (&str, i32) {
    let mut quote = None;
    let mut escaped = false;
    let mut change = 0;
    for (at, c) in line.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some('"') if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None => match c {
                '"' | '\'' => quote = Some(c),
                '[' | '{' => change += 1,
                ']' | '}' => change -= 1,
                '#' => return (&line[..at], change),
                _ => {}
            },
        }
    }
    (line, change)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_harness::manifest::ToleranceTable;
    use std::path::Path;

    #[test]
    fn every_manifest_of_the_tree_keeps_its_configurations_and_loses_what_the_judge_knows() {
        let envs = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("envs")).expect("it is there");
        let mut count = 0;
        for path in envs.flatten().map(|entry| entry.path().join("env.toml")).filter(|path| path.is_file()) {
            count += 1;
            let text = std::fs::read_to_string(&path).expect("it can be read");
            let stripped = stripped_manifest(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let (before, after) = (Manifest::parse(&text).expect("valid"), Manifest::parse(&stripped).expect("valid"));
            let pairs = before.configurations().iter().zip(after.configurations());
            pairs.for_each(|(before, after)| assert_eq!((&before.name, &before.hash), (&after.name, &after.hash)));
            assert_eq!(before.configurations().len(), after.configurations().len());
            assert!(after.file.quirk.is_empty() && after.file.bucket.is_empty() && after.file.picture.is_none());
            assert!(after.file.known_divergence.is_empty());
            for quirk in &before.file.quirk {
                assert!(!stripped.contains(&quirk.name), "{} keeps {}", path.display(), quirk.name);
            }
            assert!(!stripped.lines().any(|line| line.trim_start().starts_with('#')), "{stripped}");
            let shown = |row: &ToleranceTable| after.file.backends.contains_key(&row.backend);
            let rows = |manifest: &Manifest| manifest.file.tolerance.iter().filter(|row| shown(row)).count();
            assert_eq!(rows(&before), after.file.tolerance.len(), "{stripped}");
        }
        assert!(count >= 2, "counter and pong at least");
    }

    #[test]
    fn a_manifest_that_hides_its_quirks_in_a_line_loses_them_too() {
        let text = "quirk = [{ name = \"odd\", about = \"#1 [\" }]\nformat = \"lockstep/manifest/1\"\nname = \"x\"\ntitle = \"a # b\" # c\nreference = \"x\"\naction = { kind = \"discrete\", names = [\"#\"] } # d\nreward = { dtype = \"f32\" }\ncanonical = [\n  { name = \"a\", dtype = \"u32\" }, # e\n]\nobservation = [{ name = \"a\", dtype = \"u32\" }]\nbackends = { rust = { files = [\"a\"] }, odd = { files = [\"b\"] } }\n[configurations.default]\n";
        let stripped = stripped_manifest(text).expect("it is valid");
        assert!(!stripped.contains("odd"), "{stripped}");
        assert!(stripped.contains("a # b") && !stripped.contains("# c") && !stripped.contains("# e"), "{stripped}");
    }
}
