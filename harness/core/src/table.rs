//! The one versioned table of functions through which other languages load an environment: `lockstep_env_v1`.
//!
//! A library exports the symbol with [`export_env!`](crate::export_env). Buffers belong to the caller; a call returns 0,
//! or -1 after which `error` tells why. No function unwinds: a panic is caught and told as an error.

use crate::batch::{Batch, Buffers, ResetMode};
use crate::options::{Files, Options};
use crate::rules::{Reward, Rules};
use crate::shape::{ActionKind, Resets, Shape};
use serde_json::{Value, json};
use std::ffi::{CStr, CString, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The version of [`Table`].
pub const TABLE_VERSION: u32 = 1;

/// Pointers to the buffers of one step; sizes as in [`Buffers`], `masks` and `final_observations` may be null where
/// the shape has none or nobody wants them.
#[repr(C)]
#[derive(Clone, Copy)]
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
    /// Opens a batch. `options` is a JSON object `{"options": …, "files": …}`, `mode` is `next_step`, `same_step`,
    /// `disabled` or `reference`. Null on error, with a message in `error` (`error_size` bytes, cut if longer).
    pub open: unsafe extern "C" fn(*const c_char, usize, *const c_char, *mut c_char, usize) -> *mut c_void,
    /// Closes a batch.
    pub close: unsafe extern "C" fn(*mut c_void),
    /// The shape as JSON; valid until the batch is closed.
    pub shape: unsafe extern "C" fn(*mut c_void) -> *const c_char,
    /// Why the last call returned -1; valid until the next call.
    pub error: unsafe extern "C" fn(*mut c_void) -> *const c_char,
    /// Resets the lanes whose byte in `which` is not 0 (all if it is null).
    pub reset: unsafe extern "C" fn(*mut c_void, u64, *const u8, *const RawBuffers) -> i32,
    /// Plays `lanes × agents × width` tokens.
    pub step: unsafe extern "C" fn(*mut c_void, *const u32, *const RawBuffers) -> i32,
    /// Saves a lane into a buffer of `size` bytes; returns the bytes needed, having written them only if they fit, or -1.
    pub save: unsafe extern "C" fn(*mut c_void, usize, *mut u8, usize) -> i64,
    /// Takes a saved lane back.
    pub restore: unsafe extern "C" fn(*mut c_void, usize, *const u8, usize) -> i32,
}

struct Handle<R: Rules> {
    batch: Batch<R>,
    shape: CString,
    error: CString,
    unread: Unread,
}

/// Takes what the caller does not want to read.
#[derive(Default)]
struct Unread {
    observations: Vec<u8>,
    masks: Vec<u32>,
}

impl Table {
    /// The table of some rules; `name` and `manifest` come from the macro.
    pub const fn of<R: Rules>(
        name: extern "C" fn() -> *const c_char,
        manifest: extern "C" fn() -> *const c_char,
    ) -> Self {
        Table {
            version: TABLE_VERSION,
            size: size_of::<Table>() as u32,
            name,
            manifest,
            open: open::<R>,
            close: close::<R>,
            shape: shape::<R>,
            error: error::<R>,
            reset: reset::<R>,
            step: step::<R>,
            save: save::<R>,
            restore: restore::<R>,
        }
    }
}

/// The shape as loaders read it.
pub fn shape_json<R: Rules>(shape: &Shape) -> Value {
    json!({
        "environment": R::NAME,
        "agents": shape.agents,
        "width": shape.width,
        "action": match shape.action {
            ActionKind::Discrete { count, extra, mask } => json!({"kind": "discrete", "count": count, "extra": extra, "mask": mask}),
            ActionKind::Continuous => json!({"kind": "continuous"}),
        },
        "observation_bytes": shape.observation_bytes,
        "mask_words": shape.mask_words(),
        "reward": R::Reward::DTYPE,
        "episode_steps_max": shape.episode_steps_max,
        "resets": match shape.resets { Resets::Harness => "harness", Resets::Reference => "reference" },
    })
}

