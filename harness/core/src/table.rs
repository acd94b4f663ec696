//! The one versioned table of functions through which other languages load an environment: `lockstep_env_v1`.
//!
//! A library exports it with [`export_env!`](crate::export_env), as the symbol `lockstep_env_v1_<crate>`: a program may
//! link several environments, and none may define another's symbol. `v1` is the first layout; the
//! table's first word says which layout follows. Buffers belong to the caller; a call returns 0,
//! or -1 after which `error` tells why. No function unwinds: a panic is caught and told as an error.

use crate::batch::{BatchError, ResetMode};
use crate::driver::{Driver, DriverOpener, Outputs, Split, Starts};
use crate::lane::{Header, Source};
use crate::options::{Files, Options};
use crate::rules::Reward;
use crate::shape::{ActionKind, Resets, Shape};
use serde_json::{Value, json};
use std::ffi::{CStr, CString, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The version of [`Table`]. 2: several backends, threads, a start for each lane, states.
pub const TABLE_VERSION: u32 = 2;

/// Pointers to the buffers of one step; sizes as in [`Outputs`]. `masks`, `final_observations` and `deciders` may be
/// null where the shape has none or nobody wants them.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct RawBuffers {
    /// `lanes × agents × observation_bytes`.
    pub observations: *mut u8,
    /// `lanes × agents` values of the reward's type.
    pub rewards: *mut c_void,
    /// `lanes` bytes.
    pub terminated: *mut u8,
    /// `lanes` bytes.
    pub truncated: *mut u8,
    /// `lanes × agents × mask_words`.
    pub masks: *mut u32,
    /// As `observations`.
    pub final_observations: *mut u8,
    /// `lanes`.
    pub deciders: *mut u32,
}

/// Where a lane starts: its first episode.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawStart {
    /// The seed.
    pub seed: u64,
    /// The stream.
    pub stream: u64,
}

/// An episode, and where in it a lane is set.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct RawEpisode {
    /// The seed.
    pub seed: u64,
    /// The stream.
    pub stream: u64,
    /// The episode.
    pub episode: u32,
    /// Steps already made in it.
    pub elapsed: u32,
    /// The next draw.
    pub draw_index: u32,
    /// 0 if draws are seeded, 1 if they are listed.
    pub listed: u32,
    /// The list, null if there is none.
    pub draws: *const u32,
    /// How many.
    pub draw_count: usize,
    /// The canonical state in the state form; null to start the episode.
    pub state: *const u8,
    /// Its bytes.
    pub state_size: usize,
    /// The observations of all agents, with a state.
    pub observations: *const u8,
    /// Their bytes.
    pub observations_size: usize,
}

/// The functions of one environment.
#[repr(C)]
pub struct Table {
    /// [`TABLE_VERSION`].
    pub version: u32,
    /// Size of this struct, so that a later version can be recognised.
    pub size: u32,
    /// The environment's name.
    pub name: extern "C" fn() -> *const c_char,
    /// The text of its manifest.
    pub manifest: extern "C" fn() -> *const c_char,
    /// The names of its backends, as a JSON array.
    pub backends: extern "C" fn() -> *const c_char,
    /// Opens lanes. `request` is a JSON object `{"backend": …, "options": …, "files": …, "threads": …}`, of which
    /// nothing has to be there; `mode` is `next_step`, `same_step`, `disabled` or `reference`. Null on error, with a
    /// message in `error` (`error_size` bytes, cut if longer).
    pub open: unsafe extern "C" fn(*const c_char, usize, *const c_char, *mut c_char, usize) -> *mut c_void,
    /// Closes them.
    pub close: unsafe extern "C" fn(*mut c_void),
    /// The shape as JSON; valid until they are closed.
    pub shape: unsafe extern "C" fn(*mut c_void) -> *const c_char,
    /// Why the last call returned -1; valid until the next call.
    pub error: unsafe extern "C" fn(*mut c_void) -> *const c_char,
    /// Resets the lanes whose byte in `which` is not 0 (all if it is null), to the starts given for all lanes, or each
    /// to its next episode if they are null.
    pub reset: unsafe extern "C" fn(*mut c_void, *const RawStart, *const u8, *const RawBuffers) -> i32,
    /// Plays `lanes × agents × width` tokens.
    pub step: unsafe extern "C" fn(*mut c_void, *const u32, *const RawBuffers) -> i32,
    /// Saves a lane into a buffer of `size` bytes; returns the bytes needed, having written them only if they fit, or -1.
    /// The buffers are those that the last step wrote to.
    pub save: unsafe extern "C" fn(*mut c_void, usize, *const RawBuffers, *mut u8, usize) -> i64,
    /// Takes a saved lane back, and writes what it shows.
    pub restore: unsafe extern "C" fn(*mut c_void, usize, *const u8, usize, *const RawBuffers) -> i32,
    /// Sets a lane, and writes what it shows.
    pub set: unsafe extern "C" fn(*mut c_void, usize, *const RawEpisode, *const RawBuffers) -> i32,
    /// Writes the canonical state of a lane in the state form, as `save` does.
    pub state: unsafe extern "C" fn(*mut c_void, usize, *mut u8, usize) -> i64,
}

