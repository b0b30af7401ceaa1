//! Bad input gets one clear line and changes nothing.

use std::fs;

use crate::cases;
use crate::host::{Host, LIMIT};
use crate::process::PATIENCE;
use crate::verdict::{Outcome, contains, fail, same};

cases![
    an_unknown_name,
    an_ambiguous_prefix,
    a_name_that_is_taken,
    a_name_that_is_none,
    an_address_outside_the_subnet,
    an_address_in_use,
    a_subnet_that_overlaps_a_route,
    a_subnet_that_is_none,
    a_port_that_another_container_has,
    a_port_that_another_program_has,
    a_port_below_1024,
    a_netns_that_is_gone,
    a_netns_that_is_no_netns,
    a_pid_that_is_gone,
    a_pid_of_another_user,
    a_pid_that_is_closed,
    a_malformed_spec,
    a_template_with_an_error,
    user_namespaces_forbidden,
    a_runtime_folder_of_another_user,
    a_runtime_folder_open_to_others,
];

fn an_unknown_name(host: &Host) -> Outcome {
    unchanged(host, || {
        for line in ["inspect", "port", "logs", "wait", "stop", "rm", "rm -f", "detach"] {
            host.gangplank(&format!("{line} nobody"))?.refused(&["nobody"])?;
        }
        host.gangplank("publish nobody 80")?.refused(&["nobody"])?;
        host.gangplank("unpublish nobody 80")?.refused(&["nobody"])?;
        host.gangplank("exec nobody -- true")?.code(125)?.one_line(&["nobody"])
    })
}

fn an_ambiguous_prefix(host: &Host) -> Outcome {
    // Of 17 ids two begin with the same digit.
    let mut ids: Vec<String> = Vec::new();
    while ids.len() < 17 {
        ids.push(host.gangplank("run -d -- sleep 100")?.ok()?);
    }
    ids.sort();
    let Some(pair) = ids.windows(2).find(|pair| pair[0][..1] == pair[1][..1]) else {
        fail!("seventeen ids: {ids:?}")
    };
    let prefix = &pair[0][..1];
    unchanged(host, || {
        host.gangplank(&format!("inspect {prefix}"))?
            .refused(&["ambiguous", prefix])
    })?;
    unchanged(host, || {
        host.gangplank(&format!("rm -f {prefix}"))?
            .refused(&["ambiguous", prefix])
    })
}

fn a_name_that_is_taken(host: &Host) -> Outcome {
    unchanged(host, || refused_run(host, "--name box", &["box"]))
}

fn a_name_that_is_none(host: &Host) -> Outcome {
    unchanged(host, || {
        for name in ["a/b", "-x", "..", "a b", "é", ""] {
            let option = format!("--name={name}");
            host.gangplank_words(&["run", "-d", &option, "--", "true"], LIMIT)?
                .code(125)?
                .one_line(&["name"])?;
        }
        for name in ["sixteen-letters-x", "a/b", "..", "a b"] {
            host.gangplank_words(&["network", "create", name], LIMIT)?
                .refused(&["name"])?;
        }
        Ok(())
    })
}

fn an_address_outside_the_subnet(host: &Host) -> Outcome {
    unchanged(host, || refused_run(host, "--ip 192.0.2.7", &["192.0.2.7"]))
}

fn an_address_in_use(host: &Host) -> Outcome {
    unchanged(host, || {
        let (address, gateway) = (
            host.address("box")?,
            host.inspect("box", "{{.NetworkSettings.Gateway}}")?,
        );
        refused_run(host, &format!("--ip {address}"), &[&address])?;
        refused_run(host, &format!("--ip {gateway}"), &[&gateway])
    })
}

fn a_subnet_that_overlaps_a_route(host: &Host) -> Outcome {
    host.root("ip route add 10.77.5.0/24 via 198.51.100.2")?.ok()?;
    unchanged(host, || {
        host.gangplank("network create quay --subnet 10.77.0.0/16")?
            .refused(&["10.77.0.0/16", "10.77.5.0/24"])?;
        host.gangplank("network create quay --subnet 198.51.100.0/25")?
            .refused(&["198.51.100.0/2"])
    })
}

