//! Whom to ask: the servers of `--dns` or of the host's resolv.conf, and which of them were dead lately.
//!
//! The file is looked at again at most once a second, and read when it is another one (inode, size or time). A file
//! that cannot be read changes nothing: it is on its way.

use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::net::if_::if_nametoindex;
use tokio::time::Instant;

use super::resolv_conf::{Nameserver, nameservers};

/// Where the servers are named.
#[derive(Debug, Clone)]
pub enum Source {
    /// A file such as /etc/resolv.conf.
    File(PathBuf),
    /// `--dns`.
    Fixed(Vec<SocketAddr>),
}

/// The servers and their health.
#[derive(Debug)]
pub(super) struct Upstreams {
    file: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    servers: Vec<Server>,
    version: Option<Version>,
    /// `None`: at once.
    look_again: Option<Instant>,
}

#[derive(Debug)]
struct Server {
    address: SocketAddr,
    dead_until: Option<Instant>,
}

impl Upstreams {
    pub(super) fn new(source: Source) -> Self {
        let (file, servers) = match source {
            Source::File(path) => (Some(path), nameservers(b"").iter().filter_map(socket_address).collect()),
            Source::Fixed(servers) => (None, servers),
        };
        let servers = servers.into_iter().map(Server::new).collect();
        Self {
            file,
            state: Mutex::new(State {
                servers,
                version: None,
                look_again: None,
            }),
        }
    }

    /// All of them, in the order to ask: those that were dead lately come last.
    pub(super) fn in_order(&self, now: Instant) -> Vec<SocketAddr> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = self
            .file
            .as_deref()
            .filter(|_| state.look_again.is_none_or(|then| then <= now))
        {
            state.look_again = Some(now + LOOK_AGAIN);
            state.refresh(file);
        }
        let is_dead = |server: &&Server| server.dead_until.is_some_and(|until| now < until);
        let (dead, alive): (Vec<_>, Vec<_>) = state.servers.iter().partition(is_dead);
        alive.into_iter().chain(dead).map(|server| server.address).collect()
    }

    /// It did not answer in time.
    pub(super) fn note_dead(&self, address: SocketAddr, now: Instant) {
        self.note(address, Some(now + DEAD));
    }

    /// It answered.
    pub(super) fn note_alive(&self, address: SocketAddr) {
        self.note(address, None);
    }

    fn note(&self, address: SocketAddr, dead_until: Option<Instant>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = state.servers.iter_mut().find(|server| server.address == address) {
            server.dead_until = dead_until;
        }
    }
}

impl State {
    fn refresh(&mut self, file: &Path) {
        let Ok(version) = Version::of(file) else {
            return;
        };
        if self.version.as_ref() == Some(&version) {
            return;
        }
        let Ok(text) = read(file) else { return };
        self.version = Some(version);
        self.servers = nameservers(&text)
            .iter()
            .filter_map(socket_address)
            .map(Server::new)
            .collect();
        tracing::debug!(file = %file.display(), servers = self.servers.len(), "resolvers of the host read");
    }
}

impl Server {
    fn new(address: SocketAddr) -> Self {
        Self {
            address,
            dead_until: None,
        }
    }
}

/// What tells one state of a file from the next.
#[derive(Debug, PartialEq, Eq)]
struct Version {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Version {
    fn of(file: &Path) -> io::Result<Self> {
        let about = fs::metadata(file)?;
        if !about.is_file() {
            // Opening a FIFO would wait.
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let modified = (about.mtime(), about.mtime_nsec());
        Ok(Self {
            device: about.dev(),
            inode: about.ino(),
            size: about.size(),
            modified,
        })
    }
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(file)?.take(MAX_FILE).read_to_end(&mut text)?;
    Ok(text)
}

/// `None` for a zone that does not exist here.
fn socket_address(server: &Nameserver) -> Option<SocketAddr> {
    match (server.address, server.zone.as_deref()) {
        (IpAddr::V6(address), Some(zone)) => {
            let index = zone.parse().or_else(|_| if_nametoindex(zone)).ok()?;
            Some(SocketAddrV6::new(address, PORT, 0, index).into())
        }
        (address, _) => Some(SocketAddr::new(address, PORT)),
    }
}

/// RFC 1035 section 4.2.
const PORT: u16 = 53;

/// How old the view of the file may be.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long a server that did not answer is asked last.
const DEAD: Duration = Duration::from_secs(30);

/// A resolv.conf is small; in bytes.
const MAX_FILE: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_read_again_when_it_changes() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("resolv.conf");
        let upstreams = Upstreams::new(Source::File(file.clone()));
        let start = Instant::now();
        let at = |seconds: u32| {
            let servers = upstreams.in_order(start + LOOK_AGAIN * seconds);
            servers.iter().map(|server| server.ip().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(at(0), ["127.0.0.1"], "without a file");
        fs::write(&file, "nameserver 127.0.0.53\n").unwrap();
        assert_eq!(at(0), ["127.0.0.1"], "looked a moment ago");
        assert_eq!(at(1), ["127.0.0.53"]);
        // Replaced as editors and resolvconf do, by another file of the same size.
        let new = directory.path().join("new");
        fs::write(&new, "nameserver 127.0.0.54\n").unwrap();
        fs::rename(&new, &file).unwrap();
        assert_eq!(at(2), ["127.0.0.54"]);
        fs::remove_file(&file).unwrap();
        assert_eq!(at(3), ["127.0.0.54"], "gone for a moment");
        fs::write(&file, "nameserver fe80::1%no-such-interface\nnameserver fe80::1%lo\n").unwrap();
        assert_eq!(at(4), ["fe80::1"]);
    }

    #[test]
    fn the_dead_come_last_for_a_while() {
        let [first, second] = [1, 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let upstreams = Upstreams::new(Source::Fixed(vec![first, second]));
        let now = Instant::now();
        upstreams.note_dead(first, now);
        assert_eq!(upstreams.in_order(now), [second, first]);
        upstreams.note_dead(second, now);
        assert_eq!(upstreams.in_order(now), [first, second]);
        upstreams.note_alive(second);
        assert_eq!(upstreams.in_order(now), [second, first]);
        assert_eq!(upstreams.in_order(now + DEAD), [first, second]);
    }
}
