//! `run`, `attach`, `exec` and what ends a container.

use std::error::Error;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::{Failed, collect, complain, in_passing, print};
use crate::api::client::Client;
use crate::api::types::{CreateContainer, Exited, Force, StartContainer};
use crate::cli::args::{Attach, Attachment, Detach, Exec, Logs, Remove, Run, Stop, Wait};
use crate::cli::image::ImageConfig;
use crate::cli::session::Session;
use crate::container::exec::{self, Exec as Entry};
use crate::container::{Helper, Job, RunError, monitor};
use crate::network::name::short_id;
use crate::network::ports::ContainerPorts;

/// `run`: in the foreground the command's exit code, behind `-d` the container's id.
pub(super) fn run(session: &Session, run: &Run) -> Result<ExitCode, Failed> {
    let outcome = reserve_and_run(session, run);
    Ok(outcome.unwrap_or_else(|error| {
        complain(&error);
        ExitCode::from(OUR_FAILURE)
    }))
}

/// `attach`: prints the container's id.
pub(super) fn attach(session: &Session, attach: &Attach) -> Result<ExitCode, Failed> {
    let wish = reservation(attach.create(), &attach.attachment)?;
    // The helper's working directory is another.
    let mut start = attach.start();
    start.netns = start.netns.map(std::path::absolute).transpose()?;
    let created = session.ask_or_start(&in_passing(), |client| client.create(&wish))?;
    let id = created.id;
    if let Err(error) = session.ask(|client| client.start(&id, &start)) {
        // The reservation; it ends with this process in any case.
        let _ = session.ask(|client| client.remove(&id, Force { force: true }));
        return Err(error.into());
    }
    print(short_id(&id))?;
    Ok(ExitCode::SUCCESS)
}

/// `detach`.
pub(super) fn detach(session: &Session, detach: &Detach) -> Result<ExitCode, Failed> {
    session.ask_about(&detach.container, |client| client.detach(&detach.container))?;
    Ok(ExitCode::SUCCESS)
}

/// `exec`: the command's exit code.
pub(super) fn exec(session: &Session, exec: &Exec) -> Result<ExitCode, Failed> {
    let outcome = enter(session, exec);
    Ok(outcome.unwrap_or_else(|error| {
        complain(&error);
        ExitCode::from(OUR_FAILURE)
    }))
}

/// `stop`.
pub(super) fn stop(session: &Session, stop: &Stop) -> Result<ExitCode, Failed> {
    collect(&stop.containers, |name| {
        session.ask_about(name, |client| client.stop(name, stop.request()))?;
        print(name)
    })
}

/// `rm`.
pub(super) fn remove(session: &Session, remove: &Remove) -> Result<ExitCode, Failed> {
    collect(&remove.containers, |name| {
        session.ask_about(name, |client| client.remove(name, Force { force: remove.force }))?;
        print(name)
    })
}

/// `wait`.
pub(super) fn wait(session: &Session, wait: &Wait) -> Result<ExitCode, Failed> {
    collect(&wait.containers, |name| {
        let exited = session.ask_about(name, |client| client.wait(name))?;
        print(exited.code)
    })
}

/// `logs`: what a detached command has written so far, and with `-f` until it ends.
pub(super) fn logs(session: &Session, logs: &Logs) -> Result<ExitCode, Failed> {
    let container = session.ask_about(&logs.container, |client| client.inspect(&logs.container))?;
    let mut log = match File::open(&container.log_path) {
        Ok(log) => log,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Failed::said(format!(
                "container {} has no log: only commands run with -d have",
                logs.container
            )));
        }
        Err(error) => return Err(error.into()),
    };
    let ended = Arc::new(AtomicBool::new(!logs.follow));
    if logs.follow {
        // Not joined: a reader of ours that goes away ends the command, whatever the container does.
        let (ended, session) = (Arc::clone(&ended), session.clone());
        thread::spawn(move || {
            // An error means that the container, or its network, has gone.
            let _ = session.ask(|client| client.wait(&container.id));
            ended.store(true, Ordering::Release);
        });
    }
    loop {
        // Looked at before reading: what was written before the end is read after it.
        let last = ended.load(Ordering::Acquire);
        io::copy(&mut log, &mut io::stdout())?;
        io::stdout().flush()?;
        if last {
            return Ok(ExitCode::SUCCESS);
        }
        thread::sleep(LOG_PERIOD);
    }
}

