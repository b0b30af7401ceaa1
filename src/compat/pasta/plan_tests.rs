//! Hosts and command lines, and what the namespace gets.

use super::*;
use crate::compat::pasta::command_line::{Asked, parse};

fn options(line: &str) -> Options {
    let words = line.split_whitespace().map(std::ffi::OsString::from);
    match parse(words) {
        Ok(Asked::Run(options)) => *options,
        other => panic!("{line}: {other:?}"),
    }
}

fn route(index: u32, to: &str, gateway: Option<&str>) -> ViewedRoute {
    ViewedRoute {
        index,
        to: to.parse().unwrap(),
        gateway: gateway.map(|gateway| gateway.parse().unwrap()),
        metric: None,
        source: None,
        onlink: false,
    }
}

/// Two interfaces, of which the second has the default routes.
fn host() -> HostView {
    let link = |index, name: &str, addresses: &[&str]| HostLink {
        index,
        name: name.to_owned(),
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
    };
    HostView {
        links: vec![
            link(2, "wan0", &["203.0.113.5/25"]),
            link(3, "up0", &["198.51.100.1/24", "198.51.100.9/24", "2001:db8:51::1/64"]),
        ],
        routes: vec![
            route(3, "0.0.0.0/0", Some("198.51.100.2")),
            ViewedRoute {
                source: Some("198.51.100.1".parse().unwrap()),
                ..route(3, "198.51.100.0/24", None)
            },
            route(3, "10.0.0.0/8", Some("198.51.100.7")),
            route(2, "203.0.113.0/25", None),
            route(3, "fe80::/64", None),
            route(3, "2001:db8:51::/64", None),
            route(3, "::/0", Some("fe80::1234")),
        ],
        has_ipv6: true,
    }
}

fn planned(line: &str, view: &HostView) -> Plan {
    plan(
        &options(line),
        Facts {
            view,
            nameservers: &["198.51.100.53".parse().unwrap()],
            ephemeral: (32_768, 60_999),
        },
    )
    .unwrap()
}

fn shown(routes: &[ViewedRoute]) -> Vec<String> {
    let show = |route: &ViewedRoute| match route.gateway {
        Some(gateway) => format!(
            "{} via {gateway}{}",
            route.to,
            if route.onlink { " onlink" } else { "" }
        ),
        None => route.to.to_string(),
    };
    routes.iter().map(show).collect()
}

fn addresses(plan: &Plan) -> Vec<String> {
    plan.addresses().iter().map(IpNetwork::to_string).collect()
}

#[test]
fn a_copy_of_the_host() {
    let plan = planned("--config-net 1", &host());
    assert_eq!((plan.ifname.as_str(), plan.mtu), ("up0", Some(65_520)));
    assert_eq!(
        addresses(&plan),
        ["198.51.100.1/24", "198.51.100.9/24", "2001:db8:51::1/64"]
    );
    assert_eq!(
        shown(&plan.routes()),
        [
            "0.0.0.0/0 via 198.51.100.2",
            "10.0.0.0/8 via 198.51.100.7",
            "::/0 via fe80::1234"
        ],
        "the kernel makes the others with the addresses"
    );
    let v4 = plan.v4.unwrap();
    assert_eq!(
        v4.host_loopback,
        Some(Ipv4Addr::new(198, 51, 100, 2)),
        "the router's address"
    );
    assert_eq!(plan.v6.unwrap().gateway, Some("fe80::1234".parse().unwrap()));
}

#[test]
fn rootlesskits_layout() {
    let line = "--ns-ifname=tap0 --mtu=65520 --config-net --address=10.0.2.100 --netmask=24 --gateway=10.0.2.2 \
                --dns-forward=10.0.2.3 --no-map-gw --ipv4-only -t none -u none -T none -U none 1";
    let plan = planned(line, &host());
    assert_eq!(plan.ifname, "tap0");
    assert_eq!(addresses(&plan), ["10.0.2.100/24"]);
    assert_eq!(shown(&plan.routes()), ["0.0.0.0/0 via 10.0.2.2"]);
    assert!(plan.v6.is_none() && plan.steps.is_empty());
    let v4 = plan.v4.unwrap();
    assert_eq!(
        (v4.host_loopback, v4.resolver),
        (None, Some(Ipv4Addr::new(10, 0, 2, 3)))
    );
}

#[test]
fn masks_by_class_and_routers_beside_the_subnet() {
    let plan = planned("--config-net -4 -n 16 1", &host());
    assert_eq!(
        addresses(&plan),
        ["198.51.100.1/24", "198.51.100.9/24"],
        "copies keep theirs"
    );
    let plan = planned("--config-net -4 -a 10.0.2.100 1", &host());
    assert_eq!(addresses(&plan), ["10.0.2.100/8"]);
    assert_eq!(
        shown(&plan.routes()),
        [
            "198.51.100.0/24",
            "0.0.0.0/0 via 198.51.100.2",
            "10.0.0.0/8 via 198.51.100.7"
        ],
        "routes on the link come before those that need them"
    );
    assert!(
        plan.routes().iter().all(|route| route.source.is_none()),
        "that address is not there"
    );
    let plan = planned("--config-net -4 -a 10.9.9.9/24 -g 192.0.2.1 1", &host());
    assert_eq!(shown(&plan.routes()), ["0.0.0.0/0 via 192.0.2.1 onlink"]);
    let plan = planned("--config-net -a fd00::5/120 1", &host());
    assert!(
        addresses(&plan).contains(&"fd00::5/64".to_owned()),
        "{:?}",
        addresses(&plan)
    );
}

