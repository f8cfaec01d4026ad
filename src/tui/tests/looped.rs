//! The real loop, driven by a stream of keys, with an engine that only answers. Every wait is on a state: the picture
//! of the last frame, or the loop's end.

use super::{code, fixtures, key};
use crate::{
    command::{Command, Refusal},
    engine::{Handle, Receipt, handle::Envelope, view::RunView},
    event::Event as Happened,
    model::{CommandId, RunState},
    tui::{
        glyphs::{GlyphChoice, Glyphs},
        guard::Outside,
        model::Moment,
        pen::Pen,
        run::{Ends, Manners, run_on},
        setup::{Left, Signal},
        theme::{Depth, Theme, ThemeChoice},
    },
};
use crossterm::event::{Event, KeyCode};
use futures::channel::mpsc as stream;
use ratatui::{Terminal, backend::TestBackend};
use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Writes down what the loop asks of the terminal, and says when a frame is out.
#[derive(Clone)]
struct Told {
    calls: Arc<Mutex<Vec<&'static str>>>,
    frames: watch::Sender<u64>,
}

impl Told {
    fn call(&self, what: &'static str) {
        self.calls.lock().unwrap().push(what);
    }
}

impl Manners for Told {
    fn frame_begins(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn frame_ends(&mut self) -> io::Result<()> {
        self.frames.send_modify(|n| *n += 1);
        Ok(())
    }
    fn suspend(&mut self) -> io::Result<()> {
        self.call("suspend");
        Ok(())
    }
    fn resume(&mut self) -> io::Result<()> {
        self.call("resume");
        Ok(())
    }
    fn copy(&mut self, _: &str) -> io::Result<bool> {
        self.call("copy");
        Ok(true)
    }
}

/// The far ends of everything the loop holds.
struct World {
    keys: stream::UnboundedSender<Event>,
    outside: stream::UnboundedSender<Outside>,
    view: watch::Sender<Arc<RunView>>,
    events: broadcast::Sender<Arc<Happened>>,
    orders: mpsc::Receiver<Envelope>,
    told: Told,
    ms: Arc<AtomicU64>,
    left: tokio::task::JoinHandle<(Left, Option<String>)>,
}

fn start(first: RunView) -> World {
    let (order_in, orders) = mpsc::channel(8);
    let (view, views) = watch::channel(Arc::new(first));
    let (events, _) = broadcast::channel(64);
    let stop = Arc::new(Mutex::new(CancellationToken::new()));
    let handle = Handle::new(order_in, stop, views, events.clone(), Vec::new());
    let (keys, input) = stream::unbounded();
    let (outside_in, outside) = stream::unbounded();
    let ms = Arc::new(AtomicU64::new(10_000));
    let told = Told { calls: Arc::default(), frames: watch::channel(0).0 };
    let (clock_ms, mut manners) = (Arc::clone(&ms), told.clone());
    let clock = move || -> Moment { super::moment(clock_ms.load(Ordering::SeqCst)) };
    let left = tokio::spawn(async move {
        let mut terminal = Terminal::new(TestBackend::new(120, 36)).unwrap();
        let pen = Pen {
            theme: Theme::choose(ThemeChoice::Mono, Depth::None),
            glyphs: Glyphs::choose(GlyphChoice::Unicode, true),
        };
        let ends = Ends { input, outside, clock };
        run_on(&mut terminal, ends, &mut manners, handle, fixtures::setup(), pen).await
    });
    World { keys, outside: outside_in, view, events, orders, told, ms, left }
}

impl World {
    /// A key, so long after the last one.
    fn press(&self, key: crossterm::event::KeyEvent, after: u64) {
        self.ms.fetch_add(after, Ordering::SeqCst);
        self.keys.unbounded_send(Event::Key(key)).unwrap();
    }

    /// Waits for the next frame after this call; whatever was sent before has been taken in by then.
    async fn frame(&self) {
        let mut frames = self.told.frames.subscribe();
        frames.mark_unchanged();
        tokio::time::timeout(Duration::from_secs(20), frames.changed()).await.unwrap().unwrap();
    }

