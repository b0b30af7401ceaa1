//! `run`, `attach` and what is done with a container afterwards.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use clap::Args;
use smoltcp::wire::EthernetAddress;

use crate::api::types::{self, CreateContainer, StartContainer};
use crate::network::hosts::AddHost;
use crate::network::links::LinkSpec;
use crate::network::mac;
use crate::network::name::{self, NameError};
use crate::network::ports::{ContainerPorts, HostIp, PortSpec};

/// `run`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Run {
    /// Run in the background and print the container's id
    #[arg(short, long)]
    pub detach: bool,
    /// Remove the container when it ends
    #[arg(long)]
    pub rm: bool,
    /// Docker's -i and -t.
    #[command(flatten)]
    pub fingers: Fingers,
    /// Its hostname [default: its id]
    #[arg(long, value_name = "H", value_parser = hostname)]
    pub hostname: Option<String>,
    /// How it hangs on the network.
    #[command(flatten)]
    pub attachment: Attachment,
    /// Set a variable of its environment, or with K alone pass ours on; repeatable
    #[arg(short, long, value_name = "K[=V]", value_parser = variable)]
    pub env: Vec<String>,
    /// Its working directory
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<PathBuf>,
    /// A line for its /etc/hosts; IP may be host-gateway; repeatable
    #[arg(long, value_name = "NAME:IP")]
    pub add_host: Vec<AddHost>,
    /// The command and its arguments
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true)]
    pub command: Vec<String>,
}

/// `attach`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[group(id = "namespace", required = true, multiple = false, args = ["pid", "netns"])]
pub struct Attach {
    /// A process whose network namespace it is
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..))]
    pub pid: Option<i32>,
    /// A path of the namespace, like /proc/PID/ns/net
    #[arg(long, value_name = "PATH")]
    pub netns: Option<PathBuf>,
    /// Name of the interface inside
    #[arg(long, value_name = "NAME", default_value = "eth0", value_parser = interface)]
    pub ifname: String,
    /// Bring the interface up and configure nothing: whoever is inside asks by DHCP or router solicitations
    #[arg(long)]
    pub dhcp: bool,
    /// How it hangs on the network.
    #[command(flatten)]
    pub attachment: Attachment,
}

/// What `run` and `attach` say alike.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct Attachment {
    /// Its name [default: its id]
    #[arg(long, value_name = "N", value_parser = container_name)]
    pub name: Option<String>,
    /// Publish a port: HOSTIP:HOSTPORT:PORT/PROTO, where only PORT must be said, or ranges like 8000-8010:80-90; repeatable
    #[arg(short, long, value_name = "SPEC", allow_hyphen_values = true)]
    pub publish: Vec<PortSpec>,
    /// Publish every exposed port on a port that is chosen
    #[arg(short = 'P', long)]
    pub publish_all: bool,
    /// Say that it serves a port; repeatable
    #[arg(long, value_name = "PORT[-PORT][/PROTO]")]
    pub expose: Vec<ContainerPorts>,
    /// Where ports are published that name no host address; auto: at a loopback address of its own, each port on its own
    /// number, exposed ones too
    #[arg(long, value_name = "auto|ADDR")]
    pub host_ip: Option<HostIp>,
    /// Take exposed ports and environment from an image's config: OCI's JSON, or what `docker inspect` prints
    #[arg(long, value_name = "FILE")]
    pub image_config: Option<PathBuf>,
    /// Tell it of another container and, where containers are kept apart, let it reach that one's exposed ports; repeatable
    #[arg(long, value_name = "NAME[:ALIAS]")]
    pub link: Vec<LinkSpec>,
    /// Its IPv4 address
    #[arg(long, value_name = "A")]
    pub ip: Option<Ipv4Addr>,
    /// Its IPv6 address
    #[arg(long, value_name = "A")]
    pub ip6: Option<Ipv6Addr>,
    /// Its hardware address
    #[arg(long, value_name = "M", value_parser = mac::parse)]
    pub mac_address: Option<EthernetAddress>,
}

/// What fingers type that know Docker: here a command has the terminal and standard input of whoever runs it anyway.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Args)]
pub struct Fingers {
    /// Accepted: standard input is the command's
    #[arg(short, long, hide = true)]
    pub interactive: bool,
    /// Accepted: the terminal is the command's
    #[arg(short, long, hide = true)]
    pub tty: bool,
}

/// `detach`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Detach {
    /// Name, id or beginning of an id
    #[arg(value_name = "NAME")]
    pub container: String,
}

