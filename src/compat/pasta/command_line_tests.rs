//! The command lines of callers, the original's errors, and random ones.

use super::*;

fn read(line: &str) -> Result<Options, String> {
    let words = line
        .split_whitespace()
        .map(|word| OsString::from(word.trim_matches('\'')));
    match parse(words) {
        Ok(Asked::Run(options)) => Ok(*options),
        Ok(asked) => Err(format!("{asked:?}")),
        Err(error) => Err(error.to_string()),
    }
}

fn rules(options: &Options) -> Vec<String> {
    let shown = |forward: &Forward| match &forward.ports {
        None => vec![format!("{} {} none", forward.pif, forward.protocol)],
        Some(ports) => {
            let rules = ports.rules(forward.protocol, (32_768, 60_999));
            rules.iter().map(|rule| format!("{} {rule}", forward.pif)).collect()
        }
    };
    options.forwards.iter().flat_map(shown).collect()
}

/// containers/common, `pasta_linux.go`: ports before, the path and a mapping after it.
#[test]
fn podmans_command_line() {
    let options = read(
        "--config-net -t 127.0.0.1/18080-18080:80-80 -t ::1/8080-8081:80-81 -u 5353-5353:53-53 --dns-forward 169.254.1.1 \
         -T none -U none --no-map-gw --quiet --netns /run/user/1000/netns/netns-1 --map-guest-addr 169.254.1.2",
    )
    .unwrap();
    assert_eq!(options.target, Target::Netns("/run/user/1000/netns/netns-1".into()));
    assert!(options.config_net && options.no_map_gw);
    assert_eq!(options.loudness, Loudness::Quiet);
    assert_eq!(options.v4.dns_forward, Some(Ipv4Addr::new(169, 254, 1, 1)));
    assert_eq!(options.v4.guest, Mapped::At(Ipv4Addr::new(169, 254, 1, 2)));
    assert_eq!(
        rules(&options),
        [
            "HOST TCP [127.0.0.1]:18080  =>  80 ",
            "HOST TCP [::1]:8080-8081  =>  80-81 ",
            "HOST UDP [*]:5353  =>  53 ",
            "SPLICE TCP none",
            "SPLICE UDP none",
        ]
    );
}

/// rootlesskit, `pkg/network/pasta/pasta.go`.
#[test]
fn rootlesskits_command_lines() {
    let common = "--stderr --ns-ifname=tap0 --mtu=65520 --config-net --address=10.0.2.100 --netmask=24 --gateway=10.0.2.2 \
                  --dns-forward=10.0.2.3 --no-map-gw --ipv4-only --tcp-ports=auto --udp-ports=auto --host-lo-to-ns-lo";
    let options = read(&format!("{common} 4321")).unwrap();
    assert_eq!(options.target, Target::Pid(4321));
    assert_eq!(options.ns_ifname.as_deref(), Some("tap0"));
    assert_eq!(options.mtu, Some(65_520));
    assert_eq!(options.v4.address, Some((Ipv4Addr::new(10, 0, 2, 100), None)));
    assert_eq!(options.mask, Some(24));
    assert_eq!(options.v4.gateway, Some(Ipv4Addr::new(10, 0, 2, 2)));
    assert!(options.ipv4_only && options.host_lo_to_ns_lo);
    assert_eq!(options.remarks, ["--stderr will be dropped soon"]);
    let options = read(&format!("{common} --userns=/proc/7/ns/user --netns=/tmp/state/netns")).unwrap();
    assert_eq!(options.target, Target::Netns("/tmp/state/netns".into()));
    assert_eq!(options.userns, Some("/proc/7/ns/user".into()));
}

#[test]
fn what_users_give_podman() {
    let options = read(
        "--ipv4-only -a 10.0.2.0 -n 24 -g 10.0.2.2 --dns-forward 10.0.2.3 -m 1500 --no-ndp --no-dhcpv6 --no-dhcp \
         -I eth1 --map-host-loopback none --netns name",
    )
    .unwrap();
    assert!(options.off.ndp && options.off.dhcpv6 && options.off.dhcp);
    assert_eq!(options.v4.host_loopback, Mapped::Nothing);
    assert_eq!(options.target, Target::Netns("/run/netns/name".into()));
}

#[test]
fn the_last_one_wins_and_a_command_keeps_its_options() {
    let options = read("-m 1400 -m 1500 -a 10.0.0.1 -a 10.0.0.2 -a fd00::2 sh -c -m").unwrap();
    assert_eq!(options.mtu, Some(1500));
    assert_eq!(options.v4.address, Some((Ipv4Addr::new(10, 0, 0, 2), None)));
    assert!(options.v6.address.is_some());
    for (line, families) in [
        ("-4 -6", (false, true)),
        ("-6 -4", (true, false)),
        ("-4 -6 -4", (true, false)),
        ("1", (true, true)),
    ] {
        let options = read(line).unwrap();
        assert_eq!((options.wants_v4(), options.wants_v6()), families, "{line}");
    }
    let words = ["sh", "-c", "-m"].map(OsString::from);
    assert_eq!(options.target, Target::Command(words.to_vec()));
    assert_eq!(read("").unwrap().target, Target::Command(Vec::new()));
    assert_eq!(
        read("1 2").unwrap().target,
        Target::Command(vec!["1".into(), "2".into()])
    );
    assert_eq!(read("99999999999").unwrap().target, Target::Pid(i32::MAX));
    let target = |operand: &str| match parse([OsString::from(operand)]) {
        Ok(Asked::Run(options)) => options.target,
        other => panic!("{operand:?}: {other:?}"),
    };
    for operand in [" 123", "+123", "0123", "\t+123"] {
        assert_eq!(target(operand), Target::Pid(123), "{operand:?}");
    }
    for operand in ["123 ", "0x7b", " "] {
        assert_eq!(target(operand), Target::Command(vec![operand.into()]), "{operand:?}");
    }
}

