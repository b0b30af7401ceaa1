//! What is forwarded, by number. Numbers begin with 1 and are never given again.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::request::{Forward, Request, refusal};
use crate::compat::mooring::Mooring;
use crate::helper::driver::Destination;
use crate::host::listen::HostPort;
use crate::stack::PublishId;

/// The table, and what it is about.
#[derive(Debug)]
pub(super) struct Forwards {
    mooring: Mooring,
    guest: Ipv4Addr,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    last: u64,
    entries: BTreeMap<u64, (Forward, PublishId)>,
}

impl Forwards {
    /// Nothing yet; `guest` is whom ports lead to where nobody is named.
    pub(super) fn new(mooring: Mooring, guest: Ipv4Addr) -> Self {
        Self {
            mooring,
            guest,
            table: Mutex::default(),
        }
    }

    /// Whom ports lead to where nobody is named.
    pub(super) fn guest(&self) -> Ipv4Addr {
        self.guest
    }

    /// Does what is asked for; the answer in JSON.
    pub(super) async fn answer(&self, request: Request) -> String {
        let mut table = self.table.lock().await;
        match request {
            Request::Add(forward) => self.add(&mut table, forward),
            Request::List => list(&table),
            Request::Remove(id) => match table.entries.remove(&id) {
                Some((_, publish)) => {
                    self.mooring.unpublish(publish).await;
                    json!({ "return": {} }).to_string()
                }
                None => refusal("remove_hostfwd: bad arguments.id"),
            },
        }
    }

    fn add(&self, table: &mut Table, forward: Forward) -> String {
        let Forward { protocol, host, guest } = forward;
        let Ok(port) = HostPort::at(protocol, SocketAddr::V4(host)) else {
            return refusal("add_hostfwd: slirp_add_hostfwd failed");
        };
        let publish = self.mooring.publish(port, Destination::One(guest.into()));
        table.last += 1;
        table.entries.insert(table.last, (forward, publish));
        json!({ "return": { "id": table.last } }).to_string()
    }
}

/// In the shape of the manual, and in that of the binary beside it: either finds what it looks for.
fn list(table: &Table) -> String {
    let entries: Vec<Value> = table.entries.iter().map(entry).collect();
    json!({ "return": { "entries": entries }, "entries": entries }).to_string()
}

fn entry((id, (forward, _)): (&u64, &(Forward, PublishId))) -> Value {
    json!({
        "id": id,
        "proto": forward.protocol.to_string(),
        "host_addr": forward.host.ip().to_string(),
        "host_port": forward.host.port(),
        "guest_addr": forward.guest.ip().to_string(),
        "guest_port": forward.guest.port(),
    })
}