/// A backend that can be opened for training.
pub type Entry = (&'static str, DriverOpener);

type Text = extern "C" fn() -> *const c_char;
type Open = unsafe extern "C" fn(*const c_char, usize, *const c_char, *mut c_char, usize) -> *mut c_void;

impl Table {
    /// The table of an environment; its texts and `open` come from the macro.
    pub const fn new(name: Text, manifest: Text, backends: Text, open: Open) -> Self {
        Table {
            version: TABLE_VERSION,
            size: size_of::<Table>() as u32,
            name,
            manifest,
            backends,
            open,
            close,
            shape,
            error,
            reset,
            step,
            save,
            restore,
            set,
            state,
        }
    }
}

/// The names of the backends, as `backends` of the table gives them.
pub fn names(entries: &[Entry]) -> CString {
    let names: Vec<&str> = entries.iter().map(|(name, _)| *name).collect();
    text(json!(names).to_string())
}

struct Handle {
    driver: Box<dyn Driver>,
    sizes: Sizes,
    shape: CString,
    error: CString,
    unread: Unread,
}

/// The sizes of all lanes together.
#[derive(Clone, Copy)]
struct Sizes {
    lanes: usize,
    tokens: usize,
    observations: usize,
    rewards: usize,
    masks: usize,
}

/// Takes what the caller does not want to read.
#[derive(Default)]
struct Unread {
    observations: Vec<u8>,
    masks: Vec<u32>,
}

/// The shape as loaders read it.
pub fn shape_json(driver: &dyn Driver) -> Value {
    let shape: &Shape = driver.shape();
    json!({
        "environment": driver.environment(),
        "agents": shape.agents,
        "width": shape.width,
        "action": match shape.action {
            ActionKind::Discrete { count, extra, mask } => json!({"kind": "discrete", "count": count, "extra": extra, "mask": mask}),
            ActionKind::Continuous => json!({"kind": "continuous"}),
        },
        "observation_bytes": shape.observation_bytes,
        "state_bytes": shape.state_bytes(),
        "mask_words": shape.mask_words(),
        "reward": driver.reward(),
        "episode_steps_max": shape.episode_steps_max,
        "resets": match shape.resets { Resets::Harness => "harness", Resets::Reference => "reference" },
    })
}

fn text(text: String) -> CString {
    CString::new(text.replace('\0', " ")).expect("zero bytes were replaced")
}

/// Opens one of the backends: `open` of the table.
///
/// # Safety
/// `request` and `mode` are C strings, `error` has `error_size` bytes.
pub unsafe fn open(
    entries: &[Entry],
    request: *const c_char,
    lanes: usize,
    mode: *const c_char,
    error: *mut c_char,
    error_size: usize,
) -> *mut c_void {
    // SAFETY: the caller's promise.
    let (request, mode) =
        unsafe { (CStr::from_ptr(request).to_string_lossy(), CStr::from_ptr(mode).to_string_lossy()) };
    let opened = catch_unwind(|| open_driver(entries, &request, lanes, &mode))
        .unwrap_or_else(|_| Err("the environment panicked while it was opened".into()));
    match opened {
        Ok(handle) => Box::into_raw(Box::new(handle)).cast(),
        Err(message) => {
            let message = text(message);
            let bytes = message.as_bytes_with_nul();
            if error_size > 0 {
                let count = bytes.len().min(error_size);
                // SAFETY: `count` is at most both sizes, and the last byte is set to 0 below.
                unsafe {
                    std::ptr::copy_nonoverlapping(bytes.as_ptr().cast(), error, count);
                    *error.add(count - 1) = 0;
                }
            }
            std::ptr::null_mut()
        }
    }
}

fn open_driver(entries: &[Entry], request: &str, lanes: usize, mode: &str) -> Result<Handle, String> {
    let asked: Value = serde_json::from_str(request).map_err(|error| format!("the options are not JSON: {error}"))?;
    let files: Files = asked["files"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(name, path)| Some((name.clone(), path.as_str()?.into())))
        .collect();
    let mode = match mode {
        "next_step" => ResetMode::NextStep,
        "same_step" => ResetMode::SameStep,
        "disabled" => ResetMode::Disabled,
        "reference" => ResetMode::Reference,
        other => return Err(format!("there is no reset mode {other:?}")),
    };
    if !(1..=1 << 24).contains(&lanes) {
        return Err(format!("a batch has 1 to 2^24 lanes, not {lanes}"));
    }
    let threads = match &asked["threads"] {
        Value::Null => 1,
        threads => threads
            .as_u64()
            .filter(|threads| (1..=1024).contains(threads))
            .ok_or_else(|| format!("threads is {threads}, not a number from 1 to 1024"))? as usize,
    };
    let name = asked["backend"].as_str().unwrap_or(entries[0].0);
    let (_, opener) = entries.iter().find(|(known, _)| *known == name).ok_or_else(|| {
        let known: Vec<&str> = entries.iter().map(|(name, _)| *name).collect();
        format!("there is no backend {name:?} here, only {}", known.join(", "))
    })?;
    let open = |lanes| {
        let options = Options::new(asked["options"].as_object().cloned().unwrap_or_default());
        opener(options, &files, lanes, mode)
    };
    let threads = threads.min(lanes);
    let driver: Box<dyn Driver> = if threads > 1 { Box::new(Split::open(threads, lanes, open)?) } else { open(lanes)? };
    let shape = driver.shape();
    let sizes = Sizes {
        lanes,
        tokens: lanes * shape.tokens_per_step(),
        observations: lanes * shape.agents * shape.observation_bytes,
        rewards: lanes * shape.agents * if driver.reward() == f64::DTYPE { 8 } else { 4 },
        masks: lanes * shape.agents * shape.mask_words(),
    };
    let shape = text(shape_json(driver.as_ref()).to_string());
    Ok(Handle { driver, sizes, shape, error: CString::default(), unread: Unread::default() })
}

/// # Safety
/// `handle` came from `open` and is not used again.
unsafe extern "C" fn close(handle: *mut c_void) {
    // SAFETY: the caller's promise.
    let handle = unsafe { Box::from_raw(handle.cast::<Handle>()) };
    // What can't be dropped in order is left: nothing unwinds out of here.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(handle)));
}

/// # Safety
/// `handle` came from `open`.
unsafe extern "C" fn shape(handle: *mut c_void) -> *const c_char {
    // SAFETY: the caller's promise.
    unsafe { &*handle.cast::<Handle>() }.shape.as_ptr()
}

/// # Safety
/// `handle` came from `open`.
unsafe extern "C" fn error(handle: *mut c_void) -> *const c_char {
    // SAFETY: the caller's promise.
    unsafe { &*handle.cast::<Handle>() }.error.as_ptr()
}

/// The buffers as slices.
///
/// # Safety
/// The pointers have the sizes of the shape, and nobody else uses them during the call.
unsafe fn outputs(sizes: Sizes, unread: &mut Unread, raw: &RawBuffers) -> Outputs<'static> {
    let final_observations = if raw.final_observations.is_null() {
        unread.observations.resize(sizes.observations, 0);
        unread.observations.as_mut_ptr()
    } else {
        raw.final_observations
    };
    let masks = if raw.masks.is_null() || sizes.masks == 0 {
        unread.masks.resize(sizes.masks, 0);
        unread.masks.as_mut_ptr()
    } else {
        raw.masks
    };
    // SAFETY: the caller's promise; `unread` outlives the call and an empty slice may dangle.
    unsafe {
        Outputs {
            observations: std::slice::from_raw_parts_mut(raw.observations, sizes.observations),
            rewards: std::slice::from_raw_parts_mut(raw.rewards.cast(), sizes.rewards),
            terminated: std::slice::from_raw_parts_mut(raw.terminated, sizes.lanes),
            truncated: std::slice::from_raw_parts_mut(raw.truncated, sizes.lanes),
            masks: std::slice::from_raw_parts_mut(masks, sizes.masks),
            final_observations: std::slice::from_raw_parts_mut(final_observations, sizes.observations),
            deciders: if raw.deciders.is_null() {
                &mut []
            } else {
                std::slice::from_raw_parts_mut(raw.deciders, sizes.lanes)
            },
        }
    }
}

