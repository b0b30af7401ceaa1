//! As much of nf_tables' netlink as a chain at one interface's ingress needs, without the `nft` binary.
//!
//! A change is one batch, which the kernel makes as a whole or not at all. What it still has to say of a batch that failed
//! bears that one's number, and is passed over by the next. A rule is a list of expressions: loads into a register,
//! comparisons that end the rule where they fail, and a verdict.
//!
//! Sources: linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

/// What an expression reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Load {
    /// Bytes of the Ethernet header, VLAN tags included.
    Link { offset: u32, len: u32 },
    /// Bytes from the start of the network header.
    Network { offset: u32, len: u32 },
    /// Bytes behind the IP header and what extends it.
    Transport { offset: u32, len: u32 },
    /// The protocol there.
    Protocol,
}

/// One condition of a rule; bytes that are not there fail it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Match {
    /// They are these.
    Is(Load, Vec<u8>),
    /// They are others.
    IsNot(Load, Vec<u8>),
    /// They are these where the mask has ones.
    Masked(Load, Vec<u8>, Vec<u8>),
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Accept,
    /// Dropped and counted.
    Drop,
    /// As that chain says.
    Goto(&'static str),
}

/// A rule of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) chain: &'static str,
    pub(super) matches: Vec<Match>,
    pub(super) verdict: Verdict,
}

/// The way to the tables of the network namespace in which it was made.
///
/// It stays open: the kernel waits some ten milliseconds when a socket is closed after something was removed
/// (nft_rcv_nl_event).
#[derive(Debug)]
pub(super) struct Tables {
    socket: OwnedFd,
    /// The number of the last batch or question.
    sequence: u32,
}

impl Tables {
    /// Opens it.
    pub(super) fn open() -> io::Result<Self> {
        let kind = (SockType::Raw, SockProtocol::NetlinkNetFilter);
        let socket = socket(AddressFamily::Netlink, kind.0, SockFlag::SOCK_CLOEXEC, kind.1)?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::seconds(PATIENCE))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Makes a table with these chains, of which the first sees what arrives at an interface, and their rules.
    pub(super) fn create(&mut self, table: &str, interface: &str, chains: &[&str], rules: &[Rule]) -> io::Result<()> {
        let mut batch = self.batch();
        batch.add(NEW_TABLE, CREATE, |out| string(out, TABLE_NAME, table));
        for (number, chain) in chains.iter().enumerate() {
            batch.add(NEW_CHAIN, CREATE, |out| {
                string(out, CHAIN_TABLE, table);
                string(out, CHAIN_NAME, chain);
                if number == 0 {
                    nest(out, CHAIN_HOOK, |out| {
                        word(out, HOOK_NUMBER, INGRESS);
                        word(out, HOOK_PRIORITY, 0);
                        string(out, HOOK_DEVICE, interface);
                    });
                    string(out, CHAIN_TYPE, "filter");
                }
            });
        }
        for rule in rules {
            batch.add(NEW_RULE, CREATE | APPEND, |out| {
                string(out, RULE_TABLE, table);
                string(out, RULE_CHAIN, rule.chain);
                nest(out, RULE_EXPRESSIONS, |out| rule.write(out));
            });
        }
        self.commit(batch)
    }

