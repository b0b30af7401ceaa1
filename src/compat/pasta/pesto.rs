//! pesto: shows and changes what a running pasta forwards.
//!
//! `pesto [-s] [-A | -D | -C PIF] {-t | -u | -T | -U SPEC}… SOCKET`. Options are commands, taken in order. Until one of `-A`
//! and `-D` was said, what is named replaces a table: the first SPEC of a direction clears it. Without any command the
//! rules are listed.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use nix::errno::Errno;

use super::control::{Answer, Request};
use super::facts;
use super::rule::{Pif, Rule, Transport};
use super::spec::{self, Spec, SpecError};
use super::table::{Step, Table};
use crate::compat::getopt::{Known, Misread, Reader, Said, Takes};
use crate::compat::print;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Asked {
    steps: Vec<Step>,
    /// Some command was given, be it without effect.
    changes: bool,
    show: bool,
    debug: bool,
    socket: OsString,
}

/// Why a command line is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Refused {
    #[error("{0}")]
    Help(&'static str),
    #[error("{0}")]
    Version(String),
    #[error(transparent)]
    Misread(#[from] Misread),
    #[error("")]
    NoSocket,
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error("Unsupported pif name {0}")]
    Pif(String),
    #[error("-{0} none conflicts with previous options")]
    NoneAfter(char),
    #[error("Listening address not allowed for -{0} {1}")]
    ListenAddress(char, String),
}

/// The program: `arguments` begin with the name by which it was called.
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter();
    let name = arguments.next().unwrap_or_default();
    let arguments = arguments.collect();
    let asked = match read(arguments, facts::ephemeral_ports()) {
        Ok(asked) => asked,
        Err(Refused::Help(text)) => return print::out(text),
        Err(Refused::Version(text)) => return print::out(&text),
        Err(error @ Refused::Misread(_)) => {
            return print::err(&format!("{}: {error}\n{USAGE}", name.to_string_lossy()));
        }
        Err(Refused::NoSocket) => return print::err(USAGE),
        Err(error) => return print::err(&format!("{error}\n")),
    };
    if asked.debug {
        print::err(&format!("debug_flag=1, path={:?}\n", asked.socket));
    }
    match exchange(Path::new(&asked.socket), asked.steps) {
        Ok(Answer::Done { before, after }) => {
            let path = asked.socket.to_string_lossy();
            let text = match (asked.changes, asked.show) {
                (false, _) => listing("passt/pasta configuration", &path, &before),
                (true, true) => {
                    listing("Previous configuration", &path, &before) + &listing("Updated configuration", &path, &after)
                }
                (true, false) => String::new(),
            };
            print::out(&text)
        }
        Ok(Answer::Refused(why)) => print::err(&format!("{why}\n")),
        Err(why) => print::err(&format!("{why}\n")),
    }
}

fn exchange(socket: &Path, steps: Vec<Step>) -> Result<Answer, String> {
    let mut stream = UnixStream::connect(socket).map_err(|error| {
        let why = error.raw_os_error().map(|number| Errno::from_raw(number).desc());
        let why = why.map_or_else(|| error.to_string(), str::to_owned);
        format!("Failed to connect to {}: {why}", socket.display())
    })?;
    let failed = |error: std::io::Error| format!("No answer from {}: {error}", socket.display());
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    let mut request = serde_json::to_vec(&Request { steps }).map_err(|error| error.to_string())?;
    request.push(b'\n');
    stream.write_all(&request).map_err(failed)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).map_err(failed)?;
    serde_json::from_str(&line).map_err(|_| format!("{} is not a pasta's of ours", socket.display()))
}

fn read(arguments: Vec<OsString>, ephemeral: (u16, u16)) -> Result<Asked, Refused> {
    let mut asked = Asked::default();
    let mut mode = Mode::Replace(Vec::new());
    let mut operands = Vec::new();
    for said in Reader::new(&OPTIONS, arguments) {
        let (option, value) = match said? {
            Said::Operand(operand) => {
                operands.push(operand);
                continue;
            }
            Said::Option(option, value) => (option, value.unwrap_or_default().to_string_lossy().into_owned()),
        };
        match option {
            'h' => return Err(Refused::Help(USAGE)),
            'V' => return Err(Refused::Version(facts::version("pesto"))),
            's' => asked.show = true,
            'd' => asked.debug = true,
            'A' => mode = Mode::Add,
            'D' => mode = Mode::Delete,
            'C' => asked.steps.push(Step::Clear(pif(&value)?)),
            letter => asked
                .steps
                .extend(steps(letter, value, &mut mode, &asked.steps, ephemeral)?),
        }
        asked.changes |= !matches!(option, 's' | 'd');
    }
    match <[OsString; 1]>::try_from(operands) {
        Ok([socket]) => asked.socket = socket,
        Err(_) => return Err(Refused::NoSocket),
    }
    Ok(asked)
}

