//! What the helper endures: requests that make no sense, clients that say nothing.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::cases;
use crate::host::Host;
use crate::process::{PATIENCE, SOON, until};
use crate::verdict::{Outcome, holds, same};

cases![
    nonsense_is_refused,
    silent_clients_stop_nobody,
    its_processes_are_called_by_its_name,
];

fn nonsense_is_refused(host: &Host) -> Outcome {
    host.gangplank("up")?.ok()?;
    host.gangplank("run -d --name box -- sleep 100")?.ok()?;
    let huge = host.home().join("huge");
    std::fs::write(&huge, vec![b'x'; 3_000_000])?;
    for (path, body, status) in [
        ("containers", "{", "400"),
        ("containers", "7", "400"),
        ("containers", r#"{"cmd":1}"#, "400"),
        ("containers", r#"{"shell":"sh"}"#, "400"),
        ("containers", r#"{"name":"../x"}"#, "400"),
        ("containers", &format!("@{}", huge.display()), "400"),
        ("containers/box/stop", r#"{"timeout":-1}"#, "400"),
        ("containers/box/stop", r#"{"timeout":1,"signal":"TERM"}"#, "400"),
        ("containers/box/remove", r#"{"force":"yes"}"#, "400"),
        ("containers/box/start", r#"{"pid":1}"#, "409"),
        ("containers/box/publish", r#"{"specs":["http"]}"#, "400"),
        ("containers/%00/remove", r#"{"force":true}"#, "404"),
        ("containers/%ff/remove", r#"{"force":true}"#, "400"),
        ("nowhere", "{}", "404"),
    ] {
        let ran = host.user(&format!(
            "curl -sS --max-time 5 --unix-socket {} -H content-type:application/json -o /dev/null -w %{{http_code}} \
             -d '{body}' http://gangplank/{path}",
            host.state().join("gp0/api.sock").display()
        ))?;
        same(format!("{path} {body}"), ran.ok()?.as_str(), status)?;
    }
    same("ps", host.gangplank("ps -a -q")?.ok()?.lines().count(), 1)
}

fn silent_clients_stop_nobody(host: &Host) -> Outcome {
    host.gangplank("up")?.ok()?;
    let socket = host.state().join("gp0/api.sock");
    let code = format!(
        "import socket,time; all=[socket.socket(socket.AF_UNIX) for _ in range(1000)]; \
         [one.connect(\"{}\") for one in all]; print(\"ready\",flush=True); time.sleep(1000)",
        socket.display()
    );
    let silent = host.user_start("silent", &format!("{} -c '{code}'", host.python()))?;
    silent.says("ready")?;
    host.gangplank("run --rm -- true")?.ok()?;
    let ps = host.gangplank("ps")?;
    holds("ps answers at once", ps.took < SOON)?;
    let down = host.gangplank("down")?;
    holds("down is not kept", down.took < Duration::from_secs(5))?;
    down.ok().map(drop)
}

fn its_processes_are_called_by_its_name(host: &Host) -> Outcome {
    host.gangplank("up")?.ok()?;
    for (whom, word) in [("helper_pid", "helper"), ("agent_pid", "agent")] {
        let pid = host.network(whom)?;
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm"))?;
        same(whom, name.trim(), "gangplank")?;
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline"))?;
        holds(
            format!("{whom}: {line:?}"),
            line.starts_with(&format!("gangplank\0{word}\0")),
        )?;
    }
    let mut up = host.gangplank_start("up", "up --foreground --network quay")?;
    until(PATIENCE, "it serves", || {
        Ok(host.gangplank("network ls")?.ok()?.contains("quay"))
    })?;
    up.signal(Signal::SIGTERM)?;
    same("exit code", up.ends(PATIENCE)?, 0)
}
