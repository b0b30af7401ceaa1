//! The end of containers: stopped, killed, dead without a goodbye, released, forgotten.
//!
//! Whoever notices an end first releases what the container held; everybody else waits for that one. What takes time
//! (processes to kill, the agent) is awaited without the lock, so that a container that does not want to end holds up
//! nobody else. The callers run on tasks of their own: a release that was cut short would lose what it had taken.

use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::runtime::Handle;

use super::container::{Held, Link, RunningCommand, listed};
use super::failure::Failure;
use super::lifecycle::find;
use super::supervisor::{KILLED, State, Supervisor};
use super::tell;
use crate::api::events::Event;
use crate::api::types::Status;
use crate::netns::{Watch, inhabitants};
use crate::sys::pidfd::PidFd;
use crate::uplink::cable::End;

impl Supervisor {
    /// The monitor says that the command has ended.
    pub(super) async fn exited(&self, name: &str, code: i32) -> Result<(), Failure> {
        let id = find(&*self.lock().await, name)?.id.clone();
        self.release(&id, code).await;
        Ok(())
    }

    /// Ends a command: SIGTERM, and after `patience` seconds SIGKILL.
    pub(super) async fn stop(&self, name: &str, patience: u64) -> Result<(), Failure> {
        let (id, name, mut ended) = {
            let state = self.lock().await;
            let container = find(&state, name)?;
            if !container.is_ours() {
                return Err(Failure::conflict(format!(
                    "{0} was attached, not run: take it off the network with `gangplank detach {0}`",
                    container.name
                )));
            }
            (
                container.id.clone(),
                container.name.clone(),
                container.ended.subscribe(),
            )
        };
        for (signal, patience) in [
            (Signal::SIGTERM, Duration::from_secs(patience)),
            (Signal::SIGKILL, KILL_PATIENCE),
        ] {
            // One that has no command yet is not waited for.
            if !self.signal(&id, signal).await {
                break;
            }
            // Err(_) inside: forgotten meanwhile, so it has ended.
            if tokio::time::timeout(patience, ended.wait_for(Option::is_some))
                .await
                .is_ok()
            {
                self.tell(Event::container("stop", &id, &name));
                return Ok(());
            }
        }
        self.release(&id, KILLED).await;
        self.tell(Event::container("stop", &id, &name));
        Ok(())
    }

    /// The exit code of a command, once it has ended.
    pub(super) async fn wait(&self, name: &str) -> Result<i32, Failure> {
        let mut ended = find(&*self.lock().await, name)?.ended.subscribe();
        let code = ended.wait_for(Option::is_some).await.map_err(|_| Failure::ending())?;
        Ok(code.unwrap_or(KILLED))
    }

    /// Takes the interface out of a namespace that was attached.
    pub(super) async fn detach(&self, name: &str) -> Result<(), Failure> {
        let id = {
            let state = self.lock().await;
            let container = find(&state, name)?;
            if container.is_ours() {
                return Err(Failure::conflict(format!(
                    "{0} was run here, not attached: end it with `gangplank stop {0}`",
                    container.name
                )));
            }
            container.id.clone()
        };
        self.release(&id, 0).await;
        Ok(())
    }

    /// Forgets a container; one that runs only when forced.
    pub(super) async fn remove(&self, name: &str, force: bool) -> Result<(), Failure> {
        let id = {
            let state = self.lock().await;
            let container = find(&state, name)?;
            if container.state.status != Status::Exited && !force {
                return Err(Failure::conflict(format!(
                    "container {name} is running: stop it first or say rm -f"
                )));
            }
            container.id.clone()
        };
        self.release(&id, KILLED).await;
        self.forget(&mut *self.lock().await, &id);
        Ok(())
    }

    /// Takes everything from a container that it holds: it has ended with `code`, or is about to. Of a command of ours
    /// no process is left afterwards. Returns when it is done, whoever did it.
    pub(super) async fn release(&self, id: &str, code: i32) {
        let held = {
            let mut state = self.lock().await;
            let Some(container) = state.containers.get_mut(id) else {
                return;
            };
            if container.state.status == Status::Exited {
                let mut ended = container.ended.subscribe();
                drop(state);
                // Err(_): forgotten meanwhile.
                let _ = ended.wait_for(Option::is_some).await;
                return;
            }
            let held = container.end(code);
            if held.link.is_some() && container.is_ours() {
                let ran = container.state.finished_at.saturating_sub(container.state.started_at);
                self.tell(
                    tell::of("die", container)
                        .with("exitCode", code)
                        .with("execDuration", ran),
                );
            }
            self.tell_names(&state);
            held
        };
        let Held {
            link,
            lease,
            loopback,
            published,
            stays,
        } = held;
        let ports: Vec<_> = listed(&published).collect();
        let closed = self.close_ports(published).await;
        let was_attached = link.is_some();
        if let Some(link) = link {
            self.unlink(link).await;
        }
        let mut state = self.lock().await;
        if let Some(container) = state.containers.get(id).filter(|_| was_attached) {
            self.tell_ports("unpublish", container, &ports);
            self.tell_linked("unlink", container);
            self.tell(tell::of("detach", container).with("network", &self.name));
        }
        state.books.forget(&closed);
        if let Some(address) = loopback {
            state.loopback.release(address);
        }
        if let Some(lease) = lease {
            state.pool.release(lease.address);
        }
        if let Some(container) = state.containers.get(id) {
            // Nobody may be waiting.
            container.ended.send_replace(Some(code));
        }
        if !stays {
            self.forget(&mut state, id);
        }
    }

