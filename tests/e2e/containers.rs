//! Containers: `run`, `exec`, `logs`, `wait`, `stop`, `rm`.

use std::fs;
use std::time::Duration;

use crate::cases;
use crate::host::{Host, LIMIT};
use crate::process::{PATIENCE, until};
use crate::verdict::{Outcome, contains, fail, holds, same};

cases![
    exit_codes_are_the_commands_own,
    output_is_the_commands_own,
    eth0_has_address_route_and_mtu,
    no_pacing_where_there_is_no_queue,
    hostname_hosts_and_resolver,
    environment_and_working_directory,
    a_name_is_invented_where_none_is_given,
    fixed_address_and_mac,
    detached_prints_twelve_hex_digits_and_logs_keeps_its_output,
    logs_follow_until_the_end,
    wait_prints_the_exit_code,
    stop_ends_it_and_ps_a_keeps_it,
    stop_kills_the_deaf_after_its_time,
    rm_refuses_the_running_and_force_kills_it,
    rm_option_forgets_it,
    exec_runs_in_the_same_network,
    names_ids_and_prefixes,
    sigterm_to_run_reaches_the_command,
];

fn exit_codes_are_the_commands_own(host: &Host) -> Outcome {
    host.gangplank("run --rm -- true")?.code(0)?;
    host.gangplank("run --rm -- sh -c 'exit 7'")?.code(7)?;
    host.gangplank("run --rm -- sh -c 'kill -TERM $$'")?.code(143)?;
    host.gangplank("run --rm -- /nowhere/at/all")?.code(127)?;
    host.gangplank("run --rm -- no-such-command-anywhere")?.code(127)?;
    host.gangplank("run --rm -- /etc/passwd")?.code(126)?;
    host.gangplank("run --rm -p nonsense -- true")?.code(125)?;
    host.gangplank("run -d --name box -- sleep 100")?.ok()?;
    host.gangplank("exec box -- sh -c 'exit 9'")?.code(9)?;
    host.gangplank("exec box -- no-such-command-anywhere")?.code(127)?;
    host.gangplank("exec box -- /etc/passwd")?.code(126)?;
    host.gangplank("exec nobody -- true")?.code(125)?;
    host.gangplank("run --no-such-option -- true")?.code(2).map(drop)
}

fn output_is_the_commands_own(host: &Host) -> Outcome {
    let ran = host.gangplank("run --rm -- sh -c 'echo out; echo err >&2'")?;
    same("stdout", ran.stdout.as_str(), "out\n")?;
    same("stderr", ran.stderr.as_str(), "err\n")
}

fn eth0_has_address_route_and_mtu(host: &Host) -> Outcome {
    host.gangplank("run -d --name box -- sleep 100")?.ok()?;
    let (address, gateway) = (
        host.address("box")?,
        host.inspect("box", "{{.NetworkSettings.Gateway}}")?,
    );
    let prefix = host.inspect("box", "{{.NetworkSettings.IPPrefixLen}}")?;
    let mac = host.inspect("box", "{{.NetworkSettings.MacAddress}}")?;
    let addresses = host.gangplank("exec box -- ip -4 address show dev eth0")?.ok()?;
    contains("address", &addresses, &format!("inet {address}/{prefix} "))?;
    let link = host.gangplank("exec box -- ip link show dev eth0")?.ok()?;
    contains("MTU", &link, "mtu 1500 ")?;
    contains("MAC", &link, &mac)?;
    contains("up", &link, "LOWER_UP")?;
    let routes = host.gangplank("exec box -- ip -4 route")?.ok()?;
    contains("default route", &routes, &format!("default via {gateway} dev eth0"))?;
    contains(
        "loopback",
        &host.gangplank("exec box -- ip link show dev lo")?.ok()?,
        "LOOPBACK,UP",
    )
}

fn no_pacing_where_there_is_no_queue(host: &Host) -> Outcome {
    let ran = host.gangplank("run --rm -- cat /proc/sys/net/ipv4/tcp_congestion_control")?;
    holds("an algorithm", !ran.stdout.trim().is_empty())?;
    holds(
        format!("no pacing: {}", ran.stdout.trim()),
        !ran.stdout.starts_with("bbr"),
    )
}

