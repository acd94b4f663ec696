//! What lanes read, write and change in memory: bounds, alignment, who has written it, and who touches it too.

use super::scalar::{self, widen};
use super::warp::{Warp, lanes};
use super::{Machine, Wrong};
use crate::code::*;
use crate::memory::{LOCAL_BASE, SHARED_BASE, SHIFT, Touching, other};
use crate::model::Work;
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};

/// Shared memory of one block, whose warps take turns.
pub(super) struct Shared<'a> {
    pub(super) words: &'a [UnsafeCell<u64>],
    pub(super) known: &'a [UnsafeCell<u8>],
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

    /// Where one lane's access of `size` bytes lies, once it is seen to be allowed. `last` is the stretch of the lane
    /// before, which is mostly the same one.
    #[expect(clippy::too_many_arguments, reason = "they say who touches what")]
    #[inline(always)]
    fn reach(
        &self,
        warp: &mut Warp,
        shared: &Shared<'_>,
        block: u32,
        lane: usize,
        address: u64,
        size: usize,
        space: Space,
        touching: Touching,
        last: &mut Option<(u64, Stretch)>,
    ) -> Result<(Stretch, usize), Wrong> {
        let verb = match touching {
            Touching::Read => "reads",
            Touching::Write => "writes",
            Touching::Atomic => "changes",
        };
        let wrong = |why: String| Wrong { lane: lane as u32, why };
        let index = address >> SHIFT;
        let stretch = match *last {
            Some((known, stretch)) if known == index && stretch.global => stretch,
            _ => self
                .stretch(warp, shared, lane, address, space)
                .map_err(|why| wrong(format!("it {verb} where it must not: {why}")))?,
        };
        *last = Some((index, stretch));
        let offset = (address & ((1 << SHIFT) - 1)) as usize;
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
        let thread = block * self.grid.threads + warp.first_thread + lane as u32;
        if self.checks.races
            && stretch.global
            && let Some(Some(buffer)) = self.buffers.get(index as usize)
            && let Some((who, what)) = buffer.touch(offset, size, thread, touching)
        {
            let who = other(who, self.grid.threads);
            return Err(wrong(format!(
                "a race: it {verb} {size} bytes at {offset} of {}, which {who} {what} in the same launch",
                buffer.name()
            )));
        }
        Ok((stretch, offset))
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

    pub(super) fn load(
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
        let mut last = None;
        for lane in lanes(mask) {
            let address = addresses[lane];
            let touching = Touching::Read;
            let (stretch, offset) =
                self.reach(warp, shared, block, lane, address, total, access.space, touching, &mut last)?;
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

    pub(super) fn store(
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
        let known = |warp: &Warp, register: u32| {
            let known = if access.wide { &warp.wides_known } else { &warp.words_known };
            known[register as usize]
        };
        let unknown = mask & !access.registers.iter().fold(u32::MAX, |all, register| all & known(warp, *register));
        let mut last = None;
        for lane in lanes(mask) {
            let address = addresses[lane];
            let touching = Touching::Write;
            let (stretch, offset) =
                self.reach(warp, shared, block, lane, address, total, access.space, touching, &mut last)?;
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
                    let mark = (known(warp, *register) >> lane & 1) as u8;
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
    pub(super) fn atomic(
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
        let mut last = None;
        for lane in lanes(mask) {
            let address = addresses[lane];
            let touching = Touching::Atomic;
            let (stretch, offset) =
                self.reach(warp, shared, block, lane, address, size, access.space, touching, &mut last)?;
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