/// What a SPEC does.
enum Mode {
    /// Replaces the table; those that were cleared for it.
    Replace(Vec<Pif>),
    Add,
    Delete,
}

fn steps(
    letter: char,
    value: String,
    mode: &mut Mode,
    before: &[Step],
    ephemeral: (u16, u16),
) -> Result<Vec<Step>, Refused> {
    let (pif, protocol) = match letter {
        't' => (Pif::Host, Transport::Tcp),
        'u' => (Pif::Host, Transport::Udp),
        'T' => (Pif::Splice, Transport::Tcp),
        _ => (Pif::Splice, Transport::Udp),
    };
    let rules = match spec::parse(&value)? {
        Spec::None => {
            let adds = |step: &Step| matches!(step, Step::Add(of, rule) if (*of, rule.protocol) == (pif, protocol));
            if before.iter().any(adds) {
                return Err(Refused::NoneAfter(letter));
            }
            if !matches!(mode, Mode::Replace(_)) {
                return Ok(vec![Step::None(pif, protocol)]);
            }
            Vec::new()
        }
        Spec::Ports(ports) if pif == Pif::Splice && (ports.address, &ports.interface) != (None, &None) => {
            return Err(Refused::ListenAddress(letter, value));
        }
        Spec::Ports(ports) => ports.rules(protocol, ephemeral),
    };
    let rules = rules.into_iter().map(|rule| inside_on_loopback(pif, rule));
    Ok(match mode {
        Mode::Add => rules.map(|rule| Step::Add(pif, rule)).collect(),
        Mode::Delete => rules.map(|rule| Step::Delete(pif, rule)).collect(),
        Mode::Replace(cleared) => {
            let clear = (!cleared.contains(&pif)).then_some(Step::Clear(pif));
            cleared.extend(clear.is_some().then_some(pif));
            clear
                .into_iter()
                .chain(rules.map(|rule| Step::Add(pif, rule)))
                .collect()
        }
    })
}

fn inside_on_loopback(pif: Pif, mut rule: Rule) -> Rule {
    if pif == Pif::Splice {
        rule.interface = Some("lo".to_owned());
    }
    rule
}

fn pif(name: &str) -> Result<Pif, Refused> {
    match name {
        "HOST" => Ok(Pif::Host),
        "SPLICE" => Ok(Pif::Splice),
        _ => Err(Refused::Pif(name.to_owned())),
    }
}

fn listing(title: &str, path: &str, table: &Table) -> String {
    let mut text = format!("{title} ({path})\n");
    for pif in [Pif::Host, Pif::Splice] {
        let _ = writeln!(text, "  {pif}");
        for rule in table.of(pif) {
            let _ = writeln!(text, "    {rule}");
        }
    }
    text
}

const fn known(short: char, long: &'static str, takes: Takes) -> Known<char> {
    Known {
        long,
        short: Some(short),
        takes,
        key: short,
    }
}

const OPTIONS: [Known<char>; 11] = [
    known('d', "debug", Takes::Nothing),
    known('h', "help", Takes::Nothing),
    known('s', "show", Takes::Nothing),
    known('A', "add", Takes::Nothing),
    known('D', "delete", Takes::Nothing),
    known('C', "clear", Takes::Value),
    known('t', "tcp-ports", Takes::Value),
    known('u', "udp-ports", Takes::Value),
    known('T', "tcp-ns", Takes::Value),
    known('U', "udp-ns", Takes::Value),
    Known {
        long: "version",
        short: None,
        takes: Takes::Nothing,
        key: 'V',
    },
];

/// What it can be asked for.
const USAGE: &str = "\
Usage: pesto [OPTION]... PATH

