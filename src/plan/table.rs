//! A table of the plan: remembers which keys were asked for, so that all others are mistakes.

use super::reader::{Context, Node, Span, suggest};
use std::{cell::RefCell, collections::BTreeSet, ops::RangeInclusive, time::Duration};
use toml::de::DeTable;

/// A table with its place. Whoever reads it calls [`Table::close`] at the end.
pub(super) struct Table<'r> {
    pub(super) cx: &'r Context<'r>,
    pub(super) span: Span,
    pub(super) label: String,
    map: &'r DeTable<'r>,
    known: RefCell<BTreeSet<String>>,
}

impl<'r> Table<'r> {
    pub(super) fn new(cx: &'r Context<'r>, map: &'r DeTable<'r>, span: Span, label: String) -> Self {
        Self { cx, span, label, map, known: RefCell::default() }
    }

    fn child(&self, key: &str) -> String {
        if self.label.is_empty() { key.into() } else { format!("{}.{key}", self.label) }
    }

    /// The table's name in messages.
    pub(super) fn title(&self) -> String {
        if self.label.is_empty() { "the plan".into() } else { format!("`{}`", self.label) }
    }

    /// The value of this key, if it is there.
    pub(super) fn get(&self, key: &str) -> Option<Node<'r>> {
        self.known.borrow_mut().insert(key.into());
        let value = self.map.get(key)?;
        Some(Node { cx: self.cx, value: value.get_ref(), span: value.span(), label: self.child(key) })
    }

    /// The value of this key, which must be there; `example` shows how to write it.
    pub(super) fn need(&self, key: &str, example: &str) -> Option<Node<'r>> {
        let node = self.get(key);
        if node.is_none() {
            self.cx.fault_if_whole(
                &self.span,
                format!("{} without `{key}`", self.title()),
                format!("`{key} = {example}`"),
            );
        }
        node
    }

    /// The time under this key, or the default.
    pub(super) fn duration(&self, key: &str, default: Duration, within: RangeInclusive<Duration>) -> Duration {
        self.get(key).and_then(|node| node.duration(within)).unwrap_or(default)
    }

    /// The number of bytes under this key, or the default.
    pub(super) fn bytes(&self, key: &str, default: u64, within: RangeInclusive<u64>) -> u64 {
        self.get(key).and_then(|node| node.bytes(within)).unwrap_or(default)
    }

    /// The number under this key, or the default.
    pub(super) fn count(&self, key: &str, default: u32, within: RangeInclusive<u32>) -> u32 {
        self.get(key).and_then(|node| node.count(within)).unwrap_or(default)
    }

    /// True or false under this key, or the default.
    pub(super) fn boolean(&self, key: &str, default: bool) -> bool {
        self.get(key).and_then(|node| node.boolean()).unwrap_or(default)
    }

    /// The word under this key, or the default.
    pub(super) fn one_of<T: Copy>(&self, key: &str, default: T, words: &[(&str, T)]) -> T {
        self.get(key).and_then(|node| node.one_of(words)).unwrap_or(default)
    }

    /// The table under this key, if it is there.
    pub(super) fn table(&self, key: &str) -> Option<Self> {
        self.get(key)?.table()
    }

    /// The tables under this key, written as `[[key]]` or as a list.
    pub(super) fn tables(&self, key: &str) -> Vec<Self> {
        self.get(key).and_then(|node| node.list(Node::table)).unwrap_or_default()
    }

    /// Every entry in the order of the file, with the key's place. The keys are free, so none of them is unknown.
    pub(super) fn entries(&self) -> Vec<(String, Span, Node<'r>)> {
        let mut entries: Vec<_> = self
            .map
            .iter()
            .map(|(key, value)| {
                let name = key.get_ref().to_string();
                self.known.borrow_mut().insert(name.clone());
                let node = Node { cx: self.cx, value: value.get_ref(), span: value.span(), label: self.child(&name) };
                (name, key.span(), node)
            })
            .collect();
        entries.sort_by_key(|(_, span, _)| span.start);
        entries
    }

    /// Done: every key that nobody asked for is a mistake.
    pub(super) fn close(&self) {
        let known = self.known.borrow();
        for key in self.map.keys().filter(|key| !known.contains(key.get_ref().as_ref())) {
            let shown = crate::model::text::clean(key.get_ref(), 60);
            let instead = suggest(key.get_ref(), known.iter().map(String::as_str));
            // In a torn file a key may only seem to stand here; then only one that is like a known one is told.
            if self.cx.is_whole() || !instead.starts_with("one of") {
                self.cx.fault(&key.span(), format!("the unknown key `{shown}` in {}", self.title()), instead);
            }
        }
    }
}