    async fn end(self) -> (Left, Option<String>) {
        tokio::time::timeout(Duration::from_secs(20), self.left).await.unwrap().unwrap()
    }
}

#[tokio::test]
async fn a_pause_reaches_the_engine_and_its_answer_the_screen() {
    let mut world = start(fixtures::migrating());
    world.frame().await;
    world.press(key('P'), 200);
    world.frame().await;
    world.press(code(KeyCode::Enter), 800);
    let envelope = tokio::time::timeout(Duration::from_secs(20), world.orders.recv()).await.unwrap().unwrap();
    assert!(matches!(envelope.order.command, Command::Pause { .. }));
    assert_eq!(envelope.order.by, fixtures::ada());
    envelope.reply.send(Ok(Receipt { id: CommandId(42) })).unwrap();
    world.view.send(Arc::new(fixtures::paused())).unwrap();
    world.frame().await;
    world.press(key('Q'), 200);
    let (left, picture) = world.end().await;
    assert_eq!(left, Left::Detached);
    let picture = picture.unwrap();
    assert!(picture.contains("PAUSED: paused by ada"), "{picture}");
}

#[tokio::test]
async fn an_order_given_just_before_leaving_still_arrives() {
    let mut world = start(fixtures::migrating());
    world.frame().await;
    world.press(key('!'), 200);
    world.frame().await;
    for (c, after) in [('S', 900), ('T', 200), ('O', 200), ('P', 200)] {
        world.press(key(c), after);
        world.frame().await;
    }
    world.press(code(KeyCode::Enter), 200);
    world.frame().await;
    world.press(key('q'), 200);
    world.frame().await;
    world.press(code(KeyCode::Enter), 900);
    let mut orders = std::mem::replace(&mut world.orders, mpsc::channel(1).1);
    assert_eq!(world.end().await.0, Left::Detached);
    let envelope = tokio::time::timeout(Duration::from_secs(20), orders.recv()).await.unwrap().unwrap();
    assert!(matches!(envelope.order.command, Command::EmergencyStop { .. }));
    let refused = Refusal { why: "too late".into(), legal_when: String::new() };
    assert!(envelope.reply.send(Err(refused)).is_ok());
}

#[tokio::test]
async fn signals_and_a_terminal_that_is_gone_end_the_loop() {
    for (said, expected) in [
        (Some(Outside::HangUp(Signal::Hup)), Signal::Hup),
        (Some(Outside::HangUp(Signal::Term)), Signal::Term),
        (None, Signal::Hup),
    ] {
        let world = start(fixtures::migrating());
        world.frame().await;
        match said {
            Some(signal) => world.outside.unbounded_send(signal).unwrap(),
            None => world.keys.close_channel(),
        }
        assert_eq!(world.end().await.0, Left::HangUp(expected));
    }
}

#[tokio::test]
async fn suspending_draws_nothing_until_it_goes_on() {
    let world = start(fixtures::paused());
    world.frame().await;
    world.outside.unbounded_send(Outside::Suspend).unwrap();
    world.view.send(Arc::new(fixtures::migrating())).unwrap();
    world.outside.unbounded_send(Outside::Continued).unwrap();
    world.frame().await;
    world.press(key('q'), 900);
    let told = world.told.clone();
    assert_eq!(world.end().await.0, Left::Detached);
    assert_eq!(*told.calls.lock().unwrap(), ["suspend", "resume"]);
}

#[tokio::test]
async fn a_flood_of_events_and_views_starves_neither_keys_nor_frames() {
    let world = start(fixtures::migrating());
    world.frame().await;
    let (view, events) = (world.view.clone(), world.events.clone());
    let flood = tokio::spawn(async move {
        let event = Arc::new(Happened {
            seq: 9,
            at: fixtures::now(),
            kind: crate::event::EventKind::TruthSeen { aspect: crate::model::Aspect::Dns },
        });
        loop {
            for _ in 0..50 {
                // Nobody listens once the loop has ended.
                let _ended = events.send(Arc::clone(&event));
                view.send_replace(Arc::new(fixtures::ready()));
            }
            tokio::task::yield_now().await;
        }
    });
    world.frame().await;
    world.press(key('q'), 200);
    assert_eq!(world.end().await.0, Left::Detached);
    flood.abort();
}

#[tokio::test]
async fn an_engine_that_goes_away_is_said_and_can_be_left() {
    let mut world = start(fixtures::migrating());
    world.frame().await;
    world.orders.close();
    let World { keys, outside, view, events, orders, told, ms, left } = world;
    drop((view, orders));
    let world = World {
        keys,
        outside,
        view: watch::channel(Arc::new(fixtures::ready())).0,
        events,
        orders: mpsc::channel(1).1,
        told,
        ms,
        left,
    };
    world.frame().await;
    world.press(key('Q'), 200);
    let (left, picture) = world.end().await;
    assert_eq!(left, Left::Detached);
    assert!(picture.unwrap().contains("ENGINE GONE"));
}

#[tokio::test]
async fn an_ended_run_is_left_as_ended() {
    let world = start(fixtures::completed());
    assert_eq!(fixtures::completed().state, RunState::Completed);
    world.frame().await;
    world.press(key('q'), 200);
    assert_eq!(world.end().await.0, Left::Ended);
}
