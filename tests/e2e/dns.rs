//! DNS on the gateway when things are not as they should be, and the names that are the network's own.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::cases;
use crate::host::Host;
use crate::process::{OneCore, PATIENCE, SOON, now, pause, until};
use crate::verdict::{Outcome, contains, fail, holds, same};

cases![
    containers_are_found_by_name,
    addresses_lead_back_to_names,
    the_host_has_its_names,
    own_names_are_never_asked_for_elsewhere,
    a_short_name_is_asked_for_as_it_is,
    a_long_answer_comes_whole,
    a_servfail_is_passed_on_unless_another_knows,
    a_dead_first_upstream_costs_little_and_once,
    resolvers_are_replaced_under_load,
    noise_and_silence_disturb_nobody,
    forged_answers_are_not_believed,
];

fn containers_are_found_by_name(host: &Host) -> Outcome {
    let id = host.gangplank("run -d --name Web -- sleep 100")?.ok()?;
    host.gangplank("run -d --name client -- sleep 100")?.ok()?;
    let address = host.address("Web")?;
    for name in ["web", "WEB", "web.gp0", &id] {
        for way in ["+notcp", "+tcp"] {
            same(
                name,
                dig(host, &format!("+short {way} {name}"))?.as_str(),
                address.as_str(),
            )?;
        }
    }
    let getent = host.gangplank("exec client -- getent ahosts web")?.ok()?;
    contains("getent", &getent, &address)?;
    let nothing = dig(host, "web MX")?;
    contains("nothing of that kind", &nothing, "status: NOERROR")?;
    contains("no record", &nothing, "ANSWER: 0, AUTHORITY: 1")
}

fn addresses_lead_back_to_names(host: &Host) -> Outcome {
    host.gangplank("run -d --name client -- sleep 100")?.ok()?;
    let back = |address: &str| dig(host, &format!("+short -x {address}"));
    same("container", back(&host.address("client")?)?.as_str(), "client.gp0.")?;
    let gateway = host.inspect("client", "{{.NetworkSettings.Gateway}}")?;
    same("gateway", back(&gateway)?.as_str(), "host.containers.internal.")?;
    let (subnet, _) = gateway.rsplit_once('.').unwrap_or_default();
    contains("nobody", &dig(host, &format!("-x {subnet}.77"))?, "status: NXDOMAIN")
}

fn the_host_has_its_names(host: &Host) -> Outcome {
    host.gangplank("run -d --name client -- sleep 100")?.ok()?;
    let gateway = host.inspect("client", "{{.NetworkSettings.Gateway}}")?;
    let own = host.user("uname -n")?.ok()?;
    for name in ["host.containers.internal", "host.docker.internal", &own] {
        same(name, dig(host, &format!("+short {name}"))?.as_str(), gateway.as_str())?;
    }
    Ok(())
}

/// Not even while their container is down; only when it is forgotten are they nobody's.
fn own_names_are_never_asked_for_elsewhere(host: &Host) -> Outcome {
    let resolver = host.host_server("resolver", "dns-server 127.0.0.53")?;
    host.gangplank("run -d --name web -- sleep 100")?.ok()?;
    host.gangplank("run -d --name client -- sleep 100")?.ok()?;
    let kinds = ["A", "AAAA", "MX", "TXT", "SRV", "HTTPS", "ANY"];
    let ask = |name: &str| {
        kinds
            .iter()
            .try_for_each(|kind| contains(kind, &dig(host, &format!("{name} {kind}"))?, "status: NOERROR"))
    };
    for name in ["web", "web.gp0", "host.docker.internal"] {
        ask(name)?;
    }
    dig(host, &format!("-x {}", host.address("web")?))?;
    host.gangplank("stop -t 0 web")?.ok()?;
    ask("web")?;
    same("its address", dig(host, "+short web")?.as_str(), "")?;
    same("asked elsewhere", resolver.output()?.trim(), "ready")?;
    host.gangplank("rm web")?.ok()?;
    contains("forgotten", &dig(host, "web")?, "status: NXDOMAIN")?;
    resolver.says("web 1")
}

fn a_short_name_is_asked_for_as_it_is(host: &Host) -> Outcome {
    fs::write(
        host.folder().join("resolv.conf"),
        "nameserver 127.0.0.53\nsearch corp.example.test\noptions timeout:3\n",
    )?;
    let resolver = host.host_server("resolver", "dns-server 127.0.0.53")?;
    host.gangplank("run -d --name web -- sleep 100")?.ok()?;
    host.gangplank("run -d --name client -- sleep 100")?.ok()?;
    let file = host.gangplank("exec client -- cat /etc/resolv.conf")?.ok()?;
    let gateway = host.inspect("client", "{{.NetworkSettings.Gateway}}")?;
    same(
        "resolv.conf",
        file.as_str(),
        format!("nameserver {gateway}\nsearch corp.example.test\noptions timeout:3\noptions ndots:0").as_str(),
    )?;
    let found = host.gangplank("exec client -- getent ahostsv4 web")?.ok()?;
    contains("own", &found, &host.address("web")?)?;
    same("asked elsewhere", resolver.output()?.trim(), "ready")?;
    let found = host.gangplank("exec client -- getent ahostsv4 intranet")?.ok()?;
    contains("of the search list", &found, "192.0.2.7")?;
    resolver.says("intranet.corp.example.test 1")
}

