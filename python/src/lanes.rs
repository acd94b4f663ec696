//! Open lanes of one environment, with the arrays that their results are written to.
//!
//! The arrays are made once, as numpy's. Python looks at them through views that it hands back with `present`, and a step
//! returns those same views: nothing is copied and nothing is made but one tuple and one dictionary. With two sets of
//! arrays, steps take turns, so that what one step showed is still there after the next.

use crate::Error;
use crate::actions::Actions;
use crate::library::{Loaded, said};
use crate::picture;
use lockstep_core::table::{RawBuffers, RawEpisode, RawStart, Table};
use lockstep_harness::manifest::{Action, Configuration};
use numpy::{PyArray1, PyArrayMethods};
use pyo3::exceptions::{PyIndexError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};
use serde_json::Value;
use std::ffi::{CString, c_void};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::Instant;

/// What a saved lane begins with.
const SAVE: &[u8; 16] = b"lockstep/save/1\n";

/// Lanes that step together.
#[pyclass(frozen, module = "lockstep_rl._core")]
pub struct Lanes {
    open: Mutex<Option<Open>>,
    loaded: Arc<Loaded>,
    configuration: Configuration,
}

/// What is there until they are closed.
struct Open {
    table: &'static Table,
    handle: Handle,
    lanes: usize,
    sizes: Sizes,
    actions: Actions,
    sets: Vec<Set>,
    /// The set that the last call wrote to.
    current: usize,
    started: bool,
    mode: String,
    tokens: Vec<u32>,
}

/// Bytes of each array.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    observations: usize,
    rewards: usize,
    flags: usize,
    masks: usize,
    /// One byte for each legal or illegal action.
    legal: usize,
    deciders: usize,
    deciding: usize,
}

/// One set of arrays, and how Python looks at it.
struct Set {
    raw: RawBuffers,
    arrays: [Py<PyArray1<u64>>; 8],
    /// One byte per action and per agent, made of the words that the table gives; null where nobody looks.
    legal: *mut u8,
    deciding: *mut u8,
    shown: Option<Shown>,
}

/// Views of one set.
struct Shown {
    results: [Py<PyAny>; 4],
    info: Vec<(Py<PyString>, Py<PyAny>)>,
    /// Adds what only a step with a finished lane has.
    complete: Option<Py<PyAny>>,
}

/// The table's handle, closed when it goes.
pub struct Handle {
    table: &'static Table,
    pub raw: *mut c_void,
}

// SAFETY: the table's functions may be called from any thread, one at a time, and the arrays that the pointers are of are
// kept by the set; the mutex around `Open` sees to the one at a time.
unsafe impl Send for Open {}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the handle came from `open` and nobody has it after this.
        unsafe { (self.table.close)(self.raw) }
    }
}

impl Handle {
    /// Opens lanes of a table.
    pub fn open(table: &'static Table, request: &Value, lanes: usize, mode: &str) -> Result<Self, String> {
        let text = |text: &str| CString::new(text).map_err(|_| format!("{text:?} has a zero byte"));
        let (request, mode) = (text(&request.to_string())?, text(mode)?);
        let mut error = vec![0u8; 1024];
        // SAFETY: two C strings and a buffer of that size.
        let raw =
            unsafe { (table.open)(request.as_ptr(), lanes, mode.as_ptr(), error.as_mut_ptr().cast(), error.len()) };
        if raw.is_null() {
            let size = error.iter().position(|byte| *byte == 0).unwrap_or(error.len());
            return Err(String::from_utf8_lossy(&error[..size]).into_owned());
        }
        Ok(Handle { table, raw })
    }

