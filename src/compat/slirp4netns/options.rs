//! What was said on the command line, with everything judged that can be without looking at a namespace.
//!
//! As with the original, options count in the order in which they stand: the last of a kind wins, `--help` ends the
//! reading, and warnings come as they are met.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ipnetwork::Ipv4Network;
use nix::ifaddrs::getifaddrs;

use crate::compat::BLANKS;
use crate::compat::getopt::{Known, Misread, Reader, Said, Takes};

/// Everything that was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) target: Target,
    pub(super) configure: bool,
    pub(super) exit_fd: Option<RawFd>,
    pub(super) ready_fd: Option<RawFd>,
    /// 1 to 65521.
    pub(super) mtu: u16,
    pub(super) ipv6: bool,
    pub(super) api_socket: Option<PathBuf>,
    /// Of 1 to 25 bits.
    pub(super) cidr: Ipv4Network,
    pub(super) host_loopback: bool,
    pub(super) sandbox: bool,
    pub(super) seccomp: bool,
    pub(super) outbound: Option<Ipv4Addr>,
    pub(super) outbound6: Option<Ipv6Addr>,
    pub(super) dns: bool,
    /// Only with `configure`.
    pub(super) mac: Option<[u8; 6]>,
}

/// Whom to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// The network namespace of a process.
    Process {
        pid: i32,
        userns: Option<PathBuf>,
        tap: String,
    },
    /// The network namespace at a path.
    Path {
        path: PathBuf,
        userns: Option<PathBuf>,
        tap: String,
    },
    /// A TAP's descriptor that we were born with.
    Descriptor(RawFd),
}

/// Why there is nothing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    Help,
    Version,
    /// Getopt's complaint; the usage follows.
    Misread(Misread),
    /// A complaint, if any, and the usage.
    Usage(Option<String>),
    /// A complaint alone.
    Refused(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Configure,
    ExitFd,
    ReadyFd,
    Mtu,
    Ipv6,
    ApiSocket,
    Cidr,
    DisableHostLoopback,
    NoHostLoopback,
    NetnsType,
    UsernsPath,
    EnableSandbox,
    CreateSandbox,
    EnableSeccomp,
    OutboundAddr,
    OutboundAddr6,
    DisableDns,
    MacAddress,
    TargetType,
    Help,
    Version,
}

/// The options of 1.3.3.
pub(super) const KNOWN: &[Known<Key>] = &[
    known("configure", Some('c'), Takes::Nothing, Key::Configure),
    known("exit-fd", Some('e'), Takes::Value, Key::ExitFd),
    known("ready-fd", Some('r'), Takes::Value, Key::ReadyFd),
    known("mtu", Some('m'), Takes::Value, Key::Mtu),
    known("cidr", None, Takes::Value, Key::Cidr),
    known("disable-host-loopback", None, Takes::Nothing, Key::DisableHostLoopback),
    known("no-host-loopback", None, Takes::Nothing, Key::NoHostLoopback),
    known("netns-type", None, Takes::Value, Key::NetnsType),
    known("userns-path", None, Takes::Value, Key::UsernsPath),
    known("api-socket", Some('a'), Takes::Value, Key::ApiSocket),
    known("enable-ipv6", Some('6'), Takes::Nothing, Key::Ipv6),
    known("enable-sandbox", None, Takes::Nothing, Key::EnableSandbox),
    known("create-sandbox", None, Takes::Nothing, Key::CreateSandbox),
    known("enable-seccomp", None, Takes::Nothing, Key::EnableSeccomp),
    known("help", Some('h'), Takes::Nothing, Key::Help),
    known("version", Some('v'), Takes::Nothing, Key::Version),
    known("outbound-addr", None, Takes::Value, Key::OutboundAddr),
    known("outbound-addr6", None, Takes::Value, Key::OutboundAddr6),
    known("disable-dns", None, Takes::Nothing, Key::DisableDns),
    known("macaddress", None, Takes::Value, Key::MacAddress),
    known("target-type", None, Takes::Value, Key::TargetType),
];

const fn known(long: &'static str, short: Option<char>, takes: Takes, key: Key) -> Known<Key> {
    Known {
        long,
        short,
        takes,
        key,
    }
}

