//! The driver of the data plane: one thread that waits, feeds the engine, drains it and arms the next wait.
//!
//! It owns every descriptor over which packets pass (uplink, host sockets, published ports) and takes no protocol
//! decision. The supervisor talks to it by [`Command`] and hears [`Event`]s; nothing here waits for either.
//!
//! One turn of the loop:
//!
//! 1. wait for readiness, a command or the engine's deadline; not at all while work is left over;
//! 2. feed: frames of the uplink, at most [`FRAMES_PER_TURN`]; then the host sockets that are ready;
//! 3. drain: actions of the engine until there is none, then frames for the uplink, at most [`FRAMES_PER_TURN`].
//!
//! Every queue is served in turn and in bounded portions, so that no flow starves another.

mod command;
mod datagrams;
mod flows;
mod ready;
mod token;

use std::io;
use std::os::fd::AsRawFd;
use std::sync::mpsc;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Poll, Token, Waker};
use smoltcp::time::Instant;

use crate::stack::{Config, Engine, Passage};
use crate::sys::clock;
use crate::sys::mapping::Mappings;
use crate::uplink::{FRAME_BYTES, FrameError, Uplink};

pub use command::{Command, DriverHandle, Event, Events};

use datagrams::Datagrams;
use flows::{Accepted, Flows};
use ready::Ready;
use token::Readiness;

/// Starts the driver's thread.
pub fn spawn(config: Config, seed: [u64; 4], uplink: Box<dyn Uplink>, events: Events) -> io::Result<DriverHandle> {
    let poll = Poll::new()?;
    let registry = poll.registry();
    let waker = Waker::new(registry, Readiness::Command.into())?;
    registry.register(
        &mut SourceFd(&uplink.as_fd().as_raw_fd()),
        Readiness::Uplink.into(),
        Interest::READABLE,
    )?;
    let (sender, receiver) = mpsc::channel();
    let driver = Driver {
        poll,
        link: Link::new(uplink),
        engine: Engine::new(config, Box::new(Mappings::default()), seed),
        flows: Flows::default(),
        datagrams: Datagrams::default(),
        frame: vec![0; FRAME_BYTES].into_boxed_slice(),
        ready: Ready::default(),
        commands: receiver,
        events,
        stopping: false,
    };
    let thread = std::thread::Builder::new()
        .name("stack".to_owned())
        .spawn(move || driver.run())?;
    Ok(DriverHandle::new(sender, waker, thread))
}

/// The uplink with its readiness and the one buffer that every outgoing frame is written into.
#[derive(Debug)]
struct Link {
    uplink: Box<dyn Uplink>,
    readable: bool,
    buffer: Box<[u8]>,
    /// Frames that the kernel had no room for; TCP sends them again, datagrams are lost as on any wire.
    dropped: u64,
}

#[derive(Debug)]
struct Driver {
    poll: Poll,
    link: Link,
    engine: Engine,
    flows: Flows,
    datagrams: Datagrams,
    /// The frame being handled.
    frame: Box<[u8]>,
    ready: Ready,
    commands: mpsc::Receiver<Command>,
    events: Events,
    stopping: bool,
}