#[test]
fn probes_are_answered_before_what_follows() {
    assert_eq!(read("--host-lo-to-ns-lo --version --bogus").unwrap_err(), "Version");
    assert_eq!(read("--help").unwrap_err(), "Help");
    assert_eq!(read("--map-guest-addr 1.2.3.4 --version").unwrap_err(), "Version");
}

#[test]
fn refused_in_the_originals_words() {
    for (line, words) in [
        ("--bogus --version", "unrecognized option '--bogus'"),
        ("-Z", "invalid option -- 'Z'"),
        ("-m", "option requires an argument -- 'm'"),
        ("--quiet=x", "option '--quiet' doesn't allow an argument"),
        (
            "--d true",
            "option '--d' is ambiguous; possibilities: '--debug' '--dns' '--dns-forward' '--dns-host' '--dhcp-dns' \
             '--dhcp-search'",
        ),
        ("-m abc", "Invalid MTU: abc"),
        ("-t 99999", "Invalid port specifier '99999'"),
        ("-t 18080 -t none", "-t none conflicts with previous options"),
        ("-T 1.2.3.4/80", "Listening address not allowed for -T 1.2.3.4/80"),
        ("-a 10.0.2.100/24 -n 24 true", "Redundant prefix length specification"),
        (
            "-I averyveryverylonginterface",
            "Invalid interface name: averyveryverylonginterface",
        ),
        ("--netns /x 1", "Both --netns and PID or command given"),
        ("--no-pidns 1", "--no-pidns is incompatible with PID or --netns"),
        (
            "--host-lo-to-ns-lo --no-splice",
            "--host-lo-to-ns-lo is incompatible with --no-splice",
        ),
        ("--no-copy-routes", "--no-copy-routes needs --config-net"),
        ("-s /tmp/x", "-s is for passt / vhost-user mode only"),
        ("-1", "--one-off is for passt mode only"),
        ("--stats 1", "Can't display statistics if not running in foreground"),
        ("-P ''", "Invalid PID file: "),
        ("-p ''", "Invalid pcap path: "),
        ("-D foo", "Cannot use DNS address foo"),
        (
            "--map-guest-addr 127.0.0.1",
            "Invalid address to remap to host: 127.0.0.1",
        ),
    ] {
        assert_eq!(read(line).unwrap_err(), words, "{line}");
    }
    // As long as a path may be, and longer.
    read(&format!("-p {}", "x".repeat(4095))).unwrap();
    read(&format!("-p {}", "x".repeat(4096))).unwrap_err();
}

#[test]
fn none_before_is_no_conflict() {
    assert_eq!(
        rules(&read("-t none -t 18080").unwrap()),
        ["HOST TCP none", "HOST TCP [*]:18080  =>  18080 "]
    );
    read("-t 18080 -u none").unwrap();
}

/// No command line panics; what is accepted is in order.
#[test]
fn random_command_lines() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut draw = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % u64::try_from(below).unwrap()).unwrap()
    };
    let values = [
        "",
        "none",
        "1.2.3.4",
        "10.0.0.1/24",
        "::1",
        "fe80::1%lo",
        "65536",
        "-1",
        "80:81",
        "~80",
        "auto",
        "all",
        "9a:55:9a:55:9a:55",
        "\u{e9}",
        "/",
        "x/y",
        "255.255.255.0",
        "99999999999999999999",
        "--",
        "-",
    ];
    for _ in 0..20_000 {
        let words = (0..draw(6)).flat_map(|_| {
            let option = &OPTIONS[draw(OPTIONS.len())];
            let value = values[draw(values.len())];
            let mut words = match (draw(4), option.short) {
                (0, Some(short)) => vec![format!("-{short}")],
                (1, Some(short)) => vec![format!("-{short}{value}")],
                (2, _) => vec![format!("--{}={value}", option.long)],
                _ => vec![format!("--{}", option.long)],
            };
            if draw(3) > 0 {
                words.push(value.to_owned());
            }
            words
        });
        let words: Vec<OsString> = words.map(OsString::from).collect();
        if let Ok(Asked::Run(options)) = parse(words.clone()) {
            assert!(options.mtu.is_none_or(|mtu| mtu == 0 || mtu >= 68), "{words:?}");
            assert!(!(options.userns.is_some() && options.netns_only), "{words:?}");
        }
    }
}