    /// Releases a reservation whose process has gone before it was used.
    pub(super) async fn release_unused(&self, id: &str) {
        let unused = self
            .lock()
            .await
            .containers
            .get(id)
            .is_some_and(|container| container.state.status == Status::Created);
        if unused {
            self.release(id, KILLED).await;
            self.forget(&mut *self.lock().await, id);
        }
    }

    /// Releases a container when its process or namespace has gone.
    pub(super) async fn watch(self: Arc<Self>, id: String, watch: Watch, monitor: Option<PidFd>) {
        if let Err(error) = watch.gone().await {
            tracing::error!(%error, id, "the container cannot be watched");
            return;
        }
        if let Some(monitor) = monitor {
            // It knows the exit code and is about to say it, which ends this task, unless it was killed too.
            let _ = tokio::time::timeout(MONITOR_PATIENCE, monitor.ended()).await;
        }
        // Not on this task: release() aborts it.
        tokio::spawn(async move { self.release(&id, KILLED).await });
    }

    /// What a cable's thread calls when an interface of its two has gone under it.
    pub(super) fn release_on_end(self: &Arc<Self>, id: String) -> impl FnOnce(End) + Send + 'static {
        let (supervisor, runtime) = (Arc::downgrade(self), Handle::current());
        move |end| {
            let Some(supervisor) = supervisor.upgrade().filter(|_| end != End::Stopped) else {
                return;
            };
            tracing::info!(?end, id, "the container's interface has gone");
            runtime.spawn(async move { supervisor.release(&id, 0).await });
        }
    }

    /// Signals a container's command; false when it has none.
    async fn signal(&self, id: &str, signal: Signal) -> bool {
        let state = self.lock().await;
        let link = state.containers.get(id).and_then(|container| container.link.as_ref());
        let Some(RunningCommand { process, .. }) = link.and_then(|link| link.command.as_ref()) else {
            return false;
        };
        if let Some(container) = state.containers.get(id) {
            self.tell(tell::of("kill", container).with("signal", signal as i32));
        }
        if let Err(error) = process.send_signal(signal) {
            tracing::debug!(%error, id, "signal not sent: the command has just ended");
        }
        true
    }

    async fn unlink(&self, link: Link) {
        let Link {
            port,
            cable,
            attachments,
            watch,
            command,
            ..
        } = link;
        self.unplug(attachments);
        let pulled = self.pull(port, cable);
        match command {
            // The interface goes with its namespace, and nobody is left there to use it; the kernel takes its time for both,
            // ten milliseconds that no command has to wait for.
            Some(command) => {
                tokio::spawn(pulled);
                kill(command).await;
            }
            None => pulled.await,
        }
        // The watch may be what called us: it ends by itself then, abort or not.
        watch.abort();
    }

    fn forget(&self, state: &mut State, id: &str) {
        if let Some(container) = state.containers.remove(id) {
            self.tell(tell::of("destroy", &container));
            self.tell_names(state);
            // Only a detached command has one.
            let _ = std::fs::remove_file(self.place.container_log(id));
        }
        self.end_if_idle(state);
    }
}

/// Kills a command and whatever it has left running, however it was orphaned.
async fn kill(command: RunningCommand) {
    let RunningCommand { user_namespace, .. } = command;
    let killed = tokio::task::spawn_blocking(move || inhabitants::kill_all(user_namespace)).await;
    if let Ok(Err(error)) = killed {
        tracing::warn!(%error, "a container was not ended whole");
    }
}

/// How long after a command's end its monitor may take to tell the exit code, if it lives: it first kills what the command
/// left running, and the machine may be busy.
const MONITOR_PATIENCE: Duration = Duration::from_secs(5);

/// How long a command that was killed may take to be gone.
const KILL_PATIENCE: Duration = Duration::from_secs(2);
