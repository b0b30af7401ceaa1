//! How long a connection waits for its container: every state of TCP has an end.
//!
//! smoltcp times what it sends again and waits for everything else without end. When patience ends, the flow does; before
//! that, a container that owes nothing is asked whether it is still there.

use smoltcp::socket::tcp::State;
use smoltcp::time::{Duration, Instant};

/// What is known of a container's silence.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Last time the connection was heard of, or its container began to owe us something.
    progress: Instant,
    /// Probes since.
    probes: u32,
}

impl Patience {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            progress: now,
            probes: 0,
        }
    }

    /// Begins anew: the connection was heard of, or its container owes us something from now on.
    pub(super) fn renew(&mut self, now: Instant) {
        *self = Self::new(now);
    }

    /// When the container has been silent for too long in this state, in which it has bytes to acknowledge (`owed`) or not.
    pub(super) fn end(&self, state: State, owed: bool) -> Instant {
        let patience = match state {
            State::Listen | State::SynSent | State::SynReceived => HANDSHAKE,
            State::FinWait1 => UNACKNOWLEDGED,
            State::Established | State::CloseWait | State::LastAck | State::Closing if owed => UNACKNOWLEDGED,
            State::LastAck | State::Closing => LAST_ACK,
            State::Established | State::CloseWait => PROBE_AFTER + PROBE_EVERY * PROBES,
            State::FinWait2 => HALF_CLOSED,
            // The container is done; bytes wait for a host that takes none.
            State::TimeWait | State::Closed => HALF_CLOSED,
        };
        self.progress + patience
    }

    /// When a container that owes us nothing is asked whether it is still there.
    pub(super) fn next_probe(&self, state: State, owed: bool) -> Option<Instant> {
        let open = matches!(state, State::Established | State::CloseWait);
        let asks = open && !owed && self.probes < PROBES;
        asks.then(|| self.progress + PROBE_AFTER + PROBE_EVERY * self.probes)
    }

    /// It was asked.
    pub(super) fn note_probe(&mut self) {
        self.probes += 1;
    }
}

/// A container on a bridge answers in microseconds or never; Linux gives up a passive open after 63 seconds too
/// (tcp_synack_retries 5).
const HANDSHAKE: Duration = Duration::from_secs(60);

/// Of our FIN alone: nobody waits for this ACK any more (Linux, tcp_orphan_retries: about 100 seconds).
const LAST_ACK: Duration = Duration::from_secs(60);

/// RFC 9293 section 3.8.3: R2 of at least 100 seconds; Linux's tcp_retries2 comes to 924. A container that answers
/// probes of its closed window is heard and may go on for ever.
const UNACKNOWLEDGED: Duration = Duration::from_secs(924);

/// Linux, tcp_keepalive_time: an idle connection costs nobody anything, but its other end may be gone without a word. A
/// live kernel answers whatever its program does. The other side of the flow is the host kernel's to probe.
const PROBE_AFTER: Duration = Duration::from_secs(7200);

/// Linux, tcp_keepalive_intvl.
const PROBE_EVERY: Duration = Duration::from_secs(75);

/// Linux, tcp_keepalive_probes. With the above, an idle connection lasts 2 hours 11 minutes at least, as RFC 5382 REQ-5
/// asks (2 hours 4 minutes).
const PROBES: u32 = 9;

/// One side has finished, the other says or takes nothing: RFC 5382 REQ-5, no less than 2 hours 4 minutes.
const HALF_CLOSED: Duration = Duration::from_secs(7440);
