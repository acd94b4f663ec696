//! Plays a trace on one lane, as the judge plays it: a lane whose episode ends is reset in the same step.

use crate::Error;
use crate::lanes::{Handle, check_shape, episode, state_of};
use crate::library::Loaded;
use lockstep_core::table::{RawBuffers, RawEpisode};
use lockstep_harness::side::Source;
use lockstep_harness::trace::Trace;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use serde_json::json;

/// Steps between two looks at whether Ctrl-C was pressed.
const STEPS_UNWATCHED: usize = 4096;

/// Plays the text of a trace file. Returns the configuration's name and the bytes of: observations and states before the
/// first step and after each, final observations of the steps that ended an episode (zeros for the others; none where
/// the reference resets itself), rewards, terminated, truncated.
pub fn replay<'py>(py: Python<'py>, loaded: &Loaded, backend: &str, text: &str) -> PyResult<Bound<'py, PyTuple>> {
    let trace = Trace::from_text(&loaded.manifest, text).map_err(|error| PyValueError::new_err(error.to_string()))?;
    let configuration = loaded
        .manifest
        .configuration(&trace.configuration)
        .map_err(|error| PyValueError::new_err(error.to_string()))?;
    let mode = if configuration.reference_resets { "reference" } else { "same_step" };
    let request = json!({"backend": backend, "options": configuration.options, "files": configuration.files});
    let handle = Handle::open(loaded.table, &request, 1, mode)
        .and_then(|handle| check_shape(&handle.shape(), configuration).map(|()| handle))
        .map_err(PyValueError::new_err)?;
    let agents = configuration.agents;
    let size = agents * configuration.observation_bytes();
    let mut observation = vec![0u64; size.div_ceil(8)];
    let mut finals = vec![0u64; size.div_ceil(8)];
    let mut reward = vec![0u64; agents];
    let (mut terminated, mut truncated) = (0u8, 0u8);
    let mut masks = vec![0u32; agents * configuration.mask_words()];
    let raw = RawBuffers {
        observations: observation.as_mut_ptr().cast(),
        rewards: reward.as_mut_ptr().cast(),
        terminated: &mut terminated,
        truncated: &mut truncated,
        masks: if masks.is_empty() { std::ptr::null_mut() } else { masks.as_mut_ptr() },
        final_observations: finals.as_mut_ptr().cast(),
        deciders: std::ptr::null_mut(),
    };
    let draws = match &trace.draws {
        Source::Seeded => None,
        Source::Listed(values) => Some(values),
    };
    let mut start = episode(trace.seed, trace.stream, trace.episode);
    if let Some(draws) = draws {
        start = RawEpisode { listed: 1, draws: draws.as_ptr(), draw_count: draws.len(), ..start };
    }
    if let Some(state) = &trace.state {
        start = RawEpisode {
            elapsed: state.elapsed,
            draw_index: state.draw_index,
            state: state.state.as_ptr(),
            state_size: state.state.len(),
            observations: state.observations.as_ptr(),
            observations_size: state.observations.len(),
            ..start
        };
    }
    // SAFETY: the handle is open, the trace outlives the call, the buffers are of the shape.
    if unsafe { (loaded.table.set)(handle.raw, 0, &start, &raw) } != 0 {
        return Err(PyValueError::new_err(handle.error()));
    }
    let reward_size = agents * configuration.reward.bytes();
    let bytes = |at: *const u8, size: usize| {
        // SAFETY: the buffers have these sizes.
        unsafe { std::slice::from_raw_parts(at, size) }
    };
    let state = || state_of(&handle, loaded.table, 0).map_err(Error::new_err);
    let mut played: [Vec<u8>; 6] = Default::default();
    played[0].extend_from_slice(bytes(raw.observations, size));
    played[1].extend(state()?);
    for (step, tokens) in trace.tokens.chunks_exact(trace.tokens_per_step).enumerate() {
        if step % STEPS_UNWATCHED == 0 {
            py.check_signals()?;
        }
        // SAFETY: the handle is open, tokens and buffers are of the shape.
        if unsafe { (loaded.table.step)(handle.raw, tokens.as_ptr(), &raw) } != 0 {
            return Err(Error::new_err(format!("step {step}: {}", handle.error())));
        }
        let [ended_so, cut_so] = [raw.terminated, raw.truncated].map(|flag| bytes(flag, 1)[0]);
        played[0].extend_from_slice(bytes(raw.observations, size));
        played[1].extend(state()?);
        if ended_so | cut_so != 0 && !configuration.reference_resets {
            played[2].extend_from_slice(bytes(raw.final_observations, size));
        } else {
            played[2].extend(std::iter::repeat_n(0, size));
        }
        played[3].extend_from_slice(bytes(raw.rewards.cast(), reward_size));
        played[4].push(ended_so);
        played[5].push(cut_so);
    }
    let [observations, states, finals, rewards, terminated, truncated] = played.map(|bytes| PyBytes::new(py, &bytes));
    (&configuration.name, observations, states, finals, rewards, terminated, truncated).into_pyobject(py)
}