fn a_subnet_that_is_none(host: &Host) -> Outcome {
    unchanged(host, || {
        for (subnet, code) in [
            ("10.1.2.3/24", [1, 2]),
            ("10.0.0.0/33", [1, 2]),
            ("10.0.0.0/31", [1, 2]),
            ("sea", [1, 2]),
        ] {
            let ran = host.gangplank(&format!("network create quay --subnet {subnet}"))?;
            same(subnet, code.contains(&ran.code), true)?;
            contains(subnet, &ran.stderr, subnet)?;
        }
        Ok(())
    })
}

fn a_port_that_another_container_has(host: &Host) -> Outcome {
    unchanged(host, || {
        refused_run(host, "-p 8080:81", &["8080", "box"])?;
        refused_run(host, "-p 127.0.0.1:8080:81", &["8080", "box"])?;
        host.gangplank("publish box 8080:90")?.refused(&["8080", "box"])
    })
}

fn a_port_that_another_program_has(host: &Host) -> Outcome {
    let _server = host.host_server("server", "tcp-echo 0.0.0.0 8081")?;
    unchanged(host, || {
        refused_run(host, "-p 8081:80", &["8081"])?;
        // All or nothing: the first port must not stay bound.
        refused_run(host, "-p 8090:80 -p 8081:80", &["8081"])?;
        same(
            "8090",
            host.user(&host.peer("hold-tcp 0.0.0.0 8090"))?.ok()?.as_str(),
            "bound",
        )
    })
}

fn a_port_below_1024(host: &Host) -> Outcome {
    unchanged(host, || {
        refused_run(host, "-p 80:80", &["80", "net.ipv4.ip_unprivileged_port_start"])
    })?;
    fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "80")?;
    host.gangplank("run -d --name low -p 80:80 -- sleep 100")?
        .ok()
        .map(drop)
}

fn a_netns_that_is_gone(host: &Host) -> Outcome {
    unchanged(host, || {
        host.gangplank("attach --netns /run/netns/gone --name ship")?
            .refused(&["/run/netns/gone"])?;
        host.gangplank("attach --netns /proc/999999/ns/net --name ship")?
            .refused(&["/proc/999999/ns/net"])
    })
}

fn a_netns_that_is_no_netns(host: &Host) -> Outcome {
    let pipe = host.home().join("pipe");
    host.user(&format!("mkfifo {}", pipe.display()))?.ok()?;
    unchanged(host, || {
        host.gangplank("attach --netns /etc/passwd --name ship")?
            .refused(&["/etc/passwd"])?;
        host.gangplank("attach --netns /proc/self/ns/mnt --name ship")?
            .refused(&["/proc/self/ns/mnt"])?;
        // A pipe that nobody writes to must not hold the command.
        let path = pipe.display().to_string();
        let ran = host.gangplank(&format!("attach --netns {path} --name ship"))?;
        same("at once", ran.took < PATIENCE, true)?;
        ran.refused(&[&path])
    })
}

fn a_pid_that_is_gone(host: &Host) -> Outcome {
    unchanged(host, || {
        host.gangplank("attach --pid 999999 --name ship")?
            .refused(&["999999"])?;
        let ran = host.gangplank("attach --pid 0 --name ship")?;
        same("pid 0", [1, 2].contains(&ran.code), true)
    })
}

fn a_pid_of_another_user(host: &Host) -> Outcome {
    host.needs_another_user()?;
    unchanged(host, || {
        host.gangplank("attach --pid 1 --name ship")?.refused(&["1", "user"])
    })
}

fn a_pid_that_is_closed(host: &Host) -> Outcome {
    let closed = host.user_start("closed", &host.peer("closed"))?;
    closed.says("ready")?;
    let pid = closed.pid().to_string();
    unchanged(host, || {
        host.gangplank(&format!("attach --pid {pid} --name ship"))?
            .refused(&[&pid, "start the command first"])
    })
}

