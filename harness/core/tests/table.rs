//! The table of functions that other languages load, called through its pointers alone.

mod common;

use common::{Toy, Words, forms, world};
use lockstep_core::Rules;
use lockstep_core::batch::{Batch, Buffers, ResetMode};
use lockstep_core::driver::open_rules;
use lockstep_core::table::{self, Entry, RawBuffers, RawEpisode, RawStart, TABLE_VERSION, Table};
use lockstep_env_counter::{Counter, lockstep_env_v1 as counter};
use serde_json::{Value, json};
use std::ffi::{CStr, CString, c_char, c_void};

const SEED: u64 = 77;

extern "C" fn toy_text() -> *const c_char {
    c"name = \"toy\"".as_ptr()
}

extern "C" fn toy_backends() -> *const c_char {
    c"[\"rust\"]".as_ptr()
}

const TOYS: &[Entry] = &[("rust", open_rules::<Toy>)];

unsafe extern "C" fn toy_open(
    request: *const c_char,
    lanes: usize,
    mode: *const c_char,
    error: *mut c_char,
    error_size: usize,
) -> *mut c_void {
    // SAFETY: the caller's promise to the table.
    unsafe { table::open(TOYS, request, lanes, mode, error, error_size) }
}

static TOY: Table = Table::new(toy_text, toy_text, toy_backends, toy_open);

/// A batch behind a table, closed when it goes.
struct Loaded {
    table: &'static Table,
    handle: *mut c_void,
    lanes: usize,
}

impl Loaded {
    fn open(table: &'static Table, options: &Value, lanes: usize, mode: &str) -> Self {
        Loaded::on_threads(table, options, lanes, mode, 1)
    }

    fn on_threads(table: &'static Table, options: &Value, lanes: usize, mode: &str, threads: usize) -> Self {
        match open(table, &json!({"options": options, "threads": threads}).to_string(), lanes, mode, 200) {
            Ok(handle) => Loaded { table, handle, lanes },
            Err(error) => panic!("{options} in mode {mode}: {}", error.to_string_lossy()),
        }
    }

    fn shape(&self) -> Value {
        // SAFETY: the handle is open, and the text is valid until it is closed.
        let text = unsafe { CStr::from_ptr((self.table.shape)(self.handle)) };
        serde_json::from_slice(text.to_bytes()).expect("the shape is JSON")
    }

    fn error(&self) -> String {
        // SAFETY: the handle is open, and the text is valid until the next call.
        let text = unsafe { CStr::from_ptr((self.table.error)(self.handle)) };
        text.to_str().expect("errors are UTF-8").to_owned()
    }

    fn told(&self, status: i32) -> Result<(), String> {
        match status {
            0 => Ok(()),
            -1 => Err(self.error()),
            other => panic!("a call returned {other}"),
        }
    }

    /// Lane i starts at stream i of the seed.
    fn reset<W>(&mut self, seed: u64, which: Option<&[u8]>, results: &mut Results<W>) -> Result<(), String> {
        let starts: Vec<RawStart> = (0..self.lanes as u64).map(|stream| RawStart { seed, stream }).collect();
        let which = which.map_or(std::ptr::null(), <[u8]>::as_ptr);
        // SAFETY: the handle is open and the buffers were made for its shape.
        let status = unsafe { (self.table.reset)(self.handle, starts.as_ptr(), which, &results.raw()) };
        self.told(status)
    }

    /// Each lane starts its next episode.
    fn next<W>(&mut self, results: &mut Results<W>) -> Result<(), String> {
        // SAFETY: as above.
        let status = unsafe { (self.table.reset)(self.handle, std::ptr::null(), std::ptr::null(), &results.raw()) };
        self.told(status)
    }

    fn set<W>(&mut self, lane: usize, episode: &RawEpisode, results: &mut Results<W>) -> Result<(), String> {
        // SAFETY: the handle is open, and the pointers of the episode are those of the test's slices.
        let status = unsafe { (self.table.set)(self.handle, lane, episode, &results.raw()) };
        self.told(status)
    }

    fn state(&mut self, lane: usize) -> Vec<u8> {
        let mut bytes = vec![0; 4096];
        // SAFETY: the handle is open and the buffer has that many bytes.
        let size = unsafe { (self.table.state)(self.handle, lane, bytes.as_mut_ptr(), bytes.len()) };
        bytes.truncate(usize::try_from(size).expect("the lane exists"));
        bytes
    }

