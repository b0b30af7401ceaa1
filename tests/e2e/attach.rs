//! Namespaces that somebody else made: attached by a cable (a sibling user namespace) and detached again.

use std::fs;

use crate::cases;
use crate::host::{Host, OUTSIDE};
use crate::process::{PATIENCE, Program, until};
use crate::verdict::{Outcome, contains, fail, holds, same};

cases![
    a_sibling_user_namespace_by_pid,
    a_descendant_namespace_gets_a_veth,
    a_namespace_by_path,
    an_attached_namespace_serves_a_published_port,
    detach_takes_the_interface_away,
    an_attached_namespace_that_ends_vanishes,
    attached_and_run_containers_are_neighbours,
    another_interface_name,
];

fn a_sibling_user_namespace_by_pid(host: &Host) -> Outcome {
    let server = host.outside_server("echo", "tcp-echo 0.0.0.0 7000")?;
    let ship = Ship::sail(host)?;
    host.gangplank(&format!("attach --pid {} --name ship", ship.pid()))?
        .ok()?;
    let address = host.address("ship")?;
    contains("eth0", &ship.run(host, "ip -4 address show dev eth0")?, &address)?;
    contains("MTU", &ship.run(host, "ip link show dev eth0")?, "mtu 1500 ")?;
    contains("ps", &host.gangplank("ps")?.ok()?, "ship")?;
    let said = ship.run(host, &host.peer(&format!("tcp-ask {OUTSIDE} 7000 hello")))?;
    same("out", said.as_str(), "answer hello")?;
    server.says("peer ")
}

/// A namespace below the network's own user namespace is in the kernel bridge's reach: no cable.
fn a_descendant_namespace_gets_a_veth(host: &Host) -> Outcome {
    let _server = host.outside_server("echo", "tcp-echo 0.0.0.0 7000")?;
    host.gangplank("run -d --name box -- sleep 100")?.ok()?;
    let inner = "unshare --user --map-root-user --net sh -c 'echo pid $$ && exec sleep 1000'";
    let boat = host.gangplank_start("boat", &format!("exec box -- {inner}"))?;
    boat.says("pid ")?;
    let said = boat.output()?;
    let pid = said.trim().trim_start_matches("pid ");
    host.gangplank(&format!("attach --pid {pid} --name boat"))?.ok()?;
    let run = |line: &str| host.user(&enter(pid, line))?.ok();
    contains("a veth", &run("ip -details link show dev eth0")?, "veth")?;
    let said = run(&host.peer(&format!("tcp-ask {OUTSIDE} 7000 hello")))?;
    same("out", said.as_str(), "answer hello")
}

fn a_namespace_by_path(host: &Host) -> Outcome {
    let _server = host.outside_server("echo", "tcp-echo 0.0.0.0 7000")?;
    let ship = Ship::sail(host)?;
    host.gangplank(&format!("attach --netns /proc/{}/ns/net --name ship", ship.pid()))?
        .ok()?;
    let said = ship.run(host, &host.peer(&format!("tcp-ask {OUTSIDE} 7000 hello")))?;
    same("out", said.as_str(), "answer hello")
}

pub(crate) fn an_attached_namespace_serves_a_published_port(host: &Host) -> Outcome {
    let ship = Ship::sail(host)?;
    host.gangplank(&format!("attach --pid {} --name ship -p 8080:7000", ship.pid()))?
        .ok()?;
    let line = ship.enter(&host.peer("tcp-echo 0.0.0.0 7000"));
    let echo = host.user_start("served", &line)?;
    echo.says("ready")?;
    let said = host.user(&host.peer("tcp-ask 127.0.0.1 8080 hello"))?.ok()?;
    same("in", said.as_str(), "answer hello")
}