impl Handle {
    /// Runs a call; its result, or -1 with the message kept.
    fn guard(&mut self, call: impl FnOnce(&mut Self) -> Result<i64, BatchError>) -> i64 {
        let result = catch_unwind(AssertUnwindSafe(|| call(self)))
            .unwrap_or_else(|_| Err(BatchError("the environment panicked; the batch must be closed".into())));
        result.unwrap_or_else(|error| {
            self.error = text(error.0);
            -1
        })
    }

    fn lane(&self, lane: usize) -> Result<usize, BatchError> {
        if lane < self.sizes.lanes { Ok(lane) } else { Err(BatchError(format!("there is no lane {lane}"))) }
    }

    /// # Safety
    /// `out` has `size` bytes.
    unsafe fn give(bytes: &[u8], out: *mut u8, size: usize) -> i64 {
        if bytes.len() <= size {
            // SAFETY: the caller's promise, and the bytes fit.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), out, bytes.len()) };
        }
        bytes.len() as i64
    }
}

/// # Safety
/// `handle` came from `open`; `starts` is null or has one per lane, `which` is null or has a byte per lane, the buffers
/// have the sizes of the shape.
unsafe extern "C" fn reset(
    handle: *mut c_void,
    starts: *const RawStart,
    which: *const u8,
    raw: *const RawBuffers,
) -> i32 {
    // SAFETY: the caller's promise.
    let (handle, raw) = unsafe { (&mut *handle.cast::<Handle>(), &*raw) };
    handle.guard(|handle| {
        let lanes = handle.sizes.lanes;
        // SAFETY: the caller's promise.
        let which = (!which.is_null()).then(|| unsafe { std::slice::from_raw_parts(which, lanes) });
        // SAFETY: the caller's promise.
        let starts = (!starts.is_null()).then(|| unsafe { std::slice::from_raw_parts(starts, lanes) });
        let starts: Option<Vec<(u64, u64)>> =
            starts.map(|starts| starts.iter().map(|start| (start.seed, start.stream)).collect());
        // SAFETY: the caller's promise.
        let mut out = unsafe { outputs(handle.sizes, &mut handle.unread, raw) };
        handle.driver.reset(starts.as_deref().map_or(Starts::Next, Starts::At), which, &mut out)?;
        Ok(0)
    }) as i32
}