    /// Removes a table with all that is in it; one that is not there is no error.
    pub(super) fn remove(&mut self, table: &str) -> io::Result<()> {
        let mut batch = self.batch();
        batch.add(DELETE_TABLE, 0, |out| string(out, TABLE_NAME, table));
        match self.commit(batch) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            result => result,
        }
    }

    /// How many packets the rules of a chain have dropped.
    pub(super) fn dropped(&mut self, table: &str, chain: &str) -> io::Result<u64> {
        self.sequence = self.sequence.wrapping_add(1);
        let head = Head {
            kind: TABLES | GET_RULE,
            flags: REQUEST | DUMP,
            sequence: self.sequence,
            family: NETDEV,
            resource: 0,
        };
        let mut question = Vec::new();
        head.write(&mut question, |out| {
            string(out, RULE_TABLE, table);
            string(out, RULE_CHAIN, chain);
        });
        self.send(&question)?;
        let mut dropped = 0;
        loop {
            let answer = self.receive()?;
            for (kind, body) in messages(&answer, self.sequence) {
                match kind {
                    DONE => return Ok(dropped),
                    ERROR => check(body)?,
                    _ => dropped += body.get(GENERIC..).map_or(0, count_drops),
                }
            }
        }
    }

    fn batch(&mut self) -> Batch {
        self.sequence = self.sequence.wrapping_add(1);
        Batch::new(self.sequence)
    }

    /// Every message is acknowledged once all of them hold; the first error is the batch's.
    fn commit(&self, batch: Batch) -> io::Result<()> {
        let mut missing = batch.count;
        self.send(&batch.finish())?;
        while missing > 0 {
            let answer = self.receive()?;
            for (_, body) in messages(&answer, self.sequence).filter(|(kind, _)| *kind == ERROR) {
                check(body)?;
                missing = missing.saturating_sub(1);
            }
        }
        Ok(())
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let kernel = NetlinkAddr::new(0, 0);
        Ok(sendto(self.socket.as_raw_fd(), bytes, &kernel, MsgFlags::empty()).map(drop)?)
    }

    fn receive(&self) -> io::Result<Vec<u8>> {
        let mut answer = vec![0; ANSWER];
        let len = recv(self.socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
        answer.truncate(len);
        Ok(answer)
    }
}

impl Rule {
    fn write(&self, out: &mut Vec<u8>) {
        for condition in &self.matches {
            condition.write(out);
        }
        if self.verdict == Verdict::Drop {
            expression(out, "counter", |_| {});
        }
        expression(out, "immediate", |out| {
            word(out, IMMEDIATE_REGISTER, VERDICT_REGISTER);
            nest(out, IMMEDIATE_DATA, |out| {
                nest(out, DATA_VERDICT, |out| match self.verdict {
                    Verdict::Accept => word(out, VERDICT_CODE, ACCEPT),
                    Verdict::Drop => word(out, VERDICT_CODE, DROP),
                    Verdict::Goto(chain) => {
                        word(out, VERDICT_CODE, GOTO);
                        string(out, VERDICT_CHAIN, chain);
                    }
                });
            });
        });
    }
}

impl Match {
    fn write(&self, out: &mut Vec<u8>) {
        let (load, value, operation) = match self {
            Self::Is(load, value) | Self::Masked(load, _, value) => (load, value, EQUAL),
            Self::IsNot(load, value) => (load, value, NOT_EQUAL),
        };
        load.write(out);
        if let Self::Masked(_, mask, _) = self {
            expression(out, "bitwise", |out| {
                word(out, BITWISE_SOURCE, REGISTER);
                word(out, BITWISE_TARGET, REGISTER);
                word(out, BITWISE_LEN, u32::try_from(mask.len()).unwrap_or_default());
                nest(out, BITWISE_MASK, |out| attribute(out, DATA_VALUE, mask));
                nest(out, BITWISE_XOR, |out| attribute(out, DATA_VALUE, &vec![0; mask.len()]));
            });
        }
        expression(out, "cmp", |out| {
            word(out, COMPARE_REGISTER, REGISTER);
            word(out, COMPARE_OPERATION, operation);
            nest(out, COMPARE_DATA, |out| attribute(out, DATA_VALUE, value));
        });
    }
}

impl Load {
    fn write(self, out: &mut Vec<u8>) {
        let (base, offset, len) = match self {
            Self::Link { offset, len } => (0, offset, len),
            Self::Network { offset, len } => (1, offset, len),
            Self::Transport { offset, len } => (2, offset, len),
            Self::Protocol => {
                return expression(out, "meta", |out| {
                    word(out, META_REGISTER, REGISTER);
                    word(out, META_KEY, META_PROTOCOL);
                });
            }
        };
        expression(out, "payload", |out| {
            word(out, PAYLOAD_REGISTER, REGISTER);
            word(out, PAYLOAD_BASE, base);
            word(out, PAYLOAD_OFFSET, offset);
            word(out, PAYLOAD_LEN, len);
        });
    }
}

