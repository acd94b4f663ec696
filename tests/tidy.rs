//! The repository lints itself: what every environment has, what tables and manifests say of each other, what is stale.

use lockstep_harness::certificate::{Certificate, file_name, hash_source};
use lockstep_harness::manifest::Manifest;
use std::path::{Path, PathBuf};

const HEADINGS: [&str; 13] = [
    "Specs",
    "Observation",
    "Action",
    "Rewards",
    "Termination",
    "Draws",
    "Grains",
    "Configurations",
    "Quirks",
    "Fields",
    "Reference",
    "Backends",
    "Version history",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every environment of the tree.
fn environments() -> Vec<Manifest> {
    let entries = std::fs::read_dir(root().join("envs")).expect("envs/ is there");
    let folders = entries.map(|entry| entry.expect("it can be read").path()).filter(|path| path.is_dir());
    let manifests: Vec<Manifest> = folders
        .map(|folder| Manifest::read(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())))
        .collect();
    assert!(manifests.len() >= 2, "counter and pong at least");
    manifests
}

/// The first cells of the table rows below a heading, without the code marks.
fn first_cells(text: &str, heading: &str) -> Vec<String> {
    let section = text.split(&format!("\n## {heading}\n")).nth(1).unwrap_or_default();
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.filter_map(|row| Some(row.split('`').nth(1)?.to_owned())).collect()
}

#[test]
fn every_environment_has_its_files() {
    for manifest in environments() {
        for file in ["README.md", "Cargo.toml", "src/rules.rs", "src/world.rs", "src/state.rs", "tests/equivalence.rs"]
        {
            let path = manifest.folder.join(file);
            assert!(path.is_file(), "{} is missing", path.display());
        }
        let reference = root().join("references").join(&manifest.file.reference);
        for file in ["reference.toml", "README.md"] {
            assert!(reference.join(file).is_file(), "{} has no {file}", reference.display());
        }
        for (name, backend) in &manifest.file.backends {
            for file in &backend.files {
                assert!(manifest.folder.join(file).is_file(), "backend {name} lists {file}, which is not there");
            }
        }
    }
}

#[test]
fn every_environment_page_has_the_same_headings_in_the_same_order() {
    for manifest in environments() {
        let text = read(&manifest.folder.join("README.md"));
        let found: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("## "))
            .filter(|heading| HEADINGS.contains(heading))
            .collect();
        assert_eq!(found, HEADINGS, "{}", manifest.file.name);
    }
}

#[test]
fn every_quirk_is_in_the_manifest_the_rules_the_page_and_a_test() {
    for manifest in environments() {
        let (rules, tests) =
            (read(&manifest.folder.join("src/rules.rs")), read(&manifest.folder.join("tests/quirks.rs")));
        let page = first_cells(&read(&manifest.folder.join("README.md")), "Quirks");
        let mut listed: Vec<String> = manifest.file.quirk.iter().map(|quirk| quirk.name.clone()).collect();
        for quirk in &listed {
            assert!(
                rules.contains(&format!(", {quirk})")),
                "{quirk} is not marked in the rules of {}",
                manifest.file.name
            );
            assert!(
                tests.contains(&format!("fn {quirk}()")),
                "{quirk} of {} has no test of its name",
                manifest.file.name
            );
        }
        let marked = rules.matches("QUIRK(").count();
        assert_eq!(marked, listed.len(), "{} marks and lists different numbers of quirks", manifest.file.name);
        let mut shown = page;
        shown.sort();
        listed.sort();
        assert_eq!(shown, listed, "the page of {} and its manifest list different quirks", manifest.file.name);
    }
}

#[test]
fn every_field_and_configuration_is_on_the_page() {
    for manifest in environments() {
        let text = read(&manifest.folder.join("README.md"));
        let (fields, configurations) = (first_cells(&text, "Fields"), first_cells(&text, "Configurations"));
        for field in manifest.file.canonical.iter().map(|field| &field.name) {
            assert!(fields.contains(field), "the page of {} lacks the field {field}", manifest.file.name);
        }
        for name in manifest.file.configurations.keys() {
            assert!(configurations.contains(name), "the page of {} lacks the configuration {name}", manifest.file.name);
        }
    }
}