fn text(text: String) -> CString {
    CString::new(text.replace('\0', " ")).expect("zero bytes were replaced")
}

/// # Safety
/// `options` and `mode` are C strings, `error` has `error_size` bytes.
unsafe extern "C" fn open<R: Rules>(
    options: *const c_char,
    lanes: usize,
    mode: *const c_char,
    error: *mut c_char,
    error_size: usize,
) -> *mut c_void {
    // SAFETY: the caller's promise.
    let (options, mode) =
        unsafe { (CStr::from_ptr(options).to_string_lossy(), CStr::from_ptr(mode).to_string_lossy()) };
    let opened = catch_unwind(|| open_batch::<R>(&options, lanes, &mode))
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

fn open_batch<R: Rules>(options: &str, lanes: usize, mode: &str) -> Result<Handle<R>, String> {
    let asked: Value = serde_json::from_str(options).map_err(|error| format!("the options are not JSON: {error}"))?;
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
    let world = R::world(Options::new(asked["options"].as_object().cloned().unwrap_or_default()), &files)
        .map_err(|error| error.0)?;
    let batch = Batch::<R>::new(world, lanes, mode).map_err(|error| error.0)?;
    let shape = text(shape_json::<R>(batch.shape()).to_string());
    Ok(Handle { batch, shape, error: CString::default(), unread: Unread::default() })
}

/// # Safety
/// `handle` came from `open` and is not used again.
unsafe extern "C" fn close<R: Rules>(handle: *mut c_void) {
    // SAFETY: the caller's promise.
    drop(unsafe { Box::from_raw(handle.cast::<Handle<R>>()) });
}

/// # Safety
/// `handle` came from `open`.
unsafe extern "C" fn shape<R: Rules>(handle: *mut c_void) -> *const c_char {
    // SAFETY: the caller's promise.
    unsafe { &*handle.cast::<Handle<R>>() }.shape.as_ptr()
}

/// # Safety
/// `handle` came from `open`.
unsafe extern "C" fn error<R: Rules>(handle: *mut c_void) -> *const c_char {
    // SAFETY: the caller's promise.
    unsafe { &*handle.cast::<Handle<R>>() }.error.as_ptr()
}

impl<R: Rules> Handle<R> {
    /// # Safety
    /// The pointers have the sizes of the shape.
    unsafe fn buffers(batch: &Batch<R>, unread: &mut Unread, raw: &RawBuffers) -> Buffers<'static, R::Reward> {
        let (shape, lanes) = (batch.shape(), batch.lane_count());
        let observation = lanes * shape.agents * shape.observation_bytes;
        let masks = lanes * shape.agents * shape.mask_words();
        let final_observations = if raw.final_observations.is_null() {
            unread.observations.resize(observation, 0);
            unread.observations.as_mut_ptr()
        } else {
            raw.final_observations
        };
        let masks_at = if raw.masks.is_null() || masks == 0 {
            unread.masks.resize(masks, 0);
            unread.masks.as_mut_ptr()
        } else {
            raw.masks
        };
        // SAFETY: the caller's promise; `unread` outlives the call and an empty slice may dangle.
        unsafe {
            Buffers {
                observations: std::slice::from_raw_parts_mut(raw.observations, observation),
                rewards: std::slice::from_raw_parts_mut(raw.rewards.cast(), lanes * shape.agents),
                terminated: std::slice::from_raw_parts_mut(raw.terminated, lanes),
                truncated: std::slice::from_raw_parts_mut(raw.truncated, lanes),
                masks: std::slice::from_raw_parts_mut(masks_at, masks),
                final_observations: std::slice::from_raw_parts_mut(final_observations, observation),
            }
        }
    }

    fn guard(&mut self, call: impl FnOnce(&mut Self) -> Result<(), String>) -> i32 {
        let result = catch_unwind(AssertUnwindSafe(|| call(self)))
            .unwrap_or_else(|_| Err("the environment panicked; the batch must be closed".into()));
        match result {
            Ok(()) => 0,
            Err(message) => {
                self.error = text(message);
                -1
            }
        }
    }
}

