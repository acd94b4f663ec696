//! Each oddity of `pong.h` that this environment copies, as a test that bears the quirk's name.
//!
//! Where a number is expected, it was worked out from the C source and not read off the rules under test.

use lockstep_core::backend::{Backend, Settled, StepMany};
use lockstep_core::wire::Mode;
use lockstep_core::{
    ActionKind, Digest, Files, Header, Lane, Options, Outcome, Resets, Rules, Scalar, Shape, Source, Writer,
    continuous_token,
};
use lockstep_env_pong::{Pong, State, World};
use serde_json::{Value, json};

const STILL: u32 = 0;
const UP: u32 = 1;
const DOWN: u32 = 2;
const MANY_EXTRAS: std::ops::Range<u32> = 0x8000_0000..0x8000_0008;

/// A ball on its way in the middle of the field, far from every wall and paddle.
const MIDFIELD: State = State {
    paddle_yl: 285.0,
    paddle_yr: 285.0,
    ball_x: 200.0,
    ball_y: 304.0,
    ball_vx: 10.0,
    ball_vy: 0.0,
    paddle_dir: 0.0,
    score_l: 3,
    score_r: 5,
    tick: 7,
    n_bounces: 1,
    win: 0,
};

/// One step before the ball meets the right paddle.
const BEFORE_A_RIGHT_BOUNCE: State = State { ball_x: 460.0, ..MIDFIELD };

/// One step before the agent misses the ball.
const BEFORE_A_LOSS: State = State { ball_x: 460.0, ball_y: 100.0, ..MIDFIELD };

/// One step before the opponent misses the ball.
const BEFORE_A_WIN: State = State { ball_x: 5.0, ball_y: 500.0, ball_vx: -10.0, paddle_yl: 0.0, ..MIDFIELD };

struct Table {
    world: World,
    shape: Shape,
    lane: Lane<Pong>,
}

impl Table {
    fn with(options: Value) -> Self {
        let world = world(options);
        let shape = Pong::shape(&world);
        let mut lane = Lane::new(&shape);
        lane.reset(&world, &shape);
        Table { world, shape, lane }
    }

    fn new() -> Self {
        Table::with(json!({}))
    }

    /// Injects `state` with the observation that belongs to it; the next serves are `serves` (1 is flat).
    fn at(mut self, state: State, serves: &[u32]) -> Self {
        let observation = observation_of(&self.world, &state);
        let source = Source::Listed { values: serves.to_vec(), place: 0 };
        let canonical = canonical_of(&self.world, &state);
        let injected = self.lane.inject(&self.world, &self.shape, Header::default(), source, &canonical, &observation);
        injected.expect("every finite state can be injected");
        self
    }

    fn step(&mut self, token: u32) -> Outcome {
        self.lane.step(&self.world, &self.shape, &[token])
    }

    fn reward(&self) -> f32 {
        self.lane.rewards()[0]
    }

    fn view(&self) -> [f32; 8] {
        let bytes = self.lane.observation();
        std::array::from_fn(|i| f32::from_le_bytes(bytes[4 * i..4 * i + 4].try_into().expect("four bytes")))
    }

    fn draw_count(&self) -> usize {
        match &self.lane.source {
            Source::Listed { place, .. } => *place,
            Source::Seeded => self.lane.header.draw_index as usize,
        }
    }
}

fn world(options: Value) -> World {
    let options = Options::new(options.as_object().expect("options are an object").clone());
    Pong::world(options, &Files::new()).expect("the options are valid")
}

fn canonical_of(world: &World, state: &State) -> Vec<u8> {
    let mut bytes = vec![0; Pong::shape(world).canonical_bytes];
    Pong::canonical(world, state, &mut Writer::new(&mut bytes));
    bytes
}

