//! Seconds since the epoch as text, in UTC.
//!
//! Times are inputs everywhere; here they only become readable. Called for `inspect`, `ps` and `events`.

/// `2026-11-23T19:22:00Z` (RFC 3339); 0, which means never, as Go's zero time, like Docker.
pub fn rfc3339(seconds: u64) -> String {
    if seconds == 0 {
        return "0001-01-01T00:00:00Z".to_owned();
    }
    let (date, time) = date_and_time(seconds);
    format!("{date}T{time}Z")
}

/// `2026-11-23T19:22:00.000000007Z`: nanoseconds since the epoch, all nine digits, as `docker events` shows them.
pub fn rfc3339_nanos(nanos: u64) -> String {
    let (date, time) = date_and_time(nanos / NANOS);
    format!("{date}T{time}.{:09}Z", nanos % NANOS)
}

/// `2026-11-23 19:22:00 +0000 UTC`, as `docker ps` shows `.CreatedAt`.
pub fn spelled(seconds: u64) -> String {
    let (date, time) = date_and_time(seconds);
    format!("{date} {time} +0000 UTC")
}

fn date_and_time(seconds: u64) -> (String, String) {
    let (year, month, day) = civil(seconds / DAY);
    let of_day = seconds % DAY;
    let time = format!("{:02}:{:02}:{:02}", of_day / 3600, of_day / 60 % 60, of_day % 60);
    (format!("{year:04}-{month:02}-{day:02}"), time)
}

/// Howard Hinnant's `civil_from_days`, for days from 1970 on: years begin in March, so that the leap day is the last.
fn civil(days: u64) -> (u64, u64, u64) {
    let since_march_of_year_0 = days.saturating_add(719_468);
    let era = since_march_of_year_0 / 146_097;
    let day_of_era = since_march_of_year_0 % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

const DAY: u64 = 24 * 60 * 60;
const NANOS: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_days() {
        for (seconds, expected) in [
            (1, "1970-01-01T00:00:01Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_700_000_000, "2023-11-14T22:13:20Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(seconds), expected);
        }
        assert_eq!(rfc3339(0), "0001-01-01T00:00:00Z");
        assert_eq!(spelled(1_700_000_000), "2023-11-14 22:13:20 +0000 UTC");
        assert!(!rfc3339(u64::MAX).is_empty());
        assert_eq!(
            rfc3339_nanos(1_700_000_000_000_000_007),
            "2023-11-14T22:13:20.000000007Z"
        );
    }
}
