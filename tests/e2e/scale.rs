//! Many containers.

use std::time::Duration;

use crate::cases;
use crate::host::Host;
use crate::process::{PATIENCE, until};
use crate::verdict::{Outcome, same};

cases![
    two_hundred_containers_attached_and_detached,
    many_cycles_give_no_port_twice_and_leak_none
];

fn two_hundred_containers_attached_and_detached(host: &Host) -> Outcome {
    host.gangplank("up")?.ok()?;
    let start = format!(
        "seq {COUNT} | xargs -P 4 -I NUMBER {} run -d --name c-NUMBER -p 80 -- sleep 1000",
        host.binary()
    );
    let script = host.home().join("start");
    std::fs::write(&script, start)?;
    let mut started = host.user_start("start", &format!("sh {}", script.display()))?;
    same("all were started", started.ends(LIMIT)?, 0)?;
    same("ps", host.gangplank("ps -q")?.ok()?.lines().count(), COUNT)?;
    let addresses = host.gangplank("ps --format '{{.IP}}'")?.ok()?;
    let addresses: std::collections::BTreeSet<&str> = addresses.lines().collect();
    same("addresses", addresses.len(), COUNT)?;
    let shown = host.gangplank("show")?.ok()?;
    same(
        "ports of the bridge",
        shown
            .split_whitespace()
            .filter(|word| *word == "yes" || *word == "no")
            .count(),
        1,
    )?;
    let names: Vec<String> = (1..=COUNT).map(|number| format!("c-{number}")).collect();
    host.gangplank_words(&[&["rm".to_owned(), "-f".to_owned()], names.as_slice()].concat(), LIMIT)?
        .ok()?;
    same("ps", host.gangplank("ps -a -q")?.ok()?.as_str(), "")?;
    host.gangplank("down")?.ok()?;
    until(PATIENCE, "no process is left", || Ok(host.processes()?.is_empty()))
}

/// Containers come and go side by side, each with automatic ports, in a subnet that has room for 61.
fn many_cycles_give_no_port_twice_and_leak_none(host: &Host) -> Outcome {
    let cycles = match std::env::var("GANGPLANK_E2E_CYCLES") {
        Ok(count) => count.parse()?,
        Err(_) => CYCLES,
    };
    host.gangplank("up --subnet 10.99.0.0/26")?.ok()?;
    let helper = host.network("helper_pid")?;
    let open = || -> Outcome<usize> { Ok(std::fs::read_dir(format!("/proc/{helper}/fd"))?.count()) };
    let before = open()?;
    let (cycle, given) = (host.home().join("cycle"), host.home().join("given"));
    let gangplank = host.binary();
    std::fs::write(
        &cycle,
        format!(
            "set -e\n\
             {gangplank} run -d -P --expose 80 --expose 53/udp --name c-$1 -- sleep 1000 >/dev/null\n\
             {gangplank} port c-$1 >{given}.$1\n\
             {gangplank} rm -f c-$1 >/dev/null\n",
            given = given.display(),
        ),
    )?;
    let all = format!("seq {cycles} | xargs -P 4 -I NUMBER sh {} NUMBER", cycle.display());
    let script = host.home().join("cycles");
    std::fs::write(&script, all)?;
    let mut done = host.user_start("cycles", &format!("sh {}", script.display()))?;
    same("all cycles went well", done.ends(LIMIT * 2)?, 0)?;
    let mut numbers = std::collections::BTreeSet::new();
    for cycle in 1..=cycles {
        let text = std::fs::read_to_string(format!("{}.{cycle}", given.display()))?;
        let mut of_one: Vec<&str> = text.lines().filter_map(|line| line.rsplit(':').next()).collect();
        of_one.dedup();
        same(
            format!("a number for each port, both families: {text}"),
            (text.lines().count(), of_one.len()),
            (4, 2),
        )?;
        numbers.extend(of_one.iter().map(|number| (*number).to_owned()));
    }
    // Far fewer than the range has: none comes twice.
    same("numbers", numbers.len(), 2 * cycles)?;
    same("ps", host.gangplank("ps -a -q")?.ok()?.as_str(), "")?;
    same("listeners", host.root("ss -Hltun sport >= :49153")?.ok()?.as_str(), "")?;
    until(PATIENCE, "its descriptors are as before", || Ok(open()? <= before))?;
    // All addresses are there again.
    let names: Vec<String> = (1..=ROOM)
        .map(|number| format!("run -d --name last-{number} -- sleep 1000"))
        .collect();
    for line in &names {
        host.gangplank(line)?.ok()?;
    }
    host.gangplank("run --rm -- true")?
        .code(125)?
        .one_line(&["10.99.0.0/26"])
}

/// Cycles, unless `GANGPLANK_E2E_CYCLES` says how many: 1000 take some minutes without optimization.
const CYCLES: usize = 100;

/// Addresses of a /26 without network, broadcast and gateway.
const ROOM: usize = 61;

/// As the issue says.
const COUNT: usize = 200;
/// For all of them together.
const LIMIT: Duration = Duration::from_secs(120);
