//! The terminal's modes: what was switched on is written down, and undone exactly once, whatever happens.
//!
//! ratatui's own restore knows raw mode and the alternate screen only; paste, focus and mouse modes would stay on after
//! a panic. The panic hook gives the terminal back only if the screen's own task broke; a panic anywhere else raises an
//! alert on the screen instead, since the run is worth more than a tidy backtrace.

use super::{run::Manners, setup::Signal};
use crossterm::{
    clipboard::CopyToClipboard,
    cursor::{Hide, Show},
    event::{DisableBracketedPaste, DisableFocusChange, EnableBracketedPaste, EnableFocusChange},
    execute, queue,
    style::Print,
    terminal::{self, BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen},
};
use std::{
    io::{self, Write},
    panic::PanicHookInfo,
    sync::{Arc, Mutex, Once, PoisonError},
};
use tokio::sync::mpsc;

/// Clicks and wheel in SGR coordinates. crossterm's own switch also asks for every motion of the mouse.
const MOUSE_ON: &str = "\x1b[?1000h\x1b[?1006h";
const MOUSE_OFF: &str = "\x1b[?1006l\x1b[?1000l";
/// The longest text that terminals take by OSC 52, before its base64.
const CLIPBOARD: usize = 74_000 / 4 * 3;

/// A mode of the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Raw,
    Alternate,
    Paste,
    Focus,
    Mouse,
    Cursor,
}

impl Mode {
    fn on(self, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Raw => terminal::enable_raw_mode(),
            Self::Alternate => queue!(out, EnterAlternateScreen),
            Self::Paste => queue!(out, EnableBracketedPaste),
            Self::Focus => queue!(out, EnableFocusChange),
            Self::Mouse => queue!(out, Print(MOUSE_ON)),
            Self::Cursor => queue!(out, Hide),
        }
    }

    fn off(self, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Raw => terminal::disable_raw_mode(),
            // A panic may have come in the middle of a frame.
            Self::Alternate => queue!(out, EndSynchronizedUpdate, LeaveAlternateScreen),
            Self::Paste => queue!(out, DisableBracketedPaste),
            Self::Focus => queue!(out, DisableFocusChange),
            Self::Mouse => queue!(out, Print(MOUSE_OFF)),
            Self::Cursor => queue!(out, Show),
        }
    }
}

/// The modes that are on, in the order they were switched on.
#[derive(Debug, Default)]
pub(crate) struct Switched(Mutex<Vec<Mode>>);

impl Switched {
    fn enter(&self, modes: &[Mode], out: &mut impl Write) -> io::Result<()> {
        for mode in modes {
            mode.on(out)?;
            self.list().push(*mode);
        }
        out.flush()
    }

    /// Undoes everything that is on, the last first; each is tried even if another fails. A second call does nothing.
    fn undo(&self, out: &mut impl Write) -> io::Result<()> {
        let modes = std::mem::take(&mut *self.list());
        let mut result = Ok(());
        for mode in modes.into_iter().rev() {
            result = result.and(mode.off(out));
        }
        result.and(out.flush())
    }

    fn list(&self) -> std::sync::MutexGuard<'_, Vec<Mode>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The screen that is on now, for the panic hook, and where panics of other tasks are told.
struct Screen {
    switched: Arc<Switched>,
    broken: mpsc::Sender<String>,
}

static SCREEN: Mutex<Option<Screen>> = Mutex::new(None);

tokio::task_local! {
    /// Set while the screen's own task runs: a panic then is the screen's.
    pub(crate) static IN_SCREEN: ();
}

/// Holds the terminal; gives it back when dropped.
pub(crate) struct Guard {
    modes: Vec<Mode>,
    switched: Arc<Switched>,
}

impl Guard {
    /// Takes the terminal. `broken` is told about panics of other tasks while the screen is on.
    pub(crate) fn enter(mouse: bool, broken: mpsc::Sender<String>) -> io::Result<Self> {
        hook_once();
        let mut modes = vec![Mode::Raw, Mode::Alternate, Mode::Paste, Mode::Focus, Mode::Cursor];
        if mouse {
            modes.push(Mode::Mouse);
        }
        let switched = Arc::new(Switched::default());
        *SCREEN.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Screen { switched: Arc::clone(&switched), broken });
        let guard = Self { modes, switched };
        guard.switched.enter(&guard.modes, &mut io::stdout())?;
        Ok(guard)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // A terminal that is gone cannot be given back; there is nobody left to tell.
        let _gone = self.switched.undo(&mut io::stdout());
        *SCREEN.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Manners for Guard {
    fn frame_begins(&mut self) -> io::Result<()> {
        queue!(io::stdout(), BeginSynchronizedUpdate)
    }

    fn frame_ends(&mut self) -> io::Result<()> {
        execute!(io::stdout(), EndSynchronizedUpdate)
    }

    fn suspend(&mut self) -> io::Result<()> {
        self.switched.undo(&mut io::stdout())?;
        // The whole group, as the terminal itself would do it, so that a script that started us notices.
        rustix::process::kill_current_process_group(rustix::process::Signal::STOP)?;
        Ok(())
    }

    fn resume(&mut self) -> io::Result<()> {
        self.switched.undo(&mut io::stdout())?;
        self.switched.enter(&self.modes, &mut io::stdout())
    }

    fn copy(&mut self, text: &str) -> io::Result<bool> {
        if text.len() > CLIPBOARD {
            return Ok(false);
        }
        execute!(io::stdout(), CopyToClipboard::to_clipboard_from(text))?;
        Ok(true)
    }
}

/// Puts the hook in front of the one that is there, once for the life of the process: taking it out again could not be
/// done while a panic unwinds.
fn hook_once() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| panicked(info, &before)));
    });
}

