//! `toy`, an environment that has one of everything that the core handles, and makes no sense as a game.
//!
//! It is shared by the suites here and is nobody's reference: tests compare one way of driving it with another. All its
//! arithmetic wraps, so that no state, however it came about, can stop it.

use bytemuck::{Pod, Zeroable};
use lockstep_core::{
    ActionKind, Draws, Files, Mask, Options, Out, Outcome, Reader, Refusal, RegionShape, Regions, Resets, Rules, Shape,
    Start, WorldError, Writer, draw_word,
};
use serde_json::{Value, json};

/// Ordinary actions of the discrete form; a mask has two words.
pub const ACTION_COUNT: u32 = 40;
/// Odd actions behind them.
pub const ACTION_EXTRA: u32 = 2;
/// Bytes of the memory where there is one.
pub const MEMORY_BYTES: u32 = 96;

const SITE_VALUE: u32 = 0;
const SITE_WORD: u32 = 1;
const SITE_NOTE: u32 = 2;
const GRAIN_AGENT: usize = 0;
const GRAIN_STEP: usize = 1;

pub struct Toy;

pub struct World {
    agents: usize,
    width: usize,
    continuous: bool,
    memory: bool,
    resets_itself: bool,
    steps_max: Option<u32>,
    /// Whether the rules panic when the lane draws a 7.
    fragile: bool,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct State {
    pub value: u32,
    pub deciders: u32,
    pub tick: u32,
}

/// The world of these options.
pub fn world<R: Rules>(options: &Value) -> R::World {
    let options = Options::new(options.as_object().expect("options are an object").clone());
    R::world(options, &Files::new()).expect("the options are valid")
}

/// Forms of the toy that differ in all that the core looks at.
pub fn forms() -> Vec<Value> {
    vec![
        json!({}),
        json!({"agents": 2, "memory": true, "steps_max": 7}),
        json!({"agents": 3, "width": 2, "steps_max": 1}),
        json!({"agents": 2, "continuous": true, "memory": true}),
    ]
}

/// Words for tests. The seed is told, so that a run can be repeated with `LOCKSTEP_TEST_SEED`.
pub struct Words {
    seed: u64,
    stream: u64,
    index: u32,
}

impl Words {
    pub fn new(stream: u64) -> Self {
        let asked = std::env::var("LOCKSTEP_TEST_SEED").ok();
        let seed = asked.map_or(20_260_417, |seed| seed.parse().expect("LOCKSTEP_TEST_SEED is a whole number"));
        println!("LOCKSTEP_TEST_SEED={seed} (stream {stream})");
        Words { seed, stream, index: 0 }
    }

    pub fn word(&mut self) -> u32 {
        self.index += 1;
        draw_word(self.seed, self.stream, 0, self.index - 1)
    }

    /// Tokens that the action kind defines: a continuous action is finite.
    pub fn tokens(&mut self, action: ActionKind, count: usize) -> Vec<u32> {
        (0..count).map(|_| token(action, self.word())).collect()
    }
}

/// A defined token made of any word.
pub fn token(action: ActionKind, word: u32) -> u32 {
    match action {
        ActionKind::Continuous if !f32::from_bits(word.rotate_right(1)).is_finite() => word & 0x7FFF_FFFF,
        _ => word,
    }
}

impl Rules for Toy {
    const NAME: &'static str = "toy";
    const AGENTS: usize = 3;
    const MANIFEST: &'static str = "name = \"toy\"\n";
    type World = World;
    type State = State;
    type Reward = f64;

    fn world(mut options: Options, _files: &Files) -> Result<World, WorldError> {
        let steps_max = options.u32("steps_max", 0, 0..=1000)?;
        let world = World {
            agents: options.u32("agents", 1, 1..=3)? as usize,
            width: options.u32("width", 1, 1..=2)? as usize,
            continuous: options.bool("continuous", false)?,
            memory: options.bool("memory", false)?,
            resets_itself: options.bool("resets_itself", false)?,
            steps_max: (steps_max > 0).then_some(steps_max),
            fragile: options.bool("fragile", false)?,
        };
        options.finish()?;
        Ok(world)
    }

    fn shape(world: &World) -> Shape {
        let memory = RegionShape { name: "memory", bytes: MEMORY_BYTES as usize, canonical: true };
        Shape {
            agents: world.agents,
            width: world.width,
            action: match world.continuous {
                true => ActionKind::Continuous,
                false => ActionKind::Discrete { count: ACTION_COUNT, extra: ACTION_EXTRA, mask: true },
            },
            canonical_bytes: 12,
            observation_bytes: 9,
            row_bytes: vec![8, 4],
            regions: if world.memory { vec![memory] } else { vec![] },
            episode_steps_max: world.steps_max,
            resets: if world.resets_itself { Resets::Reference } else { Resets::Harness },
        }
    }

