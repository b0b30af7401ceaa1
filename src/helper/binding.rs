//! Binding host ports: what a SPEC asks for becomes sockets, all with one number, or nothing.

use std::io;
use std::net::{IpAddr, SocketAddr};

use nix::errno::Errno;

use super::failure::Failure;
use crate::host::listen::{HostPort, has_ipv6};
use crate::network::ports::{PortSpec, Protocol};
use crate::network::publications::{AutoPorts, Binding, Publications};

/// Binds every address of `spec`.
///
/// Ports of our own containers are refused by `publications`, with the name of the container that has them; what else
/// holds a port only the kernel knows. An omitted number is chosen, as Docker does, in at most ten tries.
pub(super) fn bind(
    spec: &PortSpec,
    publications: &Publications,
    automatic: &mut AutoPorts,
) -> Result<Vec<HostPort>, Failure> {
    let addresses = addresses(spec);
    let protocol = spec.container.protocol;
    if let Some(port) = spec.host_port {
        return bind_all(protocol, &addresses, port, publications).map_err(|refused| refused.tell(protocol));
    }
    for _ in 0..AUTOMATIC_TRIES {
        let is_free = |port| {
            addresses
                .iter()
                .all(|address| publications.check(binding(*address, port, protocol)).is_ok())
        };
        let Some(port) = automatic.next_candidate(is_free) else {
            break;
        };
        match bind_all(protocol, &addresses, port, publications) {
            Ok(sockets) => return Ok(sockets),
            Err(refused) if refused.is_taken() => {}
            Err(refused) => return Err(refused.tell(protocol)),
        }
    }
    Err(Failure::failed(format!(
        "no free host port for {}: {AUTOMATIC_TRIES} tries were all in use; name one with -p HOSTPORT:{}",
        spec.container, spec.container.port
    )))
}

/// What is bound: on a host without IPv6 the wildcard means IPv4 alone.
fn addresses(spec: &PortSpec) -> Vec<IpAddr> {
    let mut addresses = spec.addresses();
    if spec.address.is_none() && !has_ipv6() {
        addresses.retain(IpAddr::is_ipv4);
    }
    addresses
}

fn bind_all(
    protocol: Protocol,
    addresses: &[IpAddr],
    port: u16,
    publications: &Publications,
) -> Result<Vec<HostPort>, Refused> {
    let bind_one = |address: &IpAddr| {
        publications
            .check(binding(*address, port, protocol))
            .map_err(|error| Refused::Ours(error.to_string()))?;
        let address = SocketAddr::new(*address, port);
        HostPort::bind(protocol, address).map_err(|error| Refused::Kernel(address, error))
    };
    addresses.iter().map(bind_one).collect()
}

fn binding(address: IpAddr, port: u16, protocol: Protocol) -> Binding {
    Binding {
        address,
        port,
        protocol,
    }
}

/// Why an address was not bound.
enum Refused {
    /// One of our containers has it.
    Ours(String),
    /// bind(2) or listen(2) said no.
    Kernel(SocketAddr, io::Error),
}

impl Refused {
    fn is_taken(&self) -> bool {
        match self {
            Self::Ours(_) => true,
            Self::Kernel(_, error) => error.kind() == io::ErrorKind::AddrInUse,
        }
    }

    fn tell(self, protocol: Protocol) -> Failure {
        let (address, error) = match self {
            Self::Ours(message) => return Failure::conflict(message),
            Self::Kernel(address, error) => (address, error),
        };
        match error.raw_os_error().map(Errno::from_raw) {
            // Docker's words, which scripts look for.
            Some(Errno::EADDRINUSE) => Failure::conflict(format!(
                "Bind for {address} failed: port is already allocated by another program of this host (ss -lnp shows which)"
            )),
            Some(Errno::EACCES) => Failure::failed(format!(
                "Bind for {address}/{protocol} failed: ports below net.ipv4.ip_unprivileged_port_start are not for \
                 users; choose a higher one, or let root say: sysctl -w net.ipv4.ip_unprivileged_port_start={}",
                address.port()
            )),
            Some(Errno::EADDRNOTAVAIL) => Failure::failed(format!(
                "Bind for {address} failed: this host does not have the address {}",
                address.ip()
            )),
            Some(_) | None => Failure::failed(format!("Bind for {address} failed: {error}")),
        }
    }
}

/// As often as Docker tries.
const AUTOMATIC_TRIES: usize = 10;
