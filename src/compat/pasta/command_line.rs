//! The command line of pasta: words in, [`Options`] out.
//!
//! Pure. The rules are those of the original: options come before the command, the last of several wins, what is
//! obsolete is accepted with a remark, and what is refused is refused in the original's words, for Podman matches them
//! and shows them to users. Nothing here looks at the host; [`super::plan`] does.

use std::ffi::{OsStr, OsString};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use super::addresses as read;
use super::known::OPTIONS;
use super::options::{Family, Forward, Loudness, Mapped, Options, Target};
use super::refused::OptionError;
use super::rule::{Pif, Transport};
use super::spec::{self, Spec};
use crate::compat::getopt::{Reader, Said};

/// What else a command line can ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// To run.
    Run(Box<Options>),
    /// `--help`.
    Help,
    /// `--version`.
    Version,
}

/// Reads a command line, without the program's name.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Asked, OptionError> {
    let mut options = Options::default();
    let mut reading = Reading::default();
    for said in Reader::new(&OPTIONS, arguments).stopping_at_operand() {
        match said? {
            Said::Option("help", _) => return Ok(Asked::Help),
            Said::Option("version", _) => return Ok(Asked::Version),
            Said::Option(option, value) => options.take(&mut reading, option, value.unwrap_or_default())?,
            Said::Operand(operand) => reading.operands.push(operand),
        }
    }
    options.target = reading.target()?;
    options.check()?;
    Ok(Asked::Run(Box::new(options)))
}

/// What is known while options are read.
#[derive(Debug, Default)]
struct Reading {
    netns: Option<PathBuf>,
    operands: Vec<OsString>,
}

impl Reading {
    fn target(self) -> Result<Target, OptionError> {
        match (self.netns, self.operands.as_slice()) {
            (Some(netns), []) => Ok(Target::Netns(netns)),
            (Some(_), [_, ..]) => Err(OptionError::TwoTargets),
            (None, [one]) => Ok(match pid(one) {
                Some(pid) => Target::Pid(pid),
                None => Target::Command(self.operands),
            }),
            (None, _) => Ok(Target::Command(self.operands)),
        }
    }
}

impl Options {
    fn take(&mut self, reading: &mut Reading, option: &'static str, value: OsString) -> Result<(), OptionError> {
        match option {
            "netns" => reading.netns = Some(netns(value)),
            "userns" => self.userns = Some(value.into()),
            "log-file" => self.log_file = Some(value.into()),
            "pid" if value.is_empty() => return Err(OptionError::PidFile(String::new())),
            "pid" => self.pid_file = Some(value.into()),
            "pcap" if value.is_empty() || value.len() >= PATH_BYTES => {
                return Err(OptionError::PcapPath(value.to_string_lossy().into_owned()));
            }
            "pcap" => self.pcap = Some(value.into()),
            "conf-path" if value.is_empty() || value.len() >= SOCKET_PATH_BYTES => {
                return Err(OptionError::ConfPath(value.to_string_lossy().into_owned()));
            }
            "conf-path" => self.conf_path = Some(value.into()),
            // What is not UTF-8 is no value of any other, and is refused as what it is shown as.
            _ => self.take_text(option, value.to_string_lossy().into_owned())?,
        }
        Ok(())
    }

    fn take_text(&mut self, option: &'static str, value: String) -> Result<(), OptionError> {
        match option {
            "tcp-ports" => self.forward('t', Pif::Host, Transport::Tcp, value)?,
            "udp-ports" => self.forward('u', Pif::Host, Transport::Udp, value)?,
            "tcp-ns" => self.forward('T', Pif::Splice, Transport::Tcp, value)?,
            "udp-ns" => self.forward('U', Pif::Splice, Transport::Udp, value)?,
            "address" => match read::guest(&value)? {
                (IpAddr::V4(address), prefix) => self.v4.address = Some((address, prefix)),
                (IpAddr::V6(address), prefix) => self.v6.address = Some((address, prefix)),
            },
            "netmask" => self.mask = Some(read::mask(&value)?),
            "gateway" => self.by_family(read::gateway(&value)?, |v4| &mut v4.gateway, |v6| &mut v6.gateway),
            "outbound" => self.by_family(read::outbound(&value)?, |v4| &mut v4.outbound, |v6| &mut v6.outbound),
            "dns-forward" => self.by_family(
                read::dns_forward(&value)?,
                |v4| &mut v4.dns_forward,
                |v6| &mut v6.dns_forward,
            ),
            "dns-host" => self.by_family(read::dns_host(&value)?, |v4| &mut v4.dns_host, |v6| &mut v6.dns_host),
            "map-host-loopback" => match read::mapped(&value)? {
                None => (self.v4.host_loopback, self.v6.host_loopback) = (Mapped::Nothing, Mapped::Nothing),
                Some(IpAddr::V4(address)) => self.v4.host_loopback = Mapped::At(address),
                Some(IpAddr::V6(address)) => self.v6.host_loopback = Mapped::At(address),
            },
            "map-guest-addr" => match read::mapped(&value)? {
                None => (self.v4.guest, self.v6.guest) = (Mapped::Nothing, Mapped::Nothing),
                Some(IpAddr::V4(address)) => self.v4.guest = Mapped::At(address),
                Some(IpAddr::V6(address)) => self.v6.guest = Mapped::At(address),
            },
            "ns-ifname" => self.ns_ifname = Some(ifname(value)?),
            "interface" => self.interface = Some(interface(value)?),
            "outbound-if4" => self.outbound_if4 = Some(interface(value)?),
            "outbound-if6" => self.outbound_if6 = Some(interface(value)?),
            "mtu" => self.take_mtu(&value)?,
            "mac-addr" => self.mac = Some(read::mac(&value)?),
            "ns-mac-addr" => self.ns_mac = Some(read::mac(&value)?),
            "dns" if value == "none" => self.dns = Some(Vec::new()),
            "dns" => self.dns.get_or_insert_default().push(read::dns(&value)?),
            "search" => self.take_search(&value)?,
            "hostname" => self.hostname = host_name("hostname", value)?,
            "fqdn" => self.fqdn = host_name("FQDN", value)?,
            "log-size" => self.log_size = Some(read::log_size(&value)?),
            "runas" => self.runas = Some(value),
            "stats" => return Err(OptionError::Stats),
            "fd" => return Err(OptionError::Descriptor),
            _ => self.take_flag(option)?,
        }
        Ok(())
    }