    fn step<W>(&mut self, tokens: &[u32], results: &mut Results<W>) -> Result<(), String> {
        // SAFETY: the handle is open, tokens and buffers were made for its shape.
        let status = unsafe { (self.table.step)(self.handle, tokens.as_ptr(), &results.raw()) };
        self.told(status)
    }

    /// Asks with a buffer of `size` bytes; returns what the call returned and the buffer.
    fn save_into(&mut self, lane: usize, size: usize) -> (i64, Vec<u8>) {
        let mut bytes = vec![0xA5; size];
        let mut shown = Results::<f64>::sized(&self.shape(), self.lanes);
        // SAFETY: the handle is open, the buffer has `size` bytes, the others are at least those of the shape.
        let needed = unsafe { (self.table.save)(self.handle, lane, &shown.raw(), bytes.as_mut_ptr(), size) };
        (needed, bytes)
    }

    fn save(&mut self, lane: usize) -> Vec<u8> {
        let (needed, _) = self.save_into(lane, 0);
        let size = usize::try_from(needed).expect("the lane exists");
        let (written, bytes) = self.save_into(lane, size);
        assert_eq!(written, needed);
        bytes
    }

    fn restore(&mut self, lane: usize, bytes: &[u8]) -> Result<(), String> {
        let mut shown = Results::<f64>::sized(&self.shape(), self.lanes);
        self.restore_into(lane, bytes, &mut shown)
    }

    fn restore_into<W>(&mut self, lane: usize, bytes: &[u8], results: &mut Results<W>) -> Result<(), String> {
        // SAFETY: the handle is open, and the buffers are at least those of its shape.
        let status = unsafe { (self.table.restore)(self.handle, lane, bytes.as_ptr(), bytes.len(), &results.raw()) };
        self.told(status)
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        // SAFETY: the handle is open and nobody has it after this.
        unsafe { (self.table.close)(self.handle) }
    }
}

/// Opens a batch, or returns what stands in an error buffer of `error_size` bytes.
fn open(table: &Table, options: &str, lanes: usize, mode: &str, error_size: usize) -> Result<*mut c_void, CString> {
    const BEYOND: usize = 8;
    let [options, mode] = [options, mode].map(|text| CString::new(text).expect("no zero bytes"));
    let mut error = vec![0xA5u8; error_size + BEYOND];
    // SAFETY: both texts are C strings and the buffer has more than `error_size` bytes.
    let handle = unsafe { (table.open)(options.as_ptr(), lanes, mode.as_ptr(), error.as_mut_ptr().cast(), error_size) };
    assert_eq!(error[error_size..], [0xA5; BEYOND], "nothing is written behind the buffer");
    if !handle.is_null() {
        return Ok(handle);
    }
    match CStr::from_bytes_until_nul(&error[..error_size]) {
        Ok(text) => Err(text.to_owned()),
        Err(_) => {
            assert_eq!(error_size, 0, "the message has an end");
            Err(CString::default())
        }
    }
}

fn refusal(table: &Table, options: &str, lanes: usize, mode: &str) -> String {
    match open(table, options, lanes, mode, 400) {
        Ok(_) => panic!("{options} was opened in mode {mode}"),
        Err(error) => error.into_string().expect("the message is UTF-8"),
    }
}

/// Results of one step of all lanes, in buffers of the caller.
#[derive(Debug, Clone, PartialEq)]
struct Results<W> {
    observations: Vec<u8>,
    rewards: Vec<W>,
    terminated: Vec<u8>,
    truncated: Vec<u8>,
    masks: Vec<u32>,
    final_observations: Vec<u8>,
}

impl<W: Default + Clone> Results<W> {
    /// Buffers of the sizes that the shape tells.
    fn sized(shape: &Value, lanes: usize) -> Self {
        let size = |name: &str| shape[name].as_u64().expect("a size is a number") as usize;
        let agents = lanes * size("agents");
        Results {
            observations: vec![0xA5; agents * size("observation_bytes")],
            rewards: vec![W::default(); agents],
            terminated: vec![0xA5; lanes],
            truncated: vec![0xA5; lanes],
            masks: vec![0xA5A5; agents * size("mask_words")],
            final_observations: vec![0xA5; agents * size("observation_bytes")],
        }
    }
}

