//! Words that narrow a list: all must be found; `!word` must not; `=word` must be a whole part (a lane's name, a state).
//! Pure.

use super::overlays::field::{Field, Need};

/// A filter; without words it lets everything through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    text: String,
}

impl Filter {
    pub(crate) fn new(text: &str) -> Self {
        Self { text: text.trim().to_lowercase() }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) const fn is_off(&self) -> bool {
        self.text.is_empty()
    }

    /// Whether a line of these parts is shown.
    pub(crate) fn matches(&self, parts: &[&str]) -> bool {
        self.is_off() || self.text.split_whitespace().all(|word| passes(word, parts))
    }
}

fn passes(word: &str, parts: &[&str]) -> bool {
    let has = |found: &str| parts.iter().any(|part| part.to_lowercase().contains(found));
    match (word.strip_prefix('!'), word.strip_prefix('=')) {
        // Only the sign so far: the word is still being typed.
        (Some(""), _) | (_, Some("")) => true,
        (Some(not), _) => !has(not),
        (_, Some(whole)) => parts.iter().any(|part| part.to_lowercase() == whole),
        _ => has(word),
    }
}

/// What a filter narrows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Narrowed {
    Batches,
    Log,
}

/// A filter that is being typed; it narrows while it grows.
#[derive(Debug, Clone)]
pub(crate) struct Typing {
    pub(crate) what: Narrowed,
    pub(crate) field: Field,
}

impl Typing {
    pub(crate) fn new(what: Narrowed) -> Self {
        Self { what, field: Field::new("/", Need::Nothing) }
    }
}

#[cfg(test)]
mod tests {
    use super::Filter;

    #[test]
    fn all_words_must_fit() {
        let parts = ["files", "files-0007", "FAILED", "500 from r2"];
        let fits = |text| Filter::new(text).matches(&parts);
        assert!(fits("") && fits("failed r2") && fits("=files") && fits("!done") && fits("!") && fits("FILES-0007"));
        assert!(!fits("failed done") && !fits("=file") && !fits("!r2"));
    }
}
