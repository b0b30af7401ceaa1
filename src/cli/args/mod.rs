//! What was typed: the command line as clap's tables, one file per family of commands.
//!
//! These are *low* arguments: typed and each right for itself, with no effect and no look at the machine. What they
//! mean (the bodies of requests) they say with `options`, `create`, … in the same files; what is done with that is in
//! the commands. Help, errors and hints come from the same table, so the words here are Docker's wherever it has them.

mod container;
mod driver_option;
mod events;
mod look;
mod moment;
mod network;
mod ports;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};

use crate::network::name::{self, NameError};

pub use container::{Attach, Attachment, Detach, Exec, Fingers, Logs, Remove, Run, Stop, Wait};
pub use driver_option::DriverOption;
pub use events::Events;
pub use look::{Doctor, Inspect, NetworkInspect, NetworkList, Ps, Show};
pub use moment::{Moment, MomentError};
pub use network::{Create, Down, NetworkChange, NetworkCommand, NetworkRemove, Settings, Up, Uplink};
pub use ports::{Port, Publish, Unpublish};

/// docker0 for a user without root: a bridge, containers, the way out and published ports.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(
    name = "gangplank",
    version,
    max_term_width = 110,
    subcommand_required = true,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command takes.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Global {
    /// The network to work on; it starts by itself when a command needs it
    #[arg(help_heading = "Global options", long, global = true, value_name = "NAME", env = "GANGPLANK_NETWORK", default_value = "gp0", value_parser = network_name)]
    pub network: String,
    /// Where networks keep their state [default: $XDG_RUNTIME_DIR/gangplank, else /tmp/gangplank-UID]
    #[arg(help_heading = "Global options", long, global = true, value_name = "DIR")]
    pub runtime_dir: Option<PathBuf>,
    /// Say more; twice: everything
    #[arg(help_heading = "Global options", short, long, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,
    /// Say nothing but results and errors
    #[arg(help_heading = "Global options", short, long)]
    pub quiet: bool,
}

/// The commands.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Start the network, if it does not run
    Up(Up),
    /// Stop the network
    Down(Down),
    /// List, make, remove and inspect networks
    #[command(subcommand)]
    Network(NetworkCommand),
    /// Show the bridge and its ports
    Show(Show),
    /// Run a command in a network namespace of its own on the bridge
    Run(Run),
    /// Put an existing network namespace on the bridge
    Attach(Attach),
    /// Take an attached namespace off the bridge
    Detach(Detach),
    /// Run a command in a running container
    Exec(Exec),
    /// Stop containers
    Stop(Stop),
    /// Remove stopped containers
    Rm(Remove),
    /// Show what a detached container has written
    Logs(Logs),
    /// Wait until containers end, and print their exit codes
    Wait(Wait),
    /// Publish ports of a running container
    Publish(Publish),
    /// Take published ports back
    Unpublish(Unpublish),
    /// Show where a container's ports are published
    Port(Port),
    /// List containers
    Ps(Ps),
    /// Show containers in full
    Inspect(Inspect),
    /// Tell what happens in the network, as it happens
    Events(Events),
    /// Say what this machine allows and forbids, and the line that would change it
    Doctor(Doctor),
    /// Play the whole tour with two containers, checking each step; leaves nothing behind
    Demo,
    /// Print what a shell reads to complete our words
    Completions(Completions),
    /// Print the man page: gangplank man | man -l -
    Man,
    /// Make the namespaces that a network needs, say what failed, and end; `doctor` runs it.
    #[command(hide = true)]
    ProbeNamespaces,
}

/// `completions`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

/// Why there is no command to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoCommand {
    /// Help or version was asked for: to stdout, exit 0.
    Help(String),
    /// Bad usage, one line and a hint: to stderr, exit [`BAD_USAGE`].
    Usage(String),
    /// A word in its right place that cannot be what it should: one line, exit as for any other refusal.
    Refused(String),
}

/// Reads a command line, the program's name first.
pub fn parse(words: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Cli, NoCommand> {
    let cli = Cli::try_parse_from(words).map_err(|error| explain(&error))?;
    match cli.settings().map_or(Ok(()), Settings::check) {
        Ok(()) => Ok(cli),
        Err(contradiction) => Err(NoCommand::Refused(contradiction)),
    }
}

impl Cli {
    /// What is said of a network, where the command is to start one.
    fn settings(&self) -> Option<&Settings> {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "no other command says how a network is to be"
        )]
        match &self.command {
            Command::Up(up) => Some(&up.settings),
            Command::Network(NetworkCommand::Create(create)) => Some(&create.settings),
            _ => None,
        }
    }
}

