//! The model against the one that MuJoCo compiles: every constant is the same, and every part of it is looked at.
//!
//! Each mutant is the right rules with one thing of the model changed, as somebody might get it wrong. The tier rollout of
//! the equivalence suite must find each of them, and nothing in the model as it is.

use libtest_mimic::{Arguments, Failed, Trial};
use lockstep_core::{
    Draws, Files, Mask, Opened, Options, Out, Outcome, Reader, Refusal, Regions, Rules, Shape, Start, WorldError,
    Writer,
};
use lockstep_env_half_cheetah::model::Model;
use lockstep_env_half_cheetah::{HalfCheetah, State, World, constants};
use lockstep_harness::manifest::{Configuration, Manifest};
use lockstep_harness::reference::{PrepareError, Prepared, Reference, find_tools, prepare};
use lockstep_harness::side::{CommandLine, Local, LogFile, Process, Side, SideError, Terms};
use lockstep_harness::sides::Sides;
use lockstep_harness::verify::{Plan, verify};
use lockstep_harness::watch::{Silent, Stop};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;

/// A part of the model that is got wrong.
type Change = fn(&mut Model);

/// The right rules on a model with the change of this index.
struct Mutant<const INDEX: usize>;

const MUTANTS: [(&str, Change, Opener); 8] = [
    ("a_missing_clamp_of_the_smallest_impedance", |model| model.impedance_min = 0.0, Opened::scalar::<Mutant<0>>),
    ("two_rows_of_a_contact_instead_of_four", |model| model.straight_rows = 0.0, Opened::scalar::<Mutant<1>>),
    ("dampers_that_are_explicit", |model| model.implicit = [0.0; 6], Opened::scalar::<Mutant<2>>),
    ("dropped_armature", |model| model.armature = [0.0; 6], Opened::scalar::<Mutant<3>>),
    ("friction_of_one_half", |model| model.friction = 0.5, Opened::scalar::<Mutant<4>>),
    ("gravity_of_9_8", |model| model.gravity = 9.8, Opened::scalar::<Mutant<5>>),
    ("swapped_offsets_of_the_hips", |model| model.offset.swap(1, 4), Opened::scalar::<Mutant<6>>),
    ("refsafe_with_the_time_of_a_whole_step", refsafe_of_a_step, Opened::scalar::<Mutant<7>>),
];

type Opener = fn(Options, &Files, usize) -> Result<Opened, String>;