fn a_long_answer_comes_whole(host: &Host) -> Outcome {
    let resolver = host.host_server("resolver", "dns-server 127.0.0.53")?;
    host.gangplank("run -d --name client -- sleep 100")?.ok()?;
    for way in ["+notcp", "+tcp", "+notcp +noedns", "+notcp +bufsize=4096"] {
        let said = dig(host, &format!("{way} long.example.test"))?;
        contains(way, &said, "ANSWER: 250,")?;
    }
    resolver.says("tcp long.example.test 1")?;
    // The server has sent it all; the frame to the container has room for a part.
    let said = dig(host, "+notcp +ignore +bufsize=4100 long.example.test")?;
    contains("truncated", &said, "flags: qr tc rd ra;")?;
    // 1500 bytes less the headers of IPv6 and UDP, by which the question may have come.
    contains("what fits", &said, "ANSWER: 88,")
}

fn a_servfail_is_passed_on_unless_another_knows(host: &Host) -> Outcome {
    let _failing = host.host_server("failing", "dns-server 127.0.0.53 53 servfail")?;
    host.gangplank("run -d --name client -- sleep 100")?.ok()?;
    for way in ["+notcp", "+tcp"] {
        contains(way, &dig(host, &format!("{way} www.example.test"))?, "status: SERVFAIL")?;
    }
    let _knowing = host.host_server("knowing", "dns-server 127.0.0.54")?;
    fs::write(
        host.folder().join("resolv.conf"),
        "nameserver 127.0.0.53\nnameserver 127.0.0.54\n",
    )?;
    for way in ["+notcp", "+tcp"] {
        let said = dig(host, &format!("{way} +short www.example.test"))?;
        same(way, said.as_str(), "192.0.2.7")?;
    }
    Ok(())
}

fn a_dead_first_upstream_costs_little_and_once(host: &Host) -> Outcome {
    let dead = host.host_server("dead", "dns-server 127.0.0.61 53 silent")?;
    let _good = host.host_server("good", "dns-server 127.0.0.53")?;
    fs::write(
        host.folder().join("resolv.conf"),
        "nameserver 127.0.0.61\nnameserver 127.0.0.53\n",
    )?;
    host.gangplank("run -d --name client -- sleep 100")?.ok()?;
    let mut times = Vec::new();
    for which in ["first", "second", "third", "fourth"] {
        let said = dig(host, &format!("{which}.example.test"))?;
        contains(which, &said, "192.0.2.7")?;
        let time = said
            .split_once("Query time: ")
            .and_then(|(_, rest)| rest.split(' ').next()?.parse::<u32>().ok());
        let Some(time) = time else { fail!("no time in\n{said}") };
        times.push(time);
    }
    // A head start is half a second; after two the first would be asked again.
    holds(
        format!("the first of {times:?} ms is below 2000, and one of the others below 500"),
        times[0] < 2000 && times[1..].iter().any(|time| *time < 500),
    )?;
    // On a busy machine the good one may miss its own head start, once.
    let asked = dead.output()?;
    let asked = asked.lines().filter(|line| line.starts_with("udp ")).count();
    holds(format!("the dead one is asked {asked} times, at first"), asked <= 2)
}