/// # Safety
/// `handle` came from `open`, tokens and buffers have the sizes of the shape.
unsafe extern "C" fn step(handle: *mut c_void, tokens: *const u32, raw: *const RawBuffers) -> i32 {
    // SAFETY: the caller's promise.
    let (handle, raw) = unsafe { (&mut *handle.cast::<Handle>(), &*raw) };
    handle.guard(|handle| {
        // SAFETY: the caller's promise.
        let tokens = unsafe { std::slice::from_raw_parts(tokens, handle.sizes.tokens) };
        // SAFETY: the caller's promise.
        let mut out = unsafe { outputs(handle.sizes, &mut handle.unread, raw) };
        handle.driver.step(tokens, &mut out)?;
        Ok(0)
    }) as i32
}

/// # Safety
/// `handle` came from `open`, the buffers have the sizes of the shape, `out` has `size` bytes.
unsafe extern "C" fn save(handle: *mut c_void, lane: usize, raw: *const RawBuffers, out: *mut u8, size: usize) -> i64 {
    // SAFETY: the caller's promise.
    let (handle, raw) = unsafe { (&mut *handle.cast::<Handle>(), &*raw) };
    handle.guard(|handle| {
        let lane = handle.lane(lane)?;
        // SAFETY: the caller's promise.
        let shown = unsafe { outputs(handle.sizes, &mut handle.unread, raw) };
        let bytes = handle.driver.save(lane, &shown)?;
        // SAFETY: the caller's promise.
        Ok(unsafe { Handle::give(&bytes, out, size) })
    })
}

/// # Safety
/// `handle` came from `open`, `bytes` has `size` bytes, the buffers have the sizes of the shape.
unsafe extern "C" fn restore(
    handle: *mut c_void,
    lane: usize,
    bytes: *const u8,
    size: usize,
    raw: *const RawBuffers,
) -> i32 {
    // SAFETY: the caller's promise.
    let (handle, bytes, raw) =
        unsafe { (&mut *handle.cast::<Handle>(), std::slice::from_raw_parts(bytes, size), &*raw) };
    handle.guard(|handle| {
        let lane = handle.lane(lane)?;
        // SAFETY: the caller's promise.
        let mut out = unsafe { outputs(handle.sizes, &mut handle.unread, raw) };
        handle.driver.restore(lane, bytes, &mut out)?;
        Ok(0)
    }) as i32
}

