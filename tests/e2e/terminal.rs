//! `run` and `exec` on a terminal.

use crate::cases;
use crate::host::Host;
use crate::verdict::{Outcome, contains};

cases![
    a_command_has_the_terminal,
    control_c_reaches_the_command,
    exec_has_the_terminal
];

fn a_command_has_the_terminal(host: &Host) -> Outcome {
    let said = on_terminal(
        host,
        "ready",
        "word\\n",
        "run --rm -- sh -c 'test -t 0 && test -t 1 && echo ready && read line && echo got $line'",
    )?;
    contains("a terminal that is read", &said, "got word")?;
    contains("exit code", &said, "ended with 0")
}

fn control_c_reaches_the_command(host: &Host) -> Outcome {
    let said = on_terminal(host, "ready", "\\x03", "run --rm -- sh -c 'echo ready; exec sleep 100'")?;
    contains("128 + SIGINT", &said, "ended with 130")
}

fn exec_has_the_terminal(host: &Host) -> Outcome {
    host.gangplank("run -d --name box -- sleep 100")?.ok()?;
    let said = on_terminal(
        host,
        "ready",
        "\\x03",
        "exec box -- sh -c 'test -t 0 && echo ready; exec sleep 100'",
    )?;
    contains("128 + SIGINT", &said, "ended with 130")
}

/// Runs `gangplank` on a pseudo-terminal and types `keys` when it has said `expect`.
fn on_terminal(host: &Host, expect: &str, keys: &str, line: &str) -> Outcome<String> {
    host.user(&format!(
        "{} {line}",
        host.peer(&format!("tty {expect} {keys} {}", host.binary()))
    ))?
    .ok()
}
