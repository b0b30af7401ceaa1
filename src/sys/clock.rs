//! The clocks: the one place that reads them.
//!
//! The core takes time as an argument; the shell asks here. Never compare [`now`] with [`wall_seconds`].

#![expect(
    clippy::disallowed_methods,
    reason = "this is the place that the lint's message names"
)]

use std::sync::LazyLock;
use std::time::{Instant as StdInstant, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};
use smoltcp::time::{Duration, Instant};

/// Time since this process first asked, on the monotonic clock: it neither jumps nor runs backwards, and it stands
/// still while the machine is suspended (CLOCK_MONOTONIC).
pub fn now() -> Instant {
    let micros = START.elapsed().as_micros();
    Instant::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
}

/// Processor time that this thread has used (CLOCK_THREAD_CPUTIME_ID).
pub fn thread_time() -> Duration {
    let used = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(std::time::Duration::from);
    used.unwrap_or_default().into()
}

/// Seconds since the epoch on the wall clock, for people to read; 0 if the clock stands before 1970.
pub fn wall_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Nanoseconds since the epoch on the wall clock, for events; 0 if the clock stands before 1970.
pub fn wall_nanos() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// Seconds since the epoch, as far as 32 bits hold them, and microseconds, for records of other programs' formats.
pub fn wall() -> (u32, u32) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (
        u32::try_from(since.as_secs()).unwrap_or(u32::MAX),
        since.subsec_micros(),
    )
}

static START: LazyLock<StdInstant> = LazyLock::new(StdInstant::now);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_forwards() {
        let first = now();
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(now() - first >= Duration::from_millis(2));
        assert!(wall_seconds() > 1_700_000_000);
        assert!(wall_nanos() / 1_000_000_000 >= wall_seconds() - 1);
    }
}
