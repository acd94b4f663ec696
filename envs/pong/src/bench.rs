//! `rust.simd` as `lockstep bench` times it: each instruction set of this machine, both layouts of observations.

use crate::World;
use crate::simd::{Field, Instructions, Layout, Outputs};
use lockstep_core::bench::{Bencher, Contest, CpuClock, Timed, tokens};

/// The entry for the runner.
pub const SIMD: Bencher = Bencher { name: "rust.simd", contests, time };

const LAYOUTS: [(&str, Layout); 2] = [("rows", Layout::Rows), ("soa", Layout::Columns)];

fn contests() -> Vec<(&'static str, &'static str)> {
    let sets = Instructions::available();
    LAYOUTS.iter().flat_map(|(layout, _)| sets.iter().rev().map(|set| (*layout, set.name()))).collect()
}

fn time(contest: Contest) -> Result<Timed, String> {
    let world = World::new(contest.options, &contest.files).map_err(|error| error.0)?;
    let asked = (contest.layout.as_str(), contest.instructions.as_str());
    let layout = LAYOUTS.iter().find(|(name, _)| *name == asked.0).map(|(_, layout)| *layout);
    let layout = layout.ok_or_else(|| format!("backend rust.simd has no layout {:?}, only rows and soa", asked.0))?;
    let instructions = Instructions::available().into_iter().find(|set| set.name() == asked.1);
    let instructions = instructions.ok_or_else(|| format!("this machine has no instructions {:?}", asked.1))?;
    let mut field = Field::new(&world, contest.lanes, instructions)?;
    field.reset(7);
    let mut observations = vec![0.0; 8 * contest.lanes];
    field.observe(layout, &mut observations);
    let (mut rewards, mut terminals) = (vec![0.0; contest.lanes], vec![0; contest.lanes]);
    let actions: Vec<Vec<u8>> = tokens(contest.lanes)
        .into_iter()
        .map(|step| step.into_iter().map(|token| (token % 3) as u8).collect())
        .collect();
    let clock = CpuClock::start();
    for step in 0..contest.steps {
        let outputs = Outputs { observations: &mut observations, rewards: &mut rewards, terminals: &mut terminals };
        field.step(layout, &actions[step % actions.len()], outputs);
    }
    let cpu_seconds = clock.seconds();
    Ok(Timed {
        steps: (contest.lanes * contest.steps) as u64,
        cpu_seconds,
        layout: contest.layout,
        instructions: contest.instructions,
        reads: "1 B of actions".into(),
        writes:
            "24 B of observations (two of the eight values are constants, written once), 4 B of reward, 1 B of flags"
                .into(),
    })
}
