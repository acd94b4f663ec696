//! Reads what Python gives as actions into tokens, and says exactly what is wrong with it.

use lockstep_core::continuous_token;
use lockstep_core::discrete_token;
use lockstep_core::table::RawBuffers;
use lockstep_harness::manifest::{Action, Configuration};
use numpy::{Element, PyArrayDyn, PyArrayMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

/// What actions of one configuration look like.
pub struct Actions {
    shape: Vec<usize>,
    names: Vec<String>,
    /// Discrete actions; 0 if they are continuous.
    pub count: u32,
    low: f32,
    high: f32,
    mask_words: usize,
    agents: usize,
    width: usize,
    /// Whether an illegal action counts through the legal ones instead of being refused.
    wraps: bool,
}

impl Actions {
    /// Those of `lanes` lanes.
    pub fn of(configuration: &Configuration, lanes: usize, wraps: bool) -> Self {
        let (agents, width) = (configuration.agents, configuration.width);
        let (names, low, high) = match &configuration.action {
            Action::Discrete { names, .. } => (names.clone(), 0.0, 0.0),
            Action::Continuous { low, high } => (Vec::new(), *low, *high),
        };
        let mut shape = vec![lanes];
        if agents > 1 {
            shape.push(agents);
        }
        // One discrete action is a number, one continuous action is an array of one, as in Gymnasium's environments.
        if width > 1 || names.is_empty() {
            shape.push(width);
        }
        Actions {
            shape,
            count: names.len() as u32,
            names,
            low,
            high,
            mask_words: configuration.mask_words(),
            agents,
            width,
            wraps,
        }
    }

    /// Reads actions. Where an episode is over and `skips` is set, the step resets and its actions are not judged.
    ///
    /// # Safety
    /// The buffers have the sizes of the configuration.
    pub unsafe fn read(
        &self,
        py: Python<'_>,
        actions: &Bound<'_, PyAny>,
        shown: &RawBuffers,
        skips: bool,
        tokens: &mut [u32],
    ) -> PyResult<()> {
        let made;
        let array = match actions.cast::<PyUntypedArray>() {
            Ok(array) => array,
            Err(_) => {
                made = py.import("numpy")?.call_method1("asarray", (actions,))?;
                made.cast::<PyUntypedArray>()?
            }
        };
        if array.shape() != self.shape {
            return Err(PyValueError::new_err(format!(
                "actions have the shape {}, not {}",
                tuple(array.shape()),
                tuple(&self.shape)
            )));
        }
        let copied;
        let array = if array.is_aligned() {
            array
        } else {
            copied = array.call_method0("copy")?;
            copied.cast::<PyUntypedArray>()?
        };
        if self.count == 0 {
            return self.read_continuous(array, tokens);
        }
        self.read_discrete(array, tokens)?;
        if self.mask_words > 0 {
            // SAFETY: the caller's promise.
            unsafe { self.find_legal(shown, skips, tokens)? };
        }
        Ok(())
    }

    fn read_continuous(&self, array: &Bound<'_, PyUntypedArray>, tokens: &mut [u32]) -> PyResult<()> {
        let (low, high) = (self.low, self.high);
        let is_within = |token: u32| {
            let value = f32::from_bits(token.rotate_right(1));
            value >= low && value <= high
        };
        let read = fill::<f32>(array, tokens, continuous_token)
            .or_else(|| fill::<f64>(array, tokens, |value| continuous_token(value as f32)));
        read.ok_or_else(|| self.wrong_type(array, "float32"))?;
        if tokens.iter().all(|token| is_within(*token)) {
            return Ok(());
        }
        let place = tokens.iter().position(|token| !is_within(*token)).expect("one is outside");
        let value = f32::from_bits(tokens[place].rotate_right(1));
        Err(PyValueError::new_err(format!(
            "the action {value}{} is not from {low} to {high}: numpy.clip(actions, {low}, {high}) makes it so",
            self.place(place)
        )))
    }

    fn read_discrete(&self, array: &Bound<'_, PyUntypedArray>, tokens: &mut [u32]) -> PyResult<()> {
        // What Gymnasium's spaces and torch give comes by a way of its own.
        let usual = array.cast::<PyArrayDyn<i64>>().ok().and_then(|array| {
            // SAFETY: Python's lock is held, so nobody writes to it now; it is aligned, as the caller saw.
            unsafe { array.as_slice().ok().map(|values| narrow(values, tokens)) }
        });
        let (all, most) = match usual {
            Some(read) => read,
            None => {
                let mut all = 0;
                macro_rules! of {
                    ($($type:ty),*) => {
                        None$(.or_else(|| fill::<$type>(array, tokens, |value| {
                            let number = value as i64 as u64;
                            all |= number;
                            number as u32
                        })))*
                    };
                }
                of!(i64, i32, u8, u32, i16, u16, i8, u64).ok_or_else(|| self.wrong_type(array, "int64"))?;
                (all, tokens.iter().fold(0, |most, token| most.max(*token as i32)) as u32)
            }
        };
        if all >> 31 == 0 && most < self.count {
            return Ok(());
        }
        // What is too wide for a token has lost its upper half, so the array is asked again.
        let outside = |place: &usize| {
            let value = array.call_method1("item", (*place,)).and_then(|value| value.extract::<i128>());
            value.map_or(true, |value| !(0..i128::from(self.count)).contains(&value))
        };
        let place = (0..tokens.len()).find(outside).expect("one is outside");
        let value = array.call_method1("item", (place,))?;
        let names: Vec<String> = self.names.iter().enumerate().map(|(i, name)| format!("{i} {name}")).collect();
        Err(PyValueError::new_err(format!(
            "the action {value}{} is none of {} (0 to {})",
            self.place(place),
            names.join(", "),
            self.count - 1
        )))
    }

    /// From actions to places among the legal ones.
    ///
    /// # Safety
    /// The buffers have the sizes of the configuration.
    unsafe fn find_legal(&self, shown: &RawBuffers, skips: bool, tokens: &mut [u32]) -> PyResult<()> {
        for (row, tokens) in tokens.chunks_exact_mut(self.width).enumerate() {
            let (lane, agent) = (row / self.agents, row % self.agents);
            // SAFETY: the caller's promise; deciders are there where there are several agents.
            let (mask, over, decides) = unsafe {
                (
                    std::slice::from_raw_parts(shown.masks.add(row * self.mask_words), self.mask_words),
                    *shown.terminated.add(lane) | *shown.truncated.add(lane) != 0,
                    shown.deciders.is_null() || *shown.deciders.add(lane) >> agent & 1 == 1,
                )
            };
            for (i, token) in tokens.iter_mut().enumerate() {
                *token = match discrete_token(mask, *token) {
                    _ if !decides || (over && skips) => 0,
                    Some(token) => token,
                    // As a token it is `legal[action % count]`.
                    None if self.wraps => *token,
                    None => {
                        let legal: Vec<String> = (0..self.count)
                            .filter(|action| mask[(action / 32) as usize] >> (action % 32) & 1 == 1)
                            .map(|action| format!("{action} {}", self.names[action as usize]))
                            .collect();
                        return Err(PyValueError::new_err(format!(
                            "the action {} {}{} is not legal now, only {}: choose among info['action_mask']",
                            token,
                            self.names[*token as usize],
                            self.place(row * self.width + i),
                            legal.join(", ")
                        )));
                    }
                };
            }
        }
        Ok(())
    }

    fn wrong_type(&self, array: &Bound<'_, PyUntypedArray>, wanted: &str) -> PyErr {
        let dtype = array.dtype();
        PyTypeError::new_err(format!(
            "actions have the dtype {dtype}, not {wanted} in this machine's byte order: actions.astype(numpy.{wanted}) makes it so"
        ))
    }

    /// Where the `index`-th value belongs.
    fn place(&self, index: usize) -> String {
        let per_lane = self.agents * self.width;
        let (lane, rest) = (index / per_lane, index % per_lane);
        let agent = if self.agents > 1 { format!(", agent {}", rest / self.width) } else { String::new() };
        format!(" (lane {lane}{agent})")
    }
}

/// The lower halves of whole numbers; all bits that are set anywhere, and the largest of the halves as a signed number,
/// which says nothing where an upper bit is set. In the widest registers that the machine has: with the smallest ones this
/// took longer than everything else that a step of 4,096 lanes costs in Python.
fn narrow(values: &[i64], tokens: &mut [u32]) -> (u64, u32) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx512f") {
        // SAFETY: the machine has them.
        return unsafe { narrow_avx512(values, tokens) };
    } else if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the machine has them.
        return unsafe { narrow_avx2(values, tokens) };
    }
    narrow_portable(values, tokens)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn narrow_avx512(values: &[i64], tokens: &mut [u32]) -> (u64, u32) {
    narrow_portable(values, tokens)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn narrow_avx2(values: &[i64], tokens: &mut [u32]) -> (u64, u32) {
    narrow_portable(values, tokens)
}

#[inline(always)]
fn narrow_portable(values: &[i64], tokens: &mut [u32]) -> (u64, u32) {
    let (mut all, mut most) = (0, 0);
    for (token, value) in tokens.iter_mut().zip(values) {
        all |= *value as u64;
        *token = *value as u32;
        most = most.max(*value as i32);
    }
    (all, most as u32)
}

/// Reads an array of one type in its logical order; `None` if it is of another.
fn fill<T: Element + Copy>(
    array: &Bound<'_, PyUntypedArray>,
    tokens: &mut [u32],
    mut read: impl FnMut(T) -> u32,
) -> Option<()> {
    let array = array.cast::<PyArrayDyn<T>>().ok()?;
    // SAFETY: Python's lock is held, so nobody writes to it now; it is aligned, as the caller saw.
    unsafe {
        match array.as_slice() {
            Ok(values) => tokens.iter_mut().zip(values).for_each(|(token, value)| *token = read(*value)),
            Err(_) => tokens.iter_mut().zip(array.as_array()).for_each(|(token, value)| *token = read(*value)),
        }
    }
    Some(())
}

fn tuple(shape: &[usize]) -> String {
    match shape {
        [one] => format!("({one},)"),
        sizes => format!("({})", sizes.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")),
    }
}