    /// The shape that the library tells.
    pub fn shape(&self) -> Value {
        // SAFETY: the handle is open.
        let text = said(unsafe { (self.table.shape)(self.raw) });
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// Why the last call failed.
    pub fn error(&self) -> String {
        // SAFETY: the handle is open.
        said(unsafe { (self.table.error)(self.raw) })
    }

    /// Asks a function that writes into a buffer, first for the size.
    pub fn bytes(&self, ask: impl Fn(*mut u8, usize) -> i64) -> Result<Vec<u8>, String> {
        let needed = ask(std::ptr::null_mut(), 0);
        let mut bytes = vec![0; usize::try_from(needed).map_err(|_| self.error())?];
        let written = ask(bytes.as_mut_ptr(), bytes.len());
        if written != needed { Err(self.error()) } else { Ok(bytes) }
    }
}

/// The sizes that the shape and the manifest agree on.
pub fn check_shape(shape: &Value, configuration: &Configuration) -> Result<(), String> {
    let (kind, count, mask) = match &configuration.action {
        Action::Discrete { names, mask, .. } => ("discrete", Some(names.len()), *mask),
        Action::Continuous { .. } => ("continuous", None, false),
    };
    let number = |name: &str| shape[name].as_u64().map(|number| number as usize);
    let resets = if configuration.reference_resets { "reference" } else { "harness" };
    let agree = number("agents") == Some(configuration.agents)
        && number("width") == Some(configuration.width)
        && shape["action"]["kind"] == kind
        && shape["action"]["count"].as_u64().map(|count| count as usize) == count
        && (shape["action"]["mask"] == true) == mask
        && number("observation_bytes") == Some(configuration.observation_bytes())
        && number("state_bytes") == Some(configuration.state_bytes())
        && shape["reward"] == configuration.reward.name()
        && shape["resets"] == resets;
    if agree {
        return Ok(());
    }
    Err(format!(
        "the library's shape is not that of configuration {} in its manifest, so these options need a configuration of \
         their own in env.toml; the shape is {shape}",
        configuration.name
    ))
}

impl Lanes {
    /// Opens lanes and makes their arrays.
    #[expect(clippy::too_many_arguments, reason = "they are what `open` of Python was given")]
    pub fn open(
        py: Python<'_>,
        loaded: Arc<Loaded>,
        configuration: Configuration,
        request: &Value,
        lanes: usize,
        mode: &str,
        buffers: usize,
        wraps: bool,
    ) -> PyResult<Self> {
        let handle = Handle::open(loaded.table, request, lanes, mode).map_err(|error| {
            PyValueError::new_err(format!("{} can't be opened: {error}", configuration.environment))
        })?;
        check_shape(&handle.shape(), &configuration).map_err(PyValueError::new_err)?;
        let agents = configuration.agents;
        let sizes = Sizes {
            observations: lanes * agents * configuration.observation_bytes(),
            rewards: lanes * agents * configuration.reward.bytes(),
            flags: lanes,
            masks: 4 * lanes * agents * configuration.mask_words(),
            legal: match &configuration.action {
                Action::Discrete { names, mask: true, .. } => lanes * agents * names.len(),
                _ => 0,
            },
            deciders: if agents > 1 { 4 * lanes } else { 0 },
            deciding: if agents > 1 { lanes * agents } else { 0 },
        };
        let actions = Actions::of(&configuration, lanes, wraps);
        let tokens = vec![0; lanes * configuration.tokens_per_step()];
        let sets = (0..buffers.clamp(1, 2)).map(|_| Set::new(py, sizes, mode)).collect();
        let open = Open {
            table: loaded.table,
            handle,
            lanes,
            sizes,
            actions,
            sets,
            current: 0,
            started: false,
            mode: mode.to_owned(),
            tokens,
        };
        Ok(Lanes { open: Mutex::new(Some(open)), loaded, configuration })
    }

    /// The lanes, unless another thread has them or they are closed.
    fn lock<'a>(&'a self, py: Python<'_>) -> PyResult<Held<'a>> {
        let guard = match self.open.try_lock() {
            Ok(guard) => guard,
            // A panic of ours while it was held; what it guards is still whole.
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                return Err(PyRuntimeError::new_err(
                    "another thread is using this environment: give each thread one of its own",
                ));
            }
        };
        if guard.is_none() {
            return Err(gymnasium_error(
                py,
                "ClosedEnvironmentError",
                "this environment was closed: make a new one".into(),
            ));
        }
        Ok(Held(guard))
    }
}

/// Lanes that are not closed.
struct Held<'a>(MutexGuard<'a, Option<Open>>);

impl std::ops::Deref for Held<'_> {
    type Target = Open;

    fn deref(&self) -> &Open {
        self.0.as_ref().expect("it was looked at when it was locked")
    }
}

