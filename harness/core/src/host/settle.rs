//! Completes the records that kernels leave: fills in digests, and takes out draws and rows.

use crate::backend::Settled;
use crate::records::{DRAW_BYTES, HEAD_STEP};
use crate::shape::Shape;
use crate::wire::Mode;

/// What records look like in one request.
#[derive(Clone, Copy)]
pub(crate) struct Form<'a> {
    pub shape: &'a Shape,
    pub settled: Settled,
    pub mode: Mode,
    pub grain: Option<usize>,
    pub reward_bytes: usize,
}

/// A record whose digests have been filled in.
pub(crate) struct Settle<'a> {
    bytes: &'a [u8],
    regions_at: usize,
    regions_end: usize,
    rows: &'a [u8],
}

impl Form<'_> {
    /// Bytes of one record at most, where a step makes at most `draws_max` draws.
    pub fn record_bytes_max(&self, draws_max: usize) -> usize {
        let shape = self.shape;
        let agent = 4 * shape.mask_words() + shape.observation_bytes + self.reward_bytes;
        let rows = if self.grain.is_some() { 12 } else { 0 };
        8 + draws_max * DRAW_BYTES + rows + shape.record_canonical_bytes() + shape.agents * agent
    }

    /// Takes one record from the front of `rest`, and its rows from the front of `rows`. `regions` are the lane's
    /// canonical ones, as they were after the step.
    pub fn take<'b>(
        &self,
        regions: &[&[u8]],
        rest: &mut &'b mut [u8],
        rows: &mut &'b [u8],
        log: &mut Vec<u8>,
    ) -> Settle<'b> {
        let word = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let is_step = word(rest, 0) & 0xFF == HEAD_STEP;
        let mut at = 8 + word(rest, 4) as usize * DRAW_BYTES;
        log.extend_from_slice(&rest[8..at]);
        let mut own_rows: &[u8] = &[];
        if let Some(grain) = self.grain.filter(|_| is_step) {
            let (head, tail) = rows.split_at(word(rest, at) as usize * self.shape.row_bytes[grain]);
            (own_rows, *rows) = (head, tail);
            rest[at + 4..at + 12].copy_from_slice(&self.settled.digest.of(0, own_rows).to_le_bytes());
            at += 12;
        }
        let regions_at = at + self.shape.canonical_bytes;
        at = regions_at;
        for region in regions {
            rest[at..at + 8].copy_from_slice(&self.settled.digest.of(0, region).to_le_bytes());
            at += 8;
        }
        let regions_end = at;
        let shape = self.shape;
        at += shape.agents * (4 * shape.mask_words() + shape.observation_bytes + self.reward_bytes);
        let bytes = rest.split_off_mut(..at).expect("the source wrote whole records");
        Settle { bytes, regions_at, regions_end, rows: own_rows }
    }

    /// Appends a record in the form that was asked for.
    pub fn emit(&self, regions: &[&[u8]], record: &Settle<'_>, reply: &mut Vec<u8>) {
        let Settle { bytes, regions_at, regions_end, rows } = record;
        if self.mode == Mode::State {
            let from = reply.len();
            reply.extend_from_slice(&[0; 4]);
            reply.extend_from_slice(&bytes[..*regions_at]);
            regions.iter().for_each(|region| reply.extend_from_slice(region));
            reply.extend_from_slice(&bytes[*regions_end..]);
            let size = (reply.len() - from - 4) as u32;
            reply[from..from + 4].copy_from_slice(&size.to_le_bytes());
        } else {
            append_sized(reply, bytes);
        }
        if self.grain.is_some() {
            append_sized(reply, rows);
        }
    }
}

fn append_sized(reply: &mut Vec<u8>, bytes: &[u8]) {
    reply.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    reply.extend_from_slice(bytes);
}
