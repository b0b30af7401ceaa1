# The ground of one case, made by its root: the links, routes and files of a small host, and a machine outside it.
#
#   the user's programs ── host 198.51.100.1 ══ veth ══ 198.51.100.2, .3, .77, 169.254.169.254  "outside"
#                             │ default route: the outside machine, which forwards nothing (packets vanish)
#                             ├ 203.0.113.0/25 via 198.51.100.254, which answers no ARP (host unreachable after a while)
#                             └ 203.0.113.128/25 unreachable (at once)
#
# The same in IPv6: 2001:db8:51::1 on the host; ::2 and ::77 outside, 2001:db8:51:2::/64 unreachable, the rest vanishes.
#
# Called with: the case's folder, the uid of the user (0: a namespace nested in this one is to hold the user), and
# `no-tun` where there is to be no /dev/net/tun.
work=$1 uid=$2 tun=${3:-tun}

ip link set lo up
: >"$work/outside"
unshare --net="$work/outside" true
ip link add up0 type veth peer name out0
ip link set out0 netns "$work/outside"
ip address add 198.51.100.1/24 dev up0
ip link set up0 up

outside() { nsenter --net="$work/outside" -- "$@"; }
outside ip link set lo up
for address in 2 3 77; do outside ip address add "198.51.100.$address/24" dev out0; done
outside ip address add 169.254.169.254/32 dev lo
outside ip link set out0 up

ip route add default via 198.51.100.2
ip route add 169.254.169.254/32 via 198.51.100.2
ip route add 203.0.113.0/25 via 198.51.100.254
ip route add unreachable 203.0.113.128/25

if [ -e /proc/net/if_inet6 ]; then
    ip address add 2001:db8:51::1/64 dev up0 nodad
    for address in 2 77; do outside ip address add "2001:db8:51::$address/64" dev out0 nodad; done
    ip route add default via 2001:db8:51::2
    ip route add unreachable 2001:db8:51:2::/64
fi

# The names come from a stub resolver on the loopback, as systemd-resolved has it; cases start one when they need it.
echo 'nameserver 127.0.0.53' >"$work/resolv.conf"
chmod 644 "$work/resolv.conf"
mount --bind "$work/resolv.conf" "$(realpath /etc/resolv.conf)"

if [ "$tun" = no-tun ] && [ -d /dev/net ]; then
    mount -t tmpfs -o mode=755 tmpfs /dev/net
fi

for folder in home tmp run; do
    mkdir -m 700 "$work/$folder"
done
mkdir "$work/logs"

if [ "$uid" != 0 ]; then
    chown "$uid:$uid" "$work/home" "$work/tmp" "$work/run"
    echo '0 2147483647' >/proc/sys/net/ipv4/ping_group_range
    # Not every machine lets even root make the node (a sandbox's device rules): then the machine's own must do.
    mkdir "$work/dev"
    mount -t tmpfs -o mode=755 tmpfs "$work/dev"
    if mknod -m 666 "$work/dev/tun" c 10 200 && [ -e /dev/net/tun ]; then
        mount --bind "$work/dev/tun" /dev/net/tun
    fi
else
    # The user's gid is this namespace's only one.
    echo '0 0' >/proc/sys/net/ipv4/ping_group_range
    # The user's namespace is kept by a mount: every command must enter the same one (a namespace's owner rules it
    # from its parent only).
    mkfifo "$work/holder"
    unshare --user --map-user=61000 --map-group=61000 sh -c 'echo $$ >"$0" && exec sleep 60' "$work/holder" &
    read -r holder <"$work/holder"
    : >"$work/userns"
    mount --bind "/proc/$holder/ns/user" "$work/userns"
    kill "$holder"
fi
