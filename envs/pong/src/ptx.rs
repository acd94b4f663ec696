//! The PTX of the CUDA source, as it is kept in the repository: made by `lockstep ptx pong`.

use crate::Pong;
use lockstep_core::device::DeviceRules;

impl DeviceRules for Pong {
    fn ptx() -> &'static str {
        include_str!("../cuda/kernels.ptx")
    }
}
