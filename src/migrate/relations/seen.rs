//! Which texts have been seen before, in memory that does not grow. Pure.
//!
//! A text that was seen is always known again; one that was not is taken for known now and then, so that what is known is
//! only suspected.

use crate::model::Digest;

/// Bits that are kept: 16 MiB. Of ten million texts one in two hundred is taken for known wrongly.
const BITS: u32 = 1 << 27;
/// Bits of each text.
const EACH: usize = 4;

pub(super) struct Seen(Vec<u64>);

impl Seen {
    pub(super) fn new() -> Self {
        Self(vec![0; (BITS / 64) as usize])
    }

    /// Notes a text of one of several kinds. Its fingerprint, if it may have been noted before.
    pub(super) fn note(&mut self, kind: usize, text: &str) -> Option<u64> {
        let digest = digest(kind, text);
        let mut known = true;
        for four in digest.0[8..].chunks_exact(4).take(EACH) {
            let bit = four.iter().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte)) % BITS;
            let (word, mask) = (&mut self.0[(bit / 64) as usize], 1 << (bit % 64));
            known &= *word & mask != 0;
            *word |= mask;
        }
        known.then(|| short(&digest))
    }
}

/// Eight bytes of a text of this kind.
pub(super) fn fingerprint(kind: usize, text: &str) -> u64 {
    short(&digest(kind, text))
}

fn digest(kind: usize, text: &str) -> Digest {
    Digest::of(format!("{kind} {text}").as_bytes())
}

fn short(digest: &Digest) -> u64 {
    digest.0.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_always_known_and_little_else() {
        let mut seen = Seen::new();
        let wrong = (0..100_000).filter(|n| seen.note(0, &n.to_string()).is_some()).count();
        assert!(wrong < 10, "{wrong}");
        assert!((0..100_000).all(|n| seen.note(0, &n.to_string()) == Some(fingerprint(0, &n.to_string()))));
        assert_eq!(seen.note(1, "7"), None, "of another kind");
    }
}
