//! What no episode changes: the constants of orchard.py. No configuration gives an option.

use lockstep_core::{ActionKind, Files, Options, Resets, Shape, WorldError};

/// `WIDTH`.
pub const WIDTH: i32 = 9;
/// `HEIGHT`.
pub const HEIGHT: i32 = 7;
/// `tree_count`, the default of the constructor.
pub const TREES: usize = 8;
/// `MAX_FRUIT`.
pub const MAX_FRUIT: usize = 6;
/// `BASKET`.
pub const BASKET: usize = 10;
/// Crows that the manifest has places for.
pub const CROWS: usize = 16;
/// `SEASON`.
pub const SEASON: i32 = 240;
/// `RIPENING`: apple, pear, plum.
pub const RIPENING: [i32; 3] = [6, 9, 4];
/// `PRICE`: apple, pear, plum.
pub const PRICE: [f64; 3] = [1.0, 1.5, 0.5];
/// `0.95 ** place` as C's pow gives it, in units of 2^-53.
pub const PLACE: [f64; 10] = [
    9007199254740992.0 / 9007199254740992.0,
    8556839292003942.0 / 9007199254740992.0,
    8128997327403745.0 / 9007199254740992.0,
    7722547461033557.0 / 9007199254740992.0,
    7336420087981879.0 / 9007199254740992.0,
    6969599083582784.0 / 9007199254740992.0,
    6621119129403645.0 / 9007199254740992.0,
    6290063172933462.0 / 9007199254740992.0,
    5975560014286789.0 / 9007199254740992.0,
    5676782013572449.0 / 9007199254740992.0,
];

/// What all lanes share.
#[derive(Debug, Clone)]
pub struct World {
    /// `Orchard.tree_count`, always 8.
    pub trees: u32,
}

impl World {
    /// No configuration gives an option, so none is taken.
    pub fn new(options: Options, _files: &Files) -> Result<Self, WorldError> {
        options.finish()?;
        Ok(World { trees: TREES as u32 })
    }

    /// The sizes of env.toml.
    pub fn shape(&self) -> Shape {
        Shape {
            agents: 1,
            width: 1,
            action: ActionKind::Discrete { count: 8, extra: 0, mask: false },
            canonical_bytes: 693,
            observation_bytes: 344,
            row_bytes: vec![],
            regions: vec![],
            episode_steps_max: None,
            resets: Resets::Harness,
        }
    }
}
