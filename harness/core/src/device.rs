//! A backend whose lanes live in the memory of a device, behind five calls: the GPU's driver, or an interpreter of PTX.
//!
//! Everything but these calls is the same for both: layouts, parameters of kernels, what is copied when. So what the
//! interpreter proves without a GPU is what a driver is then asked to do. State words stand word-major over all lanes
//! and regions are interleaved by warp, as `harness/cuda/lockstep.cuh` lays them out for a device.

mod judge;
mod rollout;

use crate::bench::{Bencher, Contest, CpuClock, Timed, tokens};
use crate::digest::Digest;
use crate::host::HostRules;
use crate::host::table::{GRAIN_NONE, LAYOUT_WORDS_MAX, RawHeader, RawLanes, RawList, RawRecords, RawShape, RawSteps};
use crate::lane::{Header, Source};
use crate::options::{Files, Options};
use crate::serve::Opened;
use crate::shape::Shape;
use bytemuck::{Zeroable, bytes_of, cast_slice, cast_slice_mut};
use std::cell::RefCell;
use std::ptr::null_mut;
use std::time::Instant;

pub use rollout::{Launches, Rollout, RustRollout, token};

/// Threads of a block.
const BLOCK: u32 = 128;

/// Rules whose CUDA source has been compiled for a device too.
pub trait DeviceRules: HostRules {
    /// The PTX of its kernels, as it is kept in the repository.
    fn ptx() -> &'static str;
}

/// A device that has loaded an environment's kernels. Addresses are its own; errors end in what to do next.
pub trait Device: Send {
    /// What it is, in words.
    fn name(&self) -> String;

    /// New memory, of zeros or of nothing in particular; `name` is for messages.
    ///
    /// # Errors
    /// If there is not enough.
    fn allocate(&mut self, name: &str, bytes: usize, zeroed: bool) -> Result<u64, String>;

    /// Gives memory back that `allocate` returned.
    ///
    /// # Errors
    /// If it did not.
    fn release(&mut self, address: u64) -> Result<(), String>;

    /// Copies to the device.
    ///
    /// # Errors
    /// If the bytes don't lie in one stretch of memory.
    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), String>;

    /// Copies from the device.
    ///
    /// # Errors
    /// As for `write`; an interpreter also refuses what no kernel has written.
    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), String>;

    /// Copies pieces of `bytes.len() / count` bytes, which stand `stride` bytes apart on the device.
    ///
    /// # Errors
    /// As for `read`.
    fn read_apart(&mut self, address: u64, stride: usize, count: usize, bytes: &mut [u8]) -> Result<(), String> {
        let size = bytes.len() / count.max(1);
        for (i, piece) in bytes.chunks_exact_mut(size.max(1)).enumerate() {
            self.read(address + (i * stride) as u64, piece)?;
        }
        Ok(())
    }

    /// The other way round.
    ///
    /// # Errors
    /// As for `write`.
    fn write_apart(&mut self, address: u64, stride: usize, count: usize, bytes: &[u8]) -> Result<(), String> {
        let size = bytes.len() / count.max(1);
        for (i, piece) in bytes.chunks_exact(size.max(1)).enumerate() {
            self.write(address + (i * stride) as u64, piece)?;
        }
        Ok(())
    }

    /// Runs a kernel over `count` threads in blocks of `block`, and waits for it. `parameters` are its parameters as
    /// they lie in memory.
    ///
    /// # Errors
    /// What went wrong, with the place if it is known.
    fn launch(&mut self, kernel: &str, count: usize, block: u32, parameters: &[u8]) -> Result<(), String>;

    /// Runs a kernel `times` times, each after the one before, and waits for the last; the seconds that the device took.
    /// A device with graphs makes one of them where `graph` is set; any other launches in turn.
    ///
    /// # Errors
    /// As for `launch`.
    fn repeat(
        &mut self,
        kernel: &str,
        count: usize,
        block: u32,
        parameters: &[u8],
        times: usize,
        graph: bool,
    ) -> Result<f64, String> {
        let _ = graph;
        let began = Instant::now();
        for _ in 0..times {
            self.launch(kernel, count, block, parameters)?;
        }
        Ok(began.elapsed().as_secs_f64())
    }
}

