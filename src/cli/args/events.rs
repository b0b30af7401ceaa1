//! `events`.

use clap::Args;

use super::moment::Moment;
use crate::api::events::EventQuery;
use crate::cli::output::{EVENT_KEYS, EventFormat, Filter, FilterError};

/// `events`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Events {
    /// Begin with what has happened since then: a date, seconds since 1970, or 10m for so long ago
    #[arg(long, value_name = "TIME")]
    pub since: Option<Moment>,
    /// End with what happens until then
    #[arg(long, value_name = "TIME")]
    pub until: Option<Moment>,
    /// Only events like KEY=VALUE, where KEY is container, event, network, scope or type; repeatable
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = filter)]
    pub filter: Vec<Filter>,
    /// json, or a Go template like '{{.Action}} {{.Actor.Attributes.name}}'
    #[arg(long, default_value = "", hide_default_value = true)]
    pub format: EventFormat,
}

impl Events {
    /// The request, where `now` is nanoseconds since the epoch.
    pub fn query(&self, now: u64) -> EventQuery {
        EventQuery {
            since: self.since.map(|moment| moment.nanos(now)),
            until: self.until.map(|moment| moment.nanos(now)),
        }
    }
}

fn filter(text: &str) -> Result<Filter, FilterError> {
    Filter::read(text, EVENT_KEYS)
}

#[cfg(test)]
mod tests {
    use super::super::Command;
    use super::super::tests::{parsed, usage};

    #[test]
    fn moments_are_of_the_callers_clock() {
        let Command::Events(events) =
            parsed("events --since 10s --until 2 -f event=die --filter type=container").command
        else {
            panic!()
        };
        let query = events.query(60_000_000_000);
        assert_eq!((query.since, query.until), (Some(50_000_000_000), Some(2_000_000_000)));
        assert_eq!(events.filter.len(), 2);
    }

    #[test]
    fn bad_ones_are_a_line() {
        for (line, part) in [
            ("events --since yesterday", "write a date like"),
            ("events --filter colour=red", "invalid filter 'colour'"),
            ("events --filter die", "bad format of filter"),
            ("events --format {{.ID", "template: 1:1: unclosed action"),
        ] {
            let text = usage(line);
            assert!(text.contains(part), "{line}: {text}");
            assert_eq!(text.lines().count(), 1, "{text}");
        }
    }
}