/// `exec`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Exec {
    /// Docker's -i and -t.
    #[command(flatten)]
    pub fingers: Fingers,
    /// Name, id or beginning of an id
    #[arg(value_name = "NAME")]
    pub container: String,
    /// The command and its arguments
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true)]
    pub command: Vec<String>,
}

/// `stop`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Stop {
    /// Seconds between SIGTERM and SIGKILL
    #[arg(short, long, value_name = "SECS", default_value_t = 10)]
    pub time: u64,
    /// Names, ids or beginnings of ids
    #[arg(value_name = "NAME", required = true)]
    pub containers: Vec<String>,
}

/// `rm`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Remove {
    /// Stop what runs
    #[arg(short, long)]
    pub force: bool,
    /// Names, ids or beginnings of ids
    #[arg(value_name = "NAME", required = true)]
    pub containers: Vec<String>,
}

/// `logs`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Logs {
    /// Go on until the container ends
    #[arg(short, long)]
    pub follow: bool,
    /// Name, id or beginning of an id
    #[arg(value_name = "NAME")]
    pub container: String,
}

/// `wait`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Wait {
    /// Names, ids or beginnings of ids
    #[arg(value_name = "NAME", required = true)]
    pub containers: Vec<String>,
}

impl Run {
    /// The request that reserves the container; the process that waits for it is the caller's to add.
    pub fn create(&self) -> CreateContainer {
        CreateContainer {
            hostname: self.hostname.clone(),
            cmd: self.command.clone(),
            env: self.env.clone(),
            workdir: self.workdir.clone(),
            add_host: self.add_host.iter().map(AddHost::to_string).collect(),
            remove: self.rm,
            detached: self.detach,
            ..self.attachment.create()
        }
    }
}

impl Attach {
    /// The request that reserves the container. Nothing of a namespace stays behind when it goes.
    pub fn create(&self) -> CreateContainer {
        CreateContainer {
            ifname: Some(self.ifname.clone()),
            dhcp: self.dhcp,
            remove: true,
            ..self.attachment.create()
        }
    }

    /// The request that gives the namespace its interface.
    pub fn start(&self) -> StartContainer {
        StartContainer {
            pid: self.pid,
            netns: self.netns.clone(),
        }
    }
}

impl Attachment {
    fn create(&self) -> CreateContainer {
        CreateContainer {
            name: self.name.clone(),
            publish: self.publish.iter().map(PortSpec::to_string).collect(),
            publish_all: self.publish_all,
            expose: self.expose.iter().map(ContainerPorts::to_string).collect(),
            host_ip: self.host_ip.as_ref().map(HostIp::to_string),
            link: self.link.iter().map(LinkSpec::to_string).collect(),
            ip: self.ip,
            ip6: self.ip6,
            mac: self.mac_address.map(mac::format),
            ..CreateContainer::default()
        }
    }
}

impl Stop {
    /// The request, the same for each container.
    pub fn request(&self) -> types::Stop {
        types::Stop { timeout: self.time }
    }
}

fn container_name(text: &str) -> Result<String, NameError> {
    name::check_container(text).map(|()| text.to_owned())
}

fn interface(text: &str) -> Result<String, NameError> {
    name::check_interface(text).map(|()| text.to_owned())
}

fn hostname(text: &str) -> Result<String, NameError> {
    name::check_hostname(text).map(|()| text.to_owned())
}

