//! The numbers for ports that are published without one: the next after the last, wrapping, as Docker since 1.1 does.

use std::ops::RangeInclusive;

/// What comes next.
#[derive(Debug, Clone)]
pub struct AutoPorts {
    /// Sorted, and apart from each other.
    reserved: Vec<RangeInclusive<u16>>,
    last: u16,
}

impl Default for AutoPorts {
    /// From the first of Docker's own range.
    fn default() -> Self {
        Self {
            reserved: Vec::new(),
            last: *DOCKERS.end(),
        }
    }
}

impl AutoPorts {
    /// Leaves out what the host reserves for itself.
    pub fn reserve(&mut self, mut reserved: Vec<RangeInclusive<u16>>) {
        reserved.retain(|range| !range.is_empty());
        reserved.sort_unstable_by_key(|range| *range.start());
        self.reserved.clear();
        for range in reserved {
            match self.reserved.last_mut().filter(|last| range.start() <= last.end()) {
                Some(last) => *last = *last.start()..=*last.end().max(range.end()),
                None => self.reserved.push(range),
            }
        }
    }

    /// The next number that is not reserved and that `is_free` lets pass; `None` after a whole turn without one.
    pub fn next_candidate(&mut self, is_free: impl Fn(u16) -> bool) -> Option<u16> {
        for _ in DOCKERS {
            self.last = if self.last >= *DOCKERS.end() {
                *DOCKERS.start()
            } else {
                self.last + 1
            };
            if !self.is_reserved(self.last) && is_free(self.last) {
                return Some(self.last);
            }
        }
        None
    }

    fn is_reserved(&self, port: u16) -> bool {
        let after = self.reserved.partition_point(|range| *range.start() <= port);
        self.reserved[..after].last().is_some_and(|range| range.contains(&port))
    }
}

/// `ip_local_reserved_ports` of the kernel: `8080,9148-9150`. What cannot be read reserves nothing.
pub fn parse_reserved(text: &str) -> Vec<RangeInclusive<u16>> {
    let parse = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    text.trim().split(',').filter_map(parse).collect()
}

/// RFC 6335 calls 49152 up dynamic; Docker has begun one above since its first port allocator.
const DOCKERS: RangeInclusive<u16> = 49153..=65535;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn automatic_ports_go_on_after_the_last_and_wrap() {
        let mut auto = AutoPorts::default();
        auto.reserve(parse_reserved("49154,49156-49158\n"));
        let first: Vec<_> = (0..3).filter_map(|_| auto.next_candidate(|_| true)).collect();
        assert_eq!(first, [49153, 49155, 49159]);
        auto.last = 65534;
        let wrapped: Vec<_> = (0..2).filter_map(|_| auto.next_candidate(|_| true)).collect();
        assert_eq!(wrapped, [65535, 49153]);
    }

    #[test]
    fn taken_numbers_are_passed_over_and_a_full_range_ends() {
        let mut auto = AutoPorts::default();
        assert_eq!(auto.next_candidate(|port| port > 50_000), Some(50_001));
        assert_eq!(auto.next_candidate(|_| false), None);
        assert_eq!(
            auto.next_candidate(|_| true),
            Some(50_002),
            "a fruitless turn ends where it began"
        );
    }

    #[test]
    #[expect(clippy::reversed_empty_ranges, reason = "what a file may say")]
    fn what_is_reserved_may_overlap() {
        let mut auto = AutoPorts::default();
        auto.reserve(vec![
            50_000..=60_000,
            49_153..=49_990,
            49_155..=49_156,
            7..=3,
            49_990..=50_010,
        ]);
        assert_eq!(auto.reserved, [49_153..=60_000]);
        assert_eq!(auto.next_candidate(|_| true), Some(60_001));
        auto.reserve(Vec::new());
        assert_eq!(auto.next_candidate(|_| true), Some(60_002));
    }

    #[test]
    fn reserved_ports_are_the_kernels_words() {
        assert_eq!(parse_reserved("8080,9148-9150\n"), [8080..=8080, 9148..=9150]);
        assert!(parse_reserved("\n").is_empty());
        assert_eq!(parse_reserved("x,80,99999"), [80..=80]);
    }
}
