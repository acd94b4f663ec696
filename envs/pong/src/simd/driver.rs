//! `rust.simd` as training drives it: the field behind the trait of the table of functions.

use super::field::{Field, Layout, Outputs as Shown};
use super::instructions::Instructions;
use crate::rules::Pong;
use crate::world::World;
use lockstep_core::batch::{BatchError, ResetMode};
use lockstep_core::driver::{Driver, Outputs, Starts, read_save, write_save};
use lockstep_core::{Files, Header, Options, Reader, Rules, Shape, Source, Writer, decode};

/// Bytes of one lane's observation.
const OBSERVATION_BYTES: usize = 32;

/// A field with what the trait asks for.
struct Training {
    world: World,
    shape: Shape,
    field: Field,
    actions: Vec<u8>,
}

/// Opens it; the instruction set is the one that `LOCKSTEP_PONG_SIMD` names, or the fastest.
///
/// # Errors
/// If the options are wrong or not all default, there is no such instruction set, or the mode is not `Reference`.
pub fn open(options: Options, files: &Files, lanes: usize, mode: ResetMode) -> Result<Box<dyn Driver>, String> {
    let world = World::new(options, files).map_err(|error| error.0)?;
    if mode != ResetMode::Reference {
        return Err("pong resets itself: use Reference".into());
    }
    let field = Field::new(&world, lanes, Instructions::chosen()?)?;
    Ok(Box::new(Training { shape: world.shape(), world, field, actions: vec![0; lanes] }))
}

/// The rows of observations as numbers.
fn rows<'a>(out: &'a mut Outputs<'_>) -> Result<&'a mut [f32], BatchError> {
    bytemuck::try_cast_slice_mut(out.observations)
        .map_err(|_| BatchError("the buffer of observations is not one of aligned f32".into()))
}

impl Training {
    /// Writes what one lane shows after it was started or set.
    fn show(&self, lane: usize, view: [f32; 8], out: &mut Outputs<'_>) -> Result<(), BatchError> {
        rows(out)?[8 * lane..8 * lane + 8].copy_from_slice(&view);
        out.rewards[4 * lane..4 * lane + 4].fill(0);
        (out.terminated[lane], out.truncated[lane]) = (0, 0);
        if let Some(deciders) = out.deciders.get_mut(lane) {
            *deciders = 1;
        }
        Ok(())
    }

    fn take_in(
        &mut self,
        lane: usize,
        header: Header,
        source: Source,
        state: &crate::State,
        observation: &[u8],
        out: &mut Outputs<'_>,
    ) -> Result<(), BatchError> {
        let view: [f32; 8] = bytemuck::pod_read_unaligned(observation);
        self.field.set(lane, header, source, state, view).map_err(|refusal| BatchError(refusal.0))?;
        self.show(lane, view, out)
    }
}

impl Driver for Training {
    fn environment(&self) -> &'static str {
        Pong::NAME
    }

    fn reward(&self) -> &'static str {
        "f32"
    }

    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn lane_count(&self) -> usize {
        self.actions.len()
    }

    fn reset(&mut self, starts: Starts<'_>, which: Option<&[u8]>, out: &mut Outputs<'_>) -> Result<(), BatchError> {
        for lane in (0..self.actions.len()).filter(|lane| which.is_none_or(|which| which[*lane] != 0)) {
            let now = self.field.header(lane);
            // The step that ends an episode has begun the next one, so every lane is inside of an episode.
            let next = Header { episode: now.episode.wrapping_add(1), elapsed: 0, draw_index: 0, ..now };
            self.field.start(lane, starts.header(lane, || next), Source::Seeded);
            self.show(lane, self.field.view(&self.field.state(lane)), out)?;
        }
        Ok(())
    }

    fn step(&mut self, tokens: &[u32], out: &mut Outputs<'_>) -> Result<(), BatchError> {
        let action = self.shape.action;
        if tokens.len() != self.actions.len() {
            return Err(BatchError(format!("{} action tokens for {}", tokens.len(), self.actions.len())));
        }
        if tokens.iter().fold(0, |most, token| most.max(*token)) < 3 {
            self.actions.iter_mut().zip(tokens).for_each(|(action, token)| *action = *token as u8);
        } else {
            self.actions
                .iter_mut()
                .zip(tokens)
                .for_each(|(place, token)| *place = decode(action, &[], *token).min(u32::from(u8::MAX)) as u8);
        }
        out.truncated.fill(0);
        let rewards = bytemuck::try_cast_slice_mut(out.rewards)
            .map_err(|_| BatchError("the buffer of rewards is not one of aligned f32".into()))?;
        let observations = bytemuck::try_cast_slice_mut(out.observations)
            .map_err(|_| BatchError("the buffer of observations is not one of aligned f32".into()))?;
        let shown = Shown { observations, rewards, terminals: out.terminated };
        self.field.step(Layout::Rows, &self.actions, shown);
        out.deciders.fill(1);
        Ok(())
    }

    fn save(&self, lane: usize, shown: &Outputs<'_>) -> Result<Vec<u8>, BatchError> {
        let from = lane * OBSERVATION_BYTES;
        let observation = &shown.observations[from..from + OBSERVATION_BYTES];
        let (header, source) = (self.field.header(lane), self.field.source(lane));
        Ok(write_save::<Pong>(&header, source, &self.field.state(lane), observation))
    }

    fn restore(&mut self, lane: usize, bytes: &[u8], out: &mut Outputs<'_>) -> Result<(), BatchError> {
        let (header, source, state, observation) = read_save::<Pong>(bytes, OBSERVATION_BYTES)?;
        self.take_in(lane, header, source, &state, observation, out)
    }

    fn set(
        &mut self,
        lane: usize,
        header: Header,
        source: Source,
        state: Option<(&[u8], &[u8])>,
        out: &mut Outputs<'_>,
    ) -> Result<(), BatchError> {
        let Some((state, observation)) = state else {
            self.field.start(lane, header, source);
            return self.show(lane, self.field.view(&self.field.state(lane)), out);
        };
        if state.len() != self.shape.state_bytes() || observation.len() != OBSERVATION_BYTES {
            let (states, observations) = (state.len(), observation.len());
            return Err(BatchError(format!("a state has {states} bytes, or an observation {observations}")));
        }
        let mut set = self.field.state(lane);
        Pong::inject(&self.world, &mut set, &mut Reader::new(state)).map_err(|refusal| BatchError(refusal.0))?;
        self.take_in(lane, header, source, &set, observation, out)
    }

    fn state(&self, lane: usize, out: &mut Vec<u8>) {
        let from = out.len();
        out.resize(from + self.shape.state_bytes(), 0);
        Pong::canonical(&self.world, &self.field.state(lane), &mut Writer::new(&mut out[from..]));
    }
}
