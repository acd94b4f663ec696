//! The memory that kernels see: buffers at addresses that no other thing has, each with its bounds and with what has
//! been written.
//!
//! The upper 24 bits of an address are the number of its buffer, the lower 40 the offset. An address that was computed
//! past a buffer's end never lies in another one, so every access is checked by one comparison.

use crate::lower::Program;
use std::cell::UnsafeCell;

pub(crate) const SHIFT: u32 = 40;
const OFFSET: u64 = (1 << SHIFT) - 1;
const LOCAL: u64 = 1;
const SHARED: u64 = 2;
const MODULE: u64 = 3;
const PARAMETER: u64 = 4;
const FIRST: usize = 5;
pub(crate) const LOCAL_BASE: u64 = LOCAL << SHIFT;
pub(crate) const SHARED_BASE: u64 = SHARED << SHIFT;
pub(crate) const MODULE_BASE: u64 = MODULE << SHIFT;
pub(crate) const PARAMETER_BASE: u64 = PARAMETER << SHIFT;

/// What is looked for beyond bounds, alignment and unwritten values, which always are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checks {
    /// Two threads of a launch that touch the same byte, one of them writing, without atomics.
    pub races: bool,
    /// Sectors of memory that each access touches.
    pub sectors: bool,
}

/// What a kernel did that it must not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kernel}, {place}: {why}")]
pub struct Fault {
    /// The kernel.
    pub kernel: String,
    /// Block, thread, line and instruction.
    pub place: String,
    /// The line of the PTX, counted from 1; 0 where there is none.
    pub line: u32,
    /// The line of the source, where the PTX tells: `file:line`.
    pub cu: Option<String>,
    /// The block.
    pub block: u32,
    /// The thread in its block.
    pub thread: u32,
    /// What it did.
    pub why: String,
}

impl Fault {
    pub(crate) fn host(why: String) -> Self {
        Fault {
            kernel: "the host".into(),
            place: "before or after a launch".into(),
            line: 0,
            cu: None,
            block: 0,
            thread: 0,
            why,
        }
    }
}

/// One buffer.
pub(crate) struct Buffer {
    name: String,
    words: Box<[UnsafeCell<u64>]>,
    size: usize,
    /// One byte for each byte, 1 where something was written; empty if all is.
    written: Box<[UnsafeCell<u8>]>,
    read_only: bool,
    /// For each byte which thread wrote and which read it in this launch; empty unless races are looked for.
    touched: Box<[UnsafeCell<Touch>]>,
}

/// Threads are counted from 1; 0 is nobody.
#[derive(Clone, Copy, Default)]
pub(crate) struct Touch {
    writer: u32,
    reader: u32,
}

const ATOMIC: u32 = u32::MAX;
const SEVERAL: u32 = u32::MAX - 1;

// SAFETY: threads of a launch reach the cells through relaxed atomics (`load` and `store` below); what they race for is
// a fault of the kernel, not of this program.
unsafe impl Sync for Buffer {}

impl Buffer {
    fn new(name: &str, size: usize, written: bool) -> Self {
        let zeros = |count: usize| (0..count).map(|_| UnsafeCell::new(0)).collect();
        let marks = if written { 0 } else { size };
        Buffer {
            name: name.to_owned(),
            words: (0..size.div_ceil(8)).map(|_| UnsafeCell::new(0)).collect(),
            size,
            written: zeros(marks),
            read_only: false,
            touched: Box::new([]),
        }
    }

    pub(crate) fn base(&self) -> *mut u8 {
        self.words.as_ptr().cast_mut().cast()
    }

