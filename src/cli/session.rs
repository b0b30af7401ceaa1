//! A command's way to its network: the running helper, or one that is started for it.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::api::client::{Client, ClientError};
use crate::api::event_stream::EventStream;
use crate::api::events::EventQuery;
use crate::api::types::NetworkOptions;
use crate::helper::place::{Place, PlaceError, Root};
use crate::helper::start::{Errand, Outcome};

/// Where a command's network is, or would be.
#[derive(Debug, Clone)]
pub(super) struct Session {
    root: Root,
    network: String,
}

/// Why there is no helper to talk to.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    /// The network's directory can't be used.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// A helper could not be run at all.
    #[error("cannot start a helper: {0}")]
    Spawn(io::Error),
    /// It said why.
    #[error("{0}")]
    Refused(String),
    /// It ended without a word.
    #[error("the helper ended before it was ready; see {}", .0.display())]
    Died(PathBuf),
    /// The request itself.
    #[error(transparent)]
    Request(#[from] ClientError),
    /// No network, hence no containers.
    #[error("no such container: {container} (network {network} is not running)")]
    NoContainer {
        /// What was asked for.
        container: String,
        /// Where.
        network: String,
    },
    /// No network, and the command is none that starts one.
    #[error("no network {0} is running; start it with `gangplank up`")]
    NotRunning(String),
}

impl Session {
    /// The network `network` below `root`.
    pub(super) fn new(root: Root, network: &str) -> Self {
        Self {
            root,
            network: network.to_owned(),
        }
    }

    /// Another network of the same user.
    pub(super) fn sibling(&self, network: &str) -> Self {
        Self::new(self.root.clone(), network)
    }

    /// The directory of all networks.
    pub(super) fn root(&self) -> &Root {
        &self.root
    }

    /// The network's name.
    pub(super) fn network(&self) -> &str {
        &self.network
    }

    /// The network's directory.
    pub(super) fn place(&self) -> Place {
        self.root.place(&self.network)
    }

    /// Asks the running helper; an error when there is none.
    pub(super) fn ask<Answer>(
        &self,
        request: impl FnOnce(&Client) -> Result<Answer, ClientError>,
    ) -> Result<Answer, SessionError> {
        request(&self.client()?).map_err(|error| self.explain(error))
    }

    /// Listens to the running helper; an error when there is none.
    pub(super) fn events(&self, query: EventQuery) -> Result<EventStream, SessionError> {
        self.client()?.events(query).map_err(|error| self.explain(error))
    }

    fn explain(&self, error: ClientError) -> SessionError {
        match error {
            ClientError::Unreachable { .. } => SessionError::NotRunning(self.network.clone()),
            ClientError::Broken(_) | ClientError::Refused { .. } | ClientError::Strange(_) => error.into(),
        }
    }

    /// Asks the running helper about a container; without a helper there is no such container.
    pub(super) fn ask_about<Answer>(
        &self,
        container: &str,
        request: impl FnOnce(&Client) -> Result<Answer, ClientError>,
    ) -> Result<Answer, SessionError> {
        let answer = self.ask(request);
        if let Err(SessionError::NotRunning(network)) = answer {
            return Err(SessionError::NoContainer {
                container: container.to_owned(),
                network,
            });
        }
        answer
    }

    /// Asks the running helper, or one that is started with `options` for the purpose.
    ///
    /// A helper that is about to go (its last container has left) counts as gone.
    pub(super) fn ask_or_start<Answer>(
        &self,
        options: &NetworkOptions,
        request: impl Fn(&Client) -> Result<Answer, ClientError>,
    ) -> Result<Answer, SessionError> {
        let client = self.client()?;
        let mut spent = Duration::ZERO;
        loop {
            match request(&client) {
                Err(error) if error.helper_is_gone() && spent < PATIENCE => spent += self.start_or_wait(options)?,
                outcome => return outcome.map_err(SessionError::from),
            }
        }
    }

    /// A client of the network's socket, if whoever may have put it there is us.
    fn client(&self) -> Result<Client, SessionError> {
        self.root.check(&self.network)?;
        Client::new(&self.place().socket()).map_err(SessionError::Spawn)
    }

    /// Starts a helper and waits until it is ready; false when another one has the network.
    pub(super) fn start(&self, options: &NetworkOptions) -> Result<bool, SessionError> {
        match self.run_helper(options)? {
            Outcome::Ready => Ok(true),
            Outcome::AlreadyRunning => Ok(false),
            Outcome::Failed(message) => Err(SessionError::Refused(message)),
        }
    }

    /// Starts a helper, or gives another one time; says what that takes of [`PATIENCE`].
    fn start_or_wait(&self, options: &NetworkOptions) -> Result<Duration, SessionError> {
        if self.start(options)? {
            return Ok(A_START);
        }
        // It is just starting, which takes milliseconds, or ending, which may take seconds.
        sleep(OTHER_HELPER);
        Ok(OTHER_HELPER)
    }

    fn run_helper(&self, options: &NetworkOptions) -> Result<Outcome, SessionError> {
        self.root.make()?;
        let place = self.place();
        place.make()?;
        let log = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(place.log())
            .map_err(|source| PlaceError::Unusable {
                path: place.log(),
                source,
            })?;
        let errand = Errand {
            root: self.root.path().to_owned(),
            network: self.network.clone(),
            options: options.clone(),
        };
        let mut helper = Command::new("/proc/self/exe")
            .arg0("gangplank")
            .args(["helper", &self.network])
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(SessionError::Spawn)?;
        let mut answer = Vec::new();
        if let (Some(mut stdin), Some(mut stdout)) = (helper.stdin.take(), helper.stdout.take()) {
            let body = serde_json::to_vec(&errand).map_err(|error| SessionError::Spawn(error.into()))?;
            stdin.write_all(&body).map_err(SessionError::Spawn)?;
            drop(stdin);
            // The helper closes its end as soon as it is ready, or ends.
            stdout.read_to_end(&mut answer).map_err(SessionError::Spawn)?;
        }
        serde_json::from_slice(&answer).map_err(|_| SessionError::Died(place.log()))
    }
}

/// How long a request goes on finding no helper: a network that ends may take as long as its agent.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long to wait for another command's helper before asking it.
const OTHER_HELPER: Duration = Duration::from_millis(50);

/// What a start counts for: a helper that is gone again each time is started twenty times at most.
const A_START: Duration = Duration::from_millis(500);
