//! The commands' side of the API: one request a connection, blocking; [`Client::events`] alone goes on.

use std::io;
use std::path::{Path, PathBuf};

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

use super::event_stream::EventStream;
use super::events::EventQuery;
use super::inspect::Inspect;
use super::types::{
    Bridge, ContainerSummary, CreateContainer, Created, Exited, Force, Network, NetworkUpdate, PortMapping, PortSpecs,
    Problem, StartContainer, Stop,
};

/// A helper, by its socket.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    /// Of this thread alone: a command that forks must have no others.
    runtime: Runtime,
}

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error("the network's helper does not answer at {}: {source}", socket.display())]
    Unreachable {
        /// Where it was looked for.
        socket: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It went away in the middle of its answer.
    #[error("the network's helper went away in the middle of its answer: {0}")]
    Broken(hyper::Error),
    /// The helper said no.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// One line that says what to do.
        message: String,
    },
    /// The answer is not one of this version's.
    #[error("the network's helper speaks another version ({0}); end it with `gangplank down --force`")]
    Strange(String),
}

impl Client {
    /// A client of the helper at `socket`; connects with each request.
    pub fn new(socket: &Path) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self {
            socket: socket.to_owned(),
            runtime,
        })
    }

    /// The network.
    pub fn network(&self) -> Result<Network, ClientError> {
        self.get("/network")
    }

    /// Makes a network that was started in passing stay until `down`.
    pub fn keep(&self) -> Result<(), ClientError> {
        self.post("/network/keep", &())
    }

    /// Changes the network while it runs.
    pub fn update(&self, update: NetworkUpdate) -> Result<(), ClientError> {
        self.post("/network/update", &update)
    }

    /// Ends the network.
    pub fn down(&self, force: Force) -> Result<(), ClientError> {
        self.post("/network/down", &force)
    }

    /// The bridge and its ports.
    pub fn bridge(&self) -> Result<Bridge, ClientError> {
        self.get("/bridge")
    }

    /// Containers, those that have ended too with `all`.
    pub fn containers(&self, all: bool) -> Result<Vec<ContainerSummary>, ClientError> {
        self.get(&format!("/containers?all={all}"))
    }

    /// Reserves a container.
    pub fn create(&self, container: &CreateContainer) -> Result<Created, ClientError> {
        self.post("/containers", container)
    }

    /// Gives a reserved container its interface.
    pub fn start(&self, id: &str, start: &StartContainer) -> Result<(), ClientError> {
        self.post(&format!("/containers/{}/start", escape(id)), start)
    }

    /// Says that a container's command has ended.
    pub fn exited(&self, id: &str, exited: Exited) -> Result<(), ClientError> {
        self.post(&format!("/containers/{}/exited", escape(id)), &exited)
    }

    /// Everything about a container.
    pub fn inspect(&self, name: &str) -> Result<Inspect, ClientError> {
        self.get(&format!("/containers/{}", escape(name)))
    }

    /// The variables that a command in a container is given besides ours, `K=V` each.
    pub fn environment(&self, name: &str) -> Result<Vec<String>, ClientError> {
        self.get(&format!("/containers/{}/environment", escape(name)))
    }

    /// Ends a container's command.
    pub fn stop(&self, name: &str, stop: Stop) -> Result<(), ClientError> {
        self.post(&format!("/containers/{}/stop", escape(name)), &stop)
    }

    /// Waits for a container's command to end.
    pub fn wait(&self, name: &str) -> Result<Exited, ClientError> {
        self.post(&format!("/containers/{}/wait", escape(name)), &())
    }

    /// Takes the interface out of an attached namespace.
    pub fn detach(&self, name: &str) -> Result<(), ClientError> {
        self.post(&format!("/containers/{}/detach", escape(name)), &())
    }

    /// Forgets a container.
    pub fn remove(&self, name: &str, force: Force) -> Result<(), ClientError> {
        self.post(&format!("/containers/{}/remove", escape(name)), &force)
    }

    /// A container's ports.
    pub fn ports(&self, name: &str) -> Result<Vec<PortMapping>, ClientError> {
        self.get(&format!("/containers/{}/ports", escape(name)))
    }

    /// Publishes ports of a running container; gives back what was bound.
    pub fn publish(&self, name: &str, specs: &PortSpecs) -> Result<Vec<PortMapping>, ClientError> {
        self.post(&format!("/containers/{}/publish", escape(name)), specs)
    }

    /// Takes published ports back.
    pub fn unpublish(&self, name: &str, specs: &PortSpecs) -> Result<(), ClientError> {
        self.post(&format!("/containers/{}/unpublish", escape(name)), specs)
    }

    /// What happens from now on, or has happened since; connects at once and then lasts.
    pub fn events(self, query: EventQuery) -> Result<EventStream, ClientError> {
        let moments = [("since", query.since), ("until", query.until)];
        let said = moments
            .iter()
            .filter_map(|(name, nanos)| Some(format!("{name}={}", (*nanos)?)));
        let path = format!("/events?{}", said.collect::<Vec<_>>().join("&"));
        let request = request(Method::GET, &path, Bytes::new())?;
        let body = self.runtime.block_on(async {
            let (mut sender, connection) = self.connect().await?;
            // Ends with the body.
            tokio::spawn(connection);
            let response = sender.send_request(request).await.map_err(ClientError::Broken)?;
            let status = response.status();
            if status.is_success() {
                return Ok(response.into_body());
            }
            let body = response.into_body().collect().await.map_err(ClientError::Broken)?;
            Err(refused(status, &body.to_bytes()))
        })?;
        Ok(EventStream::new(self.runtime, body))
    }

    fn get<Answer: DeserializeOwned>(&self, path: &str) -> Result<Answer, ClientError> {
        self.request(Method::GET, path, Bytes::new())
    }

    fn post<Answer: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<Answer, ClientError> {
        let body = serde_json::to_vec(body).map_err(strange)?;
        self.request(Method::POST, path, body.into())
    }

    fn request<Answer: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Answer, ClientError> {
        let request = request(method, path, body)?;
        let (status, body) = self.runtime.block_on(self.exchange(request))?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(strange);
        }
        Err(refused(status, &body))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), ClientError> {
        let (mut sender, connection) = self.connect().await?;
        let talk = async move {
            let response = sender.send_request(request).await?;
            let status = response.status();
            Ok((status, response.into_body().collect().await?.to_bytes()))
        };
        // With the answer the sender goes, and with the sender the connection; an error there is an error of `talk` too.
        let (outcome, _) = tokio::join!(talk, connection);
        outcome.map_err(ClientError::Broken)
    }

    async fn connect(&self) -> Result<(Sender, Connection), ClientError> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|source| self.unreachable(source))?;
        http1::handshake(TokioIo::new(stream))
            .await
            .map_err(ClientError::Broken)
    }

    fn unreachable(&self, source: io::Error) -> ClientError {
        ClientError::Unreachable {
            socket: self.socket.clone(),
            source,
        }
    }
}

impl ClientError {
    /// Whether the helper has gone, so that another may be started and asked again.
    pub fn helper_is_gone(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Broken(_) => true,
            Self::Refused { status, .. } => *status == StatusCode::SERVICE_UNAVAILABLE.as_u16(),
            Self::Strange(_) => false,
        }
    }
}

/// Both halves of a connection: what requests are given to, and what carries them.
type Sender = http1::SendRequest<Full<Bytes>>;
type Connection = http1::Connection<TokioIo<UnixStream>, Full<Bytes>>;

fn request(method: Method, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>, ClientError> {
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "gangplank")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .map_err(strange)
}

fn strange(error: impl std::fmt::Display) -> ClientError {
    ClientError::Strange(error.to_string())
}

fn refused(status: StatusCode, body: &[u8]) -> ClientError {
    let message = match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => problem.message,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    ClientError::Refused {
        status: status.as_u16(),
        message,
    }
}

/// A name as one segment of a path (RFC 3986 section 3.3).
fn escape(name: &str) -> String {
    name.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_segment() {
        assert_eq!(escape("web-1.a_b"), "web-1.a_b");
        assert_eq!(escape("../x?y z"), "..%2Fx%3Fy%20z");
    }
}