fn variable(text: &str) -> Result<String, String> {
    let name = text.split_once('=').map_or(text, |(name, _)| name);
    if name.is_empty() || text.contains('\0') {
        return Err("write NAME=VALUE, or NAME".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::Command;
    use super::super::tests::{parsed, usage};
    use super::*;

    fn run(line: &str) -> Run {
        let Command::Run(run) = parsed(&format!("run {line}")).command else {
            panic!("{line}")
        };
        run
    }

    #[test]
    fn options_after_the_command_are_the_commands() {
        for (line, command) in [
            ("sleep 3", vec!["sleep", "3"]),
            ("-d --rm sh -c -d", vec!["sh", "-c", "-d"]),
            ("-- sh -c x", vec!["sh", "-c", "x"]),
            ("-d -- -odd --name x", vec!["-odd", "--name", "x"]),
            ("sh -- x", vec!["sh", "--", "x"]),
            ("ps --network blue", vec!["ps", "--network", "blue"]),
            ("ls --help", vec!["ls", "--help"]),
        ] {
            assert_eq!(run(line).command, command, "{line}");
        }
        assert!(run("-d --rm sh").detach);
        assert!(!run("sh -d").detach);
    }

    #[test]
    fn what_was_typed_becomes_the_request() {
        let line = "-d --rm --name web --hostname w1 -p 8080:80 -p [::1]::53/udp -P --expose 443 --expose 7000-7002/udp --host-ip auto --image-config img.json --ip 172.17.0.9 --mac-address 02-42-AC-11-00-09 -e A=b=c -e B= -w /srv --add-host db:10.0.0.9 httpd -f";
        let request = run(line).create();
        assert_eq!(request.name.as_deref(), Some("web"));
        assert_eq!(request.hostname.as_deref(), Some("w1"));
        assert_eq!(request.publish, ["8080:80/tcp", "[::1]::53/udp"]);
        assert_eq!(request.expose, ["443/tcp", "7000-7002/udp"]);
        assert_eq!(request.host_ip.as_deref(), Some("auto"));
        assert_eq!(run(line).attachment.image_config, Some("img.json".into()));
        assert_eq!(request.ip, Some(Ipv4Addr::new(172, 17, 0, 9)));
        assert_eq!(request.mac.as_deref(), Some("02:42:ac:11:00:09"));
        assert_eq!(request.env, ["A=b=c", "B="]);
        assert_eq!(request.add_host, ["db:10.0.0.9"]);
        assert_eq!(request.cmd, ["httpd", "-f"]);
        assert!(request.detached && request.remove && request.publish_all);
        assert_eq!(request.workdir, Some("/srv".into()));
    }

    #[test]
    fn bad_values_are_bad_usage() {
        for (line, part) in [
            ("run", "required arguments were not provided: <CMD>..."),
            ("run --bogus sh", "unexpected argument '--bogus'"),
            ("run -p 80:x sh", "'80:x': 'x' is no port number"),
            (
                "run -p 80-90:80-91 sh",
                "Invalid ranges specified for container and host Ports: 80-91 and 80-90",
            ),
            ("run --expose 90-80 sh", "Invalid range specified for port: 90-80"),
            ("run --host-ip lo sh", "'lo': write auto or an address of the host"),
            ("run --name a/b sh", "'a/b' is no container name"),
            ("run --hostname a_b- sh", "'a_b-' is no hostname"),
            ("run --ip 10.0.0 sh", "'10.0.0' for '--ip <A>'"),
            (
                "run --mac-address 01:00:5e:00:00:01 sh",
                "is no unicast hardware address",
            ),
            ("run -e =x sh", "write NAME=VALUE, or NAME"),
            ("run --add-host db sh", "'db' has no address: write NAME:IP"),
            ("exec web", "required arguments were not provided: <CMD>..."),
            ("attach", "<--pid <PID>|--netns <PATH>>"),
            ("attach --pid 1 --netns /x", "cannot be used with"),
            ("attach --pid 0", "0 is not in 1.."),
            ("attach --pid 7 --ifname lo", "'lo'"),
        ] {
            let text = usage(line);
            assert!(text.contains(part), "{line}: {text}");
            assert!(text.lines().count() <= 2, "{text}");
        }
    }

    #[test]
    fn attach_names_a_namespace() {
        let Command::Attach(attach) =
            parsed("attach --pid 42 --name db -p 5432 -p 8000-8009:80 --host-ip [::1] --ifname net0").command
        else {
            panic!()
        };
        assert_eq!(attach.start().pid, Some(42));
        let request = attach.create();
        assert!(!request.dhcp);
        let Command::Attach(attach) = parsed("attach --netns /proc/42/ns/net --dhcp").command else {
            panic!()
        };
        assert!(attach.create().dhcp);
        assert_eq!((request.ifname.as_deref(), request.cmd.len()), (Some("net0"), 0));
        assert_eq!(request.publish, ["5432/tcp", "8000-8009:80/tcp"]);
        assert_eq!(request.host_ip.as_deref(), Some("::1"));
    }

    #[test]
    fn exec_and_the_rest() {
        let Command::Exec(exec) = parsed("exec web -- ls -l").command else {
            panic!()
        };
        assert_eq!(
            (exec.container.as_str(), exec.command),
            ("web", vec!["ls".to_owned(), "-l".to_owned()])
        );
        let Command::Exec(exec) = parsed("exec web ls -l --force").command else {
            panic!()
        };
        assert_eq!(exec.command, ["ls", "-l", "--force"]);
        let Command::Stop(stop) = parsed("stop -t 0 a b").command else {
            panic!()
        };
        assert_eq!((stop.request().timeout, stop.containers.len()), (0, 2));
        let Command::Rm(remove) = parsed("rm -f a").command else {
            panic!()
        };
        assert!(remove.force);
        let Command::Logs(logs) = parsed("logs -f a").command else {
            panic!()
        };
        assert!(logs.follow);
    }
}