Shows and changes what the pasta forwards whose -c PATH it is.

  -A, --add             the specifiers that follow are added
  -D, --delete          the specifiers that follow are deleted
  -C, --clear PIF       forget all rules of PIF, HOST or SPLICE
  -t, --tcp-ports SPEC  TCP from the host into the namespace; as pasta's
  -u, --udp-ports SPEC  UDP from the host into the namespace
  -T, --tcp-ns SPEC     TCP from the namespace's loopback to the host's
  -U, --udp-ns SPEC     UDP from the namespace's loopback to the host's
  -s, --show            list the rules before and after
  -d, --debug           say more
  -h, --help            this text
  --version             which pesto this is

Without -A and -D specifiers replace the rules of their PIF.
Without any command the rules are listed.
";

/// Binding every port there is takes a second or two.
const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Result<Asked, String> {
        let words = line.split_whitespace().map(OsString::from).collect();
        read(words, (32_768, 60_999)).map_err(|error| error.to_string())
    }

    fn after(table: &Table, line: &str) -> Table {
        table.after(&asked(line).unwrap().steps).unwrap()
    }

    fn shown(table: &Table) -> String {
        listing("passt/pasta configuration", "/s", table)
    }

    #[test]
    fn lists_as_the_original() {
        let table = after(
            &Table::default(),
            "-A -t 18082:80,18083-18090:1083-1090 -u 127.0.0.1/5353 -T 9000 /s",
        );
        assert_eq!(
            shown(&table),
            "passt/pasta configuration (/s)\n  HOST\n    TCP [*]:18082  =>  80 \n    \
             TCP [*]:18083-18090  =>  1083-1090 \n    UDP [127.0.0.1]:5353  =>  5353 \n  SPLICE\n    \
             TCP [*]%lo:9000  =>  9000 \n"
        );
    }

    #[test]
    fn commands_are_taken_in_order() {
        let table = after(&Table::default(), "-A -t 2000 -C HOST -A -T 3000 -t 2001 -D -u 5000 /s");
        assert_eq!(
            shown(&table),
            "passt/pasta configuration (/s)\n  HOST\n    TCP [*]:2001  =>  2001 \n  SPLICE\n    TCP [*]%lo:3000  =>  3000 \n"
        );
        let replaced = after(&table, "-t 1 -u 2 /s");
        assert_eq!(replaced.host.len(), 2);
        assert_eq!(replaced.splice, table.splice, "the other table stays");
        assert_eq!(after(&replaced, "-t none /s").host, []);
        assert_eq!(after(&table, "-A -t 2001 /s"), table, "adding twice");
        assert_eq!(after(&table, "-D -t 9 /s"), table, "deleting nothing");
        assert_eq!(
            after(&table, "-A -u none -U none /s"),
            table,
            "none where there are none"
        );
        let refused = table.after(&asked("-A -t none /s").unwrap().steps).unwrap_err();
        assert_eq!(refused.to_string(), "-t none conflicts with previous options");
        assert_eq!(after(&table, "-C HOST -A -t none /s").host, []);
    }

    #[test]
    fn containers_libs_command_lines() {
        let table = after(
            &Table::default(),
            "--add -t 0.0.0.0/8080 -t [::]/8080 -u 127.0.0.1/53 -t [::1]/90-92 /s",
        );
        assert_eq!(table.host.len(), 4);
        let table = after(
            &table,
            "--delete -t 0.0.0.0/8080 -t [::]/8080 -u 127.0.0.1/53 -t [::1]/90-92 /s",
        );
        assert_eq!(table, Table::default());
    }

    #[test]
    fn what_is_refused() {
        for (line, words) in [
            ("-C host /s", "Unsupported pif name host"),
            ("-t 99999 /s", "Invalid port specifier '99999'"),
            ("-A -t 80 -t none /s", "-t none conflicts with previous options"),
            (
                "-T 127.0.0.1/80 /s",
                "Listening address not allowed for -T 127.0.0.1/80",
            ),
            ("--bogus /s", "unrecognized option '--bogus'"),
            ("", ""),
            ("a b", ""),
        ] {
            assert_eq!(asked(line).unwrap_err(), words, "{line}");
        }
        assert!(!asked("-s /s").unwrap().changes && asked("-t none /s").unwrap().changes);
    }
}
