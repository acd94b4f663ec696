//! Runs a kernel: warps of 32 lanes, all lanes of one instruction at once.
//!
//! Where lanes part, the group with the lowest line goes on until it reaches the next one, and the two join. Each place
//! has a mask of the lanes in which it was written; values of nobody travel through moves and arithmetic, and are a
//! fault where they would be seen: in an address, in a branch, in memory.

mod scalar;

use crate::code::*;
use crate::lower::Program;
use crate::memory::{Buffer, Checks, Fault, LOCAL_BASE, Memory, SHARED_BASE, SHIFT, Touching, other};
use crate::model::Work;
use rayon::prelude::*;
use scalar::{
    convert, extract, half1, half2, insert, max32, max64, min32, min64, number32, permute, wide1, wide2, word1, word2,
};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};

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

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Words([u32; 32]);

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Wides([u64; 32]);

/// A warp between two of its instructions.
struct Warp {
    words: Vec<Words>,
    wides: Vec<Wides>,
    bits: Vec<u32>,
    /// The lanes in which each place was written.
    words_known: Vec<u32>,
    wides_known: Vec<u32>,
    bits_known: Vec<u32>,
    /// Local memory, lane after lane, and one mark for each written byte.
    local: Vec<u64>,
    local_known: Vec<u8>,
    /// Lanes that wait, with where they go on; the lowest last.
    groups: Vec<(u32, u32)>,
    first_thread: u32,
    instructions: u64,
}

struct Scratch {
    warps: Vec<Warp>,
    shared: Vec<UnsafeCell<u64>>,
    shared_known: Vec<UnsafeCell<u8>>,
    /// For each block of code: instructions issued, and executed by threads.
    counts: Vec<(u64, u64)>,
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

impl Scratch {
    fn of(machine: &Machine<'_>) -> Self {
        let barriers = machine.kernel.code.iter().any(|inst| inst.op == Op::Barrier);
        let warps = if barriers { machine.grid.threads.div_ceil(32) } else { 1 };
        let shared = machine.kernel.shared_bytes;
        Scratch {
            warps: (0..warps).map(|_| Warp::of(machine)).collect(),
            shared: (0..shared.div_ceil(8)).map(|_| UnsafeCell::new(0)).collect(),
            shared_known: (0..shared).map(|_| UnsafeCell::new(0)).collect(),
            counts: vec![(0, 0); machine.kernel.blocks.len()],
        }
    }
}

impl Warp {
    fn of(machine: &Machine<'_>) -> Self {
        let kernel = machine.kernel;
        let [words, wides, bits] = kernel.places.map(|count| count as usize);
        let mut warp = Warp {
            words: vec![Words([0; 32]); words],
            wides: vec![Wides([0; 32]); wides],
            bits: vec![0; bits],
            words_known: vec![0; words],
            wides_known: vec![0; wides],
            bits_known: vec![0; bits],
            local: vec![0; kernel.local_bytes.div_ceil(8) * 32],
            local_known: vec![0; kernel.local_bytes * 32],
            groups: Vec::new(),
            first_thread: 0,
            instructions: 0,
        };
        for (class, place, fixed) in &kernel.fixed {
            let place = *place as usize;
            match (class, fixed) {
                (Class::Word, Fixed::Word(value)) => warp.words[place] = Words([*value; 32]),
                (Class::Wide, Fixed::Wide(value)) => warp.wides[place] = Wides([*value; 32]),
                (Class::Word, Fixed::BlockSize) => warp.words[place] = Words([machine.grid.threads; 32]),
                (Class::Word, Fixed::GridSize) => warp.words[place] = Words([machine.grid.blocks; 32]),
                (Class::Word, Fixed::Lane) => warp.words[place] = Words(std::array::from_fn(|lane| lane as u32)),
                (Class::Word, Fixed::One) => warp.words[place] = Words([1; 32]),
                (Class::Predicate, Fixed::True) => warp.bits[place] = u32::MAX,
                _ => {}
            }
        }
        warp
    }

    /// Before the first instruction of some threads of a block.
    fn begin(&mut self, machine: &Machine<'_>, block: u32, first_thread: u32) {
        for known in [&mut self.words_known, &mut self.wides_known, &mut self.bits_known] {
            known.fill(0);
        }
        for (class, place, fixed) in &machine.kernel.fixed {
            let place = *place as usize;
            match class {
                Class::Word => self.words_known[place] = u32::MAX,
                Class::Wide => self.wides_known[place] = u32::MAX,
                Class::Predicate => self.bits_known[place] = u32::MAX,
            }
            match fixed {
                Fixed::Thread => self.words[place] = Words(std::array::from_fn(|lane| first_thread + lane as u32)),
                Fixed::BlockIndex => self.words[place] = Words([block; 32]),
                _ => {}
            }
        }
        self.local_known.fill(0);
        let lanes = (machine.grid.threads - first_thread).min(32);
        self.groups.clear();
        self.groups.push((0, u32::MAX >> (32 - lanes)));
        (self.first_thread, self.instructions) = (first_thread, 0);
    }
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

    /// The same code, with wider vectors. Rust fuses nothing by itself, whatever the instruction set.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,popcnt,lzcnt,bmi1,bmi2")]
    fn run_avx2(
        &self,
        warp: &mut Warp,
        shared: &Shared<'_>,
        block: u32,
        counts: &mut [(u64, u64)],
        work: &mut Work,
        at: &mut usize,
    ) -> Result<End, Wrong> {
        self.run_here(warp, shared, block, counts, work, at)
    }

