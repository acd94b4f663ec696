//! One lane's state, under the names of MuJoCo's `mjData`.

use crate::substep::Motion;
use bytemuck::{Pod, Zeroable};

/// What a step changes.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
pub struct State {
    /// Positions: rootx, rootz, rooty, then the joints of the back and the front leg.
    pub qpos: [f64; 9],
    /// Velocities.
    pub qvel: [f64; 9],
    /// The last acceleration, before the implicit dampers.
    pub qacc_warmstart: [f64; 9],
    /// Contacts at the beginning of the last substep.
    pub ncon: u32,
    /// Limits at the beginning of the last substep.
    pub nlimit: u32,
}

const _: () = assert!(size_of::<State>() == 224);

impl State {
    /// What the physics moves.
    pub fn motion(&self) -> Motion<f64> {
        Motion { qpos: self.qpos, qvel: self.qvel, warmstart: self.qacc_warmstart }
    }
}