/// Messages that the kernel takes together.
#[derive(Debug)]
struct Batch {
    bytes: Vec<u8>,
    sequence: u32,
    count: usize,
}

impl Batch {
    fn new(sequence: u32) -> Self {
        let mut batch = Self {
            bytes: Vec::new(),
            sequence,
            count: 0,
        };
        batch.mark(BEGIN);
        batch
    }

    fn add(&mut self, kind: u16, flags: u16, write: impl FnOnce(&mut Vec<u8>)) {
        self.count += 1;
        let head = Head {
            kind: TABLES | kind,
            flags: REQUEST | ACK | flags,
            sequence: self.sequence,
            family: NETDEV,
            resource: 0,
        };
        head.write(&mut self.bytes, write);
    }

    fn finish(mut self) -> Vec<u8> {
        self.mark(END);
        self.bytes
    }

    fn mark(&mut self, kind: u16) {
        let head = Head {
            kind,
            flags: REQUEST,
            sequence: self.sequence,
            family: 0,
            resource: SUBSYSTEM,
        };
        head.write(&mut self.bytes, |_| {});
    }
}

/// What stands before a message: nlmsghdr and nfgenmsg.
#[derive(Debug, Clone, Copy)]
struct Head {
    kind: u16,
    flags: u16,
    sequence: u32,
    family: u8,
    resource: u16,
}

impl Head {
    fn write(self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.kind.to_ne_bytes());
        out.extend_from_slice(&self.flags.to_ne_bytes());
        out.extend_from_slice(&self.sequence.to_ne_bytes());
        out.extend_from_slice(&[0, 0, 0, 0, self.family, 0]);
        out.extend_from_slice(&self.resource.to_be_bytes());
        write(out);
        let len = u32::try_from(out.len() - start).unwrap_or_default();
        out[start..start + 4].copy_from_slice(&len.to_ne_bytes());
    }
}

/// What an answer to this number consists of: the kind and body of each message.
fn messages(mut rest: &[u8], sequence: u32) -> impl Iterator<Item = (u16, &[u8])> {
    let all = std::iter::from_fn(move || {
        let head: &[u8; HEADER] = rest.first_chunk()?;
        let len = usize::try_from(u32::from_ne_bytes([head[0], head[1], head[2], head[3]])).ok()?;
        let body = rest.get(HEADER..len)?;
        let kind = u16::from_ne_bytes([head[4], head[5]]);
        let number = u32::from_ne_bytes([head[8], head[9], head[10], head[11]]);
        rest = rest.get(len.next_multiple_of(UNIT)..).unwrap_or_default();
        Some((kind, number, body))
    });
    let wanted = all.filter(move |(_, number, _)| *number == sequence);
    wanted.map(|(kind, _, body)| (kind, body))
}

/// The error of an acknowledgement, if it is one.
fn check(body: &[u8]) -> io::Result<()> {
    let code = body.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
    if code == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(-code))
    }
}

/// The counters in a rule.
fn count_drops(rule: &[u8]) -> u64 {
    let expressions = attributes(rule).filter(|(kind, _)| *kind == RULE_EXPRESSIONS);
    let expressions = expressions.flat_map(|(_, list)| attributes(list));
    let data = expressions.flat_map(|(_, expression)| {
        let is_counter =
            attributes(expression).any(|(kind, name)| kind == EXPRESSION_NAME && name.starts_with(b"counter"));
        attributes(expression).filter(move |(kind, _)| is_counter && *kind == EXPRESSION_DATA)
    });
    let counts = data.flat_map(|(_, data)| attributes(data).filter(|(kind, _)| *kind == COUNTER_PACKETS));
    counts
        .filter_map(|(_, count)| Some(u64::from_be_bytes(*count.first_chunk()?)))
        .sum()
}

fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let [l0, l1, k0, k1] = *rest.first_chunk()?;
        let len = usize::from(u16::from_ne_bytes([l0, l1]));
        let body = rest.get(UNIT..len)?;
        rest = rest.get(len.next_multiple_of(UNIT)..).unwrap_or_default();
        Some((u16::from_ne_bytes([k0, k1]) & !NESTED, body))
    })
}

