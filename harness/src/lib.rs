//! Everything that judges.
//!
//! To the judge both sides of a comparison are a [`side::Side`]; a [`pair::Pair`] plays one [`trace::Trace`] on both,
//! [`compare`] names the first difference, [`minimize`] shrinks the trace, and the [`tiers`] decide what is played.

pub mod bench;
pub mod bulk;
pub mod certificate;
pub mod compare;
pub mod cuda;
pub mod divergence;
pub mod engine;
pub mod frames;
pub mod frontends;
pub mod html;
pub mod junit;
pub mod keep;
pub mod manifest;
pub mod minimize;
pub mod pair;
pub mod predicate;
pub mod race;
pub mod record;
pub mod recording;
pub mod reference;
pub mod report;
pub mod runner;
pub mod side;
pub mod sides;
pub mod stats;
pub mod suite;
pub mod tiers;
pub mod trace;
pub mod unpack;
pub mod verify;
pub mod watch;
