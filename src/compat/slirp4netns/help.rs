//! The texts of `--help` and `--version`, in which callers look for option names and for what is supported.

/// What `--help` says, and what follows a misread command line. RootlessKit and dockerd-rootless.sh look for
/// `--netns-type` in it, podman for the others.
pub(super) fn usage(name: &str) -> String {
    format!("Usage: {name} [OPTION]... PID|PATH|FD [TAPNAME]\n{OPTIONS}")
}

const OPTIONS: &str = "\
Connects a network namespace to the host's network without privilege (gangplank as slirp4netns).

-c, --configure          configure the TAP and bring it and lo up
-e, --exit-fd=FD         end when FD is hung up
-r, --ready-fd=FD        write 1 to FD when everything is in place
-m, --mtu=MTU            MTU of the TAP (default=1500, max=65521)
-6, --enable-ipv6        IPv6 as well: fd00::/64, by router advertisement
-a, --api-socket=PATH    answer requests about forwarded ports at PATH
--cidr=CIDR              network (default=10.0.2.0/24)
--disable-host-loopback  the gateway's address does not lead to the host's 127.0.0.1
--netns-type=TYPE        what the first operand is: pid, path or tapfd (default=pid)
--userns-path=PATH       user namespace to join before the network namespace
--enable-sandbox         empty the file system and drop every capability but CAP_NET_BIND_SERVICE
--enable-seccomp         allow only the system calls that are needed
--outbound-addr=IPv4     go out from this address, or from that of this interface
--outbound-addr6=IPv6    the same for IPv6
--disable-dns            no resolver at the network's third address
--macaddress=MAC         hardware address of the TAP (only with -c)
--target-type=TYPE       netns; bess is not offered
-h, --help               show this text and exit
-v, --version            show the version and exit";

/// What `--version` says. The first lines are the version whose behaviour is offered; test suites read the number of the
/// fourth: 2 and more have `--outbound-addr`, 3 and more `--disable-dns`.
pub(super) const VERSION: &str = concat!(
    "slirp4netns version 1.3.3\n",
    "commit: gangplank-",
    env!("CARGO_PKG_VERSION"),
    "\n",
    "libslirp: 4.9.5\n",
    "SLIRP_CONFIG_VERSION_MAX: 6\n",
    "libseccomp: 2.6.1",
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_callers_look_for_is_there() {
        let usage = usage("slirp4netns");
        for option in super::super::options::KNOWN {
            let deprecated = ["no-host-loopback", "create-sandbox"].contains(&option.long);
            assert_eq!(
                usage.contains(&format!("--{}", option.long)),
                !deprecated,
                "{}",
                option.long
            );
        }
        assert_eq!(VERSION.lines().count(), 5);
        let level = VERSION
            .lines()
            .find_map(|line| line.strip_prefix("SLIRP_CONFIG_VERSION_MAX: "));
        assert!(level.unwrap().parse::<u32>().unwrap() >= 3);
    }
}
