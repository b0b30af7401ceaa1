//! Whom to ask: the servers of `--dns` or of the host's resolv.conf, and which of them were dead lately.
//!
//! The file is read again as soon as inotify tells of it, and looked at once a second besides, for the places that
//! inotify does not see. A file that cannot be read changes nothing: it is on its way. One that names nobody is taken
//! at its word only when it still does a second later: whoever writes it in place empties it first.
//!
//! A server that is silent goes to the end and stays there until it answers. Every now and then it is asked beside the
//! others, so that nobody waits to find out.

use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::net::if_::if_nametoindex;
use tokio::time::Instant;

use super::resolv_conf::{Nameserver, nameservers};
use super::watch::Watch;

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
    /// `None` where inotify is not to be had.
    watch: Option<Watch>,
    /// `None`: at once.
    look_again: Option<Instant>,
    /// Since when the file has named nobody.
    empty_since: Option<Instant>,
}

#[derive(Debug)]
struct Server {
    address: SocketAddr,
    health: Health,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Alive,
    Dead {
        /// When it is asked beside the others.
        probe: Instant,
    },
}

impl Upstreams {
    pub(super) fn new(source: Source) -> Self {
        let (file, servers) = match source {
            Source::File(path) => (Some(path), socket_addresses(&nameservers(b""))),
            Source::Fixed(servers) => (None, servers),
        };
        Self {
            file,
            state: Mutex::new(State {
                servers: servers.into_iter().map(Server::new).collect(),
                version: None,
                watch: None,
                look_again: None,
                empty_since: None,
            }),
        }
    }

    /// All of them, in the order to ask: the dead come last.
    pub(super) fn in_order(&self, now: Instant) -> Vec<SocketAddr> {
        let mut state = self.lock();
        if let Some(file) = &self.file {
            state.follow(file, now);
        }
        let (alive, dead): (Vec<_>, Vec<_>) = state.servers.iter().partition(|server| server.health == Health::Alive);
        alive.into_iter().chain(dead).map(|server| server.address).collect()
    }

    /// The dead of whom it is time to see whether they still are.
    pub(super) fn to_probe(&self, now: Instant) -> Vec<SocketAddr> {
        let mut due = Vec::new();
        for server in &mut self.lock().servers {
            if let Health::Dead { probe } = &mut server.health
                && *probe <= now
            {
                *probe = now + PROBE;
                due.push(server.address);
            }
        }
        due
    }

    /// It did not answer in time.
    pub(super) fn note_dead(&self, address: SocketAddr, now: Instant) {
        self.note(address, Health::Dead { probe: now + PROBE });
    }

    /// It answered.
    pub(super) fn note_alive(&self, address: SocketAddr) {
        self.note(address, Health::Alive);
    }

