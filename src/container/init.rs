//! The init stage (`gangplank init FD COMMAND…`): enters the namespaces, waits for leave, becomes the command.
//!
//! It prints nothing: whatever fails goes back over the channel, and the monitor says it once. Should the monitor die
//! or give up, the channel ends and so does this. Its environment is the command's already. Called by `main`.

use std::ffi::OsString;
use std::io;

use super::channel::{Channel, Go, Order, Report};
use super::{Failure, OUR_FAILURE, command, namespaces};

/// Runs the stage with the arguments behind `init`; returns, with the exit code,
/// only if the command did not start.
pub fn main(mut arguments: impl Iterator<Item = OsString>) -> u8 {
    let Ok(mut channel) = Channel::adopt(arguments.next()) else {
        return OUR_FAILURE;
    };
    match become_command(&mut channel, &arguments.collect::<Vec<_>>()) {
        Ok(Some(failure)) => {
            // Without a monitor nobody is left to be told.
            let _ = channel.send(&Report::Failed(failure.clone()));
            failure.code
        }
        Ok(None) | Err(_) => OUR_FAILURE,
    }
}

/// What stopped it; `None` when the monitor gave up.
fn become_command(channel: &mut Channel, argv: &[OsString]) -> io::Result<Option<Failure>> {
    let Some(order) = channel.receive::<Order>()? else {
        return Ok(None);
    };
    // Entering namespaces moves the working directory, by descriptor, to where its path may not lead any more.
    let here = std::env::current_dir().ok();
    if let Err(failure) = namespaces::enter(&order.place) {
        return Ok(Some(failure));
    }
    channel.send(&Report::Ready)?;
    let Some(Go) = channel.receive()? else {
        return Ok(None);
    };
    Ok(Some(command::exec(&order, here, argv)))
}
