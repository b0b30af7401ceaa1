//! What listens: the ports of a namespace's own tables of sockets (proc_net(5), proc_net_tcp.rst of the kernel).

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek};

use super::rule::Transport;
use crate::netns::outpost::{SocketTables, Table};

/// The tables, opened once: each shows the namespace in which it was opened.
#[derive(Debug)]
pub struct Scanner {
    files: Vec<(Table, File)>,
    text: String,
}

/// Ports on which something waits for others to begin.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listening {
    tcp: BTreeSet<u16>,
    udp: BTreeSet<u16>,
}

impl Scanner {
    /// Reads these from now on.
    pub fn new(tables: SocketTables) -> Self {
        Self {
            files: tables.files,
            text: String::new(),
        }
    }

    /// The same tables by descriptors of their own.
    pub fn try_clone(&self) -> io::Result<Self> {
        let files = self.files.iter().map(|(table, file)| Ok((*table, file.try_clone()?)));
        Ok(Self {
            files: files.collect::<io::Result<_>>()?,
            text: String::new(),
        })
    }

    /// What listens now.
    pub fn look(&mut self) -> io::Result<Listening> {
        let mut listening = Listening::default();
        for (table, file) in &mut self.files {
            self.text.clear();
            file.rewind()?;
            file.read_to_string(&mut self.text)?;
            let (state, ports) = match table {
                Table::Tcp => (TCP_LISTEN, &mut listening.tcp),
                Table::Udp => (UDP_BOUND, &mut listening.udp),
            };
            ports.extend(self.text.lines().skip(1).filter_map(|line| port_in_state(line, state)));
        }
        Ok(listening)
    }
}

impl Listening {
    /// The ports of one protocol.
    pub fn of(&self, transport: Transport) -> &BTreeSet<u16> {
        match transport {
            Transport::Tcp => &self.tcp,
            Transport::Udp => &self.udp,
        }
    }
}

/// The local port of a line, if its socket is in this state.
fn port_in_state(line: &str, wanted: &str) -> Option<u16> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (local, _remote, state) = (fields.next()?, fields.next()?, fields.next()?);
    let port = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
    (state == wanted && port != 0).then_some(port)
}

/// TCP_LISTEN, and the state of a UDP socket that is bound and not connected (TCP_CLOSE); net/tcp_states.h.
const TCP_LISTEN: &str = "0A";
const UDP_BOUND: &str = "07";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_lines() {
        let listening =
            "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0";
        let connected =
            "   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 1 1 0";
        let v6 =
            "   0: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 0";
        assert_eq!(port_in_state(listening, TCP_LISTEN), Some(8080));
        assert_eq!(port_in_state(connected, TCP_LISTEN), None);
        assert_eq!(port_in_state(v6, TCP_LISTEN), Some(22));
        assert_eq!(port_in_state("nonsense", TCP_LISTEN), None);
    }

    #[test]
    fn sees_a_listener_come_and_go() {
        let file = File::open("/proc/self/net/tcp").unwrap();
        let mut scanner = Scanner::new(SocketTables {
            files: vec![(Table::Tcp, file)],
        });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(scanner.look().unwrap().of(Transport::Tcp).contains(&port));
        drop(listener);
        assert!(!scanner.look().unwrap().of(Transport::Tcp).contains(&port));
    }
}