/// The observation by its formula, from the parameters of a default game.
fn observation_of(world: &World, state: &State) -> Vec<u8> {
    let range = world.max_paddle_y - world.min_paddle_y;
    let view = [
        (state.paddle_yl - world.min_paddle_y) / range,
        (state.paddle_yr - world.min_paddle_y) / range,
        state.ball_x / world.width,
        state.ball_y / world.height,
        (state.ball_vx + world.ball_initial_speed_x) / (2.0 * world.ball_initial_speed_x),
        (state.ball_vy + world.ball_max_speed_y) / (2.0 * world.ball_max_speed_y),
        0.0,
        0.0,
    ];
    view.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[test]
fn continuous_action_is_raw() {
    for action in [0.25, -1.0, 2.5, -3.0, 1.0e-3] {
        let mut table = Table::with(json!({"continuous": true})).at(MIDFIELD, &[]);
        table.step(continuous_token(action));
        assert_eq!(table.lane.state.paddle_dir, action);
        assert_eq!(table.lane.state.paddle_yr, 285.0 + 8.0 * action);
    }
    let mut table = Table::with(json!({"continuous": true})).at(MIDFIELD, &[]);
    table.step(continuous_token(f32::MAX));
    assert_eq!(table.lane.state.paddle_yr, 605.0, "only the paddle's place is clipped");
}

#[test]
fn other_actions_stand_still() {
    for token in MANY_EXTRAS {
        let mut table = Table::new().at(State { paddle_dir: 1.0, ..MIDFIELD }, &[]);
        table.step(token);
        assert_eq!((table.lane.state.paddle_dir, table.lane.state.paddle_yr), (0.0, 285.0), "token {token:#x}");
    }
    for (token, direction) in [(STILL, 0.0), (UP, 1.0), (DOWN, -1.0)] {
        let mut table = Table::new().at(MIDFIELD, &[]);
        table.step(token);
        assert_eq!((table.lane.state.paddle_dir, table.lane.state.paddle_yr), (direction, 285.0 + 8.0 * direction));
    }
}

#[test]
fn reward_of_an_early_bounce_stays() {
    let mut table = Table::with(json!({"frameskip": 8})).at(BEFORE_A_RIGHT_BOUNCE, &[]);
    table.step(STILL);
    assert_eq!(table.lane.state.n_bounces, 2);
    assert_eq!(table.lane.state.ball_x, 468.0 - 7.0 * 10.0, "seven subframes came after the bounce");
    assert_eq!(table.reward(), 0.1);
    table.step(STILL);
    assert_eq!(table.reward(), 0.0, "the next step begins with no reward");
}

#[test]
fn a_point_ends_the_frameskip_loop() {
    let mut table = Table::with(json!({"frameskip": 8})).at(BEFORE_A_LOSS, &[0]);
    table.step(UP);
    assert_eq!(table.reward(), -1.0);
    let served = State { ball_x: 100.0, ball_y: 304.0, ball_vx: 10.0, ball_vy: -1.0, score_l: 4, tick: 0, ..MIDFIELD };
    assert_eq!(table.lane.state, State { n_bounces: 0, paddle_dir: 1.0, win: 0, ..served });
}

#[test]
fn a_point_leaves_the_observation_stale() {
    for (state, reward) in [(BEFORE_A_LOSS, -1.0), (BEFORE_A_WIN, 1.0)] {
        let mut table = Table::new().at(state, &[1]);
        let before = table.view();
        let outcome = table.step(STILL);
        assert_eq!(outcome, Outcome { terminated: false, truncated: false });
        assert_eq!((table.reward(), table.view()), (reward, before));
        assert_eq!(table.lane.state.ball_x, 100.0, "the state is already that of the next round");
        table.step(STILL);
        assert_eq!(table.view()[2], 110.0 / 500.0, "the next step looks again");
    }
}

#[test]
fn a_point_in_a_later_subframe_leaves_the_view_of_the_subframe_before() {
    let mut table = Table::with(json!({"frameskip": 8})).at(State { ball_x: 440.0, ..BEFORE_A_LOSS }, &[1]);
    table.step(STILL);
    assert_eq!(table.reward(), -1.0);
    assert_eq!(table.view()[2], 460.0 / 500.0, "450 and 460 were seen, 470 was a point");
}

#[test]
fn the_last_point_shows_the_next_episode() {
    for (state, reward) in
        [(State { score_l: 20, ..BEFORE_A_LOSS }, -1.0), (State { score_r: 20, ..BEFORE_A_WIN }, 1.0)]
    {
        let mut table = Table::new().at(state, &[0]);
        let outcome = table.step(STILL);
        assert_eq!(outcome, Outcome { terminated: true, truncated: false });
        assert_eq!((table.reward(), table.lane.state.score_l, table.lane.state.score_r), (reward, 0, 0));
        assert_eq!(table.view(), [0.5, 0.5, 0.2, 304.0 / 640.0, 1.0, 12.0 / 26.0, 0.0, 0.0]);
        assert_eq!(table.draw_count(), 1, "one serve, though a round and an episode began");
        assert_eq!((table.lane.header.episode, table.lane.header.elapsed), (1, 0));
    }
}

#[test]
fn scores_divide_as_integers() {
    for (score_l, score_r) in [(0, 0), (20, 0), (0, 20), (20, 20)] {
        let mut table = Table::new().at(State { score_l, score_r, ..MIDFIELD }, &[]);
        table.step(STILL);
        assert_eq!(table.view()[6..], [0.0, 0.0]);
    }
    // Only an injected score can be above the limit: the comparison is for equality.
    let mut table = Table::new().at(State { score_l: 43, score_r: 21, ..MIDFIELD }, &[]);
    table.step(STILL);
    assert_eq!(table.view()[6..], [2.0, 1.0]);
}

#[test]
fn a_left_bounce_does_not_clip() {
    let mut table = Table::new().at(State { ball_x: 8.0, ball_vx: -10.0, ..MIDFIELD }, &[]);
    table.step(STILL);
    assert_eq!((table.lane.state.ball_x, table.lane.state.ball_vx), (-2.0, 10.0));
    assert_eq!((table.lane.state.n_bounces, table.reward()), (2, 0.0));
    assert_eq!(table.view()[2], -2.0 / 500.0);
}

#[test]
fn a_left_bounce_does_not_clip_the_height_either() {
    let state = State { ball_x: 8.0, ball_y: 5.0, ball_vx: -10.0, ball_vy: -9.0, paddle_yl: -20.0, ..MIDFIELD };
    let mut table = Table::new().at(state, &[]);
    table.step(STILL);
    assert_eq!((table.lane.state.ball_y, table.lane.state.ball_vy), (-4.0, 9.0));
}

#[test]
fn a_bounce_pays_a_tenth_as_a_single() {
    let mut table = Table::new().at(BEFORE_A_RIGHT_BOUNCE, &[]);
    table.step(STILL);
    assert_eq!(table.reward().to_bits(), 0x3DCC_CCCD);
    assert_ne!(f64::from(table.reward()), 0.1);
}

#[test]
fn a_flat_bounce_goes_down() {
    // The single nearest to 0.01 lies below the double, so it counts as flat: a comparison of singles would not say so.
    let hundredth = 0.01f32;
    assert!(f64::from(hundredth) < 0.01);
    for ball_vy in [0.0, -0.0, 0.005, -0.005, hundredth, -hundredth] {
        let mut table = Table::new().at(State { ball_vy, ..BEFORE_A_RIGHT_BOUNCE }, &[]);
        table.step(STILL);
        assert_eq!(table.lane.state.ball_vy, 3.0, "from {ball_vy}");
    }
    for ball_vy in [hundredth.next_up(), -hundredth.next_up()] {
        let mut table = Table::new().at(State { ball_vy, ..BEFORE_A_RIGHT_BOUNCE }, &[]);
        table.step(STILL);
        assert_eq!(table.lane.state.ball_vy, ball_vy);
    }
    for (ball_vy, token, expected) in [(-3.0, UP, 3.0), (3.0, DOWN, 3.0), (1.0, DOWN, -2.0), (12.0, UP, 13.0)] {
        let mut table = Table::new().at(State { ball_vy, ..BEFORE_A_RIGHT_BOUNCE }, &[]);
        table.step(token);
        assert_eq!(table.lane.state.ball_vy, expected, "from {ball_vy} with token {token}");
    }
}

#[test]
fn a_right_bounce_clips_both_axes() {
    let high = State { ball_y: 5.0, ball_vy: -9.0, paddle_yr: -20.0, ..BEFORE_A_RIGHT_BOUNCE };
    let low = State { ball_y: 603.0, ball_vy: 9.0, paddle_yr: 590.0, ..BEFORE_A_RIGHT_BOUNCE };
    for (state, ball_y, ball_vy) in [(high, 0.0, 9.0), (low, 608.0, -9.0)] {
        let mut table = Table::new().at(state, &[]);
        table.step(STILL);
        let after = table.lane.state;
        assert_eq!((after.ball_x, after.ball_y, after.ball_vx, after.ball_vy), (468.0, ball_y, -10.0, ball_vy));
    }
}

#[test]
fn episode_length_is_that_of_the_last_round() {
    let last_round = State { score_l: 20, score_r: 13, tick: 41, ..BEFORE_A_LOSS };
    let rows = episode_rows(&last_round, 1);
    assert_eq!(rows, [13.0 / 34.0, -8.0, -8.0, 42.0, 1.0], "perf, score, return, length of the round, count");
    assert!(episode_rows(&BEFORE_A_LOSS, 1).is_empty(), "a point that ends no episode is not logged");
}

/// Plays steps from a state and returns the rows of the grain `episode`.
fn episode_rows(state: &State, step_count: usize) -> Vec<f32> {
    let world = world(json!({}));
    let (canonical, observation) = (canonical_of(&world, state), observation_of(&world, state));
    let mut backend = Scalar::<Pong>::new(world, 1);
    let settled = Settled { digest: Digest::Xxh64, named: true };
    let source = Source::Listed { values: vec![], place: 0 };
    let mut reply = Vec::new();
    backend
        .inject(settled, Mode::Digest, 0, Header::default(), source, &canonical, &observation, &mut reply)
        .expect("the state can be injected");
    reply.clear();
    let tokens = vec![STILL; step_count];
    let request = StepMany {
        mode: Mode::Full,
        grain: Some(1),
        window: 1,
        lane_first: 0,
        lane_count: 1,
        step_count,
        tokens: &tokens,
    };
    backend.step_many(settled, request, &mut reply).expect("the tokens are valid");
    let word = |at: usize| u32::from_le_bytes(reply[at..at + 4].try_into().expect("four bytes"));
    let (mut at, mut rows) = (8, Vec::new());
    for _ in 0..word(4) {
        at += 4 + word(at) as usize;
        let size = word(at) as usize;
        rows.extend((0..size / 4).map(|i| f32::from_bits(word(at + 4 + 4 * i))));
        at += 4 + size;
    }
    rows
}

#[test]
fn half_of_all_serves_are_flat() {
    for (serve, ball_vy) in [(0, -1.0), (1, 0.0), (2, -1.0), (7, 0.0)] {
        let mut table = Table::new().at(BEFORE_A_LOSS, &[serve]);
        table.step(STILL);
        assert_eq!(table.lane.state.ball_vy, ball_vy, "serve {serve}");
    }
    let mut table = Table::new();
    let mut flat = 0;
    for stream in 0..10_000 {
        table.lane.header = Header { seed: 20_260, stream, ..Header::default() };
        table.lane.reset(&table.world, &table.shape);
        assert!([-1.0, 0.0].contains(&table.lane.state.ball_vy));
        flat += u32::from(table.lane.state.ball_vy == 0.0);
    }
    // Five standard deviations of 10,000 fair coins are 250.
    assert!((4_750..5_250).contains(&flat), "{flat} of 10,000 serves are flat");
}

#[test]
fn a_round_draws_once_and_any_other_step_not_at_all() {
    let mut table = Table::new().at(BEFORE_A_WIN, &[1, 0]);
    table.step(STILL);
    assert_eq!(table.draw_count(), 1);
    table.step(STILL);
    assert_eq!(table.draw_count(), 1);
}

#[test]
fn a_wall_turns_the_ball_without_moving_it() {
    for (ball_y, ball_vy, at) in [(5.0, -9.0, -4.0), (603.0, 9.0, 612.0)] {
        let mut table = Table::new().at(State { ball_y, ball_vy, ..MIDFIELD }, &[]);
        table.step(STILL);
        assert_eq!((table.lane.state.ball_y, table.lane.state.ball_vy), (at, -ball_vy));
    }
}

#[test]
fn no_time_limit_ends_an_episode() {
    let table = Table::new();
    assert_eq!((table.shape.episode_steps_max, table.shape.resets), (None, Resets::Reference));
}

#[test]
fn a_state_is_twelve_words_in_the_order_of_the_manifest() {
    let state = State {
        paddle_yl: 1.5,
        paddle_yr: -2.5,
        ball_x: 3.25,
        ball_y: -4.75,
        ball_vx: 5.125,
        ball_vy: -0.0,
        paddle_dir: 0.5,
        score_l: u32::MAX,
        score_r: 9,
        tick: -10,
        n_bounces: 11,
        win: 1,
    };
    let world = world(json!({}));
    let canonical = canonical_of(&world, &state);
    assert_eq!((size_of::<State>(), canonical.len()), (48, 48));
    assert_eq!(canonical, bytemuck::bytes_of(&state), "on the wire as in memory");
    let table = Table::new().at(state, &[]);
    assert_eq!(canonical_of(&world, &table.lane.state), canonical);
    let manifest: toml::Table = Pong::MANIFEST.parse().expect("the manifest is TOML");
    let names: Vec<_> = manifest["canonical"].as_array().expect("a list").iter().map(|field| &field["name"]).collect();
    let expected = "paddle_yl paddle_yr ball_x ball_y ball_vx ball_vy paddle_dir score_l score_r tick n_bounces win";
    assert_eq!(names.iter().map(|name| name.as_str().unwrap_or_default()).collect::<Vec<_>>().join(" "), expected);
}

#[test]
fn the_shape_is_that_of_the_manifest() {
    let table = Table::new();
    assert_eq!(table.shape.action, ActionKind::Discrete { count: 3, extra: 4, mask: false });
    assert_eq!((table.shape.observation_bytes, &table.shape.row_bytes[..]), (32, &[24, 20][..]));
    assert_eq!(Table::with(json!({"continuous": true})).shape.action, ActionKind::Continuous);
}

#[test]
fn each_quirk_of_the_source_stands_in_the_manifest_and_has_a_test_of_its_name() {
    let manifest: toml::Table = Pong::MANIFEST.parse().expect("the manifest is TOML");
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
