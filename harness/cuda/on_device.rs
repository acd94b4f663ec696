//! Test support: the kept PTX of an environment, behind the calls that a GPU's driver gets, against its readable rules.
//!
//! What is launched, copied and allocated is decided in `lockstep_core::device` for every device, so this tries all of
//! the backend `cuda` but the driver.

use lockstep_core::device::{DeviceRules, Launches, OnDevice, RustRollout};
use lockstep_core::{Files, Options};
use lockstep_device::{Checks, Ptx, Work};
use serde_json::Value;

fn world<R: DeviceRules>(options: &Value) -> R::World {
    let options = Options::new(options.as_object().cloned().unwrap_or_default());
    R::world(options, &Files::new()).expect("the manifest's options are valid")
}

/// Rollouts in these configurations, in launches of several lengths, with all checks of the interpreter; what the last
/// one's launches would cost a GPU.
pub fn rollouts_agree<R: DeviceRules>(configurations: &[&str], lanes: usize, steps: usize) -> Work {
    let manifest: Value = toml::from_str(R::MANIFEST).expect("the manifest is TOML");
    let (seed, mut work, mut ended) = (11, Work::default(), false);
    for name in configurations {
        let options = &manifest["configurations"][name]["options"];
        let mut rust = RustRollout::<R>::new(world::<R>(options), lanes, seed);
        let mut ptx = Ptx::open(R::ptx()).expect("the kept PTX passes the lint");
        ptx.check(Checks { races: true, sectors: true });
        let mut device = OnDevice::<R, Ptx>::new(world::<R>(options), lanes, ptx).expect("the layouts agree");
        device.begin_rollout(seed).expect("all lanes can be reset");
        let tokens = rust.rollout.seed;
        let judged = |steps, times| Launches { steps, times, digests: true, observations: true, graph: true };
        for (steps, times) in [(1, 1), (1, 5), (7, 1), (steps, 2)] {
            rust.play(steps * times);
            device.rollout(tokens, judged(steps, times)).expect("no kernel faults");
            let counted = device.counted(tokens).expect("it was begun");
            assert_eq!(counted, rust.rollout, "{name}: after {times} launches of {steps} steps");
        }
        for lane in [0, lanes - 1] {
            let state = device.state(lane).expect("it can be read");
            assert_eq!(bytemuck::bytes_of(&state), bytemuck::bytes_of(rust.state(lane)), "{name}: lane {lane}");
        }
        ended |= rust.rollout.ended.iter().any(|ended| *ended > 0);
        // Without a place for observations and without digests the games are the same.
        device.device().take_work();
        rust.play(20);
        let bare = Launches { steps: 20, times: 1, digests: false, observations: false, graph: false };
        device.rollout(tokens, bare).expect("no kernel faults");
        let counted = device.counted(tokens).expect("it was begun");
        assert_eq!((counted.heads, counted.ended), (rust.rollout.heads.clone(), rust.rollout.ended.clone()), "{name}");
        let state = device.state(0).expect("it can be read");
        assert_eq!(bytemuck::bytes_of(&state), bytemuck::bytes_of(rust.state(0)), "{name}: without observations");
        work = device.device().take_work();
        // Another rollout of the same seed is the same one.
        device.begin_rollout(seed).expect("all lanes can be reset");
        device.rollout(tokens, judged(9, 1)).expect("no kernel faults");
        let mut again = RustRollout::<R>::new(world::<R>(options), lanes, seed);
        again.play(9);
        assert_eq!(device.counted(tokens).expect("it was begun"), again.rollout, "{name}: begun again");
    }
    assert!(ended, "no episode ended");
    work
}
