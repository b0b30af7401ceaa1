//! The agent and what it makes, with real namespaces, as an unprivileged user.
//!
//! Each test runs itself again as uid 65534 when the caller is root, in a mount namespace with a /dev/net/tun that
//! everybody may open, so that what passes here passes without root. A container is a python process in namespaces of
//! its own that runs what it is told.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use gangplank::netns::{
    Agent, AgentError, InterfaceSpec, Kinship, Namespace, NetworkSpec, OpenError, Refusal, UplinkEnd, Watch, join,
    members,
};
use gangplank::stack::{Gso, GsoType, Offload};
use gangplank::sys::clock;
use gangplank::sys::pidfd::PidFd;
use gangplank::sys::tun::OffloadBits;
use gangplank::uplink::cable::End;
use gangplank::uplink::{self, Cable, FRAME_BYTES, FrameError, Uplink, UplinkKind};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};

#[test]
fn a_network_comes_up_and_goes() {
    unprivileged("a_network_comes_up_and_goes", || {
        let (agent, uplink) = network(true);
        assert_eq!(uplink.ifname, "uplink");
        assert!(uplink.offload.checksum && uplink.offload.tso4, "{:?}", uplink.offload);
        let view = agent.bridge().unwrap();
        assert_eq!(view.name, "gp0");
        assert_eq!(view.interfaces, ["uplink"]);
        assert!(view.id.starts_with("8000.") && view.id.len() == 17, "{}", view.id);
        assert!(!view.stp);
        let netns = Namespace::of_process(agent.pid()).unwrap().0.identity();
        agent.shutdown().unwrap();
        assert_eq!(members(&[netns]).unwrap(), []);
    });
}

#[test]
fn a_veth_reaches_a_descendant() {
    unprivileged("a_veth_reaches_a_descendant", || {
        let (agent, _uplink) = network(true);
        let mut container = Container::descendant(&agent);
        let netns = container.netns();
        assert_eq!(netns.kinship(agent.userns()).unwrap(), Kinship::Descendant);
        let port = agent.attach(&netns, &interface(2), false).unwrap();
        assert_eq!(agent.bridge().unwrap().interfaces, ["uplink", &port]);
        container.expect_interface();
        let twice = agent.attach(&netns, &interface(3), false).unwrap_err();
        assert!(twice.to_string().contains("eth0 already"), "{twice}");
        let mut other = interface(3);
        other.ifname = "eth1".to_owned();
        let twice = agent.attach(&netns, &other, false).unwrap_err();
        assert!(twice.to_string().contains("default route already"), "{twice}");
        assert!(!container.run("ip -br link").contains("eth1"), "half a veth is left");
        assert_eq!(agent.bridge().unwrap().interfaces, ["uplink", &port]);
        agent.detach(&port).unwrap();
        assert!(!container.run("ip -br link").contains("eth0"));
        assert!(agent.detach(&port).is_err(), "the port is gone");
        // A port that went with its namespace, or by the container's own hand, is detached without a fuss.
        let port = agent.attach(&netns, &interface(2), false).unwrap();
        container.run("ip link del eth0");
        assert_eq!(agent.bridge().unwrap().interfaces, ["uplink"]);
        agent.detach(&port).unwrap();
    });
}

#[test]
fn containers_reach_each_other_unless_icc_is_off() {
    unprivileged("containers_reach_each_other_unless_icc_is_off", || {
        for icc in [true, false] {
            let (agent, _uplink) = network(icc);
            let mut a = Container::descendant(&agent);
            let mut b = Container::descendant(&agent);
            agent.attach(&a.netns(), &interface(2), false).unwrap();
            agent.attach(&b.netns(), &interface(3), false).unwrap();
            assert_eq!(a.reaches(&mut b, "172.31.0.3"), icc, "icc={icc}");
            agent.set_icc(!icc).unwrap();
            // Else the kernel goes on asking for the neighbour that did not answer, once a second.
            a.run("ip neigh flush dev eth0");
            assert_eq!(a.reaches(&mut b, "172.31.0.3"), !icc, "icc={icc} at first");
        }
    });
}