/// Reads a command line without the program's name; `warn` hears what is said meanwhile.
pub(super) fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    mut warn: impl FnMut(&str),
) -> Result<Options, Stop> {
    let mut draft = Draft::default();
    for said in Reader::new(KNOWN, arguments) {
        match said.map_err(Stop::Misread)? {
            Said::Option(key, value) => draft.take(key, value.unwrap_or_default(), &mut warn)?,
            Said::Operand(operand) => draft.operands.push(operand),
        }
    }
    draft.finish(warn)
}

/// What has been read so far.
#[derive(Debug)]
struct Draft {
    options: Options,
    operands: Vec<OsString>,
    netns_type: Option<OsString>,
    userns: Option<PathBuf>,
    mac: Option<OsString>,
    outbound: Option<OsString>,
    outbound6: Option<OsString>,
    cidr: Option<OsString>,
    bess: bool,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            options: Options {
                target: Target::Descriptor(-1),
                configure: false,
                exit_fd: None,
                ready_fd: None,
                mtu: DEFAULT_MTU,
                ipv6: false,
                api_socket: None,
                cidr: default_cidr(),
                host_loopback: true,
                sandbox: false,
                seccomp: false,
                outbound: None,
                outbound6: None,
                dns: true,
                mac: None,
            },
            operands: Vec::new(),
            netns_type: None,
            userns: None,
            mac: None,
            outbound: None,
            outbound6: None,
            cidr: None,
            bess: false,
        }
    }
}

impl Draft {
    fn take(&mut self, key: Key, value: OsString, warn: &mut impl FnMut(&str)) -> Result<(), Stop> {
        let options = &mut self.options;
        match key {
            Key::Configure => options.configure = true,
            Key::ExitFd => options.exit_fd = Some(descriptor("exit-fd", &value)?),
            Key::ReadyFd => options.ready_fd = Some(descriptor("ready-fd", &value)?),
            Key::Mtu => options.mtu = mtu(&value)?,
            Key::Ipv6 => {
                warn("WARNING: Support for IPv6 is experimental");
                options.ipv6 = true;
            }
            Key::ApiSocket => options.api_socket = Some(value.into()),
            Key::Cidr => self.cidr = Some(value),
            Key::NoHostLoopback => {
                warn(&deprecated("--no-host-loopback", "--disable-host-loopback"));
                options.host_loopback = false;
            }
            Key::DisableHostLoopback => options.host_loopback = false,
            Key::NetnsType => self.netns_type = Some(value),
            Key::UsernsPath => {
                if !Path::new(&value).exists() {
                    return Err(usage(format!(
                        "userns path doesn't exist: {}",
                        Path::new(&value).display()
                    )));
                }
                self.userns = Some(value.into());
            }
            Key::CreateSandbox => {
                warn(&deprecated("--create-sandbox", "--enable-sandbox"));
                options.sandbox = true;
            }
            Key::EnableSandbox => options.sandbox = true,
            Key::EnableSeccomp => {
                warn("WARNING: Support for seccomp is experimental");
                options.seccomp = true;
            }
            Key::OutboundAddr => {
                warn("WARNING: Support for --outbound-addr is experimental");
                self.outbound = Some(value);
            }
            Key::OutboundAddr6 => {
                warn("WARNING: Support for --outbound-addr6 is experimental");
                self.outbound6 = Some(value);
            }
            Key::DisableDns => options.dns = false,
            Key::MacAddress => self.mac = Some(value),
            Key::TargetType => match value.as_bytes() {
                b"netns" => self.bess = false,
                b"bess" => self.bess = true,
                _ => return Err(usage("--target-type must be either \"netns\" or \"bess\"")),
            },
            Key::Help => return Err(Stop::Help),
            Key::Version => return Err(Stop::Version),
        }
        Ok(())
    }

    /// Judges what depends on more than one word.
    fn finish(mut self, mut warn: impl FnMut(&str)) -> Result<Options, Stop> {
        if self.bess {
            return Err(self.refuse_bess());
        }
        if let Some(mac) = &self.mac {
            if !self.options.configure {
                return Err(usage(
                    "--macaddr cannot be specified when --configure or -c is not specified",
                ));
            }
            self.options.mac = Some(hardware_address(mac)?);
        }
        let (target, surplus) = self.target()?;
        self.options.target = target;
        if surplus {
            warn("WARNING: too many arguments");
        }
        if let Some(cidr) = &self.cidr {
            self.options.cidr = network(cidr)?;
        }
        if let Some(name) = &self.outbound {
            self.options.outbound = Some(outbound("--outbound-addr", name, v4)?);
        }
        if let Some(name) = &self.outbound6 {
            self.options.outbound6 = Some(outbound("--outbound-addr6", name, v6)?);
        }
        if let Some(path) = &self.options.api_socket
            && path.as_os_str().len() >= SOCKET_PATH
        {
            return Err(Stop::Refused(format!(
                "the specified API socket path is too long (>= {SOCKET_PATH})"
            )));
        }
        Ok(self.options)
    }