/// Lanes on a device.
pub struct OnDevice<R: DeviceRules, D: Device> {
    world: R::World,
    shape: Shape,
    raw_shape: RawShape,
    lane_count: usize,
    device: RefCell<D>,
    at: Addresses,
    draws_max: usize,
    rows_max: Vec<u32>,
    lists: Vec<Vec<u32>>,
    list_addresses: Vec<u64>,
    chains: Vec<u64>,
    logs: Vec<Vec<u8>>,
    /// Draws made and rows written by what is launched next go nowhere: there are no records.
    tokens: Option<(u64, usize)>,
    /// The arrays of a rollout, once there was one.
    rollout: Option<rollout::Places>,
}

/// Where the arrays over lanes stand.
#[derive(Debug, Clone, Copy, Default)]
struct Addresses {
    headers: u64,
    states: u64,
    regions: u64,
    observations: u64,
    rewards: u64,
    masks: u64,
    lists: u64,
    world: u64,
    shape: u64,
    heads: u64,
}

/// The parameters of a kernel, one after the other, each at a multiple of its alignment.
#[derive(Default)]
struct Parameters(Vec<u8>);

impl Parameters {
    fn put(mut self, bytes: &[u8], align: usize) -> Self {
        self.0.resize(self.0.len().next_multiple_of(align), 0);
        self.0.extend_from_slice(bytes);
        self
    }

    fn word(self, value: u32) -> Self {
        self.put(&value.to_le_bytes(), 4)
    }

    fn address(self, value: u64) -> Self {
        self.put(&value.to_le_bytes(), 8)
    }
}

impl<R: DeviceRules, D: Device> OnDevice<R, D> {
    /// `lane_count` lanes before their first reset, on a device that has loaded the rules' kernels.
    ///
    /// # Errors
    /// If the device has not enough memory, or its kernels are not those of these rules.
    pub fn new(world: R::World, lane_count: usize, mut device: D) -> Result<Self, String> {
        let shape = R::shape(&world);
        let raw_shape = RawShape::of(&shape);
        let state_words = size_of::<R::State>() / 4;
        // Regions are interleaved by 32 lanes, so the last warp has room for all of them.
        let region_lanes = lane_count.next_multiple_of(32);
        let mut zeros = |name: &str, bytes: usize| device.allocate(name, bytes.max(8), true);
        let at = Addresses {
            headers: zeros("the headers", lane_count * size_of::<RawHeader>())?,
            states: zeros("the states", 4 * lane_count * state_words)?,
            regions: zeros("the regions", 4 * region_lanes * raw_shape.region_words as usize)?,
            observations: zeros("the observations", lane_count * shape.agents * shape.observation_bytes)?,
            rewards: zeros("the rewards", lane_count * shape.agents * size_of::<R::Reward>())?,
            masks: zeros("the masks", 4 * lane_count * shape.agents * shape.mask_words())?,
            lists: zeros("the lists of draws", lane_count * size_of::<RawList>())?,
            world: zeros("the world", size_of::<R::DeviceWorld>())?,
            shape: zeros("the shape", size_of::<RawShape>())?,
            heads: zeros("the heads", 4 * lane_count)?,
        };
        device.write(at.world, bytes_of(&R::device_world(&world)))?;
        device.write(at.shape, bytes_of(&raw_shape))?;
        let mut this = OnDevice {
            world,
            raw_shape,
            lane_count,
            device: RefCell::new(device),
            at,
            draws_max: 0,
            rows_max: vec![0; shape.row_bytes.len()],
            lists: vec![Vec::new(); lane_count],
            list_addresses: vec![0; lane_count],
            chains: vec![0; lane_count],
            logs: vec![Vec::new(); lane_count],
            tokens: None,
            rollout: None,
            shape,
        };
        this.ask_limits()?;
        Ok(this)
    }

    /// Compares layouts and asks how many draws and rows one step makes at most.
    fn ask_limits(&mut self) -> Result<(), String> {
        let layout = self.layout()?;
        // Rust says how large the structs are that it fills, and the build for the CPU where fields stand in them.
        let shared = crate::host::shared_layout::<R>();
        let mut host = crate::host::layout::<R>();
        host.iter_mut()
            .zip(shared.iter().chain([&(size_of::<R::State>() as u32)]))
            .for_each(|(word, own)| *word = *own);
        let length = layout.len().max(host.len());
        if let Some(word) = (0..length).find(|word| layout.get(*word) != host.get(*word)) {
            let told = |words: &[u32]| words.get(word).map_or("nothing".into(), ToString::to_string);
            return Err(format!(
                "the kernels of {} have another layout than Rust and the CUDA source built for the CPU: word {word} of \
                 what `layout` tells is {}, not {}\n(hint: lockstep ptx {} compiles them anew)",
                R::NAME,
                told(&layout),
                told(&host),
                R::NAME
            ));
        }
        let device = self.device.get_mut();
        let grains = self.rows_max.len();
        let limits = device.allocate("the limits", 4 * (1 + grains), true)?;
        let parameters =
            Parameters::default().word(grains as u32).address(limits).address(limits + 4).address(self.at.world);
        device.launch(&kernel::<R>("limits"), 1, 1, &parameters.0)?;
        let mut words = vec![0u32; 1 + grains];
        device.read(limits, cast_slice_mut(&mut words))?;
        device.release(limits)?;
        self.draws_max = words[0] as usize;
        self.rows_max.copy_from_slice(&words[1..]);
        Ok(())
    }