#[test]
fn every_certificate_holds() {
    for manifest in environments() {
        let name = &manifest.file.name;
        assert!(
            manifest.folder.join("certificate.json").is_file(),
            "{name} has no certificate: lockstep certify {name}"
        );
        for backend in manifest.file.backends.keys() {
            let path = manifest.folder.join(file_name(backend));
            if !path.is_file() {
                continue;
            }
            let certificate = Certificate::read(&path).unwrap_or_else(|error| panic!("{error}"));
            let source = hash_source(&manifest, &root().join("harness/core")).expect("the source can be read");
            let mut stale = certificate.stale(&manifest, &source, &certificate.reference.version);
            // Another compiler is another machine's matter; everything else is ours.
            stale.retain(|reason| !reason.starts_with("the compiler") && !reason.starts_with("the build flags"));
            let renew = format!("lockstep certify {name} --backend {backend}");
            assert!(stale.is_empty(), "the certificate of {name} {backend} is stale: {stale:?}; run: {renew}");
        }
    }
}

#[test]
fn no_file_names_the_machine_that_it_was_written_on() {
    let output = std::process::Command::new("git").args(["ls-files"]).current_dir(root()).output();
    let output = output.expect("git is there");
    let files = String::from_utf8_lossy(&output.stdout).into_owned();
    let here = ["/wo", "rk/"].concat();
    for file in files.lines().filter(|file| !file.ends_with(".lock")) {
        let Ok(text) = std::fs::read_to_string(root().join(file)) else { continue };
        for (number, line) in text.lines().enumerate() {
            let inside = line.match_indices(&here).any(|(at, _)| {
                at == 0
                    || !line.as_bytes()[at - 1].is_ascii_alphanumeric() && !b"_.-}".contains(&line.as_bytes()[at - 1])
            });
            assert!(!inside, "{file}:{}: {line}", number + 1);
        }
    }
}

#[test]
fn the_kept_ptx_of_every_environment_was_made_from_its_source() {
    for manifest in environments() {
        let kept = lockstep_harness::cuda::kept(&manifest).expect("its CUDA source can be read");
        if let Some(lockstep_harness::cuda::Kept::Stale(why)) = kept {
            panic!("{why}");
        }
    }
}

#[test]
fn every_run_of_an_environment_that_is_held_out_is_marked_and_listed() {
    let page = read(&root().join("held_out/README.md"));
    let mut listed = page.lines().filter(|line| line.starts_with("| [")).count();
    for entry in std::fs::read_dir(root().join("held_out")).expect("held_out/ is there") {
        let folder = entry.expect("it can be read").path();
        let name = folder.file_name().expect("it has one").to_string_lossy().into_owned();
        for run in std::fs::read_dir(folder.join("recordings")).into_iter().flatten() {
            let run = run.expect("it can be read");
            let run_name = run.file_name().to_string_lossy().into_owned();
            let ledger = read(&run.path().join("ledger.jsonl"));
            let first: serde_json::Value =
                serde_json::from_str(ledger.lines().next().unwrap_or_default()).expect("JSON");
            let started = &first["entry"]["event"];
            assert_eq!(started["held_out"], true, "{name} {run_name}");
            assert_eq!((&started["environment"], &started["run"]), (&name.as_str().into(), &run_name.as_str().into()));
            let row = format!("| [{name}]({name}) |");
            let of_run = |line: &&str| line.starts_with(&row) && line.contains(&format!("| {run_name} |"));
            let row = page.lines().find(of_run);
            let row = row.unwrap_or_else(|| panic!("held_out/README.md does not list run {run_name} of {name}"));
            let converged = ledger.lines().last().is_some_and(|line| line.contains(r#""kind":"finished""#));
            assert_eq!(row.contains("| converged"), converged, "{row}");
            listed -= 1;
        }
    }
    assert_eq!(listed, 0, "a run is listed that is not there");
}