/// # Safety
/// `handle` came from `open`, `which` is null or has a byte per lane, the buffers have the sizes of the shape.
unsafe extern "C" fn reset<R: Rules>(handle: *mut c_void, seed: u64, which: *const u8, raw: *const RawBuffers) -> i32 {
    // SAFETY: the caller's promise.
    let (handle, raw) = unsafe { (&mut *handle.cast::<Handle<R>>(), &*raw) };
    handle.guard(|handle| {
        let lanes = handle.batch.lane_count();
        // SAFETY: the caller's promise.
        let which: Option<Vec<bool>> = (!which.is_null())
            .then(|| unsafe { std::slice::from_raw_parts(which, lanes) }.iter().map(|byte| *byte != 0).collect());
        // SAFETY: the caller's promise.
        let mut buffers = unsafe { Handle::buffers(&handle.batch, &mut handle.unread, raw) };
        handle.batch.reset(seed, which.as_deref(), &mut buffers);
        Ok(())
    })
}

/// # Safety
/// `handle` came from `open`, tokens and buffers have the sizes of the shape.
unsafe extern "C" fn step<R: Rules>(handle: *mut c_void, tokens: *const u32, raw: *const RawBuffers) -> i32 {
    // SAFETY: the caller's promise.
    let (handle, raw) = unsafe { (&mut *handle.cast::<Handle<R>>(), &*raw) };
    handle.guard(|handle| {
        let count = handle.batch.lane_count() * handle.batch.shape().tokens_per_step();
        // SAFETY: the caller's promise.
        let tokens = unsafe { std::slice::from_raw_parts(tokens, count) };
        // SAFETY: the caller's promise.
        let mut buffers = unsafe { Handle::buffers(&handle.batch, &mut handle.unread, raw) };
        handle.batch.step(tokens, &mut buffers).map_err(|error| error.0)
    })
}

/// # Safety
/// `handle` came from `open`, `out` has `size` bytes.
unsafe extern "C" fn save<R: Rules>(handle: *mut c_void, lane: usize, out: *mut u8, size: usize) -> i64 {
    // SAFETY: the caller's promise.
    let handle = unsafe { &mut *handle.cast::<Handle<R>>() };
    if lane >= handle.batch.lane_count() {
        return i64::from(handle.guard(|_| Err(format!("there is no lane {lane}"))));
    }
    let bytes = handle.batch.save(lane);
    if bytes.len() <= size {
        // SAFETY: the caller's promise, and the bytes fit.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), out, bytes.len()) };
    }
    bytes.len() as i64
}

/// # Safety
/// `handle` came from `open`, `bytes` has `size` bytes.
unsafe extern "C" fn restore<R: Rules>(handle: *mut c_void, lane: usize, bytes: *const u8, size: usize) -> i32 {
    // SAFETY: the caller's promise.
    let (handle, bytes) = unsafe { (&mut *handle.cast::<Handle<R>>(), std::slice::from_raw_parts(bytes, size)) };
    handle.guard(|handle| {
        if lane >= handle.batch.lane_count() {
            return Err(format!("there is no lane {lane}"));
        }
        handle.batch.restore(lane, bytes).map_err(|error| error.0)
    })
}

/// Exports the table of an environment's rules as the symbol `lockstep_env_v1`.
#[macro_export]
macro_rules! export_env {
    ($rules:ty) => {
        /// The table of functions of this environment.
        #[unsafe(no_mangle)]
        #[expect(non_upper_case_globals, reason = "the symbol is the interface")]
        pub static lockstep_env_v1: $crate::table::Table = {
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
            $crate::table::Table::of::<$rules>(name, manifest)
        };
    };
}
