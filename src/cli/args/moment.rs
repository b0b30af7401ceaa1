//! Points in time as `--since` and `--until` have them: Docker's three ways to say one.

use std::str::FromStr;

/// A point in time as it was typed; a duration means so long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Nanoseconds since the epoch.
    At(u64),
    /// Nanoseconds before now.
    Ago(u64),
}

/// A text that is no point in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write a date like 2026-11-25T18:00:00Z, seconds since 1970, or a duration like 10m for so long ago")]
pub struct MomentError;

impl Moment {
    /// Nanoseconds since the epoch, where `now` is so many.
    pub fn nanos(self, now: u64) -> u64 {
        match self {
            Self::At(nanos) => nanos,
            Self::Ago(nanos) => now.saturating_sub(nanos),
        }
    }
}

impl FromStr for Moment {
    type Err = MomentError;

    fn from_str(text: &str) -> Result<Self, MomentError> {
        let at = || seconds(text).or_else(|| date(text)).map(Self::At);
        duration(text).map(Self::Ago).or_else(at).ok_or(MomentError)
    }
}

/// `1764093600`, `1764093600.25`.
fn seconds(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    whole_number(whole)?.checked_mul(SECOND)?.checked_add(nanos(fraction)?)
}

/// Go's durations: `1h30m`, `1.5h`, `300ms`.
fn duration(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total = 0_u64;
    while !rest.is_empty() {
        let number = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
        let (number, after) = rest.split_at_checked(number)?;
        let unit = after.len() - after.trim_start_matches(|c: char| c.is_alphabetic()).len();
        let (unit, after) = after.split_at_checked(unit)?;
        let (_, length) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let part = u128::from(nanos(fraction)?) * u128::from(*length) / u128::from(SECOND);
        total = total
            .checked_add(whole_number(whole)?.checked_mul(*length)?)?
            .checked_add(u64::try_from(part).ok()?)?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

/// RFC 3339, whose time, seconds, fraction and zone may be missing: then they are midnight, and UTC, as our output is.
fn date(text: &str) -> Option<u64> {
    let (day, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let (time, zone) = match time.find(['Z', 'z', '+', '-']) {
        Some(at) => time.split_at_checked(at)?,
        None => (time, "Z"),
    };
    let mut parts = day.split('-').map(whole_number);
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut units = clock.split(':').map(whole_number);
    let (hour, minute, second) = (units.next()??, units.next()??, units.next().unwrap_or(Some(0))?);
    let sane = (1970..10_000).contains(&year) && hour < 24 && minute < 60 && second < 61;
    if !sane || parts.next().is_some() || units.next().is_some() {
        return None;
    }
    let days = days(year, month, day)?;
    let local = days * 24 * 3600 + hour * 3600 + minute * 60 + second;
    let utc = i64::try_from(local).ok()?.checked_sub(offset(zone)?)?;
    u64::try_from(utc)
        .ok()?
        .checked_mul(SECOND)?
        .checked_add(nanos(fraction)?)
}

/// `Z`, `+01:00`: seconds east of Greenwich.
fn offset(zone: &str) -> Option<i64> {
    if matches!(zone, "Z" | "z") {
        return Some(0);
    }
    let (sign, rest) = zone.split_at_checked(1)?;
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes) = (whole_number(hours)?, whole_number(minutes)?);
    let seconds = i64::try_from(hours * 3600 + minutes * 60).ok()?;
    (hours < 24 && minutes < 60).then_some(if sign == "-" { -seconds } else { seconds })
}

/// Days from 1970 to a day of the Gregorian calendar.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let index = usize::try_from(month.checked_sub(1)?).ok()?;
    let length = lengths.get(index)?;
    let years: u64 = (1970..year).map(|year| 365 + u64::from(leap(year))).sum();
    let months: u64 = lengths.iter().take(index).sum();
    (1..=*length).contains(&day).then(|| years + months + day - 1)
}

/// The digits after a point as nanoseconds; those after the ninth are dropped.
fn nanos(fraction: &str) -> Option<u64> {
    whole_number(fraction)?;
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    digits.parse().ok()
}

/// Digits alone, and not too many.
fn whole_number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

const SECOND: u64 = 1_000_000_000;

const UNITS: &[(&str, u64)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", SECOND),
    ("m", 60 * SECOND),
    ("h", 3600 * SECOND),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::timestamp;

    #[test]
    fn a_duration_is_so_long_ago() {
        for (text, seconds) in [("10m", 600), ("1h30m", 5400), ("1.5h", 5400), ("90s", 90), ("0s", 0)] {
            assert_eq!(text.parse(), Ok(Moment::Ago(seconds * SECOND)), "{text}");
        }
        assert_eq!("300ms".parse(), Ok(Moment::Ago(300_000_000)));
        assert_eq!(Moment::Ago(5).nanos(3), 0);
        assert_eq!(Moment::Ago(5).nanos(8), 3);
    }

    #[test]
    fn seconds_and_dates() {
        for (text, expected) in [
            ("0", "1970-01-01T00:00:00.000000000Z"),
            ("1700000000.25", "2023-11-14T22:13:20.250000000Z"),
            ("2026-11-25", "2026-11-25T00:00:00.000000000Z"),
            ("2026-11-25T18:00", "2026-11-25T18:00:00.000000000Z"),
            ("2026-11-25 18:00:01", "2026-11-25T18:00:01.000000000Z"),
            ("2026-11-25T18:00:01.5Z", "2026-11-25T18:00:01.500000000Z"),
            ("2026-11-25T18:00:01+01:30", "2026-11-25T16:30:01.000000000Z"),
            ("2026-11-25T18:00:01-01:00", "2026-11-25T19:00:01.000000000Z"),
            ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00.000000000Z"),
            ("2000-03-01", "2000-03-01T00:00:00.000000000Z"),
            ("2100-12-31T23:59:59Z", "2100-12-31T23:59:59.000000000Z"),
        ] {
            let nanos = text.parse::<Moment>().unwrap().nanos(0);
            assert_eq!(timestamp::rfc3339_nanos(nanos), expected, "{text}");
        }
    }

    #[test]
    fn what_docker_prints_reads_back() {
        let nanos = 1_764_093_600_123_456_789;
        assert_eq!(timestamp::rfc3339_nanos(nanos).parse(), Ok(Moment::At(nanos)));
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "now",
            "-5",
            "5x",
            "m",
            "1.s.2",
            "2026-13-01",
            "2026-02-29",
            "2026-00-01",
            "1969-12-31",
            "2026-11-25T25:00",
            "2026-11-25T18:00:00+99:00",
            "2026-11-25T",
            "2026-11-25-1",
            "99999999999999999999",
            "99999999999h",
            "1970-01-01T00:00:00+01:00",
            "2026-11-25Té",
        ] {
            let parsed = text.parse::<Moment>();
            assert!(parsed.is_err(), "{text}: {parsed:?}");
        }
    }
}
