//! The cheetah as numbers: what MuJoCo compiled, and the few that follow from it.

use crate::constants as c;

/// The model. Bodies are torso, bthigh, bshin, bfoot, fthigh, fshin, ffoot; joints are the last six of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Model {
    /// Seconds of one substep.
    pub timestep: f64,
    /// Pull of the earth.
    pub gravity: f64,
    /// Centre of mass of each body in its frame: x, z.
    pub centre: [[f64; 2]; 7],
    /// Origin of each body in its parent's frame: x, z.
    pub offset: [[f64; 2]; 7],
    /// Mass of each body.
    pub mass: [f64; 7],
    /// Mass of each body with its descendants.
    pub subtree_mass: [f64; 7],
    /// Inertia of each body about its centre of mass.
    pub inertia: [f64; 7],
    /// End points of the capsules in the frame of their body.
    pub point: [[f64; 2]; 16],
    /// Friction of a contact.
    pub friction: f64,
    /// Rows of a contact that point straight up: those of the tangent along y, in which nothing moves.
    pub straight_rows: f64,
    /// Spring of each joint.
    pub stiffness: [f64; 6],
    /// Damper of each joint.
    pub damping: [f64; 6],
    /// What the implicit damper adds to the diagonal of the inertia: timestep times damping.
    pub implicit: [f64; 6],
    /// Armature of each joint.
    pub armature: [f64; 6],
    /// Limits of each joint.
    pub range: [[f64; 2]; 6],
    /// Torque of each motor at control 1.
    pub gear: [f64; 6],
    /// `dof_invweight0` of each joint.
    pub joint_weight: [f64; 6],
    /// `body_invweight0` of each body.
    pub body_weight: [f64; 7],
    /// Impedance where a constraint begins.
    pub impedance_min: f64,
    /// Stiffness of the reference acceleration.
    pub reference_stiffness: f64,
    /// Damping of the reference acceleration.
    pub reference_damping: f64,
}

impl Model {
    /// As MuJoCo compiles `half_cheetah.xml`.
    pub const MUJOCO: Model = Model {
        timestep: c::TIMESTEP,
        gravity: c::GRAVITY,
        centre: c::CENTRE,
        offset: c::OFFSET,
        mass: c::MASS,
        subtree_mass: c::SUBTREE_MASS,
        inertia: c::INERTIA,
        point: c::POINT,
        friction: c::FRICTION,
        straight_rows: 2.0,
        stiffness: c::STIFFNESS,
        damping: c::DAMPING,
        implicit: implicit(),
        armature: c::ARMATURE,
        range: c::RANGE,
        gear: c::GEAR,
        joint_weight: c::JOINT_WEIGHT,
        body_weight: c::BODY_WEIGHT,
        impedance_min: c::IMPEDANCE_MIN,
        reference_stiffness: c::REFERENCE_STIFFNESS,
        reference_damping: c::REFERENCE_DAMPING,
    };
}

const fn implicit() -> [f64; 6] {
    let mut products = [0.0; 6];
    let mut joint = 0;
    while joint < 6 {
        products[joint] = c::TIMESTEP * c::DAMPING[joint];
        joint += 1;
    }
    products
}

/// The body that each body hangs on.
pub const PARENT: [usize; 7] = [0, 0, 1, 2, 0, 4, 5];

/// How many joints lie between the torso and a body.
pub const DEPTH: [usize; 7] = [0, 1, 2, 3, 1, 2, 3];

/// The first degree of freedom of the leg that a body belongs to; of the torso it is not used.
pub const LEG: [usize; 7] = [3, 3, 3, 3, 6, 6, 6];
