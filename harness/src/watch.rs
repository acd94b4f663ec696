//! How long work tells where it is, and hears that it should stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Listens to long work.
pub trait Watch {
    /// A piece of work begins; `total` in its own unit, 0 if unknown.
    fn begin(&mut self, what: &str, total: u64);
    /// So much of it is done.
    fn advance(&mut self, count: u64);
    /// It is over.
    fn end(&mut self);
    /// One line that people should see at once.
    fn say(&mut self, line: &str);
}

/// Listens to nothing.
pub struct Silent;

impl Watch for Silent {
    fn begin(&mut self, _what: &str, _total: u64) {}
    fn advance(&mut self, _count: u64) {}
    fn end(&mut self) {}
    fn say(&mut self, _line: &str) {}
}

/// Set by Ctrl-C; looked at between frames.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// A stop that SIGINT and SIGTERM set; a second SIGINT ends the process at once.
    ///
    /// # Errors
    /// If the handlers can't be installed.
    pub fn on_signals() -> std::io::Result<Self> {
        let stop = Stop::default();
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register_conditional_shutdown(signal, 130, stop.0.clone())?;
            signal_hook::flag::register(signal, stop.0.clone())?;
        }
        Ok(stop)
    }

    /// Asks for the end.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the end was asked for.
    pub fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