/// The time constant is at least twice the timestep; here twice that of five substeps.
fn refsafe_of_a_step(model: &mut Model) {
    let time = 2.0 * 5.0 * model.timestep;
    let most = constants::IMPEDANCE_MAX;
    model.reference_stiffness = 1.0 / (most * most * time * time);
    model.reference_damping = 2.0 / (most * time);
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    let prepared = match prepare(&reference(), None, &find_tools(None), &mut Silent) {
        Err(PrepareError::Step { output, unavailable: true, .. }) => {
            let said = output.lines().find_map(|line| line.strip_prefix("error: "));
            let reason = said.unwrap_or("the reference can't be had on this machine");
            trials.push(Trial::test(format!("model ({reason})"), || Ok(())).with_ignored_flag(true));
            return libtest_mimic::run(&arguments, trials).exit_code();
        }
        other => Arc::new(other.expect("the reference can be prepared")),
    };
    let kept = prepared.clone();
    trials.push(Trial::test("every_constant_is_that_of_the_compiled_model", move || constants_agree(&kept)));
    let kept = prepared.clone();
    trials.push(Trial::test("the_model_as_it_is_agrees", move || {
        let found = differences(&kept, Opened::scalar::<HalfCheetah>);
        if found.is_empty() { Ok(()) } else { Err(found.join("\n").into()) }
    }));
    for (name, _, opener) in MUTANTS {
        let prepared = prepared.clone();
        trials.push(Trial::test(format!("the_suite_finds_{name}"), move || {
            let found = differences(&prepared, opener);
            if found.is_empty() { Err("the tier rollout misses it".into()) } else { Ok(()) }
        }));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn reference() -> Reference {
    let root = root();
    Reference::read(&root.join("references/half_cheetah"), &root.join("references/sdk")).expect("it is valid")
}

/// The real reference, and a backend in this process.
struct Mixed {
    reference: CommandLine,
    backend: Opener,
}

impl Sides for Mixed {
    fn reference(&self, configuration: Arc<Configuration>, terms: Terms) -> Result<Side, SideError> {
        let log = LogFile::create(&std::env::temp_dir().join("lockstep-logs"), "reference").expect("a log can be made");
        Side::connect(
            "reference",
            Box::new(Process::start("reference", self.reference.clone(), log)?),
            configuration,
            terms,
        )
    }

    fn backend(&self, name: &str, configuration: Arc<Configuration>, terms: Terms) -> Result<Side, SideError> {
        Side::connect(name, Local::boxed(name, self.backend), configuration, terms)
    }

    fn setting(&self) -> &str {
        "tight"
    }
}

/// What the tier rollout says of a backend, over single substeps.
fn differences(prepared: &Prepared, backend: Opener) -> Vec<String> {
    let manifest = Manifest::read(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("the manifest is valid");
    let folder = tempfile::tempdir().expect("a folder can be made");
    let mut plan = Plan::new("rust", 7);
    plan.configurations = vec!["substep".into()];
    plan.tiers = vec!["rollout".into()];
    plan.rollout_steps = Some(2_048);
    plan.traces = Some(folder.path().to_owned());
    let sides = Mixed { reference: prepared.command.clone(), backend };
    let result = verify(&manifest, &plan, &sides, &mut Silent, &Stop::default()).expect("the reference works");
    result.failures()
}

fn constants_agree(prepared: &Prepared) -> Result<(), Failed> {
    let script = root().join("references/half_cheetah/constants.py");
    let mut command = Command::new(&prepared.command.argv[0]);
    command.arg(script).arg("check").envs(prepared.command.variables.iter().map(|(name, text)| (name, text)));
    command.current_dir(std::env::temp_dir());
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let theirs: Value = serde_json::from_slice(&output.stdout).map_err(|error| format!("{error}: {said}"))?;
    let ours = committed();
    let theirs = theirs.as_object().ok_or("constants.py prints no object")?;
    if let Some(name) = ours.keys().find(|name| !theirs.contains_key(*name)) {
        return Err(format!("{name} is no constant of MuJoCo's model").into());
    }
    for (name, value) in theirs {
        let ours = ours.get(name).map(numbers).unwrap_or_default();
        if ours != numbers(value) {
            return Err(format!("{name} is {ours:?} in constants.rs, and {value} in MuJoCo's model").into());
        }
    }
    Ok(())
}

/// All numbers in a value, in order; text is read as a number.
fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        Value::String(text) => vec![text.parse().unwrap_or(f64::NAN)],
        other => vec![other.as_f64().unwrap_or(f64::NAN)],
    }
}

/// What `constants.rs` holds.
fn committed() -> Map<String, Value> {
    macro_rules! table {
        ($($name:ident)*) => { Map::from_iter([$((stringify!($name).to_owned(), json!(constants::$name))),*]) };
    }
    table!(TIMESTEP GRAVITY TORSO_HEIGHT CENTRE OFFSET MASS SUBTREE_MASS INERTIA POINT POINT_BODY RADIUS FRICTION
        STIFFNESS DAMPING ARMATURE RANGE GEAR JOINT_WEIGHT BODY_WEIGHT IMPEDANCE_MIN IMPEDANCE_MAX CONTACT_WIDTH
        LIMIT_WIDTH REFERENCE_STIFFNESS REFERENCE_DAMPING)
}

impl<const INDEX: usize> Rules for Mutant<INDEX> {
    const NAME: &'static str = HalfCheetah::NAME;
    const AGENTS: usize = HalfCheetah::AGENTS;
    const MANIFEST: &'static str = HalfCheetah::MANIFEST;
    type World = World;
    type State = State;
    type Reward = f64;

    fn world(options: Options, files: &Files) -> Result<World, WorldError> {
        let mut world = HalfCheetah::world(options, files)?;
        MUTANTS[INDEX].1(&mut world.model);
        Ok(world)
    }
    fn shape(world: &World) -> Shape {
        HalfCheetah::shape(world)
    }
    fn reset<D: Draws, O: Out<f64>>(
        world: &World,
        state: &mut State,
        regions: &mut impl Regions,
        start: Start,
        draws: &mut D,
        out: &mut O,
    ) {
        HalfCheetah::reset(world, state, regions, start, draws, out);
    }
    fn deciders(world: &World, state: &State) -> u32 {
        HalfCheetah::deciders(world, state)
    }
    fn legal(world: &World, state: &State, regions: &impl Regions, agent: usize, mask: &mut Mask<'_>) {
        HalfCheetah::legal(world, state, regions, agent, mask);
    }
    fn step<D: Draws, O: Out<f64>>(
        world: &World,
        state: &mut State,
        regions: &mut impl Regions,
        action: &[u32],
        draws: &mut D,
        out: &mut O,
    ) -> Outcome {
        HalfCheetah::step(world, state, regions, action, draws, out)
    }
    fn observe(world: &World, state: &State, regions: &impl Regions, agent: usize, out: &mut Writer<'_>) {
        HalfCheetah::observe(world, state, regions, agent, out);
    }
    fn canonical(world: &World, state: &State, out: &mut Writer<'_>) {
        HalfCheetah::canonical(world, state, out);
    }
    fn inject(world: &World, state: &mut State, input: &mut Reader<'_>) -> Result<(), Refusal> {
        HalfCheetah::inject(world, state, input)
    }
}
