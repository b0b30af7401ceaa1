//! The small loads of the benchmark: request and response, connects, many open flows, datagrams at a known rate.
//!
//! What iperf3 does not measure, or not without loss. One file and the standard library only, so that `rustc -O` makes
//! it; `run` compiles it, starts `serve` on the host and the other commands in the containers. Each of these prints one
//! line of JSON. It takes no part in the checks of data (`transfer.py`) and draws no conclusions (`report.py`).
//!
//! ```text
//! load serve ADDRESS PORT                               until killed; says "ready" first
//! load rr tcp|udp ADDRESS PORT SECONDS                  one message at a time: percentiles of the answer's time
//! load connect ADDRESS PORT CONCURRENCY SECONDS         connect, request, answer, close: how many a second
//! load hold ADDRESS PORT COUNT SECONDS                  opens flows that have each said a word, and keeps them until stdin ends
//! load datagrams out|in ADDRESS PORT SIZE SEGMENT SECONDS
//!                                                       the highest rate that loses less than one in a thousand;
//!                                                       SEGMENT > 0: sends of SIZE bytes that the kernel cuts (udp(7), UDP_SEGMENT)
//! ```
//!
//! The server's ports: PORT echoes over TCP and UDP, PORT+1 keeps what `hold` opens, PORT+2 takes orders for datagrams.

use std::error::Error;
use std::ffi::{c_int, c_void};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["serve", address, port] => serve(address.parse()?, port.parse()?),
        ["rr", "tcp", address, port, seconds] => rr_tcp(at(address, port, 0)?, seconds.parse()?),
        ["rr", "udp", address, port, seconds] => rr_udp(at(address, port, 0)?, seconds.parse()?),
        ["connect", address, port, concurrency, seconds] => {
            connect(at(address, port, 0)?, concurrency.parse()?, seconds.parse()?)
        }
        ["hold", address, port, count, seconds] => hold(at(address, port, 1)?, count.parse()?, seconds.parse()?),
        ["datagrams", way @ ("out" | "in"), address, port, size, segment, seconds] => {
            let trial = Duration::from_secs_f64(seconds.parse()?);
            datagrams(
                way == "out",
                at(address, port, 2)?,
                size.parse()?,
                segment.parse()?,
                trial,
            )
        }
        _ => Err("usage: see the top of load.rs".into()),
    }
}

fn at(address: &str, port: &str, offset: u16) -> Outcome<SocketAddr> {
    Ok(SocketAddr::new(address.parse()?, port.parse::<u16>()? + offset))
}

// The server

/// Everything is bound before "ready" is said.
fn serve(address: IpAddr, port: u16) -> Outcome {
    let echo = TcpListener::bind((address, port))?;
    let datagrams = UdpSocket::bind((address, port))?;
    let keep = TcpListener::bind((address, port + 1))?;
    let orders = TcpListener::bind((address, port + 2))?;
    for _ in 0..WORKERS {
        let echo = echo.try_clone()?;
        thread::spawn(move || echo_streams(&echo));
    }
    thread::spawn(move || echo_datagrams(&datagrams));
    thread::spawn(move || keep_streams(&keep));
    println!("ready");
    for order in orders.incoming() {
        let order = order?;
        thread::spawn(move || take_orders(order, address));
    }
    Ok(())
}

/// One connection at a time, as often as there are workers.
fn echo_streams(listener: &TcpListener) {
    let mut message = [0; MESSAGE];
    for mut stream in listener.incoming().flatten() {
        let _ = stream.set_nodelay(true);
        while stream
            .read_exact(&mut message)
            .and_then(|()| stream.write_all(&message))
            .is_ok()
        {}
    }
}

fn echo_datagrams(socket: &UdpSocket) {
    let mut buffer = [0; MESSAGE];
    loop {
        if let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..length], peer);
        }
    }
}

/// Answers each connection once and keeps it.
fn keep_streams(listener: &TcpListener) {
    let mut kept = Vec::new();
    let mut message = [0; MESSAGE];
    for mut stream in listener.incoming().flatten() {
        let _ = stream.set_read_timeout(Some(PATIENCE));
        if stream
            .read_exact(&mut message)
            .and_then(|()| stream.write_all(&message))
            .is_ok()
        {
            kept.push(stream);
        }
    }
}

