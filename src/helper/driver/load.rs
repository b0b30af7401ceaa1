//! What a worker carries, as far as others have to know: whether there is enough for several.
//!
//! Connections that are there are counted, for a stream is to find the worker that it will keep before it has moved a
//! byte. Those that only pass by, asked, answered and over within milliseconds, are many at any moment and little to
//! carry: shared out, each wakes one sleeping thread after the other for a few packets. They count as long as they
//! stay, or when the worker has no time left and the machine has: with two processors, the second is the talking programs'.

use smoltcp::time::{Duration, Instant};

/// The connections of one worker by their age, and how busy it is.
#[derive(Debug)]
pub(super) struct Load {
    /// When this window began, and how much processor time the thread had used by then.
    began: Instant,
    used: Duration,
    /// Its number.
    window: u32,
    /// Going on: begun in this window, in the one before, and earlier.
    young: usize,
    recent: usize,
    settled: usize,
    /// Over since this window began.
    over: usize,
    /// In the last window connections only passed by.
    passing: bool,
    /// In the last window there was no time left.
    full: bool,
    /// A second worker would take the time of those who talk.
    crowded: bool,
}

/// When a connection began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Born(u32);

impl Load {
    /// Of a worker without connections on a machine of so many processors.
    pub(super) fn new(processors: usize) -> Self {
        Self {
            began: Instant::ZERO,
            used: Duration::ZERO,
            window: 0,
            young: 0,
            recent: 0,
            settled: 0,
            over: 0,
            passing: false,
            full: false,
            crowded: processors <= CROWDED,
        }
    }

    /// A connection begins.
    pub(super) fn begin(&mut self) -> Born {
        self.young += 1;
        Born(self.window)
    }

    /// It is over, or ends.
    pub(super) fn end(&mut self, Born(window): Born) {
        let age = match self.window.wrapping_sub(window) {
            0 => &mut self.young,
            1 => &mut self.recent,
            _ => &mut self.settled,
        };
        *age = age.saturating_sub(1);
        self.over += 1;
    }

    /// Begins a new window if it is time to; `used` tells the processor time of this thread.
    pub(super) fn look(&mut self, now: Instant, used: impl FnOnce() -> Duration) {
        let passed = now - self.began;
        if passed < WINDOW {
            return;
        }
        let used = used();
        // Little's law: those that are going on, each as long as it lives, are as many as come in that time.
        let lived = passed * u32::try_from(self.going()).unwrap_or(u32::MAX);
        self.passing = self.over >= SOME && lived <= BRIEF * u32::try_from(self.over).unwrap_or(u32::MAX);
        self.full = (used - self.used) * 100 >= passed * FULL;
        (self.began, self.used) = (now, used);
        self.window = self.window.wrapping_add(1);
        self.settled += self.recent;
        self.recent = std::mem::take(&mut self.young);
        self.over = 0;
    }

    /// How many connections are to be carried.
    pub(super) fn carried(&self) -> usize {
        if self.is_passing() { self.settled } else { self.going() }
    }

    /// Connections only pass by, and one worker is to carry them.
    pub(super) fn is_passing(&self) -> bool {
        self.passing && (self.crowded || !self.full)
    }

    fn going(&self) -> usize {
        self.young + self.recent + self.settled
    }
}

/// Long enough that a connection that outlives two of them does not only pass by.
const WINDOW: Duration = Duration::from_millis(20);

/// Whoever lives shorter passes by.
const BRIEF: Duration = Duration::from_millis(10);

/// As many must have passed by, or it says nothing.
const SOME: usize = 8;

/// With so many processors or fewer, one worker and the programs that talk have enough to do with each other.
const CROWDED: usize = 2;

/// Per cent of its time that a worker without time left runs.
const FULL: u32 = 85;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Instant {
        Instant::from_millis(millis)
    }

    /// Sixteen at a time, a hundred in each window.
    fn passers_by(load: &mut Load, from: u32, until: u32, used: impl Fn(u32) -> u32) {
        for millis in (from..until).step_by(20) {
            load.look(at(millis.into()), || Duration::from_millis(used(millis).into()));
            let mut going: Vec<Born> = (0..16).map(|_| load.begin()).collect();
            for _ in 0..100 {
                load.end(going.remove(0));
                going.push(load.begin());
            }
            going.into_iter().for_each(|born| load.end(born));
        }
    }

    #[test]
    fn streams_count_from_their_beginning() {
        let mut load = Load::new(2);
        let born: Vec<Born> = (0..4).map(|_| load.begin()).collect();
        assert_eq!(load.carried(), 4);
        for millis in 1..100 {
            load.look(at(millis), || Duration::ZERO);
            assert_eq!(load.carried(), 4);
        }
        born.into_iter().for_each(|born| load.end(born));
        assert_eq!(load.carried(), 0);
    }

    #[test]
    fn passers_by_count_only_where_there_is_no_time_left() {
        let mut load = Load::new(4);
        let stream = load.begin();
        passers_by(&mut load, 0, 200, |_| 0);
        load.look(at(200), || Duration::ZERO);
        let passer = load.begin();
        assert_eq!(load.carried(), 1, "the stream");
        load.end(passer);
        passers_by(&mut load, 220, 400, |millis| millis);
        load.look(at(400), || Duration::from_millis(400));
        let passer = load.begin();
        assert_eq!(load.carried(), 2, "no time is left");
        load.crowded = true;
        assert_eq!(load.carried(), 1, "nor any processor");
        load.end(passer);
        load.end(stream);
        load.look(at(1000), || Duration::from_millis(400));
        assert_eq!(load.carried(), 0);
    }

    #[test]
    fn what_comes_after_a_pause_is_judged_anew() {
        let mut load = Load::new(2);
        passers_by(&mut load, 0, 200, |_| 0);
        load.look(at(200), || Duration::ZERO);
        let _streams: Vec<Born> = (0..4).map(|_| load.begin()).collect();
        load.look(at(5000), || Duration::ZERO);
        assert_eq!(load.carried(), 4);
    }
}
