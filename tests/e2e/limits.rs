//! Descriptors: counted before they run out, and what happens when they do.

use std::time::Duration;

use crate::cases;
use crate::host::{Host, LIMIT, OUTSIDE};
use crate::process::{PATIENCE, pause, until};
use crate::verdict::{Outcome, contains, fail, holds, same};

cases![
    connections_are_refused_before_descriptors_run_out,
    without_descriptors_connections_are_refused_at_once,
    clients_wait_while_descriptors_have_run_out,
];

/// One container asks for ten times what there is, and keeps what it gets.
fn connections_are_refused_before_descriptors_run_out(host: &Host) -> Outcome {
    let _server = host.outside_server("echo", "tcp-echo 0.0.0.0 7000")?;
    host.user(&format!("prlimit --nofile={DESCRIPTORS} {} up", host.binary()))?
        .ok()?;
    let helper = host.network("helper_pid")?;
    let asked = 10 * (DESCRIPTORS - OWN_DESCRIPTORS);
    let crowd = host.peer(&format!("crowd {OUTSIDE} 7000 {asked}"));
    host.gangplank(&format!("run -d --name crowd -- {crowd}"))?.ok()?;
    until(LIMIT, "all have been tried", || {
        Ok(host.gangplank("logs crowd")?.ok()?.contains("kept"))
    })?;
    let crowd = Crowd::of(host)?;
    same("answered", crowd.right, crowd.kept)?;
    same("kept or refused", crowd.kept + crowd.refused, asked)?;
    holds(
        format!("{} of {DESCRIPTORS} descriptors carry connections", crowd.kept),
        (50..DESCRIPTORS - OWN_DESCRIPTORS).contains(&crowd.kept),
    )?;
    holds(format!("refused within {} ms", crowd.slowest), crowd.slowest < SOON_MS)?;
    let spent = ticks_in_a_second(&helper)?;
    holds(format!("it rests ({spent} ticks)"), spent < FEW_TICKS)?;
    let counters = host.gangplank("network inspect gp0")?.ok()?;
    contains("counters", &counters, &format!("\"refused_flows\": {}", crowd.refused))?;
    // Commands and neighbours have their share, and what one gives back another may have.
    let ask = format!("run --rm -- {}", host.peer(&format!("tcp-ask {OUTSIDE} 7000 hello")));
    same("a neighbour", host.gangplank(&ask)?.ok()?.as_str(), "answer hello")?;
    host.gangplank("rm -f crowd")?.ok()?;
    let many = format!("run --rm -- {}", host.peer(&format!("many {OUTSIDE} 7000 50")));
    same("afterwards", host.gangplank(&many)?.ok()?.as_str(), "right 50")
}

/// The same where something else has used them up.
fn without_descriptors_connections_are_refused_at_once(host: &Host) -> Outcome {
    let _server = host.outside_server("echo", "tcp-echo 0.0.0.0 7000")?;
    host.gangplank("up")?.ok()?;
    let helper = host.network("helper_pid")?;
    let [begin, script, said] = ["begin", "crowd", "said"].map(|name| host.home().join(name));
    let crowd = host.peer(&format!("crowd {OUTSIDE} 7000 1000"));
    let wait = format!("until [ -e {} ]; do sleep 0.1; done", begin.display());
    std::fs::write(&script, format!("echo ready; {wait}; {crowd} | tee {}", said.display()))?;
    host.container("", "crowd", &format!("sh {}", script.display()), "ready")?;
    host.user(&format!("prlimit --pid {helper} --nofile=4:"))?.ok()?;
    std::fs::write(&begin, "")?;
    // Not by `logs`, which takes a descriptor.
    until(LIMIT, "all have been tried", || {
        Ok(std::fs::read_to_string(&said).is_ok_and(|said| said.ends_with('\n')))
    })?;
    let spent = ticks_in_a_second(&helper)?;
    host.user(&format!("prlimit --pid {helper} --nofile=1024:"))?.ok()?;
    holds(format!("it does not spin ({spent} ticks)"), spent < FEW_TICKS)?;
    host.logged("crowd", "kept")?;
    let crowd = Crowd::of(host)?;
    same("kept, refused", (crowd.kept, crowd.refused), (0, 1000))?;
    holds(format!("refused within {} ms", crowd.slowest), crowd.slowest < SOON_MS)?;
    let ask = format!("run --rm -- {}", host.peer(&format!("tcp-ask {OUTSIDE} 7000 hello")));
    same("afterwards", host.gangplank(&ask)?.ok()?.as_str(), "answer hello")
}

/// The listener's edge has passed by the time that descriptors are back: nothing may depend on another client.
fn clients_wait_while_descriptors_have_run_out(host: &Host) -> Outcome {
    let echo = host.peer("tcp-echo 0.0.0.0 7000");
    host.gangplank("up")?.ok()?;
    host.container("-p 8080:7000", "echo", &echo, "ready")?;
    let helper = host.network("helper_pid")?;
    host.user(&format!("prlimit --pid {helper} --nofile=4:"))?.ok()?;
    let mut asks = host.user_start("ask", &host.peer("tcp-ask 127.0.0.1 8080 hello"))?;
    until(PATIENCE, "it has called", || {
        Ok(!host.root("ss -Htn sport = :8080")?.ok()?.is_empty())
    })?;
    let spent = ticks_in_a_second(&helper)?;
    host.user(&format!("prlimit --pid {helper} --nofile=1024:"))?.ok()?;
    asks.says("answer hello")?;
    same("exit code", asks.ends(PATIENCE)?, 0)?;
    holds(format!("it waited without spinning ({spent} ticks)"), spent < FEW_TICKS)
}

/// What the container `crowd` has said.
struct Crowd {
    kept: usize,
    right: usize,
    refused: usize,
    /// Milliseconds of the slowest refusal.
    slowest: usize,
}

impl Crowd {
    fn of(host: &Host) -> Outcome<Self> {
        let said = host.gangplank("logs crowd")?.ok()?;
        let words: Vec<&str> = said.lines().last().unwrap_or_default().split(' ').collect();
        let ["kept", kept, "right", right, "refused", refused, "slowest", slowest] = words[..] else {
            fail!("no count: {said}")
        };
        Ok(Self {
            kept: kept.parse()?,
            right: right.parse()?,
            refused: refused.parse()?,
            slowest: slowest.parse()?,
        })
    }
}

fn ticks_in_a_second(pid: &str) -> Outcome<u64> {
    let before = cpu_ticks(pid)?;
    pause(Duration::from_secs(1));
    Ok(cpu_ticks(pid)? - before)
}

/// Processor time of a process so far, in hundredths of a second (proc_pid_stat(5), utime and stime).
fn cpu_ticks(pid: &str) -> Outcome<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    Ok(ticks(11) + ticks(12))
}

/// Hundredths of a second of processor time in a second, of a helper that has nothing to do but a little.
const FEW_TICKS: u64 = 20;

/// Of the helper. More than a helper keeps for itself, and few enough to be used up fast.
const DESCRIPTORS: usize = 840;

/// What it keeps for itself (`helper::supervisor`).
const OWN_DESCRIPTORS: usize = 640;

/// A refusal takes a tenth of a millisecond; the machine may be busy with other tests.
const SOON_MS: usize = 1000;
