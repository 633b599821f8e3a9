//! Progress of long work: on a terminal a line that moves, elsewhere a line now and then.

use std::io::{IsTerminal, Write, stderr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// No oftener than this.
const PAUSE: Duration = Duration::from_millis(200);

/// Where nobody watches no oftener than this, and not before.
const LOGGED: Duration = Duration::from_secs(30);

/// How far a work of so many parts is.
pub(crate) struct Progress {
    what: String,
    of: u64,
    began: Instant,
    shown: Mutex<Option<Instant>>,
}

impl Progress {
    /// A work that begins now.
    pub(crate) fn new(what: &str, of: u64) -> Self {
        let begun = Self { what: what.to_owned(), of, began: Instant::now(), shown: Mutex::new(None) };
        if stderr().is_terminal() {
            let _ = write!(stderr(), "\r{}: 0 of {of}   ", begun.what);
        }
        begun
    }

    /// So many parts are done.
    pub(crate) fn show(&self, done: u64) {
        let terminal = stderr().is_terminal();
        // Whoever finds it taken has nothing newer to show.
        let Ok(mut shown) = self.shown.try_lock() else { return };
        let (last, pause) = if terminal { (*shown, PAUSE) } else { (Some(shown.unwrap_or(self.began)), LOGGED) };
        if last.is_some_and(|at| at.elapsed() < pause) {
            return;
        }
        *shown = Some(Instant::now());
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let left = self.began.elapsed().as_secs_f64() * (self.of.saturating_sub(done)) as f64 / done.max(1) as f64;
        let mut out = stderr();
        let line = format!("{}: {done} of {}, about {left:.0} s left", self.what, self.of);
        let _ = if terminal { write!(out, "\r{line}   ") } else { writeln!(out, "{line}") };
        let _ = out.flush();
    }

    /// The work is done: the line goes.
    pub(crate) fn end(&self) {
        if stderr().is_terminal() {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}
