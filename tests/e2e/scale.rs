//! Many containers.

use std::time::Duration;

use crate::cases;
use crate::host::Host;
use crate::process::until;
use crate::verdict::{Outcome, same};

cases![two_hundred_containers_attached_and_detached];

fn two_hundred_containers_attached_and_detached(host: &Host) -> Outcome {
    host.gangplank("up")?.ok()?;
    let start = format!(
        "seq {COUNT} | xargs -P 4 -I N {} run -d --name c-N -p 80 -- sleep 1000",
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
    until(Duration::from_secs(5), "no process is left", || {
        Ok(host.processes()?.is_empty())
    })
}

/// As the issue says.
const COUNT: usize = 200;
/// For all of them together.
const LIMIT: Duration = Duration::from_secs(120);
