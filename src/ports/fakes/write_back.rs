//! A legacy table in memory.

use super::Trouble;
use crate::{
    error::{Fault, FaultKind, Result},
    model::RunId,
    ports::{ClearedPage, MigratedFile, WriteBack},
};
use async_trait::async_trait;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What a row was told, and by which run.
pub(crate) type Told = Option<(RunId, MigratedFile)>;

/// A legacy table in memory; its keys are text.
pub(crate) struct FakeTable {
    trouble: Arc<Trouble>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rows: BTreeMap<String, Told>,
    prepared: bool,
    touched: u64,
}

impl FakeTable {
    /// A table with these keys and without our columns.
    pub(crate) fn new(keys: impl IntoIterator<Item = String>, trouble: &Arc<Trouble>) -> Arc<Self> {
        let state = State { rows: keys.into_iter().map(|key| (key, None)).collect(), ..State::default() };
        Arc::new(Self { trouble: Arc::clone(trouble), state: Mutex::new(state) })
    }

    /// All rows by key.
    pub(crate) fn rows(&self) -> BTreeMap<String, Told> {
        self.state().rows.clone()
    }

    /// How often a row was changed.
    pub(crate) fn touched(&self) -> u64 {
        self.state().touched
    }

    /// A user deletes a row.
    pub(crate) fn remove(&self, key: &str) {
        self.state().rows.remove(key);
    }

    /// Another run tells a row.
    pub(crate) fn tell(&self, run: &str, file: MigratedFile) {
        self.state().rows.insert(file.id.clone(), Some((RunId::new(run), file)));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn around<T>(&self, method: &str, work: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        self.trouble.around(&format!("table.{method}"), |_| work(&mut self.state())).await
    }
}

impl State {
    fn missing(&self) -> Vec<String> {
        if self.prepared { Vec::new() } else { vec!["r2_key".into(), "migrated_at".into()] }
    }
}

#[async_trait]
impl WriteBack for FakeTable {
    async fn inspect(&self) -> Result<Vec<String>> {
        self.around("inspect", |state| Ok(state.missing())).await
    }

    async fn prepare(&self) -> Result<Vec<String>> {
        self.around("prepare", |state| {
            let added = state.missing();
            state.prepared = true;
            Ok(added)
        })
        .await
    }

    async fn fill(&self, run: &RunId, files: &[MigratedFile]) -> Result<Vec<String>> {
        self.around("fill", |state| {
            if !state.prepared {
                return Err(Fault::new(FaultKind::NotFound, "fill").detail("not prepared"));
            }
            let mut nowhere = Vec::new();
            for file in files {
                let told = Some((run.clone(), file.clone()));
                match state.rows.get_mut(&file.id) {
                    None => nowhere.push(file.id.clone()),
                    Some(row) if *row == told => {}
                    Some(row) => {
                        *row = told;
                        state.touched += 1;
                    }
                }
            }
            Ok(nowhere)
        })
        .await
    }

    async fn clear(&self, run: &RunId, after: Option<&str>, limit: u32) -> Result<ClearedPage> {
        self.around("clear", |state| {
            let mut page = ClearedPage::default();
            let mut seen = 0;
            for (key, row) in state.rows.iter_mut().filter(|(key, _)| after.is_none_or(|after| key.as_str() > after)) {
                if seen == limit {
                    break;
                }
                seen += 1;
                page.next = Some(key.clone());
                if row.take_if(|(by, _)| by == run).is_some() {
                    page.rows += 1;
                }
            }
            page.next = page.next.filter(|_| seen == limit);
            Ok(page)
        })
        .await
    }
}
