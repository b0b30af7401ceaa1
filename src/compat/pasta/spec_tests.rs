//! The grammar, by what the original lists for each text, and by random texts.

use super::*;

/// What `pesto` lists for a SPEC on a host whose ephemeral ports are 32768-60999, or the error.
fn listed(spec: &str) -> String {
    match parse(spec) {
        Ok(Spec::None) => "none".to_owned(),
        Ok(Spec::Ports(ports)) => {
            let rules = ports.rules(Transport::Tcp, (32_768, 60_999));
            let lines = rules.iter().map(|rule| match rule.check() {
                Ok(()) => rule.to_string(),
                Err(error) => error.to_string(),
            });
            lines.collect::<Vec<_>>().join("\n")
        }
        Err(error) => error.to_string(),
    }
}

#[test]
fn specs_stand_for_what_the_original_lists() {
    let table: [(&str, &[&str]); 41] = [
        ("none", &["none"]),
        ("18080", &["TCP [*]:18080  =>  18080 "]),
        (" 18080", &["TCP [*]:18080  =>  18080 "]),
        (
            "127.0.0.1/+18080-\t018081: 80-+81",
            &["TCP [127.0.0.1]:18080-18081  =>  80-81 "],
        ),
        ("18080 ", &["Invalid port specifier '18080 '"]),
        (" all", &["Invalid port specifier ' all'"]),
        ("0x4", &["Invalid port specifier '0x4'"]),
        ("all,18080", &["TCP [*]:18080  =>  18080 "]),
        (
            "all",
            &[
                "TCP [*]:1-32767  =>  1-32767  (best effort)",
                "TCP [*]:61000-65535  =>  61000-65535  (best effort)",
            ],
        ),
        (
            "auto",
            &[
                "TCP [*]:1-32767  =>  1-32767  (best effort) (auto-scan)",
                "TCP [*]:61000-65535  =>  61000-65535  (best effort) (auto-scan)",
            ],
        ),
        (
            "~80,auto",
            &[
                "TCP [*]:1-79  =>  1-79  (best effort) (auto-scan)",
                "TCP [*]:81-32767  =>  81-32767  (best effort) (auto-scan)",
                "TCP [*]:61000-65535  =>  61000-65535  (best effort) (auto-scan)",
            ],
        ),
        ("8000-8010,auto", &["TCP [*]:8000-8010  =>  8000-8010  (auto-scan)"]),
        ("5000,~5000", &[]),
        (
            "5000-5002,~5001",
            &["TCP [*]:5000  =>  5000 ", "TCP [*]:5002  =>  5002 "],
        ),
        (
            "5000-5010:6000-6010,~5005",
            &["TCP [*]:5000-5004  =>  6000-6004 ", "TCP [*]:5006-5010  =>  6006-6010 "],
        ),
        (
            "all,~1000-2000",
            &[
                "TCP [*]:1-999  =>  1-999  (best effort)",
                "TCP [*]:2001-32767  =>  2001-32767  (best effort)",
                "TCP [*]:61000-65535  =>  61000-65535  (best effort)",
            ],
        ),
        (
            "0.0.0.0/all:192.0.2.1",
            &[
                "TCP [0.0.0.0]:1-32767  =>  192.0.2.1:1-32767  (best effort)",
                "TCP [0.0.0.0]:61000-65535  =>  192.0.2.1:61000-65535  (best effort)",
            ],
        ),
        ("::/5000:[2001:db8::1]/6000", &["TCP [::]:5000  =>  2001:db8::1:6000 "]),
        ("::/5000:2001:db8::1/6000", &["TCP [::]:5000  =>  2001:db8::1:6000 "]),
        ("::/5000:2001:db8::1", &["TCP [::]:5000  =>  2001:db8::1:5000 "]),
        ("127.0.0.1/18080-18080:80-80", &["TCP [127.0.0.1]:18080  =>  80 "]),
        ("::1/8080-8080:80-80", &["TCP [::1]:8080  =>  80 "]),
        ("[::1]/8080", &["TCP [::1]:8080  =>  8080 "]),
        ("%lo/6002", &["TCP [*]%lo:6002  =>  6002 "]),
        (
            "127.0.0.1%lo/6003:192.0.2.5/6004",
            &["TCP [127.0.0.1]%lo:6003  =>  192.0.2.5:6004 "],
        ),
        ("*/5000", &["TCP [*]:5000  =>  5000 "]),
        ("/5000", &["TCP [*]:5000  =>  5000 "]),
        ("0", &["Forwarding rule attempts to map from port 0"]),
        ("18080:0", &["Forwarding rule attempts to map to port 0"]),
        ("80-70", &["Invalid port specifier '80-70'"]),
        ("80-81:90", &["Invalid port specifier '80-81:90'"]),
        ("99999", &["Invalid port specifier '99999'"]),
        ("1.2.3.4", &["Invalid port specifier '1.2.3.4'"]),
        ("1.2.3.4/", &["Invalid port specifier ''"]),
        ("foo/80", &["Invalid port specifier 'foo/80'"]),
        ("127.0.0.1/none", &["Invalid port specifier 'none'"]),
        ("5000,,5001", &["Invalid port specifier '5000,,5001'"]),
        ("all:foo", &["Invalid port specifier 'all:foo'"]),
        (
            "0.0.0.0/5000:2001:db8::1",
            &["Forward from IPv4 (0.0.0.0) to IPv6 (2001:db8::1) unsupported"],
        ),
        (
            "5000:127.0.0.1",
            &["Dual stack forward to IPv4 address 127.0.0.1 unsupported\nDid you mean 0.0.0.0/... instead?"],
        ),
        ("", &["Invalid port specifier ''"]),
    ];
    for (spec, expected) in table {
        assert_eq!(listed(spec), expected.join("\n"), "-t '{spec}'");
    }
}

