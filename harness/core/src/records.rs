//! The bytes of a record, which are what is compared: head, draws, rows, canonical fields, masks, observations, rewards.

/// Kind of a record made by a step.
pub const HEAD_STEP: u32 = 0;
/// Kind of a record made by a reset.
pub const HEAD_RESET: u32 = 1;
/// Kind of a record made by an injection.
pub const HEAD_INJECT: u32 = 2;
/// The site of a draw whose site is not named.
pub const SITE_UNNAMED: u32 = u32::MAX;

/// The flag of a step that ended its episode by the rules.
pub const TERMINATED: u32 = 1 << 8;
pub(crate) const TRUNCATED: u32 = 1 << 9;
pub(crate) const DRAW_BYTES: usize = 20;

/// Draws of one step, appended straight to the record that they belong to.
pub(crate) struct DrawLog<'a> {
    pub bytes: &'a mut Vec<u8>,
    pub count: u32,
    pub named: bool,
}

impl DrawLog<'_> {
    pub fn push(&mut self, site: u32, bound: u64, value: u64) {
        let site = if self.named { site } else { SITE_UNNAMED };
        self.bytes.extend_from_slice(&site.to_le_bytes());
        self.bytes.extend_from_slice(&bound.to_le_bytes());
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self.count += 1;
    }
}

/// Rows of the grain that was asked for.
pub(crate) struct Rows {
    pub grain: usize,
    pub row_bytes: usize,
    pub bytes: Vec<u8>,
}
