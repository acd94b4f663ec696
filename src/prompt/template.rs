//! Fills the holes of a Markdown template: `{{name}}` takes a value, `{{parts/name}}` another template.
//!
//! A hole without a value is an error, and so is a value without a hole: what was gathered for a model is never lost
//! without a word. Values are put in as they are; what looks like a hole in them stays.

use super::{PromptError, set};
use std::collections::{BTreeMap, BTreeSet};

/// Text for a hole: as it is sent, and as it is kept.
#[derive(Debug, Clone, Default)]
pub(super) struct Text {
    /// What the model reads.
    pub sent: String,
    /// The same with each piece of reference source as (file, lines, hash).
    pub stored: String,
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Text { stored: text.clone(), sent: text }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

/// Values by the name of their hole.
pub(super) type Values = BTreeMap<&'static str, Text>;

/// Fills the template of that name, parts and all.
pub(super) fn fill(template: &str, values: &Values) -> Result<Text, PromptError> {
    let mut used = BTreeSet::new();
    let filled = expand(template, values, &mut used, 0)?;
    match values.keys().find(|name| !used.contains(**name)) {
        None => Ok(filled),
        Some(name) => Err(PromptError::UnknownHole { template: template.to_owned(), hole: (*name).to_owned() }),
    }
}

/// As [`fill`], where a part takes some of the values only.
pub(super) fn part(template: &str, values: &Values) -> Result<Text, PromptError> {
    expand(template, values, &mut BTreeSet::new(), 0)
}

fn expand<'a>(
    template: &str,
    values: &'a Values,
    used: &mut BTreeSet<&'a str>,
    depth: usize,
) -> Result<Text, PromptError> {
    let unfilled = |hole: &str| PromptError::Unfilled { template: template.to_owned(), hole: hole.to_owned() };
    let mut rest = set::template(template).ok_or_else(|| unfilled(template))?;
    let mut out = Text::default();
    while let Some((before, after)) = rest.split_once("{{") {
        let (hole, after) = after.split_once("}}").ok_or_else(|| unfilled("that is not closed"))?;
        out.sent.push_str(before);
        out.stored.push_str(before);
        let inner;
        let value = if hole.starts_with("parts/") {
            if depth > 8 {
                return Err(unfilled(hole));
            }
            inner = expand(hole, values, used, depth + 1)?;
            &inner
        } else {
            let (name, value) = values.get_key_value(hole).ok_or_else(|| unfilled(hole))?;
            used.insert(name);
            value
        };
        out.sent.push_str(value.sent.trim_end_matches('\n'));
        out.stored.push_str(value.stored.trim_end_matches('\n'));
        rest = after;
    }
    out.sent.push_str(rest);
    out.stored.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(names: &[&'static str]) -> Values {
        names.iter().map(|name| (*name, Text::from("{{not a hole}}"))).collect()
    }

    #[test]
    fn a_hole_without_a_value_and_a_value_without_a_hole_are_errors() {
        let unfilled = fill("parts/tried", &values(&[])).expect_err("it has a hole").to_string();
        assert!(unfilled.contains("parts/tried") && unfilled.contains("rounds"), "{unfilled}");
        let unknown = fill("parts/tried", &values(&["rounds", "dollars"])).expect_err("no such hole").to_string();
        assert!(unknown.contains("dollars"), "{unknown}");
        assert!(fill("parts/nothing", &values(&[])).is_err());
    }

    #[test]
    fn what_looks_like_a_hole_in_a_value_stays() {
        let filled = fill("parts/tried", &values(&["rounds"])).expect("it is filled");
        assert!(filled.sent.contains("{{not a hole}}"));
    }
}