impl Driver {
    fn run(mut self) {
        let mut events = mio::Events::with_capacity(EVENTS_PER_TURN);
        while !self.stopping {
            if let Err(error) = self.poll.poll(&mut events, self.patience())
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "the data plane cannot wait for its descriptors");
                break;
            }
            for event in &events {
                self.note(event);
            }
            self.turn(clock::now());
        }
    }

    fn turn(&mut self, now: Instant) {
        self.read_frames(now);
        self.ready.wake(now);
        self.serve_sources(now);
        self.engine.handle_timeout(now);
        self.act(now);
        self.write_frames(now);
        if self.act(now) {
            // What was sent has changed a flow's state, and what was done about it may be to be sent: come back at once.
            self.ready.push(Readiness::Uplink);
        }
    }

    /// How long to wait at most.
    fn patience(&self) -> Option<Duration> {
        if self.link.readable || self.ready.len() > 0 {
            return Some(Duration::ZERO);
        }
        let deadlines = [self.engine.poll_timeout(), self.ready.deadline()];
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
            Ok(Readiness::Command) => self.obey(),
            Ok(Readiness::Uplink) => self.link.readable = true,
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
        for _ in 0..FRAMES_PER_TURN {
            if !self.link.readable {
                return;
            }
            match self.link.uplink.recv(&mut self.frame) {
                Ok((offload, len)) => self.handle_frame(now, offload, len),
                Err(FrameError::NotReady) => self.link.readable = false,
                Err(error @ FrameError::Io(_)) => {
                    tracing::error!(%error, "the uplink is lost");
                    self.link.readable = false;
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
    }

    fn handle_frame(&mut self, now: Instant, offload: crate::stack::Offload, len: usize) {
        let frame = &self.frame[..len];
        let sent = match self.engine.handle_frame(now, offload, frame) {
            Passage::Done => return,
            Passage::Datagram {
                socket,
                target,
                payload,
                segment,
            } => self
                .datagrams
                .send(self.poll.registry(), socket, target, payload, segment),
            Passage::Echo {
                echo,
                target,
                sequence,
                payload,
            } => self
                .datagrams
                .ping(self.poll.registry(), echo, target, sequence, payload),
            Passage::Query { client, payload } => {
                self.events.query(client, payload);
                return;
            }
        };
        if let Err(why) = sent {
            self.engine.reject_frame(now, frame, why);
        }
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
                Readiness::Command | Readiness::Uplink => false,
            };
            if more {
                self.ready.push(readiness);
            }
        }
    }

    fn serve_published(&mut self, now: Instant, publish: crate::stack::PublishId) -> bool {
        let registry = self.poll.registry();
        match self.flows.accept(now, &mut self.engine, registry, publish) {
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
                Action::Connect { flow, target } => {
                    self.flows
                        .connect(now, &mut self.engine, self.poll.registry(), flow, target, &self.events);
                }
                Action::Established { flow } | Action::Drain { flow } | Action::Fill { flow } => {
                    if action == (Action::Established { flow }) {
                        self.flows.establish(flow);
                    }
                    if self.flows.serve(now, &mut self.engine, flow) {
                        self.ready.push(Readiness::Flow(flow));
                    }
                }
                Action::Finish { flow } => self.flows.finish(flow),
                Action::Close { flow, how } => self.flows.close(flow, how),
                Action::CloseMapping { mapping } => self.datagrams.close_mapping(mapping),
                Action::CloseEcho { echo } => self.datagrams.close_echo(echo),
            }
        }
        acted
    }

    fn write_frames(&mut self, now: Instant) {
        for _ in 0..FRAMES_PER_TURN {
            let Some(transmit) = self.engine.poll_transmit(now, &mut self.link.buffer) else {
                return;
            };
            self.link.send(transmit);
        }
        // Some may be left: come back at once.
        self.ready.push(Readiness::Uplink);
    }
}

impl Link {
    fn new(uplink: Box<dyn Uplink>) -> Self {
        Self {
            uplink,
            readable: true,
            buffer: vec![0; FRAME_BYTES].into_boxed_slice(),
            dropped: 0,
        }
    }

    /// Sends what the engine wrote into the buffer.
    fn send(&mut self, transmit: crate::stack::Transmit) {
        if let Err(error) = self.uplink.send(transmit.offload, &self.buffer[..transmit.len]) {
            self.dropped += 1;
            tracing::debug!(%error, len = transmit.len, "frame to the bridge dropped");
        }
    }
}

/// Frames read, and frames written, in one turn: 64 superframes are 4 MB, about a millisecond of copying.
const FRAMES_PER_TURN: usize = 64;

/// Readiness events taken in one turn.
const EVENTS_PER_TURN: usize = 256;
