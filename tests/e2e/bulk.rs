//! A gibibyte each way, whole: with curl and files, and with peers that are slow to read or to write.

use std::time::Duration;

use crate::cases;
use crate::host::{HOST, Host, OUTSIDE, OUTSIDE6};
use crate::process::Program;
use crate::verdict::{Outcome, contains, fail, same};

cases![
    a_file_uploaded_by_curl,
    a_file_downloaded_through_a_published_port,
    out_to_a_slow_reader,
    out_from_a_slow_writer,
    in_to_a_slow_reader,
    in_from_a_slow_writer,
    in_over_ipv6,
];

fn a_file_uploaded_by_curl(host: &Host) -> Outcome {
    let server = host.outside_server("put", "put-server 0.0.0.0 7000")?;
    let (path, digest) = file(host)?;
    let mut upload = host.gangplank_start(
        "upload",
        &format!("run --rm -- curl -sS -T {path} http://{OUTSIDE}:7000/file"),
    )?;
    same("curl", upload.ends(LIMIT)?, 0)?;
    server.says(&format!("put {digest}"))
}

fn a_file_downloaded_through_a_published_port(host: &Host) -> Outcome {
    let (path, digest) = file(host)?;
    let folder = host.home();
    let server = format!(
        "{} -u -m http.server 80 --directory {}",
        host.python(),
        folder.display()
    );
    host.container("-p 8080:80", "web", &server, "Serving HTTP")?;
    let name = path.rsplit('/').next().unwrap_or_default();
    let fetch = format!("sh -c 'curl -sS http://{HOST}:8080/{name} | sha256sum'");
    contains("digest", &host.outside_within(LIMIT, &fetch)?.ok()?, &digest)
}

fn out_to_a_slow_reader(host: &Host) -> Outcome {
    out(host, "full", "slow", size(host))
}

fn out_from_a_slow_writer(host: &Host) -> Outcome {
    out(host, "slow", "full", size(host))
}

fn in_to_a_slow_reader(host: &Host) -> Outcome {
    into(host, "full", "slow", size(host))
}

fn in_from_a_slow_writer(host: &Host) -> Outcome {
    into(host, "slow", "full", size(host))
}

/// The container dials and takes, by superframes of the other family.
fn in_over_ipv6(host: &Host) -> Outcome {
    host.needs_ipv6()?;
    let size = size(host);
    let outside = host.outside_server("give", &format!("give listen {OUTSIDE6} 7000 {size} full"))?;
    let take = host.peer(&format!("take connect {OUTSIDE6} 7000 {size} full"));
    let inside = host.gangplank_start("take", &format!("run --rm -- {take}"))?;
    same("digest", digest(inside, "took", size)?, digest(outside, "gave", size)?)
}

/// The container dials and gives.
pub(crate) fn out(host: &Host, writer: &str, reader: &str, size: u64) -> Outcome {
    let outside = host.outside_server("take", &format!("take listen 0.0.0.0 7000 {size} {reader}"))?;
    let give = host.peer(&format!("give connect {OUTSIDE} 7000 {size} {writer}"));
    let inside = host.gangplank_start("give", &format!("run --rm -- {give}"))?;
    same("digest", digest(inside, "gave", size)?, digest(outside, "took", size)?)
}

/// The container dials and takes.
pub(crate) fn into(host: &Host, writer: &str, reader: &str, size: u64) -> Outcome {
    let outside = host.outside_server("give", &format!("give listen 0.0.0.0 7000 {size} {writer}"))?;
    let take = host.peer(&format!("take connect {OUTSIDE} 7000 {size} {reader}"));
    let inside = host.gangplank_start("take", &format!("run --rm -- {take}"))?;
    same("digest", digest(inside, "took", size)?, digest(outside, "gave", size)?)
}

/// Waits for the end of a peer: the digest of what it `gave` or `took`, the whole of it.
fn digest(mut peer: Program, did: &str, size: u64) -> Outcome<String> {
    same("its exit code", peer.ends(LIMIT)?, 0)?;
    let said = peer.output()?;
    let line = said
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{did} {size} ")));
    let Some(digest) = line else {
        fail!("no `{did} {size}` in {said:?}")
    };
    Ok(digest.to_owned())
}

/// A file of the user's and its digest.
fn file(host: &Host) -> Outcome<(String, String)> {
    let path = host.home().join("gibibyte").display().to_string();
    let size = size(host);
    let mut made = host.user_start("make-file", &host.peer(&format!("make-file {path} {size}")))?;
    same("make-file", made.ends(LIMIT)?, 0)?;
    Ok((path, made.output()?.trim().to_owned()))
}

/// Bytes of a transfer: 1 GiB, and an eighth of it where every frame goes alone, which takes about ten times as long.
fn size(host: &Host) -> u64 {
    if host.has_superframes() { 1 << 30 } else { 1 << 27 }
}

/// Time of one such case: a build without optimization on a busy machine.
const LIMIT: Duration = Duration::from_secs(240);
