//! `ps`, `port`, `inspect`, `show`, `network`, `doctor`: to the letter of the command line's contract.

use serde_json::Value;

use crate::host::Host;
use crate::verdict::{Outcome, contains, fail, holds, same};
use crate::{cases, json};

cases![
    ps_to_the_letter,
    ps_quiet_all_and_untruncated,
    ps_as_json_and_by_template,
    ps_filters_and_the_last,
    dockers_table_of_names_and_ports,
    port_to_the_letter,
    inspect_is_dockers_document,
    inspect_takes_several_names,
    templates_that_people_paste,
    template_language,
    show_says_what_brctl_said,
    network_inspect_says_why,
    doctor_says_what_is_allowed,
    doctor_names_the_line_that_helps,
    help_and_version,
    a_man_page_and_completions,
];

fn ps_to_the_letter(host: &Host) -> Outcome {
    same(
        "the head alone",
        columns(&host.gangplank("ps")?.ok()?),
        vec![vec!["CONTAINER ID", "NAME", "COMMAND", "STATUS", "IP", "PORTS"]],
    )?;
    let id = host
        .gangplank("run -d --name web -p 8080:80 -p 127.0.0.1:9000:90/udp --expose 99 -- sleep 100")?
        .ok()?;
    let address = host.address("web")?;
    let text = host.gangplank("ps")?.ok()?;
    let lines = columns(&text);
    let [_, line] = lines.as_slice() else {
        fail!("two lines: {text}")
    };
    let [first, name, command, status, ip, ports] = line.as_slice() else {
        fail!("six columns: {line:?}")
    };
    same("id", *first, id.as_str())?;
    same(
        "name, command, address",
        [*name, *command, *ip],
        ["web", "\"sleep 100\"", address.as_str()],
    )?;
    holds(format!("{status} is Up … seconds"), status.starts_with("Up "))?;
    same(
        "ports",
        *ports,
        "99/tcp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp, 127.0.0.1:9000->90/udp",
    )
}

fn ps_quiet_all_and_untruncated(host: &Host) -> Outcome {
    let lives = host.gangplank("run -d --name lives -- sleep 100")?.ok()?;
    let ended = host.gangplank("run -d --name ended -- sh -c 'exit 3'")?.ok()?;
    host.gangplank("wait ended")?.ok()?;
    same("ps -q", host.gangplank("ps -q")?.ok()?, lives.as_str())?;
    let all = host.gangplank("ps -a -q")?.ok()?;
    holds(format!("{all} has both"), all.contains(&lives) && all.contains(&ended))?;
    contains("status", &host.gangplank("ps -a")?.ok()?, "Exited (3)")?;
    same("--no-trunc", host.gangplank("ps -q --no-trunc")?.ok()?.len(), 64)
}

fn ps_as_json_and_by_template(host: &Host) -> Outcome {
    let id = host.gangplank("run -d --name web -p 8080:80 -- sleep 100")?.ok()?;
    let listed = json::parse(&host.gangplank("ps --format json")?.ok()?)?;
    holds(
        "it has id and name",
        listed.to_string().contains(&id) && listed.to_string().contains("web"),
    )?;
    let line = host.gangplank("ps --format '{{.Name}} {{.IP}}'")?.ok()?;
    same("template", line, format!("web {}", host.address("web")?))?;
    contains("table", &host.gangplank("ps --format table")?.ok()?, "CONTAINER ID")
}

fn ps_filters_and_the_last(host: &Host) -> Outcome {
    host.gangplank("up --network quay")?.ok()?;
    host.gangplank("run -d --name web -p 8080:80 -- sleep 100")?.ok()?;
    host.gangplank("run -d --name web-db --expose 5432 -- sleep 100")?
        .ok()?;
    host.gangplank("run -d --name job -- sh -c 'exit 3'")?.ok()?;
    host.gangplank("wait job")?.ok()?;
    for (options, names) in [
        ("", "web-db web"),
        ("--filter name=web", "web-db web"),
        ("--filter name=^/web$", "web"),
        ("--filter name=db --filter name=^web$", "web-db web"),
        ("--filter name=web --filter expose=5432", "web-db"),
        ("--filter publish=8080", "web"),
        ("--filter publish=8000-9000/tcp", "web"),
        ("--filter publish=80", ""),
        ("--filter status=exited", "job"),
        ("-a --filter exited=3", "job"),
        ("-a --filter exited=0", ""),
        ("--filter network=gp0", "web-db web"),
        ("--filter network=quay", ""),
        ("--filter since=web", "web-db"),
        ("-a --filter before=job", "web-db web"),
        ("-l", "job"),
        ("-n 2", "job web-db"),
        ("--last 1 --filter name=web", "web-db"),
    ] {
        let said = host
            .gangplank(&format!("ps {options} --format '{{{{.Names}}}}'"))?
            .ok()?;
        same(options, said.lines().collect::<Vec<_>>().join(" "), names)?;
    }
    let id = host.gangplank("ps -q --filter name=^web$")?.ok()?;
    same("id", host.gangplank(&format!("ps -q --filter id={id}"))?.ok()?, id)?;
    host.gangplank("ps --filter ancestor=busybox")?
        .refused(&["'ancestor'", "containers are made of no image"])?;
    host.gangplank("ps --filter colour=red")?
        .refused(&["invalid filter 'colour'"])
}