    fn refuse_bess(&self) -> Stop {
        let conflicts = [
            ("--configure", self.options.configure),
            ("--netns-type", self.netns_type.is_some()),
            ("--userns-path", self.userns.is_some()),
        ];
        match conflicts.into_iter().find(|(_, said)| *said) {
            Some((option, _)) => usage(format!("{option} conflicts with --target-type=bess")),
            None => Stop::Refused(
                "--target-type=bess is not offered by gangplank; for User Mode Linux use slirp4netns itself".to_owned(),
            ),
        }
    }

    /// Whom to serve, and whether more was said than is needed.
    fn target(&mut self) -> Result<(Target, bool), Stop> {
        let mut operands = std::mem::take(&mut self.operands).into_iter();
        let first = operands.next().ok_or(Stop::Usage(None))?;
        let kind = self.netns_type.as_deref().map_or(&b"pid"[..], OsStrExt::as_bytes);
        if kind == b"tapfd" {
            let number = number(&first).filter(|number| *number >= 0);
            let number = number.ok_or_else(|| usage("TAPFD must a file descriptor"))?;
            return Ok((Target::Descriptor(number), operands.next().is_some()));
        }
        let tap = operands.next().ok_or(Stop::Usage(None))?.to_string_lossy().into_owned();
        let userns = self.userns.take();
        let target = match kind {
            b"pid" => {
                let pid = number(&first).filter(|pid| *pid > 0);
                let pid = pid.ok_or_else(|| usage("PID must be a positive integer"))?;
                Target::Process { pid, userns, tap }
            }
            b"path" => {
                let path = PathBuf::from(first);
                path.metadata().map_err(|error| missing_path(&error))?;
                Target::Path { path, userns, tap }
            }
            _ => return Err(usage("--netns-type must be one of \"pid\", \"path\" and \"tapfd\"")),
        };
        Ok((target, operands.next().is_some()))
    }
}

fn missing_path(error: &std::io::Error) -> Stop {
    let reason = error.raw_os_error().map(nix::errno::Errno::from_raw);
    let reason = reason.map_or_else(|| error.to_string(), |errno| errno.desc().to_owned());
    usage(format!("existing path expected when --netns-type=path: {reason}"))
}

fn usage(why: impl Into<String>) -> Stop {
    Stop::Usage(Some(why.into()))
}

fn deprecated(old: &str, new: &str) -> String {
    format!("WARNING: {old} is deprecated and will be removed in future releases, please use {new} instead.")
}

/// As strtol(3) reads it: blanks may stand before it, and nothing behind.
fn number(text: &OsString) -> Option<i32> {
    text.to_str()?.trim_start_matches(BLANKS).parse().ok()
}

fn descriptor(option: &str, text: &OsString) -> Result<RawFd, Stop> {
    let number = number(text).filter(|number| *number >= 0);
    number.ok_or_else(|| usage(format!("{option} must be a non-negative integer")))
}

fn mtu(text: &OsString) -> Result<u16, Stop> {
    let mtu = number(text).filter(|mtu| (1..=MAX_MTU).contains(mtu));
    let mtu = mtu.and_then(|mtu| u16::try_from(mtu).ok());
    mtu.ok_or_else(|| usage(format!("MTU must be a positive integer (< {})", MAX_MTU + 1)))
}

fn hardware_address(text: &OsString) -> Result<[u8; 6], Stop> {
    let text = text.to_string_lossy();
    let bytes: Option<Vec<u8>> = text
        .split(':')
        .map(|part| {
            (1..=2)
                .contains(&part.len())
                .then(|| u8::from_str_radix(part, 16).ok())
                .flatten()
        })
        .collect();
    let mac = bytes.and_then(|bytes| <[u8; 6]>::try_from(bytes).ok());
    // One that is a group's cannot be an interface's.
    mac.filter(|mac| mac[0] & 1 == 0 && *mac != [0; 6])
        .ok_or_else(|| Stop::Refused(format!("\"{text}\" is an invalid MAC address.")))
}

