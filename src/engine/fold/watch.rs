//! What watching changes: truth, alerts, metrics, rules, and the progress of lanes and batches.

use crate::{
    engine::view::{ALERTS_KEPT, AlertView, BATCH_POINTS, BATCHES_KEPT, BatchView, RunView, SERIES_POINTS},
    event::EventKind,
    model::{AlertId, BatchId, BatchProgress, BatchState, LaneId, LaneProgress, MetricPoint, Timestamp},
};
use std::{collections::VecDeque, sync::Arc};

impl RunView {
    pub(super) fn apply_watch(&mut self, at: Timestamp, kind: &EventKind) {
        match kind {
            EventKind::TruthChanged { fact } => {
                self.truth_seen.insert(fact.aspect, fact.at);
                self.truth.insert(fact.aspect, fact.clone());
            }
            EventKind::TruthSeen { aspect } => {
                self.truth_seen.insert(*aspect, at);
            }
            EventKind::AlertRaised { id, severity, source, text } => {
                if self.alerts.len() == ALERTS_KEPT {
                    self.alerts.pop_front();
                }
                self.alerts.push_back(Arc::new(AlertView {
                    id: *id,
                    severity: *severity,
                    source: source.clone(),
                    text: text.clone(),
                    at,
                    acknowledged: None,
                    cleared: None,
                }));
            }
            EventKind::AlertAcknowledged { id, by } => {
                self.change_alert(*id, |alert| alert.acknowledged = Some(by.clone()));
            }
            EventKind::AlertCleared { id } => self.change_alert(*id, |alert| alert.cleared = Some(at)),
            EventKind::MetricMeasured { metric, point } => self.metric_measured(metric, *point),
            EventKind::RuleEvaluated { state } => {
                self.rules.insert(state.rule.clone(), state.clone());
            }
            _ => {}
        }
    }

    fn change_alert(&mut self, id: AlertId, change: impl FnOnce(&mut AlertView)) {
        if let Some(alert) = self.alerts.iter_mut().rev().find(|alert| alert.id == id) {
            change(Arc::make_mut(alert));
        }
    }

    fn metric_measured(&mut self, metric: &str, point: MetricPoint) {
        let series = Arc::make_mut(self.series.entry(metric.to_owned()).or_default());
        if series.len() == SERIES_POINTS {
            series.pop_front();
        }
        series.push_back(point);
    }

    pub(super) fn lane_moved(&mut self, progress: &LaneProgress) {
        match self.lanes.iter_mut().find(|lane| lane.lane == progress.lane) {
            Some(lane) => lane.clone_from(progress),
            None => self.lanes.push(progress.clone()),
        }
    }

    /// Lets go of batches that ended well, the oldest first: the ledger has them all.
    fn let_go_of_batches(&mut self) {
        let done = self.batches.iter().filter(|(_, batch)| batch.progress.state == BatchState::Done);
        let oldest: Vec<BatchId> = done.map(|(id, _)| id.clone()).take(BATCHES_KEPT / 10).collect();
        for id in oldest {
            self.batches.remove(&id);
        }
    }

    pub(super) fn batch_moved(&mut self, at: Timestamp, progress: &BatchProgress) {
        if self.batches.len() >= BATCHES_KEPT {
            self.let_go_of_batches();
        }
        let known = self
            .batches
            .entry(progress.batch.clone())
            .or_insert_with(|| Arc::new(BatchView { progress: progress.clone(), rates: VecDeque::new(), moved: at }));
        let batch = Arc::make_mut(known);
        let seconds = at.duration_since(batch.moved).as_secs_f32();
        if seconds > 0.0 && progress.done >= batch.progress.done {
            if batch.rates.len() == BATCH_POINTS {
                batch.rates.pop_front();
            }
            #[expect(clippy::cast_precision_loss, reason = "a sparkline's height")]
            batch.rates.push_back((progress.done - batch.progress.done) as f32 / seconds);
        }
        batch.progress.clone_from(progress);
        batch.moved = at;
    }

    pub(super) fn batches_undone(&mut self, lane: &LaneId, batch: Option<&BatchId>) {
        let of_lane = self.batches.iter_mut().filter(|(_, known)| known.progress.lane == *lane);
        for (_, known) in of_lane.filter(|(id, _)| batch.is_none_or(|batch| batch == *id)) {
            let progress = &mut Arc::make_mut(known).progress;
            *progress = BatchProgress { state: BatchState::Undone, done: 0, failed: 0, bytes: 0, ..progress.clone() };
        }
    }
}
