//! The ground itself: without these, the other cases prove nothing.

use crate::cases;
use crate::host::{Host, OUTSIDE};
use crate::verdict::{Outcome, contains, holds, same};

cases![the_user_has_no_privilege, the_outside_answers_and_the_dead_hop_does_not];

fn the_user_has_no_privilege(host: &Host) -> Outcome {
    same("uid", host.user("id -u")?.ok()?.as_str(), "61000")?;
    let status = host.user("cat /proc/self/status")?.ok()?;
    contains("capabilities", &status, "CapEff:\t0000000000000000")?;
    for ids in ["/etc/subuid", "/etc/passwd"] {
        let text = std::fs::read_to_string(ids).unwrap_or_default();
        holds(format!("61000 is not in {ids}"), !text.contains("61000"))?;
    }
    holds(
        "the user may not make links",
        host.user("ip link add nope type bridge")?.code != 0,
    )
}

fn the_outside_answers_and_the_dead_hop_does_not(host: &Host) -> Outcome {
    let _echo = host.outside_server("echo", "tcp-echo 0.0.0.0 7000")?;
    let ask = |line: &str| host.user(&host.peer(line))?.ok();
    contains("echo", &ask(&format!("connect {OUTSIDE} 7000"))?, "connected")?;
    contains("metadata address", &ask("connect 169.254.169.254 7000")?, "connected")?;
    contains("closed port", &ask(&format!("connect {OUTSIDE} 7001"))?, "ECONNREFUSED")?;
    contains("unreachable", &ask("connect 203.0.113.200 7000")?, "EHOSTUNREACH")?;
    contains("black hole", &ask("connect 192.0.2.1 7000 1")?, "timeout")?;
    contains("dead hop", &ask("connect 203.0.113.1 7000")?, "EHOSTUNREACH")
}
