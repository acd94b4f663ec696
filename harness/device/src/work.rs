//! What a step costs a GPU by the interpreter's count: instructions, how many lanes of a warp are busy, sectors of memory.
//!
//! It counts PTX and not what `ptxas` makes of it, and knows no cache; so it is the same on every machine, and a model.

use crate::Ptx;
use crate::tools::{Request, token_seed};
use lockstep_core::device::{DeviceRules, Launches, OnDevice};
use lockstep_ptx::{Checks, Work};
use serde_json::{Value, json};

/// Bytes of a sector, the least that a GPU moves between memory and a multiprocessor.
const SECTOR_BYTES: f64 = 32.0;

/// Instructions after which no further launch is counted.
const INSTRUCTIONS_ENOUGH: u64 = 200_000_000;

/// Steps that are played before anything is counted, so that lanes have come apart.
const STEPS_BEFORE: usize = 16;

/// Plays a rollout in each form in which it is timed, and counts.
///
/// # Errors
/// If the kernels can't be loaded, or one of them faults.
pub(crate) fn count<R: DeviceRules>(request: &Request) -> Result<Value, String> {
    let mut rows = Vec::new();
    for (form, steps, times, observations) in [("fused", request.launch, 1, false), ("single", 1, request.launch, true)]
    {
        let mut lanes = OnDevice::<R, Ptx>::new(request.world::<R>()?, request.lanes, Ptx::open(R::ptx())?)?;
        lanes.begin_rollout(request.seed)?;
        let launches = Launches { steps, times, digests: false, observations, graph: false };
        let before = Launches { steps: STEPS_BEFORE, times: 1, ..launches };
        lanes.rollout(token_seed(request.seed), before)?;
        lanes.device().check(Checks { races: false, sectors: true });
        lanes.device().take_work();
        let (mut work, mut played) = (Work::default(), 0);
        while played < request.steps && work.thread_instructions < INSTRUCTIONS_ENOUGH {
            lanes.rollout(token_seed(request.seed), launches)?;
            work.add(&lanes.device().take_work());
            played += request.launch;
        }
        let played = (played * request.lanes) as f64;
        rows.push(json!({
            "form": form, "kernel": "rollout", "steps_per_launch": steps,
            "instructions_per_step": work.thread_instructions as f64 / played,
            "issues_per_step": work.issues as f64 / played,
            "simt_efficiency": work.simt_efficiency(),
            "bytes_loaded_per_step": SECTOR_BYTES * work.sectors_loaded as f64 / played,
            "bytes_stored_per_step": SECTOR_BYTES * work.sectors_stored as f64 / played,
            "local_accesses_per_step": work.local_accesses as f64 / played,
            "hottest": work.hottest(3),
        }));
    }
    Ok(json!({"lanes": request.lanes, "rows": rows}))
}
