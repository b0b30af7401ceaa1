//! Several threads that carry packets: which of them has a flow must not show.

use crate::cases;
use crate::host::{HOST, Host, OUTSIDE};
use crate::process::{PATIENCE, until};
use crate::uplinks::do_main_jobs;
use crate::verdict::{Outcome, same};

cases![
    the_main_jobs_by_one_thread,
    the_main_jobs_by_four_threads,
    who_rested_is_heard,
    queues_go_to_those_who_have_work_and_back,
];

fn the_main_jobs_by_one_thread(host: &Host) -> Outcome {
    host.gangplank("up --threads 1")?.ok()?;
    threads(host, "1")?;
    do_main_jobs(host)
}

fn the_main_jobs_by_four_threads(host: &Host) -> Outcome {
    host.needs_taps()?;
    host.gangplank("up --uplink tap --threads 4")?.ok()?;
    threads(host, "4")?;
    do_main_jobs(host)
}

/// A TAP forgets after three seconds over which queue a flow was answered. What a container then says comes over another
/// one to a thread that does not have the flow.
fn who_rested_is_heard(host: &Host) -> Outcome {
    host.needs_taps()?;
    host.gangplank("up --uplink tap --threads 4")?.ok()?;
    host.container("-p 8000:7000", "tcp", &host.peer("tcp-echo 0.0.0.0 7000 4.5"), "ready")?;
    host.container(
        "-p 8001:7001/udp",
        "udp",
        &host.peer("udp-late-echo 0.0.0.0 7001 4.5"),
        "ready",
    )?;
    let streams = host.outside(&host.peer(&format!("many {HOST} 8000 32")))?;
    same("streams", streams.ok()?.as_str(), "right 32")?;
    let datagrams = host.outside(&host.peer(&format!("udp-many {HOST} 8001 32")))?;
    same("datagrams", datagrams.ok()?.as_str(), "right 32")
}

/// Little traffic is one worker's, much is everybody's, and so once more after the others have rested.
fn queues_go_to_those_who_have_work_and_back(host: &Host) -> Outcome {
    host.needs_taps()?;
    host.gangplank("up --uplink tap --threads 3")?.ok()?;
    let _server = host.outside_server("echo", "tcp-echo 0.0.0.0 7000")?;
    let ask = format!("run --rm -- {}", host.peer(&format!("tcp-ask {OUTSIDE} 7000 hello")));
    let many = format!("run --rm -- {}", host.peer(&format!("many {OUTSIDE} 7000 32")));
    let taken = || -> Outcome<i32> {
        let counted = host
            .gangplank("network inspect --format {{.Counters.queues_taken}} gp0")?
            .ok()?;
        Ok(counted.parse()?)
    };
    same("one", host.gangplank(&ask)?.ok()?.as_str(), "answer hello")?;
    same("taken by the first", taken()?, 3)?;
    for _ in 0..2 {
        let before = taken()?;
        same("many", host.gangplank(&many)?.ok()?.as_str(), "right 32")?;
        // Each of the others takes its own, and the first takes it again.
        until(PATIENCE, "the others had theirs, and rest", || {
            Ok(taken()? >= before + 4)
        })?;
        same("one", host.gangplank(&ask)?.ok()?.as_str(), "answer hello")?;
    }
    Ok(())
}

fn threads(host: &Host, count: &str) -> Outcome {
    let inspected = host.gangplank("network inspect --format {{.Threads}} gp0")?.ok()?;
    same("network inspect", inspected.as_str(), count)
}