fn network(text: &OsString) -> Result<Ipv4Network, Stop> {
    let text = text.to_string_lossy();
    let invalid = || Stop::Refused(format!("invalid CIDR: {text}"));
    let (address, prefix) = text.split_once('/').ok_or_else(invalid)?;
    let address: Ipv4Addr = address.parse().map_err(|_| invalid())?;
    // One digit or two, as the original's pattern has it: no sign, nor zeros that would make it longer.
    if prefix.len() > 2 || !prefix.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid());
    }
    let prefix: u8 = prefix.parse().map_err(|_| invalid())?;
    if !(1..=25).contains(&prefix) {
        return Err(Stop::Refused("prefix length needs to be 1-25".to_owned()));
    }
    let network = Ipv4Network::new(address, prefix).map_err(|_| invalid())?;
    if network.network() != address {
        return Err(Stop::Refused(format!(
            "CIDR needs to be a network address like {}/{prefix}, not like {text}",
            network.network()
        )));
    }
    Ok(network)
}

/// The address that `name` is, or that the interface of this name has.
fn outbound<A: std::str::FromStr>(option: &str, name: &OsString, of: impl Fn(IpAddr) -> Option<A>) -> Result<A, Stop> {
    let name = name.to_string_lossy();
    if let Ok(address) = name.parse() {
        return Ok(address);
    }
    let of_interface = || {
        let mut interfaces = getifaddrs().ok()?.filter(|it| it.interface_name == name);
        interfaces.find_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            let address = v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())));
            of(address?)
        })
    };
    of_interface().ok_or_else(|| {
        let option = option.trim_start_matches('-');
        let family = if option.ends_with('6') { "ipv6" } else { "ipv4" };
        Stop::Refused(format!("{option} has to be valid {family} address or interface name."))
    })
}

fn v4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

/// None that means something on one link only.
fn v6(address: IpAddr) -> Option<Ipv6Addr> {
    match address {
        IpAddr::V6(address) if !address.is_unicast_link_local() => Some(address),
        IpAddr::V6(_) | IpAddr::V4(_) => None,
    }
}

fn default_cidr() -> Ipv4Network {
    Ipv4Network::new_checked(Ipv4Addr::new(10, 0, 2, 0), 24).unwrap_or(Ipv4Network::from(Ipv4Addr::UNSPECIFIED))
}

const DEFAULT_MTU: u16 = 1500;

/// With the Ethernet header a frame of it has 65535 bytes.
const MAX_MTU: i32 = 65_521;

