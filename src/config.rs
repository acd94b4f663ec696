//! Defaults for the options of verbs: `lockstep.toml` here or above, and variables `LOCKSTEP_*`.
//!
//! Nothing here knows any option by name. What a verb accepts is asked of its command line, and a default becomes the
//! argument that somebody could have typed, so a new option can be set in the file as soon as it exists.

use crate::exit::Failure;
use crate::project::ReferenceOptions;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, Args as _, Command, Parser};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// The file's name.
const FILE: &str = "lockstep.toml";
/// The section whose options every verb with a reference has.
const SHARED: &str = "reference";
/// The verb that must work wherever a shell starts, whatever the file says.
const COMPLETIONS: &str = "completions";

/// The arguments of this process: what was typed, then variables, then the file.
pub fn arguments<A: Parser>() -> Result<A, Failure> {
    let given: Vec<OsString> = std::env::args_os().collect();
    let command = A::command();
    let matches = command.clone().get_matches_from(&given);
    let Some((verb, typed)) = matches.subcommand().filter(|(verb, _)| *verb != COMPLETIONS) else {
        return Ok(A::parse_from(given));
    };
    let file = File::find()?;
    if let Some(file) = &file {
        file.check(&command)?;
    }
    let subcommand = command.find_subcommand(verb).expect("clap has matched it");
    let mut defaults = Vec::new();
    for option in options(subcommand) {
        if typed.value_source(option.get_id().as_str()) == Some(ValueSource::CommandLine) {
            continue;
        }
        let variable = variable(verb, option);
        let Some(default) = variable.map_or_else(|| file.as_ref()?.default(verb, option), Some) else { continue };
        let words = default.words(option)?;
        if let Err(error) = command.clone().try_get_matches_from(with(&given, verb, &words)) {
            return Err(default.wrong(&reason(&error)));
        }
        defaults.extend(words);
    }
    Ok(A::parse_from(with(&given, verb, &defaults)))
}

/// What was typed, with more words behind the verb.
fn with(given: &[OsString], verb: &str, words: &[OsString]) -> Vec<OsString> {
    let place = given.iter().skip(1).position(|word| word == verb).map_or(given.len(), |place| place + 2);
    [&given[..place], words, &given[place..]].concat()
}

/// The sentence of a clap error, without its advice.
fn reason(error: &clap::Error) -> String {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    first.strip_prefix("error: ").unwrap_or(first).to_owned()
}

/// The options of a verb that can have a default here.
fn options(verb: &Command) -> impl Iterator<Item = &Arg> {
    verb.get_arguments().filter(|argument| {
        let action = argument.get_action();
        argument.get_long().is_some() && matches!(action, ArgAction::Set | ArgAction::Append | ArgAction::SetTrue)
    })
}

/// The name of an option in the file.
fn key(option: &Arg) -> String {
    option.get_long().unwrap_or_default().replace('-', "_")
}

fn is_shared(key: &str) -> bool {
    ReferenceOptions::augment_args(Command::new(SHARED)).get_arguments().any(|option| self::key(option) == key)
}

/// A default, and where it stands.
struct Default {
    /// For messages: `lockstep.toml: [verify] steps`, or the variable.
    place: String,
    values: Vec<OsString>,
}

/// `LOCKSTEP_VERIFY_STEPS`; for what all verbs share, `LOCKSTEP_PYTHON` too. Empty is as good as absent.
fn variable(verb: &str, option: &Arg) -> Option<Default> {
    let key = key(option);
    let mut names = vec![format!("LOCKSTEP_{verb}_{key}")];
    if is_shared(&key) {
        names.push(format!("LOCKSTEP_{key}"));
    }
    names.into_iter().map(|name| name.to_uppercase().replace('-', "_")).find_map(|name| {
        let value = std::env::var_os(&name).filter(|value| !value.is_empty())?;
        let values = match (option.get_action(), value.to_str()) {
            (ArgAction::Append, Some(text)) => text.split(',').map(|item| item.trim().into()).collect(),
            _ => vec![value],
        };
        Some(Default { place: name, values })
    })
}

impl Default {
    /// As somebody would have typed it.
    fn words(&self, option: &Arg) -> Result<Vec<OsString>, Failure> {
        let flag = format!("--{}", option.get_long().unwrap_or_default());
        if matches!(option.get_action(), ArgAction::SetTrue) {
            return match self.values.first().and_then(|value| value.to_str()) {
                Some("true" | "1") => Ok(vec![flag.into()]),
                Some("false" | "0") => Ok(Vec::new()),
                _ => Err(self.wrong("it is neither true nor false")),
            };
        }
        if self.values.len() > 1 && !matches!(option.get_action(), ArgAction::Append) {
            return Err(self.wrong("it is a list, but the option takes one value"));
        }
        let word = |value: &OsString| {
            let mut word = OsString::from(format!("{flag}="));
            word.push(value);
            word
        };
        Ok(self.values.iter().map(word).collect())
    }

