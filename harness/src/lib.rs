//! Everything that judges.