fn dockers_table_of_names_and_ports(host: &Host) -> Outcome {
    host.gangplank("run -d --name ranges --expose 100-102 -p 8000-8002:8000-8002 -p 127.0.0.1:9001:8003 -- sleep 100")?
        .ok()?;
    let table = host
        .gangplank(r"ps --filter name=ranges --format 'table {{.Names}}\t{{upper .Image}}\t{{.Ports}}'")?
        .ok()?;
    let ports = "100-102/tcp, 0.0.0.0:8000-8002->8000-8002/tcp, [::]:8000-8002->8000-8002/tcp, \
                 127.0.0.1:9001->8003/tcp";
    same(
        "the table",
        table,
        format!("NAMES     IMAGE        PORTS\nranges    <NO IMAGE>   {ports}"),
    )
}

fn port_to_the_letter(host: &Host) -> Outcome {
    host.gangplank("run -d --name web -p 8080:80 -- sleep 100")?.ok()?;
    same(
        "port web",
        host.gangplank("port web")?.stdout.as_str(),
        "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080\n",
    )?;
    for port in ["80", "80/tcp"] {
        same(
            port,
            host.gangplank(&format!("port web {port}"))?.stdout.as_str(),
            "0.0.0.0:8080\n[::]:8080\n",
        )?;
    }
    for (port, named) in [("81", "81/tcp"), ("80/udp", "80/udp")] {
        let ran = host.gangplank(&format!("port web {port}"))?.code(1)?;
        same(
            port,
            ran.stderr,
            format!("Error: no public port '{named}' published for web\n"),
        )?;
        same("stdout", ran.stdout.as_str(), "")?;
    }
    Ok(())
}

fn inspect_is_dockers_document(host: &Host) -> Outcome {
    let id = host
        .gangplank("run -d --name web --hostname tender -e COLOUR=red -p 8080:80 --expose 99 -- sleep 100")?
        .ok()?;
    let document = json::parse(&host.gangplank("inspect web")?.ok()?)?;
    let Some(web) = document.as_array().and_then(|all| all.first()) else {
        fail!("an array of one: {document}")
    };
    let at = |path: &str| web.pointer(path).cloned().unwrap_or(Value::Null);
    same(
        "Id",
        at("/Id").as_str().and_then(|text| text.get(..12)),
        Some(id.as_str()),
    )?;
    same(
        "Name",
        at("/Name").as_str().map(|name| name.trim_start_matches('/').to_owned()),
        Some("web".to_owned()),
    )?;
    same("Status", at("/State/Status"), "running")?;
    holds("Pid", at("/State/Pid").as_i64().is_some_and(|pid| pid > 1))?;
    same("ExitCode", at("/State/ExitCode"), 0)?;
    same("Cmd", at("/Config/Cmd"), serde_json::json!(["sleep", "100"]))?;
    holds(
        "Env",
        at("/Config/Env")
            .as_array()
            .is_some_and(|all| all.contains(&"COLOUR=red".into())),
    )?;
    same("Hostname", at("/Config/Hostname"), "tender")?;
    same(
        "ExposedPorts",
        at("/Config/ExposedPorts"),
        serde_json::json!({"80/tcp": {}, "99/tcp": {}}),
    )?;
    same(
        "PortBindings",
        at("/HostConfig/PortBindings/80~1tcp/0/HostPort"),
        "8080",
    )?;
    holds("Links", web.pointer("/HostConfig/Links").is_some())?;
    let settings = |key: &str| at(&format!("/NetworkSettings/{key}"));
    same("Bridge", settings("Bridge"), "gp0")?;
    same("IPAddress", settings("IPAddress"), host.address("web")?.as_str())?;
    holds(
        "IPPrefixLen",
        settings("IPPrefixLen").as_u64().is_some_and(|bits| bits > 0),
    )?;
    holds(
        "SandboxKey",
        settings("SandboxKey")
            .as_str()
            .is_some_and(|path| path.starts_with('/')),
    )?;
    holds(
        "GlobalIPv6Address",
        web.pointer("/NetworkSettings/GlobalIPv6Address").is_some(),
    )?;
    let bindings = serde_json::json!([{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}]);
    same("Ports", at("/NetworkSettings/Ports/80~1tcp"), bindings)?;
    same(
        "an exposed port",
        web.pointer("/NetworkSettings/Ports/99~1tcp"),
        Some(&Value::Null),
    )?;
    same(
        "Networks",
        at("/NetworkSettings/Networks/gp0/IPAddress"),
        settings("IPAddress"),
    )
}