/// As a laptop that changes networks does it: the old resolver is silent, then the file names another. Its link is
/// followed, and both the file behind it and the link itself are replaced.
fn resolvers_are_replaced_under_load(host: &Host) -> Outcome {
    let home = host.host_server("home", "dns-server 127.0.0.53")?;
    let _office = host.host_server("office", "dns-server 127.0.0.54")?;
    // An /etc of the case's own, where names can be replaced.
    let etc = host.folder().join("etc").display().to_string();
    host.root(&format!("cp -a /etc {etc}"))?.ok()?;
    host.root(&format!("mount --bind {etc} /etc"))?.ok()?;
    let put = |script: &str| host.root(&format!("sh -ec '{script}'"))?.ok();
    put(
        "cd /etc && rm resolv.conf && mkdir run && ln -s run/stub.conf resolv.conf && echo nameserver 127.0.0.53 >run/stub.conf",
    )?;
    host.gangplank("run -d --name client -- sleep 100")?.ok()?;
    let gateway = host.inspect("client", "{{.NetworkSettings.Gateway}}")?;
    let before = host.gangplank("exec client -- cat /etc/resolv.conf")?.ok()?;
    let mut asking = host.gangplank_start(
        "asking",
        &format!("exec client -- {}", host.peer(&format!("dns-loop {gateway} 9"))),
    )?;
    asking.says("ready")?;
    pause(Duration::from_secs(1));
    let stopped = now();
    home.signal(Signal::SIGSTOP)?;
    pause(Duration::from_millis(200));
    put("cd /etc/run && echo nameserver 127.0.0.54 >new && mv new stub.conf")?;
    let named = now() - stopped;
    pause(Duration::from_secs(2));
    home.signal(Signal::SIGCONT)?;
    put("cd /etc && echo nameserver 127.0.0.53 >run/other.conf && ln -s run/other.conf new && mv -T new resolv.conf")?;
    let asked = home.output()?.len();
    until(
        SOON,
        "the first one is asked again",
        || Ok(home.output()?.len() > asked),
    )?;
    put("echo nameserver 127.0.0.54 >/etc/run/other.conf")?;
    same("exit code", asking.ends(PATIENCE)?, 0)?;
    let said = asking.output()?;
    let numbers: Vec<u32> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let &[good, gap] = numbers.as_slice() else {
        fail!("said {said}");
    };
    // Who waits looks for new ones half a second after the question, and a second after that.
    let bound = if named < Duration::from_millis(400) {
        Duration::from_secs(1)
    } else {
        named + Duration::from_millis(1500)
    };
    holds(
        format!("{good} answers, {gap} ms without one, the new one being named after {named:?}"),
        good > 100 && Duration::from_millis(gap.into()) < bound,
    )?;
    let after = host.gangplank("exec client -- cat /etc/resolv.conf")?.ok()?;
    same("the container's own resolv.conf", after, before)?;
    host.gangplank("down --force")?.ok()?;
    host.root("umount -l /etc")?.ok()?;
    fs::remove_dir_all(&etc)?;
    Ok(())
}

/// Connections that are silent, half a length, 64 KB and a question a byte at a time, and datagrams that make no sense.
fn noise_and_silence_disturb_nobody(host: &Host) -> Outcome {
    let _resolver = host.host_server("resolver", "dns-server 127.0.0.53")?;
    host.gangplank("run -d --name client -- sleep 100")?.ok()?;
    host.gangplank("run -d --name other -- sleep 100")?.ok()?;
    let gateway = host.inspect("client", "{{.NetworkSettings.Gateway}}")?;
    let abuse = host.peer(&format!("dns-abuse {gateway} www.example.test"));
    let said = host.gangplank(&format!("exec client -- {abuse}"))?.ok()?;
    contains("a question a byte at a time", &said, "over tcp 50")?;
    contains("64 KB are no question", &said, "slow ended by")?;
    let time = said
        .split_once("over udp ")
        .and_then(|(_, rest)| rest.split_whitespace().next()?.parse::<f64>().ok());
    holds(
        format!("answered meanwhile in {time:?} ms"),
        time.is_some_and(|time| time < 50.0),
    )?;
    let address = host.address("other")?;
    same("and names", dig(host, "+short other")?.as_str(), address.as_str())?;
    let network = host.gangplank("network inspect gp0")?.ok()?;
    let dropped = network
        .split_once("\"dns_malformed\": ")
        .and_then(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u32>().ok());
    // Of 240; what happens to look like another operation is answered.
    holds(
        format!("{dropped:?} counted"),
        dropped.is_some_and(|dropped| dropped >= 150),
    )
}

/// From another address, from another port, under another id, to another question: each comes before the true one.
fn forged_answers_are_not_believed(host: &Host) -> Outcome {
    // The kernel keeps what crosses the loopback in a queue for each core: a forger that is moved to another one between two
    // datagrams can overtake itself, and what comes behind the true answer is not counted.
    let _alone = OneCore::keep()?;
    let forger = host.host_server("forger", "dns-server 127.0.0.53 53 forged")?;
    host.gangplank("run -d --name client -- sleep 100")?.ok()?;
    for number in 0..10 {
        let said = dig(host, &format!("+notcp +short n{number}.example.test"))?;
        same("the true one", said.as_str(), "192.0.2.7")?;
    }
    let said = dig(host, "+notcp n10.example.test")?;
    contains("one answer", &said, "ANSWER: 1,")?;
    holds("nobody is asked by a stream", !forger.output()?.contains("tcp"))?;
    // Three to each of eleven questions; those from elsewhere the kernel keeps away.
    let network = host.gangplank("network inspect gp0")?.ok()?;
    contains("counted", &network, "\"dns_strange_answers\": 33")
}

/// What dig says in the container `client`.
fn dig(host: &Host, question: &str) -> Outcome<String> {
    host.gangplank(&format!("exec client -- dig +tries=1 +time=5 {question}"))?
        .ok()
}