#[test]
fn ipv6_is_there_at_once_and_changes_for_nobody() {
    unprivileged("ipv6_is_there_at_once_and_changes_for_nobody", || {
        let (agent, _uplink) = network(true);
        let mut near = Container::descendant(&agent);
        // As on a host that has it switched off for what is new.
        near.run("sysctl -w net.ipv6.conf.default.disable_ipv6=1");
        agent.attach(&near.netns(), &interface6(2), false).unwrap();
        let mut far = Container::sibling();
        let end = agent.cable(&interface6(3)).unwrap();
        let tap = join::make_interface(exe(), &far.netns(), &interface6(3), OffloadBits::ALL).unwrap();
        let _cable = Cable::start(end.fd, tap, |_| {}).unwrap();
        for (container, address) in [(&mut near, "fd00:9::2/64"), (&mut far, "fd00:9::3/64")] {
            let addresses = container.run("ip -o -6 address show dev eth0");
            assert!(addresses.contains(address), "{addresses}");
            assert!(!addresses.contains("tentative"), "{addresses}");
            let routes = container.run("ip -6 route show default");
            assert!(routes.contains("default via fe80::1 dev eth0"), "{routes}");
            for setting in ["accept_ra", "autoconf"] {
                let value = container.run(&format!("cat /proc/sys/net/ipv6/conf/eth0/{setting}"));
                assert_eq!(value, "0\n", "{setting}");
            }
        }
        assert!(near.reaches(&mut far, "fd00:9::3"));
        assert!(far.reaches(&mut near, "fd00:9::2"));
    });
}

#[test]
fn everything_goes_when_the_helper_dies() {
    unprivileged("everything_goes_when_the_helper_dies", || {
        let (agent, uplink) = network(true);
        let mut owned = Container::descendant(&agent);
        let mut other = Container::descendant(&agent);
        agent.attach(&owned.netns(), &interface(2), true).unwrap();
        agent.attach(&other.netns(), &interface(3), false).unwrap();
        let agent_pid = agent.pid();
        let agents = Namespace::of_process(agent_pid).unwrap().0.identity();
        let owneds = owned.netns().identity();
        // What the kernel does for a helper that dies: the channel and the uplink are closed.
        drop(agent);
        drop(uplink);
        wait_until("the owned container is killed", || {
            owned.child.try_wait().unwrap().is_some()
        });
        wait_until("the agent has ended", || {
            members(&[agents]).unwrap().iter().all(|pid| is_zombie(pid.as_raw()))
        });
        wait_until("the attached container has lost its interface", || {
            !other.run("ip -br link").contains("eth0")
        });
        assert_eq!(members(&[owneds]).unwrap(), []);
        assert!(
            other.child.try_wait().unwrap().is_none(),
            "an attached container is not ours to kill"
        );
    });
}

#[test]
fn sigterm_takes_everything_down() {
    unprivileged("sigterm_takes_everything_down", || {
        let (agent, _uplink) = network(true);
        let mut owned = Container::descendant(&agent);
        agent.attach(&owned.netns(), &interface(2), true).unwrap();
        agent.process().send_signal(nix::sys::signal::Signal::SIGTERM).unwrap();
        wait_until("the owned container is killed", || {
            owned.child.try_wait().unwrap().is_some()
        });
        wait_until("the agent has ended", || agent.process().has_ended().unwrap());
        let error = agent.bridge().unwrap_err();
        assert!(matches!(error, AgentError::Died), "{error}");
    });
}

#[test]
fn a_killed_helper_leaves_nothing() {
    const HOLDER: &str = "GANGPLANK_TEST_HOLDER";
    unprivileged("a_killed_helper_leaves_nothing", || {
        if std::env::var_os(HOLDER).is_some() {
            let (agent, _uplink) = network(true);
            let container = Container::descendant(&agent);
            agent.attach(&container.netns(), &interface(2), true).unwrap();
            println!("pids {} {}", agent.pid(), container.pid());
            std::thread::sleep(Duration::from_secs(60));
            return;
        }
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "--nocapture", "a_killed_helper_leaves_nothing"])
            .env(HOLDER, "1");
        let mut holder = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(holder.stdout.take().unwrap()).lines();
        let line = lines
            .map_while(Result::ok)
            .find(|line| line.starts_with("pids "))
            .expect("the holder starts");
        let processes: Vec<_> = line
            .split(' ')
            .skip(1)
            .map(|pid| PidFd::open(pid.parse().unwrap()).unwrap())
            .collect();
        holder.kill().unwrap();
        holder.wait().unwrap();
        for process in processes {
            assert!(
                process.wait_ended(1_000u16).unwrap(),
                "a process outlives its helper by a second: {line}"
            );
        }
    });
}

