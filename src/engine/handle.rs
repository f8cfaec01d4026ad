//! What a front holds of a running engine: give orders, see the view, follow the events. Fronts see nothing else.

use crate::{
    command::{Command, Order, Refusal},
    engine::view::RunView,
    event::Event,
    model::{Actor, CommandId},
};
use std::sync::Arc;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// The engine took an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The order's number; its further life is in the view's `commands`.
    pub id: CommandId,
}

/// An order on its way to the engine.
pub struct Envelope {
    /// The order.
    pub order: Order,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Result<Receipt, Refusal>>,
}

/// A running engine, as fronts see it. Cheap to clone; the engine goes on when all handles are gone.
#[derive(Clone)]
pub struct Handle {
    orders: mpsc::Sender<Envelope>,
    stop: Arc<std::sync::Mutex<CancellationToken>>,
    view: watch::Receiver<Arc<RunView>>,
    events: broadcast::Sender<Arc<Event>>,
    opening: Arc<[Arc<Event>]>,
}

impl Handle {
    /// A handle over these ends; `stop` is the token that cuts every writer of the work under way, replaced by the
    /// engine when a stopped run goes on; `opening` are the decisions by which the engine began.
    #[must_use]
    pub fn new(
        orders: mpsc::Sender<Envelope>,
        stop: Arc<std::sync::Mutex<CancellationToken>>,
        view: watch::Receiver<Arc<RunView>>,
        events: broadcast::Sender<Arc<Event>>,
        opening: Vec<Arc<Event>>,
    ) -> Self {
        Self { orders, stop, view, events, opening: opening.into() }
    }

    /// Gives an order and waits for the engine's word on whether it is taken (not for its effect). An emergency stop
    /// cuts the writers before it even queues: it works when the engine is flooded.
    ///
    /// # Errors
    /// The engine's refusal, or that the engine is gone.
    pub async fn order(&self, by: Actor, command: Command) -> Result<Receipt, Refusal> {
        if matches!(command, Command::EmergencyStop { .. }) && self.view().committed.is_none() {
            let token = self.stop.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
            token.cancel();
        }
        let gone = || Refusal { why: "the engine has ended".into(), legal_when: String::new() };
        let (reply, answer) = oneshot::channel();
        self.orders.send(Envelope { order: Order { by, command }, reply }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// The run as it is now.
    #[must_use]
    pub fn view(&self) -> Arc<RunView> {
        self.view.borrow().clone()
    }

    /// The view's changes; at most 20 a second.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<RunView>> {
        self.view.clone()
    }

    /// The decisions by which this engine began, which happened before anybody could subscribe.
    #[must_use]
    pub fn opening(&self) -> &[Arc<Event>] {
        &self.opening
    }

    /// All events from now on. A reader that falls behind by more than the channel's room is told how many it lost and
    /// reads the view instead.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Event>> {
        self.events.subscribe()
    }
}