fn explain(error: &clap::Error) -> NoCommand {
    let text = error.render().to_string();
    // Exhaustive matching is not to be had: the enum is clap's, and grows.
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return NoCommand::Help(text);
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return NoCommand::Usage(text);
    }
    if matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue) {
        return NoCommand::Refused(words_of(&text).next().unwrap_or_default().replacen("error: ", "", 1));
    }
    NoCommand::Usage(condense(&text))
}

/// Whether the first word that is no option names a command that ends with the exit code of another program, so that
/// our own refusals need a code apart (cli.md: 125).
pub fn runs_a_program(words: impl IntoIterator<Item = OsString>) -> bool {
    let mut words = words.into_iter().skip(1);
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("--network" | "--runtime-dir") => drop(words.next()),
            Some(option) if option.starts_with('-') => {}
            command => return matches!(command, Some("run" | "exec")),
        }
    }
    false
}

/// clap writes paragraphs; an error of ours is one line, and its hint another: a similar word if there is one, else the usage.
fn condense(text: &str) -> String {
    let paragraphs: Vec<_> = words_of(text).collect();
    let tip = || {
        paragraphs
            .iter()
            .find_map(|line| line.strip_prefix("tip: ").filter(|tip| tip.contains("similar")))
    };
    let usage = || paragraphs.iter().find_map(|line| line.strip_prefix("Usage: "));
    let error = paragraphs.first().map_or("", String::as_str);
    match tip().or_else(usage) {
        Some(hint) => format!("{error}\nhint: {hint} (--help says more)\n"),
        None => format!("{error}\nhint: --help says more\n"),
    }
}

/// The paragraphs, each as one line.
fn words_of(text: &str) -> impl Iterator<Item = String> {
    text.split("\n\n")
        .map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn network_name(text: &str) -> Result<String, NameError> {
    name::check_network(text).map(|()| text.to_owned())
}

/// The exit code for bad usage.
pub const BAD_USAGE: u8 = 2;

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    pub(super) fn parsed(line: &str) -> Cli {
        parse(words(line)).unwrap_or_else(|error| panic!("{line}: {error:?}"))
    }

    pub(super) fn usage(line: &str) -> String {
        match parse(words(line)) {
            Err(NoCommand::Usage(text) | NoCommand::Refused(text)) => text,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn words(line: &str) -> Vec<&str> {
        std::iter::once("gangplank").chain(line.split_whitespace()).collect()
    }

    #[test]
    fn the_table_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_options_stand_before_and_after_the_command() {
        for line in ["--network blue ps", "ps --network blue"] {
            assert_eq!(parsed(line).global.network, "blue");
        }
        let cli = parsed("-vv --runtime-dir /tmp/x ps");
        assert_eq!((cli.global.verbose, cli.global.quiet), (2, false));
        assert_eq!(cli.global.runtime_dir, Some("/tmp/x".into()));
        assert!(parsed("-q ps -q").global.quiet);
        assert!(!parsed("ps -q").global.quiet);
    }

    #[test]
    fn bad_usage_is_a_line_and_a_hint() {
        assert_eq!(
            usage("ps --bogus"),
            "error: unexpected argument '--bogus' found\nhint: gangplank ps [OPTIONS] (--help says more)\n"
        );
        assert_eq!(
            usage("logs"),
            "error: the following required arguments were not provided: <NAME>\nhint: gangplank logs <NAME> (--help says more)\n"
        );
        assert!(
            usage("--network ../x ps")
                .starts_with("invalid value '../x' for '--network <NAME>': '../x' is no name for a network")
        );
        assert!(usage("nonsense").starts_with("error: unrecognized subcommand 'nonsense'"));
        assert!(usage("").contains("Usage: gangplank"));
    }

    #[test]
    fn a_bad_value_is_one_line_and_run_is_told_apart() {
        for (line, runs) in [
            ("--network blue run -p x true", true),
            ("exec a b", true),
            ("ps run", false),
            ("-v", false),
        ] {
            assert_eq!(
                runs_a_program(words(line).into_iter().map(OsString::from)),
                runs,
                "{line}"
            );
        }
        let Err(NoCommand::Refused(text)) = parse(words("run -p x true")) else {
            panic!("not refused")
        };
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn help_and_version_are_no_errors() {
        for line in ["--help", "-h", "--version", "run --help"] {
            assert!(matches!(parse(words(line)), Err(NoCommand::Help(_))), "{line}");
        }
    }
}
