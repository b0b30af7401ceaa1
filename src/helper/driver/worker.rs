//! One thread of the data plane.
//!
//! One turn of its loop:
//!
//! 1. wait for readiness, a command, a sibling's mail or the engine's deadline; not at all while work is left over;
//! 2. feed: frames of the uplink, at most [`FRAMES_PER_TURN`], and what the engine wants done about them; then the host
//!    sockets that are ready;
//! 3. drain: actions of the engine until there is none, then frames for the uplink, at most [`FRAMES_PER_TURN`].
//!
//! Every queue is served in turn and in bounded portions, so that no flow starves another.

use std::io;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use mio::{Poll, Token};
use smoltcp::time::Instant;

use super::buffer::Buffer;
use super::command::{Command, Events};
use super::datagrams::{Datagrams, Outgoing};
use super::flows::{Accepted, Flows};
use super::linger::Linger;
use super::link::Link;
use super::queues::{Queue, Queues};
use super::ready::Ready;
use super::siblings::{Mail, Siblings};
use super::token::Readiness;
use crate::host::echo::Request;
use crate::host::outbound::Outbound;
use crate::stack::{Common, Config, Directory, Engine, FlowId, Offload, Passage, ShardId, TCP_HEADERS};
use crate::sys::clock;
use crate::sys::mapping::Mappings;
use crate::uplink::{FRAME_BYTES, FrameError, Uplink};

/// An engine whose rings lie in memory of the kernel's.
pub(super) fn engine(directory: Directory, common: &Common, config: Config, seed: [u64; 4]) -> Engine {
    Engine::shard(directory, common, config, Box::new(Mappings::default()), seed)
}

/// A thread's all.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) poll: Poll,
    pub(super) link: Link,
    pub(super) queues: Queues,
    pub(super) engine: Engine,
    pub(super) flows: Flows,
    pub(super) datagrams: Datagrams,
    /// The frame being handled.
    frame: Buffer,
    pub(super) ready: Ready,
    pub(super) commands: mpsc::Receiver<Command>,
    mail: mpsc::Receiver<Mail>,
    siblings: Siblings,
    events: Events,
    pub(super) stopping: bool,
    /// Commands may wait.
    ordered: bool,
    /// Frames for a sibling that did not take them, or that nobody wanted to own.
    pub(super) astray: u64,
    linger: Linger,
}

