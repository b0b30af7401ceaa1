//! What passes over links while containers are kept apart: the rules, and the conversations that were opened by them.
//!
//! The bridge does not carry frames between isolated ports, so a linked container finds the gateway's hardware address
//! behind the other's IP address and the stack relays ([`engine::relay`](super::engine)). Here is decided what: the
//! *parent* of a link sends to the exposed ports of the *child* as it likes, and each packet makes or renews a
//! conversation; the child sends from those ports back to where a conversation came from, and opens nothing. ICMP errors
//! pass that quote a conversation. All else is no link's.
//!
//! A conversation is remembered for as long as a NAT would have to (RFC 5382 REQ-5, RFC 4787 REQ-5), less once TCP's has
//! been closed by both sides or reset. It is taken up in its midst, too, when the parent goes on: one that was forgotten,
//! or that the bridge carried until containers were kept apart. Each parent has a bounded number of them; beyond, it loses
//! what has been idle longest, by second chances as in [`associations`](super::associations).
//!
//! A network's engines share one table: a packet comes to any of them. It is consulted for packets from one container to
//! another alone.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ahash::RandomState;
use smoltcp::time::{Duration, Instant};

use super::random::Random;
use crate::policy::links::{LinkPort, LinkProtocol, LinkRule, LinkRules};

/// The links of one network; its clones are the same.
#[derive(Debug, Clone)]
pub struct Links(Arc<Mutex<Table>>);

/// A packet as links see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) source: SocketAddr,
    pub(super) target: SocketAddr,
    pub(super) content: Content,
}

/// What it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Tcp(Flags),
    Udp,
    /// An ICMP error about a packet of this protocol that went from `target` to `source`.
    ErrorAbout(LinkProtocol),
}

/// Of a TCP segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Flags {
    pub(super) syn: bool,
    pub(super) ack: bool,
    pub(super) fin: bool,
    pub(super) rst: bool,
}

#[derive(Debug)]
struct Table {
    rules: LinkRules,
    /// The ports of each rule, sorted, by parent and child.
    ports: HashMap<(IpAddr, IpAddr), Vec<LinkPort>, RandomState>,
    /// Everybody whom a link joins to an address, in either direction.
    partners: HashMap<IpAddr, Vec<IpAddr>, RandomState>,
    conversations: HashMap<Key, Conversation, RandomState>,
    /// The conversations of each parent, in the order in which they were filed.
    order: HashMap<IpAddr, VecDeque<(Key, u64)>, RandomState>,
    filed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    protocol: LinkProtocol,
    parent: SocketAddr,
    child: SocketAddr,
}

#[derive(Debug)]
struct Conversation {
    until: Instant,
    used: Instant,
    /// `used` when it was last filed, and under which number.
    filed: (Instant, u64),
    /// Who has sent a FIN.
    parent_finished: bool,
    child_finished: bool,
    /// Both have, or there was a reset: its time is not renewed.
    closing: bool,
    answered: bool,
}

impl Links {
    /// Nobody is linked; `seed` keys the tables.
    pub fn new(seed: [u64; 4]) -> Self {
        let mut random = Random::new(seed);
        Self(Arc::new(Mutex::new(Table {
            rules: LinkRules::default(),
            ports: HashMap::with_hasher(random.hash_key()),
            partners: HashMap::with_hasher(random.hash_key()),
            conversations: HashMap::with_hasher(random.hash_key()),
            order: HashMap::with_hasher(random.hash_key()),
            filed: 0,
        })))
    }

    /// Takes new rules; conversations that they do not allow are over. Returns the rules before.
    pub(super) fn set(&self, rules: LinkRules) -> LinkRules {
        self.table().set(rules)
    }

    /// Whether a frame that `asker` has for `target` goes by the stack.
    pub(super) fn stands_for(&self, asker: IpAddr, target: IpAddr) -> bool {
        let table = self.table();
        table.rules.isolated && table.partners.get(&target).is_some_and(|all| all.contains(&asker))
    }

    /// The same of whoever asks without an address: those whom it might be.
    pub(super) fn askers(&self, target: IpAddr) -> Vec<IpAddr> {
        let table = self.table();
        let partners = table.partners.get(&target).filter(|_| table.rules.isolated);
        partners.cloned().unwrap_or_default()
    }

    /// Whether the packet may pass, which may open a conversation, or renew or end one.
    pub(super) fn admit(&self, now: Instant, message: &Message) -> bool {
        self.table().admit(now, message)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // A panic leaves at worst a conversation that nobody evicts before its rule goes.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn set(&mut self, rules: LinkRules) -> LinkRules {
        self.ports.clear();
        self.partners.clear();
        for LinkRule { parent, child, ports } in &rules.links {
            let known = self.ports.entry((*parent, *child)).or_default();
            known.extend_from_slice(ports);
            known.sort_unstable();
            known.dedup();
            self.partners.entry(*parent).or_default().push(*child);
            self.partners.entry(*child).or_default().push(*parent);
        }
        let ports = &self.ports;
        self.conversations.retain(|key, _| is_open(ports, key));
        let conversations = &self.conversations;
        self.order.retain(|_, filed| {
            filed.retain(|(key, number)| is_filed(conversations, key, *number));
            !filed.is_empty()
        });
        std::mem::replace(&mut self.rules, rules)
    }

