//! The loop: a model writes, the harness judges, minimized divergences go back, until every backend is certified.

mod estimate;
pub(crate) mod judge;
mod machine;
mod money;
mod optimize;
mod profile;
mod run;
mod summary;

pub use estimate::Estimate;
pub use machine::Machine;
pub use money::Money;
pub use run::{Ended, Loop};
pub use summary::Summary;
