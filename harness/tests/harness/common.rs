//! What the harness's own tests share: sides whose reference is the real Python counter, and places to keep traces.

use lockstep_core::{Files, Opened, Options};
use lockstep_harness::manifest::{Configuration, InstructionsTable, Manifest, ToleranceMode};
use lockstep_harness::pair::Pair;
use lockstep_harness::reference::{Reference, find_tools, prepare};
use lockstep_harness::side::{CommandLine, Local, LogFile, Process, Side, SideError, Terms};
use lockstep_harness::sides::{Sides, open_pair};
use lockstep_harness::verify::{Plan, Verification, verify};
use lockstep_harness::watch::{Silent, Stop};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The clone.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("harness/ is in the clone").to_owned()
}

/// The manifest of an environment.
pub fn manifest(environment: &str) -> Manifest {
    Manifest::read(&root().join("envs").join(environment)).expect("the manifest is valid")
}

/// How the real reference of an environment is started.
pub fn reference_command(environment: &str, adapter: Option<&str>) -> CommandLine {
    let root = root();
    let reference = Reference::read(&root.join("references").join(environment), &root.join("references/sdk"))
        .expect("the reference is valid");
    prepare(&reference, adapter, &find_tools(None), &mut Silent).expect("the reference can be prepared").command
}

/// The opener of a backend.
pub type Opener = fn(Options, &Files, usize) -> Result<Opened, String>;

/// A reference in a process, a backend in this one.
pub struct Mixed {
    /// How the reference is started.
    pub reference: CommandLine,
    /// The backend.
    pub backend: Opener,
    /// How long a request may take.
    pub deadline: Duration,
}

impl Sides for Mixed {
    fn reference(&self, configuration: Arc<Configuration>, terms: Terms) -> Result<Side, SideError> {
        let log =
            LogFile::create(&std::env::temp_dir().join("lockstep-test-logs"), "reference").expect("a log can be made");
        let process = Process::start("reference", self.reference.clone(), log)?;
        Side::connect("reference", Box::new(process), configuration, terms)
    }

    fn backend(&self, name: &str, configuration: Arc<Configuration>, terms: Terms) -> Result<Side, SideError> {
        Side::connect(name, Local::boxed(name, self.backend), configuration, terms)
    }

    /// In one process there is no environment to set: the set that is asked for stands in [`ASKED_SET`] while it is opened.
    fn backend_with(
        &self,
        name: &str,
        configuration: Arc<Configuration>,
        terms: Terms,
        variables: &[(String, String)],
    ) -> Result<Side, SideError> {
        let asked = variables.first().map(|(_, value)| value.clone()).unwrap_or_default();
        ASKED_SET.with(|set| set.replace(asked));
        let opened = self.backend(name, configuration, terms);
        ASKED_SET.with(|set| set.take());
        opened
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }
}

thread_local! {
    /// The instruction set that a planted backend is asked for.
    pub static ASKED_SET: std::cell::RefCell<String> = const { std::cell::RefCell::new(String::new()) };
}

/// Verifies a backend against the real reference in one tier.
pub fn verify_planted(environment: &str, backend: Opener, configuration: &str, tier: &str) -> Verification {
    let mut manifest = manifest(environment);
    // What a planted backend with several instruction sets would say of itself.
    let sets = InstructionsTable { variable: "PLANTED_SET".into(), names: vec!["plain".into(), "wide".into()] };
    manifest.file.backends.get_mut("rust").expect("it is there").instructions = Some(sets);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let sides = Mixed { reference: reference_command(environment, None), backend, deadline: Duration::from_secs(60) };
    let mut plan = Plan::new("rust", 7);
    plan.configurations = vec![configuration.to_owned()];
    plan.tiers = vec![tier.to_owned()];
    plan.rollout_steps = Some(if environment == "pong" { 1_000_000 } else { 20_000 });
    plan.traces = Some(folder.path().to_owned());
    let result = verify(&manifest, &plan, &sides, &mut Silent, &Stop::default()).expect("the reference works");
    for finding in result.reports.iter().flat_map(|report| &report.findings) {
        assert!(finding.kept.as_ref().is_ok_and(|path| path.is_file()), "the finding was not kept");
    }
    result
}

/// The real reference and a backend, opened.
pub fn opened_pair(environment: &str, backend: Opener, configuration: &str) -> Pair {
    let configuration = Arc::new(manifest(environment).configuration(configuration).expect("it is there").clone());
    let sides = Mixed { reference: reference_command(environment, None), backend, deadline: Duration::from_secs(60) };
    open_pair(&sides, "rust", &configuration, 1, "fuzz", ToleranceMode::FreeRunning).expect("both sides open")
}
