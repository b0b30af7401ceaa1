//! Saying something to whoever started us, who may have closed the stream.

use std::io::{self, Write};
use std::process::ExitCode;

/// To standard output, and well.
pub fn out(text: &str) -> ExitCode {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    ExitCode::SUCCESS
}

/// To standard error, and not well.
pub fn err(text: &str) -> ExitCode {
    // In one piece, and past what is locked by others.
    let _ = io::stderr().write_all(text.as_bytes());
    ExitCode::FAILURE
}
