//! Ends that somebody makes difficult: strays, a wedged agent, callers that hang up, reservations that come to nothing.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::cases;
use crate::host::Host;
use crate::process::{PATIENCE, Program, SOON, pause, until};
use crate::verdict::{Outcome, contains, holds, same};

cases![
    a_killed_monitor_leaves_no_stray,
    a_monitor_that_is_held_up_says_the_exit_code,
    no_way_to_end_a_container_leaves_a_stray,
    a_container_that_was_never_started_can_be_stopped,
    a_command_that_was_refused_leaves_no_network,
    a_wedged_agent_holds_up_nobody_who_looks,
    a_caller_that_hangs_up_leaves_nothing_half_done,
    a_command_that_has_ended_is_not_waited_for,
    a_container_is_started_once,
    only_a_container_of_its_own_is_run,
];

/// The monitor's end takes the command along; what the command has left behind is the helper's to find.
fn a_killed_monitor_leaves_no_stray(host: &Host) -> Outcome {
    host.gangplank("up")?.ok()?;
    stray(host)?;
    let pid = host.inspect("box", "{{.State.Pid}}")?;
    let monitor = parent_of(&pid)?;
    host.root(&format!("kill -KILL {monitor}"))?.ok()?;
    until(SOON, "it vanishes from ps", || {
        Ok(host.gangplank("ps -q")?.ok()?.is_empty())
    })?;
    until(SOON, "no stray is left", || Ok(strays()?.is_empty()))
}

/// Longer than anybody would wait for one that is gone.
fn a_monitor_that_is_held_up_says_the_exit_code(host: &Host) -> Outcome {
    host.gangplank("up")?.ok()?;
    let over = host.home().join("over");
    let wait = format!("until [ -e {} ]; do sleep 0.1; done", over.display());
    host.gangplank(&format!("run -d --name box -- sh -c '{wait}; exit 7'"))?
        .ok()?;
    let pid = host.inspect("box", "{{.State.Pid}}")?;
    let monitor = parent_of(&pid)?;
    host.root(&format!("kill -STOP {monitor}"))?.ok()?;
    fs::write(over, "")?;
    // Nobody but the monitor can bury it.
    until(PATIENCE, "the command has ended", || {
        Ok(fs::read_to_string(format!("/proc/{pid}/stat"))?.contains(") Z "))
    })?;
    pause(Duration::from_secs(2));
    same("it runs", host.gangplank("ps -q")?.ok()?.lines().count(), 1)?;
    host.root(&format!("kill -CONT {monitor}"))?.ok()?;
    same("exit code", host.gangplank("wait box")?.ok()?.as_str(), "7")
}

fn no_way_to_end_a_container_leaves_a_stray(host: &Host) -> Outcome {
    host.gangplank("up")?.ok()?;
    for line in ["stop -t 0 box", "rm -f box", "down --force"] {
        stray(host)?;
        host.gangplank(line)?.ok()?;
        same(line, strays()?, Vec::<String>::new())?;
        let _ = host.gangplank("rm -f box")?;
    }
    Ok(())
}

fn a_container_that_was_never_started_can_be_stopped(host: &Host) -> Outcome {
    host.gangplank("up")?.ok()?;
    post(
        host,
        "containers",
        r#"{"name":"box","cmd":["true"],"publish":["8080:80"]}"#,
        "200",
    )?;
    let stopped = host.gangplank("stop box")?;
    holds("it took no time", stopped.took < SOON)?;
    stopped.ok()?;
    contains("ps", &host.gangplank("ps -a")?.ok()?, "Exited")?;
    host.gangplank("run --rm -p 8080:80 -- true")?.ok().map(drop)
}

fn a_command_that_was_refused_leaves_no_network(host: &Host) -> Outcome {
    for options in ["--ip 203.0.113.9", "--ip6 2001:db8::9"] {
        host.gangplank(&format!("run {options} -- true"))?.code(125)?;
        host.nothing_left(SOON)?;
    }
    Ok(())
}

fn a_wedged_agent_holds_up_nobody_who_looks(host: &Host) -> Outcome {
    let agent = with_box(host)?;
    host.root(&format!("kill -STOP {agent}"))?.ok()?;
    let mut removing = host.gangplank_start("rm", "rm -f box")?;
    let looked = until(SOON, "it vanishes from ps", || {
        let ps = host.gangplank("ps -q")?;
        holds(format!("ps answers at once, not after {:?}", ps.took), ps.took < SOON)?;
        Ok(ps.ok()?.is_empty())
    });
    host.root(&format!("kill -CONT {agent}"))?.ok()?;
    looked?;
    same("rm", removing.ends(PATIENCE)?, 0)
}

