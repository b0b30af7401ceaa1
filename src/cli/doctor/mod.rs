//! `doctor`: what this machine allows and forbids, and the line that would change it.
//!
//! Three steps: [`Facts::read`] looks and changes nothing, [`judge()`] says what it means, [`report`] prints it. Only
//! reading touches the system; the judgement is a pure function with a table of machines as its tests.

mod facts;
mod judge;
mod probe;

use serde_json::json;

pub use facts::{Facts, OpenFailure, RuntimeDir};
pub use judge::judge;
pub use probe::{ProbeError, probe_namespaces};

use super::output::{Column, Format, list};
use super::template::TemplateError;

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How it is.
    pub state: State,
    /// What that means.
    pub meaning: String,
    /// The line that changes it, where one does.
    pub fix: Option<String>,
}

/// How a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Nothing is missing.
    Ok,
    /// Works, but for what the finding names.
    Limited,
    /// Nothing works without.
    Forbidden,
}

/// Whether networks can run here at all: the exit code of `doctor`.
pub fn is_fit(checks: &[Check]) -> bool {
    checks.iter().all(|check| check.state != State::Forbidden)
}

/// The output of `doctor`. The table has no columns for the lines to type: each stands whole below its finding.
pub fn report(checks: &[Check], format: &Format) -> Result<String, TemplateError> {
    if *format == Format::Table {
        return Ok(checks.iter().map(lines).collect());
    }
    let row = |check: &Check| {
        json!({
            "Check": check.name,
            "State": check.state.word(),
            "Meaning": check.meaning,
            "Fix": check.fix.clone().unwrap_or_default(),
        })
    };
    list(format, COLUMNS, &checks.iter().map(row).collect::<Vec<_>>())
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Limited => "limited",
            Self::Forbidden => "forbidden",
        }
    }
}

fn lines(check: &Check) -> String {
    let mut lines = format!("{:<12}{:<18}{}\n", check.state.word(), check.name, check.meaning);
    if let Some(fix) = &check.fix {
        lines.push_str(&format!("{:<30}→ {fix}\n", ""));
    }
    lines
}

const COLUMNS: &[Column] = &[
    Column {
        key: "Check",
        head: "CHECK",
        shown: true,
    },
    Column {
        key: "State",
        head: "STATE",
        shown: true,
    },
    Column {
        key: "Meaning",
        head: "MEANING",
        shown: true,
    },
    Column {
        key: "Fix",
        head: "FIX",
        shown: true,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn checks() -> Vec<Check> {
        let check = |name, state, fix: Option<&str>| Check {
            name,
            state,
            meaning: "so it is".into(),
            fix: fix.map(str::to_owned),
        };
        vec![
            check("tun", State::Ok, None),
            check("ping", State::Limited, Some("sudo sysctl")),
        ]
    }

    #[test]
    fn the_line_to_type_stands_below_its_finding() {
        let expected = "\
ok          tun               so it is
limited     ping              so it is
                              → sudo sysctl
";
        assert_eq!(report(&checks(), &Format::Table).unwrap(), expected);
    }

    #[test]
    fn json_and_templates() {
        let json = report(&checks(), &Format::Json).unwrap();
        assert_eq!(
            json.lines().next(),
            Some(r#"{"Check":"tun","State":"ok","Meaning":"so it is","Fix":""}"#)
        );
        assert_eq!(
            report(&checks(), &"{{.Check}}={{.State}}".parse().unwrap()).unwrap(),
            "tun=ok\nping=limited\n"
        );
    }

    #[test]
    fn only_what_is_forbidden_makes_unfit() {
        let mut checks = checks();
        assert!(is_fit(&checks));
        checks[0].state = State::Forbidden;
        assert!(!is_fit(&checks));
    }
}
