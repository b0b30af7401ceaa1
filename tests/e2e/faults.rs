//! Sudden deaths: of a container, of the helper, of the agent.

use crate::cases;
use crate::host::Host;
use crate::process::{SOON, until};
use crate::verdict::{Outcome, contains, same};

cases![
    a_killed_container_vanishes_and_frees_address_and_ports,
    everything_goes_when_the_helper_is_killed,
    everything_goes_when_the_agent_is_killed,
    a_killed_client_of_run_takes_its_container_along,
];

fn a_killed_container_vanishes_and_frees_address_and_ports(host: &Host) -> Outcome {
    host.gangplank("up --subnet 10.96.0.0/24")?.ok()?;
    host.gangplank("run -d --name box --ip 10.96.0.9 -p 8080:80 -p 9000:90/udp -- sleep 100")?
        .ok()?;
    let pid = host.inspect("box", "{{.State.Pid}}")?;
    host.root(&format!("kill -KILL {pid}"))?.ok()?;
    until(SOON, "it vanishes from ps", || {
        Ok(host.gangplank("ps -q")?.ok()?.is_empty())
    })?;
    for (hold, port) in [("hold-tcp", "8080"), ("hold-udp", "9000")] {
        same(
            port,
            host.user(&host.peer(&format!("{hold} 0.0.0.0 {port}")))?.ok()?.as_str(),
            "bound",
        )?;
    }
    host.gangplank("run -d --name next --ip 10.96.0.9 -p 8080:80 -p 9000:90/udp -- sleep 100")?
        .ok()
        .map(drop)
}

fn everything_goes_when_the_helper_is_killed(host: &Host) -> Outcome {
    everything_goes(host, "helper_pid")
}

fn everything_goes_when_the_agent_is_killed(host: &Host) -> Outcome {
    everything_goes(host, "agent_pid")
}

/// After SIGKILL only files may stay (nobody is left to remove them), and the next command starts clean.
fn everything_goes(host: &Host, whom: &str) -> Outcome {
    host.gangplank("up")?.ok()?;
    host.gangplank("run -d --name box -p 8080:80 -- sleep 100")?.ok()?;
    host.gangplank(&format!("run -d --name echo -- {}", host.peer("tcp-echo 0.0.0.0 7000")))?
        .ok()?;
    host.root(&format!("kill -KILL {}", host.network(whom)?))?.ok()?;
    let mut left = std::collections::BTreeSet::new();
    let gone = until(SOON, "every process is gone", || {
        left = host.processes()?;
        Ok(left.is_empty())
    });
    gone.or_else(|_| same("processes after a second", &left, &std::collections::BTreeSet::new()))?;
    same("ps", host.gangplank("ps -a -q")?.ok()?.as_str(), "")?;
    same(
        "its port is free",
        host.user(&host.peer("hold-tcp 0.0.0.0 8080"))?.ok()?.as_str(),
        "bound",
    )?;
    host.gangplank("run -d --name box -p 8080:80 -- sleep 100")?.ok()?;
    contains("ps", &host.gangplank("ps")?.ok()?, "box")
}

/// `run` in the foreground is the container's terminal: without it the container goes too.
fn a_killed_client_of_run_takes_its_container_along(host: &Host) -> Outcome {
    host.gangplank("up")?.ok()?;
    let run = host.gangplank_start("run", "run --name box -- sh -c 'echo ready; exec sleep 100'")?;
    run.says("ready")?;
    run.signal(nix::sys::signal::Signal::SIGKILL)?;
    until(SOON, "it vanishes from ps", || {
        Ok(host.gangplank("ps -q")?.ok()?.is_empty())
    })
}
