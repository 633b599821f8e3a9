//! A child process that cannot outlive us: its own group, killed on drop and by the kernel when we die; output in a file.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Lines of output shown when a test fails.
const TAIL: usize = 80;

/// A running child and everything it started.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: PathBuf,
    /// Its end was seen, so its id may belong to another by now.
    gone: bool,
}

impl Process {
    /// Starts a command; standard output and error are appended to the file `output`.
    ///
    /// Start it from a thread that lives as long as the child should: the kernel kills the child when that thread ends.
    ///
    /// # Errors
    /// When the file or the process cannot be made; the message names the program.
    pub fn start(name: &str, command: &mut Command, output: &Path) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(output)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).process_group(0);
        die_with_parent(command);
        let child = command.spawn().map_err(|error| {
            io::Error::new(error.kind(), format!("cannot start {}: {error}", command.get_program().display()))
        })?;
        Ok(Self { name: name.to_owned(), child, output: output.to_owned(), gone: false })
    }

    /// What it is called in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id, which is the group's too.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has written so far.
    #[must_use]
    pub fn output(&self) -> String {
        fs::read(&self.output).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The last lines it has written.
    #[must_use]
    pub fn tail(&self) -> String {
        let output = self.output();
        let lines: Vec<&str> = output.lines().collect();
        lines.get(lines.len().saturating_sub(TAIL)..).unwrap_or_default().join("\n")
    }

    /// How it ended, if it has. What it left of its group is killed then.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().ok().flatten();
        if status.is_some() {
            self.signal(libc::SIGKILL);
            self.gone = true;
        }
        status
    }

    /// Asks it to end (SIGTERM), and kills the whole group if it has not within `patience`.
    pub fn terminate(&mut self, patience: Duration) -> Option<ExitStatus> {
        self.signal(libc::SIGTERM);
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.kill();
        None
    }

    /// Kills it and its group (SIGKILL) and waits until it is gone.
    pub fn kill(&mut self) {
        self.signal(libc::SIGKILL);
        let _ = self.child.wait();
        self.gone = true;
    }

    /// Sends a signal to the group.
    pub fn signal(&self, signal: libc::c_int) {
        if self.gone {
            return;
        }
        let Ok(group) = libc::pid_t::try_from(self.child.id()) else { return };
        // SAFETY: a system call on plain integers. The child's id stays its own until its end is seen, after which `gone`
        // keeps us from here.
        #[allow(unsafe_code, reason = "std cannot signal a group")]
        unsafe {
            libc::killpg(group, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- last output of {} ---\n{}\n--- end of {} ---", self.name, self.tail(), self.name);
        }
    }
}

/// Has the kernel kill the child when the starting thread ends, however we die.
fn die_with_parent(command: &mut Command) {
    // SAFETY: between fork and exec only `prctl` is called, which is async-signal-safe and takes plain integers.
    #[allow(unsafe_code, reason = "std cannot set the parent-death signal")]
    unsafe {
        command.pre_exec(|| {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == 0 {
                Ok(())
            } else {
                Err(io::Error::last_os_error())
            }
        });
    }
}

/// Memory of a process that is in RAM (VmRSS), in KiB.
///
/// # Panics
/// When there is no such process.
#[must_use]
pub fn resident_kib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Asserts that a process keeps nothing of events: that it has grown since by less than so many bytes for each of them. A leak of
/// that size, or of a larger one, fails, whatever the process's memory is otherwise.
///
/// # Panics
/// When it has grown by more.
pub fn assert_keeps_nothing(process: u32, before_kib: u64, what: &str, events: u64, bytes_each: u64) {
    let grown = resident_kib(process).saturating_sub(before_kib) << 10;
    assert!(grown < events * bytes_each, "{events} {what} took {grown} bytes, {} each", grown / events);
}

/// Sends a process a signal.
pub fn signal(process: u32, signal: libc::c_int) {
    let process = libc::pid_t::try_from(process).expect("a process id");
    // SAFETY: a system call on plain integers; whose process it is, is the caller's to know.
    #[allow(unsafe_code, reason = "std cannot signal")]
    unsafe {
        libc::kill(process, signal);
    }
}
