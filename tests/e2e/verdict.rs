//! How a case ends: done, failed with a text, or impossible on this machine with the reason.

use std::fmt::Display;

/// What a case returns.
pub(crate) type Outcome<T = ()> = Result<T, Trouble>;

/// Why a case did not pass.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Something is not as it must be.
    Failed(String),
    /// This machine does not allow the case; counted and shown, never a pass.
    Impossible(String),
}

/// Any error of a tool that the case uses fails the case.
impl<E: std::error::Error> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self::Failed(format!("{error:?}"))
    }
}

/// Fails the case with a formatted text.
macro_rules! fail {
    ($($text:tt)*) => { return Err($crate::verdict::Trouble::Failed(format!($($text)*))) };
}
pub(crate) use fail;

/// Fails the case unless both are equal.
pub(crate) fn same<A: PartialEq<B> + std::fmt::Debug, B: std::fmt::Debug>(
    what: impl Display,
    got: A,
    wanted: B,
) -> Outcome {
    if got != wanted {
        fail!("{what}\n    got:    {got:?}\n    wanted: {wanted:?}");
    }
    Ok(())
}

/// Fails the case unless `text` contains `part`.
pub(crate) fn contains(what: impl Display, text: &str, part: &str) -> Outcome {
    if !text.contains(part) {
        fail!("{what}: no {part:?} in\n{text}");
    }
    Ok(())
}

/// Fails the case unless it holds.
pub(crate) fn holds(what: impl Display, condition: bool) -> Outcome {
    if !condition {
        fail!("{what}: it does not");
    }
    Ok(())
}
