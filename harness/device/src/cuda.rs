//! The backend `cuda`: the kernels on a GPU, through its driver, which is loaded when the first one is opened.
//!
//! Nothing of CUDA is needed to build this or to start a program that holds it. What is missing on a machine is an error
//! that says what to do; the driver's binding would panic, so its library is asked for first. It has not run on a GPU yet.

use cudarc::driver::sys::{
    self, CUDA_MEMCPY2D_v2 as Copy2D, CUcontext, CUdevice, CUfunction, CUmemorytype, CUmodule, CUresult,
};
use cudarc::driver::{DriverError, result};
use lockstep_core::bench::{Bencher, Contest, Timed};
use lockstep_core::device::{Device, DeviceRules, time};
use lockstep_core::{Files, Opened, Options};
use std::collections::BTreeMap;
use std::ffi::{CString, c_void};
use std::ptr::null_mut;

/// Which GPU is used, by its number; the first one if this is not set.
const DEVICE: &str = "LOCKSTEP_CUDA_DEVICE";

/// A GPU that has loaded some kernels.
pub struct Cuda {
    name: String,
    device: CUdevice,
    context: CUcontext,
    module: CUmodule,
    functions: BTreeMap<String, CUfunction>,
}

// SAFETY: the driver's handles may be used from any thread; `enter` makes the context that thread's own first.
unsafe impl Send for Cuda {}

impl Cuda {
    /// Loads PTX on the GPU that `LOCKSTEP_CUDA_DEVICE` names.
    ///
    /// # Errors
    /// If there is no driver or no such GPU, or the driver does not take the PTX.
    pub fn open(ptx: &str) -> Result<Self, String> {
        Self::open_image(ptx.as_bytes())
    }

    /// Loads PTX, or machine code for the GPU's architecture.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn open_image(image: &[u8]) -> Result<Self, String> {
        driver()?;
        let asked = std::env::var(DEVICE).ok().filter(|text| !text.is_empty());
        let ordinal = asked.as_ref().map_or(Ok(0), |text| text.parse::<i32>());
        let ordinal = ordinal.map_err(|_| format!("{DEVICE} is {asked:?}, which is no number of a GPU"))?;
        let count = result::device::get_count().map_err(|error| said("the GPUs can't be counted", error))?;
        if ordinal < 0 || ordinal >= count {
            return Err(format!("there is no GPU {ordinal}, only {count}\n(hint: set {DEVICE} to one of 0 to {})", count - 1));
        }
        let device = result::device::get(ordinal).map_err(|error| said("the GPU can't be asked", error))?;
        let name = result::device::get_name(device).map_err(|error| said("the GPU has no name", error))?;
        // SAFETY: the device exists; the context is released once, in `drop`.
        let context = unsafe { result::primary_ctx::retain(device) };
        let context = context.map_err(|error| said(&format!("{name} can't be opened"), error))?;
        let mut this = Cuda { name, device, context, module: null_mut(), functions: BTreeMap::new() };
        this.enter()?;
        // PTX is text and ends in zero; machine code does not mind one more byte.
        let image = [image, &[0]].concat();
        // SAFETY: the image outlives the call.
        let module = unsafe { result::module::load_data(image.as_ptr().cast()) };
        this.module = module.map_err(|error| said(&format!("{} does not take the kernels", this.name), error))?;
        Ok(this)
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

    /// Makes the context that of this thread.
    fn enter(&self) -> Result<(), String> {
        // SAFETY: the context was retained and lives as long as `self`.
        unsafe { result::ctx::set_current(self.context) }.map_err(|error| said("the GPU can't be entered", error))
    }

    fn function(&mut self, kernel: &str) -> Result<CUfunction, String> {
        if let Some(function) = self.functions.get(kernel) {
            return Ok(*function);
        }
        let name = CString::new(kernel).map_err(|_| "a kernel's name has a zero byte".to_owned())?;
        // SAFETY: the module is loaded in the current context.
        let function = unsafe { result::module::get_function(self.module, name) };
        let function = function.map_err(|error| said(&format!("there is no kernel {kernel}"), error))?;
        self.functions.insert(kernel.to_owned(), function);
        Ok(function)
    }

    /// Copies `count` pieces, `stride` bytes apart on the device.
    fn copy_apart(&self, copy: &Copy2D) -> Result<(), String> {
        self.enter()?;
        // SAFETY: the caller's slice has as many bytes as the copy names, and the driver checks the device's side.
        unsafe { sys::cuMemcpy2DUnaligned_v2(copy) }.result().map_err(|error| said("lanes can't be copied", error))
    }
}

