//! How many tokens a text has, from its size alone.
//!
//! Every model cuts text in its own way, so nothing here is a count. Source code has some 2.3 to 3.5 bytes for each
//! token, prose more; the two bounds lie on either side of that.

/// The fewest tokens that are likely: one for four bytes.
pub fn estimate(text: &str) -> u64 {
    (text.len() as u64).div_ceil(4)
}

/// The most tokens that are likely: one for two bytes. For budgets, before anything is sent.
pub fn upper(text: &str) -> u64 {
    (text.len() as u64).div_ceil(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_a_text_lie_between_estimate_and_upper() {
        // 19 bytes; the tokenizers that are public (cl100k, o200k) make 6 or 7 tokens of it.
        let text = "let x = state.vx[0]";
        assert_eq!((estimate(text), upper(text)), (5, 10));
        assert_eq!((estimate(""), upper("")), (0, 0));
        assert!(estimate("é") <= 1, "bytes count, not characters");
    }
}