/// Of what was attached, the agent's work is waited for.
fn a_caller_that_hangs_up_leaves_nothing_half_done(host: &Host) -> Outcome {
    host.needs_taps()?;
    let agent = with_box(host)?;
    let ship = ship(host)?;
    let pid = ship.pid();
    host.gangplank(&format!("attach --pid {pid} --name ship --ip 10.96.0.10 -p 8081:80"))?
        .ok()?;
    host.root(&format!("kill -STOP {agent}"))?.ok()?;
    let hung_up = curl(host, "--max-time 2", "containers/ship/remove", r#"{"force":true}"#);
    host.root(&format!("kill -CONT {agent}"))?.ok()?;
    same("curl gave up", hung_up?.code, 28)?;
    host.gangplank("rm -f box")?.ok()?;
    until(PATIENCE, "it is forgotten", || {
        Ok(host.gangplank("ps -a -q")?.ok()?.is_empty())
    })?;
    host.gangplank("run --rm --ip 10.96.0.10 -p 8081:80 -- true")?.ok()?;
    until(PATIENCE, "no port of the bridge is left", || {
        let shown = host.gangplank("show")?.ok()?;
        Ok(!shown.contains("veth") && !shown.contains("tap"))
    })
}

/// Nobody waits for the interface of a command that has ended, and all that is its is free at once.
fn a_command_that_has_ended_is_not_waited_for(host: &Host) -> Outcome {
    let agent = with_box(host)?;
    host.root(&format!("kill -STOP {agent}"))?.ok()?;
    let removed = curl(host, "--max-time 5", "containers/box/remove", r#"{"force":true}"#);
    let reserved = post(
        host,
        "containers",
        r#"{"name":"box","ip":"10.96.0.9","publish":["8080:80"]}"#,
        "200",
    );
    host.root(&format!("kill -CONT {agent}"))?.ok()?;
    same("removed", removed?.code, 0)?;
    reserved?;
    until(PATIENCE, "its interface goes, too", || {
        Ok(!host.gangplank("show")?.ok()?.contains("veth"))
    })
}

fn a_container_is_started_once(host: &Host) -> Outcome {
    host.needs_taps()?;
    let agent = with_box(host)?;
    let ship = ship(host)?;
    post(host, "containers", r#"{"name":"ship"}"#, "200")?;
    let start = format!(r#"{{"pid":{}}}"#, ship.pid());
    host.root(&format!("kill -STOP {agent}"))?.ok()?;
    let first = curl(host, "--max-time 2", "containers/ship/start", &start);
    let second = post(host, "containers/ship/start", &start, "409");
    host.root(&format!("kill -CONT {agent}"))?.ok()?;
    same("the first waits for the agent", first?.code, 28)?;
    second?;
    until(PATIENCE, "it runs", || Ok(host.gangplank("ps")?.ok()?.contains("ship")))?;
    host.gangplank("detach ship").map(drop)
}

/// Everything in a container's user namespace is killed at its end: it must not be anybody else's.
fn only_a_container_of_its_own_is_run(host: &Host) -> Outcome {
    host.gangplank("up")?.ok()?;
    let ship = ship(host)?;
    post(host, "containers", r#"{"name":"box","cmd":["sleep"]}"#, "200")?;
    post(
        host,
        "containers/box/start",
        &format!(r#"{{"pid":{}}}"#, ship.pid()),
        "400",
    )?;
    host.gangplank("rm -f box")?.ok()?;
    holds(
        "the ship sails on",
        Path::new(&format!("/proc/{}", ship.pid())).exists(),
    )
}

/// Somebody else's namespaces.
fn ship(host: &Host) -> Outcome<Program> {
    let line = "unshare --user --map-root-user --net sh -c 'echo sailing; exec sleep 1000'";
    let ship = host.user_start("ship", line)?;
    ship.says("sailing")?;
    Ok(ship)
}

/// A container `box` with address and port; the agent's process id.
fn with_box(host: &Host) -> Outcome<String> {
    host.gangplank("up --subnet 10.96.0.0/24")?.ok()?;
    host.gangplank("run -d --name box --ip 10.96.0.9 -p 8080:80 -- sleep 1000")?
        .ok()?;
    host.network("agent_pid")
}

/// A container `box` with a process that has left its session and parent.
fn stray(host: &Host) -> Outcome {
    let line = "sh -c 'setsid sh -c \"sleep 7654321 & sleep 7654321\" & exec sleep 1000'";
    host.gangplank(&format!("run -d --name box -- {line}"))?.ok()?;
    until(PATIENCE, "there are three strays", || Ok(strays()?.len() == 3))
}

/// Command lines of the strays that live.
fn strays() -> Outcome<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains("7654321") && !line.contains("exec sleep 1000") && !line.contains("gangplank") {
            found.push(line);
        }
    }
    Ok(found)
}

fn parent_of(pid: &str) -> Outcome<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    Ok(parent.unwrap_or_default().trim().to_owned())
}

/// Asks the API itself; fails unless the answer has this status.
fn post(host: &Host, path: &str, body: &str, status: &str) -> Outcome {
    let ran = curl(host, "--max-time 5", path, body)?.ok()?;
    same(format!("{path}: {ran}"), ran.lines().last().unwrap_or_default(), status)
}

fn curl(host: &Host, options: &str, path: &str, body: &str) -> Outcome<crate::process::Ran> {
    host.user(&format!(
        "curl -sS {options} --unix-socket {} -H content-type:application/json -w '\\n%{{http_code}}' -d '{body}' \
         http://gangplank/{path}",
        host.state().join("gp0/api.sock").display()
    ))
}