impl std::ops::DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut Open {
        self.0.as_mut().expect("it was looked at when it was locked")
    }
}

/// An error of `gymnasium.error` by name.
fn gymnasium_error(py: Python<'_>, name: &str, message: String) -> PyErr {
    let class = py.import("gymnasium.error").and_then(|module| module.getattr(name));
    match class.and_then(|class| class.call1((message.as_str(),))) {
        Ok(error) => PyErr::from_value(error),
        Err(_) => Error::new_err(message),
    }
}

impl Set {
    fn new(py: Python<'_>, sizes: Sizes, mode: &str) -> Self {
        let finals = if mode == "same_step" { sizes.observations } else { 0 };
        let bytes = [
            sizes.observations,
            sizes.rewards,
            sizes.flags,
            sizes.flags,
            sizes.masks,
            finals,
            sizes.legal,
            sizes.deciders + sizes.deciding,
        ];
        // Whole words of 8 bytes, so that every type is aligned.
        let arrays = bytes.map(|bytes| PyArray1::from_vec(py, vec![0u64; bytes.div_ceil(8)]));
        let at = |i: usize| if bytes[i] == 0 { std::ptr::null_mut() } else { arrays[i].data().cast::<u8>() };
        let raw = RawBuffers {
            observations: arrays[0].data().cast(),
            rewards: arrays[1].data().cast(),
            terminated: arrays[2].data().cast(),
            truncated: arrays[3].data().cast(),
            masks: at(4).cast(),
            final_observations: at(5),
            deciders: at(7).cast(),
        };
        // SAFETY: the bytes of the deciding agents stand behind the words of the deciders, in the same array.
        let deciding = if at(7).is_null() { at(7) } else { unsafe { at(7).add(sizes.deciders) } };
        Set { raw, legal: at(6), deciding, arrays: arrays.map(Bound::unbind), shown: None }
    }

    /// What a call returns.
    fn results<'py>(&self, py: Python<'py>, any_ended: bool, with_rewards: bool) -> PyResult<Bound<'py, PyTuple>> {
        let shown = self.shown.as_ref().ok_or_else(|| Error::new_err("nobody said how to look at the arrays"))?;
        let info = PyDict::new(py);
        for (key, value) in &shown.info {
            info.set_item(key, value)?;
        }
        if let (true, Some(complete)) = (any_ended, &shown.complete) {
            complete.call1(py, (&info,))?;
        }
        let [observations, rewards, terminated, truncated] = &shown.results;
        if with_rewards {
            (observations, rewards, terminated, truncated, info).into_pyobject(py)
        } else {
            (observations, info).into_pyobject(py)
        }
    }
}