#[test]
fn templates() {
    let mut view = host();
    assert_eq!(planned("-i wan0 1", &view).ifname, "wan0");
    assert_eq!(
        planned("-i wan0 1", &view).v4.unwrap().gateway,
        None,
        "it has no default route"
    );
    // What has no addresses of a family is no template for it, unless they are given.
    let plan = planned("--config-net -i wan0 1", &view);
    assert_eq!(addresses(&plan), ["203.0.113.5/25"]);
    assert_eq!(shown(&plan.routes()), ["::/0 via fe80::1"]);
    view.links[0].addresses.clear();
    let plan = planned("--config-net -i wan0 1", &view);
    assert_eq!(
        (plan.ifname.as_str(), addresses(&plan)),
        ("tap0", vec!["169.254.2.1/16".to_owned()])
    );
    assert_eq!(shown(&plan.routes()), ["0.0.0.0/0 via 169.254.2.2", "::/0 via fe80::1"]);
    let plan = planned("--config-net -i wan0 -4 -a 10.0.3.15/24 -g 10.0.3.2 1", &view);
    assert_eq!(
        (plan.ifname.as_str(), addresses(&plan)),
        ("wan0", vec!["10.0.3.15/24".to_owned()])
    );
    view.routes.retain(|route| route.to.prefix() > 0);
    assert_eq!(planned("1", &view).ifname, "up0", "the first with any route");
    view.routes.clear();
    let plan = planned("--config-net 1", &view);
    assert_eq!(plan.ifname, "tap0");
    assert_eq!(addresses(&plan), ["169.254.2.1/16"]);
    assert_eq!(shown(&plan.routes()), ["0.0.0.0/0 via 169.254.2.2", "::/0 via fe80::1"]);
    let facts = Facts {
        view: &view,
        nameservers: &[],
        ephemeral: (1, 2),
    };
    assert_eq!(
        plan_error("-i nosuch 1", facts),
        "Invalid interface name nosuch: No such device"
    );
}

fn plan_error(line: &str, facts: Facts<'_>) -> String {
    plan(&options(line), facts).unwrap_err().to_string()
}

#[test]
fn what_stands_for_the_host() {
    let v4 = |line: &str| planned(line, &host()).v4.unwrap();
    let at = |last| Some(Ipv4Addr::new(169, 254, 1, last));
    assert_eq!(v4("--no-map-gw 1").host_loopback, None);
    assert_eq!(v4("--map-host-loopback none 1").host_loopback, None);
    assert_eq!(v4("--map-host-loopback 169.254.1.3 --no-map-gw 1").host_loopback, at(3));
    assert_eq!(v4("--map-guest-addr 169.254.1.2 1").guest, at(2));
    assert_eq!(v4("--map-guest-addr none 1").guest, None);
    assert_eq!(v4("--dns-forward 169.254.1.1 1").resolver, at(1));
    assert_eq!(
        v4("-g 198.51.100.53 1").resolver,
        Some(Ipv4Addr::new(198, 51, 100, 53)),
        "router and resolver"
    );
}

#[test]
fn what_goes_without_saying() {
    let steps = |line: &str| {
        let steps = planned(line, &host()).steps;
        let show = |step: &Step| match step {
            Step::Add(pif, rule) => format!("{pif} {rule}"),
            Step::Delete(..) | Step::Clear(_) | Step::None(..) => panic!("nothing is there yet"),
        };
        steps.iter().map(show).collect::<Vec<_>>()
    };
    assert_eq!(steps("1").len(), 8);
    assert_eq!(
        steps("-4 -t 80 -u none -U none 1"),
        [
            "HOST TCP [0.0.0.0]:80  =>  80 ",
            "SPLICE TCP [0.0.0.0]%lo:1-32767  =>  1-32767  (best effort) (auto-scan)",
            "SPLICE TCP [0.0.0.0]%lo:61000-65535  =>  61000-65535  (best effort) (auto-scan)",
        ]
    );
    assert_eq!(steps("--no-tcp --no-udp 1"), [""; 0]);
    let view = host();
    let facts = Facts {
        view: &view,
        nameservers: &[],
        ephemeral: (32_768, 60_999),
    };
    assert_eq!(
        plan_error("--no-tcp -t 80 1", facts),
        "Can't add TCP forwarding rule, TCP not enabled\nUnable to add rule TCP [*]:80  =>  80 "
    );
}

#[test]
fn what_is_not_spoken_is_not_forwarded() {
    let refused = |line: &str, has_ipv6: bool| {
        let view = HostView { has_ipv6, ..host() };
        let facts = Facts {
            view: &view,
            nameservers: &[],
            ephemeral: (32_768, 60_999),
        };
        plan(&options(line), facts).err().map(|error| error.to_string())
    };
    let v6 = "IPv6 forward, but IPv6 not enabled\nUnable to add rule TCP [::1]:80  =>  80 ";
    let v4 = "IPv4 forward, but IPv4 not enabled\nUnable to add rule UDP [0.0.0.0]:80  =>  80 ";
    for (line, has_ipv6, said) in [
        ("-t ::1/80", true, None),
        ("-4 -t ::1/80", true, Some(v6)),
        ("-t ::1/80", false, Some(v6)),
        ("-m 1000 -t ::1/80", true, Some(v6)),
        ("-6 -u 0.0.0.0/80", true, Some(v4)),
        ("-6 -u 80 -t ::1/80", true, None),
    ] {
        assert_eq!(refused(line, has_ipv6).as_deref(), said, "{line}");
    }
}
