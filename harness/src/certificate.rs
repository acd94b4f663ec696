//! The certificate: what was verified, on which source, with which counts, and what was not.
//!
//! It rests on a live reference. Its seeds are sealed: they come from the hash of the candidate and a salt that is drawn
//! only when that hash stands, so that no candidate can have been fitted to them; every attempt is counted.

use crate::keep::write_whole;
use crate::manifest::{Manifest, ToleranceTable};
use crate::reference::files_below;
use crate::stats::rate_bound;
use crate::tiers::Counts;
use crate::verify::Verification;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The version of the format.
pub const FORMAT: &str = "lockstep/certificate/1";

/// The file of a backend's certificate, in the environment's folder.
pub fn file_name(backend: &str) -> String {
    if backend == "rust" { "certificate.json".into() } else { format!("certificate.{backend}.json") }
}

/// What was verified.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// `lockstep/certificate/1`.
    pub format: String,
    /// The environment.
    pub environment: String,
    /// The backend.
    pub backend: String,
    /// The day, `YYYY-MM-DD`.
    pub issued: String,
    /// What was verified: the source and all that could change what it does.
    pub source: Source,
    /// What it was verified against.
    pub reference: ReferenceRow,
    /// One row per configuration.
    pub configurations: Vec<ConfigurationRow>,
    /// Fields that were compared bit for bit.
    pub fields_compared: Vec<String>,
    /// Fields that were compared with a tolerance, with the largest share of it that was used.
    pub fields_tolerated: Vec<ToleratedRow>,
    /// Fields that were not compared.
    pub fields_ignored: Vec<String>,
    /// Known divergences that were met, by name.
    pub known_divergences: BTreeMap<String, u64>,
    /// Tiers that did not run, and why.
    pub tiers_not_run: BTreeMap<String, String>,
    /// The sealed seeds.
    pub sealed: Sealed,
    /// Who wrote each file.
    pub provenance: BTreeMap<String, String>,
}

/// The source and all that could change what it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Over everything below: the candidate's hash.
    pub hash: String,
    /// Over the environment's source files.
    pub rules: String,
    /// Over `lockstep-core`, `lockstep.cuh` and what builds it.
    pub core: String,
    /// What compiled it.
    pub compiler: String,
    /// The build profile and the flags that the user added.
    pub flags: String,
}

/// What it was verified against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReferenceRow {
    /// Its name.
    pub name: String,
    /// What is pinned.
    pub version: String,
    /// The adapter.
    pub adapter: String,
    /// Always `live`: without a live reference there is a replay report, no certificate.
    pub kind: String,
}

/// What was done in one configuration. Counts are kept apart and never summed.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigurationRow {
    /// Its name.
    pub name: String,
    /// Its hash.
    pub hash: String,
    /// How randomness was compared.
    pub draws: String,
    /// Steps and traces.
    pub counts: Counts,
    /// With 95 % confidence, whenever one stops: at most this share of such traces diverges.
    pub trace_divergence_bound_95: f64,
    /// Feature buckets: traces that reached them, and their own bound.
    pub buckets: BTreeMap<String, BucketRow>,
    /// Contract claims that hold, fail, or could not be checked.
    pub checks: ChecksRow,
}

/// One feature bucket.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BucketRow {
    /// Traces that reached it.
    pub traces: u64,
    /// What the manifest asks for.
    pub minimum: u64,
    /// As for the whole.
    pub trace_divergence_bound_95: f64,
}

/// Contract claims, by outcome.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChecksRow {
    /// They hold.
    pub passed: u64,
    /// They could not be checked; why.
    pub skipped: Vec<String>,
}

/// A field that was compared with a tolerance.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToleratedRow {
    /// The manifest's row.
    pub tolerance: ToleranceTable,
    /// The largest share of the bound that was used.
    pub used: f64,
}

/// The sealed seeds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    /// Drawn after the candidate's hash stood.
    pub salt: String,
    /// The first 8 bytes of SHA-256 over candidate hash and salt.
    pub seed: String,
    /// Sealed attempts on this environment and backend so far, this one included.
    pub attempts: u64,
}

/// One line of `sealed.jsonl`.
#[derive(Debug, Serialize, Deserialize)]
struct Attempt {
    day: String,
    backend: String,
    candidate: String,
    salt: String,
    verdict: String,
}

/// Hashes what stands behind a backend.
///
/// # Errors
/// If the source can't be read.
pub fn hash_source(manifest: &Manifest, core: &Path) -> io::Result<Source> {
    let rules = hash_files(&manifest.folder, &[manifest.folder.join("src"), manifest.folder.join("cuda")])?;
    source(rules, core, &core.join("../../Cargo.toml"))
}