fn hostname_hosts_and_resolver(host: &Host) -> Outcome {
    let options = "-d --name box --hostname tender --add-host other:192.0.2.9";
    host.gangplank(&format!("run {options} -- sleep 100"))?.ok()?;
    same(
        "hostname",
        host.gangplank("exec box -- uname -n")?.ok()?.as_str(),
        "tender",
    )?;
    holds("the host keeps its own", host.user("uname -n")?.ok()? != "tender")?;
    let hosts = host.gangplank("exec box -- cat /etc/hosts")?.ok()?;
    contains("hosts", &hosts, &format!("{}\ttender", host.address("box")?))?;
    contains("added", &hosts, "192.0.2.9\tother")?;
    contains("localhost", &hosts, "localhost")?;
    let resolver = host.gangplank("exec box -- cat /etc/resolv.conf")?.ok()?;
    let gateway = host.inspect("box", "{{.NetworkSettings.Gateway}}")?;
    contains("resolver", &resolver, &format!("nameserver {gateway}"))?;
    contains(
        "the host keeps its own",
        &host.user("cat /etc/resolv.conf")?.ok()?,
        "127.0.0.53",
    )?;
    contains(
        "getent",
        &host.gangplank("exec box -- getent hosts other")?.ok()?,
        "192.0.2.9",
    )
}

fn environment_and_working_directory(host: &Host) -> Outcome {
    let ran =
        host.gangplank("run --rm -e COLOUR=red -e 'SONG=a b=c' -w /usr -- sh -c 'pwd; echo $COLOUR; echo $SONG'")?;
    same("said", ran.ok()?.as_str(), "/usr\nred\na b=c")
}

fn a_name_is_invented_where_none_is_given(host: &Host) -> Outcome {
    let id = host.gangplank("run -d -- sleep 100")?.ok()?;
    let name = host.gangplank("ps --format '{{.Name}}'")?.ok()?;
    holds("it has a name", !name.is_empty())?;
    same(
        "and it leads there",
        host.inspect(&name, "{{.Id}}")?.get(..12),
        Some(id.as_str()),
    )?;
    same("hostname", host.gangplank(&format!("exec {id} -- uname -n"))?.ok()?, id)
}

fn fixed_address_and_mac(host: &Host) -> Outcome {
    host.gangplank("up --subnet 10.99.0.0/24")?.ok()?;
    host.gangplank("run -d --name box --ip 10.99.0.50 --mac-address 02:00:00:00:00:07 -- sleep 100")?
        .ok()?;
    same("address", host.address("box")?.as_str(), "10.99.0.50")?;
    let link = host.gangplank("exec box -- ip address show dev eth0")?.ok()?;
    contains("MAC", &link, "02:00:00:00:00:07")?;
    contains("address", &link, "inet 10.99.0.50/24")
}

fn detached_prints_twelve_hex_digits_and_logs_keeps_its_output(host: &Host) -> Outcome {
    let id = host
        .gangplank("run -d --name box -- sh -c 'echo out; echo err >&2; sleep 100'")?
        .ok()?;
    holds(
        format!("{id} is an id"),
        id.len() == 12 && id.bytes().all(|digit| b"0123456789abcdef".contains(&digit)),
    )?;
    host.logged("box", "err")?;
    let logs = host.gangplank("logs box")?;
    contains("logs", &format!("{}{}", logs.stdout, logs.stderr), "out\n")
}

fn logs_follow_until_the_end(host: &Host) -> Outcome {
    host.gangplank("up")?.ok()?;
    let go_on = host.home().join("go-on");
    let wait = format!("until [ -e {} ]; do sleep 0.1; done", go_on.display());
    host.gangplank(&format!(
        "run -d --name box -- sh -c 'echo one; {wait}; echo two; sleep 1; echo three'"
    ))?
    .ok()?;
    let mut follow = host.gangplank_start("follow", "logs -f box")?;
    follow.says("one")?;
    fs::write(go_on, "")?;
    same("it ends with the container", follow.ends(PATIENCE)?, 0)?;
    same("all of it", follow.output()?.as_str(), "one\ntwo\nthree\n")
}

fn wait_prints_the_exit_code(host: &Host) -> Outcome {
    host.gangplank("up")?.ok()?;
    host.gangplank("run -d --name box -- sh -c 'sleep 1; exit 5'")?.ok()?;
    let ran = host.gangplank("wait box")?;
    same("wait", ran.ok()?.as_str(), "5")?;
    same("again, after the end", host.gangplank("wait box")?.ok()?.as_str(), "5")?;
    same("inspect", host.inspect("box", "{{.State.ExitCode}}")?.as_str(), "5")
}

