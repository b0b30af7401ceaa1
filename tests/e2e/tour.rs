//! `gangplank demo`: the tour on a machine with nothing.

use crate::cases;
use crate::host::Host;
use crate::process::PATIENCE;
use crate::verdict::{Outcome, contains};

cases![demo_succeeds_and_leaves_nothing];

fn demo_succeeds_and_leaves_nothing(host: &Host) -> Outcome {
    let told = host.gangplank("demo")?.ok()?;
    for step in ["gangplank run", "gangplank port", "gangplank inspect"] {
        contains("the tour", &told, step)?;
    }
    host.nothing_left(PATIENCE)
}