/// Hashes what stands behind a candidate: the files that a model wrote, by their path in the environment's folder.
/// What surrounds them is generated from the manifest; `workspace` is the `Cargo.toml` that holds the build profile.
///
/// # Errors
/// If the source of `core` can't be read.
pub fn hash_candidate(files: &BTreeMap<String, String>, core: &Path, workspace: &Path) -> io::Result<Source> {
    let mut state = Sha256::new();
    // In the order in which `hash_source` comes by them.
    let (first, then): (Vec<_>, Vec<_>) = files.iter().partition(|(path, _)| path.starts_with("src/"));
    for (path, text) in first.into_iter().chain(then) {
        hash_file(&mut state, path.as_bytes(), text.as_bytes());
    }
    source(hex(&state.finalize()), core, workspace)
}

fn source(rules: String, core: &Path, workspace: &Path) -> io::Result<Source> {
    let core = hash_files(core, &[core.join("src"), core.join("../cuda"), core.join("../build/src")])?;
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let compiler = Command::new(rustc).arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    let compiler = String::from_utf8_lossy(&compiler).trim().to_owned();
    let profile = std::fs::read_to_string(workspace).ok().and_then(|text| {
        let table: toml::Table = toml::from_str(&text).ok()?;
        Some(table.get("profile")?.get("dev")?.to_string())
    });
    let flags =
        format!("dev {} RUSTFLAGS={}", profile.unwrap_or_default(), std::env::var("RUSTFLAGS").unwrap_or_default());
    let hash = hex(&Sha256::digest(format!("{rules}\n{core}\n{compiler}\n{flags}")));
    Ok(Source { hash, rules, core, compiler, flags })
}

fn hash_files(base: &Path, folders: &[PathBuf]) -> io::Result<String> {
    let mut state = Sha256::new();
    for folder in folders.iter().filter(|folder| folder.is_dir()) {
        for path in files_below(folder)? {
            let name = path.strip_prefix(base).unwrap_or(&path).as_os_str().as_encoded_bytes();
            hash_file(&mut state, name, &std::fs::read(&path)?);
        }
    }
    Ok(hex(&state.finalize()))
}

fn hash_file(state: &mut Sha256, name: &[u8], bytes: &[u8]) {
    state.update(name);
    state.update([0]);
    state.update((bytes.len() as u64).to_le_bytes());
    state.update(bytes);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Draws a salt for a candidate whose hash stands, and derives the seed.
///
/// # Errors
/// If the system has no randomness.
pub fn seal(source: &Source) -> io::Result<(String, u64)> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|error| io::Error::other(error.to_string()))?;
    let salt = hex(&salt);
    let seed = sealed_seed(&source.hash, &salt);
    Ok((salt, seed))
}

/// The seed that belongs to a candidate and a salt.
pub fn sealed_seed(candidate: &str, salt: &str) -> u64 {
    let digest = Sha256::digest(format!("{candidate}{salt}").as_bytes());
    u64::from_be_bytes(digest[..8].try_into().expect("a digest has 32 bytes"))
}

/// Appends an attempt to `sealed.jsonl` and returns how many there are for this backend.
///
/// # Errors
/// If the file can't be written.
pub fn count_attempt(
    folder: &Path,
    backend: &str,
    source: &Source,
    salt: &str,
    verdict: &str,
    day: &str,
) -> io::Result<u64> {
    let path = folder.join("sealed.jsonl");
    let mut text = std::fs::read_to_string(&path).unwrap_or_default();
    let attempt = Attempt {
        day: day.to_owned(),
        backend: backend.to_owned(),
        candidate: source.hash.clone(),
        salt: salt.to_owned(),
        verdict: verdict.to_owned(),
    };
    text += &(serde_json::to_string(&attempt).map_err(io::Error::other)? + "\n");
    write_whole(&path, &text)?;
    let attempts = text.lines().filter_map(|line| serde_json::from_str::<Attempt>(line).ok());
    Ok(attempts.filter(|attempt| attempt.backend == backend).count() as u64)
}

