//! `publish`, `unpublish` and `port`.

use clap::Args;

use crate::api::types::PortSpecs;
use crate::cli::output::Format;
use crate::network::ports::{ContainerPort, PortSpec};

/// `publish`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Publish {
    /// Name, id or beginning of an id
    #[arg(value_name = "NAME")]
    pub container: String,
    /// What to publish: HOSTIP:HOSTPORT:PORT/PROTO, where only PORT must be said, or ranges like 8000-8010:80-90
    #[arg(value_name = "SPEC", required = true)]
    pub specs: Vec<PortSpec>,
}

/// `unpublish`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Unpublish {
    /// Name, id or beginning of an id
    #[arg(value_name = "NAME")]
    pub container: String,
    /// What to take back: as published, or the container's port for all it is published as
    #[arg(value_name = "SPEC", required = true)]
    pub specs: Vec<PortSpec>,
}

/// `port`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Port {
    /// Name, id or beginning of an id
    #[arg(value_name = "NAME")]
    pub container: String,
    /// Only this port of the container
    #[arg(value_name = "CONTAINERPORT[/PROTO]")]
    pub port: Option<ContainerPort>,
    /// table, json, a Go template, or 'table TEMPLATE'
    #[arg(long, default_value = "table", hide_default_value = true)]
    pub format: Format,
}

impl Publish {
    /// The request.
    pub fn request(&self) -> PortSpecs {
        words(&self.specs)
    }
}

impl Unpublish {
    /// The request.
    pub fn request(&self) -> PortSpecs {
        words(&self.specs)
    }
}

fn words(specs: &[PortSpec]) -> PortSpecs {
    PortSpecs {
        specs: specs.iter().map(PortSpec::to_string).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Command;
    use super::super::tests::{parsed, usage};

    #[test]
    fn specs_arrive_in_one_spelling() {
        let Command::Publish(publish) = parsed("publish web 8080:80 53/UDP 8000-8010:80-90").command else {
            panic!()
        };
        assert_eq!(
            publish.request().specs,
            ["8080:80/tcp", "53/udp", "8000-8010:80-90/tcp"]
        );
        let Command::Unpublish(unpublish) = parsed("unpublish web 127.0.0.1:8080:80").command else {
            panic!()
        };
        assert_eq!(unpublish.request().specs, ["127.0.0.1:8080:80/tcp"]);
    }

    #[test]
    fn port_takes_one_port() {
        let Command::Port(port) = parsed("port web 80").command else {
            panic!()
        };
        assert_eq!(port.port.map(|port| port.to_string()), Some("80/tcp".to_owned()));
        assert!(usage("port web 8080:80").contains("'8080:80' is no port number"));
        assert!(usage("publish web").contains("<SPEC>..."));
    }
}
