"""Pure functions of the model for vectors that are mined from the running reference.

Inputs are whole thousandths, so that both sides begin from the same bits: `q0` to `q8` and `v0` to `v8` place the
cheetah, `c0` to `c5` are the controls. Everything is computed by `mj_forward` at tight tolerance from warm start 0.
"""

import os

import gymnasium
import mujoco
import numpy as np

_kept = None


def forward(given):
    """MuJoCo's data after one forward computation at the given place."""
    global _kept
    if _kept is None:
        folder = os.path.join(os.path.dirname(gymnasium.__file__), "envs", "mujoco", "assets")
        model = mujoco.MjModel.from_xml_path(os.path.join(folder, "half_cheetah.xml"))
        model.opt.tolerance, model.opt.iterations, model.opt.ls_tolerance = 1e-20, 200, 1e-10
        _kept = model, mujoco.MjData(model)
    model, data = _kept
    mujoco.mj_resetData(model, data)
    data.qpos[:] = [given[f"q{index}"] / 1000 for index in range(9)]
    data.qvel[:] = [given[f"v{index}"] / 1000 for index in range(9)]
    data.ctrl[:] = [given[f"c{index}"] / 1000 for index in range(6)]
    mujoco.mj_forward(model, data)
    return model, data


def mass_matrix(given):
    """The joint-space inertia with armature, row by row: 81 numbers."""
    model, data = forward(given)
    dense = np.zeros((model.nv, model.nv))
    mujoco.mj_fullM(model, data, dense)
    return {"value": dense.ravel().tolist()}


def bias(given):
    """Gravity and Coriolis forces, by degree of freedom."""
    _, data = forward(given)
    return {"value": data.qfrc_bias.tolist()}


def applied(given):
    """Springs, dampers and motors, by degree of freedom."""
    _, data = forward(given)
    return {"value": (data.qfrc_passive + data.qfrc_actuator).tolist()}


def contacts(given):
    """The signed distance of each contact, smallest first."""
    _, data = forward(given)
    return {"count": int(data.ncon), "value": sorted(data.contact.dist.tolist())}


def limits(given):
    """The signed distance of each limit that is passed, smallest first."""
    _, data = forward(given)
    kinds = data.efc_type[: data.nefc] == mujoco.mjtConstraint.mjCNSTR_LIMIT_JOINT
    return {"count": int(data.nl), "value": sorted(data.efc_pos[: data.nefc][kinds].tolist())}


def constraint(given):
    """The acceleration, and the force of all constraints on each degree of freedom."""
    _, data = forward(given)
    return {"count": int(data.nefc), "acceleration": data.qacc.tolist(), "force": data.qfrc_constraint.tolist()}


FUNCTIONS = {
    "mass_matrix": mass_matrix,
    "bias": bias,
    "applied": applied,
    "contacts": contacts,
    "limits": limits,
    "constraint": constraint,
}
