//! One instruction after the other, each in all lanes of a warp that are active.

use super::access::Shared;
use super::scalar::{
    convert, extract, half1, half2, insert, max32, max64, min32, min64, number32, permute, wide1, wide2, widen, word1,
    word2,
};
use super::warp::{Warp, expand, lanes};
use super::{End, INSTRUCTIONS_MAX, Machine, Wrong};
use crate::code::*;
use crate::model::Work;

impl Machine<'_> {
    /// The same code, with wider vectors. Rust fuses nothing by itself, whatever the instruction set.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,popcnt,lzcnt,bmi1,bmi2")]
    pub(super) fn run_avx2(
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
    pub(super) fn run_here(
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
