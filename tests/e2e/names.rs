//! DNS on the gateway, forwarded to the host's resolver: here a stub on 127.0.0.53, run by the case.

use crate::cases;
use crate::host::Host;
use crate::verdict::{Outcome, contains, same};

cases![
    getent_over_udp,
    getent_over_tcp,
    dig_asks_the_gateway_over_both,
    a_name_that_does_not_exist,
    a_silent_resolver_is_not_answered_for,
    dns_option_names_another_resolver,
];

pub(crate) fn getent_over_udp(host: &Host) -> Outcome {
    let resolver = host.host_server("resolver", "dns-server 127.0.0.53")?;
    let said = host.gangplank("run --rm -- getent ahostsv4 www.example.test")?.ok()?;
    contains("getent", &said, "192.0.2.7")?;
    resolver.says("udp www.example.test 1")
}

pub(crate) fn getent_over_tcp(host: &Host) -> Outcome {
    let resolver = host.host_server("resolver", "dns-server 127.0.0.53")?;
    let said = host
        .gangplank("run --rm -e RES_OPTIONS=use-vc -- getent ahostsv4 tcp.example.test")?
        .ok()?;
    contains("getent", &said, "192.0.2.7")?;
    // Over TCP from the container; which way the helper asks the resolver is its own affair.
    resolver.says("tcp.example.test 1")
}

fn dig_asks_the_gateway_over_both(host: &Host) -> Outcome {
    let _resolver = host.host_server("resolver", "dns-server 127.0.0.53")?;
    host.gangplank("run -d --name client -- sleep 100")?.ok()?;
    let gateway = host.inspect("client", "{{.NetworkSettings.Gateway}}")?;
    for way in ["+notcp", "+tcp"] {
        let dig = format!("exec client -- dig +short +tries=1 {way} www.example.test");
        same(format!("dig {way}"), host.gangplank(&dig)?.ok()?.as_str(), "192.0.2.7")?;
        let dig = format!("exec client -- dig +short +tries=1 {way} @{gateway} www.example.test");
        same(
            format!("dig {way} @{gateway}"),
            host.gangplank(&dig)?.ok()?.as_str(),
            "192.0.2.7",
        )?;
    }
    Ok(())
}

fn a_name_that_does_not_exist(host: &Host) -> Outcome {
    let _resolver = host.host_server("resolver", "dns-server 127.0.0.53")?;
    // getent: 2 = the key was not found.
    host.gangplank("run --rm -- getent ahostsv4 www.example.invalid")?
        .code(2)?;
    let said = host.gangplank("run --rm -- dig +tries=1 www.example.invalid")?.ok()?;
    contains("dig", &said, "status: NXDOMAIN")
}

/// No resolver runs: an error or silence, never an invented answer.
fn a_silent_resolver_is_not_answered_for(host: &Host) -> Outcome {
    let ran = host.gangplank("run --rm -- dig +tries=1 +time=3 www.example.test")?;
    let told = ["SERVFAIL", "REFUSED", "timed out", "no servers could be reached"];
    same("told", told.iter().any(|word| ran.stdout.contains(word)), true)
}

fn dns_option_names_another_resolver(host: &Host) -> Outcome {
    let resolver = host.host_server("resolver", "dns-server 127.0.0.99")?;
    host.gangplank("up --dns 127.0.0.99")?.ok()?;
    let said = host.gangplank("run --rm -- getent ahostsv4 other.example.test")?.ok()?;
    contains("getent", &said, "192.0.2.7")?;
    resolver.says("other.example.test 1")
}
