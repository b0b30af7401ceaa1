//! The loads of `lookups`: questions for a name, and bare messages of the same length beside them.
//!
//! One file and the standard library only, so that `rustc -O` makes it. Each command prints one line of JSON.
//!
//! ```text
//! lookups echo ADDRESS PORT                    until killed; says "ready" first
//! lookups ask ADDRESS PORT NAME SECONDS        one question at a time: percentiles of the answer's time, in microseconds
//! lookups bare ADDRESS PORT NAME SECONDS       the same bytes to an echo
//! lookups pour ADDRESS PORT NAME RATE SECONDS  so many questions a second, as far as there are answers: how many there were
//! ```

use std::error::Error;
use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["echo", address, port] => echo(address, port.parse()?),
        ["ask", address, port, name, seconds] => ask(&socket(address, port)?, name, seconds.parse()?, true),
        ["bare", address, port, name, seconds] => ask(&socket(address, port)?, name, seconds.parse()?, false),
        ["pour", address, port, name, rate, seconds] => {
            pour(&socket(address, port)?, name, rate.parse()?, seconds.parse()?)
        }
        _ => Err("usage: see the top of lookups.rs".into()),
    }
}

fn socket(address: &str, port: &str) -> Outcome<UdpSocket> {
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    socket.connect((address, port.parse()?))?;
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    Ok(socket)
}

fn echo(address: &str, port: u16) -> Outcome {
    let socket = UdpSocket::bind((address, port))?;
    println!("ready");
    let mut buffer = [0; 2048];
    loop {
        if let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..length], peer);
        }
    }
}

/// RFC 1035 section 4.1: a question for the address of `name`.
fn question(name: &str, id: u16) -> Vec<u8> {
    let mut message = [&id.to_be_bytes()[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).unwrap_or(0));
        message.extend_from_slice(label.as_bytes());
    }
    message.extend_from_slice(&[0, 0, 1, 0, 1]);
    message
}

/// An answer to the question `id` that has a record.
fn answers(message: &[u8], id: u16) -> bool {
    message.len() > 12 && message[..2] == id.to_be_bytes() && message[3] & 15 == 0 && message[7] > 0
}

fn ask(socket: &UdpSocket, name: &str, seconds: f64, dns: bool) -> Outcome {
    let start = Instant::now();
    let (mut times, mut lost, mut buffer) = (Vec::new(), 0, [0; 2048]);
    for id in (0..=u16::MAX).cycle() {
        let asked = Instant::now();
        if start.elapsed().as_secs_f64() > seconds {
            break;
        }
        let message = question(name, id);
        socket.send(&message)?;
        match socket.recv(&mut buffer) {
            Ok(length) if dns && answers(&buffer[..length], id) => times.push(asked.elapsed()),
            Ok(length) if !dns && buffer[..length] == message[..] => times.push(asked.elapsed()),
            Ok(_) | Err(_) => lost += 1,
        }
    }
    times.sort_unstable();
    let micros = |percent: usize| {
        times
            .get(times.len() * percent / 100)
            .map_or(0.0, |it| it.as_secs_f64() * 1e6)
    };
    let (p50, p99, count) = (micros(50), micros(99), times.len());
    println!(r#"{{"p50": {p50:.1}, "p99": {p99:.1}, "count": {count}, "lost": {lost}}}"#);
    Ok(())
}

/// One thread asks, never more than a window ahead of the answers, as a resolver's clients are; the other counts what comes
/// until nothing has come for half a second. What is lost leaves the window after as long.
fn pour(socket: &UdpSocket, name: &str, rate: u32, seconds: u32) -> Outcome {
    let answered = Arc::new(AtomicU64::new(0));
    let (counter, counted) = (socket.try_clone()?, Arc::clone(&answered));
    let counting = thread::spawn(move || count_answers(&counter, &counted));
    let (start, all) = (Instant::now(), u64::from(rate) * u64::from(seconds));
    let (mut sent, mut given_up) = (0, 0);
    while sent < all {
        let due = (start.elapsed().as_secs_f64() * f64::from(rate)) as u64;
        let window = answered.load(Ordering::Relaxed) + given_up + WINDOW;
        while sent < due.min(all).min(window) {
            let [.., high, low] = u64::to_be_bytes(sent);
            socket.send(&question(name, u16::from_be_bytes([high, low])))?;
            sent += 1;
        }
        if sent == window && !comes_more(&answered) {
            given_up = sent - answered.load(Ordering::Relaxed);
        }
        thread::yield_now();
    }
    let took = start.elapsed().as_secs_f64();
    counting.join().map_err(|_| "the counter failed")??;
    let answered = answered.load(Ordering::Relaxed);
    println!(r#"{{"sent": {sent}, "answered": {answered}, "seconds": {took:.2}}}"#);
    Ok(())
}

fn count_answers(socket: &UdpSocket, answered: &AtomicU64) -> io::Result<()> {
    let mut buffer = [0; 2048];
    loop {
        match socket.recv(&mut buffer) {
            Ok(length) => {
                let id = u16::from_be_bytes([buffer[0], buffer[1]]);
                answered.fetch_add(u64::from(answers(&buffer[..length], id)), Ordering::Relaxed);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Waits for another answer, not for long.
fn comes_more(answered: &AtomicU64) -> bool {
    let (before, start) = (answered.load(Ordering::Relaxed), Instant::now());
    while answered.load(Ordering::Relaxed) == before {
        if start.elapsed() > Duration::from_millis(400) {
            return false;
        }
        thread::yield_now();
    }
    true
}

/// Questions without an answer at a time.
const WINDOW: u64 = 64;
