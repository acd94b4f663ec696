//! The options of a configuration, read with names and ranges, so that a wrong one is refused with its name.

use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// Files that a world is built from (a ROM, a table), by the name that the manifest gives them.
pub type Files = BTreeMap<String, PathBuf>;

/// Why a world could not be built; a lower-case fragment that names the option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorldError(pub String);

impl std::fmt::Display for WorldError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WorldError {}

/// The options of one configuration. Each is taken once; [`Options::finish`] refuses what nobody asked for.
#[derive(Debug, Clone, Default)]
pub struct Options {
    values: Map<String, Value>,
}

impl Options {
    /// Options from the object in `hello`.
    pub fn new(values: Map<String, Value>) -> Self {
        Options { values }
    }

    /// A whole number in `range`, or `default` where it is absent.
    pub fn u32(&mut self, name: &str, default: u32, range: RangeInclusive<u32>) -> Result<u32, WorldError> {
        let Some(value) = self.values.remove(name) else { return Ok(default) };
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        number.filter(|number| range.contains(number)).ok_or_else(|| {
            WorldError(format!(
                "option {name} is {value}, not a whole number from {} to {}",
                range.start(),
                range.end()
            ))
        })
    }

    /// A finite f32 in `range`, or `default`.
    pub fn f32(&mut self, name: &str, default: f32, range: RangeInclusive<f32>) -> Result<f32, WorldError> {
        let Some(value) = self.values.remove(name) else { return Ok(default) };
        let number = value.as_f64().map(|number| number as f32);
        number.filter(|number| range.contains(number)).ok_or_else(|| {
            WorldError(format!("option {name} is {value}, not a number from {} to {}", range.start(), range.end()))
        })
    }

    /// A finite f64 in `range`, or `default`.
    pub fn f64(&mut self, name: &str, default: f64, range: RangeInclusive<f64>) -> Result<f64, WorldError> {
        let Some(value) = self.values.remove(name) else { return Ok(default) };
        value.as_f64().filter(|number| range.contains(number)).ok_or_else(|| {
            WorldError(format!("option {name} is {value}, not a number from {} to {}", range.start(), range.end()))
        })
    }

    /// True or false, or `default`.
    pub fn bool(&mut self, name: &str, default: bool) -> Result<bool, WorldError> {
        let Some(value) = self.values.remove(name) else { return Ok(default) };
        value.as_bool().ok_or_else(|| WorldError(format!("option {name} is {value}, not true or false")))
    }

    /// One of `choices` by its place, or the first where it is absent.
    pub fn choice(&mut self, name: &str, choices: &[&str]) -> Result<usize, WorldError> {
        let Some(value) = self.values.remove(name) else { return Ok(0) };
        let place = value.as_str().and_then(|text| choices.iter().position(|choice| *choice == text));
        place.ok_or_else(|| WorldError(format!("option {name} is {value}, not one of {}", choices.join(", "))))
    }

    /// Refuses options that were not taken.
    pub fn finish(self) -> Result<(), WorldError> {
        match self.values.keys().next() {
            None => Ok(()),
            Some(name) => Err(WorldError(format!("unknown option {name}"))),
        }
    }
}
