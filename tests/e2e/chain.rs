//! Two more routers behind the machine outside, which becomes one itself, and a machine behind the last: each a namespace,
//! with both families where the kernel has them.
//!
//! ```text
//!  host ══ outside ══ second ══ third ══ end
//!          10.1.0.1   10.2.0.1  10.3.0.1       (the far side of each link is .2)
//! ```

use crate::host::{CLIENT6, Host, OUTSIDE, OUTSIDE6};
use crate::verdict::Outcome;

/// The machine behind three routers.
pub(crate) const END: &str = "192.0.2.1";
pub(crate) const END6: &str = "2001:db8:e::1";

/// The routers on the way to it from a container of the first network, the gateway among them, and itself.
pub(crate) fn hops() -> String {
    format!("172.17.0.1 {OUTSIDE} 10.1.0.2 10.2.0.2 {END}")
}

/// The same in IPv6, for a container whose gateway is this.
pub(crate) fn hops6(gateway: &str) -> String {
    format!("{gateway} {OUTSIDE6} 2001:db8:1::2 2001:db8:2::2 {END6}")
}

/// The routers, while it lives.
#[derive(Debug)]
pub(crate) struct Chain<'h> {
    host: &'h Host,
}

impl<'h> Chain<'h> {
    /// Makes them.
    pub(crate) fn make(host: &'h Host) -> Outcome<Self> {
        let chain = Self { host };
        for (number, pair) in PLACES.windows(2).enumerate() {
            chain.link(number + 1, pair[0], pair[1])?;
        }
        chain.run("end", &format!("ip address add {END}/32 dev lo"))?;
        if has_ipv6() {
            chain.run("end", &format!("ip address add {END6}/128 dev lo"))?;
            // The router speaks as one of its addresses.
            let other = format!("ip address change {CLIENT6}/64 dev out0 preferred_lft 0");
            chain.run("outside", &other)?;
        }
        Ok(chain)
    }

    /// Runs a program in one of the places.
    pub(crate) fn run(&self, place: &str, line: &str) -> Outcome<String> {
        self.host.root(&self.inside(place, line))?.ok()
    }

    /// The line that does so.
    pub(crate) fn inside(&self, place: &str, line: &str) -> String {
        format!("nsenter --net={}/{place} -- {line}", self.host.folder().display())
    }

    fn link(&self, number: usize, near: &str, far: &str) -> Outcome {
        let (up, far_file) = (format!("chain{number}"), self.host.folder().join(far));
        let far_file = far_file.display();
        self.host.root(&format!("touch {far_file}"))?.ok()?;
        self.host.root(&format!("unshare --net={far_file} true"))?.ok()?;
        if has_ipv6() {
            // Else nobody is asked for its hardware address for a second.
            for place in [near, far] {
                self.run(place, "sysctl -qw net.ipv6.conf.default.accept_dad=0")?;
            }
        }
        self.run(near, &format!("ip link add down0 type veth peer name {up}"))?;
        self.run(near, &format!("ip link set {up} netns {far_file}"))?;
        self.run(near, "sysctl -qw net.ipv4.ip_forward=1 net.ipv4.icmp_ratelimit=0")?;
        self.run(near, &format!("ip address add 10.{number}.0.1/30 dev down0"))?;
        self.run(near, "ip link set down0 up")?;
        self.run(near, &format!("ip route add {END}/32 via 10.{number}.0.2"))?;
        self.run(far, &format!("ip address add 10.{number}.0.2/30 dev {up}"))?;
        self.run(far, &format!("ip link set {up} up"))?;
        self.run(far, "ip link set lo up")?;
        self.run(far, &format!("ip route add default via 10.{number}.0.1"))?;
        self.run(far, "sysctl -qw net.ipv4.icmp_ratelimit=0")?;
        if has_ipv6() {
            let subnet = format!("2001:db8:{number}:");
            let forward = "sysctl -qw net.ipv6.conf.all.forwarding=1 net.ipv6.icmp.ratelimit=0";
            self.run(near, forward)?;
            self.run(near, &format!("ip address add {subnet}:1/64 dev down0 nodad"))?;
            self.run(near, &format!("ip route add {END6}/128 via {subnet}:2"))?;
            self.run(far, &format!("ip address add {subnet}:2/64 dev {up} nodad"))?;
            self.run(far, &format!("ip route add default via {subnet}:1"))?;
            self.run(far, "sysctl -qw net.ipv6.icmp.ratelimit=0")?;
        }
        Ok(())
    }
}

impl Drop for Chain<'_> {
    fn drop(&mut self) {
        for place in &PLACES[1..] {
            // Nothing may be left of the case; should this fail, that is what it fails of.
            let _ = self
                .host
                .root(&format!("umount {}/{place}", self.host.folder().display()));
        }
    }
}

fn has_ipv6() -> bool {
    std::path::Path::new("/proc/net/if_inet6").exists()
}

const PLACES: [&str; 4] = ["outside", "second", "third", "end"];