    #[inline(always)]
    fn run_here(
        &self,
        warp: &mut Warp,
        shared: &Shared<'_>,
        block: u32,
        counts: &mut [(u64, u64)],
        work: &mut Work,
        at: &mut usize,
    ) -> Result<End, Wrong> {
        let kernel = self.kernel;
        let code = &kernel.code[..];
        let Some((mut pc, mut mask)) = warp.groups.pop() else { return Ok(End::Done) };
        let mut limit = warp.groups.last().map_or(u32::MAX, |group| group.0);
        let mut keep = expand(mask);

        // The places of an operand. What was lowered has only places that its file has.
        macro_rules! word {
            ($place:expr) => {
                &warp.words[$place as usize].0
            };
        }
        macro_rules! wide {
            ($place:expr) => {
                &warp.wides[$place as usize].0
            };
        }
        // `d = value` in the lanes that are active, eight at a time.
        macro_rules! set_word {
            ($d:expr, $known:expr, $lane:ident => $value:expr) => {{
                let d = $d as usize;
                for eight in 0..4 {
                    let mut values = [0u32; 8];
                    for i in 0..8 {
                        let $lane = 8 * eight + i;
                        values[i] = $value;
                    }
                    let places = &mut warp.words[d].0;
                    for i in 0..8 {
                        let lane = 8 * eight + i;
                        places[lane] = values[i] & keep[lane] | places[lane] & !keep[lane];
                    }
                }
                let known: u32 = $known;
                warp.words_known[d] = warp.words_known[d] & !mask | known & mask;
            }};
        }
        macro_rules! set_wide {
            ($d:expr, $known:expr, $lane:ident => $value:expr) => {{
                let d = $d as usize;
                for eight in 0..4 {
                    let mut values = [0u64; 8];
                    for i in 0..8 {
                        let $lane = 8 * eight + i;
                        values[i] = $value;
                    }
                    let places = &mut warp.wides[d].0;
                    for i in 0..8 {
                        let lane = 8 * eight + i;
                        let keep = keep[lane] as i32 as i64 as u64;
                        places[lane] = values[i] & keep | places[lane] & !keep;
                    }
                }
                let known: u32 = $known;
                warp.wides_known[d] = warp.wides_known[d] & !mask | known & mask;
            }};
        }
        macro_rules! set_bits {
            ($d:expr, $known:expr, $value:expr) => {{
                let (d, value, known): (usize, u32, u32) = ($d as usize, $value, $known);
                warp.bits[d] = warp.bits[d] & !mask | value & mask;
                warp.bits_known[d] = warp.bits_known[d] & !mask | known & mask;
            }};
        }
        macro_rules! bits_of {
            ($lane:ident => $condition:expr) => {{
                let mut bits = [0u32; 8];
                for eight in 0..4 {
                    for i in 0..8 {
                        let $lane = 8 * eight + i;
                        bits[i] |= u32::from($condition).wrapping_neg() & 1 << $lane;
                    }
                }
                bits.iter().fold(0, |all, bits| all | bits)
            }};
        }
        macro_rules! known_words {
            ($($place:expr),*) => { u32::MAX $(& warp.words_known[$place as usize])* };
        }
        macro_rules! known_wides {
            ($($place:expr),*) => { u32::MAX $(& warp.wides_known[$place as usize])* };
        }
        macro_rules! float {
            ($place:expr, $lane:expr) => {
                f32::from_bits(word!($place)[$lane])
            };
        }
        macro_rules! double {
            ($place:expr, $lane:expr) => {
                f64::from_bits(wide!($place)[$lane])
            };
        }
        macro_rules! word2 {
            ($inst:expr, |$x:ident, $y:ident| $value:expr) => {
                set_word!($inst.d, known_words!($inst.a, $inst.b), lane => {
                    let ($x, $y) = (word!($inst.a)[lane], word!($inst.b)[lane]);
                    $value
                })
            };
        }
        macro_rules! wide2 {
            ($inst:expr, |$x:ident, $y:ident| $value:expr) => {
                set_wide!($inst.d, known_wides!($inst.a, $inst.b), lane => {
                    let ($x, $y) = (wide!($inst.a)[lane], wide!($inst.b)[lane]);
                    $value
                })
            };
        }
        macro_rules! set {
            ($inst:expr, $compare:expr, $known:expr, |$lane:ident| $x:expr, $y:expr) => {{
                let bits = match $compare {
                    Compare::Eq => bits_of!($lane => $x == $y),
                    Compare::Ne => bits_of!($lane => $x != $y),
                    Compare::Lt => bits_of!($lane => $x < $y),
                    Compare::Le => bits_of!($lane => $x <= $y),
                    Compare::Gt => bits_of!($lane => $x > $y),
                    Compare::Ge => bits_of!($lane => $x >= $y),
                    _ => return Err(Wrong { lane: 0, why: "whole numbers are always ordered".into() }),
                };
                set_bits!($inst.d, $known, bits);
            }};
        }
        macro_rules! set_float {
            ($inst:expr, $compare:expr, $known:expr, |$lane:ident| $x:expr, $y:expr) => {{
                // `!=` is true where a side is not a number, which is what `neu` means; `ne` is not.
                let ordered = || bits_of!($lane => $x == $x && $y == $y);
                let bits = match $compare {
                    Compare::Eq => bits_of!($lane => $x == $y),
                    Compare::Ne => bits_of!($lane => $x != $y) & ordered(),
                    Compare::Lt => bits_of!($lane => $x < $y),
                    Compare::Le => bits_of!($lane => $x <= $y),
                    Compare::Gt => bits_of!($lane => $x > $y),
                    Compare::Ge => bits_of!($lane => $x >= $y),
                    Compare::EqU => bits_of!($lane => $x == $y) | !ordered(),
                    Compare::NeU => bits_of!($lane => $x != $y),
                    Compare::LtU => bits_of!($lane => $x < $y) | !ordered(),
                    Compare::LeU => bits_of!($lane => $x <= $y) | !ordered(),
                    Compare::GtU => bits_of!($lane => $x > $y) | !ordered(),
                    Compare::GeU => bits_of!($lane => $x >= $y) | !ordered(),
                    Compare::Number => ordered(),
                    Compare::NotNumber => !ordered(),
                };
                set_bits!($inst.d, $known, bits);
            }};
        }
        // The other group with the lowest line goes on.
        macro_rules! next_group {
            () => {{
                let Some(group) = warp.groups.pop() else { return Ok(End::Done) };
                (pc, mask) = group;
                limit = warp.groups.last().map_or(u32::MAX, |group| group.0);
                keep = expand(mask);
                continue;
            }};
        }

        loop {
            let inst = code[pc as usize];
            *at = pc as usize;
            if inst.op == Op::Block {
                while pc == limit {
                    let (_, others) = warp.groups.pop().expect("the limit is that of a group");
                    mask |= others;
                    limit = warp.groups.last().map_or(u32::MAX, |group| group.0);
                    keep = expand(mask);
                }
                if pc > limit {
                    // A jump forward went past a group that waits further up.
                    let place = warp.groups.partition_point(|group| group.0 > pc);
                    match warp.groups.get_mut(place) {
                        Some(group) if group.0 == pc => group.1 |= mask,
                        _ => warp.groups.insert(place, (pc, mask)),
                    }
                    next_group!();
                }
                let count = u64::from(kernel.blocks[inst.x as usize].count);
                let counts = &mut counts[inst.x as usize];
                counts.0 += count;
                counts.1 += count * u64::from(mask.count_ones());
                warp.instructions += count;
                if warp.instructions > INSTRUCTIONS_MAX {
                    let why = format!("it has no end: {INSTRUCTIONS_MAX} instructions in one launch");
                    return Err(Wrong { lane: mask.trailing_zeros(), why });
                }
                pc += 1;
                continue;
            }
            let mut guarded = mask;
            if inst.guard != NONE {
                let (bits, known) = (warp.bits[inst.guard as usize], warp.bits_known[inst.guard as usize]);
                if mask & !known != 0 {
                    let why = "it depends on a value that was never written".to_owned();
                    return Err(Wrong { lane: (mask & !known).trailing_zeros(), why });
                }
                guarded = mask & if inst.negated { !bits } else { bits };
            }
            match inst.op {
                Op::Branch => {
                    let stay = mask & !guarded;
                    if guarded == 0 {
                        pc += 1;
                        continue;
                    }
                    if stay == 0 {
                        pc = inst.x;
                        continue;
                    }
                    work.divergences += 1;
                    let (low, low_mask, high, high_mask) =
                        if inst.x > pc { (pc + 1, stay, inst.x, guarded) } else { (inst.x, guarded, pc + 1, stay) };
                    let place = warp.groups.partition_point(|group| group.0 > high);
                    match warp.groups.get_mut(place) {
                        Some(group) if group.0 == high => group.1 |= high_mask,
                        _ => warp.groups.insert(place, (high, high_mask)),
                    }
                    (pc, mask) = (low, low_mask);
                    limit = warp.groups.last().map_or(u32::MAX, |group| group.0);
                    keep = expand(mask);
                    continue;
                }
                Op::BranchTable => {
                    let table = &kernel.tables[inst.x as usize];
                    let indices = *word!(inst.a);
                    let unknown = guarded & !warp.words_known[inst.a as usize];
                    if unknown != 0 {
                        let why = "it depends on a value that was never written".to_owned();
                        return Err(Wrong { lane: unknown.trailing_zeros(), why });
                    }
                    let stay = mask & !guarded;
                    let mut parts: Vec<(u32, u32)> = if stay == 0 { Vec::new() } else { vec![(pc + 1, stay)] };
                    for lane in lanes(guarded) {
                        let target = table.get(indices[lane] as usize).copied();
                        let why = || format!("index {} is past its table of {}", indices[lane], table.len());
                        let target = target.ok_or_else(|| Wrong { lane: lane as u32, why: why() })?;
                        match parts.iter_mut().find(|part| part.0 == target) {
                            Some(part) => part.1 |= 1 << lane,
                            None => parts.push((target, 1 << lane)),
                        }
                    }
                    work.divergences += u64::from(parts.len() > 1);
                    for (target, lanes) in parts {
                        let place = warp.groups.partition_point(|group| group.0 > target);
                        match warp.groups.get_mut(place) {
                            Some(group) if group.0 == target => group.1 |= lanes,
                            _ => warp.groups.insert(place, (target, lanes)),
                        }
                    }
                    next_group!();
                }
                Op::Exit => {
                    mask &= !guarded;
                    if mask == 0 {
                        next_group!();
                    }
                    keep = expand(mask);
                    pc += 1;
                    continue;
                }
                Op::Barrier => {
                    if !warp.groups.is_empty() || guarded != mask {
                        let why = "only some lanes of the warp come to this barrier".to_owned();
                        return Err(Wrong { lane: mask.trailing_zeros(), why });
                    }
                    warp.groups.push((pc + 1, mask));
                    return Ok(End::Barrier);
                }
                _ => {}
            }
            let whole = mask;
            if guarded != mask {
                if guarded == 0 {
                    pc += 1;
                    continue;
                }
                mask = guarded;
                keep = expand(mask);
            }
            match inst.op {
                Op::Block | Op::Branch | Op::BranchTable | Op::Exit | Op::Barrier | Op::Nothing => {}
                Op::Trap => {
                    return Err(Wrong { lane: mask.trailing_zeros(), why: "the kernel gives up".into() });
                }
                Op::Word2(two) => match two {
                    Whole2::Add => word2!(inst, |x, y| x.wrapping_add(y)),
                    Whole2::Sub => word2!(inst, |x, y| x.wrapping_sub(y)),
                    Whole2::Mul => word2!(inst, |x, y| x.wrapping_mul(y)),
                    Whole2::And => word2!(inst, |x, y| x & y),
                    Whole2::Or => word2!(inst, |x, y| x | y),
                    Whole2::Xor => word2!(inst, |x, y| x ^ y),
                    Whole2::Shl => word2!(inst, |x, y| if y < 32 { x << (y & 31) } else { 0 }),
                    Whole2::ShrU => word2!(inst, |x, y| if y < 32 { x >> (y & 31) } else { 0 }),
                    Whole2::ShrS => word2!(inst, |x, y| ((x as i32) >> y.min(31)) as u32),
                    Whole2::DivU | Whole2::DivS | Whole2::RemU | Whole2::RemS => {
                        let zeros = mask & bits_of!(lane => word!(inst.b)[lane] == 0);
                        if zeros != 0 {
                            return Err(Wrong { lane: zeros.trailing_zeros(), why: "it divides by zero".into() });
                        }
                        word2!(inst, |x, y| word2(two, x, y));
                    }
                    _ => word2!(inst, |x, y| word2(two, x, y)),
                },
                Op::Word1(one) => {
                    set_word!(inst.d, known_words!(inst.a), lane => word1(one, word!(inst.a)[lane]));
                }
                Op::Wide2(two) => match two {
                    Whole2::Add => wide2!(inst, |x, y| x.wrapping_add(y)),
                    Whole2::Sub => wide2!(inst, |x, y| x.wrapping_sub(y)),
                    Whole2::And => wide2!(inst, |x, y| x & y),
                    Whole2::Or => wide2!(inst, |x, y| x | y),
                    Whole2::Xor => wide2!(inst, |x, y| x ^ y),
                    Whole2::Shl | Whole2::ShrU | Whole2::ShrS => {
                        let known = known_wides!(inst.a) & known_words!(inst.b);
                        set_wide!(inst.d, known, lane => {
                            let (x, count) = (wide!(inst.a)[lane], word!(inst.b)[lane]);
                            match two {
                                Whole2::Shl => if count < 64 { x << (count & 63) } else { 0 },
                                Whole2::ShrU => if count < 64 { x >> (count & 63) } else { 0 },
                                _ => ((x as i64) >> count.min(63)) as u64,
                            }
                        });
                    }
                    Whole2::DivU | Whole2::DivS | Whole2::RemU | Whole2::RemS => {
                        let zeros = mask & bits_of!(lane => wide!(inst.b)[lane] == 0);
                        if zeros != 0 {
                            return Err(Wrong { lane: zeros.trailing_zeros(), why: "it divides by zero".into() });
                        }
                        wide2!(inst, |x, y| wide2(two, x, y));
                    }
                    _ => wide2!(inst, |x, y| wide2(two, x, y)),
                },
                Op::Wide1(one) => match one {
                    Whole1::Not | Whole1::Neg | Whole1::Abs | Whole1::Reverse => {
                        set_wide!(inst.d, known_wides!(inst.a), lane => wide1(one, wide!(inst.a)[lane]));
                    }
                    _ => {
                        set_word!(inst.d, known_wides!(inst.a), lane => wide1(one, wide!(inst.a)[lane]) as u32);
                    }
                },
                Op::Half2(two) => {
                    if matches!(two, Whole2::DivU | Whole2::DivS | Whole2::RemU | Whole2::RemS) {
                        let zeros = mask & bits_of!(lane => word!(inst.b)[lane] & 0xFFFF == 0);
                        if zeros != 0 {
                            return Err(Wrong { lane: zeros.trailing_zeros(), why: "it divides by zero".into() });
                        }
                    }
                    word2!(inst, |x, y| half2(two, x, y));
                }
                Op::Half1(one) => {
                    set_word!(inst.d, known_words!(inst.a), lane => half1(one, word!(inst.a)[lane]));
                }
                Op::Mad32 => {
                    set_word!(inst.d, known_words!(inst.a, inst.b, inst.c), lane => {
                        word!(inst.a)[lane].wrapping_mul(word!(inst.b)[lane]).wrapping_add(word!(inst.c)[lane])
                    });
                }
                Op::Mad64 => {
                    set_wide!(inst.d, known_wides!(inst.a, inst.b, inst.c), lane => {
                        wide!(inst.a)[lane].wrapping_mul(wide!(inst.b)[lane]).wrapping_add(wide!(inst.c)[lane])
                    });
                }
                Op::Mad16 => {
                    set_word!(inst.d, known_words!(inst.a, inst.b, inst.c), lane => {
                        let product = word!(inst.a)[lane].wrapping_mul(word!(inst.b)[lane]);
                        product.wrapping_add(word!(inst.c)[lane]) & 0xFFFF
                    });
                }
                Op::MulWide(kind) => match kind {
                    Type::U32 => set_wide!(inst.d, known_words!(inst.a, inst.b), lane => {
                        u64::from(word!(inst.a)[lane]) * u64::from(word!(inst.b)[lane])
                    }),
                    Type::S32 => set_wide!(inst.d, known_words!(inst.a, inst.b), lane => {
                        (i64::from(word!(inst.a)[lane] as i32) * i64::from(word!(inst.b)[lane] as i32)) as u64
                    }),
                    Type::S16 => word2!(inst, |x, y| (i32::from(x as i16) * i32::from(y as i16)) as u32),
                    _ => word2!(inst, |x, y| (x & 0xFFFF) * (y & 0xFFFF)),
                },
                Op::MadWide(kind) => match kind {
                    Type::U32 | Type::S32 => {
                        let known = known_words!(inst.a, inst.b) & known_wides!(inst.c);
                        set_wide!(inst.d, known, lane => {
                            let (x, y) = (word!(inst.a)[lane], word!(inst.b)[lane]);
                            let product = if kind == Type::U32 {
                                u64::from(x) * u64::from(y)
                            } else {
                                (i64::from(x as i32) * i64::from(y as i32)) as u64
                            };
                            product.wrapping_add(wide!(inst.c)[lane])
                        });
                    }
                    _ => set_word!(inst.d, known_words!(inst.a, inst.b, inst.c), lane => {
                        let (x, y) = (word!(inst.a)[lane], word!(inst.b)[lane]);
                        let product = if kind == Type::S16 {
                            (i32::from(x as i16) * i32::from(y as i16)) as u32
                        } else {
                            (x & 0xFFFF) * (y & 0xFFFF)
                        };
                        product.wrapping_add(word!(inst.c)[lane])
                    }),
                },
                Op::Permute => {
                    set_word!(inst.d, known_words!(inst.a, inst.b, inst.c), lane => {
                        permute(word!(inst.a)[lane], word!(inst.b)[lane], word!(inst.c)[lane])
                    });
                }
                Op::FunnelLeft(wraps) => {
                    set_word!(inst.d, known_words!(inst.a, inst.b, inst.c), lane => {
                        let both = u64::from(word!(inst.b)[lane]) << 32 | u64::from(word!(inst.a)[lane]);
                        let count = word!(inst.c)[lane];
                        let count = if wraps { count & 31 } else { count.min(32) };
                        ((both << count) >> 32) as u32
                    });
                }
                Op::FunnelRight(wraps) => {
                    set_word!(inst.d, known_words!(inst.a, inst.b, inst.c), lane => {
                        let both = u64::from(word!(inst.b)[lane]) << 32 | u64::from(word!(inst.a)[lane]);
                        let count = word!(inst.c)[lane];
                        let count = if wraps { count & 31 } else { count.min(32) };
                        (both >> count) as u32
                    });
                }
                Op::Extract(kind) => {
                    if kind.size() == 8 {
                        let known = known_wides!(inst.a) & known_words!(inst.b, inst.c);
                        set_wide!(inst.d, known, lane => {
                            extract(kind, wide!(inst.a)[lane], word!(inst.b)[lane], word!(inst.c)[lane])
                        });
                    } else {
                        set_word!(inst.d, known_words!(inst.a, inst.b, inst.c), lane => {
                            let value = u64::from(word!(inst.a)[lane]);
                            extract(kind, value, word!(inst.b)[lane], word!(inst.c)[lane]) as u32
                        });
                    }
                }
                Op::Insert32 => {
                    set_word!(inst.d, known_words!(inst.a, inst.b, inst.c), lane => {
                        let (value, into) = (u64::from(word!(inst.a)[lane]), u64::from(word!(inst.b)[lane]));
                        insert(32, value, into, word!(inst.c)[lane], inst.x) as u32
                    });
                }
                Op::Insert64 => {
                    let known = known_wides!(inst.a, inst.b) & known_words!(inst.c);
                    set_wide!(inst.d, known, lane => {
                        insert(64, wide!(inst.a)[lane], wide!(inst.b)[lane], word!(inst.c)[lane], inst.x)
                    });
                }
                Op::Lop3 => {
                    set_word!(inst.d, known_words!(inst.a, inst.b, inst.c), lane => {
                        let (a, b, c) = (word!(inst.a)[lane], word!(inst.b)[lane], word!(inst.c)[lane]);
                        (0..8u32).filter(|row| inst.x >> row & 1 == 1).fold(0, |all, row| {
                            let side = |value: u32, bit: u32| if row >> bit & 1 == 1 { value } else { !value };
                            all | side(a, 2) & side(b, 1) & side(c, 0)
                        })
                    });
                }
                Op::Float32(two) => {
                    let known = known_words!(inst.a, inst.b);
                    match two {
                        Float2::Add => set_word!(inst.d, known, lane => {
                            number32(float!(inst.a, lane) + float!(inst.b, lane))
                        }),
                        Float2::Sub => set_word!(inst.d, known, lane => {
                            number32(float!(inst.a, lane) - float!(inst.b, lane))
                        }),
                        Float2::Mul => set_word!(inst.d, known, lane => {
                            number32(float!(inst.a, lane) * float!(inst.b, lane))
                        }),
                        Float2::Div => set_word!(inst.d, known, lane => {
                            number32(float!(inst.a, lane) / float!(inst.b, lane))
                        }),
                        Float2::Min => set_word!(inst.d, known, lane => {
                            min32(float!(inst.a, lane), float!(inst.b, lane))
                        }),
                        Float2::Max => set_word!(inst.d, known, lane => {
                            max32(float!(inst.a, lane), float!(inst.b, lane))
                        }),
                        Float2::CopySign => set_word!(inst.d, known, lane => {
                            word!(inst.b)[lane] & !(1 << 31) | word!(inst.a)[lane] & 1 << 31
                        }),
                    }
                }
                Op::Float64(two) => {
                    let known = known_wides!(inst.a, inst.b);
                    match two {
                        Float2::Add => set_wide!(inst.d, known, lane => {
                            (double!(inst.a, lane) + double!(inst.b, lane)).to_bits()
                        }),
                        Float2::Sub => set_wide!(inst.d, known, lane => {
                            (double!(inst.a, lane) - double!(inst.b, lane)).to_bits()
                        }),
                        Float2::Mul => set_wide!(inst.d, known, lane => {
                            (double!(inst.a, lane) * double!(inst.b, lane)).to_bits()
                        }),
                        Float2::Div => set_wide!(inst.d, known, lane => {
                            (double!(inst.a, lane) / double!(inst.b, lane)).to_bits()
                        }),
                        Float2::Min => set_wide!(inst.d, known, lane => {
                            min64(double!(inst.a, lane), double!(inst.b, lane))
                        }),
                        Float2::Max => set_wide!(inst.d, known, lane => {
                            max64(double!(inst.a, lane), double!(inst.b, lane))
                        }),
                        Float2::CopySign => set_wide!(inst.d, known, lane => {
                            wide!(inst.b)[lane] & !(1 << 63) | wide!(inst.a)[lane] & 1 << 63
                        }),
                    }
                }
                Op::Float32One(one) => {
                    let known = known_words!(inst.a);
                    match one {
                        Float1::Neg => set_word!(inst.d, known, lane => word!(inst.a)[lane] ^ 1 << 31),
                        Float1::Abs => set_word!(inst.d, known, lane => word!(inst.a)[lane] & !(1 << 31)),
                        Float1::Sqrt => set_word!(inst.d, known, lane => number32(float!(inst.a, lane).sqrt())),
                        Float1::Reciprocal => set_word!(inst.d, known, lane => number32(1.0 / float!(inst.a, lane))),
                    }
                }
                Op::Float64One(one) => {
                    let known = known_wides!(inst.a);
                    match one {
                        Float1::Neg => set_wide!(inst.d, known, lane => wide!(inst.a)[lane] ^ 1 << 63),
                        Float1::Abs => set_wide!(inst.d, known, lane => wide!(inst.a)[lane] & !(1 << 63)),
                        Float1::Sqrt => set_wide!(inst.d, known, lane => double!(inst.a, lane).sqrt().to_bits()),
                        Float1::Reciprocal => {
                            set_wide!(inst.d, known, lane => (1.0 / double!(inst.a, lane)).to_bits());
                        }
                    }
                }
                Op::Fma32 => {
                    set_word!(inst.d, known_words!(inst.a, inst.b, inst.c), lane => {
                        number32(float!(inst.a, lane).mul_add(float!(inst.b, lane), float!(inst.c, lane)))
                    });
                }
                Op::Fma64 => {
                    set_wide!(inst.d, known_wides!(inst.a, inst.b, inst.c), lane => {
                        double!(inst.a, lane).mul_add(double!(inst.b, lane), double!(inst.c, lane)).to_bits()
                    });
                }
                Op::Set(compare, kind) => match kind {
                    Type::U32 | Type::U8 => {
                        let known = known_words!(inst.a, inst.b);
                        set!(inst, compare, known, |lane| word!(inst.a)[lane], word!(inst.b)[lane]);
                    }
                    Type::S32 | Type::S8 => {
                        let known = known_words!(inst.a, inst.b);
                        set!(inst, compare, known, |lane| word!(inst.a)[lane] as i32, word!(inst.b)[lane] as i32);
                    }
                    Type::U16 => {
                        let known = known_words!(inst.a, inst.b);
                        set!(inst, compare, known, |lane| word!(inst.a)[lane] as u16, word!(inst.b)[lane] as u16);
                    }
                    Type::S16 => {
                        let known = known_words!(inst.a, inst.b);
                        set!(inst, compare, known, |lane| word!(inst.a)[lane] as i16, word!(inst.b)[lane] as i16);
                    }
                    Type::U64 => {
                        let known = known_wides!(inst.a, inst.b);
                        set!(inst, compare, known, |lane| wide!(inst.a)[lane], wide!(inst.b)[lane]);
                    }
                    Type::S64 => {
                        let known = known_wides!(inst.a, inst.b);
                        set!(inst, compare, known, |lane| wide!(inst.a)[lane] as i64, wide!(inst.b)[lane] as i64);
                    }
                    Type::F32 => {
                        let known = known_words!(inst.a, inst.b);
                        set_float!(inst, compare, known, |lane| float!(inst.a, lane), float!(inst.b, lane));
                    }
                    Type::F64 => {
                        let known = known_wides!(inst.a, inst.b);
                        set_float!(inst, compare, known, |lane| double!(inst.a, lane), double!(inst.b, lane));
                    }
                },
                Op::Select32 => {
                    let bits = warp.bits[inst.c as usize];
                    let known = warp.bits_known[inst.c as usize]
                        & (bits & warp.words_known[inst.a as usize] | !bits & warp.words_known[inst.b as usize]);
                    let chosen = expand(bits);
                    set_word!(inst.d, known, lane => {
                        word!(inst.a)[lane] & chosen[lane] | word!(inst.b)[lane] & !chosen[lane]
                    });
                }
                Op::Select64 => {
                    let bits = warp.bits[inst.c as usize];
                    let known = warp.bits_known[inst.c as usize]
                        & (bits & warp.wides_known[inst.a as usize] | !bits & warp.wides_known[inst.b as usize]);
                    let chosen = expand(bits);
                    set_wide!(inst.d, known, lane => {
                        let chosen = chosen[lane] as i32 as i64 as u64;
                        wide!(inst.a)[lane] & chosen | wide!(inst.b)[lane] & !chosen
                    });
                }
                Op::Logic(logic) => {
                    let (a, b) = (warp.bits[inst.a as usize], warp.bits[inst.b as usize]);
                    let (known_a, known_b) = (warp.bits_known[inst.a as usize], warp.bits_known[inst.b as usize]);
                    // What one side decides alone does not depend on the other.
                    let (value, decided) = match logic {
                        Logic::And => (a & b, known_a & !a | known_b & !b),
                        Logic::Or => (a | b, known_a & a | known_b & b),
                        Logic::Xor => (a ^ b, 0),
                    };
                    set_bits!(inst.d, known_a & known_b | decided, value);
                }
                Op::LogicNot => {
                    set_bits!(inst.d, warp.bits_known[inst.a as usize], !warp.bits[inst.a as usize]);
                }
                Op::LogicMove => {
                    set_bits!(inst.d, warp.bits_known[inst.a as usize], warp.bits[inst.a as usize]);
                }
                Op::Move32 => set_word!(inst.d, known_words!(inst.a), lane => word!(inst.a)[lane]),
                Op::Move64 => set_wide!(inst.d, known_wides!(inst.a), lane => wide!(inst.a)[lane]),
                Op::Pack => {
                    set_wide!(inst.d, known_words!(inst.a, inst.b), lane => {
                        u64::from(word!(inst.b)[lane]) << 32 | u64::from(word!(inst.a)[lane])
                    });
                }
                Op::Low => set_word!(inst.d, known_wides!(inst.a), lane => wide!(inst.a)[lane] as u32),
                Op::High => set_word!(inst.d, known_wides!(inst.a), lane => (wide!(inst.a)[lane] >> 32) as u32),
                Op::Pack16 => word2!(inst, |x, y| y << 16 | x & 0xFFFF),
                Op::Low16 => set_word!(inst.d, known_words!(inst.a), lane => word!(inst.a)[lane] & 0xFFFF),
                Op::High16 => set_word!(inst.d, known_words!(inst.a), lane => word!(inst.a)[lane] >> 16),
                Op::Convert { from, to, round, saturate } => match (from, to, round, saturate) {
                    (Type::U32, Type::U64 | Type::S64, None, false) => {
                        set_wide!(inst.d, known_words!(inst.a), lane => u64::from(word!(inst.a)[lane]));
                    }
                    (Type::S32, Type::U64 | Type::S64, None, false) => {
                        set_wide!(inst.d, known_words!(inst.a), lane => word!(inst.a)[lane] as i32 as i64 as u64);
                    }
                    (Type::U64 | Type::S64, Type::U32 | Type::S32, None, false) => {
                        set_word!(inst.d, known_wides!(inst.a), lane => wide!(inst.a)[lane] as u32);
                    }
                    _ => {
                        let from_wide = from.class() == Class::Wide;
                        let known = if from_wide { known_wides!(inst.a) } else { known_words!(inst.a) };
                        let source: [u64; 32] = if from_wide {
                            *wide!(inst.a)
                        } else {
                            std::array::from_fn(|lane| u64::from(word!(inst.a)[lane]))
                        };
                        if to.class() == Class::Wide {
                            set_wide!(inst.d, known, lane => convert(from, to, round, saturate, source[lane]));
                        } else {
                            set_word!(inst.d, known, lane => convert(from, to, round, saturate, source[lane]) as u32);
                        }
                    }
                },
                Op::Parameter(kind, wide) => {
                    let at = inst.x as usize;
                    let mut bytes = [0; 8];
                    bytes[..kind.size()].copy_from_slice(&self.parameters[at..at + kind.size()]);
                    let value = widen(kind, u64::from_le_bytes(bytes));
                    if wide {
                        set_wide!(inst.d, u32::MAX, _lane => value);
                    } else {
                        set_word!(inst.d, u32::MAX, _lane => value as u32);
                    }
                }
                Op::Load => self.load(warp, shared, block, &inst, mask, work)?,
                Op::Store => self.store(warp, shared, block, &inst, mask, work)?,
                Op::Atomic(atomic, kind) => self.atomic(warp, shared, block, &inst, mask, atomic, kind, work)?,
                Op::Shuffle(shuffle) => {
                    let (mut values, mut known) = (warp.words[inst.a as usize].0, 0);
                    let asked = *word!(inst.a);
                    for lane in lanes(mask) {
                        let (from, _) = partner(shuffle, lane as u32, word!(inst.b)[lane], word!(inst.c)[lane]);
                        values[lane] = asked[from as usize];
                        let told = mask >> from & 1 & warp.words_known[inst.a as usize] >> from;
                        known |= told << lane;
                    }
                    set_word!(inst.d, known, lane => values[lane]);
                }
                Op::ShuffleInside(shuffle) => {
                    let mut bits = 0;
                    for lane in lanes(mask) {
                        let (_, inside) = partner(shuffle, lane as u32, word!(inst.b)[lane], word!(inst.c)[lane]);
                        bits |= u32::from(inside) << lane;
                    }
                    set_bits!(inst.d, known_words!(inst.b, inst.c), bits);
                }
                Op::Vote(vote) => {
                    let (bits, known) = (warp.bits[inst.a as usize] & mask, warp.bits_known[inst.a as usize]);
                    let known = if known & mask == mask { u32::MAX } else { 0 };
                    let all = |truth: bool| if truth { u32::MAX } else { 0 };
                    match vote {
                        Vote::Ballot => set_word!(inst.d, known, _lane => bits),
                        Vote::All => set_bits!(inst.d, known, all(bits == mask)),
                        Vote::Any => set_bits!(inst.d, known, all(bits != 0)),
                        Vote::Uniform => set_bits!(inst.d, known, all(bits == mask || bits == 0)),
                    }
                }
                Op::ActiveMask => set_word!(inst.d, u32::MAX, _lane => mask),
            }
            if mask != whole {
                mask = whole;
                keep = expand(mask);
            }
            pc += 1;
        }
    }
}

/// All ones in the lanes of a mask.
#[inline(always)]
fn expand(mask: u32) -> [u32; 32] {
    std::array::from_fn(|lane| (mask >> lane & 1).wrapping_neg())
}

/// The lanes of a mask.
fn lanes(mask: u32) -> impl Iterator<Item = usize> {
    let mut rest = mask;
    std::iter::from_fn(move || {
        (rest != 0).then(|| {
            let lane = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            lane
        })
    })
}

/// Which lane a shuffle asks, and whether it is inside of the segment.
fn partner(shuffle: Shuffle, lane: u32, b: u32, c: u32) -> (u32, bool) {
    let (b, clamp, segment) = (b & 31, c & 31, c >> 8 & 31);
    let last = lane & segment | clamp & !segment;
    let (from, inside) = match shuffle {
        Shuffle::Up => (lane.wrapping_sub(b), (lane as i32 - b as i32) >= last as i32),
        Shuffle::Down => (lane + b, lane + b <= last),
        Shuffle::Butterfly => (lane ^ b, lane ^ b <= last),
        Shuffle::Index => {
            let from = lane & segment | b & !segment;
            (from, from <= last)
        }
    };
    if inside { (from & 31, true) } else { (lane, false) }
}

/// A value of memory as it stands in a wider register.
#[inline(always)]
fn widen(kind: Type, value: u64) -> u64 {
    match kind {
        Type::S8 => value as i8 as i64 as u64,
        Type::S16 => value as i16 as i64 as u64,
        Type::S32 => value as i32 as i64 as u64,
        _ => value,
    }
}

/// Shared memory of one block, whose warps take turns.
struct Shared<'a> {
    words: &'a [UnsafeCell<u64>],
    known: &'a [UnsafeCell<u8>],
}