fn a_malformed_spec(host: &Host) -> Outcome {
    unchanged(host, || {
        let specs = [
            "",
            ":",
            "http",
            "0",
            "65536",
            "8080:",
            "8080:65536",
            "8080:80/sctp",
            "8080:80/",
            "1:2:3:4",
            "256.0.0.1:8080:80",
            "::1:8080:80",
            "[::1:8080:80",
            "80 ",
            "8080:80/tcp/udp",
            "8080:0",
        ];
        for spec in specs {
            let ran = host.gangplank_words(&["run", "-d", "-p", spec, "--", "true"], LIMIT)?;
            same(format!("-p {spec:?}"), ran.code, 125)?;
            ran.one_line(&[spec])?;
            let ran = host.gangplank_words(&["publish", "box", spec], LIMIT)?;
            ran.refused(&[spec])?;
        }
        Ok(())
    })
}

fn a_template_with_an_error(host: &Host) -> Outcome {
    unchanged(host, || {
        let templates = [
            "{{",
            "{{.Name",
            "{{range .Config.Cmd}}x",
            "{{end}}",
            "{{nonsense .Name}}",
            "ab{{index}}",
            "{{if}}{{end}}",
            "{{.Name}}\n{{(.Id}}",
        ];
        for template in templates {
            let ran = host.gangplank_words(&["inspect", "--format", template, "box"], LIMIT)?;
            let said = ran.stderr.clone();
            ran.refused(&["template"])?;
            same(
                format!("{template:?}: a position in {said:?}"),
                said.bytes().any(|byte| byte.is_ascii_digit()),
                true,
            )?;
        }
        // A field that is not there is an error too, not an empty word.
        host.gangplank_words(&["inspect", "--format", "{{.NoSuchField}}", "box"], LIMIT)?
            .refused(&["NoSuchField"])
    })
}

/// The limit counts in each user namespace: the user makes one, forbids more in it, and runs `gangplank` there.
fn user_namespaces_forbidden(host: &Host) -> Outcome {
    let forbid = "echo 0 >/proc/sys/user/max_user_namespaces";
    let script = format!("{forbid} && exec {} up", host.binary());
    host.user(&format!("unshare --user --map-root-user sh -c '{script}'"))?
        .refused(&["user.max_user_namespaces"])
}

fn a_runtime_folder_of_another_user(host: &Host) -> Outcome {
    host.needs_another_user()?;
    let folder = host.folder().join("theirs");
    fs::create_dir(&folder)?;
    host.root(&format!("chmod 777 {}", folder.display()))?.ok()?;
    host.gangplank(&format!("--runtime-dir {} up", folder.display()))?
        .refused(&[&folder.display().to_string(), "own"])
}

fn a_runtime_folder_open_to_others(host: &Host) -> Outcome {
    let [good, open, link] = ["good", "open", "link"].map(|name| host.home().join(name).display().to_string());
    host.user(&format!("mkdir -m 700 {good}"))?.ok()?;
    host.user(&format!("mkdir -m 777 {open}"))?.ok()?;
    host.user(&format!("ln -s {good} {link}"))?.ok()?;
    for bad in [open, link] {
        host.gangplank(&format!("--runtime-dir {bad} up"))?.refused(&[&bad])?;
    }
    host.gangplank(&format!("--runtime-dir {good} up"))?.ok()?;
    host.gangplank(&format!("--runtime-dir {good} down"))?.ok().map(drop)
}

/// Does something on a network with one container, and checks that `ps` and `network ls` are as before.
fn unchanged(host: &Host, what: impl FnOnce() -> Outcome) -> Outcome {
    if !host
        .gangplank("ps -q")?
        .ok()?
        .contains(|digit: char| digit.is_ascii_hexdigit())
    {
        host.gangplank("run -d --name box -p 8080:80 -- sleep 100")?.ok()?;
    }
    let looks = || -> Outcome<String> {
        let ids = host.gangplank("ps -a -q --no-trunc")?.ok()?;
        let settings = host.gangplank(&format!(
            "inspect --format '{{{{json .NetworkSettings}}}}' {}",
            ids.replace('\n', " ")
        ))?;
        Ok(format!(
            "{ids}\n{}\n{}",
            settings.ok()?,
            host.gangplank("network ls")?.ok()?
        ))
    };
    let before = looks()?;
    what()?;
    same("nothing has changed", looks()?, before)
}

/// `run` refuses with 125 and one line.
fn refused_run(host: &Host, options: &str, parts: &[&str]) -> Outcome {
    host.gangplank(&format!("run -d {options} -- sleep 100"))?
        .code(125)?
        .one_line(parts)
}
