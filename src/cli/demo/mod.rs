//! `demo`: the tour of a network, on a machine with nothing but this binary.
//!
//! Every step is a command that anyone can type, shown with what it printed and checked; the tour ends with the first
//! that fails. Its network lives in a directory of its own and goes with it, whatever happens.

mod http;

use std::ffi::OsStr;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use nix::sys::signal::{SigSet, Signal};

use super::commands::{Failed, print};

/// Plays the tour.
pub(super) fn run() -> Result<ExitCode, Failed> {
    // The tour takes a second or two: an interrupt waits for its end, so that nothing stays behind.
    let interrupts: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
    interrupts.thread_block().map_err(io::Error::from)?;
    let mut tour = Tour::begin()?;
    let played = play(&mut tour);
    let ended = tour.end();
    interrupts.thread_unblock().map_err(io::Error::from)?;
    match played.and(ended) {
        Ok(()) => {
            print("\nEverything checked; nothing is left behind.")?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => Err(error),
    }
}

/// The hidden command `demo-serve NAME PORT`: the server that runs in the tour's containers.
pub fn serve_main() -> ExitCode {
    let mut words = std::env::args().skip(2);
    let (Some(name), Some(Ok(port))) = (words.next(), words.next().map(|port| port.parse())) else {
        return usage("demo-serve NAME PORT");
    };
    report(http::serve(&name, port).map(|()| String::new()))
}

/// The hidden command `demo-get ADDRESS:PORT`: the client that runs in the tour's containers.
pub fn get_main() -> ExitCode {
    match std::env::args().nth(2).map(|server| server.parse()) {
        Some(Ok(server)) => report(http::get(server)),
        Some(Err(_)) | None => usage("demo-get ADDRESS:PORT"),
    }
}

fn play(tour: &mut Tour) -> Result<(), Failed> {
    let host = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let host_port = host.local_addr()?.port();
    std::thread::spawn(move || http::answer_all(&host, "the host"));

    tour.step("A network: a bridge in a user namespace, with a subnet that nobody uses")?;
    tour.gangplank(&["up", "--host-access", &host_port.to_string()])?;
    let subnet = tour.gangplank(&[
        "network",
        "inspect",
        NETWORK,
        "--format",
        "{{(index .IPAM.Config 0).Subnet}}",
    ])?;
    tour.gangplank(&["network", "inspect", NETWORK, "--format", "{{.Why}}"])?;

    tour.step("Two containers, each with a veth, an address and a web server; one publishes a port")?;
    let published = free_port()?;
    let exe = tour.exe();
    tour.gangplank(&[
        "run",
        "-d",
        "--name",
        "web",
        "-p",
        &format!("{published}:80"),
        &exe,
        "demo-serve",
        "web",
        "80",
    ])?;
    tour.gangplank(&["run", "-d", "--name", "db", &exe, "demo-serve", "db", "80"])?;
    tour.gangplank(&["ps"])?;
    let shown = tour.gangplank(&["show"])?;
    tour.check("the bridge has two veths", shown.matches("veth").count() == 2)?;

    tour.step("Their addresses, by the template that everybody has in a script")?;
    let template = "{{ .NetworkSettings.IPAddress }}";
    let web = tour.address(&["inspect", "web", "--format", template])?;
    let db = tour.address(&["inspect", "db", "--format", template])?;
    let prefix = subnet.parse::<ipnetwork::IpNetwork>().map_err(Failed::said)?;
    tour.check(
        "both lie in the subnet",
        prefix.contains(web) && prefix.contains(db) && web != db,
    )?;
    let gateway = tour.address(&["inspect", "web", "--format", "{{ .NetworkSettings.Gateway }}"])?;

    tour.step("Container to container: the kernel's bridge carries it")?;
    let answer = tour.gangplank(&["exec", "web", &exe, "demo-get", &format!("{db}:80")])?;
    tour.check(
        "db sees web's own address",
        answer == format!("hello from db, you are {web}"),
    )?;

    tour.step("Out: to a server on the host, through the user-mode stack")?;
    let answer = tour.gangplank(&["exec", "db", &exe, "demo-get", &format!("{gateway}:{host_port}")])?;
    tour.check("the host answers", answer.starts_with("hello from the host"))?;

    tour.step("In: the published port, fetched on the host")?;
    let answer = tour.fetch(published)?;
    tour.check("web answers", answer == format!("hello from web, you are {gateway}"))?;

    tour.step("A port without a number: chosen, bound, held, and then told")?;
    tour.gangplank(&["publish", "db", "80"])?;
    let told = tour.gangplank(&["port", "db", "80"])?;
    let automatic = told.lines().next().and_then(|line| line.parse::<SocketAddr>().ok());
    let automatic = automatic.ok_or_else(|| Failed::said(format!("`port` printed no address: {told}")))?;
    let answer = tour.fetch(automatic.port())?;
    tour.check("db answers", answer.starts_with("hello from db"))?;
    let template = r#"{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}"#;
    let inspected = tour.gangplank(&["inspect", "db", "--format", template])?;
    tour.check(
        "inspect tells the same number",
        inspected == automatic.port().to_string(),
    )
}

/// The tour's network and where it lives.
struct Tour {
    exe: PathBuf,
    directory: PathBuf,
    steps: usize,
}

impl Tour {
    fn begin() -> Result<Self, Failed> {
        let exe = std::env::current_exe()?;
        let directory = std::env::temp_dir().join(format!("gangplank-demo-{}", std::process::id()));
        Ok(Self {
            exe,
            directory,
            steps: 0,
        })
    }

    /// Takes the network down and looks whether anything is left.
    fn end(&mut self) -> Result<(), Failed> {
        self.step("And away with it")?;
        self.gangplank(&["down", "--force"])?;
        let left: Vec<_> = std::fs::read_dir(self.directory.join(NETWORK))?
            .filter_map(Result::ok)
            .map(|entry| entry.file_name())
            .filter(|name| name != OsStr::new("log"))
            .collect();
        self.check("nothing is left but the log", left.is_empty())?;
        Ok(std::fs::remove_dir_all(&self.directory)?)
    }

    fn step(&mut self, title: &str) -> Result<(), Failed> {
        self.steps += 1;
        print(format_args!("\n{}. {title}", self.steps))
    }

    /// Runs one of our commands, shows it and what it printed, and gives that back.
    fn gangplank(&self, words: &[&str]) -> Result<String, Failed> {
        print(format_args!("   $ gangplank {}", self.displayed(words)))?;
        let output = Command::new(&self.exe)
            .args(["--network", NETWORK, "--runtime-dir"])
            .arg(&self.directory)
            .args(words)
            .stdin(Stdio::null())
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
        text.lines().try_for_each(|line| print(format_args!("     {line}")))?;
        if output.status.success() {
            return Ok(text);
        }
        let error = String::from_utf8_lossy(&output.stderr);
        let error = error.trim().strip_prefix("Error: ").unwrap_or(error.trim()).to_owned();
        Err(Failed::said(error))
    }

    fn address(&self, words: &[&str]) -> Result<IpAddr, Failed> {
        self.gangplank(words)?.parse().map_err(Failed::said)
    }

    /// Fetches a port of the host, as curl would.
    fn fetch(&self, port: u16) -> Result<String, Failed> {
        print(format_args!("   $ curl http://127.0.0.1:{port}/"))?;
        let answer = http::get(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        print(format_args!("     {answer}"))?;
        Ok(answer)
    }

    fn check(&self, what: &str, holds: bool) -> Result<(), Failed> {
        if !holds {
            return Err(Failed::said(format!("step {}: not so: {what}", self.steps)));
        }
        print(format_args!("   ok: {what}"))
    }

    fn exe(&self) -> String {
        self.exe.display().to_string()
    }

    /// A command line as it would be typed: quoted where a shell needs it, our own path by its name.
    fn displayed(&self, words: &[&str]) -> String {
        let exe = self.exe();
        let quoted = words.iter().map(|word| match *word {
            word if word == exe => "gangplank".to_owned(),
            word if word.contains([' ', '"', '{']) => format!("'{word}'"),
            word => word.to_owned(),
        });
        quoted.collect::<Vec<_>>().join(" ")
    }
}

/// A port that nobody has at this moment.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?.local_addr()?.port())
}

fn report(outcome: io::Result<String>) -> ExitCode {
    let told = outcome.and_then(|text| writeln!(io::stdout(), "{text}"));
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            super::commands::complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn usage(words: &str) -> ExitCode {
    super::commands::complain(&format_args!("usage: gangplank {words}"));
    ExitCode::from(super::args::BAD_USAGE)
}

/// The tour's network, beside any that the user has.
const NETWORK: &str = "demo0";