/// A stretch of memory that an access lies in.
#[derive(Clone, Copy)]
struct Stretch {
    base: *mut u8,
    size: usize,
    marks: Option<*mut u8>,
    read_only: bool,
    global: bool,
}

impl Machine<'_> {
    /// The stretch that an address lies in, for one lane.
    #[inline(always)]
    fn stretch(
        &self,
        warp: &mut Warp,
        shared: &Shared<'_>,
        lane: usize,
        address: u64,
        space: Space,
    ) -> Result<Stretch, String> {
        let local = self.kernel.local_bytes;
        let base = (address >> SHIFT) << SHIFT;
        let belongs = match space {
            Space::Generic => true,
            Space::Local => base == LOCAL_BASE,
            Space::Shared => base == SHARED_BASE,
            Space::Global => base != LOCAL_BASE && base != SHARED_BASE,
        };
        if !belongs {
            return Err(format!("address {address:#x} is not in {space:?} memory"));
        }
        match base {
            LOCAL_BASE => Ok(Stretch {
                // SAFETY: local memory has `local` bytes for each of 32 lanes.
                base: unsafe { warp.local.as_mut_ptr().cast::<u8>().add(lane * local) },
                size: local,
                // SAFETY: as above.
                marks: Some(unsafe { warp.local_known.as_mut_ptr().add(lane * local) }),
                read_only: false,
                global: false,
            }),
            SHARED_BASE => Ok(Stretch {
                base: shared.words.as_ptr().cast_mut().cast(),
                size: shared.known.len(),
                marks: Some(shared.known.as_ptr().cast_mut().cast()),
                read_only: false,
                global: false,
            }),
            _ => {
                let buffer = self.buffers.get((address >> SHIFT) as usize).and_then(Option::as_ref);
                let buffer = buffer.ok_or_else(|| match address >> SHIFT {
                    0 => format!("address {address:#x} is in no buffer; it is close to null"),
                    _ => format!("address {address:#x} is in no buffer"),
                })?;
                Ok(Stretch {
                    base: buffer.base(),
                    size: buffer.size(),
                    marks: buffer.marks(),
                    read_only: buffer.read_only(),
                    global: true,
                })
            }
        }
    }

    fn buffer_name(&self, address: u64) -> String {
        match (address >> SHIFT) << SHIFT {
            LOCAL_BASE => "its local memory".into(),
            SHARED_BASE => "its block's shared memory".into(),
            _ => {
                let buffer = self.buffers.get((address >> SHIFT) as usize).and_then(Option::as_ref);
                buffer.map_or_else(|| "no buffer".into(), |buffer| buffer.name().to_owned())
            }
        }
    }

    /// Checks one lane's access of `size` bytes; where they are.
    #[expect(clippy::too_many_arguments, reason = "they say who touches what")]
    #[inline(always)]
    fn check(
        &self,
        stretch: &Stretch,
        thread: u32,
        lane: usize,
        address: u64,
        size: usize,
        touching: Touching,
        verb: &str,
    ) -> Result<usize, Wrong> {
        let offset = (address & ((1 << SHIFT) - 1)) as usize;
        let wrong = |why: String| Wrong { lane: lane as u32, why };
        if offset + size > stretch.size {
            let name = self.buffer_name(address);
            return Err(wrong(format!("it {verb} {size} bytes at {offset} of {name}, which has {}", stretch.size)));
        }
        if !offset.is_multiple_of(size) {
            let name = self.buffer_name(address);
            return Err(wrong(format!("it {verb} {size} bytes at {offset} of {name}, which is no multiple of {size}")));
        }
        if stretch.read_only && !matches!(touching, Touching::Read) {
            return Err(wrong(format!("it {verb} {}, which can only be read", self.buffer_name(address))));
        }
        if self.checks.races
            && stretch.global
            && let Some(Some(buffer)) = self.buffers.get((address >> SHIFT) as usize)
            && let Some((who, what)) = buffer.touch(offset, size, thread, touching)
        {
            let who = other(who, self.grid.threads);
            return Err(wrong(format!(
                "a race: it {verb} {size} bytes at {offset} of {}, which {who} {what} in the same launch",
                buffer.name()
            )));
        }
        Ok(offset)
    }

    fn sectors(&self, addresses: &[u64; 32], mask: u32, size: u64) -> u64 {
        let mut all: Vec<u64> =
            lanes(mask).flat_map(|lane| [addresses[lane] >> 5, (addresses[lane] + size - 1) >> 5]).collect();
        all.sort_unstable();
        all.dedup();
        all.len() as u64
    }

    /// Counts an access and refuses addresses that nobody has written.
    #[inline(always)]
    fn addresses(&self, warp: &Warp, inst: &Inst, access: &Access, mask: u32) -> Result<[u64; 32], Wrong> {
        let unknown = mask & !warp.wides_known[inst.a as usize];
        if unknown != 0 {
            return Err(Wrong {
                lane: unknown.trailing_zeros(),
                why: "its address comes from a value that was never written".into(),
            });
        }
        let base = &warp.wides[inst.a as usize].0;
        Ok(std::array::from_fn(|lane| base[lane].wrapping_add_signed(access.offset)))
    }

    fn count(&self, addresses: &[u64; 32], mask: u32, size: usize, load: bool, work: &mut Work) {
        match (addresses[mask.trailing_zeros() as usize] >> SHIFT) << SHIFT {
            LOCAL_BASE => work.local_accesses += 1,
            SHARED_BASE => work.shared_accesses += 1,
            _ => {
                work.global_accesses += 1;
                let bytes = u64::from(mask.count_ones()) * size as u64;
                let sectors = if self.checks.sectors { self.sectors(addresses, mask, size as u64) } else { 0 };
                if load {
                    work.bytes_loaded += bytes;
                    work.sectors_loaded += sectors;
                } else {
                    work.bytes_stored += bytes;
                    work.sectors_stored += sectors;
                }
            }
        }
    }

    fn load(
        &self,
        warp: &mut Warp,
        shared: &Shared<'_>,
        block: u32,
        inst: &Inst,
        mask: u32,
        work: &mut Work,
    ) -> Result<(), Wrong> {
        let access = &self.kernel.accesses[inst.x as usize];
        let (kind, size) = (access.kind, access.kind.size());
        let total = size * access.registers.len();
        let addresses = self.addresses(warp, inst, access, mask)?;
        self.count(&addresses, mask, total, true, work);
        let mut unknown = 0u32;
        let mut current: Option<(u64, Stretch)> = None;
        for lane in lanes(mask) {
            let address = addresses[lane];
            let index = address >> SHIFT;
            let stretch = match current {
                Some((known, stretch)) if known == index && stretch.global => stretch,
                _ => self
                    .stretch(warp, shared, lane, address, access.space)
                    .map_err(|why| Wrong { lane: lane as u32, why: format!("it reads where it must not: {why}") })?,
            };
            current = Some((index, stretch));
            let thread = block * self.grid.threads + warp.first_thread + lane as u32;
            let offset = self.check(&stretch, thread, lane, address, total, Touching::Read, "reads")?;
            if let Some(marks) = stretch.marks {
                // SAFETY: the access lies in the stretch, and there is a mark for each of its bytes.
                let written = (0..total).all(|i| unsafe { byte(marks.add(offset + i)) } != 0);
                if !written && stretch.global {
                    let name = self.buffer_name(address);
                    let why = format!("it reads {total} bytes at {offset} of {name}, which nobody has written");
                    return Err(Wrong { lane: lane as u32, why });
                }
                unknown |= u32::from(!written) << lane;
            }
            for (i, register) in access.registers.iter().enumerate() {
                // SAFETY: the access lies in the stretch and is aligned.
                let value = widen(kind, unsafe { read(stretch.base.add(offset + i * size), size) });
                if access.wide {
                    warp.wides[*register as usize].0[lane] = value;
                } else {
                    warp.words[*register as usize].0[lane] = value as u32;
                }
            }
        }
        for register in &access.registers {
            let known = if access.wide { &mut warp.wides_known } else { &mut warp.words_known };
            let known = &mut known[*register as usize];
            *known = *known & !mask | mask & !unknown;
        }
        Ok(())
    }

    fn store(
        &self,
        warp: &mut Warp,
        shared: &Shared<'_>,
        block: u32,
        inst: &Inst,
        mask: u32,
        work: &mut Work,
    ) -> Result<(), Wrong> {
        let access = &self.kernel.accesses[inst.x as usize];
        let size = access.kind.size();
        let total = size * access.registers.len();
        let addresses = self.addresses(warp, inst, access, mask)?;
        self.count(&addresses, mask, total, false, work);
        let known: Vec<u32> = access
            .registers
            .iter()
            .map(|register| if access.wide { &warp.wides_known } else { &warp.words_known }[*register as usize])
            .collect();
        let unknown = mask & !known.iter().fold(u32::MAX, |all, known| all & known);
        let mut current: Option<(u64, Stretch)> = None;
        for lane in lanes(mask) {
            let address = addresses[lane];
            let index = address >> SHIFT;
            let stretch = match current {
                Some((known, stretch)) if known == index && stretch.global => stretch,
                _ => self
                    .stretch(warp, shared, lane, address, access.space)
                    .map_err(|why| Wrong { lane: lane as u32, why: format!("it writes where it must not: {why}") })?,
            };
            current = Some((index, stretch));
            let thread = block * self.grid.threads + warp.first_thread + lane as u32;
            let offset = self.check(&stretch, thread, lane, address, total, Touching::Write, "writes")?;
            if stretch.global && unknown >> lane & 1 == 1 {
                let name = self.buffer_name(address);
                let why = format!("it writes a value that was never set to {offset} of {name}");
                return Err(Wrong { lane: lane as u32, why });
            }
            for (i, register) in access.registers.iter().enumerate() {
                let value = if access.wide {
                    warp.wides[*register as usize].0[lane]
                } else {
                    u64::from(warp.words[*register as usize].0[lane])
                };
                // SAFETY: the access lies in the stretch and is aligned.
                unsafe { write(stretch.base.add(offset + i * size), size, value) };
                if let Some(marks) = stretch.marks {
                    let mark = (known[i] >> lane & 1) as u8;
                    for at in offset + i * size..offset + (i + 1) * size {
                        // SAFETY: there is a mark for each byte of the stretch.
                        unsafe { AtomicU8::from_ptr(marks.add(at)).store(mark, Relaxed) };
                    }
                }
            }
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "they say who touches what")]
    fn atomic(
        &self,
        warp: &mut Warp,
        shared: &Shared<'_>,
        block: u32,
        inst: &Inst,
        mask: u32,
        atomic: Atomic,
        kind: Type,
        work: &mut Work,
    ) -> Result<(), Wrong> {
        let access = &self.kernel.accesses[inst.x as usize];
        let (size, wide) = (kind.size(), access.wide);
        let addresses = self.addresses(warp, inst, access, mask)?;
        self.count(&addresses, mask, size, true, work);
        let mut results = [0u64; 32];
        for lane in lanes(mask) {
            let address = addresses[lane];
            let stretch = self
                .stretch(warp, shared, lane, address, access.space)
                .map_err(|why| Wrong { lane: lane as u32, why: format!("it changes what it must not: {why}") })?;
            let thread = block * self.grid.threads + warp.first_thread + lane as u32;
            let offset = self.check(&stretch, thread, lane, address, size, Touching::Atomic, "changes")?;
            if let Some(marks) = stretch.marks {
                // SAFETY: there is a mark for each byte of the stretch.
                let written = (0..size).all(|i| unsafe { byte(marks.add(offset + i)) } != 0);
                if !written {
                    let why = format!("it changes {offset} of {}, which nobody has written", self.buffer_name(address));
                    return Err(Wrong { lane: lane as u32, why });
                }
            }
            let value = |place: u32| match (place, wide) {
                (NONE, _) => 0,
                (place, true) => warp.wides[place as usize].0[lane],
                (place, false) => u64::from(warp.words[place as usize].0[lane]),
            };
            let (b, c) = (value(inst.b), value(inst.c));
            let next = |old: u64| scalar::atomic(atomic, kind, old, b, c);
            // SAFETY: the word lies in the stretch, is aligned, and is only reached through atomics in a launch.
            results[lane] = unsafe {
                let place = stretch.base.add(offset);
                if wide {
                    let word = AtomicU64::from_ptr(place.cast());
                    word.fetch_update(Relaxed, Relaxed, |old| Some(next(old))).unwrap_or_else(|old| old)
                } else {
                    let word = AtomicU32::from_ptr(place.cast());
                    let old = word.fetch_update(Relaxed, Relaxed, |old| Some(next(u64::from(old)) as u32));
                    u64::from(old.unwrap_or_else(|old| old))
                }
            };
        }
        if inst.d != NONE {
            let d = inst.d as usize;
            for lane in lanes(mask) {
                if wide {
                    warp.wides[d].0[lane] = results[lane];
                } else {
                    warp.words[d].0[lane] = results[lane] as u32;
                }
            }
            let known = if wide { &mut warp.wides_known[d] } else { &mut warp.words_known[d] };
            *known |= mask;
        }
        Ok(())
    }
}

