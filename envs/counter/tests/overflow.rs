//! Whole numbers at their limits wrap, as in C: a state that was injected must not end the runner.

use lockstep_core::{Files, Header, Lane, Options, Rules, Source};
use lockstep_env_counter::Counter;

// Found by the property tier against the C adapter: `tick` overflowed.
#[test]
fn numbers_at_their_limits_wrap() {
    let world = Counter::world(Options::default(), &Files::default()).expect("the defaults are valid");
    let shape = Counter::shape(&world);
    for (value, purse, token) in [(0, i32::MAX, 0), (i32::MIN, 0, 2), (5, i32::MIN, 0), (i32::MIN + 1, i32::MIN, 3)] {
        let mut lane = Lane::<Counter>::new(&shape);
        let words = [value as u32, 1, purse as u32, 0, u32::MAX, 0];
        let state: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        lane.inject(&world, &shape, Header::default(), Source::Seeded, &state, &[0; 12]).expect("it is a state");
        lane.step(&world, &shape, &[token]);
        assert_eq!(lane.state.tick, 0);
    }
}