    fn take_flag(&mut self, option: &'static str) -> Result<(), OptionError> {
        let flag = match option {
            "netns-only" => &mut self.netns_only,
            "no-netns-quit" => &mut self.no_netns_quit,
            "no-pidns" => &mut self.no_pidns,
            "config-net" => &mut self.config_net,
            "dhcp-dns" => &mut self.dhcp_dns,
            "dhcp-search" => &mut self.dhcp_search,
            "no-map-gw" => &mut self.no_map_gw,
            "ipv4-only" | "ipv6-only" => {
                // Each takes the other back.
                self.ipv4_only = option == "ipv4-only";
                self.ipv6_only = !self.ipv4_only;
                return Ok(());
            }
            "no-tcp" => &mut self.off.tcp,
            "no-udp" => &mut self.off.udp,
            "no-icmp" => &mut self.off.icmp,
            "no-dhcp" => &mut self.off.dhcp,
            "no-ndp" => &mut self.off.ndp,
            "no-dhcpv6" => &mut self.off.dhcpv6,
            "no-ra" => &mut self.off.ra,
            "freebind" => &mut self.freebind,
            "host-lo-to-ns-lo" => &mut self.host_lo_to_ns_lo,
            "no-splice" => &mut self.no_splice,
            "splice-only" => &mut self.splice_only,
            "foreground" => &mut self.foreground,
            "no-copy-routes" | "no-copy-addrs" | "stderr" => {
                self.remarks.push(format!("--{option} will be dropped soon"));
                match option {
                    "no-copy-routes" => &mut self.no_copy_routes,
                    "no-copy-addrs" => &mut self.no_copy_addrs,
                    // What we say goes to standard error anyway.
                    _ => return Ok(()),
                }
            }
            "quiet" => {
                self.loudness = Loudness::Quiet;
                return Ok(());
            }
            "debug" | "trace" => {
                self.loudness = Loudness::Debug;
                return Ok(());
            }
            "chroot-fallback" => &mut self.chroot_fallback,
            "socket" => return Err(OptionError::OtherMode("-s", "passt / vhost-user")),
            "one-off" => return Err(OptionError::OtherMode("--one-off", "passt")),
            "no-dhcp-dns" => return Err(OptionError::OtherMode("--no-dhcp-dns", "passt")),
            "no-dhcp-search" => return Err(OptionError::OtherMode("--no-dhcp-search", "passt")),
            "vhost-user" => return Err(OptionError::OtherMode("--vhost-user", "passt")),
            "print-capabilities" => return Err(OptionError::OtherMode("--print-capabilities", "vhost-user")),
            "repair-path" => return Err(OptionError::OtherMode("--repair-path", "vhost-user")),
            "migrate-exit" => return Err(OptionError::OtherMode("--migrate-exit", "vhost-user")),
            "migrate-no-linger" => return Err(OptionError::OtherMode("--migrate-no-linger", "vhost-user")),
            _ => return Ok(()),
        };
        *flag = true;
        Ok(())
    }

    fn forward(&mut self, letter: char, pif: Pif, protocol: Transport, value: String) -> Result<(), OptionError> {
        let mut earlier = self
            .forwards
            .iter()
            .filter(|forward| (forward.pif, forward.protocol) == (pif, protocol));
        let ports = match spec::parse(&value)? {
            Spec::None if earlier.any(|forward| forward.ports.is_some()) => {
                return Err(OptionError::NoneAfter(letter));
            }
            Spec::None => None,
            Spec::Ports(ports) if pif == Pif::Splice && (ports.address, &ports.interface) != (None, &None) => {
                return Err(OptionError::ListenAddress(letter, value));
            }
            Spec::Ports(ports) => Some(ports),
        };
        self.forwards.push(Forward { pif, protocol, ports });
        Ok(())
    }

