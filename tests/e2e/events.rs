//! `events`: what happens in a network, told to whoever listens, and to nobody's cost.

use nix::sys::signal::Signal;

use crate::host::{Host, OUTSIDE};
use crate::process::{PATIENCE, SOON, until};
use crate::verdict::{Outcome, contains, fail, holds, same};
use crate::{cases, json};

cases![
    a_containers_life_is_told,
    an_attached_namespaces_life_is_told,
    links_are_told,
    events_come_as_they_happen_and_end_with_the_network,
    conflicts_are_told,
    filters_formats_and_times,
    an_interrupt_leaves_whole_lines,
    a_reader_that_goes_away_is_no_error,
    a_reader_that_stops_reading_keeps_nobody,
    without_a_network_there_are_no_events,
];

fn a_containers_life_is_told(host: &Host) -> Outcome {
    host.gangplank("up")?.ok()?;
    host.gangplank("run -d --name web -p 8080:80 -- sleep 100")?.ok()?;
    host.gangplank("publish web 9000:90/udp")?.ok()?;
    host.gangplank("unpublish web 8080:80")?.ok()?;
    host.gangplank("stop web")?.ok()?;
    host.gangplank("rm web")?.ok()?;
    let ports = "0.0.0.0:8080->80/tcp [::]:8080->80/tcp";
    let telling = "{{.Type}} {{.Action}} {{.Actor.Attributes.name}} {{.Actor.Attributes.ports}}{{with .Actor.Attributes.exitCode}} code{{end}}";
    let told = past(host, telling)?;
    let expected = [
        "network up gp0 <no value>".to_owned(),
        "container create web <no value>".to_owned(),
        "container attach web <no value>".to_owned(),
        "container start web <no value>".to_owned(),
        format!("container publish web {ports}"),
        "container publish web 0.0.0.0:9000->90/udp [::]:9000->90/udp".to_owned(),
        format!("container unpublish web {ports}"),
        "container kill web <no value>".to_owned(),
        "container die web <no value> code".to_owned(),
        "container unpublish web 0.0.0.0:9000->90/udp [::]:9000->90/udp".to_owned(),
        "container detach web <no value>".to_owned(),
        "container stop web <no value>".to_owned(),
        "container destroy web <no value>".to_owned(),
    ];
    let told: Vec<&str> = told.lines().collect();
    same("told", told, expected.iter().map(String::as_str).collect::<Vec<_>>())
}

fn an_attached_namespaces_life_is_told(host: &Host) -> Outcome {
    host.needs_taps()?;
    host.gangplank("up")?.ok()?;
    let guest = host.user_start("guest", "unshare --user --map-root-user --net sleep 100")?;
    until(PATIENCE, "it has a namespace of its own", || {
        let ran = host.gangplank(&format!("attach --pid {} --name guest", guest.pid()))?;
        Ok(ran.code == 0)
    })?;
    host.gangplank("detach guest")?.ok()?;
    let told = past(host, "{{.Type}} {{.Action}}")?;
    let guests: Vec<&str> = told
        .lines()
        .filter_map(|line| line.strip_prefix("container "))
        .collect();
    // Each try before its namespaces were there was a reservation, too.
    let last = guests.len().saturating_sub(4);
    same(
        "told",
        guests[last..].to_vec(),
        ["create", "attach", "detach", "destroy"],
    )
}

fn links_are_told(host: &Host) -> Outcome {
    host.gangplank("up")?.ok()?;
    host.gangplank("run -d --name db --expose 5432 -- sleep 100")?.ok()?;
    host.gangplank("run -d --name web --link db:store -- sleep 100")?.ok()?;
    host.gangplank("rm -f web")?.ok()?;
    let telling = "{{.Action}} {{.Actor.Attributes.name}} {{.Actor.Attributes.target}} {{.Actor.Attributes.alias}}";
    let told = past(host, telling)?;
    let links: Vec<&str> = told.lines().filter(|line| line.contains("link ")).collect();
    same("told", links, vec!["link web db store", "unlink web db store"])
}

fn events_come_as_they_happen_and_end_with_the_network(host: &Host) -> Outcome {
    host.gangplank("up")?.ok()?;
    let mut events = host.gangplank_start("events", "events --since 1h")?;
    events.says(" network up gp0 (name=gp0, subnet=")?;
    let id = host.gangplank("run -d --name web -- sleep 100")?.ok()?;
    events.says(&format!(" container start {id}"))?;
    host.gangplank("down --force")?.ok()?;
    same("exit code", events.ends(PATIENCE)?, 0)?;
    let told = events.output()?;
    contains("the end of the container", &told, " container die ")?;
    let Some(last) = told.lines().last() else {
        fail!("nothing told")
    };
    contains(
        "the last",
        last,
        " network down gp0 (name=gp0, reason=down, type=bridge)",
    )?;
    let (moment, _) = last.split_once(' ').unwrap_or_default();
    holds(
        format!("{moment} is RFC 3339 with nanoseconds"),
        moment.len() == 30 && moment.ends_with('Z'),
    )
}