fn panicked(info: &PanicHookInfo<'_>, before: &dyn Fn(&PanicHookInfo<'_>)) {
    let mut screen = SCREEN.lock().unwrap_or_else(PoisonError::into_inner);
    match screen.take() {
        None => {
            drop(screen);
            before(info);
        }
        Some(mine) if IN_SCREEN.try_with(|()| ()).is_ok() => {
            drop(screen);
            // Nothing can be done about a terminal that is gone while a panic is under way.
            let _gone = mine.switched.undo(&mut io::stdout());
            before(info);
        }
        Some(mine) => {
            let place = info.location().map_or_else(String::new, |at| format!("{}:{}", at.file(), at.line()));
            let text = format!("{} ({place})", words(info.payload()));
            tracing::error!("a task broke: {text}");
            // Full means that the screen has more than enough of them to show.
            let _full = mine.broken.try_send(text);
            *screen = Some(mine);
        }
    }
}

/// What a panic said.
pub(crate) fn words(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned());
    crate::model::text::clean(&text.unwrap_or_else(|| "it did not say why".into()), 300)
}

/// Columns and rows of the terminal; `None` if there is none.
#[must_use]
pub fn size() -> Option<(usize, usize)> {
    let (cols, rows) = crossterm::terminal::size().ok()?;
    Some((usize::from(cols), usize::from(rows)))
}

/// What the operating system says to the console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outside {
    HangUp(Signal),
    Suspend,
    Continued,
    Broken(String),
}

/// The signals that concern the screen, and the panics of other tasks, as one stream.
pub(crate) fn outside(
    mut broken: mpsc::Receiver<String>,
) -> io::Result<impl futures::Stream<Item = Outside> + Unpin + Send> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hup = signal(SignalKind::hangup())?;
    let mut term = signal(SignalKind::terminate())?;
    let mut stop = signal(SignalKind::from_raw(rustix::process::Signal::TSTP.as_raw()))?;
    let mut cont = signal(SignalKind::from_raw(rustix::process::Signal::CONT.as_raw()))?;
    Ok(Box::pin(futures::stream::poll_fn(move |cx| {
        use std::task::Poll;
        if hup.poll_recv(cx).is_ready() {
            return Poll::Ready(Some(Outside::HangUp(Signal::Hup)));
        }
        if term.poll_recv(cx).is_ready() {
            return Poll::Ready(Some(Outside::HangUp(Signal::Term)));
        }
        if cont.poll_recv(cx).is_ready() {
            return Poll::Ready(Some(Outside::Continued));
        }
        if stop.poll_recv(cx).is_ready() {
            return Poll::Ready(Some(Outside::Suspend));
        }
        match broken.poll_recv(cx) {
            Poll::Ready(Some(text)) => Poll::Ready(Some(Outside::Broken(text))),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    })))
}

#[cfg(test)]
mod tests {
    use super::{Mode, Switched};

    #[test]
    fn each_mode_that_was_switched_on_is_undone_exactly_once() {
        let switched = Switched::default();
        let modes = [Mode::Alternate, Mode::Paste, Mode::Focus, Mode::Cursor, Mode::Mouse];
        let mut out = Vec::new();
        switched.enter(&modes, &mut out).unwrap();
        out.clear();
        switched.undo(&mut out).unwrap();
        switched.undo(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        for off in ["\x1b[?1049l", "\x1b[?2004l", "\x1b[?1004l", "\x1b[?25h", "\x1b[?1000l", "\x1b[?1006l"] {
            assert_eq!(text.matches(off).count(), 1, "{off:?} in {text:?}");
        }
        assert!(text.find("\x1b[?1000l") < text.find("\x1b[?1049l"), "last on, first off");
    }

    #[test]
    fn one_step_that_fails_does_not_keep_the_others_on() {
        struct Broken(Vec<u8>, bool);
        impl std::io::Write for Broken {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                if std::mem::take(&mut self.1) {
                    return Err(std::io::Error::other("gone"));
                }
                self.0.extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let switched = Switched::default();
        switched.enter(&[Mode::Alternate, Mode::Paste], &mut Vec::new()).unwrap();
        let mut out = Broken(Vec::new(), true);
        assert!(switched.undo(&mut out).is_err());
        assert!(String::from_utf8(out.0).unwrap().contains("\x1b[?1049l"));
    }
}
