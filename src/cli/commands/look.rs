//! Commands that only look: `ps`, `inspect`, `events`, `show`, `network ls`, `network inspect`, `doctor`. None starts a network.

use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::Value;

use super::{Failed, complain};
use crate::api::types::{ContainerSummary, Network};
use crate::cli::args::{Doctor, Events, Inspect, NetworkInspect, NetworkList, Ps, Show};
use crate::cli::doctor::{Facts, is_fit, judge, report};
use crate::cli::output::{self, DocumentFormat};
use crate::cli::session::{Session, SessionError};
use crate::cli::template::TemplateError;
use crate::helper::state;
use crate::sys::clock;

/// `ps`: without a network there are no containers.
pub(super) fn ps(session: &Session, ps: &Ps) -> Result<ExitCode, Failed> {
    let view = ps.view();
    // The stopped ones also where they are only what `before` or `since` counts from.
    let all = view.wants_stopped() || !view.filters.is_empty();
    let containers = or_empty(session.ask(|client| client.containers(all)))?;
    let now = clock::wall_seconds();
    write(output::ps(&containers, &view, &ps.format, session.network(), now))
}

/// `inspect`: those that are there are shown, whatever the others are.
pub(super) fn inspect(session: &Session, inspect: &Inspect) -> Result<ExitCode, Failed> {
    show_documents(&inspect.containers, &inspect.format, |name| {
        document(&session.ask_about(name, |client| client.inspect(name))?)
    })
}

/// `events`: until the network ends, or `--until`.
pub(super) fn events(session: &Session, events: &Events) -> Result<ExitCode, Failed> {
    let mut stdout = io::stdout();
    for event in session.events(events.query(clock::wall_nanos()))? {
        let event = event.map_err(SessionError::from)?;
        if event.is_gap() {
            tracing::warn!("events were lost: what reads them is too slow");
        }
        if output::is_wanted(&event, &events.filter) {
            let line = output::event(&event, &events.format).map_err(Failed::said)?;
            // Each as a whole and at once: an interrupt must not leave half of one.
            stdout.write_all(line.as_bytes())?;
            stdout.flush()?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `show`.
pub(super) fn show(session: &Session, show: &Show) -> Result<ExitCode, Failed> {
    let bridge = session.ask(|client| client.bridge())?;
    write(output::show(&[bridge], &show.format))
}

/// `network ls`: those that run.
pub(super) fn networks(session: &Session, list: &NetworkList) -> Result<ExitCode, Failed> {
    let running = state::running(session.root());
    // One that ends meanwhile is not listed.
    let networks: Vec<Network> = running
        .iter()
        .filter_map(|saved| session.sibling(&saved.name).ask(|client| client.network()).ok())
        .collect();
    write(output::networks(&networks, list.quiet, &list.format))
}

/// `network inspect`.
pub(super) fn network(session: &Session, inspect: &NetworkInspect) -> Result<ExitCode, Failed> {
    show_documents(&inspect.names, &inspect.format, |name| {
        Ok(output::network_document(
            &session.sibling(name).ask(|client| client.network())?,
        ))
    })
}

/// `doctor`: fails when no network can run here.
pub(super) fn doctor(doctor: &Doctor) -> Result<ExitCode, Failed> {
    let checks = judge(&Facts::read());
    write(report(&checks, &doctor.format))?;
    Ok(if is_fit(&checks) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn show_documents(
    names: &[String],
    format: &DocumentFormat,
    find: impl Fn(&str) -> Result<Value, Failed>,
) -> Result<ExitCode, Failed> {
    let mut found = Vec::new();
    let mut missing = false;
    for name in names {
        match find(name) {
            Ok(value) => found.push(value),
            Err(error) => {
                complain(&error);
                missing = true;
            }
        }
    }
    if !found.is_empty() {
        write(output::documents(format, &found))?;
    }
    if missing {
        Err(Failed::Reported)
    } else {
        Ok(ExitCode::SUCCESS)
    }
}

fn document(value: &impl serde::Serialize) -> Result<Value, Failed> {
    serde_json::to_value(value).map_err(Failed::said)
}

fn or_empty(listed: Result<Vec<ContainerSummary>, SessionError>) -> Result<Vec<ContainerSummary>, SessionError> {
    match listed {
        Err(SessionError::NotRunning(_)) => Ok(Vec::new()),
        other => other,
    }
}

fn write(text: Result<String, TemplateError>) -> Result<ExitCode, Failed> {
    let text = text.map_err(Failed::said)?;
    let mut stdout = io::stdout();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()?;
    Ok(ExitCode::SUCCESS)
}