/// Bytes of `sun_path`, with the one that ends it (unix(7)).
const SOCKET_PATH: usize = 108;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> (Result<Options, Stop>, Vec<String>) {
        let mut warnings = Vec::new();
        let arguments = line.split_whitespace().map(OsString::from);
        let read = parse(arguments, |line| warnings.push(line.to_owned()));
        (read, warnings)
    }

    fn good(line: &str) -> Options {
        read(line).0.unwrap()
    }

    /// What is said, and whether the usage follows.
    fn refused(line: &str) -> (String, bool) {
        match read(line).0.unwrap_err() {
            Stop::Misread(misread) => (misread.to_string(), true),
            Stop::Usage(why) => (why.unwrap_or_default(), true),
            Stop::Refused(why) => (why, false),
            other @ (Stop::Help | Stop::Version) => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn as_its_callers_say_it() {
        let rootlesskit = good("--mtu 65520 -r 3 --disable-host-loopback --enable-sandbox --enable-seccomp 42 tap0");
        assert_eq!((rootlesskit.mtu, rootlesskit.ready_fd), (65_520, Some(3)));
        assert!(!rootlesskit.host_loopback && rootlesskit.sandbox && rootlesskit.seccomp && !rootlesskit.configure);
        let tap = "tap0".to_owned();
        assert_eq!(
            rootlesskit.target,
            Target::Process {
                pid: 42,
                userns: None,
                tap: tap.clone()
            }
        );
        let podman = good("--mtu=65520 --enable-ipv6 -c -r 3 -e 4 --netns-type=path /proc/self/ns/net tap0");
        assert!(podman.configure && podman.ipv6);
        assert_eq!((podman.exit_fd, podman.ready_fd), (Some(4), Some(3)));
        let path = PathBuf::from("/proc/self/ns/net");
        assert_eq!(
            podman.target,
            Target::Path {
                path,
                userns: None,
                tap
            }
        );
        let late = good("42 tap0 -c --cidr=10.0.3.0/24 --userns-path=/proc/self/ns/user");
        assert!(late.configure);
        assert_eq!(late.cidr.to_string(), "10.0.3.0/24");
        assert!(matches!(late.target, Target::Process { userns: Some(_), .. }));
        assert_eq!(good("--netns-type=tapfd 7").target, Target::Descriptor(7));
        assert_eq!(
            good("-c --macaddress=02:0:0a:00:00:FF 1 tap0").mac,
            Some([2, 0, 10, 0, 0, 255])
        );
        assert_eq!(good("--mtu=9 --mtu=10 1 tap0").mtu, 10, "the last one wins");
        assert_eq!(
            good("--outbound-addr=192.0.2.1 --outbound-addr6=2001:db8::1 1 t").outbound6,
            Some("2001:db8::1".parse().unwrap())
        );
        assert_eq!(good("--outbound-addr=lo 1 t").outbound, Some(Ipv4Addr::LOCALHOST));
    }

    /// As `ps -o pid=` writes them.
    #[test]
    fn numbers_with_blanks_before_them() {
        let words = |words: &[&str]| parse(words.iter().map(OsString::from), |_| {});
        let options = words(&["-m", " 1400", "-r", "\t+3", "-e", "\n\u{b}\u{c}\r4", "  123", "tap0"]).unwrap();
        assert_eq!(
            (options.mtu, options.ready_fd, options.exit_fd),
            (1400, Some(3), Some(4))
        );
        assert!(matches!(options.target, Target::Process { pid: 123, .. }));
        assert_eq!(
            words(&["--netns-type=tapfd", " 7"]).unwrap().target,
            Target::Descriptor(7)
        );
        for (behind, why) in [
            (["-m9", "1 ", "tap0"], "PID must be a positive integer"),
            (["-m9 ", "1", "tap0"], "MTU must be a positive integer (< 65522)"),
            (["-m9", "\u{a0}1", "tap0"], "PID must be a positive integer"),
            (["-m9", "+ 1", "tap0"], "PID must be a positive integer"),
            (["-m9", " ", "tap0"], "PID must be a positive integer"),
        ] {
            assert_eq!(words(&behind), Err(usage(why)), "{behind:?}");
        }
    }

    #[test]
    fn warnings_as_they_come() {
        let (options, warnings) = read("-6 --no-host-loopback --create-sandbox 1 tap0 more");
        assert!(!options.unwrap().host_loopback);
        assert_eq!(warnings.len(), 4, "{warnings:?}");
        assert!(warnings.iter().all(|line| line.starts_with("WARNING: ")));
        assert_eq!(warnings[3], "WARNING: too many arguments");
        assert_eq!(read("--x -6").1.len(), 0, "what stands behind an error is not read");
    }

    #[test]
    fn help_and_version_end_the_reading() {
        assert_eq!(read("-h --x").0, Err(Stop::Help));
        assert_eq!(read("-6v").0, Err(Stop::Version));
    }

    #[test]
    fn in_the_originals_words() {
        let table = [
            ("", "", true),
            ("1", "", true),
            ("--x 1 tap0", "unrecognized option '--x'", true),
            ("--mtu=0 1 tap0", "MTU must be a positive integer (< 65522)", true),
            ("--mtu=65522 1 tap0", "MTU must be a positive integer (< 65522)", true),
            ("--mtu=1x 1 tap0", "MTU must be a positive integer (< 65522)", true),
            ("-e -1 1 tap0", "exit-fd must be a non-negative integer", true),
            ("-r x 1 tap0", "ready-fd must be a non-negative integer", true),
            ("x tap0", "PID must be a positive integer", true),
            ("0 tap0", "PID must be a positive integer", true),
            ("99999999999 tap0", "PID must be a positive integer", true),
            (
                "--netns-type=path /no/such tap0",
                "existing path expected when --netns-type=path: No such file or directory",
                true,
            ),
            ("--netns-type=tapfd x", "TAPFD must a file descriptor", true),
            (
                "--userns-path=/no/such 1 tap0",
                "userns path doesn't exist: /no/such",
                true,
            ),
            ("--cidr=foo 1 tap0", "invalid CIDR: foo", false),
            ("--cidr=10.0.2.0/x 1 tap0", "invalid CIDR: 10.0.2.0/x", false),
            ("--cidr=10.0.2.0/ 1 tap0", "invalid CIDR: 10.0.2.0/", false),
            ("--cidr=10.0.2.0/+24 1 tap0", "invalid CIDR: 10.0.2.0/+24", false),
            ("--cidr=10.0.2.0/+9 1 tap0", "invalid CIDR: 10.0.2.0/+9", false),
            ("--cidr=10.0.2.0/024 1 tap0", "invalid CIDR: 10.0.2.0/024", false),
            ("--cidr=10.0.2.0/100 1 tap0", "invalid CIDR: 10.0.2.0/100", false),
            ("--cidr=10.0.2.0/99 1 tap0", "prefix length needs to be 1-25", false),
            (
                "--cidr=10.0.2.100/24 1 tap0",
                "CIDR needs to be a network address like 10.0.2.0/24, not like 10.0.2.100/24",
                false,
            ),
            ("--cidr=10.0.2.0/26 1 tap0", "prefix length needs to be 1-25", false),
            ("--cidr=0.0.0.0/0 1 tap0", "prefix length needs to be 1-25", false),
            (
                "--macaddress=02:00:00:00:00:01 1 tap0",
                "--macaddr cannot be specified when --configure or -c is not specified",
                true,
            ),
            (
                "-c --macaddress=foo 1 tap0",
                "\"foo\" is an invalid MAC address.",
                false,
            ),
            (
                "-c --macaddress=01:00:00:00:00:01 1 tap0",
                "\"01:00:00:00:00:01\" is an invalid MAC address.",
                false,
            ),
            (
                "--outbound-addr=foo 1 tap0",
                "outbound-addr has to be valid ipv4 address or interface name.",
                false,
            ),
            (
                "--target-type=x 1",
                "--target-type must be either \"netns\" or \"bess\"",
                true,
            ),
            (
                "--target-type=bess -c /tmp/x",
                "--configure conflicts with --target-type=bess",
                true,
            ),
        ];
        for (line, words, usage) in table {
            assert_eq!(refused(line), (words.to_owned(), usage), "{line}");
        }
        assert!(refused("--target-type=bess /tmp/x").0.contains("not offered"));
        let long = format!("--api-socket=/{} 1 tap0", "a".repeat(107));
        assert_eq!(refused(&long).0, "the specified API socket path is too long (>= 108)");
    }

    /// A command line of any words is read or refused; it never does anything else.
    #[test]
    fn any_words_at_all() {
        let words = [
            "-",
            "--",
            "-c",
            "-e",
            "-r",
            "-m",
            "-a",
            "-6",
            "-h",
            "-v",
            "-cm",
            "--mtu",
            "--mtu=",
            "--m=9",
            "--cidr",
            "--cidr=10.0.0.0/8",
            "--cidr=/",
            "--cidr=1/1/1",
            "--dis",
            "--disable-d",
            "--e",
            "--enable-",
            "--no",
            "--netns-type",
            "path",
            "tapfd",
            "pid",
            "--userns-path",
            "--macaddress=::::::",
            "--macaddress",
            "--outbound-addr",
            "--target-type",
            "netns",
            "bess",
            "0",
            "1",
            "-1",
            "99999999999999999999",
            "\u{fffd}",
            "=",
            "--=",
            "--=x",
            "tap0",
            "",
            "/",
            "/proc/self/ns/net",
            "10.0.2.0/24",
            "é",
            "-é",
            "--é=é",
            "lo",
        ];
        let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut draw = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % below as u64).unwrap()
        };
        let (mut read, mut refused) = (0, 0);
        for _ in 0..200_000 {
            let line = (0..draw(8)).map(|_| OsString::from(words[draw(words.len())]));
            match parse(line.collect::<Vec<_>>(), |_| {}) {
                Ok(options) => {
                    read += 1;
                    assert!((1..=65_521).contains(&options.mtu) && (1..=25).contains(&options.cidr.prefix()));
                    assert!(options.mac.is_none() || options.configure);
                }
                Err(_) => refused += 1,
            }
        }
        assert!(read > 100 && refused > 100, "{read} {refused}");
    }
}