fn reserve_and_run(session: &Session, run: &Run) -> Result<ExitCode, Failed> {
    let wish = reservation(run.create(), &run.attachment)?;
    let env = wish.env.clone();
    let created = session.ask_or_start(&in_passing(), |client| client.create(&wish))?;
    let mut helper = Monitor {
        socket: session.place().socket(),
        id: created.id.clone(),
    };
    let id = created.id.clone();
    let job = Job {
        created,
        command: run.command.iter().map(OsString::from).collect(),
        env,
        workdir: run.workdir.clone(),
    };
    let outcome = if run.detach {
        monitor::detach(&job, &helper.context()).map(|_| None)
    } else {
        monitor::run(&job, &mut helper).map(Some)
    };
    match outcome {
        Ok(Some(code)) => Ok(ExitCode::from(code)),
        Ok(None) => {
            print(short_id(&id))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            // A command that never began leaves no container behind.
            let _ = session.ask(|client| client.remove(&id, Force { force: true }));
            Ok(failed(&error))
        }
    }
}

/// What was said, with what an image says below it; the reservation ends with this process.
fn reservation(said: CreateContainer, attachment: &Attachment) -> Result<CreateContainer, Failed> {
    let image = attachment.image_config.as_deref().map(ImageConfig::read).transpose();
    let image = image.map_err(Failed::said)?.unwrap_or_default();
    let exposed = image.exposed.iter().map(ContainerPorts::to_string);
    Ok(CreateContainer {
        env: image.env_below(&said.env),
        expose: exposed.chain(said.expose).collect(),
        holder_pid: Some(own_pid()),
        ..said
    })
}

fn enter(session: &Session, exec: &Exec) -> Result<ExitCode, Failed> {
    let container = session.ask_about(&exec.container, |client| client.inspect(&exec.container))?;
    if container.state.pid == 0 {
        return Err(Failed::said(format!(
            "container {} has no process to join",
            exec.container
        )));
    }
    let env = session.ask(|client| client.environment(&exec.container))?;
    let entry = Entry {
        pid: container.state.pid,
        hostname: container.config.hostname,
        command: exec.command.iter().map(OsString::from).collect(),
        env,
        workdir: None,
    };
    Ok(exec::exec(&entry).map_or_else(|error| failed(&error), ExitCode::from))
}

fn failed(error: &RunError) -> ExitCode {
    complain(error);
    ExitCode::from(error.code())
}

fn own_pid() -> i32 {
    std::process::id().cast_signed()
}

/// The monitor's way to the helper.
#[derive(Debug)]
struct Monitor {
    socket: PathBuf,
    id: String,
}

impl Monitor {
    /// What a monitor behind `-d` is told of it; see [`monitor_main`].
    fn context(&self) -> String {
        format!("{}\n{}", self.id, self.socket.display())
    }

    fn of(context: &str) -> Result<Self, Box<dyn Error>> {
        let (id, socket) = context.split_once('\n').ok_or("the monitor was started by hand")?;
        Ok(Self {
            socket: socket.into(),
            id: id.to_owned(),
        })
    }
}

impl Helper for Monitor {
    fn attach(&mut self, pid: i32) -> Result<(), Box<dyn Error>> {
        let start = StartContainer {
            pid: Some(pid),
            netns: None,
        };
        Ok(Client::new(&self.socket)?.start(&self.id, &start)?)
    }

    fn exited(&mut self, code: u8) {
        let told = Client::new(&self.socket)
            .map_err(|error| error.to_string())
            .and_then(|client| {
                client
                    .exited(&self.id, Exited { code: code.into() })
                    .map_err(|error| error.to_string())
            });
        if let Err(error) = told {
            tracing::debug!(error, "the helper has gone before the container");
        }
    }
}

/// The hidden command `monitor`.
pub fn monitor_main() -> ExitCode {
    monitor::detached_main(std::env::args_os().skip(2), Monitor::of).into()
}

/// Exit code of `run` and `exec` for a failure that is not the command's.
pub(in crate::cli) const OUR_FAILURE: u8 = 125;

/// Between two looks at a log that is followed.
const LOG_PERIOD: Duration = Duration::from_millis(50);