impl Worker {
    pub(super) fn new(
        poll: Poll,
        uplink: Arc<dyn Uplink>,
        engine: Engine,
        siblings: Siblings,
        commands: mpsc::Receiver<Command>,
        mail: mpsc::Receiver<Mail>,
        events: Events,
    ) -> io::Result<Self> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            poll,
            link: Link::new(uplink),
            queues: Queues::default(),
            engine,
            flows: Flows::new(processors),
            datagrams: Datagrams::new(Outbound::default()),
            frame: Buffer::new(FRAME_BYTES, TCP_HEADERS),
            ready: Ready::default(),
            commands,
            mail,
            siblings,
            events,
            stopping: false,
            ordered: false,
            astray: 0,
            linger: Linger::new(processors),
        })
    }

    /// Before anything is opened: all of it goes out from there.
    pub(super) fn go_out_from(&mut self, outbound: Outbound) {
        self.flows.go_out_from(outbound);
        self.datagrams = Datagrams::new(outbound);
    }

    /// Serves until it is told to stop, the uplink is lost, or a sibling has ended.
    pub(super) fn run(mut self) {
        let mut events = mio::Events::with_capacity(EVENTS_PER_TURN);
        while !self.stopping && !self.siblings.ended() {
            if let Err(error) = self.wait(&mut events) {
                tracing::error!(%error, "the data plane cannot wait for its descriptors");
                break;
            }
            for event in &events {
                self.note(event);
            }
            self.turn(clock::now());
            self.settle(clock::now());
        }
    }

    /// Waits for events, a deadline, or not at all.
    fn wait(&mut self, events: &mut mio::Events) -> io::Result<()> {
        let patience = self.patience();
        if patience == Some(Duration::ZERO) {
            return self.look(events, patience);
        }
        let began = clock::now();
        while clock::now() - began < self.linger.stay() {
            self.look(events, Some(Duration::ZERO))?;
            if !events.is_empty() {
                return Ok(());
            }
        }
        self.look(events, patience)?;
        self.linger.learn(clock::now() - began);
        Ok(())
    }

    /// Says what this worker has to do, and hands queues over accordingly.
    fn settle(&mut self, now: Instant) {
        self.flows.look_at_load(now);
        self.siblings.say(self.flows.carried() + self.datagrams.count());
        let mine = self.keeping();
        self.queues.settle(now, self.poll.registry(), &self.siblings, mine);
    }

    /// Flows and mappings that keep this worker at its queue.
    fn keeping(&self) -> usize {
        self.flows.keeping() + self.datagrams.count()
    }

    /// Reads a queue from now on.
    pub(super) fn take_queue(&mut self, now: Instant, owner: ShardId, uplink: Arc<dyn Uplink>) {
        let taken = self
            .queues
            .take(now, self.poll.registry(), &self.siblings, owner, uplink);
        if let Err(error) = taken {
            tracing::error!(%error, "a queue of the uplink cannot be waited for");
            self.stopping = true;
        }
    }

    fn look(&mut self, events: &mut mio::Events, patience: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(events, patience) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn turn(&mut self, now: Instant) {
        // Before the frames of a container that has just been attached.
        if self.ordered {
            self.ordered = self.obey();
        }
        self.read_frames(now);
        self.flush_datagrams(now);
        // Before what is ready is served, for that sends payload, which is to leave as the frames say that brought it.
        self.act(now);
        self.ready.wake(now);
        self.serve_sources(now);
        self.flush_datagrams(now);
        self.engine.handle_timeout(now);
        self.act(now);
        self.write_frames(now);
        if self.act(now) {
            // What was sent has changed a flow's state, and what was done about it may be to be sent: come back at once.
            self.ready.push(Readiness::Uplink(0));
        }
    }

    /// How long to wait at most.
    fn patience(&self) -> Option<Duration> {
        if self.ordered || self.queues.readable() || self.ready.len() > 0 {
            return Some(Duration::ZERO);
        }
        let deadlines = [
            self.engine.poll_timeout(),
            self.ready.deadline(),
            self.queues.deadline(&self.siblings, self.keeping()),
        ];
        let deadline = deadlines.into_iter().flatten().min()?;
        let now = clock::now();
        Some(if deadline > now {
            (deadline - now).into()
        } else {
            Duration::ZERO
        })
    }

    fn note(&mut self, event: &mio::event::Event) {
        match Readiness::try_from(event.token()) {
            Ok(Readiness::Inbox) => {
                self.ordered = true;
                self.ready.push(Readiness::Inbox);
            }
            Ok(Readiness::Uplink(number)) => self.queues.note(number),
            Ok(readiness @ Readiness::Flow(flow)) => {
                self.flows.note(flow, event);
                self.ready.push(readiness);
            }
            Ok(readiness @ (Readiness::Mapping(_) | Readiness::Echo(_) | Readiness::Published(_))) => {
                self.ready.push(readiness);
            }
            Err(Token(token)) => tracing::error!(token, "readiness of nothing that we registered"),
        }
    }

    fn read_frames(&mut self, now: Instant) {
        // Away from self, for each frame is handled with all of it.
        let mut queues = std::mem::take(&mut self.queues);
        for queue in queues.iter_mut().filter(|queue| queue.readable) {
            self.read_queue(now, queue);
        }
        self.queues = queues;
    }

    fn read_queue(&mut self, now: Instant, queue: &mut Queue) {
        let mut buffer = std::mem::take(&mut self.frame);
        self.engine.leave_newcomers(self.taker());
        for _ in 0..FRAMES_PER_TURN {
            if !queue.readable {
                break;
            }
            let mut handle = |offload, frame: &[u8]| self.handle_frame(now, offload, frame, Delivery::First);
            match queue.uplink.lend(&mut buffer, &mut handle) {
                Ok(()) => {}
                Err(FrameError::NotReady) => queue.readable = false,
                Err(error @ FrameError::Io(_)) => {
                    tracing::error!(%error, "the uplink is lost");
                    queue.readable = false;
                    self.stopping = true;
                }
                Err(
                    error @ (FrameError::BadHeader(_)
                    | FrameError::Truncated
                    | FrameError::Indescribable
                    | FrameError::NotWhole
                    | FrameError::NoBuffers),
                ) => tracing::debug!(%error, "frame of the bridge dropped"),
            }
        }
        self.frame = buffer;
    }

    /// Takes what a container may have said last before it went: as much as a queue of the uplink holds.
    pub(super) fn hear_out(&mut self, now: Instant) {
        self.queues.iter_mut().for_each(|queue| queue.readable = true);
        for _ in 0..UPLINK_QUEUE / FRAMES_PER_TURN {
            if !self.queues.readable() {
                break;
            }
            self.read_frames(now);
            self.flush_datagrams(now);
            self.act(now);
        }
        self.read_mail(now);
        self.flush_datagrams(now);
        self.act(now);
    }

    /// Who is to have the connections that containers open: the worker with the fewest, or this one. A TAP spreads flows
    /// over its queues by chance, and of four streams all may come to one worker while the other rests.
    fn taker(&self) -> Option<ShardId> {
        self.siblings.idler().filter(|_| !self.flows.pass_by())
    }

    fn handle_frame(&mut self, now: Instant, offload: Offload, frame: &[u8], delivery: Delivery) {
        let sent = match self.engine.handle_frame(now, offload, frame) {
            Passage::Done => return,
            Passage::Datagram {
                socket,
                target,
                payload,
                segment,
                handling,
            } => {
                let outgoing = Outgoing {
                    socket,
                    target,
                    payload,
                    segment,
                    handling,
                    frame,
                };
                let engine = &mut self.engine;
                return self.datagrams.send(self.poll.registry(), outgoing, |frame, why| {
                    engine.reject_frame(now, frame, why);
                });
            }
            Passage::Echo {
                echo,
                target,
                sequence,
                payload,
                handling,
            } => {
                let request = Request {
                    target,
                    sequence,
                    payload,
                    handling,
                };
                self.datagrams.ping(self.poll.registry(), echo, request)
            }
            Passage::Query { client, payload } => {
                if let Some(message) = self.events.query(client, payload) {
                    self.answer(now, client, &message);
                }
                return;
            }
            Passage::Whole { frame } => return self.handle_frame(now, Offload::ASSEMBLED, &frame, delivery),
            Passage::Relay { head } => return self.link.pass_on(offload, frame, &head),
            Passage::Elsewhere { shard } => {
                let mail = Mail::Frame {
                    offload,
                    frame: frame.into(),
                };
                // Whoever gave it to us is not the one who has it, either: its flow has just ended or moved.
                if delivery == Delivery::Handed || self.siblings.hand(shard, mail).is_err() {
                    self.astray += 1;
                }
                return;
            }
        };
        if let Err(why) = sent {
            self.engine.reject_frame(now, frame, why);
        }
    }

    fn flush_datagrams(&mut self, now: Instant) {
        let engine = &mut self.engine;
        self.datagrams
            .flush(self.poll.registry(), |frame, why| engine.reject_frame(now, frame, why));
    }

    fn serve_sources(&mut self, now: Instant) {
        for _ in 0..self.ready.len() {
            let Some(readiness) = self.ready.pop() else {
                return;
            };
            let more = match readiness {
                Readiness::Flow(flow) => self.flows.serve(now, &mut self.engine, flow),
                Readiness::Mapping(mapping) => self.datagrams.receive(now, &mut self.engine, &mut self.link, mapping),
                Readiness::Echo(echo) => self.datagrams.receive_echo(now, &mut self.engine, &mut self.link, echo),
                Readiness::Published(publish) => self.serve_published(now, publish),
                Readiness::Inbox => {
                    let more = self.read_mail(now);
                    self.act(now);
                    more
                }
                Readiness::Uplink(_) => false,
            };
            if more {
                self.ready.push(readiness);
            }
        }
    }

    /// Takes what siblings handed over, a bounded portion; true when more may wait.
    fn read_mail(&mut self, now: Instant) -> bool {
        self.engine.leave_newcomers(None);
        for _ in 0..FRAMES_PER_TURN {
            match self.mail.try_recv() {
                Ok(Mail::Frame { offload, frame }) => self.handle_frame(now, offload, &frame, Delivery::Handed),
                Ok(Mail::Client(client)) => self.flows.admit(now, &mut self.engine, self.poll.registry(), client),
                Ok(Mail::Queue { owner, uplink }) => self.take_queue(now, owner, uplink),
                Ok(Mail::Recall(owner)) => self.queues.give_back(self.poll.registry(), &self.siblings, owner),
                Err(_) => return false,
            }
        }
        true
    }

    fn serve_published(&mut self, now: Instant, publish: crate::stack::PublishId) -> bool {
        let registry = self.poll.registry();
        match self
            .flows
            .accept(now, &mut self.engine, registry, &self.siblings, publish)
        {
            Accepted::All => {}
            Accepted::Portion => return true,
            Accepted::Starved => self.ready.starve(now, Readiness::Published(publish)),
        }
        self.datagrams
            .receive_published(now, &mut self.engine, &mut self.link, publish)
    }

    /// Does what the engine wants done; whether there was anything.
    fn act(&mut self, now: Instant) -> bool {
        use crate::stack::Action;
        let mut acted = false;
        while let Some(action) = self.engine.poll_action() {
            acted = true;
            match action {
                Action::Connect { flow, target, handling } => {
                    let way = (target, handling);
                    self.flows
                        .connect(now, &mut self.engine, self.poll.registry(), flow, way, &self.events);
                    self.serve_flow(now, flow);
                }
                Action::Handle { flow, handling } => self.flows.handle(flow, handling),
                Action::Established { flow } | Action::Drain { flow } | Action::Fill { flow } => {
                    if action == (Action::Established { flow }) {
                        self.flows.establish(flow);
                    }
                    self.serve_flow(now, flow);
                }
                Action::Finish { flow } => self.flows.finish(flow),
                Action::Close { flow, how } => {
                    self.flows.close(now, &mut self.engine, self.poll.registry(), flow, how);
                }
                Action::CloseMapping { mapping } => self.datagrams.close_mapping(mapping),
                Action::CloseEcho { echo } => self.datagrams.close_echo(echo),
            }
        }
        acted
    }

    /// Moves what can be moved for a flow; what is left waits for its turn.
    fn serve_flow(&mut self, now: Instant, flow: FlowId) {
        if self.flows.serve(now, &mut self.engine, flow) {
            self.ready.push(Readiness::Flow(flow));
        }
    }

    fn write_frames(&mut self, now: Instant) {
        for _ in 0..FRAMES_PER_TURN {
            let Some(transmit) = self.engine.poll_transmit(now, &mut self.link.buffer) else {
                return;
            };
            self.link.send(transmit);
        }
        // Some may be left: come back at once.
        self.ready.push(Readiness::Uplink(0));
    }
}

/// How a frame came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delivery {
    /// Over our queue of the uplink.
    First,
    /// From a sibling.
    Handed,
}

/// Frames read, and frames written, in one turn: 64 superframes are 4 MB, about a millisecond of copying.
const FRAMES_PER_TURN: usize = 64;

/// Frames that a queue of the uplink holds: TUN_READQ_SIZE of drivers/net/tun.c, rounded up to whole turns.
const UPLINK_QUEUE: usize = 512;

/// Readiness events taken in one turn.
const EVENTS_PER_TURN: usize = 256;
