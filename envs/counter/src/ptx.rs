//! The PTX of the CUDA source, as it is kept in the repository: made by `lockstep ptx counter`.

use crate::Counter;
use lockstep_core::device::DeviceRules;

impl DeviceRules for Counter {
    fn ptx() -> &'static str {
        include_str!("../cuda/kernels.ptx")
    }
}
