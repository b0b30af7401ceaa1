//! Why a command line is refused, in the original's words.

use super::spec::SpecError;
use crate::compat::getopt::Misread;

/// Why a command line is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// No such option, or one that is written wrongly; the usage follows.
    #[error(transparent)]
    Usage(#[from] Misread),
    /// `-t` and its like.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// `none` after something.
    #[error("-{0} none conflicts with previous options")]
    NoneAfter(char),
    /// An address for what listens on the namespace's loopback.
    #[error("Listening address not allowed for -{0} {1}")]
    ListenAddress(char, String),
    /// `-a`.
    #[error("Invalid guest address: {0}")]
    GuestAddress(String),
    /// `-a` or `-n`.
    #[error("Invalid prefix length: {0}")]
    Prefix(String),
    /// `-a` and `-n`.
    #[error("Redundant prefix length specification")]
    RedundantPrefix,
    /// `-g`.
    #[error("Invalid gateway address: {0}")]
    Gateway(String),
    /// `--map-host-loopback` or `--map-guest-addr`.
    #[error("Invalid address to remap to host: {0}")]
    Remap(String),
    /// `--dns-forward`.
    #[error("Invalid DNS forwarding address: {0}")]
    DnsForward(String),
    /// `--dns-host`.
    #[error("Invalid host nameserver address: {0}")]
    DnsHost(String),
    /// `-D`.
    #[error("Cannot use DNS address {0}")]
    Dns(String),
    /// `-S`.
    #[error("Cannot use DNS search domain {0}")]
    Search(String),
    /// `-o`.
    #[error("Invalid or redundant outbound address: {0}")]
    Outbound(String),
    /// `-M` or `--ns-mac-addr`.
    #[error("Invalid MAC address: {0}")]
    Mac(String),
    /// `-m`.
    #[error("Invalid MTU: {0}")]
    Mtu(String),
    /// `-m`.
    #[error("MTU {0} too large (max 65521)")]
    MtuTooLarge(u64),
    /// `--log-size`.
    #[error("Invalid --log-size: {0}")]
    LogSize(String),
    /// `-H` or `--fqdn`.
    #[error("Invalid {0}: {1}")]
    Name(&'static str, String),
    /// `-I`.
    #[error("Invalid interface name: {0}")]
    Ifname(String),
    /// `-i` and its like.
    #[error("Invalid interface name {0}: No such device")]
    NoInterface(String),
    /// `-P`.
    #[error("Invalid PID file: {0}")]
    PidFile(String),
    /// `-p`.
    #[error("Invalid pcap path: {0}")]
    PcapPath(String),
    /// `-c`.
    #[error("Invalid configuration path: {0}")]
    ConfPath(String),
    /// `--stats`: nothing here is counted for a terminal.
    #[error("Can't display statistics if not running in foreground")]
    Stats,
    /// An option of passt.
    #[error("{0} is for {1} mode only")]
    OtherMode(&'static str, &'static str),
    /// Two options that exclude each other.
    #[error("{0} is incompatible with {1}")]
    Incompatible(&'static str, &'static str),
    /// Two namespaces.
    #[error("Both --netns and PID or command given")]
    TwoTargets,
    /// Two user namespaces.
    #[error("Both --userns and --netns-only given")]
    TwoUserns,
    /// A user namespace for a command that gets one.
    #[error("--userns needs PID or --netns: a command gets a user namespace of its own")]
    UsernsOfCommand,
    /// Obsolete, and without effect.
    #[error("{0} needs --config-net")]
    NeedsConfigNet(&'static str),
    /// Not a descriptor that we were left.
    #[error("Could not move --fd descriptor: Bad file descriptor")]
    Descriptor,
}
