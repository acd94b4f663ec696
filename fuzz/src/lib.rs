//! What the libFuzzer targets share: bytes become a trace, which two accepted sides play in this process.
//!
//! A difference ends the process, which is how libFuzzer learns of it; the bytes that it then keeps are all that is
//! needed. `lockstep fuzz ENV --engine libfuzzer` makes a trace of them, has the reference judge it, and shrinks it.
#![cfg(feature = "engine")]

use lockstep_core::host::HostRules;
use lockstep_core::{Opened, Rules};
use lockstep_harness::frontends::trace_from_bytes;
use lockstep_harness::manifest::{Manifest, ToleranceMode};
use lockstep_harness::pair::{Pair, Verdict};
use lockstep_harness::sides::{InProcess, open_pair};
use std::cell::RefCell;
use std::sync::Arc;

/// The readable backend in the reference's place, and the CUDA source built for the CPU.
pub struct Target {
    /// The text of the manifest.
    pub manifest: &'static str,
    /// Both sides.
    pub sides: InProcess,
}

/// `rust` against `cuda-host` of an environment.
pub fn sides<R: HostRules>() -> Target {
    let sides = InProcess { reference: Opened::scalar::<R>, backend: Opened::cuda_host::<R> };
    Target { manifest: <R as Rules>::MANIFEST, sides }
}

thread_local! {
    static PAIR: RefCell<Option<Pair>> = const { RefCell::new(None) };
}

/// Plays what the bytes stand for, in the configuration that `LOCKSTEP_FUZZ_CONFIGURATION` names.
///
/// # Panics
/// If the sides differ, or can't be opened.
pub fn play(target: Target, bytes: &[u8]) {
    PAIR.with_borrow_mut(|pair| {
        let pair = pair.get_or_insert_with(|| open(&target));
        let trace = trace_from_bytes(&pair.configuration, bytes);
        match pair.check(&trace) {
            Ok(Verdict::Agree | Verdict::Known(_)) => {}
            Ok(Verdict::Diverged(divergence)) => panic!("the sides differ: {:?}", divergence.kind()),
            Err(error) => panic!("{error}"),
        }
    });
}

fn open(target: &Target) -> Pair {
    let name = std::env::var("LOCKSTEP_FUZZ_CONFIGURATION").unwrap_or_else(|_| "default".into());
    let opened = Manifest::parse(target.manifest).map_err(|error| error.to_string()).and_then(|manifest| {
        let configuration = manifest.configuration(&name).map_err(|error| error.to_string())?;
        open_pair(&target.sides, "cuda-host", &Arc::new(configuration.clone()), 1, "fuzz", ToleranceMode::FreeRunning)
            .map_err(|error| error.to_string())
    });
    opened.unwrap_or_else(|error| panic!("{error}"))
}