impl Open {
    /// Runs a call of the table without the lock of Python, and makes what its words say readable.
    fn call(
        &mut self,
        py: Python<'_>,
        set: usize,
        call: impl FnOnce(&Self, *const RawBuffers) -> i32,
    ) -> Result<(), String> {
        struct Task<'a>(&'a Open);
        // SAFETY: the caller has the lanes for itself, and the call ends before it goes on.
        unsafe impl Send for Task<'_> {}
        // SAFETY: as above.
        unsafe impl Sync for Task<'_> {}
        struct Carry<F>(F);
        // SAFETY: the closure holds numbers, and pointers to memory that outlives the call; nothing of Python.
        unsafe impl<F> Send for Carry<F> {}
        let (task, carry) = (Task(self), Carry(call));
        let status = py.detach(move || {
            let (task, carry) = (task, carry);
            let open = task.0;
            let status = (carry.0)(open, &open.sets[set].raw);
            if status == 0 {
                open.spell_out(set);
            }
            status
        });
        if status == 0 { Ok(()) } else { Err(self.handle.error()) }
    }

    /// From the bits of masks and deciders to a byte each.
    fn spell_out(&self, set: usize) {
        let set = &self.sets[set];
        if self.sizes.legal > 0 {
            let count = self.actions.count as usize;
            let rows = self.sizes.legal / count;
            let words = self.sizes.masks / 4 / rows;
            // SAFETY: both arrays have these sizes, and the set keeps them.
            let (masks, legal) = unsafe {
                (
                    std::slice::from_raw_parts(set.raw.masks, rows * words),
                    std::slice::from_raw_parts_mut(set.legal, rows * count),
                )
            };
            for (legal, mask) in legal.chunks_exact_mut(count).zip(masks.chunks_exact(words)) {
                legal.iter_mut().enumerate().for_each(|(i, byte)| *byte = (mask[i / 32] >> (i % 32) & 1) as u8);
            }
        }
        if self.sizes.deciding > 0 {
            let agents = self.sizes.deciding / self.lanes;
            // SAFETY: as above.
            let (deciders, deciding) = unsafe {
                (
                    std::slice::from_raw_parts(set.raw.deciders, self.lanes),
                    std::slice::from_raw_parts_mut(set.deciding, self.lanes * agents),
                )
            };
            for (bytes, word) in deciding.chunks_exact_mut(agents).zip(deciders) {
                bytes.iter_mut().enumerate().for_each(|(i, byte)| *byte = (word >> i & 1) as u8);
            }
        }
    }

    /// Whether an episode ended in what a set shows.
    fn any_ended(&self, set: usize) -> bool {
        let raw = &self.sets[set].raw;
        // SAFETY: both arrays have a byte for each lane.
        let [terminated, truncated] =
            [raw.terminated, raw.truncated].map(|flags| unsafe { std::slice::from_raw_parts(flags, self.lanes) });
        terminated.iter().chain(truncated).fold(0, |any, flag| any | flag) != 0
    }

    fn next_set(&self) -> usize {
        (self.current + 1) % self.sets.len()
    }

    /// Makes the next set equal to the current one, for a call that writes only some lanes.
    fn copy_to(&self, py: Python<'_>, set: usize) {
        if set != self.current {
            for (from, to) in self.sets[self.current].arrays.iter().zip(&self.sets[set].arrays) {
                let (from, to) = (from.bind(py), to.bind(py));
                // SAFETY: both arrays were made with the same length, and nobody writes to them now.
                unsafe { std::ptr::copy_nonoverlapping(from.data(), to.data(), from.len().unwrap_or(0)) };
            }
        }
    }

    fn lane(&self, lane: isize) -> PyResult<usize> {
        let lanes = self.lanes as isize;
        let place = if lane < 0 { lane + lanes } else { lane };
        if (0..lanes).contains(&place) {
            return Ok(place as usize);
        }
        Err(PyIndexError::new_err(format!("there is no lane {lane}: there are {lanes}, from 0 to {}", lanes - 1)))
    }
}

