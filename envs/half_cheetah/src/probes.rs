//! Pure functions of the model that the reference answers too, at places given in whole thousandths.

use crate::arrow::{Arrow, at};
use crate::body::{applied, bias, inertia, pose};
use crate::constraint::{Rows, find};
use crate::model::Model;
use crate::solver::solve;
use lockstep_core::Refusal;
use serde_json::{Value, json};

/// Their names.
pub const NAMES: &[&str] = &["mass_matrix", "bias", "applied", "contacts", "limits", "constraint"];

/// The answer of one function.
pub fn answer(model: &Model, function: &str, input: &Value) -> Result<Value, Refusal> {
    let number = |name: String| {
        let value = input[&name].as_i64().filter(|value| value.abs() <= 1_000_000);
        value.map(|value| value as f64 / 1000.0).ok_or_else(|| Refusal(format!("{name} is no whole number up to 10^6")))
    };
    let mut place = [[0.0; 9]; 2];
    for (values, letter) in place.iter_mut().zip(["q", "v"]) {
        for (index, value) in values.iter_mut().enumerate() {
            *value = number(format!("{letter}{index}"))?;
        }
    }
    let [qpos, qvel] = place;
    let mut torque = [0.0; 6];
    for (joint, value) in torque.iter_mut().enumerate() {
        *value = model.gear[joint] * number(format!("c{joint}"))?.clamp(-1.0, 1.0);
    }
    let pose = pose(model, &qpos);
    let inertia = inertia(model, &pose);
    let bias = bias(model, &pose, &qvel);
    let force = applied(model, &bias, &qpos, &qvel, &torque);
    let mut rows = Rows::new();
    find(model, &pose, &qpos, &qvel, &mut rows);
    Ok(match function {
        "mass_matrix" => json!({"value": dense(&inertia)}),
        "bias" => json!({"value": bias}),
        "applied" => json!({"value": std::array::from_fn::<f64, 9, _>(|dof| force[dof] + bias[dof])}),
        "contacts" => json!({"count": rows.count, "value": distances(&rows)}),
        "limits" => json!({"count": rows.limits as u32, "value": beyond(model, &rows, &qpos)}),
        "constraint" => {
            let (acceleration, _) = solve(model, &inertia, &force, &mut rows, &[0.0; 9]);
            let product = inertia.times(&acceleration);
            let pushed: [f64; 9] = std::array::from_fn(|dof| product[dof] - force[dof]);
            json!({"count": 4 * rows.count + rows.limits as usize, "acceleration": acceleration, "force": pushed})
        }
        other => return Err(Refusal(format!("no function {other} can be probed"))),
    })
}

fn dense(matrix: &Arrow<f64>) -> Vec<f64> {
    let entry = |i: usize, j: usize| {
        let (low, high) = (i.min(j), i.max(j));
        match (low, high) {
            (_, 0..3) => matrix.root[at(high, low)],
            (0..3, _) => matrix.side[high / 3 - 1][high % 3][low],
            _ if low / 3 == high / 3 => matrix.leg[high / 3 - 1][at(high % 3, low % 3)],
            _ => 0.0,
        }
    };
    (0..81).map(|place| entry(place / 9, place % 9)).collect()
}

fn distances(rows: &Rows<f64>) -> Vec<f64> {
    let mut distances: Vec<f64> = rows.contact[..rows.count].iter().map(|contact| contact.distance).collect();
    distances.sort_by(f64::total_cmp);
    distances
}

fn beyond(model: &Model, rows: &Rows<f64>, qpos: &[f64; 9]) -> Vec<f64> {
    let distance = |joint: usize| {
        let [low, high] = model.range[joint];
        if rows.limit[joint].sign > 0.0 { qpos[3 + joint] - low } else { high - qpos[3 + joint] }
    };
    let mut distances: Vec<f64> = (0..6).filter(|joint| rows.limit[*joint].active).map(distance).collect();
    distances.sort_by(f64::total_cmp);
    distances
}