    fn admit(&mut self, now: Instant, message: &Message) -> bool {
        let Message {
            source,
            target,
            content,
        } = *message;
        let protocol = match content {
            Content::Tcp(_) => LinkProtocol::Tcp,
            Content::Udp => LinkProtocol::Udp,
            Content::ErrorAbout(protocol) => protocol,
        };
        let forth = Key {
            protocol,
            parent: source,
            child: target,
        };
        let back = Key {
            protocol,
            parent: target,
            child: source,
        };
        let flags = match content {
            Content::Tcp(flags) => flags,
            Content::Udp => Flags::default(),
            Content::ErrorAbout(_) => return self.known(now, &back).is_some() || self.known(now, &forth).is_some(),
        };
        let opens = flags.syn && !flags.ack;
        if let Some(conversation) = self.known(now, &back).filter(|_| !opens) {
            conversation.answered = true;
            conversation.child_finished |= flags.fin;
            conversation.renew(now, protocol, flags);
            return true;
        }
        is_open(&self.ports, &forth) && self.go_on(now, forth, flags)
    }

    fn known(&mut self, now: Instant, key: &Key) -> Option<&mut Conversation> {
        self.conversations.get_mut(key).filter(|known| now < known.until)
    }

    /// The parent has sent something to where it may.
    fn go_on(&mut self, now: Instant, key: Key, flags: Flags) -> bool {
        let begins = flags.syn && !flags.ack;
        match self.conversations.get_mut(&key) {
            Some(known) if now < known.until && !(begins && known.closing) => {
                known.parent_finished |= flags.fin;
                known.renew(now, key.protocol, flags);
            }
            // It begins anew, in its place in the order.
            Some(known) => *known = Conversation::new(now, key.protocol, flags, known.filed),
            // Nothing was opened that this could end.
            None if flags.rst => {}
            None => {
                self.make_room(now, key.parent.ip());
                self.filed += 1;
                let filed = (now, self.filed);
                self.conversations
                    .insert(key, Conversation::new(now, key.protocol, flags, filed));
                self.order
                    .entry(key.parent.ip())
                    .or_default()
                    .push_back((key, self.filed));
            }
        }
        true
    }

    /// Forgets what is over and stands first, and if that is not enough, what has been idle longest.
    fn make_room(&mut self, now: Instant, parent: IpAddr) {
        let Some(order) = self.order.get_mut(&parent) else {
            return;
        };
        let mut full = order.len() >= MOST_OF_ONE;
        for look in 0..LOOKS {
            let Some((key, number)) = order.pop_front() else { return };
            let Some(known) = self.conversations.get_mut(&key).filter(|known| known.filed.1 == number) else {
                full = false;
                continue;
            };
            if known.until <= now {
                self.conversations.remove(&key);
                full = false;
            } else if !full {
                order.push_front((key, number));
                return;
            } else if known.used > known.filed.0 && look + 1 < LOOKS {
                known.filed.0 = known.used;
                order.push_back((key, number));
            } else {
                self.conversations.remove(&key);
                return;
            }
        }
    }
}

impl Conversation {
    fn new(now: Instant, protocol: LinkProtocol, flags: Flags, filed: (Instant, u64)) -> Self {
        let mut new = Self {
            until: now,
            used: now,
            filed: (now, filed.1),
            parent_finished: flags.fin,
            child_finished: false,
            closing: false,
            // What is taken up in its midst has been answered long ago.
            answered: protocol == LinkProtocol::Tcp && !flags.syn,
        };
        new.renew(now, protocol, flags);
        new
    }

    fn renew(&mut self, now: Instant, protocol: LinkProtocol, flags: Flags) {
        self.used = now;
        if self.closing {
            return;
        }
        self.closing = flags.rst || self.parent_finished && self.child_finished;
        let life = match protocol {
            LinkProtocol::Udp => UDP,
            LinkProtocol::Tcp if flags.rst => RESET,
            LinkProtocol::Tcp if self.closing => CLOSED,
            LinkProtocol::Tcp if !self.answered => OPENING,
            LinkProtocol::Tcp => OPEN,
        };
        self.until = now + life;
    }
}

/// Whether a rule lets the parent of this conversation speak to the child's port.
fn is_open(ports: &HashMap<(IpAddr, IpAddr), Vec<LinkPort>, RandomState>, key: &Key) -> bool {
    let port = LinkPort {
        protocol: key.protocol,
        port: key.child.port(),
    };
    let open = ports.get(&(key.parent.ip(), key.child.ip()));
    open.is_some_and(|ports| ports.binary_search(&port).is_ok())
}

fn is_filed(conversations: &HashMap<Key, Conversation, RandomState>, key: &Key, number: u64) -> bool {
    conversations.get(key).is_some_and(|known| known.filed.1 == number)
}

/// RFC 4787 REQ-5: two minutes at least, five by default.
const UDP: Duration = Duration::from_secs(300);

/// RFC 5382 REQ-5: two hours and four minutes for what is open, four minutes for what is only about to be or closed by both.
const OPEN: Duration = Duration::from_secs(7440);
const OPENING: Duration = Duration::from_secs(240);
const CLOSED: Duration = Duration::from_secs(240);

/// What was on its way when a connection was reset arrives within this.
const RESET: Duration = Duration::from_secs(10);

/// Conversations of one parent's address, about a megabyte: a client that opens and closes a connection over a link
/// every 30 ms has no more that are not over.
const MOST_OF_ONE: usize = 8192;

/// Conversations that are looked at to make room for one, so that none costs more than a few microseconds.
const LOOKS: usize = 16;
