//! What the facts mean. Pure.

use super::facts::{Facts, OpenFailure, RuntimeDir};
use super::{Check, State};

/// The findings, in the order in which a network needs them.
pub fn judge(facts: &Facts) -> Vec<Check> {
    vec![
        namespaces(facts),
        tun(facts),
        runtime_dir(facts),
        ping(facts),
        low_ports(facts),
        local_ports(facts),
        open_files(facts),
        subuid(facts),
    ]
}

fn namespaces(facts: &Facts) -> Check {
    let name = "user namespaces";
    let Err(problem) = &facts.namespaces else {
        return ok(name, "user and network namespaces can be made");
    };
    let (reason, fix) = reason(facts);
    forbidden(name, format!("{problem} ({reason}): no network can be made"), Some(fix))
}

/// Who forbids user namespaces, and what to do about it.
fn reason(facts: &Facts) -> (&'static str, String) {
    if facts.max_user_namespaces == Some(0) {
        return (
            "user.max_user_namespaces is 0",
            "sudo sysctl -w user.max_user_namespaces=15000".into(),
        );
    }
    if facts.max_net_namespaces == Some(0) {
        return (
            "user.max_net_namespaces is 0",
            "sudo sysctl -w user.max_net_namespaces=15000".into(),
        );
    }
    if facts.uid != 0 && facts.unprivileged_userns_clone == Some(0) {
        return (
            "kernel.unprivileged_userns_clone is 0",
            "sudo sysctl -w kernel.unprivileged_userns_clone=1".into(),
        );
    }
    if facts.uid != 0 && facts.apparmor_restricts_userns.is_some_and(|value| value != 0) {
        return (
            "AppArmor: kernel.apparmor_restrict_unprivileged_userns is 1, and this program has no profile that says userns",
            "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0".into(),
        );
    }
    (
        "no sysctl forbids it: a seccomp filter or a security module does, as inside most containers",
        "run outside the container, or start that with --security-opt seccomp=unconfined".into(),
    )
}

fn tun(facts: &Facts) -> Check {
    let name = "/dev/net/tun";
    let (problem, fix) = match &facts.tun {
        Ok(()) => return ok(name, "can be opened"),
        Err(OpenFailure::Missing) => ("is not there".to_owned(), Some("sudo modprobe tun")),
        Err(OpenFailure::NotPermitted) => ("may not be opened".to_owned(), Some("sudo chmod 0666 /dev/net/tun")),
        Err(OpenFailure::Other(words)) => (format!("cannot be opened: {words}"), None),
    };
    let fix = fix.map(str::to_owned);
    match &facts.packet {
        Ok(()) => limited(
            name,
            format!(
                "{problem}: the uplink is packet, and namespaces of other user namespaces (unshare -r, podman) can't be \
                 attached"
            ),
            fix,
        ),
        Err(reason) => forbidden(
            name,
            format!("{problem}, and {reason}: containers have no way out and no published ports"),
            fix,
        ),
    }
}

fn runtime_dir(facts: &Facts) -> Check {
    let name = "XDG_RUNTIME_DIR";
    let uid = facts.uid;
    let own = format!("export XDG_RUNTIME_DIR=/run/user/{uid}");
    match &facts.runtime_dir {
        RuntimeDir::Unset => limited(
            name,
            format!("is not set: networks keep their state in /tmp/gangplank-{uid}"),
            Some(own),
        ),
        RuntimeDir::Missing(path) => forbidden(
            name,
            format!("{} is no directory: there is nowhere to keep state", path.display()),
            Some("unset XDG_RUNTIME_DIR".into()),
        ),
        RuntimeDir::Present { path, owner, .. } if *owner != uid => forbidden(
            name,
            format!(
                "{} belongs to uid {owner}, not to {uid}: it is not used",
                path.display()
            ),
            Some(own),
        ),
        RuntimeDir::Present { path, mode, .. } if mode & WRITABLE_BY_OTHERS != 0 => forbidden(
            name,
            format!(
                "{} can be written by others (mode {mode:04o}): it is not used",
                path.display()
            ),
            Some(format!("chmod 0700 {}", path.display())),
        ),
        RuntimeDir::Present { path, .. } => ok(name, format!("{}: networks keep their state there", path.display())),
    }
}

fn ping(facts: &Facts) -> Check {
    let name = "ping";
    let Some((first, last)) = facts.ping_group_range else {
        return limited(
            name,
            "net.ipv4.ping_group_range cannot be read: containers may not be able to ping outside".into(),
            None,
        );
    };
    let range = format!("net.ipv4.ping_group_range is {first} {last}");
    if facts.groups.iter().any(|group| (first..=last).contains(group)) {
        return ok(name, format!("{range}: containers can ping outside"));
    }
    let fix = "sudo sysctl -w net.ipv4.ping_group_range='0 2147483647'";
    limited(
        name,
        format!("{range}, and no group of yours is in it: containers cannot ping outside"),
        Some(fix.into()),
    )
}