impl<W> Results<W> {
    fn raw(&mut self) -> RawBuffers {
        RawBuffers {
            observations: self.observations.as_mut_ptr(),
            rewards: self.rewards.as_mut_ptr().cast(),
            terminated: self.terminated.as_mut_ptr(),
            truncated: self.truncated.as_mut_ptr(),
            masks: if self.masks.is_empty() { std::ptr::null_mut() } else { self.masks.as_mut_ptr() },
            final_observations: self.final_observations.as_mut_ptr(),
            deciders: std::ptr::null_mut(),
        }
    }

    fn buffers(&mut self) -> Buffers<'_, W> {
        Buffers {
            observations: &mut self.observations,
            rewards: &mut self.rewards,
            terminated: &mut self.terminated,
            truncated: &mut self.truncated,
            masks: &mut self.masks,
            final_observations: &mut self.final_observations,
        }
    }
}

#[test]
fn the_table_begins_with_its_version_and_its_size() {
    assert_eq!((counter.version, counter.size as usize), (TABLE_VERSION, size_of::<Table>()));
}

#[test]
fn name_and_manifest_are_those_of_the_environment() {
    // SAFETY: both functions return C strings that live as long as the library.
    let [name, manifest] = [(counter.name)(), (counter.manifest)()].map(|text| unsafe { CStr::from_ptr(text) });
    assert_eq!(name, c"counter");
    let manifest: toml::Table = manifest.to_str().expect("it is UTF-8").parse().expect("it is TOML");
    assert_eq!(manifest["name"].as_str(), Some("counter"));
}

#[test]
fn the_shape_is_json_and_names_the_environment() {
    let loaded = Loaded::open(&counter, &json!({"agents": 2}), 3, "same_step");
    let expected = json!({
        "environment": "counter",
        "agents": 2,
        "width": 1,
        "action": {"kind": "discrete", "count": 4, "extra": 0, "mask": true},
        "observation_bytes": 12,
        "state_bytes": 24,
        "mask_words": 1,
        "reward": "f32",
        "episode_steps_max": 64,
        "resets": "harness",
    });
    assert_eq!(loaded.shape(), expected);
    let shape = Loaded::open(&TOY, &json!({"continuous": true, "resets_itself": true}), 1, "reference").shape();
    assert_eq!(shape["action"], json!({"kind": "continuous"}));
    assert_eq!(
        [&shape["reward"], &shape["resets"], &shape["episode_steps_max"]],
        [&json!("f64"), &json!("reference"), &json!(null)]
    );
}

