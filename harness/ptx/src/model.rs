//! What a launch would cost a GPU: instructions that warps issue, lanes that they keep busy, sectors of memory.
//!
//! A warp always runs its lanes with the lowest line, which is what compilers lay code out for. It knows nothing of
//! caches, latencies or what `ptxas` makes of an instruction; it is a count, and the same on every machine.

use serde::Serialize;
use std::collections::BTreeMap;

/// The work of one or more launches.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Work {
    /// Instructions that warps issued.
    pub issues: u64,
    /// Instructions that threads executed.
    pub thread_instructions: u64,
    /// Branches at which the lanes of a warp parted.
    pub divergences: u64,
    /// Accesses of warps to global memory.
    pub global_accesses: u64,
    /// Bytes that threads loaded from and stored to global memory.
    pub bytes_loaded: u64,
    /// As above.
    pub bytes_stored: u64,
    /// Sectors of 32 bytes that loads touched; 0 unless sectors were counted.
    pub sectors_loaded: u64,
    /// Sectors of 32 bytes that stores touched.
    pub sectors_stored: u64,
    /// Accesses of warps to local memory.
    pub local_accesses: u64,
    /// Accesses of warps to shared memory.
    pub shared_accesses: u64,
    /// By line of the PTX at which a block begins.
    #[serde(skip)]
    pub(crate) blocks: BTreeMap<(String, u32), (u64, u64)>,
}

/// The work of one stretch of a kernel.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// The kernel.
    pub kernel: String,
    /// The line of the PTX at which it begins.
    pub line: u32,
    /// Instructions that warps issued.
    pub issues: u64,
    /// The share of a warp's lanes that were busy.
    pub efficiency: f64,
}

impl Work {
    /// The share of lanes that were busy in what was issued, from 1/32 to 1.
    pub fn simt_efficiency(&self) -> f64 {
        self.thread_instructions as f64 / (32 * self.issues.max(1)) as f64
    }

    /// The stretches with the most issues.
    pub fn hottest(&self, count: usize) -> Vec<Line> {
        let mut lines: Vec<Line> = self
            .blocks
            .iter()
            .map(|((kernel, line), (issues, threads))| Line {
                kernel: kernel.clone(),
                line: *line,
                issues: *issues,
                efficiency: *threads as f64 / (32 * (*issues).max(1)) as f64,
            })
            .collect();
        lines.sort_by_key(|line| std::cmp::Reverse(line.issues));
        lines.truncate(count);
        lines
    }

    /// Adds what another launch did.
    pub fn add(&mut self, other: &Work) {
        for (own, other) in [
            (&mut self.issues, other.issues),
            (&mut self.thread_instructions, other.thread_instructions),
            (&mut self.divergences, other.divergences),
            (&mut self.global_accesses, other.global_accesses),
            (&mut self.bytes_loaded, other.bytes_loaded),
            (&mut self.bytes_stored, other.bytes_stored),
            (&mut self.sectors_loaded, other.sectors_loaded),
            (&mut self.sectors_stored, other.sectors_stored),
            (&mut self.local_accesses, other.local_accesses),
            (&mut self.shared_accesses, other.shared_accesses),
        ] {
            *own += other;
        }
        for (place, (issues, threads)) in &other.blocks {
            let own = self.blocks.entry(place.clone()).or_default();
            own.0 += issues;
            own.1 += threads;
        }
    }
}