fn low_ports(facts: &Facts) -> Check {
    let name = "low ports";
    let start = facts.unprivileged_port_start.unwrap_or(PORT_START);
    if facts.uid == 0 || start <= 1 {
        return ok(name, "every host port can be published");
    }
    let meaning = format!("host ports below {start} cannot be published");
    if start <= HTTP {
        return ok(name, meaning);
    }
    limited(
        name,
        meaning,
        Some(format!("sudo sysctl -w net.ipv4.ip_unprivileged_port_start={HTTP}")),
    )
}

fn local_ports(facts: &Facts) -> Check {
    let name = "outgoing ports";
    let Some((first, last)) = facts.local_port_range else {
        return limited(name, "net.ipv4.ip_local_port_range cannot be read".into(), None);
    };
    let count = last.saturating_sub(first) + 1;
    let meaning =
        format!("net.ipv4.ip_local_port_range is {first} {last}: {count} connections to one server and port at a time");
    if count >= FEW_PORTS {
        return ok(name, meaning);
    }
    limited(
        name,
        meaning,
        Some("sudo sysctl -w net.ipv4.ip_local_port_range='32768 60999'".into()),
    )
}

/// Each connection through the stack is a socket of the host.
fn open_files(facts: &Facts) -> Check {
    let name = "open files";
    let Some((soft, hard)) = facts.open_files else {
        return limited(name, "the limit of open files cannot be read".into(), None);
    };
    let meaning = format!(
        "the limit is {} (at most {}): each connection takes one",
        limit(soft),
        limit(hard)
    );
    if soft >= FEW_FILES {
        return ok(name, meaning);
    }
    let fix = if hard >= FEW_FILES {
        format!("ulimit -n {}", hard.min(ENOUGH_FILES))
    } else {
        format!("sudo prlimit --pid $$ --nofile={ENOUGH_FILES}:{ENOUGH_FILES}")
    };
    limited(name, meaning, Some(fix))
}

fn subuid(facts: &Facts) -> Check {
    let has = if facts.has_subuid {
        "there is a range for this user"
    } else {
        "there is no range for this user"
    };
    ok("/etc/subuid", format!("{has}; none is needed"))
}

/// RLIM_INFINITY is all ones.
fn limit(files: u64) -> String {
    if files == u64::MAX {
        "unlimited".to_owned()
    } else {
        files.to_string()
    }
}

fn ok(name: &'static str, meaning: impl Into<String>) -> Check {
    Check {
        name,
        state: State::Ok,
        meaning: meaning.into(),
        fix: None,
    }
}

fn limited(name: &'static str, meaning: String, fix: Option<String>) -> Check {
    Check {
        name,
        state: State::Limited,
        meaning,
        fix,
    }
}

fn forbidden(name: &'static str, meaning: String, fix: Option<String>) -> Check {
    Check {
        name,
        state: State::Forbidden,
        meaning,
        fix,
    }
}

