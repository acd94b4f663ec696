//! Everything that judges.
//!
//! To the judge both sides of a comparison are a [`side::Side`]; a [`pair::Pair`] plays one [`trace::Trace`] on both,
//! [`compare`] names the first difference, [`minimize`] shrinks the trace, and the [`tiers`] decide what is played.

pub mod manifest;
pub mod predicate;
pub mod record;
pub mod side;
pub mod compare;
pub mod divergence;
pub mod pair;
pub mod trace;
pub mod minimize;
pub mod report;
pub mod stats;
pub mod keep;
pub mod sides;
pub mod tiers;
pub mod watch;
pub mod reference;
pub mod runner;
pub mod certificate;
pub mod suite;
pub mod verify;
