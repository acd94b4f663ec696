//! Lanes as training drives them: the field behind the trait of the table of functions, with Gymnasium's reset modes.

use super::backend::{control_of, undefined};
use super::field::{Field, Noted};
use super::instructions::{Instructions, Precision};
use crate::rules::HalfCheetah;
use crate::state::State;
use crate::world::World;
use lockstep_core::batch::{BatchError, ResetMode};
use lockstep_core::driver::{Driver, Outputs, Starts, read_save, write_save};
use lockstep_core::{Files, Header, Options, Reader, Reward, Rules, Shape, Source, Writer};

/// A field with what the trait asks for.
struct Training {
    shape: Shape,
    mode: ResetMode,
    field: Field,
    headers: Vec<Header>,
    finished: Vec<bool>,
    controls: Vec<[f32; 6]>,
}

/// Opens `rust.simd`; the instruction set is the one that `LOCKSTEP_HALF_CHEETAH_SIMD` names, or the fastest.
///
/// # Errors
/// If the options are wrong, there is no such instruction set, or the mode is `Reference`.
pub fn open(options: Options, files: &Files, lanes: usize, mode: ResetMode) -> Result<Box<dyn Driver>, String> {
    let world = World::new(options, files).map_err(|error| error.0)?;
    open_on(world, lanes, mode, Instructions::chosen()?, Precision::Double)
}

/// Opens `rust.f32`, in the same way.
///
/// # Errors
/// If the options are wrong, there is no such instruction set, or the mode is `Reference`.
pub fn open_single(options: Options, files: &Files, lanes: usize, mode: ResetMode) -> Result<Box<dyn Driver>, String> {
    let world = World::new(options, files).map_err(|error| error.0)?;
    open_on(world, lanes, mode, Instructions::chosen()?, Precision::Single)
}

/// Opens either on an instruction set that this machine has.
///
/// # Errors
/// If the mode is `Reference`.
pub fn open_on(
    world: World,
    lanes: usize,
    mode: ResetMode,
    instructions: Instructions,
    precision: Precision,
) -> Result<Box<dyn Driver>, String> {
    if mode == ResetMode::Reference {
        return Err("half_cheetah does not reset itself: use NextStep, SameStep or Disabled".into());
    }
    Ok(Box::new(Training {
        shape: world.shape(),
        mode,
        field: Field::new(&world, lanes, instructions, precision),
        headers: vec![Header::default(); lanes],
        finished: vec![true; lanes],
        controls: vec![[0.0; 6]; lanes],
    }))
}

/// The rewards as numbers.
fn rewards(bytes: &mut [u8]) -> Result<&mut [f64], BatchError> {
    bytemuck::try_cast_slice_mut(bytes)
        .map_err(|_| BatchError("the buffer of rewards is not one of aligned f64".into()))
}

impl Training {
    fn size(&self) -> usize {
        self.shape.observation_bytes
    }

    /// Starts a lane and writes what it shows.
    fn begin(&mut self, lane: usize, header: Header, out: &mut Outputs<'_>) {
        self.headers[lane] = header;
        self.finished[lane] = false;
        self.field.start(lane, header, &mut Noted::default());
        self.show(lane, out);
    }

    /// Writes the observation of a lane that was started or set, no reward and no flag.
    fn show(&self, lane: usize, out: &mut Outputs<'_>) {
        let size = self.size();
        self.field.observe(lane, &mut out.observations[lane * size..(lane + 1) * size]);
        self.clear(lane, out);
    }

    fn clear(&self, lane: usize, out: &mut Outputs<'_>) {
        out.rewards[8 * lane..8 * lane + 8].fill(0);
        (out.terminated[lane], out.truncated[lane]) = (0, 0);
        if let Some(deciders) = out.deciders.get_mut(lane) {
            *deciders = 1;
        }
    }

    fn take_in(&mut self, lane: usize, header: Header, state: &State, observation: &[u8], out: &mut Outputs<'_>) {
        self.headers[lane] = header;
        self.field.set(lane, state);
        let size = self.size();
        out.observations[lane * size..(lane + 1) * size].copy_from_slice(observation);
        self.clear(lane, out);
    }
}