/// The server's half of `datagrams`: it counts what comes, or sends at the rate that is ordered.
fn take_orders(stream: TcpStream, address: IpAddr) -> Outcome {
    let mut orders = Orders::new(stream)?;
    let first = orders.hear()?;
    let [Some(way), Some(size), Some(segment)] = words(&first) else {
        return Err("no order".into());
    };
    let (out, size, segment) = (way == "out", size.parse()?, segment.parse()?);
    let socket = UdpSocket::bind((address, 0))?;
    prepare(&socket, segment)?;
    orders.say(format_args!("{}", socket.local_addr()?.port()))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(socket.recv_from(&mut [0; MESSAGE])?.1)?;
    orders.say(format_args!("met"))?;
    if out {
        let mut counter = Counter::start(&socket)?;
        while orders.hear()? == "begin" {
            counter.reset();
            orders.say(format_args!("go"))?;
            orders.hear()?;
            orders.say(format_args!("{}", counter.settled()))?;
        }
    } else {
        loop {
            let order = orders.hear()?;
            let [Some(rate), Some(seconds)] = words(&order) else {
                return Ok(());
            };
            let sent = send_paced(&socket, size, rate.parse()?, Duration::from_secs_f64(seconds.parse()?));
            orders.say(format_args!("{sent}"))?;
        }
    }
    Ok(())
}

// Request and response

fn rr_tcp(server: SocketAddr, seconds: f64) -> Outcome {
    let mut stream = TcpStream::connect(server)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut message = [0; MESSAGE];
    ask(seconds, |_| {
        stream.write_all(&message)?;
        stream.read_exact(&mut message)?;
        Ok(true)
    })
}

