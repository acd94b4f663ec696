//! The backend `cuda`: the kernels on a GPU, through its driver, which is loaded when the first one is opened.
//!
//! Nothing of CUDA is needed to build this or to start a program that holds it. What is missing on a machine is an error
//! that says what to do; the driver's binding would panic, so its library is asked for first. It has not run on a GPU yet.

use crate::IMAGES;
use crate::issue;
use crate::said::{DRIVER_MIN, old, said};
use cudarc::driver::result::{self, event, graph, stream};
use cudarc::driver::sys::{
    self, CUDA_MEMCPY2D_v2 as Copy2D, CUcontext, CUdevice, CUevent_flags, CUfunction, CUgraphExec,
    CUgraphInstantiate_flags, CUmemorytype, CUmodule, CUstream, CUstreamCaptureMode,
};
use lockstep_core::bench::{Bencher, Contest, Timed};
use lockstep_core::device::{Device, DeviceRules, time};
use lockstep_core::{Files, Opened, Options};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ffi::{CString, c_int, c_void};
use std::path::PathBuf;
use std::ptr::null_mut;

/// Which GPU is used, by its number; the first one if this is not set.
const DEVICE: &str = "LOCKSTEP_CUDA_DEVICE";

/// Bytes that are copied to measure the bandwidth: many times what a GPU's cache holds.
const COPY_BYTES: usize = 1 << 30;

/// A GPU that has loaded some kernels.
pub struct Cuda {
    /// Its name, and the file of machine code where there was one.
    name: String,
    device: CUdevice,
    context: CUcontext,
    stream: CUstream,
    module: CUmodule,
    functions: BTreeMap<String, CUfunction>,
    /// The last graph, and what it was made of.
    graph: Option<(Repeated, CUgraphExec)>,
}

/// What the nodes of a graph are.
#[derive(PartialEq, Eq)]
struct Repeated {
    kernel: String,
    count: usize,
    block: u32,
    parameters: Vec<u8>,
    times: usize,
}

// SAFETY: the driver's handles may be used from any thread; `enter` makes the context that thread's own first.
unsafe impl Send for Cuda {}

impl Cuda {
    /// Loads kernels on the GPU that `LOCKSTEP_CUDA_DEVICE` names: machine code from `LOCKSTEP_CUDA_IMAGES` if there is
    /// some for it, else this PTX.
    ///
    /// # Errors
    /// If there is no driver or no such GPU, or the driver does not take the kernels.
    pub fn open(ptx: &str) -> Result<Self, String> {
        let mut this = Self::bare()?;
        let images = std::env::var_os(IMAGES).filter(|folder| !folder.is_empty()).map(PathBuf::from);
        let (major, minor) = this.capability()?;
        let path = images.map(|folder| folder.join(format!("sm_{major}{minor}.cubin"))).filter(|path| path.is_file());
        match path {
            Some(path) => {
                let image =
                    std::fs::read(&path).map_err(|error| format!("{} can't be read: {error}", path.display()))?;
                this.load(&image)?;
                this.name += &format!(", sm_{major}{minor}.cubin");
            }
            None => this.load(ptx.as_bytes())?,
        }
        Ok(this)
    }

    /// A GPU without kernels.
    fn bare() -> Result<Self, String> {
        driver()?;
        let count = result::device::get_count().map_err(|error| said("the GPUs can't be counted", error.0))?;
        let ordinal = ordinal(std::env::var(DEVICE).ok().as_deref(), count)?;
        let device = result::device::get(ordinal).map_err(|error| said("the GPU can't be asked", error.0))?;
        let name = result::device::get_name(device).map_err(|error| said("the GPU has no name", error.0))?;
        // SAFETY: the device exists; the context is released once, in `drop`.
        let context = unsafe { result::primary_ctx::retain(device) };
        let context = context.map_err(|error| said(&format!("{name} can't be opened"), error.0))?;
        let mut this = Cuda {
            name,
            device,
            context,
            stream: null_mut(),
            module: null_mut(),
            functions: BTreeMap::new(),
            graph: None,
        };
        this.enter()?;
        // Not the stream 0, which can't be captured; one that waits for it, since copies go there.
        let created = stream::create(stream::StreamKind::Default);
        this.stream = created.map_err(|error| said("the GPU gives no stream", error.0))?;
        Ok(this)
    }

