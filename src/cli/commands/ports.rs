//! `publish`, `unpublish` and `port`.

use std::io::{self, Write};
use std::process::ExitCode;

use super::Failed;
use crate::cli::args::{Port, Publish, Unpublish};
use crate::cli::output::{self, Format};
use crate::cli::session::Session;

/// `publish`: prints what was bound, as `port` does.
pub(super) fn publish(session: &Session, publish: &Publish) -> Result<ExitCode, Failed> {
    let bound = session.ask_about(&publish.container, |client| {
        client.publish(&publish.container, &publish.request())
    })?;
    io::stdout().write_all(output::port_lines(&bound).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// `unpublish`.
pub(super) fn unpublish(session: &Session, unpublish: &Unpublish) -> Result<ExitCode, Failed> {
    session.ask_about(&unpublish.container, |client| {
        client.unpublish(&unpublish.container, &unpublish.request())
    })?;
    Ok(ExitCode::SUCCESS)
}

/// `port`.
pub(super) fn port(session: &Session, port: &Port) -> Result<ExitCode, Failed> {
    let mappings = session.ask_about(&port.container, |client| client.ports(&port.container))?;
    let plain = output::port(&port.container, &mappings, port.port).map_err(Failed::said)?;
    let text = match &port.format {
        Format::Table => plain,
        format @ (Format::Json | Format::Template(_) | Format::TableTemplate(_)) => {
            output::port_list(&mappings, port.port, format).map_err(Failed::said)?
        }
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
