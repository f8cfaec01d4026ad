//! The keys of batches under way between two dialects. There a page is no stretch of the target, and two pages can have a
//! record in common; the later one waits until the earlier one is through, and then sees what that has done.
//! Must never enter: what a batch does.

use std::{
    collections::{HashSet, hash_map::RandomState},
    hash::BuildHasher as _,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// The keys under way, by their hashes: two keys with one hash only wait for each other.
#[derive(Default)]
pub(super) struct Underway {
    hasher: RandomState,
    keys: Mutex<HashSet<u64>>,
    freed: Notify,
}

/// Keys that are under way until this is dropped.
pub(super) struct Taken<'u> {
    underway: &'u Underway,
    keys: HashSet<u64>,
    /// How many were given.
    count: usize,
}

impl Underway {
    /// Takes these keys, once no other batch has one of them.
    pub(super) async fn take<'k>(&self, keys: impl Iterator<Item = &'k String>) -> Taken<'_> {
        let mut count = 0;
        let keys: HashSet<u64> = keys.inspect(|_| count += 1).map(|key| self.hasher.hash_one(key)).collect();
        loop {
            let freed = self.freed.notified();
            {
                let mut held = self.held();
                if held.is_disjoint(&keys) {
                    held.extend(&keys);
                    return Taken { underway: self, keys, count };
                }
            }
            freed.await;
        }
    }

    fn held(&self) -> MutexGuard<'_, HashSet<u64>> {
        // Nothing in here panics half-way.
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken<'_> {
    /// No key was given twice.
    pub(super) fn is_each_once(&self) -> bool {
        self.keys.len() == self.count
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut held = self.underway.held();
        for key in &self.keys {
            held.remove(key);
        }
        drop(held);
        self.underway.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[tokio::test]
    async fn a_key_is_under_way_once() {
        let underway = Underway::default();
        let keys = |some: &[&str]| some.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
        let first = underway.take(keys(&["a", "b"]).iter()).await;
        assert!(first.is_each_once());
        let other = underway.take(keys(&["c", "c"]).iter()).await;
        assert!(!other.is_each_once());
        let wanted = keys(&["b", "d"]);
        let mut waiting = Box::pin(underway.take(wanted.iter()));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(other);
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(first);
        assert!(waiting.await.is_each_once());
        assert!(underway.held().is_empty());
    }
}