    /// Loads PTX, or machine code for the GPU's architecture.
    fn load(&mut self, image: &[u8]) -> Result<(), String> {
        self.enter()?;
        // PTX is text and ends in zero; machine code does not mind one more byte.
        let image = [image, &[0]].concat();
        // SAFETY: the image outlives the call.
        let module = unsafe { result::module::load_data(image.as_ptr().cast()) };
        self.module = module.map_err(|error| said(&format!("{} does not take the kernels", self.name), error.0))?;
        Ok(())
    }

    /// The backend of some rules.
    ///
    /// # Errors
    /// If the world can't be built or there is no GPU that takes the PTX.
    pub fn backend<R: DeviceRules>(options: Options, files: &Files, lanes: usize) -> Result<Opened, String> {
        Opened::on_device::<R, Cuda>(options, files, lanes, Cuda::open)
    }

    /// The entry for `lockstep bench`; without a GPU there is nothing to time.
    pub const fn bencher<R: DeviceRules>() -> Bencher {
        fn run<R: DeviceRules>(contest: Contest) -> Result<Timed, String> {
            time::<R, Cuda>(contest, Cuda::open)
        }
        let contests = || if driver().is_ok() { vec![("rows", "")] } else { Vec::new() };
        Bencher { name: "cuda", contests, time: run::<R> }
    }

