//! As much HTTP/1.0 (RFC 1945) as the tour needs: a server that says who it is and who asks, and a client.
//!
//! It is in the binary so that the tour runs on a machine with no image, no python and no network.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread::sleep;
use std::time::Duration;

/// Serves on `port` of every address, one client after the other, until it is killed.
pub(super) fn serve(name: &str, port: u16) -> io::Result<()> {
    answer_all(&TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?, name)
}

/// Answers every client of `listener`.
pub(super) fn answer_all(listener: &TcpListener, name: &str) -> io::Result<()> {
    loop {
        let (stream, client) = listener.accept()?;
        // A client that goes away harms only itself.
        let _ = answer(stream, client, name);
    }
}

/// Fetches `/` of `server` and returns the body; a server that has just been started gets a moment to listen.
pub(super) fn get(server: SocketAddr) -> io::Result<String> {
    let mut tries = 0;
    loop {
        match get_once(server) {
            Err(error) if is_early(&error) && tries < TRIES => sleep(PAUSE),
            outcome => return outcome,
        }
        tries += 1;
    }
}

fn get_once(server: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET / HTTP/1.0\r\nHost: {server}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.0 200 ") => Ok(body.trim_end().to_owned()),
        Some(_) | None => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("no answer of ours: {answer:?}"),
        )),
    }
}

/// Nobody listens yet: refused, or behind a published port accepted and reset.
fn is_early(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

fn answer(stream: TcpStream, client: SocketAddr, name: &str) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream.take(REQUEST_BYTES));
    let mut line = String::new();
    // The head ends with an empty line; what it says does not matter here.
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let body = format!("hello from {name}, you are {}\n", client.ip());
    let mut stream = reader.into_inner().into_inner();
    write!(
        stream,
        "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// How long either side waits for the other.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often, and how far apart, a server that does not listen yet is tried: two seconds.
const TRIES: usize = 100;
const PAUSE: Duration = Duration::from_millis(20);

/// The longest request that is read.
const REQUEST_BYTES: u64 = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_and_server_understand_each_other() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || answer_all(&listener, "test"));
        assert_eq!(get(address).unwrap(), "hello from test, you are 127.0.0.1");
    }
}