    fn wrong(&self, reason: &str) -> Failure {
        Failure::usage(format!("{}: {reason}", self.place))
    }
}

/// `lockstep.toml`, read.
struct File {
    path: PathBuf,
    table: toml::Table,
}

impl File {
    /// The nearest one, here or above.
    fn find() -> Result<Option<Self>, Failure> {
        let here = std::env::current_dir().unwrap_or_default();
        let Some(path) = here.ancestors().map(|folder| folder.join(FILE)).find(|path| path.is_file()) else {
            return Ok(None);
        };
        let text = std::fs::read_to_string(&path)
            .map_err(|error| Failure::usage(format!("{} can't be read: {error}", path.display())))?;
        let table = text
            .parse()
            .map_err(|error: toml::de::Error| Failure::usage(format!("{} is not TOML: {error}", path.display())))?;
        Ok(Some(File { path, table }))
    }

    /// Every section and key must be one that some verb has: a default with a typing error would be silently ignored.
    fn check(&self, command: &Command) -> Result<(), Failure> {
        let shared = ReferenceOptions::augment_args(Command::new(SHARED));
        let sections: Vec<&Command> = std::iter::once(&shared)
            .chain(command.get_subcommands().filter(|verb| options(verb).next().is_some()))
            .collect();
        for (section, keys) in &self.table {
            let Some(known) = sections.iter().find(|known| known.get_name() == section) else {
                let names: Vec<&str> = sections.iter().map(|known| known.get_name()).collect();
                return Err(self.unknown(
                    &format!("there is no section [{}]", section.escape_debug()),
                    &format!("there are {}", names.join(", ")),
                ));
            };
            let Some(keys) = keys.as_table() else {
                return Err(self.unknown(&format!("{section} is not a section"), &format!("write [{section}]")));
            };
            let names: Vec<String> = options(known).map(key).collect();
            if let Some(name) = keys.keys().find(|name| !names.contains(name)) {
                return Err(self
                    .unknown(&format!("[{section}] has no key {name:?}"), &format!("there are {}", names.join(", "))));
            }
            for (name, value) in keys {
                if values(value).is_none() {
                    let what = value.type_str();
                    return Err(self.unknown(
                        &format!("[{section}] {name} is of the type {what}"),
                        "a text, a number, true or false, or a list of these",
                    ));
                }
            }
        }
        Ok(())
    }

    fn unknown(&self, what: &str, known: &str) -> Failure {
        Failure::usage(format!("{}: {what}\n(hint: {known})", self.path.display()))
    }

    /// The verb's own section comes before the shared one.
    fn default(&self, verb: &str, option: &Arg) -> Option<Default> {
        let key = key(option);
        let sections = [Some(verb), Some(SHARED).filter(|_| is_shared(&key))];
        sections.into_iter().flatten().find_map(|section| {
            let mut values = values(self.table.get(section)?.get(&key)?)?;
            if option.get_value_parser().type_id() == std::any::TypeId::of::<PathBuf>() {
                values = values.iter().map(|value| self.path_from_here(&key, value)).collect();
            }
            Some(Default { place: format!("{}: [{section}] {key}", self.path.display()), values })
        })
    }

    /// A path in the file is seen from the file; a program without a folder is looked for on the PATH.
    fn path_from_here(&self, key: &str, value: &OsStr) -> OsString {
        let path = Path::new(value);
        let is_program = key == "python" && path.components().count() == 1;
        if is_program { value.to_owned() } else { self.path.with_file_name("").join(path).into_os_string() }
    }
}

/// One value or a list of them, as words.
fn values(value: &toml::Value) -> Option<Vec<OsString>> {
    let word = |value: &toml::Value| match value {
        toml::Value::String(text) => Some(OsString::from(text)),
        toml::Value::Integer(number) => Some(number.to_string().into()),
        toml::Value::Float(number) => Some(number.to_string().into()),
        toml::Value::Boolean(value) => Some(value.to_string().into()),
        _ => None,
    };
    match value {
        toml::Value::Array(items) => items.iter().map(word).collect(),
        one => Some(vec![word(one)?]),
    }
}