    fn reset<D: Draws, O: Out<f64>>(
        world: &World,
        state: &mut State,
        regions: &mut impl Regions,
        start: Start,
        draws: &mut D,
        out: &mut O,
    ) {
        let seeds = (start.seed ^ start.stream.rotate_left(17)) as u32 ^ start.episode;
        *state = State { value: mix(seeds ^ draws.word(SITE_WORD)), deciders: everybody(world), tick: 0 };
        if world.memory {
            regions.clear(0);
        }
        look(world, state, regions, out);
    }

    fn deciders(_world: &World, state: &State) -> u32 {
        state.deciders
    }

    fn legal(_world: &World, state: &State, _regions: &impl Regions, agent: usize, mask: &mut Mask<'_>) {
        let seen = mix(state.value ^ agent as u32);
        // With no bit set in the low half there is no legal action at all.
        (0..ACTION_COUNT).filter(|action| seen >> (action % 16) & 1 == 1).for_each(|action| mask.allow(action));
    }

    fn step<D: Draws, O: Out<f64>>(
        world: &World,
        state: &mut State,
        regions: &mut impl Regions,
        action: &[u32],
        draws: &mut D,
        out: &mut O,
    ) -> Outcome {
        state.tick = state.tick.wrapping_add(1);
        for agent in 0..world.agents {
            for action in &action[agent * world.width..(agent + 1) * world.width] {
                let drawn = draws.below(1000, SITE_VALUE);
                assert!(!(world.fragile && drawn % 10 == 7), "a fragile toy drew a 7");
                state.value = mix(state.value ^ action.wrapping_mul(0x0100_0193) ^ drawn);
            }
            if let Some(mut row) = out.row(GRAIN_AGENT) {
                row.u32(agent as u32);
                row.u32(state.value);
            }
            out.reward(agent, f64::from(state.value) / 3.0);
        }
        if state.value.is_multiple_of(4) {
            draws.note(1 << 40, u64::from(state.value), SITE_NOTE);
        }
        if world.memory {
            let word = state.value % (MEMORY_BYTES / 4) * 4;
            regions.store32(0, word, mix(regions.load32(0, word)));
            regions.store8(0, state.tick % MEMORY_BYTES, state.value as u8);
        }
        state.deciders = 1 + state.value / 8 % everybody(world);
        let outcome = Outcome { terminated: state.value.is_multiple_of(13), truncated: state.value.is_multiple_of(29) };
        if out.wants(GRAIN_STEP)
            && let Some(mut row) = out.row(GRAIN_STEP)
        {
            row.u32(state.tick);
        }
        if world.resets_itself && (outcome.terminated || outcome.truncated) {
            *state = State { value: draws.word(SITE_WORD), deciders: everybody(world), tick: 0 };
            look(world, state, regions, out);
        } else if !state.value.is_multiple_of(3) {
            look(world, state, regions, out);
        }
        outcome
    }

    fn observe(world: &World, state: &State, regions: &impl Regions, agent: usize, out: &mut Writer<'_>) {
        out.u32(state.value.wrapping_add(agent as u32));
        out.u32(state.tick);
        out.u8(if world.memory { regions.load8(0, state.value % MEMORY_BYTES) } else { 0 });
    }

    fn canonical(_world: &World, state: &State, out: &mut Writer<'_>) {
        out.u32(state.value);
        out.u32(state.deciders);
        out.u32(state.tick);
    }

    fn inject(world: &World, state: &mut State, input: &mut Reader<'_>) -> Result<(), Refusal> {
        *state = State { value: input.u32()?, deciders: input.u32()?, tick: input.u32()? };
        if state.deciders == 0 || state.deciders & !everybody(world) != 0 {
            return Err(Refusal(format!("deciders is {:#b}", state.deciders)));
        }
        Ok(())
    }

    const PROBES: &'static [&'static str] = &["mix"];

    fn probe(_world: &World, function: &str, input: &Value) -> Result<Value, Refusal> {
        let number = input.as_u64().and_then(|number| u32::try_from(number).ok());
        match (function, number) {
            ("mix", Some(number)) => Ok(json!(mix(number))),
            ("mix", None) => Err(Refusal(format!("mix takes a u32, not {input}"))),
            _ => Err(Refusal(format!("no function {function} can be probed"))),
        }
    }
}

/// Scrambles a word, so that every later result depends on every earlier one.
pub fn mix(word: u32) -> u32 {
    let word = (word ^ word >> 16).wrapping_mul(0x7FEB_352D);
    let word = (word ^ word >> 15).wrapping_mul(0x846C_A68B);
    (word ^ word >> 16).wrapping_add(1)
}

fn everybody(world: &World) -> u32 {
    (1 << world.agents) - 1
}

fn look(world: &World, state: &State, regions: &impl Regions, out: &mut impl Out<f64>) {
    for agent in 0..world.agents {
        if let Some(mut writer) = out.observation(agent) {
            Toy::observe(world, state, regions, agent, &mut writer);
        }
    }
}