    pub(crate) fn size(&self) -> usize {
        self.size
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn marks(&self) -> Option<*mut u8> {
        (!self.written.is_empty()).then(|| self.written.as_ptr().cast_mut().cast())
    }

    pub(crate) fn read_only(&self) -> bool {
        self.read_only
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the words are ours alone, initialised, and at least `size` bytes.
        unsafe { std::slice::from_raw_parts_mut(self.base(), self.size) }
    }

    fn mark(&mut self, offset: usize, size: usize) {
        if size == self.size {
            self.written = Box::new([]);
        } else if !self.written.is_empty() {
            self.written[offset..offset + size].iter_mut().for_each(|mark| *mark.get_mut() = 1);
        }
    }

    /// Notes that `thread` touches bytes; who else did, if that is a race.
    pub(crate) fn touch(
        &self,
        offset: usize,
        size: usize,
        thread: u32,
        access: Touching,
    ) -> Option<(u32, &'static str)> {
        let thread = thread + 1;
        for cell in self.touched.get(offset..offset + size)? {
            // SAFETY: a launch that looks for races runs on one thread.
            let touch = unsafe { &mut *cell.get() };
            let foreign = |other: u32| other != 0 && other != thread;
            match access {
                Touching::Read if foreign(touch.writer) => return Some((touch.writer, "written")),
                Touching::Read if foreign(touch.reader) => touch.reader = SEVERAL,
                Touching::Read => touch.reader = thread,
                Touching::Write if foreign(touch.writer) => return Some((touch.writer, "written")),
                Touching::Write if foreign(touch.reader) => return Some((touch.reader, "read")),
                Touching::Write => touch.writer = thread,
                Touching::Atomic if touch.writer != ATOMIC && foreign(touch.writer) => {
                    return Some((touch.writer, "written"));
                }
                Touching::Atomic if foreign(touch.reader) => return Some((touch.reader, "read")),
                Touching::Atomic => touch.writer = ATOMIC,
            }
        }
        None
    }
}

/// How a thread touches memory.
#[derive(Clone, Copy)]
pub(crate) enum Touching {
    Read,
    Write,
    Atomic,
}

/// The other thread of a race, in words.
pub(crate) fn other(thread: u32, block_size: u32) -> String {
    match thread {
        ATOMIC => "an atomic of another thread has".into(),
        SEVERAL => "other threads have".into(),
        thread => format!("thread {} of block {} has", (thread - 1) % block_size, (thread - 1) / block_size),
    }
}

/// All buffers of a device.
pub struct Memory {
    buffers: Vec<Option<Buffer>>,
    free: Vec<usize>,
    pub(crate) checks: Checks,
}

impl Memory {
    /// The memory of a device that has loaded `program`.
    pub fn new(program: &Program) -> Self {
        let mut module = Buffer::new("the module's variables", program.image.len(), true);
        module.bytes().copy_from_slice(&program.image);
        let mut buffers: Vec<Option<Buffer>> = (0..FIRST).map(|_| None).collect();
        buffers[MODULE as usize] = Some(module);
        Memory { buffers, free: Vec::new(), checks: Checks::default() }
    }

    /// What launches look for from now on.
    pub fn check(&mut self, checks: Checks) {
        self.checks = checks;
    }

    /// A new buffer, in which nothing is written yet; its address.
    pub fn allocate(&mut self, name: &str, size: usize) -> u64 {
        self.put(Buffer::new(name, size, false))
    }

    /// A new buffer of zeros; its address.
    pub fn allocate_zeroed(&mut self, name: &str, size: usize) -> u64 {
        self.put(Buffer::new(name, size, true))
    }

