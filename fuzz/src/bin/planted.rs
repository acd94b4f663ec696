//! libFuzzer over counter against itself with a bug: the fourth coin of a purse is lost.
#![no_main]

use lockstep_core::{
    Draws, Files, Mask, Opened, Options, Out, Outcome, Reader, Refusal, Regions, Rules, Shape, Start, WorldError,
    Writer,
};
use lockstep_env_counter::{Counter, State, World};
use lockstep_fuzz::Target;
use lockstep_harness::sides::InProcess;

struct Planted;

impl Rules for Planted {
    const NAME: &'static str = Counter::NAME;
    const AGENTS: usize = Counter::AGENTS;
    const MANIFEST: &'static str = Counter::MANIFEST;
    type World = World;
    type State = State;
    type Reward = f32;

    fn world(options: Options, files: &Files) -> Result<World, WorldError> {
        Counter::world(options, files)
    }

    fn shape(world: &World) -> Shape {
        Counter::shape(world)
    }

    fn reset<D: Draws, O: Out<f32>>(
        world: &World,
        state: &mut State,
        regions: &mut impl Regions,
        start: Start,
        draws: &mut D,
        out: &mut O,
    ) {
        Counter::reset(world, state, regions, start, draws, out);
    }

    fn deciders(world: &World, state: &State) -> u32 {
        Counter::deciders(world, state)
    }

    fn legal(world: &World, state: &State, regions: &impl Regions, agent: usize, mask: &mut Mask<'_>) {
        Counter::legal(world, state, regions, agent, mask);
    }

    fn step<D: Draws, O: Out<f32>>(
        world: &World,
        state: &mut State,
        regions: &mut impl Regions,
        action: &[u32],
        draws: &mut D,
        out: &mut O,
    ) -> Outcome {
        let outcome = Counter::step(world, state, regions, action, draws, out);
        if state.purse[0] == 4 {
            state.purse[0] = 3;
        }
        outcome
    }

    fn observe(world: &World, state: &State, regions: &impl Regions, agent: usize, out: &mut Writer<'_>) {
        Counter::observe(world, state, regions, agent, out);
    }

    fn canonical(world: &World, state: &State, out: &mut Writer<'_>) {
        Counter::canonical(world, state, out);
    }

    fn inject(world: &World, state: &mut State, input: &mut Reader<'_>) -> Result<(), Refusal> {
        Counter::inject(world, state, input)
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let sides = InProcess { reference: Opened::scalar::<Counter>, backend: Opened::scalar::<Planted> };
    lockstep_fuzz::play(Target { manifest: Counter::MANIFEST, sides }, bytes);
});