    /// Sizes and offsets as the kernels have them: those that all sources share, then the rules' own.
    ///
    /// # Errors
    /// If the kernel can't be run.
    pub fn layout(&mut self) -> Result<Vec<u32>, String> {
        let device = self.device.get_mut();
        let mut words = vec![u32::MAX; LAYOUT_WORDS_MAX];
        let address = device.allocate("the layout", 4 * words.len(), true)?;
        device.write(address, cast_slice(&words))?;
        let parameters = Parameters::default().word(words.len() as u32).address(address);
        device.launch(&kernel::<R>("layout"), 1, 1, &parameters.0)?;
        device.read(address, cast_slice_mut(&mut words))?;
        device.release(address)?;
        words.truncate(words.iter().position(|word| *word == u32::MAX).unwrap_or(words.len()));
        Ok(words)
    }

    /// The device, to look at.
    pub fn device(&mut self) -> &mut D {
        self.device.get_mut()
    }

    /// Plays one step of all lanes without a record, as training does; lanes whose episode ended are reset at once
    /// unless the rules do that. Nothing is copied back: [`heads`](Self::heads) and the others ask for it.
    ///
    /// # Errors
    /// If the kernel fails.
    pub fn step(&mut self, tokens: &[u32]) -> Result<(), String> {
        let address = self.tokens_at(tokens)?;
        let parameters = Parameters::default().word(self.lane_count as u32);
        let parameters = self.put_lanes(parameters, 0).address(self.at.heads).address(self.at.world);
        let parameters = parameters.address(self.at.shape).address(address);
        self.device.get_mut().launch(&kernel::<R>("step"), self.lane_count, BLOCK, &parameters.0)
    }

    /// The head of each lane's last step: its flags and who decides next.
    ///
    /// # Errors
    /// If the device can't be read.
    pub fn heads(&self) -> Result<Vec<u32>, String> {
        let mut heads = vec![0; self.lane_count];
        self.device.borrow_mut().read(self.at.heads, cast_slice_mut(&mut heads))?;
        Ok(heads)
    }

    /// The observations of all lanes, as they were last written.
    ///
    /// # Errors
    /// If the device can't be read.
    pub fn observations(&self) -> Result<Vec<u8>, String> {
        let mut bytes = vec![0; self.lane_count * self.shape.agents * self.shape.observation_bytes];
        self.device.borrow_mut().read(self.at.observations, &mut bytes)?;
        Ok(bytes)
    }

    /// The rewards of all lanes' last step.
    ///
    /// # Errors
    /// If the device can't be read.
    pub fn rewards(&self) -> Result<Vec<R::Reward>, String> {
        let mut rewards = vec![R::Reward::default(); self.lane_count * self.shape.agents];
        self.device.borrow_mut().read(self.at.rewards, cast_slice_mut(&mut rewards))?;
        Ok(rewards)
    }

    /// One lane's state.
    ///
    /// # Errors
    /// If the device can't be read.
    pub fn state(&self, lane: usize) -> Result<R::State, String> {
        let mut state = R::State::zeroed();
        let words = size_of::<R::State>() / 4;
        let (address, stride) = (self.at.states + 4 * lane as u64, 4 * self.lane_count);
        let bytes = bytemuck::bytes_of_mut(&mut state);
        self.device.borrow_mut().read_apart(address, stride, words, bytes)?;
        Ok(state)
    }

    /// What each agent of a lane would observe in its state, wherever the last observation was made.
    ///
    /// # Errors
    /// If the kernel fails.
    pub fn observe(&mut self, lane: usize) -> Result<Vec<u8>, String> {
        let mut bytes = vec![0; self.shape.agents * self.shape.observation_bytes];
        let address = self.device.get_mut().allocate("the observations that were asked for", bytes.len(), false)?;
        let parameters = self.put_lanes(Parameters::default().word(1).address(address), lane);
        let parameters = parameters.address(self.at.world).address(self.at.shape);
        let device = self.device.get_mut();
        device.launch(&kernel::<R>("observe"), 1, 1, &parameters.0)?;
        device.read(address, &mut bytes)?;
        device.release(address)?;
        Ok(bytes)
    }