fn inspect_takes_several_names(host: &Host) -> Outcome {
    host.gangplank("run -d --name one -- sleep 100")?.ok()?;
    host.gangplank("run -d --name two -- sleep 100")?.ok()?;
    let both = json::parse(&host.gangplank("inspect one two")?.ok()?)?;
    same("documents", both.as_array().map(Vec::len), Some(2))?;
    let names = host
        .gangplank("inspect --format '{{.Config.Hostname}}' one two")?
        .ok()?;
    same("a line each", names.lines().count(), 2)
}

fn templates_that_people_paste(host: &Host) -> Outcome {
    host.gangplank("run -d --name web -p 8080:80 -- sleep 100")?.ok()?;
    let gives = |template: &str, wanted: &str| same(template, host.inspect("web", template)?.as_str(), wanted);
    let addresses = host.gangplank("exec web -- ip -o -4 address show dev eth0")?.ok()?;
    let address = addresses
        .split_whitespace()
        .nth(3)
        .and_then(|cidr| cidr.split('/').next())
        .unwrap_or_default();
    gives("{{ .NetworkSettings.IPAddress }}", address)?;
    gives("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", address)?;
    gives(
        r#"{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}"#,
        "8080",
    )?;
    gives(
        "{{range $p, $conf := .NetworkSettings.Ports}} {{$p}} -> {{(index $conf 0).HostPort}} {{end}}",
        " 80/tcp -> 8080 ",
    )?;
    let ports = r#"{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"},{"HostIp":"::","HostPort":"8080"}]}"#;
    gives("{{json .NetworkSettings.Ports}}", ports)?;
    gives(
        "{{.NetworkSettings.Ports}} {{.Config.ExposedPorts}}",
        "map[80/tcp:[{0.0.0.0 8080} {:: 8080}]] map[80/tcp:{}]",
    )?;
    gives(
        "{{.State.Running}} {{.Path}} {{.Args}} {{.HostConfig.NetworkMode}}",
        "true sleep [100] gp0",
    )?;
    gives(
        "{{range $network, $end := .NetworkSettings.Networks}}{{$network}} {{$end.Gateway}} {{index $end.Aliases 0}}{{end}}",
        &format!("gp0 {} web", host.inspect("web", "{{.NetworkSettings.Gateway}}")?),
    )?;
    gives("{{range $k, $v := .Config.Env}}{{$k}}={{$v}};{{end}}", "")?;
    let whole = json::parse(&host.inspect("web", "{{json .}}")?)?;
    same("{{json .}}", &whole["Name"], "/web")?;
    let started = host.inspect("web", "{{.State.StartedAt}}")?;
    holds(
        format!("{started} is RFC 3339"),
        started.len() == 20 && started.ends_with('Z'),
    )
}

fn template_language(host: &Host) -> Outcome {
    host.gangplank("run -d --name web --hostname tender -p 8080:80 -- sleep 100")?
        .ok()?;
    let gives = |template: &str, wanted: &str| same(template, host.inspect("web", template)?.as_str(), wanted);
    gives("{{if eq .State.Status \"running\"}}yes{{else}}no{{end}}", "yes")?;
    gives("{{if ne .State.ExitCode 0}}yes{{else}}no{{end}}", "no")?;
    gives("{{with .Config}}{{.Hostname}}{{end}}", "tender")?;
    gives(
        "{{printf \"%s has %d\" .Config.Hostname (len .Config.Cmd)}}",
        "tender has 2",
    )?;
    gives(
        "{{range $i, $word := .Config.Cmd}}{{$i}}={{$word}};{{end}}",
        "0=sleep;1=100;",
    )?;
    gives("{{range .HostConfig.Links}}link{{else}}none{{end}}", "none")?;
    gives("{{$n := .Config.Hostname}}{{$n}}{{- /* gone */ -}}  !", "tender!")?;
    gives(
        "{{.State.Status}}\t{{.Config.Hostname | printf \"%q\"}}",
        "running\t\"tender\"",
    )
}