    fn note(&self, address: SocketAddr, health: Health) {
        let mut state = self.lock();
        if let Some(server) = state.servers.iter_mut().find(|server| server.address == address) {
            server.health = health;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Reads the file if it is another one than before.
    fn follow(&mut self, file: &Path, now: Instant) {
        let told = self.watch.as_ref().is_some_and(Watch::has_changed);
        if !told && self.look_again.is_some_and(|then| now < then) {
            return;
        }
        self.look_again = Some(now + LOOK_AGAIN);
        // Anew each time, for its links may lead elsewhere; before the file is read, so that no change falls between.
        self.watch = Watch::on(file)
            .inspect_err(|error| tracing::debug!(%error, "resolv.conf is looked at once a second only"))
            .ok();
        self.refresh(file, told, now);
    }

    fn refresh(&mut self, file: &Path, told: bool, now: Instant) {
        let Ok(version) = Version::of(file) else {
            return;
        };
        let is_new = self.version.as_ref() != Some(&version);
        if !is_new && !told && self.empty_since.is_none() {
            return;
        }
        let Ok(text) = read(file) else { return };
        let named = nameservers(&text);
        if text.is_empty() && self.version.is_some() && !self.has_been_empty(now) {
            return;
        }
        self.empty_since = None;
        if is_new || told {
            tracing::debug!(file = %file.display(), servers = named.len(), "resolvers of the host read");
        }
        self.version = Some(version);
        self.servers = socket_addresses(&named).into_iter().map(Server::new).collect();
    }

    fn has_been_empty(&mut self, now: Instant) -> bool {
        let since = *self.empty_since.get_or_insert(now);
        now >= since + LOOK_AGAIN
    }
}

impl Server {
    fn new(address: SocketAddr) -> Self {
        Self {
            address,
            health: Health::Alive,
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

/// As much of a file as a resolv.conf may have.
pub(super) fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(file)?.take(MAX_FILE).read_to_end(&mut text)?;
    Ok(text)
}

fn socket_addresses(servers: &[Nameserver]) -> Vec<SocketAddr> {
    servers.iter().filter_map(socket_address).collect()
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

/// How old the view of the file may be where inotify says nothing.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How often a dead server is asked whether it is back.
const PROBE: Duration = Duration::from_secs(10);

/// A resolv.conf is small; in bytes.
const MAX_FILE: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    struct Followed {
        folder: tempfile::TempDir,
        upstreams: Upstreams,
        start: Instant,
    }

    impl Followed {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let upstreams = Upstreams::new(Source::File(folder.path().join("resolv.conf")));
            let start = Instant::now();
            Self {
                folder,
                upstreams,
                start,
            }
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.folder.path().join(name), text).unwrap();
        }

        fn replace(&self, text: &str) {
            self.write("new", text);
            fs::rename(self.folder.path().join("new"), self.folder.path().join("resolv.conf")).unwrap();
        }

        fn after(&self, milliseconds: u64) -> Vec<String> {
            let servers = self
                .upstreams
                .in_order(self.start + Duration::from_millis(milliseconds));
            servers.iter().map(|server| server.ip().to_string()).collect()
        }
    }

    #[test]
    fn the_file_is_followed_at_once() {
        let host = Followed::new();
        assert_eq!(host.after(0), ["127.0.0.1"], "without a file");
        host.write("resolv.conf", "nameserver 127.0.0.53\n");
        assert_eq!(host.after(1), ["127.0.0.53"]);
        host.replace("nameserver 127.0.0.54\n");
        assert_eq!(host.after(2), ["127.0.0.54"], "replaced by one of the same size");
        host.replace("nameserver 127.0.0.55\n");
        assert_eq!(host.after(3), ["127.0.0.55"], "and once more");
        fs::remove_file(host.folder.path().join("resolv.conf")).unwrap();
        assert_eq!(host.after(4), ["127.0.0.55"], "gone for a moment");
        host.write(
            "resolv.conf",
            "nameserver fe80::1%no-such-interface\nnameserver fe80::1%lo\n",
        );
        assert_eq!(host.after(5), ["fe80::1"]);
    }

    #[test]
    fn without_inotify_it_is_looked_at_once_a_second() {
        let host = Followed::new();
        let forget = || host.upstreams.lock().watch = None;
        host.write("resolv.conf", "nameserver 127.0.0.53\n");
        assert_eq!(host.after(0), ["127.0.0.53"]);
        forget();
        host.replace("nameserver 127.0.0.54\n");
        assert_eq!(host.after(999), ["127.0.0.53"]);
        assert_eq!(host.after(1000), ["127.0.0.54"]);
    }

    #[test]
    fn an_empty_file_is_believed_only_when_it_stays_so() {
        let host = Followed::new();
        host.write("resolv.conf", "nameserver 127.0.0.53\n");
        assert_eq!(host.after(0), ["127.0.0.53"]);
        host.write("resolv.conf", "");
        assert_eq!(host.after(1), ["127.0.0.53"], "it may be about to be written");
        assert_eq!(host.after(500), ["127.0.0.53"]);
        assert_eq!(host.after(1500), ["127.0.0.1"], "it is meant");
        host.write("resolv.conf", "nameserver 127.0.0.54\n");
        assert_eq!(host.after(1501), ["127.0.0.54"]);
    }

    #[test]
    fn the_dead_come_last_until_they_answer() {
        let [first, second] = [1, 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let upstreams = Upstreams::new(Source::Fixed(vec![first, second]));
        let now = Instant::now();
        upstreams.note_dead(first, now);
        assert_eq!(upstreams.in_order(now + PROBE * 9), [second, first]);
        upstreams.note_dead(second, now);
        assert_eq!(upstreams.in_order(now), [first, second]);
        upstreams.note_alive(second);
        assert_eq!(upstreams.in_order(now), [second, first]);
        upstreams.note_alive(first);
        assert_eq!(upstreams.in_order(now), [first, second]);
    }

    #[test]
    fn the_dead_are_probed_now_and_then() {
        let server = SocketAddr::from(([127, 0, 0, 1], 1));
        let upstreams = Upstreams::new(Source::Fixed(vec![server]));
        let now = Instant::now();
        assert!(upstreams.to_probe(now).is_empty(), "it lives");
        upstreams.note_dead(server, now);
        assert!(upstreams.to_probe(now).is_empty(), "a moment ago");
        assert_eq!(upstreams.to_probe(now + PROBE), [server]);
        assert!(upstreams.to_probe(now + PROBE).is_empty(), "it has just been");
    }
}