fn stop_ends_it_and_ps_a_keeps_it(host: &Host) -> Outcome {
    host.gangplank("up")?.ok()?;
    host.container("-p 8080:80", "box", &host.peer("trap 3"), "ready")?;
    let stop = host.gangplank("stop box")?;
    holds(
        "at once, not after the usual ten seconds",
        stop.took < Duration::from_secs(8),
    )?;
    stop.ok()?;
    host.logged("box", "caught 15")?;
    same("ps", host.gangplank("ps -q")?.ok()?.as_str(), "")?;
    contains("ps -a", &host.gangplank("ps -a")?.ok()?, "box")?;
    same(
        "status",
        host.inspect("box", "{{.State.Status}} {{.State.ExitCode}}")?.as_str(),
        "exited 3",
    )?;
    let held = host.user(&host.peer("hold-tcp 0.0.0.0 8080"))?.ok()?;
    same("its port is free", held.as_str(), "bound")?;
    host.gangplank("rm box")?.ok()?;
    host.gangplank("inspect box")?.code(1).map(drop)
}

fn stop_kills_the_deaf_after_its_time(host: &Host) -> Outcome {
    host.gangplank("up")?.ok()?;
    host.container("", "deaf", &host.peer("deaf"), "ready")?;
    let stop = host.gangplank("stop -t 2 deaf")?;
    let took = stop.took;
    stop.ok()?;
    holds(
        format!("after 2 s, not {took:?}"),
        took > Duration::from_millis(1900) && took < Duration::from_secs(8),
    )?;
    same(
        "exit code",
        host.inspect("deaf", "{{.State.ExitCode}}")?.as_str(),
        "137",
    )
}

fn rm_refuses_the_running_and_force_kills_it(host: &Host) -> Outcome {
    host.container("", "deaf", &host.peer("deaf"), "ready")?;
    host.gangplank("run -d --name stays -- sleep 100")?.ok()?;
    host.gangplank("rm deaf")?.refused(&["deaf", "running"])?;
    contains("still there", &host.gangplank("ps")?.ok()?, "deaf")?;
    host.gangplank("rm -f deaf")?.ok()?;
    holds("gone", !host.gangplank("ps -a")?.ok()?.contains("deaf"))
}

fn rm_option_forgets_it(host: &Host) -> Outcome {
    host.gangplank("run -d --name stays -- sleep 100")?.ok()?;
    host.gangplank("run --rm --name short -- true")?.ok()?;
    host.gangplank("run -d --rm --name shorter -- true")?.ok()?;
    until(PATIENCE, "both are forgotten", || {
        Ok(!host.gangplank("ps -a")?.ok()?.contains("short"))
    })?;
    host.gangplank("run --name kept -- true")?.ok()?;
    contains("without it", &host.gangplank("ps -a")?.ok()?, "kept")
}

fn exec_runs_in_the_same_network(host: &Host) -> Outcome {
    host.container("", "box", &host.peer("tcp-echo 127.0.0.1 7000"), "ready")?;
    let said = host
        .gangplank(&format!("exec box -- {}", host.peer("tcp-ask 127.0.0.1 7000 hello")))?
        .ok()?;
    same("its loopback", said.as_str(), "answer hello")
}

fn names_ids_and_prefixes(host: &Host) -> Outcome {
    let id = host.gangplank("run -d --name first -- sleep 100")?.ok()?;
    for word in ["first", id.as_str(), &id[..4]] {
        same(word, host.inspect(word, "{{.Name}}")?.trim_start_matches('/'), "first")?;
    }
    Ok(())
}

fn sigterm_to_run_reaches_the_command(host: &Host) -> Outcome {
    let mut run = host.gangplank_start("run", &format!("run --rm -- {}", host.peer("trap 4")))?;
    run.says("ready")?;
    run.signal(nix::sys::signal::Signal::SIGTERM)?;
    same("exit code", run.ends(LIMIT)?, 4)?;
    if !run.output()?.contains("caught 15") {
        fail!("the command did not see SIGTERM: {}", run.output()?);
    }
    Ok(())
}