impl Driver for Training {
    fn environment(&self) -> &'static str {
        HalfCheetah::NAME
    }

    fn reward(&self) -> &'static str {
        f64::DTYPE
    }

    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn lane_count(&self) -> usize {
        self.headers.len()
    }

    fn reset(&mut self, starts: Starts<'_>, which: Option<&[u8]>, out: &mut Outputs<'_>) -> Result<(), BatchError> {
        rewards(out.rewards)?;
        for lane in (0..self.headers.len()).filter(|lane| which.is_none_or(|which| which[*lane] != 0)) {
            let now = self.headers[lane];
            // The step that ended an episode has named the next one.
            let episode = if self.finished[lane] { now.episode } else { now.episode.wrapping_add(1) };
            let next = Header { episode, elapsed: 0, draw_index: 0, ..now };
            self.begin(lane, starts.header(lane, || next), out);
        }
        Ok(())
    }

    fn step(&mut self, tokens: &[u32], out: &mut Outputs<'_>) -> Result<(), BatchError> {
        let lanes = self.headers.len();
        if tokens.len() != 6 * lanes {
            return Err(BatchError(format!("{} action tokens for {}", tokens.len(), 6 * lanes)));
        }
        if let Some(what) = undefined(tokens) {
            return Err(BatchError(what));
        }
        if let Some(lane) = self.finished() {
            return Err(BatchError(format!("lane {lane} has finished its episode: reset it first")));
        }
        for (control, tokens) in self.controls.iter_mut().zip(tokens.chunks_exact(6)) {
            *control = std::array::from_fn(|joint| control_of(tokens[joint]));
        }
        self.field.step(&self.controls, rewards(out.rewards)?);
        let limit = self.shape.episode_steps_max.unwrap_or(u32::MAX);
        let size = self.size();
        for lane in 0..lanes {
            if self.finished[lane] {
                // Mode `NextStep`: the step is that of the reset.
                self.begin(lane, self.headers[lane], out);
                continue;
            }
            let header = &mut self.headers[lane];
            header.elapsed = header.elapsed.wrapping_add(1);
            let truncated = header.elapsed >= limit;
            (out.terminated[lane], out.truncated[lane]) = (0, u8::from(truncated));
            let place = lane * size..(lane + 1) * size;
            if truncated {
                *header = Header { episode: header.episode.wrapping_add(1), elapsed: 0, draw_index: 0, ..*header };
                if self.mode == ResetMode::SameStep {
                    self.field.observe(lane, &mut out.final_observations[place.clone()]);
                    let next = *header;
                    self.field.start(lane, next, &mut Noted::default());
                } else {
                    self.finished[lane] = true;
                }
            }
            self.field.observe(lane, &mut out.observations[place]);
        }
        out.deciders.fill(1);
        Ok(())
    }

    fn finished(&self) -> Option<usize> {
        if self.mode == ResetMode::Disabled { self.finished.iter().position(|finished| *finished) } else { None }
    }

    fn save(&self, lane: usize, shown: &Outputs<'_>) -> Result<Vec<u8>, BatchError> {
        let observation = &shown.observations[lane * self.size()..(lane + 1) * self.size()];
        let state = self.field.state(lane);
        let mut bytes = write_save::<HalfCheetah>(&self.headers[lane], &Source::Seeded, state, observation);
        bytes[0] = u8::from(self.finished[lane]);
        Ok(bytes)
    }

    fn restore(&mut self, lane: usize, bytes: &[u8], out: &mut Outputs<'_>) -> Result<(), BatchError> {
        let (header, _, state, observation) = read_save::<HalfCheetah>(bytes, self.size())?;
        self.take_in(lane, header, &state, observation, out);
        self.finished[lane] = bytes[0] != 0;
        Ok(())
    }

    fn set(
        &mut self,
        lane: usize,
        header: Header,
        _source: Source,
        state: Option<(&[u8], &[u8])>,
        out: &mut Outputs<'_>,
    ) -> Result<(), BatchError> {
        let Some((state, observation)) = state else {
            self.begin(lane, header, out);
            return Ok(());
        };
        if state.len() != self.shape.state_bytes() || observation.len() != self.size() {
            let (states, observations) = (state.len(), observation.len());
            return Err(BatchError(format!("a state has {states} bytes, or an observation {observations}")));
        }
        let mut set = *self.field.state(lane);
        HalfCheetah::inject(self.field.world(), &mut set, &mut Reader::new(state))
            .map_err(|refusal| BatchError(refusal.0))?;
        self.take_in(lane, header, &set, observation, out);
        self.finished[lane] = false;
        Ok(())
    }

    fn state(&self, lane: usize, out: &mut Vec<u8>) {
        let from = out.len();
        out.resize(from + self.shape.state_bytes(), 0);
        HalfCheetah::canonical(self.field.world(), self.field.state(lane), &mut Writer::new(&mut out[from..]));
    }
}
