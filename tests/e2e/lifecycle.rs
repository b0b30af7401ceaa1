//! Networks: coming up, going down, by themselves and by command, and the choice of their subnets.

use std::fs;

use crate::host::{Host, OUTSIDE};
use crate::process::{PATIENCE, until};
use crate::verdict::{Outcome, contains, holds, same};
use crate::{cases, json};

cases![
    up_twice_is_once,
    up_with_other_settings_fails_and_names_the_difference,
    down_refuses_while_containers_are_attached,
    down_leaves_nothing_but_the_log,
    down_waits_for_a_network_that_ends_by_itself,
    a_network_starts_and_stops_by_itself,
    a_network_that_was_brought_up_stays,
    looking_starts_no_network,
    twenty_at_once_start_one_network,
    root_is_served_too,
    foreground_says_when_it_is_ready,
    network_create_ls_inspect_rm,
    of_two_who_create_a_network_one_does,
    names_are_the_bridges,
    environment_names_the_network,
    runtime_dir_option,
    subnet_avoids_routes_interfaces_and_nameservers,
    two_networks_get_two_subnets,
];

fn up_twice_is_once(host: &Host) -> Outcome {
    host.gangplank("up")?.ok()?;
    let before = host.processes()?;
    holds("it runs", !before.is_empty())?;
    host.gangplank("up")?.ok()?;
    same("processes", host.processes()?, before)
}

fn up_with_other_settings_fails_and_names_the_difference(host: &Host) -> Outcome {
    host.gangplank("up --mtu 1400")?.ok()?;
    host.gangplank("up --mtu 1400")?.ok()?;
    host.gangplank("up --mtu 1300")?.refused(&["mtu", "1400", "1300"])?;
    host.gangplank("up --mtu 1400 --host-access loopback")?
        .refused(&["host-access"])?;
    host.gangplank("up --mtu 1400 --subnet 10.98.0.0/24")?
        .refused(&["subnet", "10.98.0.0/24"])?;
    let link = host.gangplank("run --rm -- ip link show dev eth0")?.ok()?;
    contains("MTU", &link, "mtu 1400 ")
}

fn down_refuses_while_containers_are_attached(host: &Host) -> Outcome {
    host.gangplank("run -d --name box -- sleep 100")?.ok()?;
    host.gangplank("down")?.refused(&["--force"])?;
    contains("ps", &host.gangplank("ps")?.ok()?, "box")?;
    host.gangplank("down --force")?.ok()?;
    host.nothing_left(PATIENCE)
}

fn down_leaves_nothing_but_the_log(host: &Host) -> Outcome {
    host.gangplank("up")?.ok()?;
    host.gangplank("run -d --name one -p 8080:80 -p 9000:90/udp -- sleep 100")?
        .ok()?;
    host.gangplank("run -d --name two -p 80 -- sleep 100")?.ok()?;
    host.gangplank("rm -f one two")?.ok()?;
    host.gangplank("down")?.ok()?;
    // `down` has ended: everything is gone already, not soon.
    host.nothing_left(std::time::Duration::from_millis(200))?;
    holds("the log is kept", host.state().join("gp0/log").exists())
}

fn down_waits_for_a_network_that_ends_by_itself(host: &Host) -> Outcome {
    for _ in 0..5 {
        host.gangplank("run --rm -- true")?.ok()?;
        host.gangplank("down")?.ok()?;
        same("processes", host.processes()?.len(), 0)?;
    }
    host.nothing_left(std::time::Duration::ZERO)
}

fn a_network_starts_and_stops_by_itself(host: &Host) -> Outcome {
    host.gangplank("run --rm -- true")?.ok()?;
    host.nothing_left(PATIENCE)?;
    host.gangplank("run -d --rm --name box -- sleep 100")?.ok()?;
    host.gangplank("run --rm -- true")?.ok()?;
    contains("one is left", &host.gangplank("ps")?.ok()?, "box")?;
    host.gangplank("stop -t 1 box")?.ok()?;
    host.nothing_left(PATIENCE)
}

fn a_network_that_was_brought_up_stays(host: &Host) -> Outcome {
    host.gangplank("up")?.ok()?;
    host.gangplank("run --rm -- true")?.ok()?;
    crate::process::pause(std::time::Duration::from_secs(2));
    contains("network ls", &host.gangplank("network ls")?.ok()?, "gp0")?;
    holds("it runs", !host.processes()?.is_empty())
}

fn looking_starts_no_network(host: &Host) -> Outcome {
    for line in ["ps", "ps -a", "network ls", "doctor"] {
        host.gangplank(line)?.ok()?;
    }
    host.gangplank("inspect nobody")?.refused(&["nobody"])?;
    same("processes", host.processes()?.len(), 0)
}

fn twenty_at_once_start_one_network(host: &Host) -> Outcome {
    let run = format!("{} run -d --name c-N -- sleep 100", host.binary());
    let script = host.home().join("start");
    fs::write(&script, format!("seq 20 | xargs -P 20 -I N {run}"))?;
    host.user(&format!("sh {}", script.display()))?.ok()?;
    same("ps", host.gangplank("ps -q")?.ok()?.lines().count(), 20)?;
    let networks = json::parse(&host.gangplank("network ls --format json")?.ok()?)?;
    same("networks", json::items(&networks).len(), 1)
}

