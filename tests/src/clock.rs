//! A wall clock that a test steps under a process, by a library that is loaded before the C library (`clock.c`).

use crate::paths;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A clock of processes that are started with [`SteppedClock::environment`].
#[derive(Debug)]
pub struct SteppedClock {
    directory: TempDir,
}

impl SteppedClock {
    /// One that is right. Takes the C compiler that `make setup` asks for.
    ///
    /// # Panics
    /// When it cannot be built.
    #[must_use]
    pub fn new() -> Self {
        let clock = Self { directory: tempfile::tempdir().expect("a folder") };
        let source = paths::repository().join("tests/src/clock.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(clock.library()).arg(source);
        assert!(compiler.status().is_ok_and(|status| status.success()), "the C compiler builds the clock");
        clock.step(0);
        clock
    }

    /// Sets it so many seconds before the machine's own (negative: behind), at once, for every process.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn step(&self, seconds: i64) {
        // Never half of it.
        let new = self.directory.path().join("new");
        std::fs::write(&new, seconds.to_string()).expect("a file");
        std::fs::rename(new, self.offset()).expect("a file");
    }

    /// What a process is to be started with.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, String); 2] {
        let text = |path: &Path| path.display().to_string();
        [("LD_PRELOAD", text(&self.library())), ("WEIR_CLOCK_OFFSET", text(&self.offset()))]
    }

    fn library(&self) -> PathBuf {
        self.directory.path().join("clock.so")
    }

    fn offset(&self) -> PathBuf {
        self.directory.path().join("offset")
    }
}

impl Default for SteppedClock {
    fn default() -> Self {
        Self::new()
    }
}