fn show_says_what_brctl_said(host: &Host) -> Outcome {
    host.gangplank("run -d --name one -- sleep 100")?.ok()?;
    let text = host.gangplank("show")?.ok()?;
    let mut lines = text.lines();
    let head: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    same(
        "head",
        head,
        ["bridge", "name", "bridge", "id", "STP", "enabled", "interfaces"],
    )?;
    let bridge: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    let [name, id, stp, _interface, ..] = bridge.as_slice() else {
        fail!("a line of four: {text}")
    };
    same("name", *name, "gp0")?;
    holds(format!("{id} is 8000.mac"), id.starts_with("8000.") && id.len() == 17)?;
    same("STP", *stp, "no")?;
    let shown = json::parse(&host.gangplank("show --format json")?.ok()?)?;
    let Some(Value::Array(interfaces)) = json::find(&shown, "interfaces") else {
        fail!("interfaces: {shown}")
    };
    same("uplink and one container", interfaces.len(), 2)
}

fn network_inspect_says_why(host: &Host) -> Outcome {
    host.gangplank("up")?.ok()?;
    let network = json::parse(&host.gangplank("network inspect gp0")?.ok()?)?;
    holds("why", !json::text(&network, "why")?.is_empty())?;
    contains(
        "table",
        &host.gangplank("network ls")?.ok()?,
        &json::text(&network, "subnet")?,
    )?;
    host.gangplank("network inspect nowhere")?.refused(&["nowhere"])
}

fn doctor_says_what_is_allowed(host: &Host) -> Outcome {
    let said = host.gangplank("doctor")?.ok()?;
    for piece in [
        "user namespaces",
        "/dev/net/tun",
        "ping_group_range",
        "ip_unprivileged_port_start",
    ] {
        contains("doctor", &said.to_lowercase(), piece)?;
    }
    json::parse(&host.gangplank("doctor --format json")?.ok()?).map(drop)
}

fn doctor_names_the_line_that_helps(host: &Host) -> Outcome {
    std::fs::write("/proc/sys/net/ipv4/ping_group_range", "1 0")?;
    let said = host.gangplank("doctor")?;
    contains("doctor", &said.stdout, "net.ipv4.ping_group_range=")
}

fn help_and_version(host: &Host) -> Outcome {
    contains(
        "version",
        &host.gangplank("--version")?.ok()?,
        env!("CARGO_PKG_VERSION"),
    )?;
    let (short, whole) = (host.gangplank("run -h")?.ok()?, host.gangplank("run --help")?.ok()?);
    contains("help", &whole, "--publish")?;
    holds("-h is the shorter", short.len() <= whole.len())?;
    let nothing = host.gangplank("")?;
    same("no command", nothing.code, 2)?;
    host.gangplank("frobnicate")?.code(2).map(drop)
}

fn a_man_page_and_completions(host: &Host) -> Outcome {
    let page = host.gangplank("man")?.ok()?;
    for part in [
        ".TH gangplank 1",
        "\n.SS gangplank ps\n",
        "\n.SS gangplank network inspect\n",
        ".SH EXIT STATUS",
    ] {
        contains("the page", &page, part)?;
    }
    let script = host.gangplank("completions bash")?.ok()?;
    let file = host.home().join("completions");
    std::fs::write(&file, script)?;
    let complete = format!(
        ". {}; COMP_WORDS=(gangplank unp); COMP_CWORD=1; _gangplank gangplank unp gangplank; echo ${{COMPREPLY[@]}}",
        file.display()
    );
    let said = host.user(&format!("bash -c '{complete}'"))?.ok()?;
    same("gangplank unp<TAB>", said.as_str(), "unpublish")?;
    host.gangplank("completions csh")?.refused(&["csh", "bash", "zsh"])
}

/// Cells of a table: two blanks or more part them.
fn columns(table: &str) -> Vec<Vec<&str>> {
    let cells = |line| {
        str::split(line, "  ")
            .map(str::trim)
            .filter(|cell| !cell.is_empty())
            .collect()
    };
    table.lines().map(cells).collect()
}
