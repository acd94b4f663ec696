//! The serving side against `docs/protocol.md`, through a client that knows nothing but that page.

mod client;
#[path = "../common/mod.rs"]
mod common;

use client::*;
use common::{ACTION_COUNT, ACTION_EXTRA, Toy, Words, forms, mix, world};
use lockstep_core::wire::{GRAIN_NONE, Verb, WINDOW_STEPS_MAX};
use lockstep_core::{ActionKind, Digest, Fault, Rules, SITE_UNNAMED, below, draw_word};
use serde_json::{Value, json};
use std::panic::{AssertUnwindSafe, catch_unwind};

#[test]
fn hello_repeats_the_hash_and_tells_the_sizes_of_records() {
    for options in forms() {
        let shape = Toy::shape(&world::<Toy>(&options));
        let mut reply = Vec::new();
        new_server().answer(Verb::Hello, hello(&options).to_string().as_bytes(), &mut reply).expect("it fits");
        let reply: Value = serde_json::from_slice(&reply).expect("the reply is JSON");
        let memory = options["memory"] == true;
        let expected = json!({
            "protocol": "lockstep/1",
            "environment": "toy",
            "name": "rust",
            "version": reply["version"],
            "configuration_hash": "5e".repeat(32),
            "digest": "xxh64",
            "canonical_bytes": if memory { 20 } else { 12 },
            "state_bytes": if memory { 108 } else { 12 },
            "observation_bytes": 9,
            "mask_bytes": if shape.action == ActionKind::Continuous { 0 } else { 8 },
            "reward_bytes": 8,
            "row_bytes": [8, 4],
            "capabilities": {"snapshot": true, "inject": "full", "probe": ["mix"], "explain": false, "draw_sites": true, "grains": true},
        });
        assert_eq!(reply, expected);
        assert!(reply["version"].is_string());
    }
}

#[test]
fn hello_names_what_does_not_fit() {
    let wrong = [
        ("protocol", json!("lockstep/2"), "lockstep/2"),
        ("protocol", json!(null), "lockstep/1"),
        ("environment", json!("checkers"), "checkers"),
        ("agents", json!(2), "agents"),
        ("width", json!(3), "width"),
        ("action", json!({"kind": "continuous", "low": -1.0, "high": 1.0}), "action"),
        ("action", json!({"kind": "discrete", "count": 39, "extra": ACTION_EXTRA, "mask": true}), "action"),
        ("action", json!({"kind": "discrete", "count": ACTION_COUNT, "extra": 0, "mask": true}), "action"),
        ("action", json!({"kind": "discrete", "count": ACTION_COUNT, "extra": ACTION_EXTRA, "mask": false}), "action"),
        ("action", json!(null), "action"),
        ("reward", json!("f32"), "reward"),
        ("resets", json!("reference"), "resets"),
        ("episode_steps_max", json!(64), "episode_steps_max"),
        ("configuration", json!({"options": {"speed": 3}}), "unknown option speed"),
        ("configuration", json!({"options": {"agents": 17}}), "option agents is 17, not a whole number from 1 to 3"),
        ("configuration", json!({"options": {"memory": "yes"}}), "option memory is \"yes\", not true or false"),
        ("lanes", json!(0), "lanes"),
        ("lanes", json!(1u64 << 40), "lanes"),
        ("lanes", json!(-1), "lanes"),
        ("lanes", json!(null), "lanes"),
        ("digests", json!(["md5"]), "xxh64"),
    ];
    for (key, value, named) in wrong {
        let mut request = hello(&json!({}));
        request[key] = value;
        match new_server().answer(Verb::Hello, request.to_string().as_bytes(), &mut Vec::new()) {
            Err(Fault::BadRequest(error)) => assert!(error.contains(named), "{key}: {error}"),
            other => panic!("{key}: {other:?}"),
        }
    }
}

#[test]
fn hello_says_what_both_sides_have() {
    let mut request = hello(&json!({}));
    request["agents"] = json!(2);
    let error = new_server().answer(Verb::Hello, request.to_string().as_bytes(), &mut Vec::new());
    assert_eq!(error, Err(Fault::BadRequest("the manifest says agents = 2, the rules say 1".into())));
}

#[test]
fn hello_ignores_keys_that_it_does_not_know() {
    let mut request = hello(&json!({}));
    request["weather"] = json!({"sun": true});
    assert_eq!(new_server().answer(Verb::Hello, request.to_string().as_bytes(), &mut Vec::new()), Ok(()));
}

