//! The words for what a GPU's driver answers, each with what to do.

use cudarc::driver::sys::CUresult;

/// The version of CUDA that a driver must know: the PTX in the repository is that of CUDA 13.0.
pub(crate) const DRIVER_MIN: i32 = 13000;

/// What to say of a driver that knows only this version of CUDA, written as 1000 times the major one and 10 times the
/// minor one.
pub(crate) fn old(version: i32) -> String {
    let (major, minor) = (version / 1000, version % 1000 / 10);
    format!(
        "the NVIDIA driver is too old: it knows CUDA {major}.{minor}, and the kernels are of CUDA 13.0\n\
         (hint: install driver 580 or newer; nvidia-smi tells which one is there)"
    )
}

/// An error of the driver, with what to do.
pub(crate) fn said(what: &str, code: CUresult) -> String {
    let hint = match code {
        CUresult::CUDA_ERROR_NO_DEVICE => {
            "there is a driver but no GPU that it may use; look at nvidia-smi and CUDA_VISIBLE_DEVICES"
        }
        CUresult::CUDA_ERROR_INVALID_DEVICE => {
            "set LOCKSTEP_CUDA_DEVICE to a number that nvidia-smi lists, or unset it"
        }
        CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
            "the GPU has not enough memory; ask for fewer lanes, or end what else runs on it"
        }
        CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION
        | CUresult::CUDA_ERROR_SYSTEM_DRIVER_MISMATCH
        | CUresult::CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE => {
            "the driver is older than the kernels; install driver 580 or newer, and restart after an update"
        }
        CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU
        | CUresult::CUDA_ERROR_INVALID_PTX
        | CUresult::CUDA_ERROR_INVALID_IMAGE
        | CUresult::CUDA_ERROR_JIT_COMPILER_NOT_FOUND => {
            "the kernels are not for this GPU's architecture; they need compute capability 7.5 or newer"
        }
        CUresult::CUDA_ERROR_ILLEGAL_ADDRESS | CUresult::CUDA_ERROR_MISALIGNED_ADDRESS => {
            "a kernel touched memory that is not its own; verify the backend ptx, which names the line"
        }
        CUresult::CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES => {
            "a kernel needs more registers than a block of it gets; `lockstep bench ENV --static` tells how many"
        }
        CUresult::CUDA_ERROR_LAUNCH_TIMEOUT => "the kernel ran too long for this GPU; ask for fewer steps in a launch",
        _ => "look at nvidia-smi; the names are explained in NVIDIA's page of CUresult",
    };
    format!("{what}: {code:?}\n(hint: {hint})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_errors_of_a_driver_say_what_to_do() {
        for (code, expected) in [
            (CUresult::CUDA_ERROR_OUT_OF_MEMORY, "fewer lanes"),
            (CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION, "install driver 580"),
            (CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU, "compute capability 7.5"),
            (CUresult::CUDA_ERROR_INVALID_IMAGE, "compute capability 7.5"),
            (CUresult::CUDA_ERROR_NO_DEVICE, "CUDA_VISIBLE_DEVICES"),
            (CUresult::CUDA_ERROR_INVALID_DEVICE, "LOCKSTEP_CUDA_DEVICE"),
            (CUresult::CUDA_ERROR_ILLEGAL_ADDRESS, "verify the backend ptx"),
            (CUresult::CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "--static"),
        ] {
            let why = said("the states", code);
            assert!(why.starts_with("the states: CUDA_ERROR_") && why.contains(expected), "{why}");
        }
    }

    #[test]
    fn an_old_driver_is_named_with_what_it_knows() {
        assert!(old(12080).starts_with("the NVIDIA driver is too old: it knows CUDA 12.8,"), "{}", old(12080));
    }
}