impl Certificate {
    /// What a verification on sealed seeds amounts to.
    pub fn of(
        manifest: &Manifest,
        verification: &Verification,
        source: Source,
        reference: ReferenceRow,
        sealed: Sealed,
        day: &str,
    ) -> Self {
        let rows = verification.configurations.iter().map(|configuration| {
            let counts = verification.counts(Some(&configuration.name));
            let reports = || verification.reports.iter().filter(|report| report.configuration == configuration.name);
            let reached = |name: &str| reports().filter_map(|report| report.buckets.get(name)).sum::<u64>();
            let buckets = manifest.file.bucket.iter().map(|bucket| {
                let traces = reached(&bucket.name);
                let row = BucketRow { traces, minimum: bucket.minimum, trace_divergence_bound_95: rate_bound(traces) };
                (bucket.name.clone(), row)
            });
            let mut checks = ChecksRow::default();
            for check in reports().flat_map(|report| &report.checks) {
                match &check.outcome {
                    crate::tiers::CheckOutcome::Passed => checks.passed += 1,
                    crate::tiers::CheckOutcome::Skipped(why) => {
                        checks.skipped.push(format!("{}: {} ({why})", check.side, check.claim));
                    }
                    crate::tiers::CheckOutcome::Failed(_) => {}
                }
            }
            ConfigurationRow {
                name: configuration.name.clone(),
                hash: configuration.hash.clone(),
                draws: configuration.level.name().to_owned(),
                counts,
                trace_divergence_bound_95: rate_bound(counts.traces),
                buckets: buckets.collect(),
                checks,
            }
        });
        let tolerated: Vec<&ToleranceTable> =
            manifest.file.tolerance.iter().filter(|row| row.backend == verification.backend).collect();
        let mut used: BTreeMap<String, f64> = BTreeMap::new();
        for (field, share) in verification.reports.iter().flat_map(|report| &report.tolerances_used) {
            let entry = used.entry(field.clone()).or_default();
            *entry = entry.max(*share);
        }
        let names = manifest.file.canonical.iter().chain(&manifest.file.observation).map(|field| field.name.clone());
        let others = ["draws", "deciders", "mask", "reward", "terminated", "truncated"].map(str::to_owned);
        let known = verification.reports.iter().flat_map(|report| &report.known);
        Certificate {
            format: FORMAT.into(),
            environment: verification.environment.clone(),
            backend: verification.backend.clone(),
            issued: day.to_owned(),
            source,
            reference,
            configurations: rows.collect(),
            fields_compared: names
                .chain(others)
                .filter(|name| !tolerated.iter().any(|row| row.field == *name))
                .collect(),
            fields_tolerated: tolerated
                .iter()
                .map(|row| ToleratedRow {
                    tolerance: (*row).clone(),
                    used: used.get(&row.field).copied().unwrap_or_default(),
                })
                .collect(),
            fields_ignored: Vec::new(),
            known_divergences: known.map(|(name, count)| (name.clone(), *count)).collect(),
            tiers_not_run: verification.not_run.iter().cloned().collect(),
            sealed,
            provenance: manifest
                .file
                .backends
                .get(&verification.backend)
                .into_iter()
                .flat_map(|backend| &backend.files)
                .map(|file| (file.clone(), "by hand".to_owned()))
                .collect(),
        }
    }

    /// Reads a certificate.
    ///
    /// # Errors
    /// If it is missing, not valid, or of another version.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let certificate: Certificate =
            serde_json::from_str(&text).map_err(|error| format!("{} is not valid: {error}", path.display()))?;
        if certificate.format != FORMAT {
            return Err(format!(
                "{} has the format {:?}, this lockstep reads {FORMAT:?}",
                path.display(),
                certificate.format
            ));
        }
        Ok(certificate)
    }

    /// Writes it.
    ///
    /// # Errors
    /// If the folder can't be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        write_whole(path, &(serde_json::to_string_pretty(self).map_err(io::Error::other)? + "\n"))
    }

    /// Why it no longer holds for what is there now; empty if it does.
    pub fn stale(&self, manifest: &Manifest, source: &Source, reference_version: &str) -> Vec<String> {
        let mut reasons = Vec::new();
        for (what, then, now) in [
            ("the rules", &self.source.rules, &source.rules),
            ("lockstep-core", &self.source.core, &source.core),
            ("the compiler", &self.source.compiler, &source.compiler),
            ("the build flags", &self.source.flags, &source.flags),
        ] {
            if then != now {
                reasons.push(format!("{what} changed since {}", self.issued));
            }
        }
        if self.reference.version != reference_version {
            reasons.push(format!("the reference is {reference_version} now, it was {}", self.reference.version));
        }
        for row in &self.configurations {
            match manifest.configuration(&row.name) {
                Ok(configuration) if configuration.hash == row.hash => {}
                Ok(_) => reasons.push(format!("configuration {} changed since {}", row.name, self.issued)),
                Err(_) => reasons.push(format!("configuration {} is gone", row.name)),
            }
        }
        let playable = manifest.file.backends.get(&self.backend).and_then(|table| table.configurations.clone());
        let playable = |name: &String| playable.as_ref().is_none_or(|names| names.contains(name));
        for configuration in manifest.configurations().iter().filter(|row| playable(&row.name)) {
            if !self.configurations.iter().any(|row| row.name == configuration.name) {
                reasons.push(format!("configuration {} was not verified", configuration.name));
            }
        }
        if sealed_seed(&self.source.hash, &self.sealed.salt) != parse_seed(&self.sealed.seed) {
            reasons.push("its seed is not that of its candidate and salt".into());
        }
        reasons
    }
}

fn parse_seed(text: &str) -> u64 {
    text.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or_default()
}

/// Today, `YYYY-MM-DD`, in UTC.
pub fn today() -> String {
    jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date().to_string()
}