    /// Sets what `choose` names of the family that `address` belongs to.
    fn by_family(
        &mut self,
        address: IpAddr,
        choose4: impl FnOnce(&mut Family<Ipv4Addr>) -> &mut Option<Ipv4Addr>,
        choose6: impl FnOnce(&mut Family<Ipv6Addr>) -> &mut Option<Ipv6Addr>,
    ) {
        match address {
            IpAddr::V4(address) => *choose4(&mut self.v4) = Some(address),
            IpAddr::V6(address) => *choose6(&mut self.v6) = Some(address),
        }
    }

    /// An MTU that a family can't live with is told of, and taken as none.
    fn take_mtu(&mut self, value: &str) -> Result<(), OptionError> {
        let mtu = read::mtu(value)?;
        for (family, least) in [("IPv4", SMALLEST_IPV4_MTU), ("IPv6", SMALLEST_IPV6_MTU)] {
            if mtu != 0 && mtu < least {
                self.remarks
                    .push(format!("MTU {mtu} is too small for {family} (minimum {least})"));
            }
        }
        self.mtu = Some(if mtu < SMALLEST_IPV4_MTU { 0 } else { mtu });
        Ok(())
    }

    fn take_search(&mut self, value: &str) -> Result<(), OptionError> {
        if value == "none" {
            self.search = Some(Vec::new());
            return Ok(());
        }
        let domains: Vec<&str> = value.split_ascii_whitespace().collect();
        let usable = |domain: &&str| domain.len() <= LONGEST_NAME;
        if domains.is_empty() || !domains.iter().all(usable) {
            return Err(OptionError::Search(value.to_owned()));
        }
        let search = self.search.get_or_insert_default();
        search.extend(domains.into_iter().map(str::to_owned));
        Ok(())
    }

    fn check(&mut self) -> Result<(), OptionError> {
        let of_command = matches!(self.target, Target::Command(_));
        if self.v4.address.is_some_and(|(_, prefix)| prefix.is_some()) && self.mask.is_some() {
            return Err(OptionError::RedundantPrefix);
        }
        if self.host_lo_to_ns_lo && self.no_splice {
            return Err(OptionError::Incompatible("--host-lo-to-ns-lo", "--no-splice"));
        }
        if self.no_pidns && !of_command {
            return Err(OptionError::Incompatible("--no-pidns", "PID or --netns"));
        }
        if self.userns.is_some() && self.netns_only {
            return Err(OptionError::TwoUserns);
        }
        if self.userns.is_some() && of_command {
            return Err(OptionError::UsernsOfCommand);
        }
        for (given, option) in [
            (self.no_copy_routes, "--no-copy-routes"),
            (self.no_copy_addrs, "--no-copy-addrs"),
        ] {
            if given && !self.config_net {
                return Err(OptionError::NeedsConfigNet(option));
            }
        }
        Ok(())
    }
}

/// A lone number is a process, as large as it may be.
fn pid(operand: &OsStr) -> Option<i32> {
    let number = read::decimal::<u64>(operand.to_str()?)?;
    Some(number.try_into().unwrap_or(i32::MAX))
}

/// A name without a slash is one of ip-netns(8)'s.
fn netns(value: OsString) -> PathBuf {
    if value.as_encoded_bytes().contains(&b'/') {
        value.into()
    } else {
        PathBuf::from("/run/netns").join(value)
    }
}

fn ifname(name: String) -> Result<String, OptionError> {
    if name.is_empty() || name.len() >= INTERFACE_BYTES {
        return Err(OptionError::Ifname(name));
    }
    Ok(name)
}

fn interface(name: String) -> Result<String, OptionError> {
    if name.is_empty() || name.len() >= INTERFACE_BYTES || name.contains('/') {
        return Err(OptionError::NoInterface(name));
    }
    Ok(name)
}

fn host_name(what: &'static str, name: String) -> Result<Option<String>, OptionError> {
    if name.len() > LONGEST_NAME {
        return Err(OptionError::Name(what, name));
    }
    Ok(Some(name).filter(|name| !name.is_empty()))
}

/// Of a path, with the zero at its end (linux/limits.h, PATH_MAX).
const PATH_BYTES: usize = 4096;

/// Of a socket's path, with the zero at its end (unix(7)).
const SOCKET_PATH_BYTES: usize = 108;

/// Room for an interface's name with the zero at its end (linux/if.h, IFNAMSIZ).
const INTERFACE_BYTES: usize = 16;

/// Of a domain name (RFC 1035 section 2.3.4).
const LONGEST_NAME: usize = 255;

/// RFC 791: what every network must carry.
const SMALLEST_IPV4_MTU: u16 = 68;

/// RFC 8200 section 5: the same of IPv6.
const SMALLEST_IPV6_MTU: u16 = 1280;

#[cfg(test)]
#[path = "command_line_tests.rs"]
mod tests;