/// # Safety
/// `handle` came from `open`, the pointers of the episode have their sizes, the buffers have the sizes of the shape.
unsafe extern "C" fn set(handle: *mut c_void, lane: usize, episode: *const RawEpisode, raw: *const RawBuffers) -> i32 {
    // SAFETY: the caller's promise.
    let (handle, episode, raw) = unsafe { (&mut *handle.cast::<Handle>(), &*episode, &*raw) };
    handle.guard(|handle| {
        let lane = handle.lane(lane)?;
        let RawEpisode { seed, stream, episode: number, elapsed, draw_index, .. } = *episode;
        let header = Header { seed, stream, episode: number, elapsed, draw_index };
        let source = if episode.listed == 0 {
            Source::Seeded
        } else {
            // SAFETY: the caller's promise; without draws the pointer may be null.
            let values = unsafe { given(episode.draws, episode.draw_count) };
            Source::Listed { values: values.to_vec(), place: 0 }
        };
        // SAFETY: the caller's promise.
        let state = (!episode.state.is_null()).then(|| unsafe {
            (given(episode.state, episode.state_size), given(episode.observations, episode.observations_size))
        });
        // SAFETY: the caller's promise.
        let mut out = unsafe { outputs(handle.sizes, &mut handle.unread, raw) };
        handle.driver.set(lane, header, source, state, &mut out)?;
        Ok(0)
    }) as i32
}

/// # Safety
/// `values` has `count` values, or is null if that is 0.
unsafe fn given<'a, T>(values: *const T, count: usize) -> &'a [T] {
    if count == 0 {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(values, count) }
}

/// # Safety
/// `handle` came from `open`, `out` has `size` bytes.
unsafe extern "C" fn state(handle: *mut c_void, lane: usize, out: *mut u8, size: usize) -> i64 {
    // SAFETY: the caller's promise.
    let handle = unsafe { &mut *handle.cast::<Handle>() };
    handle.guard(|handle| {
        let lane = handle.lane(lane)?;
        let mut bytes = Vec::new();
        handle.driver.state(lane, &mut bytes);
        // SAFETY: the caller's promise.
        Ok(unsafe { Handle::give(&bytes, out, size) })
    })
}

/// Exports the table of an environment's rules as the symbol `lockstep_env_v1_<crate>`, with the crate's name as rustc
/// has it; further backends follow with their names and openers.
#[macro_export]
macro_rules! export_env {
    ($rules:ty $(, $name:literal => $open:expr)* $(,)?) => {
        /// The table of functions of this environment.
        #[unsafe(export_name = concat!("lockstep_env_v1_", env!("CARGO_CRATE_NAME")))]
        #[expect(non_upper_case_globals, reason = "called as the symbol is")]
        pub static lockstep_env_v1: $crate::table::Table = {
            const ENTRIES: &[$crate::table::Entry] =
                &[("rust", $crate::driver::open_rules::<$rules>) $(, ($name, $open))*];
            extern "C" fn name() -> *const ::std::ffi::c_char {
                static NAME: ::std::sync::OnceLock<::std::ffi::CString> = ::std::sync::OnceLock::new();
                NAME.get_or_init(|| ::std::ffi::CString::new(<$rules as $crate::Rules>::NAME).unwrap_or_default())
                    .as_ptr()
            }
            extern "C" fn manifest() -> *const ::std::ffi::c_char {
                static TEXT: ::std::sync::OnceLock<::std::ffi::CString> = ::std::sync::OnceLock::new();
                TEXT.get_or_init(|| ::std::ffi::CString::new(<$rules as $crate::Rules>::MANIFEST).unwrap_or_default())
                    .as_ptr()
            }
            extern "C" fn backends() -> *const ::std::ffi::c_char {
                static NAMES: ::std::sync::OnceLock<::std::ffi::CString> = ::std::sync::OnceLock::new();
                NAMES.get_or_init(|| $crate::table::names(ENTRIES)).as_ptr()
            }
            unsafe extern "C" fn open(
                request: *const ::std::ffi::c_char,
                lanes: usize,
                mode: *const ::std::ffi::c_char,
                error: *mut ::std::ffi::c_char,
                error_size: usize,
            ) -> *mut ::std::ffi::c_void {
                // SAFETY: the caller's promise to the table.
                unsafe { $crate::table::open(ENTRIES, request, lanes, mode, error, error_size) }
            }
            $crate::table::Table::new(name, manifest, backends, open)
        };
    };
}
