//! IPv6: what a container is told where there is no way, and who reaches it all the same.

use crate::cases;
use crate::host::{HOST6, Host, OUTSIDE6};
use crate::verdict::{Outcome, contains, same};

cases![without_a_subnet_there_is_none];

fn without_a_subnet_there_is_none(host: &Host) -> Outcome {
    host.needs_ipv6()?;
    host.gangplank("up --subnet6 none")?.ok()?;
    host.container("-p 8080:7000", "echo", &host.peer("tcp-echo 0.0.0.0 7000"), "ready")?;
    same("inspect", host.address6("echo")?.as_str(), "")?;
    let inside = |line: &str| host.gangplank(&format!("exec echo -- {line}"))?.ok();
    same("address", inside("ip -6 address show dev eth0")?.as_str(), "")?;
    let said = inside(&host.peer(&format!("connect {OUTSIDE6} 80")))?;
    contains("no route", &said, "ENETUNREACH")?;
    let said = host.outside(&host.peer(&format!("tcp-ask {HOST6} 8080 hello")))?.ok()?;
    same("its clients may have IPv6", said.as_str(), "answer hello")
}