const WRITABLE_BY_OTHERS: u32 = 0o022;
/// PROT_SOCK of net/sock.h: what a kernel without the sysctl has.
const PORT_START: u32 = 1024;
const HTTP: u32 = 80;
/// A busy web client keeps some thousand ports in TIME_WAIT.
const FEW_PORTS: u32 = 4096;
/// The usual soft limit, 1024, is less than one load test opens.
const FEW_FILES: u64 = 4096;
const ENOUGH_FILES: u64 = 65536;

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine on which nothing is missing.
    fn machine() -> Facts {
        Facts {
            uid: 1000,
            groups: vec![1000, 27],
            max_user_namespaces: Some(15000),
            max_net_namespaces: Some(15000),
            unprivileged_userns_clone: None,
            apparmor_restricts_userns: None,
            namespaces: Ok(()),
            tun: Ok(()),
            packet: Ok(()),
            ping_group_range: Some((0, 2_147_483_647)),
            unprivileged_port_start: Some(80),
            local_port_range: Some((32768, 60999)),
            has_subuid: false,
            runtime_dir: RuntimeDir::Present {
                path: "/run/user/1000".into(),
                owner: 1000,
                mode: 0o700,
            },
            open_files: Some((65536, 65536)),
        }
    }

    fn check(name: &str, change: impl FnOnce(&mut Facts)) -> (State, String, String) {
        let mut facts = machine();
        change(&mut facts);
        let check = judge(&facts).into_iter().find(|check| check.name == name).unwrap();
        (check.state, check.meaning, check.fix.unwrap_or_default())
    }

    #[test]
    fn nothing_missing_is_all_ok() {
        for check in judge(&machine()) {
            assert_eq!((check.state, &check.fix), (State::Ok, &None), "{check:?}");
        }
    }

    #[test]
    fn namespaces_name_who_forbids_them() {
        let denied = |change: fn(&mut Facts)| {
            check("user namespaces", |facts| {
                facts.namespaces = Err("no user namespace: EPERM".into());
                change(facts);
            })
        };
        for (found, part, fix) in [
            (
                denied(|facts| facts.max_user_namespaces = Some(0)),
                "max_user_namespaces is 0",
                "user.max_user_namespaces=15000",
            ),
            (
                denied(|facts| facts.max_net_namespaces = Some(0)),
                "max_net_namespaces is 0",
                "user.max_net_namespaces=15000",
            ),
            (
                denied(|facts| facts.unprivileged_userns_clone = Some(0)),
                "userns_clone is 0",
                "kernel.unprivileged_userns_clone=1",
            ),
            (
                denied(|facts| facts.apparmor_restricts_userns = Some(1)),
                "AppArmor",
                "apparmor_restrict_unprivileged_userns=0",
            ),
            (denied(|_| {}), "seccomp", "outside the container"),
            (
                denied(|facts| (facts.uid, facts.unprivileged_userns_clone) = (0, Some(0))),
                "seccomp",
                "outside the container",
            ),
        ] {
            assert_eq!(found.0, State::Forbidden);
            assert!(found.1.contains("EPERM") && found.1.contains(part), "{}", found.1);
            assert!(found.2.contains(fix), "{}", found.2);
        }
    }

    #[test]
    fn a_sysctl_that_forbids_nothing_in_fact_is_no_finding() {
        let found = check("user namespaces", |facts| facts.apparmor_restricts_userns = Some(1));
        assert_eq!(found.0, State::Ok, "a profile may allow what the sysctl forbids");
    }

    #[test]
    fn the_tun_device() {
        for (failure, fix) in [
            (OpenFailure::Missing, "sudo modprobe tun"),
            (OpenFailure::NotPermitted, "sudo chmod 0666 /dev/net/tun"),
            (OpenFailure::Other("I/O error".into()), ""),
        ] {
            let found = check("/dev/net/tun", |facts| facts.tun = Err(failure.clone()));
            assert_eq!((found.0, found.2.as_str()), (State::Limited, fix));
            assert!(found.1.contains("the uplink is packet"), "{}", found.1);
            let found = check("/dev/net/tun", |facts| {
                facts.tun = Err(failure);
                facts.packet = Err("packet sockets: permission denied".into());
            });
            assert_eq!((found.0, found.2.as_str()), (State::Forbidden, fix));
            assert!(found.1.contains("packet sockets: permission denied"), "{}", found.1);
        }
    }

    #[test]
    fn the_runtime_directory() {
        let present = |owner, mode| RuntimeDir::Present {
            path: "/run/x".into(),
            owner,
            mode,
        };
        for (dir, state, fix) in [
            (
                RuntimeDir::Unset,
                State::Limited,
                "export XDG_RUNTIME_DIR=/run/user/1000",
            ),
            (
                RuntimeDir::Missing("/run/x".into()),
                State::Forbidden,
                "unset XDG_RUNTIME_DIR",
            ),
            (
                present(0, 0o700),
                State::Forbidden,
                "export XDG_RUNTIME_DIR=/run/user/1000",
            ),
            (present(1000, 0o777), State::Forbidden, "chmod 0700 /run/x"),
            (present(1000, 0o755), State::Ok, ""),
        ] {
            let found = check("XDG_RUNTIME_DIR", |facts| facts.runtime_dir = dir);
            assert_eq!((found.0, found.2.as_str()), (state, fix), "{}", found.1);
        }
    }

    #[test]
    fn ping_needs_a_group_in_the_range() {
        let found = check("ping", |facts| facts.ping_group_range = Some((1, 0)));
        assert_eq!(found.0, State::Limited);
        assert_eq!(found.2, "sudo sysctl -w net.ipv4.ping_group_range='0 2147483647'");
        assert_eq!(
            check("ping", |facts| facts.ping_group_range = Some((27, 27))).0,
            State::Ok
        );
        assert_eq!(check("ping", |facts| facts.ping_group_range = None).0, State::Limited);
    }

    #[test]
    fn low_ports_are_roots_or_the_sysctls() {
        let found = check("low ports", |facts| facts.unprivileged_port_start = Some(1024));
        assert_eq!(
            found,
            (
                State::Limited,
                "host ports below 1024 cannot be published".into(),
                "sudo sysctl -w net.ipv4.ip_unprivileged_port_start=80".into()
            )
        );
        assert_eq!(
            check("low ports", |facts| facts.unprivileged_port_start = None).0,
            State::Limited
        );
        assert_eq!(
            check("low ports", |facts| (facts.uid, facts.unprivileged_port_start) =
                (0, Some(1024)))
            .0,
            State::Ok
        );
        assert_eq!(
            check("low ports", |facts| facts.unprivileged_port_start = Some(0)).1,
            "every host port can be published"
        );
    }

    #[test]
    fn few_ports_or_files_are_a_limit() {
        assert_eq!(
            check("outgoing ports", |facts| facts.local_port_range = Some((60000, 60999))).0,
            State::Limited
        );
        let found = check("open files", |facts| facts.open_files = Some((1024, 524_288)));
        assert_eq!((found.0, found.2.as_str()), (State::Limited, "ulimit -n 65536"));
        let found = check("open files", |facts| facts.open_files = Some((1024, 1024)));
        assert!(found.2.starts_with("sudo prlimit"), "{}", found.2);
        assert!(
            check("open files", |facts| facts.open_files = Some((u64::MAX, u64::MAX)))
                .1
                .contains("unlimited")
        );
    }
}