fn expression(out: &mut Vec<u8>, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
    nest(out, LIST_ELEMENT, |out| {
        string(out, EXPRESSION_NAME, name);
        nest(out, EXPRESSION_DATA, write);
    });
}

fn nest(out: &mut Vec<u8>, kind: u16, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&(kind | NESTED).to_ne_bytes());
    write(out);
    finish(out, start);
}

fn attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let start = out.len();
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(value);
    finish(out, start);
}

fn finish(out: &mut Vec<u8>, start: usize) {
    let len = u16::try_from(out.len() - start).unwrap_or_default();
    out[start..start + 2].copy_from_slice(&len.to_ne_bytes());
    out.resize(out.len().next_multiple_of(UNIT), 0);
}

fn string(out: &mut Vec<u8>, kind: u16, text: &str) {
    attribute(out, kind, &[text.as_bytes(), &[0]].concat());
}

fn word(out: &mut Vec<u8>, kind: u16, value: u32) {
    attribute(out, kind, &value.to_be_bytes());
}

/// Seconds for an answer that takes microseconds.
const PATIENCE: i64 = 5;

/// Bytes of the longest answer: what the kernel puts into one message of a dump (NLMSG_GOODSIZE), and more.
const ANSWER: usize = 64 * 1024;

/// nlmsghdr, nfgenmsg, and what lengths are rounded up to.
const HEADER: usize = 16;
const GENERIC: usize = 4;
const UNIT: usize = 4;

/// Kinds of messages and their flags (linux/netlink.h).
const ERROR: u16 = 2;
const DONE: u16 = 3;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;
const NESTED: u16 = 0x8000;

/// NFNL_MSG_BATCH_*, NFNL_SUBSYS_NFTABLES, NFT_MSG_*, NFPROTO_NETDEV, NF_NETDEV_INGRESS.
const BEGIN: u16 = 0x10;
const END: u16 = 0x11;
const SUBSYSTEM: u16 = 10;
const TABLES: u16 = SUBSYSTEM << 8;
const NEW_TABLE: u16 = 0;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;
const GET_RULE: u16 = 7;
const NETDEV: u8 = 5;
const INGRESS: u32 = 0;

/// NFTA_*.
const LIST_ELEMENT: u16 = 1;
const TABLE_NAME: u16 = 1;
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_TYPE: u16 = 7;
const HOOK_NUMBER: u16 = 1;
const HOOK_PRIORITY: u16 = 2;
const HOOK_DEVICE: u16 = 3;
const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_EXPRESSIONS: u16 = 4;
const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;
const PAYLOAD_REGISTER: u16 = 1;
const PAYLOAD_BASE: u16 = 2;
const PAYLOAD_OFFSET: u16 = 3;
const PAYLOAD_LEN: u16 = 4;
const META_REGISTER: u16 = 1;
const META_KEY: u16 = 2;
const BITWISE_SOURCE: u16 = 1;
const BITWISE_TARGET: u16 = 2;
const BITWISE_LEN: u16 = 3;
const BITWISE_MASK: u16 = 4;
const BITWISE_XOR: u16 = 5;
const COMPARE_REGISTER: u16 = 1;
const COMPARE_OPERATION: u16 = 2;
const COMPARE_DATA: u16 = 3;
const IMMEDIATE_REGISTER: u16 = 1;
const IMMEDIATE_DATA: u16 = 2;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const VERDICT_CHAIN: u16 = 2;
const COUNTER_PACKETS: u16 = 2;

/// NFT_META_L4PROTO, NFT_CMP_*, NFT_REG_1 and NFT_REG_VERDICT, NF_DROP, NF_ACCEPT, NFT_GOTO (-4).
const META_PROTOCOL: u32 = 16;
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
const REGISTER: u32 = 1;
const VERDICT_REGISTER: u32 = 0;
const DROP: u32 = 0;
const ACCEPT: u32 = 1;
const GOTO: u32 = 0xffff_fffc;
