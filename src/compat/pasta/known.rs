//! The options that pasta knows, by letter and name, in the order in which the original lists those that a beginning may mean.

use crate::compat::getopt::{Known, Takes};

/// Every option: its letter, its long name, whether a value follows.
pub(super) const OPTIONS: [Known<&str>; 73] = {
    use Takes::{Nothing as No, Value as Yes};
    [
        known('d', "debug", No),
        known('q', "quiet", No),
        known('f', "foreground", No),
        known('e', "stderr", No),
        known('h', "help", No),
        known('F', "fd", Yes),
        known('I', "ns-ifname", Yes),
        known('p', "pcap", Yes),
        known('P', "pid", Yes),
        known('m', "mtu", Yes),
        known('a', "address", Yes),
        known('n', "netmask", Yes),
        known('M', "mac-addr", Yes),
        known('g', "gateway", Yes),
        known('i', "interface", Yes),
        known('o', "outbound", Yes),
        known('D', "dns", Yes),
        known('S', "search", Yes),
        known('H', "hostname", Yes),
        known('4', "ipv4-only", No),
        known('6', "ipv6-only", No),
        known('t', "tcp-ports", Yes),
        known('u', "udp-ports", Yes),
        known('T', "tcp-ns", Yes),
        known('U', "udp-ns", Yes),
        known('l', "log-file", Yes),
        known('c', "conf-path", Yes),
        known('s', "socket", Yes),
        known('1', "one-off", No),
        long("socket-path", Yes),
        long("trace", No),
        long("stats", Yes),
        long("log-size", Yes),
        long("runas", Yes),
        long("version", No),
        long("outbound-if4", Yes),
        long("outbound-if6", Yes),
        long("dns-forward", Yes),
        long("dns-host", Yes),
        long("fqdn", Yes),
        long("no-dhcp-dns", No),
        long("dhcp-dns", No),
        long("no-dhcp-search", No),
        long("dhcp-search", No),
        long("no-tcp", No),
        long("no-udp", No),
        long("no-icmp", No),
        long("no-dhcp", No),
        long("no-ndp", No),
        long("no-dhcpv6", No),
        long("no-ra", No),
        long("freebind", No),
        long("map-host-loopback", Yes),
        long("no-map-gw", No),
        long("chroot-fallback", No),
        long("map-guest-addr", Yes),
        long("vhost-user", No),
        long("print-capabilities", No),
        long("repair-path", Yes),
        long("migrate-exit", No),
        long("migrate-no-linger", No),
        long("host-lo-to-ns-lo", No),
        long("userns", Yes),
        long("netns", Yes),
        long("netns-only", No),
        long("no-netns-quit", No),
        long("no-pidns", No),
        long("config-net", No),
        long("no-copy-routes", No),
        long("no-copy-addrs", No),
        long("ns-mac-addr", Yes),
        long("no-splice", No),
        long("splice-only", No),
    ]
};

const fn known(short: char, long: &'static str, takes: Takes) -> Known<&'static str> {
    Known {
        long,
        short: Some(short),
        takes,
        key: long,
    }
}

const fn long(long: &'static str, takes: Takes) -> Known<&'static str> {
    Known {
        long,
        short: None,
        takes,
        key: long,
    }
}