#[test]
fn cables_join_siblings() {
    unprivileged("cables_join_siblings", || {
        let (agent, uplink) = network(true);
        let mut a = Container::sibling();
        let mut b = Container::sibling();
        assert_eq!(a.netns().kinship(agent.userns()).unwrap(), Kinship::Sibling);
        let refused = agent.attach(&a.netns(), &interface(2), false).unwrap_err();
        assert!(
            matches!(refused, AgentError::Refused(Refusal::NotADescendant)),
            "{refused}"
        );
        let (ended, ends) = mpsc::channel();
        let mut cables = Vec::new();
        for (container, host) in [(&a, 2), (&b, 3)] {
            let end = agent.cable(&interface(host)).unwrap();
            let tap = join::make_interface(exe(), &container.netns(), &interface(host), uplink.offload).unwrap();
            let ended = ended.clone();
            let cable = Cable::start(end.fd, tap, move |end| ended.send(end).unwrap()).unwrap();
            cables.push((cable, end.port));
        }
        a.expect_interface();
        let twice = join::make_interface(exe(), &a.netns(), &interface(4), uplink.offload).unwrap_err();
        assert!(twice.to_string().contains("eth0 already"), "{twice}");
        assert!(a.reaches(&mut b, "172.31.0.3"));
        b.run("timeout 20 iperf3 -s -1 >/dev/null 2>&1 & sleep 0.5");
        let report = a.run("timeout 10 iperf3 -c 172.31.0.3 -t 2 -f m");
        println!("{report}");
        assert!(report.contains("receiver"), "{report}");
        let counters = cables[0].0.counters();
        // Two seconds in frames of 1500 bytes would be many more than in superframes.
        println!("{counters:?}");
        // Taking the interface down is the container's affair; up again, it works again.
        a.run("ip link set eth0 down; ip link set eth0 up");
        assert!(a.reaches(&mut b, "172.31.0.3"));
        // Deleting the bridge's end ends the cable, and with it the container's interface.
        agent.detach(&cables[0].1).unwrap();
        assert_eq!(ends.recv_timeout(PATIENCE), Ok(End::BridgeGone));
        wait_until("the interface is gone", || !a.run("ip -br link").contains("eth0"));
        // So does the container's own.
        b.run("ip link del eth0");
        assert_eq!(ends.recv_timeout(PATIENCE), Ok(End::ContainerGone));
        wait_until("the ports are gone", || {
            agent.bridge().unwrap().interfaces == ["uplink"]
        });
    });
}

#[test]
fn a_dropped_cable_is_gone() {
    unprivileged("a_dropped_cable_is_gone", || {
        let (agent, uplink) = network(true);
        let mut container = Container::sibling();
        let end = agent.cable(&interface(2)).unwrap();
        let tap = join::make_interface(exe(), &container.netns(), &interface(2), uplink.offload).unwrap();
        let (ended, ends) = mpsc::channel();
        drop(Cable::start(end.fd, tap, move |end| ended.send(end).unwrap()).unwrap());
        assert_eq!(ends.try_recv(), Ok(End::Stopped));
        assert!(!container.run("ip -br link").contains("eth0"));
        agent.detach(&end.port).unwrap();
        assert_eq!(agent.bridge().unwrap().interfaces, ["uplink"]);
    });
}

#[test]
fn a_network_in_the_user_namespace_of_others() {
    unprivileged("a_network_in_the_user_namespace_of_others", || {
        let mut container = Container::sibling();
        let userns = Namespace::user_at(Path::new(&format!("/proc/{}/ns/user", container.pid()))).unwrap();
        let (agent, _uplink) = Agent::spawn(exe(), &spec(true), Some(&userns)).unwrap();
        assert_eq!(agent.userns().identity(), userns.identity());
        assert_eq!(container.netns().kinship(agent.userns()).unwrap(), Kinship::Descendant);
        agent.attach(&container.netns(), &interface(2), false).unwrap();
        container.expect_interface();
    });
}

#[test]
fn what_is_not_ours_is_refused() {
    unprivileged("what_is_not_ours_is_refused", || {
        let error = Namespace::of_process(1).unwrap_err();
        assert!(matches!(error, OpenError::OthersProcess(1)), "{error}");
        let (agent, _uplink) = network(true);
        let own = Namespace::net_at(Path::new("/proc/self/ns/net")).unwrap();
        assert_eq!(own.kinship(agent.userns()).unwrap(), Kinship::Host);
        let refused = agent.attach(&own, &interface(2), false).unwrap_err();
        assert!(
            matches!(refused, AgentError::Refused(Refusal::NotADescendant)),
            "{refused}"
        );
        assert_eq!(agent.bridge().unwrap().interfaces, ["uplink"]);
        let own = Namespace::of_process(agent.pid()).unwrap().0;
        let refused = agent.attach(&own, &interface(2), true).unwrap_err();
        assert!(
            matches!(refused, AgentError::Refused(Refusal::OwnNamespace)),
            "{refused}"
        );
        let mut bad = spec(true);
        bad.name = "no/name".to_owned();
        assert!(matches!(Agent::spawn(exe(), &bad, None), Err(AgentError::Refused(_))));
    });
}