#[test]
fn hello_takes_the_first_digest_that_it_knows() {
    for (offered, chosen) in [(json!(["md5", "blake2b", "xxh64"]), "blake2b"), (json!(["xxh64"]), "xxh64")] {
        let mut request = hello(&json!({}));
        request["digests"] = offered;
        let mut reply = Vec::new();
        new_server().answer(Verb::Hello, request.to_string().as_bytes(), &mut reply).expect("it fits");
        let reply: Value = serde_json::from_slice(&reply).expect("the reply is JSON");
        assert_eq!(reply["digest"], chosen);
    }
}

#[test]
fn nothing_but_close_is_answered_before_hello() {
    for number in 2..=10 {
        let verb = Verb::numbered(number).expect("verbs are numbered from 1 to 10");
        let answer = new_server().answer(verb, &[], &mut Vec::new());
        match verb {
            Verb::Close => assert_eq!(answer, Ok(())),
            _ => assert_eq!(answer, Err(Fault::BadRequest(format!("{} came before hello", verb.name())))),
        }
    }
    assert_eq!([Verb::numbered(0), Verb::numbered(11)], [None, None]);
}

#[test]
fn explain_is_refused_and_an_unknown_probe_too() {
    let mut side = Side::started(&json!({}));
    assert_eq!(side.refused(Verb::Explain, b"{}"), "a backend does not explain its steps");
    assert_eq!(side.refused(Verb::Probe, br#"{"function": "sum", "input": 1}"#), "no function sum can be probed");
    assert_eq!(side.refused(Verb::Probe, br#"{"function": "mix", "input": -1}"#), "mix takes a u32, not -1");
    assert!(side.bad(Verb::Probe, b"{").starts_with("probe is not JSON"));
    let reply = side.ok(Verb::Probe, br#"{"function": "mix", "input": 9}"#);
    assert_eq!(serde_json::from_slice::<Value>(&reply).expect("the reply is JSON"), json!({"output": mix(9)}));
}

/// A well-formed request of each binary verb, for a side that `advanced` has made.
fn valid_bodies(side: &mut Side) -> Vec<(Verb, Vec<u8>)> {
    let shape = side.shape.clone();
    let tokens = side.tokens(&mut Words::new(9), LANES as usize, 4);
    let blob = side.snapshot(3);
    let (state, observations) = (state_form(side, 3), vec![7; shape.agents * shape.observation_bytes]);
    let inject = |mode: u32, list: &[u32]| {
        Body::of(&[mode, 1, 2, 6, 1, 4])
            .u64s(&[SEED, 5])
            .u32s(&[if list.is_empty() { SEEDED } else { LISTED }, list.len() as u32])
            .u32s(list)
            .sized(&state)
            .sized(&observations)
            .0
    };
    vec![
        (Verb::Reset, Body::of(&[DIGEST, 2]).lane_start(0, 3, None).lane_start(4, 0, Some(&[9, 8, 7])).0),
        (Verb::Reset, Body::of(&[STATE, 1]).lane_start(1, u32::MAX, Some(&[1])).0),
        (Verb::StepMany, side.steps(Steps { window: 3, tokens: &tokens, ..Steps::default() })),
        (Verb::StepMany, side.steps(Steps { mode: FULL, grain: 0, tokens: &tokens, ..Steps::default() })),
        (Verb::StepMany, side.steps(Steps { mode: STATE, window: 1, grain: 1, tokens: &tokens, ..Steps::default() })),
        (Verb::Snapshot, Body::of(&[3, 0, 4, 0]).0),
        (Verb::Restore, Body::of(&[2, 0]).sized(&blob).u32s(&[1]).sized(&blob).0),
        (Verb::Inject, inject(DIGEST, &[])),
        (Verb::Inject, inject(STATE, &[3, 2, 1, 0])),
        (Verb::Draws, Body::of(&[2, 0]).0),
        (Verb::Draws, Body::of(&[2, 1, 3, 10, 20, 30]).0),
    ]
}

/// A side in the middle of things: seeded and listed lanes, a few steps on.
fn advanced(options: &Value) -> Side {
    let mut side = Side::started(options);
    side.ok(Verb::Reset, &Body::of(&[DIGEST, 1]).lane_start(1, 0, Some(&[5; 40])).0);
    let tokens = side.tokens(&mut Words::new(8), LANES as usize, ADVANCED);
    side.step_many(Steps { tokens: &tokens, ..Steps::default() });
    side
}

/// The state form of a lane that is not changed by asking for it.
fn state_form(side: &mut Side, lane: u32) -> Vec<u8> {
    let before = side.snapshot(lane);
    let tokens = side.tokens(&mut Words::new(10), 1, 1);
    let steps = Steps { mode: STATE, lane_first: lane, lane_count: 1, tokens: &tokens, ..Steps::default() };
    let reply = side.step_many(steps);
    side.ok(Verb::Restore, &Body::of(&[1, lane]).sized(&before).0);
    let records = side.lane_reply(&mut Parts(&reply), false, true).records;
    records.last().expect("a step has a record").1.canonical.clone()
}

#[test]
fn a_request_that_is_cut_or_goes_on_too_long_is_a_bad_request() {
    for options in forms() {
        let mut side = advanced(&options);
        let bodies = valid_bodies(&mut side);
        for (verb, body) in &bodies {
            for size in 0..body.len() {
                let cut = catch_unwind(AssertUnwindSafe(|| side.ask(*verb, &body[..size])));
                let cut = cut.unwrap_or_else(|_| panic!("{} cut to {size} bytes panicked", verb.name()));
                assert!(matches!(cut, Err(Fault::BadRequest(_))), "{} cut to {size} bytes: {cut:?}", verb.name());
            }
            let long = [body.as_slice(), &[0]].concat();
            assert_eq!(side.bad(*verb, &long), "1 bytes follow the request");
        }
        for (verb, body) in &bodies {
            side.ok(*verb, body);
        }
    }
}

#[test]
fn no_mutated_request_panics_and_the_side_goes_on_serving() {
    for (number, options) in forms().into_iter().enumerate() {
        let mut words = Words::new(100 + number as u64);
        let mut side = advanced(&options);
        let bodies = valid_bodies(&mut side);
        let fresh = Side::new(&options).reset_all();
        let tokens = side.tokens(&mut words, LANES as usize, 3);
        let play = side.steps(Steps { mode: STATE, window: 2, grain: 0, tokens: &tokens, ..Steps::default() });
        let (mut accepted, mut rejected) = (0, 0);
        for round in 0..6_000 {
            let (verb, body) = &bodies[below(words.word(), bodies.len() as u32) as usize];
            let body = mutated(body, &mut words);
            let answered = catch_unwind(AssertUnwindSafe(|| {
                let answer = side.ask(*verb, &body);
                side.ok(Verb::StepMany, &play);
                answer
            }));
            match answered {
                Ok(Ok(_)) => accepted += 1,
                Ok(Err(_)) => rejected += 1,
                Err(_) => panic!("round {round} of {options}: {} panicked with {body:02x?}", verb.name()),
            }
            if round % 500 == 0 {
                assert_eq!(side.reset_all(), fresh, "round {round} of {options}");
            }
        }
        assert!(accepted > 500 && rejected > 500, "{accepted} accepted, {rejected} rejected");
    }
}

/// One to three changes of a kind that breaks parsers: other bits, extreme words, bytes that come or go.
fn mutated(body: &[u8], words: &mut Words) -> Vec<u8> {
    const EXTREMES: [u32; 8] = [0, 1, 2, 0x7FFF_FFFF, 0x8000_0000, u32::MAX - 1, u32::MAX, 0x4000_0001];
    let mut body = body.to_vec();
    for _ in 0..1 + below(words.word(), 3) {
        let at = below(words.word(), body.len().max(1) as u32) as usize;
        match below(words.word(), 5) {
            0 if at < body.len() => body[at] ^= 1 << below(words.word(), 8),
            1 if at < body.len() / 4 * 4 => {
                let extreme = EXTREMES[below(words.word(), EXTREMES.len() as u32) as usize];
                body[at / 4 * 4..at / 4 * 4 + 4].copy_from_slice(&extreme.to_le_bytes());
            }
            2 => body.truncate(at),
            3 => body.insert(at, words.word() as u8),
            _ if at < body.len() => {
                body.remove(at);
            }
            _ => {}
        }
    }
    body
}

#[test]
fn a_count_that_no_body_holds_allocates_nothing_of_its_size() {
    const HUGE: u32 = u32::MAX;
    let mut side = advanced(&json!({"agents": 2, "memory": true, "steps_max": 7}));
    let lane = |n: u32| Body::of(&[FULL, 1, 0, 0]).u64s(&[SEED, 0]).u32s(&[LISTED, n]).0;
    let inject = |n: u32| Body::of(&[FULL, 1, 0, 0, 0, 0]).u64s(&[SEED, 0]).u32s(&[LISTED, n]);
    let bodies = [
        (Verb::Reset, Body::of(&[FULL, HUGE]).0),
        (Verb::Reset, lane(HUGE)),
        (Verb::Reset, lane(0x4000_0000)),
        (Verb::StepMany, Body::of(&[FULL, GRAIN_NONE, 1, 0, LANES, HUGE]).0),
        (Verb::StepMany, Body::of(&[DIGEST, GRAIN_NONE, 1, 0, 1, HUGE, 1, 2]).0),
        (Verb::StepMany, Body::of(&[DIGEST, GRAIN_NONE, 1, 0, HUGE, HUGE]).0),
        (Verb::StepMany, Body::of(&[DIGEST, GRAIN_NONE, 1, HUGE, 1, 1, 0]).0),
        (Verb::Snapshot, Body::of(&[HUGE]).0),
        (Verb::Restore, Body::of(&[HUGE]).0),
        (Verb::Restore, Body::of(&[1, 0, HUGE]).0),
        (Verb::Restore, Body::of(&[1, 0]).sized(&huge_list(&side.snapshot(0))).0),
        (Verb::Inject, Body::of(&[FULL, HUGE]).0),
        (Verb::Inject, inject(HUGE).0),
        (Verb::Inject, inject(0).u32s(&[HUGE]).0),
        (Verb::Inject, inject(0).u32s(&[0, HUGE]).0),
        (Verb::Draws, Body::of(&[0, 1, HUGE]).0),
    ];
    for (verb, body) in bodies {
        LARGEST.set(0);
        let answer = side.ask(verb, &body);
        let largest = LARGEST.get();
        assert!(answer.is_err(), "{} with {body:02x?}", verb.name());
        assert!(largest < 1 << 16, "{} with {body:02x?} asked for {largest} bytes", verb.name());
    }
    let nobody = side.steps(Steps { mode: DIGEST, lane_count: 0, ..Steps::default() });
    side.done(Verb::StepMany, &nobody);
    let nobody_for_long = Body::of(&[FULL, GRAIN_NONE, 1, 0, 0, HUGE]).0;
    side.done(Verb::StepMany, &nobody_for_long);
}

/// A snapshot that claims a long list of draws.
fn huge_list(snapshot: &[u8]) -> Vec<u8> {
    let mut bytes = snapshot.to_vec();
    bytes[36..40].copy_from_slice(&1u32.to_le_bytes());
    bytes[44..48].copy_from_slice(&u32::MAX.to_le_bytes());
    bytes
}

#[test]
fn a_place_that_does_not_exist_is_a_bad_request_that_names_it() {
    let mut side = Side::started(&json!({}));
    let step = |grain: u32, window: u32, first: u32, count: u32| Body::of(&[DIGEST, grain, window, first, count, 0]).0;
    assert_eq!(side.bad(Verb::StepMany, &step(2, 1, 0, 1)), "there is no grain 2");
    for window in [0, WINDOW_STEPS_MAX + 1] {
        let error = format!("a window has 1 to 64 steps, not {window}");
        assert_eq!(side.bad(Verb::StepMany, &step(GRAIN_NONE, window, 0, 1)), error);
    }
    for (first, count) in [(0, LANES + 1), (LANES, 1), (3, 3), (LANES + 1, 0)] {
        let error = format!("lanes {first} + {count} are more than there are");
        assert_eq!(side.bad(Verb::StepMany, &step(GRAIN_NONE, 1, first, count)), error);
    }
    assert_eq!(side.bad(Verb::StepMany, &Body::of(&[3, GRAIN_NONE, 1, 0, 0, 0]).0), "there is no mode 3");
    assert_eq!(side.bad(Verb::Snapshot, &Body::of(&[1, LANES]).0), "there is no lane 5, only 5");
    assert_eq!(side.bad(Verb::Draws, &Body::of(&[LANES, 0]).0), "there is no lane 5, only 5");
    assert_eq!(side.bad(Verb::Draws, &Body::of(&[0, 2]).0), "draws has no op 2");
    let source = Body::of(&[FULL, 1, 0, 0]).u64s(&[SEED, 0]).u32s(&[2, 0]).0;
    assert_eq!(side.bad(Verb::Reset, &source), "there is no draw source 2");
}

#[test]
fn a_continuous_action_that_is_not_finite_is_a_bad_request() {
    let mut side = Side::started(&json!({"continuous": true}));
    let before = side.snapshot(0);
    for bits in [f32::NAN.to_bits(), f32::INFINITY.to_bits(), f32::NEG_INFINITY.to_bits(), 0x7F80_0001, u32::MAX] {
        let tokens = [0, bits.rotate_left(1)];
        let body = side.steps(Steps { lane_count: 1, tokens: &tokens, ..Steps::default() });
        assert!(side.bad(Verb::StepMany, &body).contains("continuous actions are finite"));
    }
    assert_eq!(side.snapshot(0), before, "no step was made");
}

#[test]
fn step_many_without_a_step_answers_for_each_lane() {
    let mut side = advanced(&json!({}));
    assert!(!side.draw_log(1).is_empty());
    for (mode, lane_bytes) in [(DIGEST, 4), (FULL, 8), (STATE, 8)] {
        let before: Vec<_> = (0..LANES).map(|lane| side.snapshot(lane)).collect();
        let reply = side.step_many(Steps { mode, lane_first: 1, lane_count: 3, ..Steps::default() });
        assert_eq!(reply, vec![0; 3 * lane_bytes], "mode {mode}");
        assert_eq!((0..LANES).map(|lane| side.snapshot(lane)).collect::<Vec<_>>(), before);
    }
    assert!(side.draw_log(1).is_empty(), "the last step_many made no draws");
}

/// The digest that a hello with only this one settles.
fn greeted_with(options: &Value, digest: Digest) -> Side {
    let mut request = hello(options);
    request["digests"] = json!([digest.name()]);
    Side::greeted(options, &request)
}

fn all_forms() -> Vec<Value> {
    let mut all = forms();
    all.extend(forms().into_iter().map(|mut options| {
        options["resets_itself"] = true.into();
        options
    }));
    all
}

#[test]
fn chains_of_mode_digest_are_those_of_the_records_of_mode_full() {
    for options in all_forms() {
        for digest in [Digest::Xxh64, Digest::Blake2b] {
            let (mut digests, mut full) = (greeted_with(&options, digest), greeted_with(&options, digest));
            let starts = (0..LANES).fold(Body::of(&[FULL, LANES]), |body, lane| body.lane_start(lane, 0, None)).0;
            let (told, records) = (digests.reset_all(), full.ok(Verb::Reset, &starts));
            let (mut told, mut records) = (Parts(&told), Parts(&records));
            let mut chains: Vec<_> = (0..LANES).map(|_| digest.of(0, records.sized())).collect();
            chains.iter().for_each(|chain| assert_eq!(told.u64(), *chain, "after the reset"));

            let mut words = Words::new(21);
            for (grain, window, step_count) in
                [(GRAIN_NONE, 64, 200), (GRAIN_NONE, 1, 9), (0, 7, 50), (1, 64, 64), (GRAIN_NONE, 10, 10), (0, 1, 1)]
            {
                let tokens = digests.tokens(&mut words, LANES as usize, step_count);
                let steps = Steps { grain, window, tokens: &tokens, ..Steps::default() };
                let told = digests.step_many(steps);
                let records = full.step_many(Steps { mode: FULL, ..steps });
                let (mut told, mut records) = (Parts(&told), Parts(&records));
                for chain in &mut chains {
                    let lane = full.lane_reply(&mut records, grain != GRAIN_NONE, false);
                    assert_eq!(told.u32(), lane.ended);
                    for window in windows(&lane, window as usize) {
                        *chain = digest.of(*chain, &window);
                        assert_eq!(told.u64(), *chain, "{options} {digest:?} grain {grain}");
                    }
                }
                assert!(told.0.is_empty() && records.0.is_empty());
                (0..LANES).for_each(|lane| assert_eq!(digests.draw_log(lane), full.draw_log(lane)));
            }
        }
    }
}

/// The records of each window, one after another; a reset belongs to the window of the step that ended the episode.
fn windows(lane: &LaneReply, window: usize) -> Vec<Vec<u8>> {
    let mut windows: Vec<Vec<u8>> = Vec::new();
    let mut step_count = 0;
    for (bytes, record, _) in &lane.records {
        if record.kind == STEP {
            if step_count % window == 0 {
                windows.push(Vec::new());
            }
            step_count += 1;
        }
        windows.last_mut().expect("a lane begins with a step").extend_from_slice(bytes);
    }
    windows
}

#[test]
fn records_of_mode_state_are_those_of_mode_full_with_the_regions_in_full() {
    for options in all_forms() {
        let (mut full, mut state) = (Side::started(&options), Side::started(&options));
        let tokens = full.tokens(&mut Words::new(22), LANES as usize, 100);
        let steps = Steps { mode: FULL, grain: 0, tokens: &tokens, ..Steps::default() };
        let (in_full, in_state) = (full.step_many(steps), state.step_many(Steps { mode: STATE, ..steps }));
        let (mut in_full, mut in_state) = (Parts(&in_full), Parts(&in_state));
        for _ in 0..LANES {
            let expected = full.lane_reply(&mut in_full, true, false);
            let observed = state.lane_reply(&mut in_state, true, true);
            assert_eq!((expected.ended, expected.records.len()), (observed.ended, observed.records.len()));
            for ((_, full, full_rows), (_, state, state_rows)) in expected.records.iter().zip(&observed.records) {
                let (fields, region) = state.canonical.split_at(12);
                let mut canonical = fields.to_vec();
                if options["memory"] == true {
                    canonical.extend_from_slice(&Digest::Xxh64.of(0, region).to_le_bytes());
                }
                assert_eq!((full, full_rows), (&Record { canonical, ..state.clone() }, state_rows));
            }
        }
        assert_eq!(full.snapshot(2), state.snapshot(2), "the chain advances alike");
    }
}

#[test]
fn records_say_what_the_page_says() {
    for options in all_forms() {
        let mut side = Side::started(&options);
        let (shape, resets_itself) = (side.shape.clone(), options["resets_itself"] == true);
        let tokens = side.tokens(&mut Words::new(23), 1, 300);
        let steps = Steps { mode: FULL, grain: 0, lane_count: 1, tokens: &tokens, ..Steps::default() };
        let reply = side.step_many(steps);
        let lane = side.lane_reply(&mut Parts(&reply), true, false);
        let ended = lane.records.iter().filter(|(_, record, _)| record.ended()).count();
        assert_eq!(lane.ended as usize, ended);
        assert!(ended > 5, "{options}");
        for (i, (_, record, rows)) in lane.records.iter().enumerate() {
            let follows_an_end = i > 0 && lane.records[i - 1].1.ended();
            let expected_kind = if follows_an_end && !resets_itself { RESET } else { STEP };
            assert_eq!(record.kind, expected_kind, "record {i} of {options}");
            assert!(record.deciders > 0 && record.deciders < 1 << shape.agents);
            for agent in 0..shape.agents {
                let size = shape.mask_words() * 4;
                let mask = &record.masks[agent * size..(agent + 1) * size];
                assert!(record.deciders >> agent & 1 == 1 || mask.iter().all(|byte| *byte == 0));
            }
            if record.kind == RESET {
                assert!(rows.is_empty() && record.rows.is_none() && record.rewards.iter().all(|byte| *byte == 0));
            } else {
                assert_eq!(record.rows, Some((shape.agents as u32, Digest::Xxh64.of(0, rows))));
                assert_eq!(rows.len(), shape.agents * 8);
            }
        }
        let draws: Vec<_> = lane.records.iter().flat_map(|(_, record, _)| record.draws.clone()).collect();
        assert_eq!(side.draw_log(0), draws, "the log is that of the last step_many");
    }
}

#[test]
fn the_time_limit_truncates_and_counts_from_the_start_of_the_episode() {
    for limit in [1, 4] {
        let mut side = Side::started(&json!({"steps_max": limit}));
        let tokens = side.tokens(&mut Words::new(24), 1, 200);
        side.reset_first(None);
        let mut elapsed = 0;
        for record in side.records(&tokens).iter().filter(|record| record.kind == STEP) {
            elapsed += 1;
            assert!(record.truncated || elapsed < limit);
            elapsed = if record.ended() { 0 } else { elapsed };
        }
    }
}

#[test]
fn seeded_draws_follow_from_seed_stream_episode_and_index() {
    for options in all_forms() {
        let mut side = Side::started(&options);
        let tokens = side.tokens(&mut Words::new(25), 1, 200);
        let mut records = vec![side.reset_first(None)];
        records.extend(side.records(&tokens));
        let (mut episode, mut index) = (0, 0);
        for record in &records {
            for draw in record.draws.iter().filter(|draw| draw.bound != 1 << 40) {
                let word = draw_word(SEED, 0, episode, index);
                let value = if draw.bound == 1 << 32 { word } else { below(word, draw.bound as u32) };
                assert_eq!(draw.value, u64::from(value), "draw {index} of episode {episode} of {options}");
                index += 1;
            }
            if record.ended() {
                (episode, index) = (episode + 1, 0);
            }
        }
        assert!(episode > 5);
    }
}

/// The draws that took something from the source.
fn taken(records: &[Record]) -> Vec<Draw> {
    records.iter().flat_map(|record| &record.draws).copied().filter(|draw| draw.bound != 1 << 40).collect()
}

#[test]
fn listed_draws_come_in_order_and_are_0_past_the_end() {
    for options in all_forms() {
        let mut side = Side::started(&options);
        let mut words = Words::new(26);
        let list: Vec<_> = (0..150).map(|_| words.word()).collect();
        let tokens = side.tokens(&mut words, 1, 200);
        let mut records = vec![side.reset_first(Some(&list))];
        records.extend(side.records(&tokens));
        let draws = taken(&records);
        assert!(draws.len() > list.len() && records.iter().any(Record::ended));
        for (i, draw) in draws.iter().enumerate() {
            let word = u64::from(list.get(i).copied().unwrap_or(0));
            assert_eq!(draw.value, word % draw.bound, "draw {i} of {options}");
        }
    }
}

#[test]
fn appended_draws_stand_behind_the_list_at_its_own_places() {
    let mut side = Side::started(&json!({"width": 2}));
    side.reset_first(Some(&[11, 22, 33]));
    side.done(Verb::Draws, &Body::of(&[0, 1, 2, 44, 55]).0);
    let draws = taken(&side.records(&[0; 2]));
    assert_eq!(draws.iter().map(|draw| draw.value).collect::<Vec<_>>(), [22, 33]);
    let draws = taken(&side.records(&[0; 4]));
    assert_eq!(draws[..2].iter().map(|draw| draw.value).collect::<Vec<_>>(), [44, 55]);
    assert!(draws[2..].iter().all(|draw| draw.value == 0));
}

#[test]
fn appended_draws_make_a_seeded_lane_a_listed_one() {
    let mut side = Side::started(&json!({}));
    side.reset_first(None);
    side.ok(Verb::Draws, &Body::of(&[0, 1, 2, 1066, 77]).0);
    let draws = taken(&side.records(&[0, 0, 0]));
    assert_eq!(draws.iter().map(|draw| draw.value % 1000).collect::<Vec<_>>()[..2], [66, 77]);
    assert!(draws[2..].iter().all(|draw| draw.value == 0));
}

#[test]
fn draws_without_names_have_the_unnamed_site() {
    let mut request = hello(&json!({}));
    request["draws"]["named"] = false.into();
    let mut unnamed = Side::greeted(&json!({}), &request);
    let mut named = Side::new(&json!({}));
    let tokens = named.tokens(&mut Words::new(27), 1, 50);
    let play = |side: &mut Side| {
        let mut records = vec![side.reset_first(None)];
        records.extend(side.records(&tokens));
        records
    };
    let (unnamed, mut named) = (play(&mut unnamed), play(&mut named));
    let sites: std::collections::BTreeSet<_> =
        named.iter().flat_map(|record| &record.draws).map(|draw| draw.site).collect();
    assert_eq!(sites.into_iter().collect::<Vec<_>>(), [0, 1, 2]);
    named.iter_mut().flat_map(|record| &mut record.draws).for_each(|draw| draw.site = SITE_UNNAMED);
    assert_eq!(unnamed, named);
}

#[test]
fn inject_refuses_wrong_sizes_and_says_both() {
    let mut side = advanced(&json!({"agents": 2, "memory": true, "steps_max": 7}));
    let (state, observations) = (state_form(&mut side, 0), vec![0; 18]);
    let body = |state: &[u8], observations: &[u8]| {
        Body::of(&[FULL, 1, 0, 0, 0, 0]).u64s(&[SEED, 0]).u32s(&[SEEDED, 0]).sized(state).sized(observations).0
    };
    assert_eq!(state.len(), 108);
    side.ok(Verb::Inject, &body(&state, &observations));
    for size in [0, 12, 20, 107, 109] {
        let error = side.refused(Verb::Inject, &body(&vec![1; size], &observations));
        assert_eq!(error, format!("a state has 108 bytes, not {size}"));
    }
    for size in [0, 9, 17, 19] {
        let error = side.refused(Verb::Inject, &body(&state, &vec![1; size]));
        assert_eq!(error, format!("the observations have 18 bytes, not {size}"));
    }
    let nobody = [&state[..4], &[0; 4], &state[8..]].concat();
    assert_eq!(side.refused(Verb::Inject, &body(&nobody, &observations)), "deciders is 0b0");
}

#[test]
fn an_injected_lane_with_a_list_draws_on_from_its_place() {
    let mut side = advanced(&json!({}));
    let state = state_form(&mut side, 0);
    for (place, expected) in [(0, [11, 22]), (1, [22, 33]), (2, [33, 0]), (u32::MAX, [0, 0])] {
        let start = Body::of(&[DIGEST, 1, 0, 0, 0, place]).u64s(&[SEED, 0]).u32s(&[LISTED, 3, 11, 22, 33]);
        side.ok(Verb::Inject, &start.sized(&state).sized(&[0; 9]).0);
        let draws = taken(&side.records(&[0, 0]));
        assert_eq!(draws[..2].iter().map(|draw| draw.value % 1000).collect::<Vec<_>>(), expected, "place {place}");
    }
}

#[test]
fn an_injected_lane_goes_on_like_the_one_that_it_copies() {
    for options in all_forms() {
        let mut side = Side::started(&options);
        side.reset_first(None);
        let (tokens, more) = (side.tokens(&mut Words::new(28), 1, 40), side.tokens(&mut Words::new(29), 1, 60));
        let reply = side.step_many(Steps { mode: STATE, lane_count: 1, tokens: &tokens, ..Steps::default() });
        let records = side.lane_reply(&mut Parts(&reply), false, true).records;
        let (mut episode, mut elapsed, mut draw_index) = (0, 0, 1);
        for (_, record, _) in &records {
            elapsed += u32::from(record.kind == STEP);
            draw_index += taken(std::slice::from_ref(record)).len() as u32;
            if record.ended() {
                (episode, elapsed, draw_index) = (episode + 1, 0, 0);
            }
        }
        let last = &records.last().expect("a step has a record").1;
        let body = Body::of(&[STATE, 1, 3, episode, elapsed, draw_index])
            .u64s(&[SEED, 0])
            .u32s(&[SEEDED, 0])
            .sized(&last.canonical)
            .sized(&last.observations)
            .0;
        let reply = side.ok(Verb::Inject, &body);
        let injected = side.record(Parts(&reply).sized(), false, true);
        let rewards = vec![0; last.rewards.len()];
        let expected =
            Record { kind: INJECT, terminated: false, truncated: false, draws: vec![], rewards, ..last.clone() };
        assert_eq!(injected, expected, "{options}");
        assert!(side.draw_log(3).is_empty());

        let expected = side.records(&more);
        let reply =
            side.step_many(Steps { mode: FULL, lane_first: 3, lane_count: 1, tokens: &more, ..Steps::default() });
        let observed = side.lane_reply(&mut Parts(&reply), false, false).records;
        assert!(observed.into_iter().map(|(_, record, _)| record).eq(expected), "{options}");
    }
}

#[test]
fn a_restored_lane_goes_on_like_the_one_that_was_copied() {
    for options in all_forms() {
        let (mut side, mut other) = (advanced(&options), Side::started(&options));
        for lane in [1, 2] {
            let blob = side.snapshot(lane);
            other.done(Verb::Restore, &Body::of(&[1, 4]).sized(&blob).0);
            assert_eq!(other.snapshot(4), blob);
            assert!(other.draw_log(4).is_empty());
            let tokens = side.tokens(&mut Words::new(30), 1, 90);
            let steps = Steps { window: 8, lane_count: 1, tokens: &tokens, ..Steps::default() };
            let expected = side.step_many(Steps { lane_first: lane, ..steps });
            assert_eq!(other.step_many(Steps { lane_first: 4, ..steps }), expected, "lane {lane} of {options}");
        }
    }
}

#[test]
fn a_lane_that_is_reset_leaves_its_neighbours_alone() {
    let mut side = advanced(&json!({"agents": 2, "memory": true, "steps_max": 7}));
    let others = [0, 1, 3, 4];
    let before = others.map(|lane| side.snapshot(lane));
    side.ok(Verb::Reset, &Body::of(&[DIGEST, 1]).lane_start(2, 9, None).0);
    assert_eq!(others.map(|lane| side.snapshot(lane)), before);
}
