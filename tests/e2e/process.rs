//! Commands with a time limit, programs in the background, and waiting for something to come true.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::verdict::{Outcome, Trouble, fail};

/// While it lives, what this thread starts runs on one core.
#[derive(Debug)]
pub(crate) struct OneCore {
    before: CpuSet,
}

impl OneCore {
    pub(crate) fn keep() -> Outcome<Self> {
        let myself = Pid::from_raw(0);
        let before = sched_getaffinity(myself)?;
        let core = (0..CpuSet::count()).find(|&core| before.is_set(core).unwrap_or_default());
        let mut one = CpuSet::new();
        one.set(core.unwrap_or_default())?;
        sched_setaffinity(myself, &one)?;
        Ok(Self { before })
    }
}

impl Drop for OneCore {
    fn drop(&mut self) {
        // The cores were ours before.
        let _ = sched_setaffinity(Pid::from_raw(0), &self.before);
    }
}

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Ran {
    /// As it would be typed.
    pub(crate) line: String,
    /// Its exit code, 128+n for a signal.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl Ran {
    /// Its standard output without the last newline, if it succeeded.
    pub(crate) fn ok(self) -> Outcome<String> {
        self.code(0).map(|ran| ran.stdout.trim_end_matches('\n').to_owned())
    }

    /// Itself, if it ended with this code.
    pub(crate) fn code(self, wanted: i32) -> Outcome<Self> {
        if self.code != wanted {
            fail!(
                "`{}` ended with {} instead of {wanted}: {}",
                self.line,
                self.code,
                self.stderr.trim_end()
            );
        }
        Ok(self)
    }

    /// Ends the case as impossible, for this reason, unless it went well.
    pub(crate) fn possible(self, reason: &str) -> Outcome {
        if self.code == 0 {
            return Ok(());
        }
        Err(Trouble::Impossible(format!("{reason}: {}", self.stderr.trim())))
    }

    /// Checks a refusal: exit code 1, nothing on standard output, one line on standard error with all of `parts` in it.
    pub(crate) fn refused(self, parts: &[&str]) -> Outcome {
        let ran = self.code(1)?;
        if !ran.stdout.is_empty() {
            fail!(
                "`{}` was refused but wrote to standard output: {:?}",
                ran.line,
                ran.stdout
            );
        }
        ran.one_line(parts)
    }

    /// Checks that standard error is one line with all of `parts` in it, whatever their case.
    pub(crate) fn one_line(&self, parts: &[&str]) -> Outcome {
        let mut lines = self.stderr.lines();
        let (Some(line), None) = (lines.next(), lines.next()) else {
            fail!("`{}` must say one line, said: {:?}", self.line, self.stderr);
        };
        for part in parts {
            if !line.to_lowercase().contains(&part.to_lowercase()) {
                fail!("`{}` must say {part:?}, said: {line:?}", self.line);
            }
        }
        Ok(())
    }
}

/// Runs a command to its end and prints it with all it says.
pub(crate) fn finish(mut command: Command, limit: Duration) -> Outcome<Ran> {
    let line = typed(&command);
    let start = now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    let status = wait(&mut child, limit)?;
    let took = now() - start;
    let Some(status) = status else {
        child.kill()?;
        child.wait()?;
        fail!("`{line}` has not ended after {limit:?}");
    };
    // A command that leaves a daemon behind must not leave it holding the caller's pipes: `x=$(gangplank …)` would hang.
    let (Ok(stdout), Ok(stderr)) = (stdout.recv_timeout(GRACE), stderr.recv_timeout(GRACE)) else {
        fail!("`{line}` has ended, but something it started still holds its output open");
    };
    let ran = Ran {
        line,
        code: exit_code(status),
        stdout,
        stderr,
        took,
    };
    show(&ran);
    Ok(ran)
}

/// A program in the background, its output in a file; killed when dropped.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    line: String,
    log: PathBuf,
}

impl Program {
    /// Starts it.
    pub(crate) fn start(mut command: Command, log: PathBuf) -> Outcome<Self> {
        let line = typed(&command);
        let output = File::create(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        println!("$ {line} &    [{}, log {}]", child.id(), log.display());
        Ok(Self { child, line, log })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All it has said so far.
    pub(crate) fn output(&self) -> Outcome<String> {
        Ok(String::from_utf8_lossy(&fs::read(&self.log)?).into_owned())
    }

    /// Waits until it has said `text`.
    pub(crate) fn says(&self, text: &str) -> Outcome {
        until(PATIENCE, &format!("`{}` says {text:?}", self.line), || {
            Ok(self.output()?.contains(text))
        })
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) -> Outcome {
        let pid = Pid::from_raw(i32::try_from(self.pid())?);
        Ok(nix::sys::signal::kill(pid, signal)?)
    }

    /// Waits for its end: its exit code.
    pub(crate) fn ends(&mut self, limit: Duration) -> Outcome<i32> {
        match wait(&mut self.child, limit)? {
            Some(status) => Ok(exit_code(status)),
            None => fail!("`{}` has not ended after {limit:?}", self.line),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `condition` holds.
pub(crate) fn until(limit: Duration, what: &str, mut condition: impl FnMut() -> Outcome<bool>) -> Outcome {
    let deadline = now() + limit;
    loop {
        if condition()? {
            return Ok(());
        }
        if now() >= deadline {
            fail!("not within {limit:?}: {what}");
        }
        pause(Duration::from_millis(20));
    }
}

/// Splits a line as a shell does at blanks; 'single quotes' hold a word together.
pub(crate) fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            blank if blank.is_ascii_whitespace() && !quoted => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    words
}

/// The clock.
#[allow(clippy::disallowed_methods, reason = "a test measures real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Lets time go by.
pub(crate) fn pause(time: Duration) {
    thread::sleep(time);
}

fn wait(child: &mut Child, limit: Duration) -> Outcome<Option<ExitStatus>> {
    let deadline = now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if now() >= deadline {
            return Ok(None);
        }
        pause(Duration::from_millis(2));
    }
}

/// Adds it to the transcript, once for each time that something new is said: cases poll.
fn show(ran: &Ran) {
    static LAST: Mutex<String> = Mutex::new(String::new());
    let text = format!("$ {}\n{}{}[{}", ran.line, ran.stdout, ran.stderr, ran.code);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if *last != text {
        println!("{text} after {:.3} s]", ran.took.as_secs_f64());
        *last = text;
    }
}

/// Reads a pipe to its end on a thread of its own.
fn collect(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

/// The command as it would be typed, without the words that change user or namespace.
fn typed(command: &Command) -> String {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let start = words.iter().position(|word| word == "--").map_or(0, |at| at + 1);
    let (before, after) = words.split_at(start);
    let place = before
        .iter()
        .find_map(|word| word.strip_suffix("/outside"))
        .map_or("", |_| "(outside) ");
    format!("{place}{}", after.join(" "))
}

fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// Time for a background program to say what it is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Time for what is promised within a second, on a machine that runs the whole suite meanwhile.
pub(crate) const SOON: Duration = Duration::from_secs(3);
/// Time between a command's end and the end of its output.
const GRACE: Duration = Duration::from_secs(5);
