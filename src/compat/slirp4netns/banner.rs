//! What is said on standard output when everything is in place, for people.

use super::network::Addresses;
use super::options::Options;

/// The original's lines.
pub(super) fn banner(options: &Options) -> String {
    let Addresses {
        network,
        gateway,
        resolver,
        dhcp_first,
        dhcp_last,
        guest,
    } = Addresses::of(options.cidr);
    let mut lines = vec![
        "Starting slirp".to_owned(),
        format!("* MTU:             {}", options.mtu),
        format!("* Network:         {}", network.network()),
        format!("* Netmask:         {}", network.mask()),
        format!("* Gateway:         {gateway}"),
        format!("* DNS:             {resolver}"),
        format!("* DHCP begin:      {dhcp_first}"),
        format!("* DHCP end:        {dhcp_last}"),
        format!("* Recommended IP:  {guest}"),
    ];
    if let Some(path) = &options.api_socket {
        lines.push(format!("* API Socket:      {}", path.display()));
    }
    if let Some(address) = options.outbound {
        lines.push(format!("* Outbound IPv4:    {address}"));
    }
    if let Some(address) = options.outbound6 {
        lines.push(format!("* Outbound IPv6:    {address}"));
    }
    if let Some([a, b, c, d, e, f]) = options.mac {
        lines.push(format!(
            "* MAC address:     {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"
        ));
    }
    if options.host_loopback {
        lines.push(format!(
            "WARNING: 127.0.0.1:* on the host is accessible as {gateway} (set --disable-host-loopback to prohibit \
             connecting to 127.0.0.1:*)"
        ));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::super::options::parse;
    use super::*;

    #[test]
    fn everything_that_was_asked_for() {
        let line = "-c --macaddress=02:00:00:00:00:0a -a /run/s --outbound-addr=192.0.2.1 --cidr=10.9.0.0/16 1 tap0";
        let options = parse(line.split_whitespace().map(OsString::from), |_| {}).unwrap();
        let banner = banner(&options);
        for line in [
            "* Netmask:         255.255.0.0",
            "* Gateway:         10.9.0.2",
            "* API Socket:      /run/s",
            "* Outbound IPv4:    192.0.2.1",
            "* MAC address:     02:00:00:00:00:0a",
        ] {
            assert!(banner.lines().any(|said| said == line), "{line}: {banner}");
        }
        assert!(banner.contains("accessible as 10.9.0.2 "));
    }
}