#[test]
fn open_tells_what_is_wrong() {
    let cases = [
        ("{", 1, "same_step", "the options are not JSON: "),
        ("", 1, "same_step", "the options are not JSON: "),
        (r#"{"options": {"speed": 3}}"#, 1, "same_step", "unknown option speed"),
        (r#"{"options": {"agents": 3}}"#, 1, "same_step", "option agents is 3, not a whole number from 1 to 2"),
        (r#"{"options": {"memory": 5}}"#, 1, "same_step", "option memory is 5, not 0 or 65536"),
        (r#"{"backend": "cuda"}"#, 1, "same_step", "there is no backend \"cuda\" here, only rust"),
        (r#"{"threads": 0}"#, 1, "same_step", "threads is 0, not a number from 1 to 1024"),
        (r#"{"threads": "two"}"#, 1, "same_step", "threads is \"two\", not a number from 1 to 1024"),
        ("{}", 1, "some_step", "there is no reset mode \"some_step\""),
        ("{}", 1, "", "there is no reset mode \"\""),
        ("{}", 0, "same_step", "a batch has 1 to 2^24 lanes, not 0"),
        ("{}", 1, "reference", "counter does not reset itself: use NextStep, SameStep or Disabled"),
        ("{}", usize::MAX, "same_step", "a batch has 1 to 2^24 lanes, not "),
    ];
    for (options, lanes, mode, expected) in cases {
        let message = refusal(&counter, options, lanes, mode);
        assert!(message.starts_with(expected), "{options} {lanes} {mode}: {message}");
    }
}

#[test]
fn open_cuts_its_message_to_the_buffer() {
    let message = refusal(&counter, "{}", 0, "same_step");
    for size in 0..=message.len() + 1 {
        let error = open(&counter, "{}", 0, "same_step", size).expect_err("no lanes");
        let kept = size.saturating_sub(1).min(message.len());
        assert_eq!(error.to_str().expect("it is ASCII"), &message[..kept], "{size} bytes");
    }
}

/// Plays a loaded batch beside one of the same crate.
fn equals_batch<R: Rules<Reward = W>, W: lockstep_core::Reward>(
    table: &'static Table,
    options: &Value,
    name: &str,
    mode: ResetMode,
) {
    let lanes = 6;
    let mut loaded = Loaded::open(table, options, lanes, name);
    let mut batch = Batch::<R>::new(world::<R>(options), lanes, mode).expect("the mode fits");
    let mut observed = Results::<W>::sized(&loaded.shape(), lanes);
    let mut expected = observed.clone();
    loaded.reset(SEED, None, &mut observed).expect("lanes can be reset");
    batch.reset(SEED, None, &mut expected.buffers());
    assert_eq!(observed, expected);
    let mut words = Words::new(50);
    for step in 0..400 {
        let tokens = words.tokens(batch.shape().action, lanes * batch.shape().tokens_per_step());
        let told = loaded.step(&tokens, &mut observed);
        assert_eq!(told, batch.step(&tokens, &mut expected.buffers()).map_err(|error| error.0));
        assert_eq!(observed, expected, "step {step} of {options} in mode {name}");
        if told.is_err() || step % 100 == 99 {
            let which: Vec<u8> = (0..lanes).map(|i| if told.is_err() || i % 2 == 0 { 3 } else { 0 }).collect();
            let which_lanes: Vec<_> = which.iter().map(|byte| *byte != 0).collect();
            loaded.reset(step, Some(&which), &mut observed).expect("lanes can be reset");
            batch.reset(step, Some(&which_lanes), &mut expected.buffers());
            assert_eq!(observed, expected, "the reset after step {step} of {options} in mode {name}");
        }
        for lane in 0..lanes {
            assert_eq!(loaded.save(lane), batch.save(lane));
        }
    }
}

#[test]
fn a_loaded_batch_equals_the_batch_of_the_crate() {
    let modes = [
        ("next_step", ResetMode::NextStep),
        ("same_step", ResetMode::SameStep),
        ("disabled", ResetMode::Disabled),
        ("reference", ResetMode::Reference),
    ];
    for (name, mode) in modes {
        for mut options in forms() {
            options["resets_itself"] = (mode == ResetMode::Reference).into();
            equals_batch::<Toy, f64>(&TOY, &options, name, mode);
        }
        if mode != ResetMode::Reference {
            equals_batch::<Counter, f32>(&counter, &json!({"agents": 2}), name, mode);
        }
    }
}

#[test]
fn buffers_that_nobody_reads_may_be_null() {
    let lanes = 4;
    let loaded = Loaded::open(&counter, &json!({"agents": 2}), lanes, "same_step");
    let mut read = Loaded::open(&counter, &json!({"agents": 2}), lanes, "same_step");
    let mut expected = Results::<f32>::sized(&loaded.shape(), lanes);
    let mut observed = expected.clone();
    let raw = RawBuffers { masks: std::ptr::null_mut(), final_observations: std::ptr::null_mut(), ..observed.raw() };
    let starts: Vec<RawStart> = (0..lanes as u64).map(|stream| RawStart { seed: SEED, stream }).collect();
    // SAFETY: the handle is open, the other buffers are of its shape, and these two may be null.
    let status = unsafe { (loaded.table.reset)(loaded.handle, starts.as_ptr(), std::ptr::null(), &raw) };
    loaded.told(status).expect("lanes can be reset");
    read.reset(SEED, None, &mut expected).expect("lanes can be reset");
    let mut words = Words::new(51);
    for _ in 0..300 {
        let tokens: Vec<_> = (0..2 * lanes).map(|_| words.word()).collect();
        // SAFETY: as above, with two tokens per lane.
        let status = unsafe { (loaded.table.step)(loaded.handle, tokens.as_ptr(), &raw) };
        loaded.told(status).expect("the tokens are valid");
        read.step(&tokens, &mut expected).expect("the tokens are valid");
        assert_eq!((&observed.observations, &observed.rewards), (&expected.observations, &expected.rewards));
    }
}

#[test]
fn a_restored_lane_goes_on_as_the_saved_one() {
    let options = json!({"agents": 2, "memory": true});
    let mut original = Loaded::open(&TOY, &options, 2, "next_step");
    let mut copy = Loaded::open(&TOY, &options, 2, "next_step");
    let mut expected = Results::<f64>::sized(&original.shape(), 2);
    let mut observed = expected.clone();
    original.reset(SEED, None, &mut expected).expect("lanes can be reset");
    copy.reset(SEED + 1, None, &mut observed).expect("lanes can be reset");
    let mut words = Words::new(52);
    for _ in 0..60 {
        let tokens: Vec<_> = (0..4).map(|_| words.word()).collect();
        original.step(&tokens, &mut expected).expect("the tokens are valid");
    }
    for lane in 0..2 {
        copy.restore(lane, &original.save(lane)).expect("the save is of this configuration");
    }
    for _ in 0..200 {
        let tokens: Vec<_> = (0..4).map(|_| words.word()).collect();
        original.step(&tokens, &mut expected).expect("the tokens are valid");
        copy.step(&tokens, &mut observed).expect("the tokens are valid");
        let told =
            |results: &Results<f64>| (results.observations.clone(), results.rewards.clone(), results.masks.clone());
        assert_eq!(told(&observed), told(&expected));
    }
}

#[test]
fn save_writes_only_what_fits() {
    let mut loaded = Loaded::open(&TOY, &json!({}), 1, "same_step");
    let mut results = Results::<f64>::sized(&loaded.shape(), 1);
    loaded.reset(SEED, None, &mut results).expect("lanes can be reset");
    let saved = loaded.save(0);
    let size = saved.len();
    assert_eq!(loaded.save_into(0, size - 1), (size as i64, vec![0xA5; size - 1]));
    let (needed, bytes) = loaded.save_into(0, size + 3);
    assert_eq!((needed as usize, &bytes[..size], &bytes[size..]), (size, &saved[..], &[0xA5; 3][..]));
}

#[test]
fn errors_are_sentences_that_name_the_thing() {
    let mut loaded = Loaded::open(&TOY, &json!({"continuous": true, "steps_max": 1}), 2, "disabled");
    let mut results = Results::<f64>::sized(&loaded.shape(), 2);
    assert_eq!(loaded.step(&[0, 0], &mut results), Err("lane 0 has finished its episode: reset it first".into()));
    loaded.reset(SEED, None, &mut results).expect("lanes can be reset");
    assert_eq!(
        loaded.step(&[0, 0xFF00_0000], &mut results),
        Err("token 0xff000000 is the action inf; continuous actions are finite".into())
    );
    loaded.step(&[0, 0], &mut results).expect("the tokens are valid");
    loaded.reset(SEED, Some(&[1, 0]), &mut results).expect("lanes can be reset");
    assert_eq!(loaded.step(&[0, 0], &mut results), Err("lane 1 has finished its episode: reset it first".into()));
    let saved = loaded.save(0);
    assert_eq!(loaded.restore(2, &saved), Err("there is no lane 2".into()));
    assert_eq!(loaded.restore(1, &[]), Err("an empty save".into()));
    assert_eq!(loaded.restore(1, &saved[..20]), Err("the body ends too early".into()));
    assert_eq!(loaded.save_into(2, 0).0, -1);
    assert_eq!(loaded.error(), "there is no lane 2");
}

#[test]
fn a_panic_of_the_rules_is_told_as_an_error() {
    let mut loaded = Loaded::open(&TOY, &json!({"fragile": true}), 8, "same_step");
    let mut results = Results::<f64>::sized(&loaded.shape(), 8);
    loaded.reset(SEED, None, &mut results).expect("lanes can be reset");
    // Each draw is a 7 with one chance in ten, so 1,000 draws without one do not happen.
    let told = (0..125).find_map(|_| loaded.step(&[0; 8], &mut results).err());
    assert_eq!(told.as_deref(), Some("the environment panicked; the batch must be closed"));
}

#[test]
fn threads_change_no_result() {
    for (mode, resets_itself) in [("next_step", false), ("same_step", false), ("disabled", false), ("reference", true)]
    {
        for mut options in forms() {
            options["resets_itself"] = resets_itself.into();
            let lanes = 7;
            let shape = Loaded::open(&TOY, &options, lanes, mode).shape();
            for threads in [2, 3, 64] {
                let mut many = Loaded::on_threads(&TOY, &options, lanes, mode, threads);
                let mut observed = Results::<f64>::sized(&many.shape(), lanes);
                let mut alone = Loaded::open(&TOY, &options, lanes, mode);
                let mut expected = Results::<f64>::sized(&alone.shape(), lanes);
                alone.reset(SEED, None, &mut expected).expect("lanes can be reset");
                many.reset(SEED, None, &mut observed).expect("lanes can be reset");
                let mut words = Words::new(60);
                for step in 0..200 {
                    let count = expected.rewards.len() * shape["width"].as_u64().expect("a number") as usize;
                    let continuous = shape["action"]["kind"] == "continuous";
                    let tokens: Vec<u32> = (0..count)
                        .map(|_| if continuous { words.word() & 0x7FFF_FFFF } else { words.word() })
                        .collect();
                    let told = alone.step(&tokens, &mut expected);
                    assert_eq!(many.step(&tokens, &mut observed), told, "{options} {mode} {threads}");
                    assert_eq!(observed, expected, "step {step} of {options} in {mode} on {threads} threads");
                    if told.is_err() || step % 50 == 49 {
                        alone.next(&mut expected).expect("lanes can be reset");
                        many.next(&mut observed).expect("lanes can be reset");
                        assert_eq!(observed, expected);
                    }
                }
                for lane in 0..lanes {
                    assert_eq!((many.save(lane), many.state(lane)), (alone.save(lane), alone.state(lane)));
                    let saved = alone.save(lane);
                    many.restore_into(lane, &saved, &mut observed).expect("it is of this configuration");
                    alone.restore_into(lane, &saved, &mut expected).expect("it is of this configuration");
                }
                assert_eq!(observed, expected, "what a restored lane shows");
            }
        }
    }
}

#[test]
fn the_next_episode_is_the_one_after_the_lane_s_own() {
    let options = json!({"agents": 2});
    let mut loaded = Loaded::open(&counter, &options, 2, "disabled");
    let mut results = Results::<f32>::sized(&loaded.shape(), 2);
    loaded.reset(SEED, None, &mut results).expect("lanes can be reset");
    // Within an episode: the next one. After its end: the one that the last step began.
    loaded.next(&mut results).expect("lanes can be reset");
    assert_eq!(u32::from_le_bytes(loaded.save(0)[25..29].try_into().expect("four bytes")), 1);
    let mut words = Words::new(61);
    let over = (0..1000).find(|_| {
        let tokens: Vec<_> = (0..4).map(|_| words.word()).collect();
        loaded.step(&tokens, &mut results).expect("nobody has finished");
        results.terminated[0] + results.truncated[0] + results.terminated[1] + results.truncated[1] > 0
    });
    assert!(over.is_some(), "an episode has a time limit");
    let ended = usize::from(results.terminated[0] + results.truncated[0] == 0);
    loaded.next(&mut results).expect("lanes can be reset");
    assert_eq!(u32::from_le_bytes(loaded.save(ended)[25..29].try_into().expect("four bytes")), 2);
    assert!(loaded.step(&[0; 4], &mut results).is_ok(), "every lane can be stepped");
}

#[test]
fn a_lane_can_be_set_to_the_state_of_another() {
    let options = json!({"agents": 2});
    let mut loaded = Loaded::open(&counter, &options, 2, "same_step");
    let mut results = Results::<f32>::sized(&loaded.shape(), 2);
    loaded.reset(SEED, None, &mut results).expect("lanes can be reset");
    let mut words = Words::new(62);
    for _ in 0..9 {
        let tokens: Vec<_> = (0..4).map(|_| words.word()).collect();
        loaded.step(&tokens, &mut results).expect("the tokens are valid");
    }
    let state = loaded.state(0);
    let observations = results.observations[..24].to_vec();
    let draws = [3, 1, 2];
    let episode = RawEpisode {
        seed: 1,
        stream: 2,
        episode: 3,
        elapsed: 9,
        draw_index: 0,
        listed: 1,
        draws: draws.as_ptr(),
        draw_count: draws.len(),
        state: state.as_ptr(),
        state_size: state.len(),
        observations: observations.as_ptr(),
        observations_size: observations.len(),
    };
    loaded.set(1, &episode, &mut results).expect("the state is of this configuration");
    assert_eq!(loaded.state(1), state);
    assert_eq!(results.observations[24..], observations);
    assert_eq!((results.rewards[2], results.masks[2..].to_vec()), (0.0, results.masks[..2].to_vec()));
    let short = RawEpisode { state_size: state.len() - 1, ..episode };
    assert_eq!(loaded.set(0, &short, &mut results), Err("a state has 24 bytes, not 23".into()));
    assert_eq!(loaded.set(2, &episode, &mut results), Err("there is no lane 2".into()));
    let started = RawEpisode { state: std::ptr::null(), listed: 0, ..episode };
    loaded.set(0, &started, &mut results).expect("an episode can be started");
    assert_eq!(loaded.save(0)[25..29], 3u32.to_le_bytes());
}
