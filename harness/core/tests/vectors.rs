//! The test vectors that all SDKs share, `references/sdk/vectors.json`, against this crate.

use bytemuck::{Pod, Zeroable};
use lockstep_core::batch::{Batch, Buffers, ResetMode};
use lockstep_core::{
    ActionKind, Digest, Draws, Files, Header, Lane, Mask, Options, Out, Outcome, Reader, Refusal, Regions, Resets,
    Rules, Shape, Source, Start, WorldError, Writer, below, decode, draw_word, threefry,
};
use serde_json::Value;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../references/sdk/vectors.json");

fn vectors(name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(PATH).unwrap_or_else(|error| panic!("{PATH}: {error}"));
    let vectors: Value = serde_json::from_str(&text).expect("the vectors are JSON");
    assert_eq!(vectors["format"], "lockstep/vectors/1");
    let list = vectors[name].as_array().unwrap_or_else(|| panic!("there are no vectors {name}")).clone();
    assert!(!list.is_empty());
    list
}

fn u32_of(value: &Value) -> u32 {
    value.as_u64().and_then(|value| value.try_into().ok()).unwrap_or_else(|| panic!("{value} is no u32"))
}

fn u32s_of(value: &Value) -> Vec<u32> {
    value.as_array().expect("a list").iter().map(u32_of).collect()
}

fn u64_of(value: &Value) -> u64 {
    let digits = value.as_str().and_then(|text| text.strip_prefix("0x")).expect("a u64 is a string of hex digits");
    u64::from_str_radix(digits, 16).expect("a u64 is a string of hex digits")
}

fn bytes_of(value: &Value) -> Vec<u8> {
    let digits = value.as_str().expect("bytes are a string of hex digits");
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("bytes are a string of hex digits");
    (0..digits.len()).step_by(2).map(byte).collect()
}

/// An environment whose reset makes the draws that the world lists and shows their results.
struct Drawer;

struct World {
    bounds: Vec<u64>,
    action: ActionKind,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct State {
    action: u32,
}

impl Rules for Drawer {
    const NAME: &'static str = "drawer";
    const AGENTS: usize = 1;
    const MANIFEST: &'static str = "name = \"drawer\"\n";
    type World = World;
    type State = State;
    type Reward = f32;

    fn world(_options: Options, _files: &Files) -> Result<World, WorldError> {
        Err(WorldError("the tests build its worlds by themselves".into()))
    }

    fn shape(world: &World) -> Shape {
        Shape {
            agents: 1,
            width: 1,
            action: world.action,
            canonical_bytes: 0,
            observation_bytes: 4 * world.bounds.len(),
            row_bytes: vec![],
            regions: vec![],
            episode_steps_max: None,
            resets: Resets::Harness,
        }
    }

    fn reset<D: Draws, O: Out<f32>>(
        world: &World,
        _state: &mut State,
        _regions: &mut impl Regions,
        _start: Start,
        draws: &mut D,
        out: &mut O,
    ) {
        let results = world.bounds.iter().map(|bound| match u32::try_from(*bound) {
            Ok(bound) => draws.below(bound, 0),
            Err(_) => draws.word(0),
        });
        let results: Vec<u32> = results.collect();
        if let Some(mut writer) = out.observation(0) {
            results.into_iter().for_each(|result| writer.u32(result));
        }
    }

    fn deciders(_world: &World, _state: &State) -> u32 {
        1
    }

