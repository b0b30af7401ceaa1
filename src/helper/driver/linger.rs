//! Whether to stay awake for what comes next.
//!
//! A processor that has gone idle takes some microseconds to come back, in a virtual machine tens of them, and an answer
//! passes us twice. So a worker looks for events a little longer before it sleeps, as long as that has paid: whoever
//! talks to a service near by gets his answers in half the time, and a worker that waits for slower things sleeps at
//! once. The kernel's halt polling does the same below us (Documentation/virt/guest-halt-polling.rst), where it is on.

use smoltcp::time::Duration;

/// How long to stay, and what was learned about it.
#[derive(Debug)]
pub(super) struct Linger {
    stay: Duration,
    /// Nobody else could run meanwhile.
    never: bool,
}

impl Linger {
    /// With one processor, staying keeps off it whoever is waited for.
    pub(super) fn new(processors: usize) -> Self {
        Self {
            stay: Duration::ZERO,
            never: processors < 2,
        }
    }

    /// How long to look for events before sleeping.
    pub(super) fn stay(&self) -> Duration {
        self.stay
    }

    /// Something came after `waited`, whether we had stayed for it or slept.
    pub(super) fn learn(&mut self, waited: Duration) {
        self.stay = if waited <= LONGEST && !self.never {
            LONGEST
        } else if self.stay > SHORTEST {
            self.stay / 2
        } else {
            Duration::ZERO
        };
    }
}

/// A request over loopback to a service that was asleep, and its answer.
const LONGEST: Duration = Duration::from_micros(50);

/// Below this it is not worth the while.
const SHORTEST: Duration = Duration::from_micros(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_while_it_pays() {
        let mut linger = Linger::new(2);
        assert_eq!(linger.stay(), Duration::ZERO);
        linger.learn(Duration::from_micros(30));
        assert_eq!(linger.stay(), LONGEST);
        linger.learn(Duration::from_millis(1));
        assert_eq!(linger.stay(), LONGEST / 2, "one that was late is forgiven");
        linger.learn(Duration::from_micros(50));
        assert_eq!(linger.stay(), LONGEST);
        for _ in 0..4 {
            linger.learn(Duration::from_millis(1));
        }
        assert_eq!(linger.stay(), Duration::ZERO);
    }

    #[test]
    fn never_in_the_way_of_whom_it_waits_for() {
        let mut linger = Linger::new(1);
        linger.learn(Duration::from_micros(1));
        assert_eq!(linger.stay(), Duration::ZERO);
    }
}
