//! Whether there is a GPU and a driver for it, for `doctor`: asked of the driver's library, loaded by name.

use libloading::Library;
use std::ffi::c_int;

/// The version of CUDA that a driver must know, as `lockstep-device` asks for it.
const VERSION_MIN: c_int = 13000;

/// What is there, in words.
///
/// # Errors
/// What is missing, and what to do.
pub fn look() -> Result<String, String> {
    // SAFETY: NVIDIA's initialisers do nothing but set up themselves.
    let library = unsafe { Library::new("libcuda.so.1") };
    let library = library.map_err(|_| "no NVIDIA driver (libcuda.so.1); install driver 580 or newer".to_owned())?;
    let none = |_| "libcuda.so.1 is none of NVIDIA's; install driver 580 or newer".to_owned();
    let (mut version, mut count) = (0, 0);
    // SAFETY: the signatures are those of cuda.h.
    let codes = unsafe {
        let start = library.get::<unsafe extern "C" fn(u32) -> c_int>(b"cuInit\0").map_err(none)?;
        let told = library.get::<unsafe extern "C" fn(*mut c_int) -> c_int>(b"cuDriverGetVersion\0").map_err(none)?;
        let counted = library.get::<unsafe extern "C" fn(*mut c_int) -> c_int>(b"cuDeviceGetCount\0").map_err(none)?;
        [start(0), told(&mut version), counted(&mut count)]
    };
    words(codes, version, count)
}

fn words(codes: [c_int; 3], version: c_int, count: c_int) -> Result<String, String> {
    let (major, minor) = (version / 1000, version % 1000 / 10);
    match codes.into_iter().find(|code| *code != 0) {
        // CUDA_ERROR_NO_DEVICE
        Some(100) => Err("an NVIDIA driver without a GPU that it may use; look at CUDA_VISIBLE_DEVICES".into()),
        Some(code) => Err(format!("the NVIDIA driver answers with error {code}; look at nvidia-smi")),
        None if count == 0 => Err("an NVIDIA driver without a GPU".into()),
        None if version < VERSION_MIN => {
            Err(format!("the NVIDIA driver knows CUDA {major}.{minor} and not 13.0; install driver 580 or newer"))
        }
        None => Ok(format!("{count} GPU, driver for CUDA {major}.{minor}")),
    }
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn what_a_driver_answers_becomes_words() {
        assert_eq!(words([0; 3], 13020, 2), Ok("2 GPU, driver for CUDA 13.2".into()));
        assert!(words([100, 0, 0], 13000, 0).is_err_and(|why| why.contains("CUDA_VISIBLE_DEVICES")));
        assert!(words([0; 3], 12080, 1).is_err_and(|why| why.contains("CUDA 12.8") && why.contains("driver 580")));
        assert!(words([0; 3], 13000, 0).is_err());
        assert!(words([999, 0, 0], 13000, 1).is_err_and(|why| why.contains("999")));
    }
}
