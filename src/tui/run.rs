//! The console's loop: waits for keys, the engine, signals and its own clock; takes each in with `update`; performs what
//! comes out; draws when something changed, at most ten times a second. Generic over terminal and input, so that tests
//! drive the very same loop.

use super::{
    draw,
    glyphs::Glyphs,
    guard::{self, Guard, IN_SCREEN, Outside},
    model::{Model, Moment},
    pen::Pen,
    reader::{Ask, Reader, Told},
    setup::{Left, Setup, Signal},
    theme::{Depth, Role, Theme},
    update::{Action, Message, update},
};
use crate::{
    engine::{Handle, view::RunView},
    error::{Fault, FaultKind, Result},
    model::Timestamp,
};
use crossterm::event::{Event, EventStream};
use futures::{FutureExt, Stream, StreamExt};
use ratatui::{Terminal, backend::Backend, backend::CrosstermBackend, layout::Size};
use std::{
    io,
    mem::ManuallyDrop,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{broadcast, mpsc};

/// Least time between two frames.
const FRAME: Duration = Duration::from_millis(100);
/// Ages on screen grow this often.
const TICK: Duration = Duration::from_secs(1);

/// What a terminal can do besides showing cells.
pub(crate) trait Manners: Send {
    /// Before the cells of a frame are sent.
    fn frame_begins(&mut self) -> io::Result<()>;
    /// After they were sent.
    fn frame_ends(&mut self) -> io::Result<()>;
    /// Gives the terminal back and stops this process.
    fn suspend(&mut self) -> io::Result<()>;
    /// Takes the terminal again.
    fn resume(&mut self) -> io::Result<()>;
    /// Puts text into the clipboard; false if it is too long.
    fn copy(&mut self, text: &str) -> io::Result<bool>;
}

/// Where messages come from.
pub(crate) struct Ends<I, O, C> {
    /// Keys and what else the terminal says.
    pub(crate) input: I,
    /// Signals and panics.
    pub(crate) outside: O,
    /// The time.
    pub(crate) clock: C,
}

/// Shows the run full screen until a person leaves, or the terminal goes away. The run itself goes on.
///
/// # Errors
/// The terminal could not be taken, or the screen itself broke; in both cases the terminal has been given back and the
/// engine goes on.
pub async fn run(handle: Handle, setup: Setup) -> Result<Left> {
    let fault = |error: io::Error| Fault::new(FaultKind::Internal, "use the terminal").source(error);
    let pen = Pen {
        theme: Theme::choose(setup.theme, Depth::of_terminal()),
        glyphs: Glyphs::choose(setup.glyphs, Glyphs::locale_is_utf8()),
    };
    // Panics wait here until the screen has time for them.
    let (broken_in, broken) = mpsc::channel(16);
    let outside = guard::outside(broken).map_err(fault)?;
    let mut guard = Guard::enter(setup.mouse, broken_in).map_err(fault)?;
    // Never dropped: its drop only shows the cursor, which the guard does, and panics if standard error is gone too.
    let mut terminal = ManuallyDrop::new(Terminal::new(CrosstermBackend::new(io::stdout())).map_err(fault)?);
    let began = Instant::now();
    let clock = move || Moment { wall: Timestamp::now(), mono: began.elapsed() };
    // A stream that ends or fails is a terminal that is gone.
    let input = EventStream::new()
        .map(io::Result::ok)
        .take_while(|event| std::future::ready(event.is_some()))
        .filter_map(std::future::ready);
    let ends = Ends { input, outside, clock };
    let screen = IN_SCREEN.scope((), run_on(&mut terminal, ends, &mut guard, handle, setup, pen));
    let result = AssertUnwindSafe(screen).catch_unwind().await;
    drop(guard);
    let (left, picture) = result
        .map_err(|payload| Fault::new(FaultKind::Internal, "draw the screen").detail(guard::words(payload.as_ref())))?;
    if let Some(picture) = picture {
        use io::Write;
        // The picture is a courtesy; a terminal that cannot take it has lost nothing else.
        let _gone = writeln!(io::stdout(), "{picture}");
    }
    Ok(left)
}

/// The loop. Also returns the last frame as text, if it was asked for. A terminal that takes nothing any more is one
/// that hung up.
pub(crate) async fn run_on<B, I, O, C>(
    terminal: &mut Terminal<B>,
    ends: Ends<I, O, C>,
    manners: &mut dyn Manners,
    handle: Handle,
    setup: Setup,
    pen: Pen,
) -> (Left, Option<String>)
where
    B: Backend,
    B::Error: Send + Sync + 'static,
    I: Stream<Item = Event> + Unpin,
    O: Stream<Item = Outside> + Unpin,
    C: Fn() -> Moment,
{
    drive(terminal, ends, manners, handle, setup, pen).await.unwrap_or_else(|Gone(why)| {
        tracing::error!("the terminal is gone: {why}");
        (Left::HangUp(Signal::Hup), None)
    })
}

/// The terminal takes nothing any more, and what it said.
struct Gone(String);

impl<E: std::error::Error> From<E> for Gone {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

async fn drive<B, I, O, C>(
    terminal: &mut Terminal<B>,
    mut ends: Ends<I, O, C>,
    manners: &mut dyn Manners,
    handle: Handle,
    setup: Setup,
    pen: Pen,
) -> Result<(Left, Option<String>), Gone>
where
    B: Backend,
    B::Error: Send + Sync + 'static,
    I: Stream<Item = Event> + Unpin,
    O: Stream<Item = Outside> + Unpin,
    C: Fn() -> Moment,
{
    let mut views = handle.watch();
    let mut events = handle.subscribe();
    let first = views.borrow_and_update().clone();
    let size = terminal.size()?;
    let reader = setup.reader.clone();
    let mut model = Model::new(setup, pen, first, size, (ends.clock)());
    if model.history.is_empty() {
        handle.opening().iter().for_each(|event| model.remember(Arc::clone(event)));
    }
    // Answers are few: one for each command somebody confirmed.
    let (answer_in, mut answers) = mpsc::channel(64);
    // A page, a record and a file at most are on their way.
    let (told_in, mut told) = mpsc::channel(4);
    let mut screen = Screen { terminal, manners, dirty: true, suspended: false, next: tokio::time::Instant::now() };
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        screen.draw(&model)?;
        let wake = model.next_wake().map(|at| tokio::time::Instant::now() + at.saturating_sub((ends.clock)().mono));
        let due = screen.due().into_iter().chain(wake).min();
        let message = tokio::select! {
            biased;
            Some(word) = ends.outside.next() => match word {
                Outside::HangUp(signal) => return Ok((Left::HangUp(signal), None)),
                Outside::Suspend => { screen.suspend()?; continue }
                Outside::Continued => { screen.resume()?; Message::Continued }
                Outside::Broken(what) => Message::Broken(what),
            },
            event = ends.input.next() => match event {
                Some(event) => taken(&event),
                None => return Ok((Left::HangUp(Signal::Hup), None)),
            },
            Some((ticket, answer)) = answers.recv() => Message::Answer { ticket, answer },
            Some((ask, told)) = told.recv() => Message::Told { ask, told },
            changed = views.changed(), if !model.gone => match changed {
                Ok(()) => Message::View(views.borrow_and_update().clone()),
                Err(_) => Message::EngineGone,
            },
            event = events.recv(), if !model.gone => match event {
                Ok(event) if event.kind.is_decision() => Message::Event(event),
                Ok(_) => continue,
                Err(broadcast::error::RecvError::Lagged(lost)) => {
                    tracing::warn!("the history misses {lost} events; the journal has them");
                    continue;
                }
                // The view's end says the same and is looked at first.
                Err(broadcast::error::RecvError::Closed) => Message::EngineGone,
            },
            _ = tick.tick() => Message::Tick,
            () = at(due) => Message::Tick,
        };
        // Waking up for a frame that is due changes nothing in the model, but ages are drawn with the new time.
        screen.dirty = true;
        for action in update(&mut model, message, (ends.clock)()) {
            match action {
                Action::Leave { left, picture } => return Ok((left, picture.then(|| picture_of(&model)))),
                Action::Order { ticket, command } => {
                    let (handle, by, answers) = (handle.clone(), model.actor.clone(), answer_in.clone());
                    // Not tied to this loop: an order that was given is given, even if the screen is left at once.
                    tokio::spawn(async move {
                        let answer = handle.order(by, command).await;
                        // A closed channel means that the screen was left; the journal has the answer.
                        let _left = answers.send((ticket, answer)).await;
                    });
                }
                Action::Suspend => screen.suspend()?,
                Action::Redraw => screen.clear()?,
                Action::Ask(ask) => ask_beside(reader.clone(), ask, told_in.clone()),
                Action::Copy(text) => {
                    let done = screen.manners.copy(&text)?;
                    let (role, said) = if done { (Role::Ok, "copied") } else { (Role::Warn, "too long to copy") };
                    model.say(role, said);
                }
            }
        }
    }
}

/// Asks beside the frames.
fn ask_beside(reader: Option<Arc<dyn Reader>>, ask: Ask, to: mpsc::Sender<(Ask, Result<Told, String>)>) {
    tokio::spawn(async move {
        let told = match reader {
            Some(reader) => ask.of(reader.as_ref()).await.map_err(|fault| fault.chain()),
            None => Err("it is not at hand here".into()),
        };
        // A closed channel means that the screen was left.
        let _left = to.send((ask, told)).await;
    });
}

async fn at(due: Option<tokio::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

fn taken(event: &Event) -> Message {
    match *event {
        Event::Key(key) => Message::Key(key),
        Event::Paste(_) => Message::Paste,
        Event::Mouse(event) => Message::Mouse(event),
        Event::Resize(width, height) => Message::Resize(Size::new(width, height)),
        Event::FocusGained => Message::Focus(true),
        Event::FocusLost => Message::Focus(false),
    }
}

/// The terminal, and when it is drawn next.
struct Screen<'a, B: Backend> {
    terminal: &'a mut Terminal<B>,
    manners: &'a mut dyn Manners,
    dirty: bool,
    suspended: bool,
    next: tokio::time::Instant,
}

impl<B: Backend> Screen<'_, B>
where
    B::Error: Send + Sync + 'static,
{
    /// When a frame that has to wait may be drawn.
    fn due(&self) -> Option<tokio::time::Instant> {
        (self.dirty && !self.suspended).then_some(self.next)
    }

    fn draw(&mut self, model: &Model) -> Result<(), Gone> {
        let now = tokio::time::Instant::now();
        if !self.dirty || self.suspended || now < self.next {
            return Ok(());
        }
        self.manners.frame_begins()?;
        self.terminal.draw(|frame| draw::draw(model, frame))?;
        self.manners.frame_ends()?;
        self.dirty = false;
        self.next = now + FRAME;
        Ok(())
    }

    fn clear(&mut self) -> Result<(), Gone> {
        if !self.suspended {
            // Not `Terminal::clear`, which asks the terminal for its cursor and fights the input stream for the answer.
            let size = self.terminal.size()?;
            self.terminal.resize(size.into())?;
        }
        self.dirty = true;
        Ok(())
    }

    fn suspend(&mut self) -> Result<(), Gone> {
        self.suspended = true;
        Ok(self.manners.suspend()?)
    }

    fn resume(&mut self) -> Result<(), Gone> {
        self.suspended = false;
        Ok(self.manners.resume()?)
    }
}

/// The board of this run as text, in a terminal of this size: for documents and measurements.
pub fn picture(view: Arc<RunView>, setup: Setup, width: u16, height: u16) -> String {
    let pen = Pen {
        theme: Theme::choose(setup.theme, Depth::None),
        glyphs: Glyphs::choose(setup.glyphs, Glyphs::locale_is_utf8()),
    };
    let moment = Moment { wall: view.at, mono: Duration::ZERO };
    picture_of(&Model::new(setup, pen, view, Size::new(width, height), moment))
}

/// The screen as text, for the scrollback.
fn picture_of(model: &Model) -> String {
    let area = ratatui::layout::Rect::new(0, 0, model.size.width, model.size.height);
    let mut buffer = ratatui::buffer::Buffer::empty(area);
    draw::screen(model, &mut buffer, area);
    text_of(&buffer)
}

/// The buffer's text, line by line, without colours.
pub(crate) fn text_of(buffer: &ratatui::buffer::Buffer) -> String {
    let mut out = String::new();
    for y in buffer.area.y..buffer.area.bottom() {
        let mut line = String::new();
        for x in buffer.area.x..buffer.area.right() {
            line.push_str(buffer[(x, y)].symbol());
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}