/// One mark.
///
/// # Safety
/// It must lie in memory that is only reached through atomics now.
#[inline(always)]
unsafe fn byte(mark: *mut u8) -> u8 {
    // SAFETY: as the caller promises.
    unsafe { AtomicU8::from_ptr(mark).load(Relaxed) }
}

/// A value of 1, 2, 4 or 8 bytes.
///
/// # Safety
/// The place must be aligned and lie in memory that is only reached through atomics now.
#[inline(always)]
unsafe fn read(place: *mut u8, size: usize) -> u64 {
    // SAFETY: as the caller promises.
    unsafe {
        match size {
            1 => u64::from(AtomicU8::from_ptr(place).load(Relaxed)),
            2 => u64::from(AtomicU16::from_ptr(place.cast()).load(Relaxed)),
            4 => u64::from(AtomicU32::from_ptr(place.cast()).load(Relaxed)),
            _ => AtomicU64::from_ptr(place.cast()).load(Relaxed),
        }
    }
}

/// Sets a value of 1, 2, 4 or 8 bytes.
///
/// # Safety
/// As for [`read`].
#[inline(always)]
unsafe fn write(place: *mut u8, size: usize, value: u64) {
    // SAFETY: as the caller promises.
    unsafe {
        match size {
            1 => AtomicU8::from_ptr(place).store(value as u8, Relaxed),
            2 => AtomicU16::from_ptr(place.cast()).store(value as u16, Relaxed),
            4 => AtomicU32::from_ptr(place.cast()).store(value as u32, Relaxed),
            _ => AtomicU64::from_ptr(place.cast()).store(value, Relaxed),
        }
    }
}
