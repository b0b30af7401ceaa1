//! The helper: the daemon of one network, in the host's network namespace, as the user.
//!
//! [`start`] makes it, [`supervisor::Supervisor`] decides, [`driver`] carries the packets, [`routes`] speaks for it;
//! [`events`] remembers what has happened, [`place`] and [`state`] are what it leaves on disk.

mod binding;
mod books;
mod container;
pub mod driver;
mod ending;
mod events;
mod failure;
mod hosts_file;
mod inspect;
mod lifecycle;
mod links;
mod names;
pub mod place;
mod plug;
mod ports;
mod queries;
mod quiet;
mod routes;
pub mod start;
pub mod state;
mod subnets;
pub mod supervisor;
mod tell;
mod update;
