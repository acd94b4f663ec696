//! Frames of `lockstep/1` on a byte stream; the page `docs/protocol.md` is the norm.

use std::io::{self, Read, Write};

/// The first four bytes of every frame.
pub const MAGIC: [u8; 4] = *b"LKS1";
/// Bytes of a frame's header.
pub const HEADER_BYTES: usize = 16;
/// Bytes of a body at most.
pub const BODY_BYTES_MAX: usize = 256 << 20;
/// No grain, in `step_many`.
pub const GRAIN_NONE: u32 = u32::MAX;
/// Steps of a digest window at most.
pub const WINDOW_STEPS_MAX: u32 = 64;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Verb {
    /// Fixes configuration and schemas.
    Hello = 1,
    /// Starts episodes.
    Reset = 2,
    /// Plays tokens.
    StepMany = 3,
    /// Copies lanes out.
    Snapshot = 4,
    /// Copies lanes in.
    Restore = 5,
    /// Sets canonical states.
    Inject = 6,
    /// Reads the draw log, or extends a draw list.
    Draws = 7,
    /// Calls one pure function.
    Probe = 8,
    /// Makes one step and tells what ran.
    Explain = 9,
    /// Ends the side.
    Close = 10,
}

impl Verb {
    /// The verb with this number.
    pub fn numbered(number: u8) -> Option<Self> {
        use Verb::*;
        [Hello, Reset, StepMany, Snapshot, Restore, Inject, Draws, Probe, Explain, Close]
            .into_iter()
            .find(|verb| *verb as u8 == number)
    }

    /// Its name in the page.
    pub fn name(self) -> &'static str {
        use Verb::*;
        match self {
            Hello => "hello",
            Reset => "reset",
            StepMany => "step_many",
            Snapshot => "snapshot",
            Restore => "restore",
            Inject => "inject",
            Draws => "draws",
            Probe => "probe",
            Explain => "explain",
            Close => "close",
        }
    }
}

/// How much of each step a reply carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Mode {
    /// Only digests.
    Digest = 0,
    /// Records, in which a region is a digest.
    Full = 1,
    /// Records with the canonical part in state form.
    State = 2,
}

impl Mode {
    /// The mode with this number.
    pub fn numbered(number: u32) -> Option<Self> {
        match number {
            0 => Some(Mode::Digest),
            1 => Some(Mode::Full),
            2 => Some(Mode::State),
            _ => None,
        }
    }
}

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// Bytes of the body that follows.
    pub size: usize,
    /// Counts requests.
    pub sequence: u32,
    /// The verb's number.
    pub verb: u8,
    /// 0 ok, 1 error.
    pub status: u8,
}

/// A header that no side of this protocol sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadFrame {
    /// It does not begin with `LKS1`; the bytes that came instead.
    Magic([u8; 4]),
    /// The body would be larger than [`BODY_BYTES_MAX`].
    Oversized(u32),
}

impl std::fmt::Display for BadFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BadFrame::Magic(bytes) => write!(f, "a frame begins with {bytes:02x?}, not with LKS1"),
            BadFrame::Oversized(size) => write!(f, "a frame announces {size} bytes, more than {BODY_BYTES_MAX}"),
        }
    }
}

impl FrameHeader {
    /// The header's bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&(self.size as u32).to_le_bytes());
        bytes[8..12].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[12] = self.verb;
        bytes[13] = self.status;
        bytes
    }

    /// Reads a header.
    ///
    /// # Errors
    /// If the magic or the size is wrong.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, BadFrame> {
        let magic: [u8; 4] = bytes[..4].try_into().expect("four bytes");
        if magic != MAGIC {
            return Err(BadFrame::Magic(magic));
        }
        let size = u32::from_le_bytes(bytes[4..8].try_into().expect("four bytes"));
        if size as usize > BODY_BYTES_MAX {
            return Err(BadFrame::Oversized(size));
        }
        let sequence = u32::from_le_bytes(bytes[8..12].try_into().expect("four bytes"));
        Ok(FrameHeader { size: size as usize, sequence, verb: bytes[12], status: bytes[13] })
    }
}

/// Writes one frame.
///
/// # Errors
/// What the stream reports.
pub fn write_frame(stream: &mut impl Write, header: FrameHeader, body: &[u8]) -> io::Result<()> {
    debug_assert_eq!(header.size, body.len());
    stream.write_all(&header.encode())?;
    stream.write_all(body)
}

/// Reads one frame into `body`; `None` at the end of the stream.
///
/// # Errors
/// What the stream reports; a bad header is `InvalidData`.
pub fn read_frame(stream: &mut impl Read, body: &mut Vec<u8>) -> io::Result<Option<FrameHeader>> {
    let mut bytes = [0; HEADER_BYTES];
    let mut filled = 0;
    while filled < HEADER_BYTES {
        match stream.read(&mut bytes[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let header =
        FrameHeader::decode(&bytes).map_err(|bad| io::Error::new(io::ErrorKind::InvalidData, bad.to_string()))?;
    body.resize(header.size, 0);
    stream.read_exact(body)?;
    Ok(Some(header))
}