    fn legal(_world: &World, _state: &State, _regions: &impl Regions, _agent: usize, _mask: &mut Mask<'_>) {}

    fn step<D: Draws, O: Out<f32>>(
        _world: &World,
        state: &mut State,
        _regions: &mut impl Regions,
        action: &[u32],
        _draws: &mut D,
        _out: &mut O,
    ) -> Outcome {
        state.action = action[0];
        Outcome::default()
    }

    fn observe(_world: &World, _state: &State, _regions: &impl Regions, _agent: usize, _out: &mut Writer<'_>) {}

    fn canonical(_world: &World, _state: &State, _out: &mut Writer<'_>) {}

    fn inject(_world: &World, _state: &mut State, _input: &mut Reader<'_>) -> Result<(), Refusal> {
        Ok(())
    }
}

/// The results of draws with these bounds.
fn draw(header: Header, source: Source, bounds: Vec<u64>) -> Vec<u32> {
    let world = World { bounds, action: ActionKind::Discrete { count: 1, extra: 0, mask: false } };
    let shape = Drawer::shape(&world);
    let mut lane = Lane::<Drawer>::new(&shape);
    (lane.header, lane.source) = (header, source);
    lane.reset(&world, &shape);
    let words = lane.observation().chunks_exact(4);
    words.map(|word| u32::from_le_bytes(word.try_into().expect("four bytes"))).collect()
}

#[test]
fn threefry_gives_the_shared_words() {
    for vector in vectors("threefry4x32_20") {
        let four = |name: &str| <[u32; 4]>::try_from(u32s_of(&vector[name])).expect("four words");
        assert_eq!(threefry(four("key"), four("counter")), four("words"), "{vector}");
    }
}

#[test]
fn seeded_draws_are_the_shared_ones() {
    for vector in vectors("draws_seeded") {
        let (seed, stream) = (u64_of(&vector["seed"]), u64_of(&vector["stream"]));
        let (episode, index, bound) = (u32_of(&vector["episode"]), u32_of(&vector["index"]), u32_of(&vector["bound"]));
        let expected = [u32_of(&vector["word"]), u32_of(&vector["below"])];
        let word = draw_word(seed, stream, episode, index);
        assert_eq!([word, below(word, bound)], expected, "{vector}");
        let header = Header { seed, stream, episode, elapsed: 0, draw_index: index };
        for (bound, expected) in [1 << 32, u64::from(bound)].into_iter().zip(expected) {
            assert_eq!(draw(header, Source::Seeded, vec![bound]), [expected], "{vector}");
        }
    }
}

#[test]
fn listed_draws_are_the_shared_ones() {
    for vector in vectors("draws_listed") {
        let bounds = vector["bounds"].as_array().expect("a list").iter().filter_map(Value::as_u64).collect();
        let source = Source::Listed { values: u32s_of(&vector["values"]), place: 0 };
        assert_eq!(draw(Header::default(), source, bounds), u32s_of(&vector["results"]), "{vector}");
    }
}

#[test]
fn digests_are_the_shared_ones() {
    for vector in vectors("digests") {
        let (seed, bytes) = (u64_of(&vector["seed"]), bytes_of(&vector["bytes"]));
        for digest in [Digest::Xxh64, Digest::Blake2b] {
            assert_eq!(digest.of(seed, &bytes), u64_of(&vector[digest.name()]), "{} of {vector}", digest.name());
        }
    }
}

#[test]
fn chains_are_the_shared_ones() {
    for vector in vectors("chains") {
        for digest in [Digest::Xxh64, Digest::Blake2b] {
            let parts = vector["parts"].as_array().expect("a list");
            let chain = parts.iter().fold(u64_of(&vector["seed"]), |chain, part| digest.of(chain, &bytes_of(part)));
            assert_eq!(chain, u64_of(&vector[digest.name()]), "{} of {vector}", digest.name());
        }
    }
}

#[test]
fn discrete_tokens_mean_the_shared_actions() {
    for vector in vectors("tokens_discrete") {
        let (count, extra) = (u32_of(&vector["count"]), u32_of(&vector["extra"]));
        let legal = vector.get("legal").map(u32s_of);
        let mut mask = vec![0; if legal.is_some() { count.div_ceil(32) as usize } else { 0 }];
        for action in legal.iter().flatten() {
            mask[*action as usize / 32] |= 1u32 << (action % 32);
        }
        let kind = ActionKind::Discrete { count, extra, mask: legal.is_some() };
        assert_eq!(decode(kind, &mask, u32_of(&vector["token"])), u32_of(&vector["action"]), "{vector}");
    }
}

#[test]
fn continuous_tokens_mean_the_shared_actions() {
    for vector in vectors("tokens_continuous") {
        let (token, bits) = (u32_of(&vector["token"]), u32_of(&vector["bits"]));
        assert_eq!(decode(ActionKind::Continuous, &[], token), bits, "{vector}");

        let world = World { bounds: vec![], action: ActionKind::Continuous };
        let mut batch = Batch::<Drawer>::new(world, 1, ResetMode::SameStep).expect("the mode fits");
        let (mut rewards, mut terminated, mut truncated) = ([0.0], [0], [0]);
        let mut out = Buffers {
            observations: &mut [],
            rewards: &mut rewards,
            terminated: &mut terminated,
            truncated: &mut truncated,
            masks: &mut [],
            final_observations: &mut [],
        };
        batch.reset(0, None, &mut out);
        assert_eq!(batch.step(&[token], &mut out).is_ok(), vector["accepted"] == true, "{vector}");
        if vector["accepted"] == true {
            assert_eq!(batch.lane(0).state.action, bits, "{vector}");
        }
    }
}