    /// Compute capability, such as 9 and 0.
    ///
    /// # Errors
    /// If the driver does not tell.
    pub fn capability(&self) -> Result<(i32, i32), String> {
        let ask = |attribute| {
            // SAFETY: the device exists.
            let asked = unsafe { result::device::get_attribute(self.device, attribute) };
            asked.map_err(|error| said("the GPU can't be asked", error.0))
        };
        use sys::CUdevice_attribute_enum as Attribute;
        let major = ask(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        Ok((major, ask(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?))
    }

    /// Bytes a second that the GPU copies within its memory, read and written together; the best of five copies.
    ///
    /// # Errors
    /// If there is not enough memory.
    pub fn copy_bandwidth(&mut self, bytes: usize) -> Result<f64, String> {
        let (from, to) = (self.allocate("what is copied", bytes, true)?, self.allocate("its copy", bytes, true)?);
        let mut best = f64::INFINITY;
        for _ in 0..5 {
            let seconds = self.timed(|this| {
                // SAFETY: both have that many bytes.
                let copied = unsafe { result::memcpy_dtod_async(to, from, bytes, this.stream) };
                copied.map_err(|error| said("memory can't be copied", error.0))
            })?;
            best = best.min(seconds);
        }
        self.release(from)?;
        self.release(to)?;
        Ok(2.0 * bytes as f64 / best)
    }

    /// Makes the context that of this thread.
    fn enter(&self) -> Result<(), String> {
        // SAFETY: the context was retained and lives as long as `self`.
        unsafe { result::ctx::set_current(self.context) }.map_err(|error| said("the GPU can't be entered", error.0))
    }

    fn function(&mut self, kernel: &str) -> Result<CUfunction, String> {
        if let Some(function) = self.functions.get(kernel) {
            return Ok(*function);
        }
        let name = CString::new(kernel).map_err(|_| "a kernel's name has a zero byte".to_owned())?;
        // SAFETY: the module is loaded in the current context.
        let function = unsafe { result::module::get_function(self.module, name) };
        let function = function.map_err(|error| said(&format!("there is no kernel {kernel}"), error.0))?;
        self.functions.insert(kernel.to_owned(), function);
        Ok(function)
    }

    /// Puts a launch into the stream.
    fn put(&mut self, kernel: &str, count: usize, block: u32, parameters: &[u8]) -> Result<(), String> {
        let function = self.function(kernel)?;
        let threads = u32::try_from(count).map_err(|_| format!("{count} lanes are more than one launch can play"))?;
        let blocks = threads.div_ceil(block).max(1);
        let mut size = parameters.len();
        // CU_LAUNCH_PARAM_BUFFER_POINTER, _SIZE and _END of cuda.h: all parameters as they lie in memory.
        let mut extra: [*mut c_void; 5] = [
            std::ptr::without_provenance_mut(1),
            parameters.as_ptr().cast_mut().cast(),
            std::ptr::without_provenance_mut(2),
            (&raw mut size).cast(),
            null_mut(),
        ];
        // SAFETY: the function belongs to the current context, and the parameters outlive the call, which copies them.
        let launched = unsafe {
            sys::cuLaunchKernel(function, blocks, 1, 1, block, 1, 1, 0, self.stream, null_mut(), extra.as_mut_ptr())
        };
        launched.result().map_err(|error| said(&format!("{kernel} can't be launched"), error.0))
    }

    /// Waits for the stream.
    fn wait(&self, what: &str) -> Result<(), String> {
        // SAFETY: the stream is of the current context.
        unsafe { stream::synchronize(self.stream) }.map_err(|error| said(&format!("{what} failed"), error.0))
    }

    /// The seconds that the GPU takes for what `work` puts into the stream.
    fn timed(&mut self, work: impl FnOnce(&mut Self) -> Result<(), String>) -> Result<f64, String> {
        self.enter()?;
        let create = || event::create(CUevent_flags::CU_EVENT_DEFAULT).map_err(|error| said("no event", error.0));
        let (begin, end) = (create()?, create()?);
        // SAFETY: events and stream are of the current context, and each event is destroyed once.
        let mark = |this: &Self, event| unsafe { event::record(event, this.stream) };
        let done = (|| {
            mark(self, begin).map_err(|error| said("no time can be taken", error.0))?;
            work(self)?;
            mark(self, end).map_err(|error| said("no time can be taken", error.0))?;
            self.wait("the GPU's work")?;
            // SAFETY: both were recorded, and the stream has come past them.
            unsafe { event::elapsed(begin, end) }.map_err(|error| said("no time can be taken", error.0))
        })();
        for event in [begin, end] {
            // SAFETY: as above. What can't be given back is the driver's.
            let _ = unsafe { event::destroy(event) };
        }
        Ok(f64::from(done?) / 1e3)
    }

    /// A graph of launches, one after the other; the last one is kept.
    fn graph_of(&mut self, wanted: Repeated) -> Result<CUgraphExec, String> {
        if let Some((made, graph)) = &self.graph
            && *made == wanted
        {
            return Ok(*graph);
        }
        self.forget_graph();
        self.function(&wanted.kernel)?;
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream is of the current context and is not captured already.
        unsafe { stream::begin_capture(self.stream, mode) }.map_err(|error| said("no graph can begin", error.0))?;
        let put: Result<(), String> = (0..wanted.times)
            .try_for_each(|_| self.put(&wanted.kernel, wanted.count, wanted.block, &wanted.parameters));
        // SAFETY: it is being captured; this ends that also after a launch that was refused.
        let captured = unsafe { stream::end_capture(self.stream) };
        put?;
        let captured = captured.map_err(|error| said("no graph can end", error.0))?;
        // SAFETY: the graph was captured, and is not needed once it is instantiated.
        let made = unsafe {
            let made = graph::instantiate(captured, CUgraphInstantiate_flags(0));
            let _ = graph::destroy(captured);
            made.map_err(|error| said("the graph can't be made", error.0))?
        };
        self.graph = Some((wanted, made));
        Ok(made)
    }

    fn forget_graph(&mut self) {
        if let Some((_, graph)) = self.graph.take() {
            // SAFETY: it was instantiated and is not used again.
            let _ = unsafe { graph::exec_destroy(graph) };
        }
    }

    /// Copies `count` pieces, `stride` bytes apart on the device.
    fn copy_apart(&self, copy: &Copy2D) -> Result<(), String> {
        self.enter()?;
        // SAFETY: the caller's slice has as many bytes as the copy names, and the driver checks the device's side.
        unsafe { sys::cuMemcpy2DUnaligned_v2(copy) }.result().map_err(|error| said("lanes can't be copied", error.0))
    }
}

impl Drop for Cuda {
    fn drop(&mut self) {
        if self.enter().is_err() {
            return;
        }
        self.forget_graph();
        // SAFETY: all were made by `self` and are not used again. What can't be given back is the driver's.
        unsafe {
            if !self.stream.is_null() {
                let _ = stream::destroy(self.stream);
            }
            if !self.module.is_null() {
                let _ = result::module::unload(self.module);
            }
            let _ = result::primary_ctx::release(self.device);
        }
    }
}

/// The GPU that would be used, and what bounds it: bytes a second that it copies and instructions a second that its
/// threads issue, both measured now.
///
/// # Errors
/// If there is none, or it can't be measured.
pub fn describe() -> Result<Value, String> {
    let mut gpu = Cuda::bare()?;
    let (major, minor) = gpu.capability()?;
    let mut version: c_int = 0;
    // SAFETY: it writes one number.
    unsafe { sys::cuDriverGetVersion(&mut version) }
        .result()
        .map_err(|error| said("the driver has no version", error.0))?;
    let copy = gpu.copy_bandwidth(COPY_BYTES)?;
    gpu.load(issue::kernel().as_bytes())?;
    let issued = issue::rate(&mut gpu)?;
    Ok(json!({
        "name": gpu.name, "capability": format!("{major}.{minor}"),
        "driver": format!("{}.{}", version / 1000, version % 1000 / 10),
        "copy_bytes_per_second": copy, "thread_instructions_per_second": issued,
    }))
}

/// Whether there is a driver that is new enough, and a GPU.
///
/// # Errors
/// What is missing, and what to do.
pub fn driver() -> Result<(), String> {
    // SAFETY: looking for a library runs its initialisers, and NVIDIA's do nothing but set up themselves.
    if !unsafe { sys::is_culib_present() } {
        return Err("there is no NVIDIA driver: the library libcuda.so.1 is not on this machine\n\
                    (hint: install NVIDIA's driver 580 or newer; without a GPU, `ptx` runs the same kernels on the CPU)"
            .into());
    }
    // The binding panics where a library of that name lacks a function.
    let asked = std::panic::catch_unwind(|| {
        result::init()?;
        let mut version: c_int = 0;
        // SAFETY: it writes one number.
        unsafe { sys::cuDriverGetVersion(&mut version) }.result()?;
        Ok((version, result::device::get_count()?))
    });
    let asked: Result<_, result::DriverError> = asked.map_err(|_| {
        "the library libcuda.so.1 is none of NVIDIA's driver, or of a very old one\n(hint: install driver 580 or newer)"
            .to_owned()
    })?;
    let (version, count) = asked.map_err(|error| said("the NVIDIA driver does not start", error.0))?;
    if version < DRIVER_MIN {
        return Err(old(version));
    }
    if count == 0 {
        return Err(said("the NVIDIA driver has no GPU", sys::CUresult::CUDA_ERROR_NO_DEVICE));
    }
    Ok(())
}

/// The number of the GPU that was asked for.
fn ordinal(asked: Option<&str>, count: i32) -> Result<i32, String> {
    let Some(text) = asked.filter(|text| !text.is_empty()) else { return Ok(0) };
    let hint = format!("(hint: set {DEVICE} to a number from 0 to {}, or unset it)", count - 1);
    match text.parse::<i32>() {
        Ok(ordinal) if (0..count).contains(&ordinal) => Ok(ordinal),
        Ok(ordinal) => Err(format!("there is no GPU {ordinal}; this machine has {count}\n{hint}")),
        Err(_) => Err(format!("{DEVICE} is {text:?}, which is no number of a GPU\n{hint}")),
    }
}

impl Device for Cuda {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn allocate(&mut self, name: &str, bytes: usize, zeroed: bool) -> Result<u64, String> {
        self.enter()?;
        let failed = |error: result::DriverError| said(&format!("{name} don't fit, {bytes} bytes"), error.0);
        // SAFETY: nobody else has the address, and it is not read before it is written.
        let address = unsafe { result::malloc_sync(bytes.max(1)) }.map_err(failed)?;
        if zeroed {
            // SAFETY: as many bytes were allocated.
            unsafe { result::memset_d8_sync(address, 0, bytes) }.map_err(failed)?;
        }
        Ok(address)
    }

    fn release(&mut self, address: u64) -> Result<(), String> {
        self.enter()?;
        // SAFETY: the driver refuses what it has not given out.
        unsafe { result::free_sync(address) }.map_err(|error| said("memory can't be given back", error.0))
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), String> {
        self.enter()?;
        if bytes.is_empty() {
            return Ok(());
        }
        // SAFETY: the driver checks that the range is the device's.
        unsafe { result::memcpy_htod_sync(address, bytes) }.map_err(|error| said("the GPU can't be written", error.0))
    }

    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), String> {
        self.enter()?;
        if bytes.is_empty() {
            return Ok(());
        }
        // SAFETY: as above.
        unsafe { result::memcpy_dtoh_sync(bytes, address) }.map_err(|error| said("the GPU can't be read", error.0))
    }

    fn read_apart(&mut self, address: u64, stride: usize, count: usize, bytes: &mut [u8]) -> Result<(), String> {
        let size = bytes.len() / count.max(1);
        if size == 0 {
            return Ok(());
        }
        self.copy_apart(&Copy2D {
            srcMemoryType: CUmemorytype::CU_MEMORYTYPE_DEVICE,
            srcDevice: address,
            srcPitch: stride,
            dstMemoryType: CUmemorytype::CU_MEMORYTYPE_HOST,
            dstHost: bytes.as_mut_ptr().cast(),
            dstPitch: size,
            WidthInBytes: size,
            Height: count,
            ..blank()
        })
    }

    fn write_apart(&mut self, address: u64, stride: usize, count: usize, bytes: &[u8]) -> Result<(), String> {
        let size = bytes.len() / count.max(1);
        if size == 0 {
            return Ok(());
        }
        self.copy_apart(&Copy2D {
            srcMemoryType: CUmemorytype::CU_MEMORYTYPE_HOST,
            srcHost: bytes.as_ptr().cast(),
            srcPitch: size,
            dstMemoryType: CUmemorytype::CU_MEMORYTYPE_DEVICE,
            dstDevice: address,
            dstPitch: stride,
            WidthInBytes: size,
            Height: count,
            ..blank()
        })
    }

    fn launch(&mut self, kernel: &str, count: usize, block: u32, parameters: &[u8]) -> Result<(), String> {
        self.enter()?;
        self.put(kernel, count, block, parameters)?;
        self.wait(kernel)
    }

    fn repeat(
        &mut self,
        kernel: &str,
        count: usize,
        block: u32,
        parameters: &[u8],
        times: usize,
        graph: bool,
    ) -> Result<f64, String> {
        self.enter()?;
        if !graph {
            return self.timed(|this| (0..times).try_for_each(|_| this.put(kernel, count, block, parameters)));
        }
        let (kernel, parameters) = (kernel.to_owned(), parameters.to_vec());
        let made = self.graph_of(Repeated { kernel, count, block, parameters, times })?;
        self.timed(|this| {
            // SAFETY: the graph was made for the current context.
            unsafe { graph::launch(made, this.stream) }.map_err(|error| said("the graph can't be launched", error.0))
        })
    }
}

/// A copy between nothing and nothing.
fn blank() -> Copy2D {
    Copy2D {
        srcXInBytes: 0,
        srcY: 0,
        srcMemoryType: CUmemorytype::CU_MEMORYTYPE_HOST,
        srcHost: null_mut(),
        srcDevice: 0,
        srcArray: null_mut(),
        srcPitch: 0,
        dstXInBytes: 0,
        dstY: 0,
        dstMemoryType: CUmemorytype::CU_MEMORYTYPE_HOST,
        dstHost: null_mut(),
        dstDevice: 0,
        dstArray: null_mut(),
        dstPitch: 0,
        WidthInBytes: 0,
        Height: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_a_driver_is_an_error_that_says_what_to_do() {
        // SAFETY: as in `driver`.
        if unsafe { sys::is_culib_present() } {
            // The message for this case can't be had here; that of wrong kernels can.
            let why = Cuda::open(".version 9.0").err().expect("a driver took text that is no kernel");
            assert!(why.contains("(hint: "), "{why}");
            return;
        }
        let why = Cuda::open(".version 9.0").err().expect("there is no driver");
        assert!(why.contains("libcuda.so.1 is not on this machine\n(hint: install NVIDIA's driver 580"), "{why}");
        assert!(why.contains("`ptx` runs the same kernels on the CPU"), "{why}");
    }

    #[test]
    fn a_number_of_a_gpu_that_is_not_there_is_refused_with_those_that_are() {
        assert_eq!(ordinal(None, 2), Ok(0));
        assert_eq!(ordinal(Some(""), 2), Ok(0));
        assert_eq!(ordinal(Some("1"), 2), Ok(1));
        for (asked, expected) in
            [("2", "no GPU 2; this machine has 2"), ("-1", "no GPU -1"), ("first", "no number of a GPU")]
        {
            let why = ordinal(Some(asked), 2).expect_err("there are two");
            assert!(
                why.contains(expected) && why.contains("(hint: set LOCKSTEP_CUDA_DEVICE to a number from 0 to 1"),
                "{why}"
            );
        }
    }
}
