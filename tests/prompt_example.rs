//! The worked example of the prompts, compiled and played: its C, its Rust and its CUDA must give the same bits.
//!
//! A model takes what it reads there for right, so a slip in it would come back in every translation.

#[path = "../prompts/parts/example/src/cuda.rs"]
mod cuda;
#[path = "../prompts/parts/example/src/rules.rs"]
mod rules;
#[path = "../prompts/parts/example/src/state.rs"]
mod state;
#[path = "../prompts/parts/example/src/world.rs"]
mod world;

use libtest_mimic::{Arguments, Failed, Trial};
use lockstep_core::host::HostRules;
use lockstep_core::{Files, Lane, Options, Rules, Source};
use lockstep_harness::manifest::{Configuration, Manifest};
use rules::Lantern;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use world::World;

const MANIFEST: &str = include_str!("../prompts/parts/example/env.toml");
const STEPS: usize = 4_000;
const SEED: u64 = 0xFEED_5EED_0000_1234;

fn main() -> ExitCode {
    let compiler = |variable: &str, default: &str| {
        let name = std::env::var(variable).unwrap_or_else(|_| default.to_owned());
        let there = Command::new(&name).arg("--version").output().is_ok_and(|output| output.status.success());
        there.then_some(name)
    };
    let mut trials = vec![Trial::test("the_example_has_the_sizes_of_its_manifest", has_the_sizes_of_its_manifest)];
    for (name, compiler, source) in [
        ("the_example_gives_the_bits_of_its_reference", compiler("CC", "cc"), "c"),
        ("the_example_in_cuda_gives_the_bits_of_the_rust", compiler("CXX", "c++"), "cpp"),
    ] {
        trials.push(match compiler {
            Some(compiler) => Trial::test(name, move || gives_the_bits(&compiler, source)),
            None => Trial::test(format!("{name} (no compiler for {source})"), || Ok(())).with_ignored_flag(true),
        });
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn configurations() -> Vec<Configuration> {
    Manifest::parse(MANIFEST).expect("the example's manifest is valid").configurations().to_vec()
}

fn open(configuration: &Configuration) -> Result<World, Failed> {
    let options = configuration.options.as_object().expect("options are an object").clone();
    Ok(Lantern::world(Options::new(options), &Files::new())?)
}

fn has_the_sizes_of_its_manifest() -> Result<(), Failed> {
    for configuration in configurations() {
        let shape = Lantern::shape(&open(&configuration)?);
        let rows: Vec<usize> =
            configuration.grains.iter().map(|grain| grain.row.iter().map(|field| field.bytes()).sum()).collect();
        assert_eq!(shape.canonical_bytes, configuration.canonical_bytes());
        assert_eq!(shape.observation_bytes, configuration.observation_bytes());
        assert_eq!((shape.row_bytes.clone(), shape.mask_words()), (rows, configuration.mask_words()));
        assert_eq!(shape.episode_steps_max, configuration.episode_steps_max);
        let device = Lantern::device_world(&open(&configuration)?);
        assert_eq!(device.ported == 1, configuration.options["draws"] == "exact");
        assert_eq!((Lantern::NAME, Lantern::MANIFEST), (configuration.environment.as_str(), MANIFEST));
    }
    Ok(())
}

fn word(stream: u64, index: usize) -> u32 {
    lockstep_core::draw_word(1, stream, 0, index as u32)
}

/// What the Rust says, one line for each step.
fn rust(configuration: &Configuration, tokens: &[u32], draws: &[u32]) -> Result<String, Failed> {
    let world = open(configuration)?;
    let shape = Lantern::shape(&world);
    let mut lane = Lane::<Lantern>::new(&shape);
    lane.header.seed = SEED;
    lane.source = Source::Listed { values: draws.to_vec(), place: 0 };
    lane.reset(&world, &shape);
    let mut text = String::new();
    let mut endings = 0;
    for token in tokens {
        let outcome = lane.step(&world, &shape, std::slice::from_ref(token));
        let state = lane.state;
        let view: Vec<u32> =
            lane.observation().chunks(4).map(|bytes| u32::from_le_bytes(bytes.try_into().expect("four"))).collect();
        let (oil, flame, reward) = (state.oil.to_bits(), state.flame.to_bits(), lane.rewards()[0].to_bits());
        writeln!(
            text,
            "{oil:08x} {flame:08x} {:016x} {} {} {:08x} {:08x} {:08x} {:08x} {reward:08x} {}",
            state.wear().to_bits(),
            state.refills,
            state.age,
            state.rng,
            view[0],
            view[1],
            view[2],
            u32::from(outcome.terminated)
        )?;
        if outcome.terminated || outcome.truncated {
            endings += 1;
            lane.reset(&world, &shape);
        }
    }
    assert!(endings > 20, "{endings} episodes ended: too few to see that");
    Ok(text)
}

fn gives_the_bits(compiler: &str, source: &str) -> Result<(), Failed> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir()?;
    let tokens: Vec<u32> = (0..STEPS).map(|index| word(0, index) & 0x7FFF_FFFF).collect();
    let draws: Vec<u32> = (0..4 * STEPS).map(|index| word(1, index)).collect();
    let array = |name: &str, words: &[u32]| {
        let words: Vec<String> = words.iter().map(|word| format!("{word}u")).collect();
        format!("static const unsigned int {name}[] = {{{}}};\n", words.join(","))
    };
    std::fs::write(folder.path().join("input.h"), array("TOKENS", &tokens) + &array("DRAWS", &draws))?;
    let program = folder.path().join("play");
    let driver = root.join("tests/fixtures/prompt_example").join(format!("play.{source}"));
    let mut command = Command::new(compiler);
    command.args(["-O2", "-ffp-contract=off", "-fwrapv", "-Wall", "-Wextra", "-Wno-unused-function"]);
    if source == "cpp" {
        command.args(["-std=c++17", "-fno-exceptions", "-fno-rtti", "-I"]).arg(root.join("harness/cuda"));
    }
    command.arg("-I").arg(root.join("prompts/parts/example"));
    command.arg("-I").arg(root.join("prompts/parts/example/cuda")).arg("-I").arg(folder.path());
    let output = command.arg("-o").arg(&program).arg(&driver).arg("-lm").output()?;
    if !output.status.success() {
        return Err(format!("{compiler}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    for configuration in configurations() {
        let options = &configuration.options;
        let (oil, gusts) = (options["oil_max"].to_string(), options["gusts"].to_string());
        let ported = if options["draws"] == "exact" { "1" } else { "0" };
        let output = Command::new(&program).args([&oil, &gusts, ported, &SEED.to_string()]).output()?;
        let theirs = String::from_utf8(output.stdout)?;
        let ours = rust(&configuration, &tokens, &draws)?;
        let same = theirs.lines().count() == STEPS && theirs == ours;
        if !same {
            let differs = theirs.lines().zip(ours.lines()).position(|(theirs, ours)| theirs != ours);
            let at = differs.unwrap_or(theirs.lines().count());
            let line = |text: &str| text.lines().nth(at).unwrap_or("nothing").to_owned();
            let (theirs, ours) = (line(&theirs), line(&ours));
            return Err(format!("{}, step {at}:\n{source} {theirs}\nrust {ours}", configuration.name).into());
        }
    }
    Ok(())
}
