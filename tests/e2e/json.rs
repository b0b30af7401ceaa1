//! Finding things in what `--format json` prints.

use serde_json::Value;

use crate::verdict::{Outcome, fail};

/// Parses it: one document, or one per line as an array.
pub(crate) fn parse(text: &str) -> Outcome<Value> {
    if let Ok(value) = serde_json::from_str(text) {
        return Ok(value);
    }
    let lines: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
    match lines {
        Ok(lines) => Ok(Value::Array(lines)),
        Err(error) => fail!("not JSON ({error}): {text:?}"),
    }
}

/// The items of a list, of which a single one stands for itself.
pub(crate) fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice)
}

/// The first member called `key`, at any depth, whatever the case of its letters and its underscores.
pub(crate) fn find<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    let plain = |text: &str| text.replace('_', "").to_lowercase();
    match value {
        Value::Object(members) => {
            let own = members
                .iter()
                .find(|(name, _)| plain(name) == plain(key))
                .map(|(_, value)| value);
            own.or_else(|| members.values().find_map(|value| find(value, key)))
        }
        Value::Array(items) => items.iter().find_map(|value| find(value, key)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// The member called `key` as text without quotes.
pub(crate) fn text(value: &Value, key: &str) -> Outcome<String> {
    match find(value, key) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Ok(other.to_string()),
        None => fail!("no {key:?} in {value}"),
    }
}
