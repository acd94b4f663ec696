//! Tokens and actions: every u32 is a valid token, so any deletion or change leaves a trace that can be played.

use crate::shape::{ActionKind, Shape};

/// The action of one token. `mask` holds the legal actions of the deciding agent (empty without a mask).
#[inline]
pub fn decode(action: ActionKind, mask: &[u32], token: u32) -> u32 {
    match action {
        ActionKind::Continuous => token.rotate_right(1),
        ActionKind::Discrete { count, extra, .. } if extra > 0 && token >> 31 == 1 => {
            count + (token & 0x7FFF_FFFF) % extra
        }
        ActionKind::Discrete { mask: true, .. } => nth_legal(mask, token),
        ActionKind::Discrete { count, .. } => token % count,
    }
}

/// Decodes the tokens of one step into one action per agent and width; those of waiting agents become 0.
#[inline]
pub(crate) fn decode_step(shape: &Shape, deciders: u32, masks: &[u32], tokens: &[u32], actions: &mut [u32]) {
    if let ([action], [token]) = (&mut *actions, tokens) {
        // One agent with one token: most environments, at every step.
        *action = if deciders & 1 == 1 { decode(shape.action, masks, *token) } else { 0 };
        return;
    }
    let words = shape.mask_words();
    for agent in 0..shape.agents {
        let mask = &masks[agent * words..(agent + 1) * words];
        for i in agent * shape.width..(agent + 1) * shape.width {
            actions[i] = if deciders >> agent & 1 == 1 { decode(shape.action, mask, tokens[i]) } else { 0 };
        }
    }
}

/// The token of a continuous action: 0 is simplest, and every f32 is exact.
pub fn continuous_token(action: f32) -> u32 {
    action.to_bits().rotate_left(1)
}

/// A token that means `action` where `mask` holds the legal actions, if it is legal there.
pub fn discrete_token(mask: &[u32], action: u32) -> Option<u32> {
    if mask.is_empty() {
        return Some(action);
    }
    let (word, bit) = ((action / 32) as usize, action % 32);
    if mask.get(word)? >> bit & 1 == 0 {
        return None;
    }
    Some(mask[..word].iter().map(|word| word.count_ones()).sum::<u32>() + (mask[word] & ((1 << bit) - 1)).count_ones())
}

fn nth_legal(mask: &[u32], token: u32) -> u32 {
    let legal: u32 = mask.iter().map(|word| word.count_ones()).sum();
    if legal == 0 {
        return 0;
    }
    let mut left = token % legal;
    for (i, &word) in mask.iter().enumerate() {
        let ones = word.count_ones();
        if left < ones {
            let mut word = word;
            for _ in 0..left {
                word &= word - 1;
            }
            return i as u32 * 32 + word.trailing_zeros();
        }
        left -= ones;
    }
    unreachable!("left is below the number of set bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASKED: ActionKind = ActionKind::Discrete { count: 40, extra: 2, mask: true };

    #[test]
    fn every_legal_action_has_a_token_that_decodes_to_it() {
        let mask = [0b1010_0110, 0b1000_0001];
        for action in 0..40 {
            let legal = mask[action as usize / 32] >> (action % 32) & 1 == 1;
            match discrete_token(&mask, action) {
                Some(token) => assert!(legal && decode(MASKED, &mask, token) == action),
                None => assert!(!legal),
            }
        }
    }

    #[test]
    fn extras_stand_behind_the_ordinary_actions() {
        assert_eq!(decode(MASKED, &[1, 0], 0x8000_0003), 41);
        assert_eq!(decode(ActionKind::Discrete { count: 3, extra: 0, mask: false }, &[], 0x8000_0003), 0x8000_0003 % 3);
    }

    #[test]
    fn a_continuous_token_keeps_every_bit() {
        for action in [0.0, -0.0, 1.5, -1.0, f32::MIN_POSITIVE / 2.0, f32::MAX] {
            assert_eq!(decode(ActionKind::Continuous, &[], continuous_token(action)), action.to_bits());
        }
        assert_eq!(continuous_token(0.0), 0);
    }
}
