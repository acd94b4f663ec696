//! Runs a kernel: warps of 32 lanes, all lanes of one instruction at once.
//!
//! Where lanes part, the group with the lowest line goes on until it reaches the next one, and the two join. Each place
//! has a mask of the lanes in which it was written; values of nobody travel through moves and arithmetic, and are a
//! fault where they would be seen: in an address, in a branch, in memory.

mod access;
mod issue;
mod scalar;
mod warp;

use crate::code::*;
use crate::lower::Program;
use crate::memory::{Buffer, Checks, Fault, Memory};
use crate::model::Work;
use access::Shared;
use rayon::prelude::*;
use warp::{Scratch, Warp};

/// Instructions of one warp in one launch after which it is taken to have no end.
const INSTRUCTIONS_MAX: u64 = 1 << 30;

/// How many blocks and threads a launch has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// Blocks.
    pub blocks: u32,
    /// Threads of a block, at most 1024.
    pub threads: u32,
}

impl Grid {
    /// The grid whose blocks of `threads` threads cover `count` threads.
    pub fn of(count: usize, threads: u32) -> Self {
        Grid { blocks: (count as u32).div_ceil(threads).max(1), threads }
    }
}

/// Launches a kernel and waits for it. `parameters` are its parameters as they lie in memory.
///
/// # Errors
/// What it did that it must not do; the memory is then as far as it came.
pub fn launch(
    program: &Program,
    memory: &mut Memory,
    kernel: &str,
    grid: Grid,
    parameters: &[u8],
) -> Result<Work, Box<Fault>> {
    let kernel = program.kernel(kernel).map_err(|error| Fault::host(error.to_string()))?;
    if parameters.len() != kernel.parameter_bytes {
        let (expected, given) = (kernel.parameter_bytes, parameters.len());
        let why = format!("{} takes {expected} bytes of parameters, not {given}", kernel.name);
        return Err(Box::new(Fault::host(why)));
    }
    if grid.threads == 0 || grid.threads > 1024 || grid.blocks == 0 {
        let why = format!("a launch has 1 to 1024 threads in at least one block, not {grid:?}");
        return Err(Box::new(Fault::host(why)));
    }
    let checks = memory.checks;
    let buffers = memory.begin(parameters);
    let machine = Machine { kernel, buffers, parameters, grid, checks };
    let works: Result<Vec<Work>, Box<Fault>> = if checks.races || grid.blocks == 1 {
        let mut scratch = Scratch::of(&machine);
        (0..grid.blocks).map(|block| machine.block(&mut scratch, block)).collect()
    } else {
        let blocks = (0..grid.blocks).into_par_iter();
        blocks.map_init(|| Scratch::of(&machine), |scratch, block| machine.block(scratch, block)).collect()
    };
    let mut total = Work::default();
    works?.iter().for_each(|work| total.add(work));
    Ok(total)
}

struct Machine<'a> {
    kernel: &'a Kernel,
    buffers: &'a [Option<Buffer>],
    parameters: &'a [u8],
    grid: Grid,
    checks: Checks,
}

enum End {
    Done,
    Barrier,
}

/// What one lane did wrong.
struct Wrong {
    lane: u32,
    why: String,
}

impl Machine<'_> {
    /// Runs one block to its end.
    fn block(&self, scratch: &mut Scratch, block: u32) -> Result<Work, Box<Fault>> {
        let mut work = Work::default();
        scratch.counts.fill((0, 0));
        scratch.shared_known.iter_mut().for_each(|mark| *mark.get_mut() = 0);
        let Scratch { warps, shared, shared_known, counts } = scratch;
        let shared = Shared { words: shared, known: shared_known };
        if warps.len() == 1 && self.grid.threads > 32 {
            for first in (0..self.grid.threads).step_by(32) {
                warps[0].begin(self, block, first);
                self.run(&mut warps[0], &shared, block, counts, &mut work)?;
            }
        } else {
            for (i, warp) in warps.iter_mut().enumerate() {
                warp.begin(self, block, 32 * i as u32);
            }
            let mut waiting = true;
            while waiting {
                waiting = false;
                let ends = warps.iter_mut().filter(|warp| !warp.groups.is_empty());
                let ends: Vec<End> = ends
                    .map(|warp| self.run(warp, &shared, block, counts, &mut work))
                    .collect::<Result<_, Box<Fault>>>()?;
                waiting |= ends.iter().any(|end| matches!(end, End::Barrier));
                // A warp that ended no longer waits; the others pass the barrier together.
            }
        }
        for (counts, block) in counts.iter().zip(&self.kernel.blocks).filter(|(counts, _)| counts.0 > 0) {
            work.issues += counts.0;
            work.thread_instructions += counts.1;
            let line = self.kernel.origins[block.first as usize].line;
            let own = work.blocks.entry((self.kernel.name.clone(), line)).or_default();
            own.0 += counts.0;
            own.1 += counts.1;
        }
        Ok(work)
    }

    fn run(
        &self,
        warp: &mut Warp,
        shared: &Shared<'_>,
        block: u32,
        counts: &mut [(u64, u64)],
        work: &mut Work,
    ) -> Result<End, Box<Fault>> {
        let mut at = 0;
        let result = {
            #[cfg(target_arch = "x86_64")]
            {
                if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
                    // SAFETY: this processor has both.
                    unsafe { self.run_avx2(warp, shared, block, counts, work, &mut at) }
                } else {
                    self.run_here(warp, shared, block, counts, work, &mut at)
                }
            }
            #[cfg(not(target_arch = "x86_64"))]
            self.run_here(warp, shared, block, counts, work, &mut at)
        };
        result.map_err(|wrong| {
            let origin = &self.kernel.origins[at];
            let thread = warp.first_thread + wrong.lane;
            let source = origin.source.as_ref().map(|source| format!(" ({source})")).unwrap_or_default();
            Box::new(Fault {
                kernel: self.kernel.name.clone(),
                place: format!(
                    "block {block}, thread {thread}, line {} of the PTX{source}, `{}`",
                    origin.line, origin.text
                ),
                line: origin.line,
                cu: origin.source.clone(),
                block,
                thread,
                why: wrong.why,
            })
        })
    }
}