#[test]
fn frames_pass_every_uplink() {
    unprivileged("frames_pass_every_uplink", || {
        for kind in UplinkKind::ALL {
            frames_pass(kind);
        }
    });
}

fn frames_pass(kind: UplinkKind) {
    let (agent, end) = network_by(vec![kind]);
    assert_eq!((end.kind, end.refused.as_slice()), (kind, [].as_slice()));
    assert_eq!(agent.bridge().unwrap().interfaces, ["uplink"]);
    let port = beside(&agent, "ip -o link show dev uplink");
    assert!(port.contains(" qdisc noqueue "), "{port}");
    let uplink = uplink::open(kind, end.queues).unwrap().pop().unwrap();
    assert_eq!(uplink.kind(), kind);
    let mut container = Container::descendant(&agent);
    agent.attach(&container.netns(), &interface(2), false).unwrap();
    container.run("ip neigh add 172.31.0.1 lladdr 02:00:00:00:00:01 dev eth0");
    container.run("bash -c 'echo hello >/dev/udp/172.31.0.1/9'");
    let mut frame = vec![0; FRAME_BYTES];
    let (offload, len) = arrival(&*uplink, &mut frame);
    assert_eq!(len, 14 + 20 + 8 + 6);
    assert_eq!(frame[42..len], *b"hello\n");
    let whole = kind == UplinkKind::TapPlain;
    // UDP's checksum is the sixth byte of its header: not computed where it need not be, for nothing but memory was
    // crossed.
    let left = offload
        .partial_checksum
        .map(|checksum| (checksum.start, checksum.offset));
    assert_eq!(left, (!whole).then_some((34, 6)), "{kind:?}");

    // Back into the container, as the gateway: the kernel there completes the checksum, or believes nothing.
    container.run(&format!(
        "timeout 5 python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind((\"\", 7)); \
         open(\"{}\", \"wb\").write(s.recv(99))' >/dev/null 2>&1 & sleep 0.5",
        took(kind)
    ));
    let (ethernet, rest) = frame.split_at_mut(14);
    ethernet[..6].copy_from_slice(&interface(2).mac);
    ethernet[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
    let (source, target) = rest[12..20].split_at_mut(4);
    source.swap_with_slice(target);
    rest[22..24].copy_from_slice(&7u16.to_be_bytes());
    if whole {
        // None at all (RFC 768).
        rest[26..28].fill(0);
    }
    uplink.send(offload, &frame[..len]).unwrap();
    wait_until("the answer is in the container", || {
        std::fs::read_to_string(took(kind)).is_ok_and(|text| text == "hello\n")
    });
    std::fs::remove_file(took(kind)).unwrap();

    let lie = Offload {
        gso: Some(Gso {
            kind: GsoType::TcpV4,
            size: 0,
            headers: 0,
            ecn: false,
        }),
        ..offload
    };
    let refused = uplink.send(lie, &frame[..len]).unwrap_err();
    assert!(
        matches!(refused, FrameError::NotWhole) == whole && matches!(refused, FrameError::Io(_)) != whole,
        "{kind:?}: what we write is checked, by the kernel where it has the means: {refused}"
    );
    // Nothing of what was sent has come back.
    while let Ok((_, len)) = uplink.recv(&mut frame) {
        assert_ne!(frame[6..12], [2, 0, 0, 0, 0, 1], "{kind:?}: an echo of {len} bytes");
    }
    agent.shutdown().unwrap();
    assert!(
        matches!(uplink.recv(&mut frame), Err(FrameError::Io(_))),
        "{kind:?}: the interface is gone"
    );
}

#[test]
fn superframes_come_whole_only_where_both_sides_want_them() {
    unprivileged("superframes_come_whole_only_where_both_sides_want_them", || {
        let steps = [
            OffloadBits::ALL,
            OffloadBits {
                uso: false,
                ..OffloadBits::ALL
            },
            OffloadBits {
                uso: false,
                tso6: false,
                ..OffloadBits::ALL
            },
            OffloadBits {
                checksum: true,
                ..OffloadBits::default()
            },
            OffloadBits::default(),
        ];
        for offload in steps {
            superframes_come(UplinkKind::Tap, offload);
        }
        for offload in &steps[..2] {
            superframes_come(UplinkKind::Packet, *offload);
        }
    });
}

/// This kernel knows everything (Linux 6.2), so what is wanted is agreed on and holds.
fn superframes_come(kind: UplinkKind, wanted: OffloadBits) {
    let spec = NetworkSpec {
        uplinks: vec![kind],
        offload: wanted,
        ..spec(true)
    };
    let (agent, end) = Agent::spawn(exe(), &spec, None).unwrap();
    assert_eq!(end.offload, wanted, "{kind:?}");
    let uplink = uplink::open(kind, end.queues).unwrap().pop().unwrap();
    let mut container = Container::descendant(&agent);
    agent.attach(&container.netns(), &interface(2), false).unwrap();
    container.run("ip neigh add 172.31.0.1 lladdr 02:00:00:00:00:01 dev eth0");
    container.run(
        "python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); \
         s.setsockopt(socket.SOL_UDP, 103, 100); s.sendto(bytes(250), (\"172.31.0.1\", 9))'",
    );
    let mut frame = vec![0; FRAME_BYTES];
    let mut seen = Vec::new();
    while seen.iter().map(|(payload, _, _)| payload).sum::<usize>() < 250 {
        let (offload, len) = arrival(&*uplink, &mut frame);
        let cut = offload.gso.map(|gso| (gso.kind, gso.size));
        seen.push((len - 42, cut, offload.partial_checksum.is_some()));
    }
    let expected = match wanted {
        OffloadBits { uso: true, .. } => vec![(250, Some((GsoType::UdpL4, 100)), true)],
        // Cut in software, and the checksums computed with it.
        OffloadBits { .. } => vec![(100, None, false), (100, None, false), (50, None, false)],
    };
    let same = seen
        .iter()
        .zip(&expected)
        .all(|(seen, expected)| (seen.0, seen.1) == (expected.0, expected.1) && (wanted.checksum || !seen.2));
    assert!(same && seen.len() == expected.len(), "{kind:?} {wanted:?}: {seen:?}");
    agent.shutdown().unwrap();
}

#[test]
fn packet_rings_keep_the_order_and_count_what_is_lost() {
    unprivileged("packet_rings_keep_the_order_and_count_what_is_lost", || {
        let (agent, end) = network_by(vec![UplinkKind::Packet]);
        let uplink = uplink::open(UplinkKind::Packet, end.queues).unwrap().pop().unwrap();
        let mut container = Container::descendant(&agent);
        agent.attach(&container.netns(), &interface(2), false).unwrap();
        container.run("ip neigh add 172.31.0.1 lladdr 02:00:00:00:00:01 dev eth0");
        let mut send = |sizes: &str| {
            container.run(&format!(
                "python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); \
                 s.setsockopt(socket.SOL_UDP, 103, 1000); \
                 [s.sendto(n.to_bytes(2, \"big\") + bytes(size), (\"172.31.0.1\", 9)) for n, size in enumerate({sizes})]'"
            ));
        };
        let mut frame = vec![0; FRAME_BYTES];
        let mut arrivals = |count: u16| {
            let number = |frame: &[u8]| u16::from_be_bytes([frame[42], frame[43]]);
            let mut one = || {
                arrival(&*uplink, &mut frame);
                number(&frame)
            };
            (0..count).map(|_| one()).collect::<Vec<_>>()
        };
        for _ in 0..10 {
            // Nobody reads yet: superframes and small frames wait side by side.
            send("[9, 5000, 9, 9, 9000] * 30");
            assert_eq!(arrivals(150), (0..150).collect::<Vec<_>>());
        }
        assert_eq!(uplink.lost(), 0);
        send("[5000] * 70 + [9]");
        assert_eq!(arrivals(64), (0..63).chain([70]).collect::<Vec<_>>());
        assert_eq!(uplink.lost(), 7);
        assert_eq!(uplink.lost(), 7, "since the beginning, however often it is asked");
        agent.shutdown().unwrap();
    });
}

/// The file in which the container puts what it got; in a place that container and test share.
/// What a command says in the agent's namespace.
fn beside(agent: &Agent, line: &str) -> String {
    let pid = agent.pid().to_string();
    let mut command = Command::new("nsenter");
    command.args(["--user", "--net", "--preserve-credentials", "--target", &pid]);
    let output = command
        .args(line.split(' '))
        .output()
        .expect("nsenter of util-linux is installed");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn took(kind: UplinkKind) -> String {
    format!("/tmp/gangplank-{}-{}", kind.word(), std::process::id())
}

/// The next frame to the hardware address that the tests use for the gateway.
fn arrival(uplink: &dyn Uplink, frame: &mut [u8]) -> (Offload, usize) {
    let started = clock::now();
    loop {
        match uplink.recv(frame) {
            Ok(arrived) if frame[..6] == [2, 0, 0, 0, 0, 1] => return arrived,
            Ok(_) => {}
            Err(FrameError::NotReady) => std::thread::sleep(Duration::from_millis(1)),
            Err(error) => panic!("{error}"),
        }
        assert!(clock::now() - started < PATIENCE.into(), "no frame");
    }
}

#[test]
fn without_the_device_the_uplink_is_a_packet_socket() {
    let script = "mount -t tmpfs tmpfs /dev/net";
    after(script, "without_the_device_the_uplink_is_a_packet_socket", || {
        let (agent, end) = network(true);
        assert_eq!(end.kind, UplinkKind::Packet);
        assert!(end.offload.checksum && end.offload.tso4, "{:?}", end.offload);
        let [tap, plain] = end.refused.as_slice() else {
            panic!("{:?}", end.refused)
        };
        assert!(tap.starts_with("tap: /dev/net/tun: no such file"), "{tap}");
        assert!(plain.starts_with("tap-plain: /dev/net/tun: no such file"), "{plain}");
        let mut container = Container::descendant(&agent);
        agent.attach(&container.netns(), &interface(2), false).unwrap();
        container.expect_interface();
        let line = agent.cable(&interface(2)).unwrap_err().to_string();
        assert!(line.contains("two TAPs: /dev/net/tun: no such file"), "{line}");
        assert_eq!(
            agent.bridge().unwrap().interfaces.len(),
            2,
            "nothing is left of the cable"
        );
    });
}

#[test]
fn a_bridge_may_bear_the_names_of_the_uplink() {
    unprivileged("a_bridge_may_bear_the_names_of_the_uplink", || {
        for (name, port) in [("uplink", "uplink0"), ("stack", "uplink")] {
            let spec = NetworkSpec {
                name: name.to_owned(),
                uplinks: vec![UplinkKind::Packet],
                ..spec(true)
            };
            let (agent, end) = Agent::spawn(exe(), &spec, None).unwrap();
            assert_eq!(end.ifname, port);
            assert_eq!(agent.bridge().unwrap().interfaces, [port]);
        }
    });
}

#[test]
fn root_of_a_namespace_can_do_it_too() {
    after("true", "root_of_a_namespace_can_do_it_too", || {
        assert!(nix::unistd::geteuid().is_root());
        let (agent, uplink) = network(true);
        let mut inside = Container::descendant(&agent);
        agent.attach(&inside.netns(), &interface(2), true).unwrap();
        inside.expect_interface();
        let mut beside = Container::sibling();
        let end = agent.cable(&interface(3)).unwrap();
        let tap = join::make_interface(exe(), &beside.netns(), &interface(3), uplink.offload).unwrap();
        let _cable = Cable::start(end.fd, tap, |_| {}).unwrap();
        assert!(beside.reaches(&mut inside, "172.31.0.2"));
        let mut same = Container::of_root();
        assert_eq!(same.netns().kinship(agent.userns()).unwrap(), Kinship::Sibling);
        let end = agent.cable(&interface(4)).unwrap();
        let tap = join::make_interface(exe(), &same.netns(), &interface(4), uplink.offload).unwrap();
        let _cable = Cable::start(end.fd, tap, |_| {}).unwrap();
        assert!(same.reaches(&mut inside, "172.31.0.2"));
    });
}

#[test]
fn a_path_is_watched_until_it_is_unmounted() {
    after("true", "a_path_is_watched_until_it_is_unmounted", || {
        let container = Container::sibling();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("netns");
        std::fs::write(&path, "").unwrap();
        let run = |command: &str| {
            let done = Command::new("sh").args(["-c", command]).arg(&path).status().unwrap();
            assert!(done.success(), "{command}");
        };
        run(&format!("mount --bind /proc/{}/ns/net \"$0\"", container.pid()));
        let identity = Namespace::net_at(&path).unwrap().identity();
        assert_eq!(identity, container.netns().identity());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let watch = |time| {
            tokio::time::timeout(
                time,
                Watch::Path {
                    path: path.clone(),
                    identity,
                }
                .gone(),
            )
        };
        runtime
            .block_on(async { watch(Duration::from_secs(1)).await })
            .expect_err("it is still mounted");
        run("umount \"$0\"");
        runtime
            .block_on(async { watch(PATIENCE).await })
            .expect("it is unmounted")
            .unwrap();
        assert!(matches!(Namespace::net_at(&path), Err(OpenError::NotANamespace(..))));
    });
}

#[test]
fn what_forbids_a_network_is_named() {
    let script = "mount -t tmpfs tmpfs /dev/net";
    after(script, "what_forbids_a_network_is_named", || {
        let wish = |uplinks: &[UplinkKind]| NetworkSpec {
            uplinks: uplinks.to_vec(),
            ..spec(true)
        };
        let refused = |uplinks: &[UplinkKind]| Agent::spawn(exe(), &wish(uplinks), None).unwrap_err().to_string();
        let line = refused(&[UplinkKind::Tap, UplinkKind::TapPlain]);
        assert!(line.contains(" | tap-plain: /dev/net/tun: no such file"), "{line}");
        assert!(
            line.contains("/dev/net/tun: no such file; load the module (modprobe tun)"),
            "{line}"
        );
        let forbid = |name: &str| std::fs::write(format!("/proc/sys/user/{name}"), "0").unwrap();
        forbid("max_net_namespaces");
        let line = refused(&UplinkKind::ALL);
        assert!(
            line.contains("allow it with: sysctl user.max_net_namespaces="),
            "{line}"
        );
        forbid("max_user_namespaces");
        let line = refused(&UplinkKind::ALL);
        assert!(
            line.contains("allow it with: sysctl user.max_user_namespaces="),
            "{line}"
        );
    });
}

#[test]
fn the_agent_inherits_nothing() {
    unprivileged("the_agent_inherits_nothing", || {
        let leak = std::fs::File::open("/etc/passwd").unwrap();
        fcntl(&leak, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
        let (agent, _uplink) = network(true);
        let process = format!("/proc/{}", agent.pid());
        assert_eq!(std::fs::read_to_string(format!("{process}/environ")).unwrap(), "");
        for entry in std::fs::read_dir(format!("{process}/fd")).unwrap() {
            let target = std::fs::read_link(entry.unwrap().path()).unwrap();
            assert_ne!(target, Path::new("/etc/passwd"));
        }
        let status = std::fs::read_to_string(format!("{process}/status")).unwrap();
        for line in ["Threads:\t1\n", "NoNewPrivs:\t1\n"] {
            assert!(status.contains(line), "no {line:?} in {status}");
        }
    });
}

#[test]
fn many_containers_go_together() {
    unprivileged("many_containers_go_together", || {
        let (agent, uplink) = network(true);
        let mut containers: Vec<_> = (2..22).map(|host| (host, Container::descendant(&agent))).collect();
        for (host, container) in &containers {
            agent.attach(&container.netns(), &interface(*host), true).unwrap();
        }
        let started = clock::now();
        drop((agent, uplink));
        for (_, container) in &mut containers {
            container.child.wait().unwrap();
        }
        let took = clock::now() - started;
        assert!(took < PATIENCE.into(), "{took}");
    });
}

#[test]
fn a_hundred_containers_leave_nothing() {
    unprivileged("a_hundred_containers_leave_nothing", || {
        let (agent, _uplink) = network(true);
        let container = Container::descendant(&agent);
        let netns = container.netns();
        for _ in 0..100 {
            let port = agent.attach(&netns, &interface(2), false).unwrap();
            agent.detach(&port).unwrap();
        }
        assert_eq!(agent.bridge().unwrap().interfaces, ["uplink"]);
        agent.shutdown().unwrap();
    });
}

fn network(icc: bool) -> (Agent, UplinkEnd) {
    Agent::spawn(exe(), &spec(icc), None).unwrap()
}

fn network_by(uplinks: Vec<UplinkKind>) -> (Agent, UplinkEnd) {
    let spec = NetworkSpec { uplinks, ..spec(true) };
    Agent::spawn(exe(), &spec, None).unwrap()
}

fn exe() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_gangplank"))
}

fn spec(icc: bool) -> NetworkSpec {
    NetworkSpec {
        name: "gp0".to_owned(),
        mtu: 1500,
        icc,
        uplinks: UplinkKind::ALL.to_vec(),
        queues: 1,
        offload: OffloadBits::ALL,
    }
}

fn interface(host: u8) -> InterfaceSpec {
    InterfaceSpec {
        ifname: "eth0".to_owned(),
        mac: [2, 0x42, 172, 31, 0, host],
        addresses: vec![format!("172.31.0.{host}/16").parse().unwrap()],
        gateways: vec!["172.31.0.1".parse().unwrap()],
        asks: false,
        mtu: 1500,
    }
}

/// The same with IPv6.
fn interface6(host: u8) -> InterfaceSpec {
    let mut both = interface(host);
    both.addresses.push(format!("fd00:9::{host}/64").parse().unwrap());
    both.gateways.push("fe80::1".parse().unwrap());
    both
}

/// A process in namespaces of its own that runs shell lines; killed when dropped.
struct Container {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Container {
    /// In a user namespace below the agent's.
    fn descendant(agent: &Agent) -> Self {
        Self::spawn(&format!(
            "fd = os.open('/proc/{}/ns/user', os.O_RDONLY)\nenter(libc.setns, fd, USER)\nuid = gid = 0",
            agent.pid()
        ))
    }

    /// In a user namespace beside the agent's.
    fn sibling() -> Self {
        Self::spawn("uid, gid = os.getuid(), os.getgid()")
    }

    /// In our own user namespace, which takes root to make.
    fn of_root() -> Self {
        Self::spawn("uid = None")
    }

    fn spawn(enter: &str) -> Self {
        let program = CONTAINER.replace("ENTER", enter);
        let mut command = Command::new("python3");
        command
            .args(["-c", &program])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("python3 is installed");
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut container = Self { child, input, output };
        assert_eq!(container.run("echo here"), "here\n");
        container
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    fn netns(&self) -> Namespace {
        Namespace::of_process(self.pid()).unwrap().0
    }

    /// Runs one line of shell and returns all it said.
    fn run(&mut self, line: &str) -> String {
        writeln!(self.input, "{line}").unwrap();
        let mut said = String::new();
        loop {
            let mut next = String::new();
            assert_ne!(
                self.output.read_line(&mut next).unwrap(),
                0,
                "the container died at: {line}\n{said}"
            );
            if next == "--done--\n" {
                return said;
            }
            said.push_str(&next);
        }
    }

    /// That `eth0` is as [`interface`]\(2\) asked.
    fn expect_interface(&mut self) {
        let link = self.run("ip -o link show eth0");
        for part in ["mtu 1500", "UP", "02:42:ac:1f:00:02"] {
            assert!(link.contains(part), "no {part} in {link}");
        }
        let address = self.run("ip -o addr show eth0");
        assert!(address.contains("inet 172.31.0.2/16 brd 172.31.255.255 "), "{address}");
        assert!(!address.contains("inet6"), "{address}");
        assert!(self.run("ip route").contains("default via 172.31.0.1 dev eth0"));
        assert!(self.run("ip -o addr show lo").contains("127.0.0.1/8"), "lo is not up");
    }

    /// Whether a datagram gets to `other` and its answer back.
    fn reaches(&mut self, other: &mut Self, address: &str) -> bool {
        let family = if address.contains(':') { "AF_INET6" } else { "AF_INET" };
        let socket = format!("s=socket.socket(socket.{family},socket.SOCK_DGRAM)");
        let server = format!("{socket}; s.bind((\"\",7)); d,a=s.recvfrom(99); s.sendto(d,a)");
        other.run(&format!(
            "timeout 5 python3 -c 'import socket; {server}' >/dev/null 2>&1 & sleep 0.5"
        ));
        let client = format!(
            "{socket}; s.settimeout(1); \
             s.sendto(b\"hello\",(\"{address}\",7)); print(s.recvfrom(99)[0])"
        );
        self.run(&format!("python3 -c 'import socket; {client}' 2>&1"))
            .contains("b'hello'")
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const CONTAINER: &str = r#"
import ctypes, os, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
USER, NET = 0x10000000, 0x40000000
def enter(call, *arguments):
    if call(*arguments) != 0:
        sys.exit(os.strerror(ctypes.get_errno()))
ENTER
if uid is not None:
    enter(libc.unshare, USER)
    open('/proc/self/setgroups', 'w').write('deny')
    open('/proc/self/gid_map', 'w').write(f'0 {gid} 1')
    open('/proc/self/uid_map', 'w').write(f'0 {uid} 1')
enter(libc.unshare, NET)
for line in sys.stdin:
    done = subprocess.run(['sh', '-c', line], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    sys.stdout.write(done.stdout.decode() + '--done--\n')
    sys.stdout.flush()
"#;

/// For what takes no time on a machine that does nothing else.
const PATIENCE: Duration = Duration::from_secs(10);

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = clock::now();
    while !condition() {
        assert!(clock::now() - started < PATIENCE.into(), "not yet: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn is_zombie(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
}

/// Runs `test` here if we are a user, or the test of this name again as one if we are root.
fn unprivileged(name: &str, test: impl FnOnce()) {
    if !nix::unistd::geteuid().is_root() {
        return test();
    }
    let tun = "mount -t tmpfs -o mode=755 tmpfs /mnt && mknod -m 0666 /mnt/tun c 10 200 \
               && mount --bind /mnt/tun /dev/net/tun && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", tun, "sh"]);
    command.args(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    again(name, command);
}

/// Runs `test` after `script`, as root of a new user namespace with mounts of its own.
fn after(script: &str, name: &str, test: impl FnOnce()) {
    const WITHIN: &str = "GANGPLANK_TEST_WITHIN";
    if std::env::var_os(WITHIN).is_some() {
        return test();
    }
    unprivileged(name, || {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
        command
            .arg(format!("{script} && exec \"$@\""))
            .arg("sh")
            .env(WITHIN, "1");
        again(name, command);
    });
}

fn again(name: &str, mut command: Command) {
    let output = command
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", name])
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    println!("{command:?}:\n{}", String::from_utf8_lossy(&said));
    assert!(output.status.success(), "failed when run again, see above");
}