impl Drop for Cuda {
    fn drop(&mut self) {
        if self.enter().is_err() {
            return;
        }
        // SAFETY: both were made in `open_image` and are not used again. What can't be given back is the driver's.
        unsafe {
            if !self.module.is_null() {
                let _ = result::module::unload(self.module);
            }
            let _ = result::primary_ctx::release(self.device);
        }
    }
}

/// Whether there is a driver with a GPU.
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
    result::init().map_err(|error| said("the NVIDIA driver does not start", error))
}

/// An error of the driver, with what to do.
fn said(what: &str, error: DriverError) -> String {
    let name = format!("{:?}", error.0);
    let hint = match error.0 {
        CUresult::CUDA_ERROR_NO_DEVICE => "there is a driver but no GPU that it may use; look at nvidia-smi and CUDA_VISIBLE_DEVICES",
        CUresult::CUDA_ERROR_OUT_OF_MEMORY => "the GPU has not enough memory; ask for fewer lanes, or end what else runs on it",
        CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION | CUresult::CUDA_ERROR_SYSTEM_DRIVER_MISMATCH => {
            "the driver is older than the PTX; install driver 580 or newer"
        }
        CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU | CUresult::CUDA_ERROR_INVALID_PTX => {
            "the kernels are not for this GPU's architecture; they need compute capability 7.5 or newer"
        }
        CUresult::CUDA_ERROR_ILLEGAL_ADDRESS | CUresult::CUDA_ERROR_MISALIGNED_ADDRESS => {
            "a kernel touched memory that is not its own; verify the backend ptx, which names the line"
        }
        _ => "look at nvidia-smi; the names are explained in NVIDIA's page of CUresult",
    };
    format!("{what}: {name}\n(hint: {hint})")
}

impl Device for Cuda {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn allocate(&mut self, name: &str, bytes: usize, zeroed: bool) -> Result<u64, String> {
        self.enter()?;
        let failed = |error| said(&format!("{name} don't fit, {bytes} bytes"), error);
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
        unsafe { result::free_sync(address) }.map_err(|error| said("memory can't be given back", error))
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), String> {
        self.enter()?;
        if bytes.is_empty() {
            return Ok(());
        }
        // SAFETY: the driver checks that the range is the device's.
        unsafe { result::memcpy_htod_sync(address, bytes) }.map_err(|error| said("the GPU can't be written", error))
    }

    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), String> {
        self.enter()?;
        if bytes.is_empty() {
            return Ok(());
        }
        // SAFETY: as above.
        unsafe { result::memcpy_dtoh_sync(bytes, address) }.map_err(|error| said("the GPU can't be read", error))
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
        let function = self.function(kernel)?;
        let blocks = (count as u32).div_ceil(block).max(1);
        let mut size = parameters.len();
        // CU_LAUNCH_PARAM_BUFFER_POINTER, _SIZE and _END of cuda.h: all parameters as they lie in memory.
        let mut extra: [*mut c_void; 5] =
            [1 as *mut c_void, parameters.as_ptr().cast_mut().cast(), 2 as *mut c_void, (&raw mut size).cast(), null_mut()];
        // SAFETY: the function belongs to the current context, and the parameters outlive the call, which copies them.
        let launched = unsafe {
            sys::cuLaunchKernel(function, blocks, 1, 1, block, 1, 1, 0, null_mut(), null_mut(), extra.as_mut_ptr())
        };
        launched.result().map_err(|error| said(&format!("{kernel} can't be launched"), error))?;
        result::ctx::synchronize().map_err(|error| said(&format!("{kernel} failed"), error))
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
        match Cuda::open(".version 9.0") {
            Ok(_) => panic!("a driver took text that is no kernel"),
            Err(why) => assert!(why.contains("(hint: "), "{why}"),
        }
        // SAFETY: as in `driver`.
        if !unsafe { sys::is_culib_present() } {
            assert!(driver().expect_err("there is none").contains("libcuda.so.1 is not on this machine"));
        }
    }

    #[test]
    fn the_errors_of_a_driver_say_what_to_do() {
        for (code, expected) in [
            (CUresult::CUDA_ERROR_OUT_OF_MEMORY, "fewer lanes"),
            (CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION, "install driver 580"),
            (CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU, "compute capability 7.5"),
            (CUresult::CUDA_ERROR_NO_DEVICE, "CUDA_VISIBLE_DEVICES"),
            (CUresult::CUDA_ERROR_ILLEGAL_ADDRESS, "verify the backend ptx"),
        ] {
            let why = said("the states", DriverError(code));
            assert!(why.starts_with("the states: CUDA_ERROR_") && why.contains(expected), "{why}");
        }
    }
}
