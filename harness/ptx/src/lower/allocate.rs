//! Gives registers places: those that are never needed at the same time share one.
//!
//! The text is in single-assignment form, with thousands of registers of which a few dozen are alive at a time. A warp's
//! file then fits into the first-level cache. A lane follows one path, so what is alive on each path is what counts,
//! however the lanes of a warp diverge.

use crate::code::{Access, Class, Fixed, Inst, NONE, Op};

/// Replaces the numbers of registers by places; how many places each file has, and what stands in the fixed ones.
pub(super) fn places(
    code: &mut [Inst],
    accesses: &mut [Access],
    tables: &[Vec<u32>],
    classes: &[Class],
    fixed: &[(u32, Fixed)],
) -> ([u32; 3], Vec<(Class, u32, Fixed)>) {
    let is_fixed: Vec<bool> = {
        let mut marks = vec![false; classes.len()];
        fixed.iter().for_each(|(id, _)| marks[*id as usize] = true);
        marks
    };
    let spans = spans(code, accesses, tables, classes.len());
    let mut order: Vec<u32> = (0..classes.len() as u32).filter(|id| !is_fixed[*id as usize]).collect();
    order.retain(|id| spans[*id as usize].0 != u32::MAX);
    order.sort_by_key(|id| spans[*id as usize].0);
    let mut place = vec![NONE; classes.len()];
    let mut count = [0u32; 3];
    let mut free: [Vec<u32>; 3] = Default::default();
    let mut busy: [Vec<(u32, u32)>; 3] = Default::default();
    for id in order {
        let (first, last) = spans[id as usize];
        let file = classes[id as usize] as usize;
        let over: Vec<u32> = busy[file].iter().filter(|(end, _)| *end < first).map(|(_, place)| *place).collect();
        busy[file].retain(|(end, _)| *end >= first);
        free[file].extend(over);
        let own = free[file].pop().unwrap_or_else(|| {
            count[file] += 1;
            count[file] - 1
        });
        busy[file].push((last, own));
        place[id as usize] = own;
    }
    let fixed = fixed.iter().map(|(id, value)| {
        let class = classes[*id as usize];
        let own = count[class as usize];
        count[class as usize] += 1;
        place[*id as usize] = own;
        (class, own, *value)
    });
    let fixed = fixed.collect();
    let put = |id: &mut u32| {
        if *id != NONE {
            *id = place[*id as usize];
        }
    };
    for inst in code.iter_mut() {
        for id in [&mut inst.d, &mut inst.a, &mut inst.b, &mut inst.c, &mut inst.guard] {
            put(id);
        }
    }
    accesses.iter_mut().flat_map(|access| &mut access.registers).for_each(put);
    (count, fixed)
}

/// For each register the first and the last instruction between which its value may be needed.
fn spans(code: &[Inst], accesses: &[Access], tables: &[Vec<u32>], registers: usize) -> Vec<(u32, u32)> {
    let words = registers.div_ceil(64);
    let starts: Vec<usize> = (0..code.len()).filter(|at| code[*at].op == Op::Block).collect();
    let block_of = |target: u32| starts.binary_search(&(target as usize)).expect("targets are blocks");
    let blocks = starts.len();
    let mut used = vec![vec![0u64; words]; blocks];
    let mut defined = vec![vec![0u64; words]; blocks];
    let mut followers = vec![Vec::new(); blocks];
    for block in 0..blocks {
        let end = starts.get(block + 1).copied().unwrap_or(code.len());
        let mut falls_through = true;
        for inst in &code[starts[block]..end] {
            roles(inst, accesses, |id, is_definition| {
                let (word, bit) = (id as usize / 64, 1 << (id % 64));
                if !is_definition {
                    used[block][word] |= bit & !defined[block][word];
                } else if inst.guard == NONE {
                    defined[block][word] |= bit;
                }
            });
            match inst.op {
                Op::Branch => {
                    followers[block].push(block_of(inst.x));
                    falls_through &= inst.guard != NONE;
                }
                Op::BranchTable => {
                    followers[block].extend(tables[inst.x as usize].iter().map(|target| block_of(*target)));
                    falls_through &= inst.guard != NONE;
                }
                Op::Exit => falls_through &= inst.guard != NONE,
                _ => {}
            }
        }
        if falls_through && block + 1 < blocks {
            followers[block].push(block + 1);
        }
    }
    let mut live_in = used.clone();
    let mut live_out = vec![vec![0u64; words]; blocks];
    let mut changed = true;
    while changed {
        changed = false;
        for block in (0..blocks).rev() {
            for follower in &followers[block] {
                for word in 0..words {
                    live_out[block][word] |= live_in[*follower][word];
                }
            }
            for word in 0..words {
                let into = used[block][word] | live_out[block][word] & !defined[block][word];
                changed |= into != live_in[block][word];
                live_in[block][word] = into;
            }
        }
    }
    let mut spans = vec![(u32::MAX, 0u32); registers];
    let mut touch = |id: usize, at: usize| {
        let span = &mut spans[id];
        *span = (span.0.min(at as u32), span.1.max(at as u32));
    };
    for block in 0..blocks {
        let end = starts.get(block + 1).copied().unwrap_or(code.len());
        for (at, inst) in code[starts[block]..end].iter().enumerate() {
            roles(inst, accesses, |id, _| touch(id as usize, starts[block] + at));
        }
        for id in 0..registers {
            let (word, bit) = (id / 64, 1 << (id % 64));
            if live_in[block][word] & bit != 0 {
                touch(id, starts[block]);
            }
            if live_out[block][word] & bit != 0 {
                touch(id, end - 1);
            }
        }
    }
    spans
}

/// Calls `visit` for each register of an instruction: what it reads first, then what it writes.
fn roles(inst: &Inst, accesses: &[Access], mut visit: impl FnMut(u32, bool)) {
    for id in [inst.guard, inst.a, inst.b, inst.c] {
        if id != NONE {
            visit(id, false);
        }
    }
    if matches!(inst.op, Op::Load | Op::Store) {
        for id in &accesses[inst.x as usize].registers {
            visit(*id, inst.op == Op::Load);
        }
    }
    if inst.d != NONE {
        visit(inst.d, true);
    }
}
