//! The usage, which callers search for the options that they need.

/// What the program can be asked for, called by `name`.
pub(super) fn usage(name: &str) -> String {
    format!(
        "Usage: {name} [OPTION]... [COMMAND] [ARGS]...\n       {name} [OPTION]... PID\n       \
         {name} [OPTION]... --netns [PATH|NAME]\n\n{OPTIONS}"
    )
}

const OPTIONS: &str = "\
Gives a network namespace the host's network: that of a process, at a path, or
a new one with a command (by default a shell) in it.

  -d, --debug              say more; --trace the same
  -q, --quiet              say nothing but what goes wrong
  -f, --foreground         stay in the foreground
  -l, --log-file PATH      log to a file
      --log-size BYTES     of at most this size (1 MiB)
      --runas UID[:GID]    as root: serve as this user (nobody)
  -c, --conf-path PATH     a socket for pesto
  -P, --pid FILE           write our process id there
  -p, --pcap FILE          record what passes
  -h, --help               this text
      --version            which pasta this is

  -I, --ns-ifname NAME     the interface's name inside (as outside, or tap0)
      --ns-mac-addr ADDR   its hardware address
  -i, --interface NAME     the interface outside whose addresses and routes are
                           copied (that of the first default route)
      --outbound-if4 NAME  the same for IPv4 alone
      --outbound-if6 NAME  the same for IPv6 alone
      --config-net         configure the interface inside
  -m, --mtu MTU            its MTU (65520); 0 leaves it
  -a, --address ADDR[/N]   its address, once a family
  -n, --netmask MASK       the prefix of its IPv4 address
  -g, --gateway ADDR       its router, once a family
  -M, --mac-addr ADDR      our hardware address
  -o, --outbound ADDR      go out from this address, once a family
  -4, --ipv4-only          no IPv6
  -6, --ipv6-only          no IPv4
  -D, --dns ADDR           a resolver to hand out
  -S, --search LIST        search domains to hand out
  -H, --hostname NAME      a name to hand out
      --fqdn NAME          a full name to hand out
      --dhcp-dns           do hand out resolvers
      --dhcp-search        do hand out search domains
      --dns-forward ADDR   the address inside that stands for the host's resolver
      --dns-host ADDR      which is that (the first of resolv.conf)
      --map-host-loopback ADDR
                           the address inside that stands for the host's
                           loopback (the router's); none for no address
      --no-map-gw          the router's address does not
      --map-guest-addr ADDR
                           the address inside that stands for the host's own
      --no-tcp --no-udp --no-icmp --no-dhcp --no-ndp --no-dhcpv6 --no-ra
                           switch off
      --freebind           bind addresses that the host does not have yet

  -t, --tcp-ports SPEC     TCP ports from the host into the namespace (auto)
  -u, --udp-ports SPEC     UDP ports from the host into the namespace (auto)
  -T, --tcp-ns SPEC        TCP ports from the namespace's loopback to the host's
  -U, --udp-ns SPEC        UDP ports from the namespace's loopback to the host's
    SPEC: none, or [ADDR[%IFACE]/]PORTS, a list with commas of
      N or N-M             these ports
      N-M:[TOADDR/]P-Q     led to these
      ~N or ~N-M           not these
      all[:TOADDR]         all that the kernel does not give away itself
      auto                 only where something listens at the other end
      --host-lo-to-ns-lo   clients on the host's loopback come to the namespace's
      --no-splice          lead them through the interface instead
      --splice-only        no interface at all
      --chroot-fallback    go without files by chroot where pivot_root is refused

      --userns PATH        the user namespace to join first
      --netns PATH|NAME    the network namespace
      --netns-only         join or make no user namespace but a process's
      --no-netns-quit      stay when the namespace goes
      --no-pidns           no new process-id namespace for the command
      --no-copy-routes --no-copy-addrs
                           obsolete: copy the first address and router only
";