fn root_is_served_too(host: &Host) -> Outcome {
    let server = host.outside_server("echo", "tcp-echo 0.0.0.0 7000")?;
    let folder = host.folder().join("roots");
    let gangplank = format!("{} --runtime-dir {}", host.binary(), folder.display());
    let echo = host.peer("tcp-echo 0.0.0.0 7000");
    host.root(&format!("{gangplank} run -d --name echo -p 8080:7000 -- {echo}"))?
        .ok()?;
    let ask = host.peer(&format!("tcp-ask {OUTSIDE} 7000 hello"));
    same(
        "out",
        host.root(&format!("{gangplank} exec echo -- {ask}"))?.ok()?.as_str(),
        "answer hello",
    )?;
    let ask = host.peer("tcp-ask 127.0.0.1 8080 hello 100");
    same("in", host.user(&ask)?.ok()?.as_str(), "answer hello")?;
    host.root(&format!("{gangplank} down --force"))?.ok()?;
    drop(server);
    host.nothing_left(PATIENCE)
}

fn foreground_says_when_it_is_ready(host: &Host) -> Outcome {
    let home = host.home();
    let line = format!(
        "sh -c 'exec {} up --foreground --ready-fd 3 3>{}/ready'",
        host.binary(),
        home.display()
    );
    let mut up = host.user_start("up", &line)?;
    until(PATIENCE, "something is written to the ready descriptor", || {
        Ok(fs::metadata(home.join("ready")).is_ok_and(|file| file.len() > 0))
    })?;
    host.gangplank("run --rm -- true")?.ok()?;
    up.signal(nix::sys::signal::Signal::SIGTERM)?;
    same("exit code", up.ends(PATIENCE)?, 0)?;
    host.nothing_left(PATIENCE)
}

fn network_create_ls_inspect_rm(host: &Host) -> Outcome {
    host.gangplank("network create quay --subnet 10.97.0.0/24")?.ok()?;
    contains("ls", &host.gangplank("network ls")?.ok()?, "quay")?;
    let listed = json::parse(&host.gangplank("network ls --format json")?.ok()?)?;
    same("ls as JSON", json::text(&listed, "name")?.as_str(), "quay")?;
    let inspected = json::parse(&host.gangplank("network inspect quay")?.ok()?)?;
    same("subnet", json::text(&inspected, "subnet")?.as_str(), "10.97.0.0/24")?;
    same("gateway", json::text(&inspected, "gateway")?.as_str(), "10.97.0.1")?;
    holds("why", !json::text(&inspected, "why")?.is_empty())?;
    host.gangplank("network create quay")?.refused(&["quay"])?;
    host.gangplank("run -d --network quay --name box -- sleep 100")?.ok()?;
    host.gangplank("network rm quay")?.refused(&["quay"])?;
    host.gangplank("rm -f box --network quay")?.ok()?;
    host.gangplank("network rm quay")?.ok()?;
    holds("not listed", !host.gangplank("network ls")?.ok()?.contains("quay"))?;
    host.gangplank("network rm quay")?.refused(&["quay"])
}

fn of_two_who_create_a_network_one_does(host: &Host) -> Outcome {
    let mut both = Vec::new();
    for subnet in ["10.97.0.0/24", "10.98.0.0/24"] {
        both.push(host.gangplank_start(
            &format!("create-{}", both.len()),
            &format!("network create quay --subnet {subnet}"),
        )?);
    }
    let mut codes = Vec::new();
    for create in &mut both {
        codes.push(create.ends(PATIENCE)?);
    }
    codes.sort_unstable();
    same("exit codes", codes, vec![0, 1])
}

fn names_are_the_bridges(host: &Host) -> Outcome {
    host.gangplank("network create quay")?.ok()?;
    let shown = json::parse(&host.gangplank("show --network quay --format json")?.ok()?)?;
    same("bridge", json::text(&shown, "name")?.as_str(), "quay")
}

fn environment_names_the_network(host: &Host) -> Outcome {
    host.user(&format!("env GANGPLANK_NETWORK=quay {} up", host.binary()))?
        .ok()?;
    let names = host.gangplank("network ls --format '{{.Name}}'")?.ok()?;
    same("network ls", names.as_str(), "quay")
}

fn runtime_dir_option(host: &Host) -> Outcome {
    let folder = host.home().join("elsewhere");
    let option = format!("--runtime-dir {}", folder.display());
    host.gangplank(&format!("{option} up"))?.ok()?;
    holds("it is used", folder.exists())?;
    same(
        "the default is not",
        host.gangplank("network ls --format '{{.Name}}'")?.ok()?.as_str(),
        "",
    )?;
    host.gangplank(&format!("{option} down"))?.ok()?;
    host.nothing_left(PATIENCE)
}

fn subnet_avoids_routes_interfaces_and_nameservers(host: &Host) -> Outcome {
    host.root("ip route add 172.17.5.0/24 via 198.51.100.2")?.ok()?;
    host.root("ip address add 172.18.0.9/16 dev up0")?.ok()?;
    fs::write(host.folder().join("resolv.conf"), "nameserver 172.19.0.53\n")?;
    host.gangplank("up")?.ok()?;
    let subnet = host.network("subnet")?;
    for taken in ["172.17.", "172.18.", "172.19.", "198.51."] {
        holds(format!("{subnet} is not in {taken}"), !subnet.starts_with(taken))?;
    }
    Ok(())
}

fn two_networks_get_two_subnets(host: &Host) -> Outcome {
    host.gangplank("network create red")?.ok()?;
    host.gangplank("network create blue")?.ok()?;
    let subnet = |name: &str| {
        json::text(
            &json::parse(&host.gangplank(&format!("network inspect {name}"))?.ok()?)?,
            "subnet",
        )
    };
    holds("they differ", subnet("red")? != subnet("blue")?)
}
