//! `events`: a line for each.

use serde_json::Value;

use super::filter::{Filter, any};
use crate::api::events::{Event, Kind};
use crate::api::timestamp;
use crate::cli::template::{Template, TemplateError};

/// How events are printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventFormat {
    /// As Docker does without `--format`.
    Line,
    /// A JSON object a line.
    Json,
    /// By a template, a line each.
    Template(Template),
}

impl std::str::FromStr for EventFormat {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        match text {
            "" => Ok(Self::Line),
            "json" => Ok(Self::Json),
            _ => text.parse().map(Self::Template),
        }
    }
}

/// An event as a line.
pub fn event(event: &Event, format: &EventFormat) -> Result<String, TemplateError> {
    let document = || serde_json::to_value(event).unwrap_or(Value::Null);
    let text = match format {
        EventFormat::Line => line(event),
        EventFormat::Json => document().to_string(),
        EventFormat::Template(template) => template.render(&document())?,
    };
    Ok(text + "\n")
}

/// Whether an event is asked for.
pub fn is_wanted(event: &Event, filters: &[Filter]) -> bool {
    let is_of = |kind: Kind, value: &str| {
        let name = event.actor.attributes.get("name").is_some_and(|name| name == value);
        event.kind == kind && (name || (!value.is_empty() && event.actor.id.starts_with(value)))
    };
    any(filters, "type", |value| value == event.kind.word())
        && any(filters, "event", |value| value == event.action)
        && any(filters, "scope", |value| value == event.scope)
        && any(filters, "container", |value| is_of(Kind::Container, value))
        && any(filters, "network", |value| is_of(Kind::Network, value))
}

/// `2026-11-25T18:00:00.000000000Z container start ID (name=web, …)`.
fn line(event: &Event) -> String {
    let attributes: Vec<_> = event
        .actor
        .attributes
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let attributes = if attributes.is_empty() {
        String::new()
    } else {
        format!(" ({})", attributes.join(", "))
    };
    let line = format!(
        "{} {} {} {}{attributes}",
        timestamp::rfc3339_nanos(event.time_nano),
        event.kind.word(),
        event.action,
        event.actor.id
    );
    // Nothing in an event may make a second line, or steer a terminal.
    line.replace(char::is_control, " ")
}

/// The keys of `events --filter`.
pub const EVENT_KEYS: &[&str] = &["container", "event", "network", "scope", "type"];

#[cfg(test)]
mod tests {
    use super::*;

    fn died() -> Event {
        Event::container("die", "b9ffb0800ca5", "web")
            .with("exitCode", 3)
            .at(1_764_093_600_000_000_007)
    }

    fn shown(format: &str) -> String {
        event(&died(), &format.parse().unwrap()).unwrap()
    }

    #[test]
    fn the_line_is_dockers() {
        assert_eq!(
            shown(""),
            "2025-11-25T18:00:00.000000007Z container die b9ffb0800ca5 (exitCode=3, name=web)\n"
        );
        let evil = Event::network("conflict", "gp0").with("reason", "two\nlines\u{1b}[2J");
        assert_eq!(event(&evil, &EventFormat::Line).unwrap().lines().count(), 1);
        assert!(!event(&evil, &EventFormat::Line).unwrap().contains('\u{1b}'));
    }

    #[test]
    fn templates_and_json() {
        assert_eq!(
            shown("Type={{.Type}}  Status={{.Status}}  ID={{.ID}}"),
            "Type=container  Status=die  ID=b9ffb0800ca5\n"
        );
        assert_eq!(
            shown("{{.Action}} {{.Actor.Attributes.exitCode}} {{.TimeNano}}"),
            "die 3 1764093600000000007\n"
        );
        assert_eq!(shown("{{json .}}"), shown("json"));
        assert!(shown("json").starts_with(r#"{"status":"die","id":"b9ffb0800ca5","Type":"container","Action":"die""#));
    }

    #[test]
    fn filters_are_dockers() {
        for (filters, wanted) in [
            (vec![], true),
            (vec!["type=container", "event=die"], true),
            (vec!["event=start", "event=die"], true),
            (vec!["event=start"], false),
            (vec!["type=network"], false),
            (vec!["container=web"], true),
            (vec!["container=b9ff"], true),
            (vec!["container="], false),
            (vec!["container=db"], false),
            (vec!["network=gp0"], false),
            (vec!["scope=local"], true),
        ] {
            let filters: Vec<_> = filters
                .iter()
                .map(|text| Filter::read(text, EVENT_KEYS).unwrap())
                .collect();
            assert_eq!(is_wanted(&died(), &filters), wanted, "{filters:?}");
        }
        assert!(Filter::read("colour=red", EVENT_KEYS).is_err());
    }
}