fn detach_takes_the_interface_away(host: &Host) -> Outcome {
    let ship = Ship::sail(host)?;
    host.gangplank("run -d --name stays -- sleep 100")?.ok()?;
    host.gangplank(&format!("attach --pid {} --name ship -p 8080:80", ship.pid()))?
        .ok()?;
    contains("eth0", &ship.run(host, "ip link")?, "eth0")?;
    host.gangplank("detach ship")?.ok()?;
    holds("not in ps", !host.gangplank("ps")?.ok()?.contains("ship"))?;
    until(PATIENCE, "eth0 is gone", || {
        Ok(!ship.run(host, "ip link")?.contains("eth0"))
    })?;
    same(
        "its port is free",
        host.user(&host.peer("hold-tcp 0.0.0.0 8080"))?.ok()?.as_str(),
        "bound",
    )?;
    holds("its process lives", fs::exists(format!("/proc/{}/ns/net", ship.pid()))?)?;
    host.gangplank(&format!("attach --pid {} --name ship", ship.pid()))?
        .ok()
        .map(drop)
}

fn an_attached_namespace_that_ends_vanishes(host: &Host) -> Outcome {
    host.gangplank("run -d --name stays -- sleep 100")?.ok()?;
    let ship = Ship::sail(host)?;
    host.gangplank(&format!("attach --pid {} --name ship", ship.pid()))?
        .ok()?;
    contains("ps", &host.gangplank("ps")?.ok()?, "ship")?;
    drop(ship);
    until(PATIENCE, "it vanishes from ps", || {
        Ok(!host.gangplank("ps")?.ok()?.contains("ship"))
    })
}

fn attached_and_run_containers_are_neighbours(host: &Host) -> Outcome {
    let ship = Ship::sail(host)?;
    host.gangplank(&format!("attach --pid {} --name ship", ship.pid()))?
        .ok()?;
    host.container("", "box", &host.peer("tcp-echo 0.0.0.0 7000"), "ready")?;
    let said = ship.run(
        host,
        &host.peer(&format!("tcp-ask {} 7000 hello", host.address("box")?)),
    )?;
    same("ship to box", said.as_str(), "answer hello")?;
    host.logged("box", &format!("peer {} ", host.address("ship")?))?;
    let echo = host.user_start("served", &ship.enter(&host.peer("tcp-echo 0.0.0.0 7001")))?;
    echo.says("ready")?;
    let ask = host.peer(&format!("tcp-ask {} 7001 hello", host.address("ship")?));
    same(
        "box to ship",
        host.gangplank(&format!("exec box -- {ask}"))?.ok()?.as_str(),
        "answer hello",
    )
}

fn another_interface_name(host: &Host) -> Outcome {
    let ship = Ship::sail(host)?;
    host.gangplank(&format!("attach --pid {} --name ship --ifname wan7", ship.pid()))?
        .ok()?;
    contains(
        "wan7",
        &ship.run(host, "ip -4 address show dev wan7")?,
        &host.address("ship")?,
    )
}

/// A process of the user in user and network namespaces of its own, as other rootless tools make them.
pub(crate) struct Ship(Program);

impl Ship {
    /// To be attached by a cable.
    pub(crate) fn sail(host: &Host) -> Outcome<Self> {
        host.needs_taps()?;
        Self::sail_anyway(host)
    }

    /// Where there may be no cable.
    pub(crate) fn sail_anyway(host: &Host) -> Outcome<Self> {
        let program = host.user_start(
            "ship",
            "unshare --user --map-root-user --net sh -c 'echo sailing; exec sleep 1000'",
        )?;
        program.says("sailing")?;
        Ok(Self(program))
    }

    /// It comes with a network and a default route.
    pub(crate) fn has_another_default_route(&self, host: &Host) -> Outcome {
        for line in [
            "ip link add v0 type veth peer name v1",
            "ip link set v0 up",
            "ip link set v1 up",
            "ip address add 10.5.0.1/24 dev v0",
            "ip route add default via 10.5.0.2",
        ] {
            self.run(host, line)?;
        }
        Ok(())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// The line that runs another line in it.
    pub(crate) fn enter(&self, line: &str) -> String {
        enter(&self.pid().to_string(), line)
    }

    pub(crate) fn run(&self, host: &Host, line: &str) -> Outcome<String> {
        let ran = host.user(&self.enter(line))?;
        if ran.code != 0 {
            fail!("in the ship: {}", ran.stderr);
        }
        ran.ok()
    }
}

/// The line that runs another line in the namespaces of a process.
fn enter(pid: &str, line: &str) -> String {
    format!("nsenter --user --net --preserve-credentials --target {pid} {line}")
}