#[pymethods]
impl Lanes {
    /// The arrays of one set, as words: observations, rewards, terminated, truncated, final observations, legal, and
    /// deciding with the number of bytes before it.
    fn arrays<'py>(&self, py: Python<'py>, set: usize) -> PyResult<Bound<'py, PyTuple>> {
        let open = self.lock(py)?;
        let arrays = &open.sets.get(set).ok_or_else(|| PyIndexError::new_err("there is no such set"))?.arrays;
        let [observations, rewards, terminated, truncated, _, finals, legal, deciding] = arrays;
        (observations, rewards, terminated, truncated, finals, legal, deciding, open.sizes.deciders).into_pyobject(py)
    }

    /// The arrays of the current set, as words, in the order in which they were made.
    fn words(&self, py: Python<'_>) -> PyResult<Vec<Py<PyArray1<u64>>>> {
        let open = self.lock(py)?;
        Ok(open.sets[open.current].arrays.iter().map(|array| array.clone_ref(py)).collect())
    }

    /// How many sets there are.
    #[getter]
    fn sets(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.lock(py)?.sets.len())
    }

    /// Says how to look at a set.
    fn present(
        &self,
        py: Python<'_>,
        set: usize,
        results: (Py<PyAny>, Py<PyAny>, Py<PyAny>, Py<PyAny>),
        info: Vec<(Py<PyString>, Py<PyAny>)>,
        complete: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let mut open = self.lock(py)?;
        let set = open.sets.get_mut(set).ok_or_else(|| PyIndexError::new_err("there is no such set"))?;
        set.shown = Some(Shown { results: [results.0, results.1, results.2, results.3], info, complete });
        Ok(())
    }

    /// Starts lanes: at seeds and streams, or at their next episodes.
    #[pyo3(signature = (starts, which))]
    fn reset<'py>(
        &self,
        py: Python<'py>,
        starts: Option<Vec<(u64, u64)>>,
        which: Option<Vec<bool>>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let mut open = self.lock(py)?;
        let lanes = open.lanes;
        if starts.as_ref().is_some_and(|starts| starts.len() != lanes)
            || which.as_ref().is_some_and(|which| which.len() != lanes)
        {
            return Err(PyValueError::new_err(format!("seeds and masks have one value for each of {lanes} lanes")));
        }
        let starts: Option<Vec<RawStart>> =
            starts.map(|starts| starts.into_iter().map(|(seed, stream)| RawStart { seed, stream }).collect());
        let which: Option<Vec<u8>> = which.map(|which| which.into_iter().map(u8::from).collect());
        let set = open.next_set();
        if which.is_some() {
            open.copy_to(py, set);
        }
        let [starts_at, which_at] = [
            starts.as_ref().map_or(std::ptr::null(), |starts| starts.as_ptr().cast::<u8>()),
            which.as_ref().map_or(std::ptr::null(), |which| which.as_ptr()),
        ];
        let done = open.call(py, set, |open, raw| {
            // SAFETY: the handle is open, both lists have a value for each lane, the buffers are of its shape.
            unsafe { (open.table.reset)(open.handle.raw, starts_at.cast(), which_at, raw) }
        });
        done.map_err(Error::new_err)?;
        open.current = set;
        open.started = true;
        open.sets[set].results(py, false, false)
    }

    /// Plays one step.
    fn step<'py>(&self, py: Python<'py>, actions: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyTuple>> {
        let mut open = self.lock(py)?;
        if !open.started {
            let message = "no episode has been started: call reset() first".into();
            return Err(gymnasium_error(py, "ResetNeeded", message));
        }
        let open = &mut *open;
        let shown = &open.sets[open.current];
        let skips = open.mode == "next_step";
        // SAFETY: the arrays have the sizes of the shape, and nobody writes to them now.
        unsafe { open.actions.read(py, actions, &shown.raw, skips, &mut open.tokens)? };
        let set = open.next_set();
        let done = open.call(py, set, |open, raw| {
            // SAFETY: the handle is open, tokens and buffers are of its shape.
            unsafe { (open.table.step)(open.handle.raw, open.tokens.as_ptr(), raw) }
        });
        if let Err(error) = done {
            if error.ends_with("reset it first") {
                let message = format!("{error}, with reset(options={{'reset_mask': terminated | truncated}})");
                return Err(gymnasium_error(py, "ResetNeeded", message));
            }
            return Err(Error::new_err(error));
        }
        open.current = set;
        let ended = open.sets[set].shown.as_ref().is_some_and(|shown| shown.complete.is_some()) && open.any_ended(set);
        open.sets[set].results(py, ended, true)
    }

    /// What the last call showed, without playing.
    fn results<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let open = self.lock(py)?;
        open.sets[open.current].results(py, false, true)
    }

    /// The bytes of one lane.
    fn save<'py>(&self, py: Python<'py>, lane: isize) -> PyResult<Bound<'py, PyBytes>> {
        let open = self.lock(py)?;
        let lane = open.lane(lane)?;
        if !open.started {
            let message = "no episode has been started: call reset() first".into();
            return Err(gymnasium_error(py, "ResetNeeded", message));
        }
        let raw = &open.sets[open.current].raw;
        // SAFETY: the handle is open, the buffers are of its shape, and `bytes` asks with a buffer of its size.
        let ask = |out, size| unsafe { (open.table.save)(open.handle.raw, lane, raw, out, size) };
        let bytes = open.handle.bytes(ask).map_err(Error::new_err)?;
        let hash = self.configuration.hash.as_bytes();
        Ok(PyBytes::new(py, &[SAVE, hash, &bytes].concat()))
    }

    /// Takes the bytes of a lane back, into any lane.
    fn restore(&self, py: Python<'_>, lane: isize, bytes: &[u8]) -> PyResult<()> {
        let mut open = self.lock(py)?;
        let lane = open.lane(lane)?;
        let hash = self.configuration.hash.as_bytes();
        let (environment, name) = (&self.configuration.environment, &self.configuration.name);
        let refused =
            |what: String| PyValueError::new_err(format!("{what}: give what save() of this configuration returned"));
        let rest =
            bytes.strip_prefix(SAVE.as_slice()).ok_or_else(|| refused("these bytes are no saved lane".into()))?;
        let rest = rest.strip_prefix(hash).ok_or_else(|| {
            refused(format!("the lane was saved in another configuration than {name} of {environment}"))
        })?;
        let (at, size) = (rest.as_ptr(), rest.len());
        let set = open.current;
        let done = open.call(py, set, |open, raw| {
            // SAFETY: the handle is open, the bytes are the caller's until this returns, the buffers are of its shape.
            unsafe { (open.table.restore)(open.handle.raw, lane, at, size, raw) }
        });
        done.map_err(refused)
    }

    /// Marks all lanes as started: every one has been restored.
    fn resume(&self, py: Python<'_>) -> PyResult<()> {
        self.lock(py)?.started = true;
        Ok(())
    }

    /// The canonical state of one lane in the state form.
    fn state<'py>(&self, py: Python<'py>, lane: isize) -> PyResult<Bound<'py, PyBytes>> {
        let open = self.lock(py)?;
        let lane = open.lane(lane)?;
        let bytes = state_of(&open.handle, open.table, lane).map_err(Error::new_err)?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// A picture of one lane: height, width and the bytes of its pixels, red, green and blue.
    fn picture<'py>(&self, py: Python<'py>, lane: isize) -> PyResult<Bound<'py, PyTuple>> {
        let open = self.lock(py)?;
        let lane = open.lane(lane)?;
        let state = state_of(&open.handle, open.table, lane).map_err(Error::new_err)?;
        let drawn = picture::draw(&self.loaded.manifest, &self.configuration, &state).map_err(Error::new_err)?;
        (drawn.height, drawn.width, PyBytes::new(py, &drawn.pixels)).into_pyobject(py)
    }

    /// Nanoseconds of `steps` steps with the last actions, called one after the other: the environment's own time.
    fn time(&self, py: Python<'_>, steps: usize) -> PyResult<u64> {
        let mut open = self.lock(py)?;
        if !open.started {
            return Err(Error::new_err("no episode has been started: call reset() first"));
        }
        let start = Instant::now();
        for _ in 0..steps {
            let set = open.next_set();
            // SAFETY: the handle is open, tokens and buffers are of its shape.
            let status = unsafe { (open.table.step)(open.handle.raw, open.tokens.as_ptr(), &open.sets[set].raw) };
            if status != 0 {
                return Err(Error::new_err(open.handle.error()));
            }
            open.current = set;
        }
        Ok(start.elapsed().as_nanos() as u64)
    }

    #[getter]
    fn closed(&self) -> bool {
        self.open.try_lock().is_ok_and(|open| open.is_none())
    }

    /// Closes them; once more does nothing.
    fn close(&self) -> PyResult<()> {
        match self.open.try_lock() {
            Ok(mut open) => *open = None,
            Err(TryLockError::Poisoned(poisoned)) => *poisoned.into_inner() = None,
            Err(TryLockError::WouldBlock) => {
                return Err(PyRuntimeError::new_err("another thread is using this environment: close it afterwards"));
            }
        }
        Ok(())
    }
}

/// The canonical state of one lane.
pub fn state_of(handle: &Handle, table: &Table, lane: usize) -> Result<Vec<u8>, String> {
    // SAFETY: the handle is open, and `bytes` asks with a buffer of its size.
    handle.bytes(|out, size| unsafe { (table.state)(handle.raw, lane, out, size) })
}

/// The episode that a lane is set to.
pub fn episode(seed: u64, stream: u64, episode: u32) -> RawEpisode {
    RawEpisode {
        seed,
        stream,
        episode,
        elapsed: 0,
        draw_index: 0,
        listed: 0,
        draws: std::ptr::null(),
        draw_count: 0,
        state: std::ptr::null(),
        state_size: 0,
        observations: std::ptr::null(),
        observations_size: 0,
    }
}