#[test]
fn what_is_no_spec_is_refused() {
    for spec in [
        "18080:",
        "18080-",
        "-5",
        "~",
        "~80-",
        "~99999",
        "80:70000",
        "80 ",
        "0x50",
        "auto:1.2.3.4",
        "5000,",
        ",5000",
        "%/5000",
        "127.0.0.1%/5000",
        "127.0.0.1%averyverylonginterfacename/5000",
        "[::1/5000",
        "::1]/5000",
        "5000:~3",
        "~5:6",
        "ALL",
        "None",
        "1.2.3.4/5.6.7.8/5",
        "5000:5001:5002",
        "4294967376",
        "5000:lo/80",
    ] {
        assert!(parse(spec).is_err(), "-t '{spec}'");
    }
}

/// Exclusions against a plain set of ports, and every text against a panic.
#[test]
fn random_specs() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let pieces = [
        "all", "auto", "none", "~", "-", ",", ":", "/", "%", "lo", "[", "]", "::1", "1.2.3.4", "0", "1", "80", "65535",
        "65536", "é", " ", "*",
    ];
    for _ in 0..20_000 {
        let text: String = (0..draw(8))
            .map(|_| pieces[usize::try_from(draw(22)).unwrap()])
            .collect();
        // Reads or is refused; whatever reads lists rules that can be shown and checked.
        let _ = listed(&text);
    }
    for _ in 0..500 {
        let mut spec = Vec::new();
        let mut wanted = vec![false; 65_536];
        let range = |draw: &mut dyn FnMut(u64) -> u64| {
            let first = 1 + draw(2_000);
            (first, first + draw(100))
        };
        let included: Vec<_> = (0..1 + draw(3)).map(|_| range(&mut draw)).collect();
        let excluded: Vec<_> = (0..draw(4)).map(|_| range(&mut draw)).collect();
        for (first, last) in &included {
            spec.push(format!("{first}-{last}"));
            (*first..=*last).for_each(|port| wanted[usize::try_from(port).unwrap()] = true);
        }
        for (first, last) in &excluded {
            spec.push(format!("~{first}-{last}"));
            (*first..=*last).for_each(|port| wanted[usize::try_from(port).unwrap()] = false);
        }
        let spec = spec.join(",");
        let Ok(Spec::Ports(ports)) = parse(&spec) else {
            panic!("{spec} is a spec");
        };
        let mut given = vec![false; 65_536];
        for rule in ports.rules(Transport::Udp, (32_768, 60_999)) {
            assert!(rule.first <= rule.last, "{spec}: {rule}");
            rule.ports().for_each(|port| {
                given[usize::from(port)] = true;
                assert_eq!(rule.target(port), (None, port), "{spec}: {rule}");
            });
        }
        assert!(given == wanted, "{spec}");
    }
}