fn conflicts_are_told(host: &Host) -> Outcome {
    host.gangplank("up --subnet 172.30.0.0/16")?.ok()?;
    host.gangplank("run -d --name web -p 8080:80 -- sleep 100")?.ok()?;
    host.gangplank("run -d --name web -- sleep 100")?.code(125)?;
    host.gangplank("run -d --name two -p 8080:80 -- sleep 100")?.code(125)?;
    host.gangplank("publish web 8080:81")?.code(1)?;
    host.root(&format!("ip route add 172.30.4.0/24 via {OUTSIDE}"))?.ok()?;
    let reasons = [
        "network: the name web is in use",
        "network: Bind for 0.0.0.0:8080 failed: port is already allocated by container web",
        "container: Bind for 0.0.0.0:8080 failed: port is already allocated by container web",
        "network: the host has got the route 172.30.4.0/24",
    ];
    until(PATIENCE, "all conflicts are told", || {
        let told = past(host, "{{.Action}} {{.Type}}: {{.Actor.Attributes.reason}}")?;
        let told: Vec<&str> = told.lines().filter_map(|line| line.strip_prefix("conflict ")).collect();
        let fits = |(told, reason): (&&str, &&str)| told.starts_with(*reason);
        Ok(told.len() == reasons.len() && told.iter().zip(&reasons).all(fits))
    })
}

fn filters_formats_and_times(host: &Host) -> Outcome {
    host.gangplank("up")?.ok()?;
    let id = host.gangplank("run -d --name web -- sleep 100")?.ok()?;
    host.gangplank("run -d --name job -- sleep 100")?.ok()?;
    let asked = |options: &str| host.gangplank(&format!("events --since 1h --until 0s {options}"))?.ok();
    let starts = asked("--filter event=start --filter container=web --format json")?;
    let start = json::parse(&starts)?;
    same("Action", json::text(&start, "Action")?.as_str(), "start")?;
    holds(
        "Actor.ID",
        start["Actor"]["ID"].as_str().is_some_and(|full| full.starts_with(&id)),
    )?;
    same("one line", starts.lines().count(), 1)?;
    let both =
        asked("-f event=start -f event=create -f type=container --format '{{.Actor.Attributes.name}} {{.Status}}'")?;
    same(
        "several",
        both.lines().collect::<Vec<_>>(),
        ["web create", "web start", "job create", "job start"],
    )?;
    let moment = start["timeNano"].to_string();
    let (seconds, nanos) = moment.split_at(moment.len() - 9);
    let after = host.gangplank(&format!(
        "events --since {seconds}.{nanos} --until 0s --format '{{{{.Actor.Attributes.name}}}} {{{{.Action}}}}'"
    ))?;
    same("since that start", after.ok()?.lines().next(), Some("web start"))?;
    let before = host.gangplank(&format!(
        "events --since 0 --until {seconds}.{nanos} --format '{{{{.Actor.Attributes.name}}}} {{{{.Action}}}}'"
    ))?;
    same("until that start", before.ok()?.lines().last(), Some("web start"))?;
    host.gangplank("events --filter image=busybox")?
        .refused(&["invalid filter 'image'"])
}

fn an_interrupt_leaves_whole_lines(host: &Host) -> Outcome {
    host.gangplank("up")?.ok()?;
    let mut events = host.gangplank_start("events", "events --since 1h --format json")?;
    events.says("\"up\"")?;
    events.signal(Signal::SIGINT)?;
    same("exit code", events.ends(PATIENCE)?, 130)?;
    for line in events.output()?.lines() {
        json::parse(line)?;
    }
    Ok(())
}

fn a_reader_that_goes_away_is_no_error(host: &Host) -> Outcome {
    host.gangplank("up")?.ok()?;
    let line = format!("({} events --since 1h; echo code $? >&2) | head -n 1", host.binary());
    let mut piped = host.user_start("piped", &format!("sh -c '{line}'"))?;
    piped.says("network up")?;
    // It notices when it has something to say.
    host.gangplank("run --rm -- true")?.ok()?;
    piped.says("code 0")?;
    same("exit code", piped.ends(PATIENCE)?, 0)?;
    same("lines", piped.output()?.lines().count(), 2)
}

/// It holds up neither the helper nor other readers, costs no memory without bound, and hears that it has missed something.
fn a_reader_that_stops_reading_keeps_nobody(host: &Host) -> Outcome {
    host.gangplank("up")?.ok()?;
    host.gangplank("run -d --name web -- sleep 100")?.ok()?;
    let helper = host.network("helper_pid")?;
    let socket = host.state().join("gp0/api.sock").display().to_string();
    let before = memory(&helper)?;
    let mut reader = host.user_start("reader", &host.peer(&format!("events-unread {socket}")))?;
    reader.says("ready")?;
    host.user(&host.peer(&format!("publish-often {socket} web 2000")))?
        .ok()?;
    let ps = host.gangplank("ps")?;
    holds("ps answers at once", ps.took < SOON)?;
    let grown = memory(&helper)?.saturating_sub(before);
    holds(format!("{grown} KiB are a bound"), grown < 8 * 1024)?;
    reader.signal(Signal::SIGUSR1)?;
    reader.says("\"Action\":\"lost\"")?;
    host.gangplank("down --force")?.ok()?;
    same("exit code", reader.ends(PATIENCE)?, 0)?;
    contains("the end is heard, too", &reader.output()?, "\"Action\":\"down\"")
}

fn without_a_network_there_are_no_events(host: &Host) -> Outcome {
    host.gangplank("events")?
        .refused(&["no network gp0 is running", "gangplank up"])
}

/// What has happened so far, by a template.
fn past(host: &Host, template: &str) -> Outcome<String> {
    let words = ["events", "--since", "1h", "--until", "0s", "--format", template];
    host.gangplank_words(&words, PATIENCE)?.ok()
}

/// Resident memory of a process, in KiB.
fn memory(pid: &str) -> Outcome<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let Some(line) = status.lines().find_map(|line| line.strip_prefix("VmRSS:")) else {
        fail!("no memory in {status}")
    };
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
