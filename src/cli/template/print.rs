//! What values look like: `%v` of Go's `fmt`.

use serde_json::{Map, Number, Value};

/// A value as an action prints it.
pub(super) fn display(value: &Value) -> String {
    if value.is_null() {
        "<no value>".to_owned()
    } else {
        inner(value)
    }
}

/// A value inside another, or as an argument of `print`.
pub(super) fn inner(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => number(value),
        Value::String(text) => text.clone(),
        Value::Array(list) => format!("[{}]", list.iter().map(inner).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let entries = sorted(map)
                .into_iter()
                .map(|(key, value)| format!("{key}:{}", inner(value)));
            format!("map[{}]", entries.collect::<Vec<_>>().join(" "))
        }
    }
}

/// `fmt.Sprint`: a space between two operands when neither is a string.
pub(super) fn sprint(values: &[Value]) -> String {
    let mut text = String::new();
    let mut after_string = true;
    for value in values {
        if !after_string && !value.is_string() {
            text.push(' ');
        }
        text.push_str(&inner(value));
        after_string = value.is_string();
    }
    text
}

/// `fmt.Sprintln`: a space between all, and a newline.
pub(super) fn sprintln(values: &[Value]) -> String {
    values.iter().map(inner).collect::<Vec<_>>().join(" ") + "\n"
}

/// The entries of a map as Go walks and prints them.
pub(super) fn sorted(map: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    entries
}

/// Integers as they are; floats as `%v` has them, with an exponent below -4 and from 21 up.
fn number(number: &Number) -> String {
    match number.as_f64().filter(|_| number.is_f64()) {
        Some(float) if float != 0.0 && !(1e-4..1e21).contains(&float.abs()) => exponent(float),
        Some(float) => float.to_string(),
        None => number.to_string(),
    }
}

/// Rust writes `1e21` and `1e-7`, Go `1e+21` and `1e-07`.
fn exponent(float: f64) -> String {
    let text = format!("{float:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent
        .strip_prefix('-')
        .map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}
