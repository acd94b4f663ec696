//! Each oddity of `counter.py` that this environment copies, as a test that bears the quirk's name.

use lockstep_core::{Files, Header, Lane, Options, Outcome, Rules, Shape, Source, Writer};
use lockstep_env_counter::{Counter, State, World};
use serde_json::{Value, json};

const WAIT: u32 = 0;
const UP: u32 = 1;
const LEAP: u32 = 3;

const HALFWAY: State = State { value: 5, deciders: 0b01, purse: [2, 0], tick: 3, generator: 0 };

struct Board {
    world: World,
    shape: Shape,
    lane: Lane<Counter>,
}

impl Board {
    /// A lane in `state` that sees zeros, which no state shows to a deciding agent, and draws `draws`.
    fn at(options: Value, state: State, draws: &[u32]) -> Self {
        let options = Options::new(options.as_object().expect("options are an object").clone());
        let world = Counter::world(options, &Files::new()).expect("the options are valid");
        let shape = Counter::shape(&world);
        let mut lane = Lane::new(&shape);
        let source = Source::Listed { values: draws.to_vec(), place: 0 };
        let observation = vec![0; shape.agents * shape.observation_bytes];
        let canonical = canonical_of(&world, &state);
        lane.inject(&world, &shape, Header::default(), source, &canonical, &observation)
            .expect("the state is possible");
        Board { world, shape, lane }
    }

    fn alone(state: State, draws: &[u32]) -> Self {
        Board::at(json!({"agents": 1}), state, draws)
    }

    fn duel(state: State, draws: &[u32]) -> Self {
        Board::at(json!({"agents": 2}), state, draws)
    }

    /// Plays one action of each agent; with a value above 0 and a coin, all four actions are legal and are their tokens.
    fn step(&mut self, actions: &[u32]) -> Outcome {
        self.lane.step(&self.world, &self.shape, actions)
    }

    fn view(&self) -> Vec<f32> {
        let bytes = self.lane.observation().chunks_exact(4);
        bytes.map(|value| f32::from_le_bytes(value.try_into().expect("four bytes"))).collect()
    }
}

fn canonical_of(world: &World, state: &State) -> Vec<u8> {
    let mut bytes = vec![0; Counter::shape(world).canonical_bytes];
    Counter::canonical(world, state, &mut Writer::new(&mut bytes));
    bytes
}

#[test]
fn leap_leaves_the_observation_stale() {
    let mut board = Board::alone(HALFWAY, &[2, 0]);
    assert_eq!(board.step(&[LEAP]), Outcome::default());
    assert_eq!((board.lane.state.value, board.lane.state.purse), (7, [1, 0]));
    assert_eq!(board.view(), [0.0, 0.0, 0.0], "a leap shows nothing");
    board.step(&[WAIT]);
    assert_eq!(board.view(), [0.7, 2.0, 1.0], "the next step on foot shows all");

    let mut board = Board::alone(HALFWAY, &[5]);
    assert_eq!(board.step(&[LEAP]), Outcome { terminated: true, truncated: false });
    assert_eq!(board.view(), [1.0, 1.0, 1.0], "a leap that ends the episode is seen");
}

#[test]
fn leap_leaves_the_observation_of_both_agents_stale() {
    let both = State { deciders: 0b11, purse: [2, 2], ..HALFWAY };
    let mut board = Board::duel(both, &[0]);
    board.step(&[WAIT, LEAP]);
    assert_eq!(board.view(), [0.0; 6]);
    assert_eq!(board.lane.deciders(), 0b01, "who leapt sits out");
    board.step(&[WAIT, LEAP]);
    assert_eq!(board.lane.state.purse, [4, 1], "the token of the agent that sits out is ignored");
    assert_eq!(board.view(), [0.5, 4.0, 1.0, 0.5, 1.0, 1.0]);
}

#[test]
fn a_truncated_leap_is_not_seen() {
    let mut board = Board::alone(HALFWAY, &[0]);
    board.lane.header.elapsed = 63;
    assert_eq!(board.step(&[LEAP]), Outcome { terminated: false, truncated: true });
    assert_eq!(board.view(), [0.0, 0.0, 0.0], "only the rules' own end rewrites it");
}

#[test]
fn tenth_of_a_point_is_a_single() {
    let mut board = Board::alone(HALFWAY, &[0]);
    board.step(&[UP]);
    assert_eq!(board.lane.rewards()[0].to_bits(), 0x3DCC_CCCD);
    assert_ne!(f64::from(board.lane.rewards()[0]), 0.1);

    // Paid before the win or the loss, so the sum is one of singles and is rounded once more.
    let mut board = Board::alone(State { value: 9, ..HALFWAY }, &[0]);
    assert!(board.step(&[UP]).terminated);
    assert_eq!(board.lane.rewards(), [0.1f32 + 1.0]);

    let mut board = Board::duel(State { value: 8, deciders: 0b11, ..HALFWAY }, &[0, 1]);
    assert!(board.step(&[UP, UP]).terminated);
    assert_eq!(board.lane.rewards(), [0.1f32 - 1.0, 0.1f32 + 1.0]);
}

#[test]
fn a_state_is_six_words_in_the_order_of_the_manifest() {
    let state = State { value: -3, deciders: 0b10, purse: [7, -9], tick: 11, generator: 0xDEAD_BEEF };
    let board = Board::duel(state, &[]);
    assert_eq!(board.lane.state, state);
    let canonical = canonical_of(&board.world, &state);
    assert_eq!((size_of::<State>(), canonical.as_slice()), (24, bytemuck::bytes_of(&state)));
    let manifest: toml::Table = Counter::MANIFEST.parse().expect("the manifest is TOML");
    let names = manifest["canonical"].as_array().expect("a list").iter().filter_map(|field| field["name"].as_str());
    assert_eq!(names.collect::<Vec<_>>().join(" "), "value deciders purse tick generator memory");
}

#[test]
fn each_quirk_of_the_source_stands_in_the_manifest_and_has_a_test_of_its_name() {
    let manifest: toml::Table = Counter::MANIFEST.parse().expect("the manifest is TOML");
    let listed = manifest["quirk"].as_array().expect("a list").iter().filter_map(|quirk| quirk["name"].as_str());
    let listed: std::collections::BTreeSet<_> = listed.collect();
    let source = include_str!("../src/rules.rs");
    let marks = source.match_indices("QUIRK(").filter_map(|(at, mark)| source[at + mark.len()..].split(')').next());
    let marked: std::collections::BTreeSet<_> = marks.filter_map(|mark| mark.rsplit(", ").next()).collect();
    assert_eq!(listed, marked);
    for name in listed {
        assert!(include_str!("quirks.rs").contains(&format!("#[test]\nfn {name}()")), "{name} has no test");
    }
}