    fn put(&mut self, buffer: Buffer) -> u64 {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                self.buffers.push(None);
                self.buffers.len() - 1
            }
        };
        assert!((buffer.size as u64) <= OFFSET && index < 1 << (64 - SHIFT), "no GPU has that much memory");
        self.buffers[index] = Some(buffer);
        (index as u64) << SHIFT
    }

    /// Gives a buffer back.
    ///
    /// # Errors
    /// If there is none at this address.
    pub fn release(&mut self, address: u64) -> Result<(), Fault> {
        let index = (address >> SHIFT) as usize;
        let known = index >= FIRST && address & OFFSET == 0 && self.buffers.get(index).is_some_and(Option::is_some);
        if !known {
            return Err(Fault::host(format!("no buffer begins at {address:#x}")));
        }
        self.buffers[index] = None;
        self.free.push(index);
        Ok(())
    }

    fn reach(&mut self, address: u64, size: usize) -> Result<(&mut Buffer, usize), Fault> {
        let offset = (address & OFFSET) as usize;
        let buffer = self.buffers.get_mut((address >> SHIFT) as usize).and_then(Option::as_mut);
        let buffer = buffer.ok_or_else(|| Fault::host(format!("there is no buffer at {address:#x}")))?;
        match offset.checked_add(size) {
            Some(end) if end <= buffer.size => Ok((buffer, offset)),
            _ => Err(Fault::host(format!(
                "{size} bytes at {offset} are outside of {} ({} bytes)",
                buffer.name, buffer.size
            ))),
        }
    }

    /// Copies bytes to the device.
    ///
    /// # Errors
    /// If they don't lie in one buffer.
    pub fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), Fault> {
        let (buffer, offset) = self.reach(address, bytes.len())?;
        buffer.bytes()[offset..offset + bytes.len()].copy_from_slice(bytes);
        buffer.mark(offset, bytes.len());
        Ok(())
    }

    /// Copies bytes from the device.
    ///
    /// # Errors
    /// If they don't lie in one buffer, or nobody has written them.
    pub fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), Fault> {
        let size = bytes.len();
        let (buffer, offset) = self.reach(address, size)?;
        if !buffer.written.is_empty() {
            let marks = &mut buffer.written[offset..offset + size];
            if let Some(at) = marks.iter_mut().position(|mark| *mark.get_mut() == 0) {
                let name = &buffer.name;
                return Err(Fault::host(format!("byte {} of {name} was never written by a kernel", offset + at)));
            }
        }
        bytes.copy_from_slice(&buffer.bytes()[offset..offset + size]);
        Ok(())
    }

    /// Copies pieces of `bytes.len() / count` bytes, which stand `stride` bytes apart in one buffer.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn read_apart(&mut self, address: u64, stride: usize, count: usize, bytes: &mut [u8]) -> Result<(), Fault> {
        let size = bytes.len() / count.max(1);
        let span = if count == 0 { 0 } else { (count - 1) * stride + size };
        let (buffer, offset) = self.reach(address, span)?;
        if !buffer.written.is_empty() {
            // Rare: arrays over lanes begin as zeros.
            for (i, piece) in bytes.chunks_exact_mut(size.max(1)).enumerate() {
                self.read(address + (i * stride) as u64, piece)?;
            }
            return Ok(());
        }
        let all = &buffer.bytes()[offset..offset + span];
        match size {
            4 => bytes.as_chunks_mut::<4>().0.iter_mut().zip(all.chunks(stride.max(4))).for_each(|(piece, from)| {
                *piece = from[..4].try_into().expect("four bytes");
            }),
            _ => bytes.chunks_exact_mut(size.max(1)).zip(all.chunks(stride.max(1))).for_each(|(piece, from)| {
                piece.copy_from_slice(&from[..size]);
            }),
        }
        Ok(())
    }

    /// The other way round.
    ///
    /// # Errors
    /// As for [`write`](Self::write).
    pub fn write_apart(&mut self, address: u64, stride: usize, count: usize, bytes: &[u8]) -> Result<(), Fault> {
        let size = bytes.len() / count.max(1);
        let span = if count == 0 { 0 } else { (count - 1) * stride + size };
        let (buffer, offset) = self.reach(address, span)?;
        let all = &mut buffer.bytes()[offset..offset + span];
        for (piece, to) in bytes.chunks_exact(size.max(1)).zip(all.chunks_mut(stride.max(1))) {
            to[..size].copy_from_slice(piece);
        }
        if !buffer.written.is_empty() {
            (0..count).for_each(|i| buffer.mark(offset + i * stride, size));
        }
        Ok(())
    }

    /// The buffers as threads of a launch see them, by the upper bits of an address.
    pub(crate) fn begin(&mut self, parameters: &[u8]) -> &[Option<Buffer>] {
        let mut given = Buffer::new("the kernel's parameters", parameters.len(), true);
        given.bytes().copy_from_slice(parameters);
        given.read_only = true;
        self.buffers[PARAMETER as usize] = Some(given);
        if self.checks.races {
            for buffer in self.buffers.iter_mut().flatten() {
                buffer.touched = (0..buffer.size).map(|_| UnsafeCell::new(Touch::default())).collect();
            }
        }
        &self.buffers
    }
}