    /// Copies tokens to memory that is kept from step to step.
    fn tokens_at(&mut self, tokens: &[u32]) -> Result<u64, String> {
        let bytes = 4 * tokens.len().max(2);
        let device = self.device.get_mut();
        if self.tokens.is_none_or(|(_, size)| size < bytes) {
            if let Some((address, _)) = self.tokens.take() {
                device.release(address)?;
            }
            self.tokens = Some((device.allocate("the tokens", bytes, true)?, bytes));
        }
        let (address, _) = self.tokens.expect("it was just set");
        device.write(address, cast_slice(tokens))?;
        Ok(address)
    }

    /// The arrays over lanes, for a launch whose first thread plays lane `first`.
    fn put_lanes(&self, parameters: Parameters, first: usize) -> Parameters {
        self.put_lanes_with(parameters, first, self.at.observations)
    }

    /// The same with another place for observations, or none.
    fn put_lanes_with(&self, parameters: Parameters, first: usize, observations: u64) -> Parameters {
        // The fields of `LsLanes`, as addresses of the device.
        let at = &self.at;
        let arrays = [at.headers, at.states, at.regions, observations, at.rewards, at.masks, at.lists];
        let mut bytes = Vec::with_capacity(size_of::<RawLanes>());
        arrays.iter().for_each(|address| bytes.extend_from_slice(&address.to_le_bytes()));
        bytes.extend_from_slice(&(first as u32).to_le_bytes());
        bytes.extend_from_slice(&(self.lane_count as u32).to_le_bytes());
        debug_assert_eq!(bytes.len(), size_of::<RawLanes>());
        parameters.put(&bytes, 8)
    }

    fn header(&self, lane: usize) -> Result<RawHeader, String> {
        let mut header = RawHeader::default();
        let address = self.at.headers + (lane * size_of::<RawHeader>()) as u64;
        self.device.borrow_mut().read(address, bytemuck::bytes_of_mut(&mut header))?;
        Ok(header)
    }

    fn set_header(&mut self, lane: usize, header: &RawHeader) -> Result<(), String> {
        let address = self.at.headers + (lane * size_of::<RawHeader>()) as u64;
        self.device.get_mut().write(address, bytes_of(header))
    }

    fn set_source(&mut self, lane: usize, header: Header, source: Source) -> Result<(), String> {
        let (listed, list_place, values) = match source {
            Source::Seeded => (0, 0, Vec::new()),
            Source::Listed { values, place } => (1, place as u64, values),
        };
        let Header { seed, stream, episode, elapsed, draw_index } = header;
        let deciders = self.header(lane)?.deciders;
        let raw = RawHeader { seed, stream, list_place, episode, elapsed, draw_index, deciders, listed, unused: 0 };
        self.set_header(lane, &raw)?;
        self.set_list(lane, values)
    }

    /// Gives a lane a list of draws.
    fn set_list(&mut self, lane: usize, values: Vec<u32>) -> Result<(), String> {
        if self.lists[lane] == values {
            return Ok(());
        }
        let device = self.device.get_mut();
        if self.list_addresses[lane] != 0 {
            device.release(self.list_addresses[lane])?;
            self.list_addresses[lane] = 0;
        }
        if !values.is_empty() {
            let address = device.allocate("a list of draws", 4 * values.len(), true)?;
            device.write(address, cast_slice(&values))?;
            self.list_addresses[lane] = address;
        }
        let words = [self.list_addresses[lane], values.len() as u64];
        device.write(self.at.lists + (lane * size_of::<RawList>()) as u64, cast_slice(&words))?;
        self.lists[lane] = values;
        Ok(())
    }

    /// All regions of a lane, word after word.
    fn regions(&self, lane: usize) -> Result<Vec<u32>, String> {
        let count = self.raw_shape.region_words as usize;
        let mut words = vec![0u32; count];
        if count > 0 {
            self.device.borrow_mut().read_apart(self.region_address(lane), 128, count, cast_slice_mut(&mut words))?;
        }
        Ok(words)
    }

    fn set_regions(&mut self, lane: usize, words: &[u32]) -> Result<(), String> {
        if words.is_empty() {
            return Ok(());
        }
        let address = self.region_address(lane);
        self.device.get_mut().write_apart(address, 128, words.len(), cast_slice(words))
    }

