//! Routes that the host gets while a network runs: of a VPN that comes up, for one.
//!
//! Source: rtnetlink(7), the groups RTNLGRP_IPV4_ROUTE and RTNLGRP_IPV6_ROUTE.

use std::io;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;

use super::host_facts::new_route;
use crate::network::facts::HostRoute;

/// The new routes of the network namespace in which it was made.
pub struct NewRoutes(BoxStream<'static, HostRoute>);

impl NewRoutes {
    /// Listens from now on. Needs a runtime.
    pub fn listen() -> io::Result<Self> {
        let groups = [MulticastGroup::Ipv4Route, MulticastGroup::Ipv6Route];
        let (connection, _, messages) = rtnetlink::new_multicast_connection(&groups)?;
        tokio::spawn(connection);
        let routes = messages.filter_map(async |(message, _)| route(message));
        Ok(Self(routes.boxed()))
    }

    /// The next; `None` when the kernel has nothing more to say.
    pub async fn next(&mut self) -> Option<HostRoute> {
        self.0.next().await
    }
}

impl std::fmt::Debug for NewRoutes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("NewRoutes").finish_non_exhaustive()
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "one message of many")]
fn route(message: NetlinkMessage<RouteNetlinkMessage>) -> Option<HostRoute> {
    match message.payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)) => new_route(&route),
        _ => None,
    }
}
