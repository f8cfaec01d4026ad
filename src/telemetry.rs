//! Logging: where `tracing` goes in each kind of run.
//!
//! Always to `cutover.log` in the run's folder, once that is known; beside it to the console's log pane, or to standard
//! error where that is asked for (`--verbose`, `RUST_LOG`). Other people's libraries never log below a warning here,
//! because their requests and headers may hold credentials.

use crate::error::{Fault, FaultKind, Result};
use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};
use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, Layer, filter::FilterExt as _, filter::filter_fn, fmt::MakeWriter, layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

/// The log's file in a run's folder.
pub const FILE: &str = "cutover.log";
/// From this size on the file is put aside (once) and begun anew.
const LARGEST: u64 = 32 * 1024 * 1024;

/// Where log lines go beside the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    /// The console's log pane.
    Console,
    /// Standard error.
    Stderr,
    /// Nowhere.
    Nothing,
}

/// The log of this process.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Option<Bounded>>>);

/// Starts logging. A second call in one process changes nothing.
#[must_use]
pub fn start(beside: Beside) -> Log {
    let log = Log::default();
    let wanted = || EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let file = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(log.clone())
        .with_filter(wanted().and(filter_fn(is_ours_or_loud)));
    let console = (beside == Beside::Console).then(|| {
        tui_logger::TuiTracingSubscriberLayer.with_filter(EnvFilter::new("info").and(filter_fn(is_ours_or_loud)))
    });
    let stderr = (beside == Beside::Stderr).then(|| {
        tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(io::stderr)
            .with_filter(wanted().and(filter_fn(is_ours_or_loud)))
    });
    let first = tracing_subscriber::registry().with(file).with(console).with(stderr).try_init().is_ok();
    if first && beside == Beside::Console {
        // An error would mean that another logger is there already, and then nothing is lost but the pane's lines.
        let _no_pane = tui_logger::init_logger(tui_logger::LevelFilter::Info);
        tui_logger::set_default_level(tui_logger::LevelFilter::Info);
    }
    log
}

fn is_ours_or_loud(line: &Metadata<'_>) -> bool {
    line.target().starts_with("cutover") || *line.level() <= Level::WARN
}

impl Log {
    /// Writes from now on to the log file in this folder.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn to_folder(&self, folder: &Path) -> Result<()> {
        let path = folder.join(FILE);
        let bounded = Bounded::open(path.clone(), LARGEST).map_err(|error| {
            Fault::new(FaultKind::Disk, format!("open the log {}", path.display())).detail(error.to_string())
        })?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(bounded);
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self::Writer {
        self.clone()
    }
}

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Some(file) = self.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            // A full disk must not disturb the run over a log line.
            let _line_lost = file.write(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that never grows beyond a limit: full, it becomes `.old` and a new one begins.
struct Bounded {
    path: PathBuf,
    file: File,
    size: u64,
    largest: u64,
}

impl Bounded {
    fn open(path: PathBuf, largest: u64) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
        let size = file.metadata()?.len();
        Ok(Self { path, file, size, largest })
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.size + line.len() as u64 > self.largest {
            let mut old = self.path.clone().into_os_string();
            old.push(".old");
            std::fs::rename(&self.path, old)?;
            *self = Self::open(self.path.clone(), self.largest)?;
        }
        self.size += line.len() as u64;
        self.file.write_all(line)
    }
}

#[cfg(test)]
mod tests {
    use super::Bounded;

    #[test]
    fn a_log_stays_within_twice_its_limit_and_keeps_the_newest_lines() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join(super::FILE);
        let mut log = Bounded::open(path.clone(), 100).unwrap();
        for number in 0..50 {
            log.write(format!("line number {number}\n").as_bytes()).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.len() <= 100 && text.ends_with("line number 49\n"), "{text}");
        let old = std::fs::read_to_string(dir.path().join("cutover.log.old")).unwrap();
        assert!(old.len() <= 100, "{old}");
    }
}