/// A lost datagram is counted, not waited for much longer than any answer takes.
fn rr_udp(server: SocketAddr, seconds: f64) -> Outcome {
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    let mut message = [0; MESSAGE];
    ask(seconds, |number| {
        message[..8].copy_from_slice(&number.to_le_bytes());
        socket.send(&message)?;
        let mut answer = [0; MESSAGE];
        loop {
            match socket.recv(&mut answer) {
                Ok(_) if answer == message => return Ok(true),
                Ok(_) => {} // the late answer to one that was given up
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    })
}

/// Asks again and again, a tenth of the time to warm up; prints the percentiles in microseconds.
fn ask(seconds: f64, mut once: impl FnMut(u64) -> io::Result<bool>) -> Outcome {
    let start = Instant::now();
    let (mut times, mut lost) = (Vec::with_capacity(1 << 20), 0);
    for number in 0.. {
        let asked = Instant::now();
        let since = asked.duration_since(start).as_secs_f64();
        if since > seconds {
            break;
        }
        let answered = once(number)?;
        if since < seconds / 10.0 {
            continue;
        }
        if answered {
            times.push(asked.elapsed());
        } else {
            lost += 1;
        }
    }
    if times.is_empty() {
        return Err("no answer at all".into());
    }
    times.sort_unstable();
    let micros = |percent: usize| times[times.len() * percent / 100].as_secs_f64() * 1e6;
    println!(
        r#"{{"p50": {:.2}, "p99": {:.2}, "count": {}, "lost": {lost}}}"#,
        micros(50),
        micros(99),
        times.len()
    );
    Ok(())
}

// Connections

fn connect(server: SocketAddr, concurrency: usize, seconds: f64) -> Outcome {
    let (done, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..concurrency {
            scope.spawn(|| {
                while start.elapsed().as_secs_f64() < seconds {
                    let count = if converse(server).is_ok() { &done } else { &failed };
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let done = done.into_inner();
    println!(
        r#"{{"per_second": {:.1}, "count": {done}, "failed": {}}}"#,
        done as f64 / start.elapsed().as_secs_f64(),
        failed.into_inner()
    );
    Ok(())
}

/// Connects and has one word answered.
fn converse(server: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut message = [7; MESSAGE];
    stream.write_all(&message)?;
    stream.read_exact(&mut message)?;
    Ok(stream)
}

/// Opens what it can in the time there is; says how many, and the error that stopped it.
fn hold(server: SocketAddr, count: usize, seconds: f64) -> Outcome {
    let start = Instant::now();
    let (mut held, mut stopped) = (Vec::with_capacity(count), String::new());
    while held.len() < count && start.elapsed().as_secs_f64() < seconds {
        match converse(server) {
            Ok(stream) => held.push(stream),
            Err(error) => {
                stopped = error.to_string();
                break;
            }
        }
    }
    println!(
        r#"{{"held": {}, "seconds": {:.3}, "stopped": {stopped:?}}}"#,
        held.len(),
        start.elapsed().as_secs_f64()
    );
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

// Datagrams

/// Looks for the highest rate that arrives: doubles until something is lost, then halves the interval.
fn datagrams(out: bool, server: SocketAddr, size: usize, segment: usize, trial: Duration) -> Outcome {
    let mut orders = Orders::new(TcpStream::connect(server)?)?;
    orders.say(format_args!("{} {size} {segment}", if out { "out" } else { "in" }))?;
    let port = orders.hear()?.parse()?;
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    prepare(&socket, segment)?;
    socket.connect((server.ip(), port))?;
    for _ in 0..5 {
        socket.send(b"hello")?;
        thread::sleep(Duration::from_millis(10));
    }
    orders.hear()?;
    let mut counter = if out { None } else { Some(Counter::start(&socket)?) };
    let mut attempt = |rate: f64| -> Outcome<Trial> {
        let (sent, received) = match &mut counter {
            None => {
                orders.say(format_args!("begin"))?;
                orders.hear()?;
                let sent = send_paced(&socket, size, rate, trial);
                orders.say(format_args!("end"))?;
                (sent, orders.hear()?.parse()?)
            }
            Some(counter) => {
                counter.reset();
                orders.say(format_args!("{rate} {}", trial.as_secs_f64()))?;
                (orders.hear()?.parse()?, counter.settled())
            }
        };
        Ok(Trial { sent, received })
    };
    let wanted = |rate: f64| (rate * trial.as_secs_f64() * size as f64) as u64;
    // What a busy machine loses once may arrive the second time.
    let mut try_twice = |rate: f64| -> Outcome<Trial> {
        let first = attempt(rate)?;
        if first.arrived() { Ok(first) } else { attempt(rate) }
    };
    let (mut low, mut high, mut best) = (0.0, 1e6 / size as f64, Trial::default());
    let mut sender_is_full = false;
    for _ in 0..DOUBLINGS {
        let trial = try_twice(high)?;
        if !trial.arrived() {
            break;
        }
        best = best.better(trial);
        sender_is_full = trial.sent < wanted(high) / 10 * 9;
        if sender_is_full {
            break;
        }
        (low, high) = (high, high * 2.0);
    }
    for _ in 0..if sender_is_full { 0 } else { HALVINGS } {
        let middle = (low + high) / 2.0;
        let trial = try_twice(middle)?;
        if trial.arrived() {
            best = best.better(trial);
            low = middle;
        } else {
            high = middle;
        }
    }
    let bytes = best.received as f64 / trial.as_secs_f64();
    let unit = if segment > 0 { segment } else { size };
    println!(
        r#"{{"gbps": {:.4}, "per_second": {:.0}, "sender_is_full": {sender_is_full}}}"#,
        bytes * 8.0 / 1e9,
        bytes / unit as f64
    );
    Ok(())
}

/// Bytes of payload that were offered and that arrived.
#[derive(Clone, Copy, Default)]
struct Trial {
    sent: u64,
    received: u64,
}

impl Trial {
    /// Less than one in a thousand was lost.
    fn arrived(self) -> bool {
        self.sent > 0 && self.received * 1000 > self.sent * 999
    }

    fn better(self, other: Self) -> Self {
        if other.received > self.received { other } else { self }
    }
}

/// Sends at a steady rate; bytes offered. What the socket refuses is offered, and lost.
fn send_paced(socket: &UdpSocket, size: usize, rate: f64, duration: Duration) -> u64 {
    let payload = vec![0x5a; size];
    let (start, mut sent) = (Instant::now(), 0);
    loop {
        let elapsed = start.elapsed();
        if elapsed >= duration {
            return sent * size as u64;
        }
        let due = (elapsed.as_secs_f64() * rate) as u64 + 1;
        if sent >= due {
            thread::sleep(Duration::from_micros(50));
        }
        // A sender that was not scheduled makes good for it in bursts that a queue of the kernel's default length takes.
        for _ in sent..due.min(sent + BURST) {
            let _ = socket.send(&payload);
            sent += 1;
        }
    }
}

/// Counts the bytes that arrive on a socket, on a thread of its own.
struct Counter {
    bytes: Arc<AtomicU64>,
    from: u64,
}

impl Counter {
    fn start(socket: &UdpSocket) -> Outcome<Self> {
        let socket = socket.try_clone()?;
        socket.set_read_timeout(None)?;
        let bytes = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&bytes);
        thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            loop {
                // An error is a queued ICMP message; the next datagram follows it.
                if let Ok(length) = socket.recv(&mut buffer) {
                    counted.fetch_add(length as u64, Ordering::Relaxed);
                }
            }
        });
        Ok(Self { bytes, from: 0 })
    }

    fn reset(&mut self) {
        self.from = self.settled() + self.from;
    }

    /// What has come since the last reset, once nothing has come for a while.
    fn settled(&self) -> u64 {
        let mut before = self.bytes.load(Ordering::Relaxed);
        for _ in 0..40 {
            thread::sleep(Duration::from_millis(50));
            let now = self.bytes.load(Ordering::Relaxed);
            if now == before {
                break;
            }
            before = now;
        }
        before - self.from
    }
}

/// Room for bursts; with a segment size, the kernel cuts what is sent and joins what comes.
fn prepare(socket: &UdpSocket, segment: usize) -> Outcome {
    set_option(socket, SOL_SOCKET, SO_RCVBUF, 4 << 20)?;
    if segment > 0 {
        set_option(socket, SOL_UDP, UDP_SEGMENT, segment.try_into()?)?;
        set_option(socket, SOL_UDP, UDP_GRO, 1)?;
    }
    Ok(())
}

fn set_option(socket: &UdpSocket, level: c_int, name: c_int, value: c_int) -> Outcome {
    let length = u32::try_from(size_of::<c_int>())?;
    // SAFETY: the value lives until the call returns, and its length is the one that is given.
    let done = unsafe { setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), length) };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error().into())
    }
}

unsafe extern "C" {
    fn setsockopt(socket: c_int, level: c_int, name: c_int, value: *const c_void, length: u32) -> c_int;
}

// Orders: lines of words between the two halves of `datagrams`

struct Orders {
    reader: BufReader<TcpStream>,
}

impl Orders {
    fn new(stream: TcpStream) -> Outcome<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            reader: BufReader::new(stream),
        })
    }

    fn say(&mut self, line: std::fmt::Arguments<'_>) -> Outcome {
        Ok(self.reader.get_mut().write_all(format!("{line}\n").as_bytes())?)
    }

    fn hear(&mut self) -> Outcome<String> {
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }
}

fn words<const N: usize>(line: &str) -> [Option<&str>; N] {
    let mut words = line.split(' ').filter(|word| !word.is_empty());
    std::array::from_fn(|_| words.next())
}

/// Bytes of a request and of its answer.
const MESSAGE: usize = 64;
/// Connections that are answered at the same time; more than any concurrency that is asked for.
const WORKERS: usize = 32;
/// How long anything may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// From 8 Mb/s, 13 doublings reach 65 Gb/s: more than a machine of this kind copies.
const DOUBLINGS: usize = 13;
/// The rate that is found is this exact: one part in 32 of its last doubling.
const HALVINGS: usize = 5;
/// Datagrams that are sent without a look at the clock.
const BURST: u64 = 64;

// asm-generic/socket.h and linux/udp.h
const SOL_SOCKET: c_int = 1;
const SO_RCVBUF: c_int = 8;
const SOL_UDP: c_int = 17;
const UDP_SEGMENT: c_int = 103;
const UDP_GRO: c_int = 104;
