//! One test for each quirk of `env.toml`, with what was worked out from Gymnasium's source.

use lockstep_core::batch::{Batch, Buffers, ResetMode};
use lockstep_core::{Options, Rules};
use lockstep_env_half_cheetah::constraint::Rows;
use lockstep_env_half_cheetah::model::Model;
use lockstep_env_half_cheetah::substep::{Motion, substep};
use lockstep_env_half_cheetah::{HalfCheetah, World};

/// Plays the same action for some steps from seed 7 and returns observations, rewards and flags.
struct Played {
    observation: Vec<f64>,
    rewards: Vec<f64>,
    terminated: bool,
    truncated_at: Option<usize>,
}

fn world() -> World {
    HalfCheetah::world(Options::default(), &Default::default()).expect("the defaults are valid")
}

fn play(action: [f32; 6], steps: usize) -> Played {
    let mut batch = Batch::<HalfCheetah>::new(world(), 1, ResetMode::Disabled).expect("one lane can be made");
    let (mut observations, mut finals) = (vec![0u8; 17 * 8], vec![0u8; 17 * 8]);
    let (mut rewards, mut terminated, mut truncated) = ([0.0f64], [0u8], [0u8]);
    let mut played = Played { observation: vec![], rewards: vec![], terminated: false, truncated_at: None };
    let tokens: Vec<u32> = action.iter().map(|value| value.to_bits().rotate_left(1)).collect();
    for step in 0..=steps {
        let mut out = Buffers {
            observations: &mut observations,
            rewards: &mut rewards,
            terminated: &mut terminated,
            truncated: &mut truncated,
            masks: &mut [],
            final_observations: &mut finals,
        };
        if step == 0 {
            batch.reset(7, None, &mut out);
            continue;
        }
        batch.step(&tokens, &mut out).expect("the tokens are numbers");
        played.rewards.push(rewards[0]);
        played.terminated |= terminated[0] != 0;
        if truncated[0] != 0 {
            played.truncated_at = Some(step);
            break;
        }
    }
    played.observation = observations.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect();
    played
}

#[test]
fn velocity_noise_is_scaled_not_squared() {
    // np.random.default_rng(7): nine uniform numbers in ±0.1, then 0.1 times nine normal ones.
    let start = play([0.0; 6], 0).observation;
    let qpos = [0.07944276019391511, 0.05513713804903872, -0.05495856200188163];
    let qvel = FIRST_NORMALS.map(|normal| 0.1 * normal);
    assert_eq!(start[..3], qpos);
    assert_eq!(start[8..11], qvel);
}

/// The first three normal numbers after nine uniform ones of seed 7.
const FIRST_NORMALS: [f64; 3] = [-0.6204748998199404, 0.4898420501851982, 0.35688700816006075];

#[test]
fn an_episode_never_terminates() {
    let played = play([1.0, -1.0, 1.0, -1.0, 1.0, -1.0], 1001);
    assert!(!played.terminated);
    assert_eq!(played.truncated_at, Some(1000));
}

#[test]
fn an_explosion_starts_again() {
    // Where rotation is so fast that the acceleration passes 1e10, the model's own pose falls freely for one substep.
    let mut motion: Motion<f64> = Motion { qpos: [0.0; 9], qvel: [0.0; 9], warmstart: [0.0; 9] };
    motion.qvel[5] = 1e6;
    let mut torque = [120.0; 6];
    substep(&Model::MUJOCO, &mut motion, &mut torque, true, &mut Rows::new());
    assert_eq!(torque, [0.0; 6]);
    assert!((motion.qvel[1] + 0.0981).abs() < 1e-15 && (motion.qpos[1] + 0.000981).abs() < 1e-17, "{motion:?}");
    assert!(motion.qvel[3..].iter().all(|speed| speed.abs() < 1e-12), "{motion:?}");
}

#[test]
fn control_cost_is_single() {
    let action = [0.3f32, -0.7, 0.11, 0.9, -0.2, 0.5];
    let squares = action.iter().fold(0.0f32, |sum, value| sum + value * value);
    let free = play([0.0; 6], 1);
    assert_eq!(free.rewards.len(), 1);
    let dear = (0.1f32 * squares) as f64;
    let exact: f64 = 0.1 * action.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>();
    assert_ne!(dear, exact, "the action must tell singles from doubles");
    assert_eq!(cost_of(action), dear);
}

#[test]
fn control_cost_is_of_the_unclipped_action() {
    let (clipped, asked) = (play([1.0; 6], 1), play([3.0; 6], 1));
    assert_eq!(clipped.observation, asked.observation);
    let difference = clipped.rewards[0] - asked.rewards[0];
    assert!((difference - (5.4 - 0.6)).abs() < 1e-6, "{difference}");
}

/// The forward reward less the reward: the first is what remains without a weight on control.
fn cost_of(action: [f32; 6]) -> f64 {
    let mut values = serde_json::Map::new();
    values.insert("forward_reward_weight".into(), 0.0.into());
    let world = HalfCheetah::world(Options::new(values), &Default::default()).expect("the option is there");
    let mut batch = Batch::<HalfCheetah>::new(world, 1, ResetMode::Disabled).expect("one lane can be made");
    let (mut observations, mut finals) = (vec![0u8; 17 * 8], vec![0u8; 17 * 8]);
    let (mut rewards, mut terminated, mut truncated) = ([0.0f64], [0u8], [0u8]);
    let mut out = Buffers {
        observations: &mut observations,
        rewards: &mut rewards,
        terminated: &mut terminated,
        truncated: &mut truncated,
        masks: &mut [],
        final_observations: &mut finals,
    };
    batch.reset(7, None, &mut out);
    let tokens: Vec<u32> = action.iter().map(|value| value.to_bits().rotate_left(1)).collect();
    batch.step(&tokens, &mut out).expect("the tokens are numbers");
    -rewards[0]
}