    fn region_address(&self, lane: usize) -> u64 {
        let warp = (lane / 32) as u64 * u64::from(self.raw_shape.region_words) * 128;
        self.at.regions + warp + 4 * (lane % 32) as u64
    }
}

/// The name of one of the rules' kernels.
fn kernel<R: DeviceRules>(verb: &str) -> String {
    format!("{}_{verb}", R::NAME)
}

/// Opens a device for some rules.
pub type DeviceOpener<D> = fn(ptx: &'static str) -> Result<D, String>;

impl Opened {
    /// The backend of some rules on a device.
    ///
    /// # Errors
    /// If the world can't be built, or the device can't be opened.
    pub fn on_device<R: DeviceRules, D: Device + 'static>(
        options: Options,
        files: &Files,
        lanes: usize,
        open: DeviceOpener<D>,
    ) -> Result<Self, String> {
        let world = R::world(options, files).map_err(|error| error.0)?;
        let lanes = OnDevice::<R, D>::new(world, lanes, open(R::ptx())?)?;
        Ok(Opened::of::<R>(Box::new(lanes)))
    }
}

/// Times the kernel for training, one step of all lanes in each launch.
///
/// # Errors
/// If the device can't be opened or fails.
pub fn time<R: DeviceRules, D: Device>(contest: Contest, open: DeviceOpener<D>) -> Result<Timed, String> {
    use crate::backend::{Backend, Settled};
    if !["", "rows"].contains(&contest.layout.as_str()) {
        return Err(format!("a device has no layout {}, only rows", contest.layout));
    }
    let world = R::world(contest.options, &contest.files).map_err(|error| error.0)?;
    let mut lanes = OnDevice::<R, D>::new(world, contest.lanes, open(R::ptx())?)?;
    let shape = lanes.shape().clone();
    let settled = Settled { digest: Digest::Xxh64, named: true };
    for lane in 0..contest.lanes {
        let header = Header { seed: 7, stream: lane as u64, ..Header::default() };
        let mode = crate::wire::Mode::Digest;
        let reset = Backend::reset(&mut lanes, settled, mode, lane, header, Source::Seeded, &mut Vec::new());
        reset.map_err(|fault| format!("{fault:?}"))?;
    }
    let tokens = tokens(contest.lanes * shape.tokens_per_step());
    let clock = CpuClock::start();
    for step in 0..contest.steps {
        lanes.step(&tokens[step % tokens.len()])?;
    }
    let cpu_seconds = clock.seconds();
    Ok(Timed {
        steps: (contest.lanes * contest.steps) as u64,
        cpu_seconds,
        layout: "rows".into(),
        instructions: lanes.device().name(),
        reads: format!("{} B of tokens", 4 * shape.tokens_per_step()),
        writes: format!(
            "{} B of observations, {} B of rewards, 4 B of flags, {} B of masks",
            shape.agents * shape.observation_bytes,
            shape.agents * size_of::<R::Reward>(),
            4 * shape.agents * shape.mask_words()
        ),
    })
}

/// A bencher over a device.
pub const fn bencher(name: &'static str, time: fn(Contest) -> Result<Timed, String>) -> Bencher {
    Bencher { name, contests: || vec![("rows", "")], time }
}

/// Records and steps with addresses of the device where Rust has pointers.
fn raw_records(
    bytes: u64,
    used: u64,
    rows: u64,
    rows_used: u64,
    ended: u64,
    stride: usize,
    rows_stride: usize,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(size_of::<RawRecords>());
    [bytes, used, rows, rows_used, ended].iter().for_each(|address| out.extend_from_slice(&address.to_le_bytes()));
    out.extend_from_slice(&(stride as u32).to_le_bytes());
    out.extend_from_slice(&(rows_stride as u32).to_le_bytes());
    debug_assert_eq!(out.len(), size_of::<RawRecords>());
    out
}

fn raw_steps(tokens: u64, stride: usize, count: usize, grain: Option<usize>, resets: bool, named: bool) -> Vec<u8> {
    let steps = RawSteps {
        tokens: null_mut(),
        tokens_stride: stride as u32,
        step_count: count as u32,
        grain: grain.map_or(GRAIN_NONE, |grain| grain as u32),
        resets: u32::from(resets),
        named: u32::from(named),
    };
    let mut out = tokens.to_le_bytes().to_vec();
    for word in [steps.tokens_stride, steps.step_count, steps.grain, steps.resets, steps.named, 0] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    debug_assert_eq!(out.len(), size_of::<RawSteps>());
    out
}
