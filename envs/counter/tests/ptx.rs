//! The kept PTX of counter against the readable rules, behind the calls that a GPU's driver gets.

#[path = "../../../harness/cuda/on_device.rs"]
mod on_device;

use lockstep_env_counter::Counter;

#[test]
fn ptx_plays_rollouts_as_the_readable_backend_does() {
    // The last block is not full. Not tape: clearing its 64 KiB in each reset takes the interpreter milliseconds.
    let configurations = ["default", "duel", "exact", "recorded", "statistical"];
    let work = on_device::rollouts_agree::<Counter>(&configurations, 200, 60);
    assert!(work.issues > 0 && work.simt_efficiency() <= 1.0, "{work:?}");
}
