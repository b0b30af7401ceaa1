//! Subnets, address pools, published ports, names: the arithmetic of one network.
//!
//! Pure: facts about the host come in as values, decisions go out as values with the reason in words. Nothing here
//! reads a file, binds a port or speaks netlink. The command line parses with these types, the helper decides with them.

pub mod automatic;
pub mod facts;
pub mod hosts;
pub mod links;
pub mod loopback;
pub mod mac;
pub mod name;
pub mod pool;
pub mod ports;
pub mod publications;
pub mod subnet;
pub mod subnet6;
pub mod zone;
