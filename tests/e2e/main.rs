//! End-to-end tests: the real binary, real programs, real packets.
//!
//! Every case runs in a host of its own: new network, mount and process-id namespaces in which the case is root and
//! `gangplank` is run by an *unprivileged user* that has no entry in /etc/passwd or /etc/subuid. Traffic, routes,
//! listeners and sysctls are therefore private, cases run side by side, and when a case ends the kernel kills
//! whatever it left (after the case has been failed for leaving it). How a case becomes root and user depends on the caller:
//!
//! | caller | the case's root | the user of `gangplank` | /dev/net/tun |
//! | --- | --- | --- | --- |
//! | root | root | uid 61000, by `setpriv` | a node of its own with mode 0666 |
//! | anybody else | uid 0 of a new user namespace | uid 61000 of a user namespace nested in it | the machine's, if it is open to the caller |
//!
//! Process tree of one case: `e2e` (the runner) → `unshare` → `e2e --init` (process 1, reaps orphans) → `e2e --case`.
//! What this machine does not allow (no user namespaces, no /dev/net/tun, a program that is missing) makes a case
//! *ignored with the reason*, which libtest-mimic prints and counts; a case never passes without having run.
//!
//! `cargo test --test e2e -- NAME` runs some; a failure prints every command with its output, and all logs. With
//! `GANGPLANK_E2E_AGAIN=N` as many failed cases are played once more, and shown with an `again:` either way.
#![allow(clippy::print_stdout, reason = "the transcript of a case is its standard output")]

mod ground;
mod host;
mod json;
mod process;
mod runner;
mod verdict;

mod attach;
mod bulk;
mod chain;
mod changes;
mod classic;
mod containers;
mod dhcp;
mod dns;
mod endings;
mod errors;
mod events;
mod faults;
mod fragments;
mod handling;
mod inbound;
mod lifecycle;
mod limits;
mod links;
mod looking;
mod names;
mod neighbours;
mod outbound;
mod pasta;
mod policy;
mod ports;
mod refusals;
mod requests;
mod resets;
mod scale;
mod slirp4netns;
mod terminal;
mod threads;
mod tour;
mod uplinks;
mod v6;

use std::process::ExitCode;

use crate::host::Host;
use crate::verdict::Outcome;

/// One test: its name and what it does on a host of its own.
type Case = (&'static str, fn(&Host) -> Outcome);

/// Lists the cases of a module under their functions' names.
macro_rules! cases {
    ($($case:ident),* $(,)?) => {
        pub(crate) const CASES: &[$crate::Case] = &[$((concat!(module_path!(), "::", stringify!($case)), $case)),*];
    };
}
pub(crate) use cases;

fn main() -> ExitCode {
    // Whoever runs the tests in the background may have the terminal's signals ignored, and so would all that we start.
    gangplank::sys::process::default_signals();
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some(runner::INIT) => runner::init(&arguments[2..]),
        Some(runner::CASE) => runner::case(&arguments[2..], &all()),
        _ => runner::run(&all()),
    }
}

/// Every case, the long ones first so that they do not come alone at the end.
fn all() -> Vec<Case> {
    [
        bulk::CASES,
        uplinks::CASES,
        threads::CASES,
        scale::CASES,
        ground::CASES,
        tour::CASES,
        classic::CASES,
        inbound::CASES,
        ports::CASES,
        outbound::CASES,
        names::CASES,
        dns::CASES,
        v6::CASES,
        slirp4netns::CASES,
        neighbours::CASES,
        policy::CASES,
        containers::CASES,
        terminal::CASES,
        attach::CASES,
        dhcp::CASES,
        pasta::CASES,
        lifecycle::CASES,
        endings::CASES,
        errors::CASES,
        faults::CASES,
        fragments::CASES,
        handling::CASES,
        looking::CASES,
        events::CASES,
        refusals::CASES,
        requests::CASES,
        resets::CASES,
        links::CASES,
        limits::CASES,
        changes::CASES,
    ]
    .concat()
}
