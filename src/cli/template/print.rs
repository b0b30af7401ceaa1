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
        Value::Array(list) => format!("[{}]", list.iter().map(part).collect::<Vec<_>>().join(" ")),
        Value::Object(map) if is_struct(map) => {
            format!("{{{}}}", map.values().map(part).collect::<Vec<_>>().join(" "))
        }
        Value::Object(map) => {
            let entries = sorted(map)
                .into_iter()
                .map(|(key, value)| format!("{key}:{}", part(value)));
            format!("map[{}]", entries.collect::<Vec<_>>().join(" "))
        }
    }
}

/// A part of another value. Where Docker's documents have nothing or an empty object inside, Go has an empty list and a
/// `struct{}`: the bindings of a port that is only exposed, and the value of an exposed port.
fn part(value: &Value) -> String {
    if value.is_null() {
        "[]".to_owned()
    } else if value.as_object().is_some_and(Map::is_empty) {
        "{}".to_owned()
    } else {
        inner(value)
    }
}

/// What in Go is a struct and no map: all its keys begin with a capital, as fields that can be seen must.
fn is_struct(map: &Map<String, Value>) -> bool {
    !map.is_empty() && map.keys().all(|key| key.starts_with(|c: char| c.is_ascii_uppercase()))
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

/// Integers as they are; floats as `%v` has them.
fn number(number: &Number) -> String {
    match number.as_f64().filter(|_| number.is_f64()) {
        Some(float) => general(float, None),
        None => number.to_string(),
    }
}

/// `%g`: with as many digits as are needed or asked for, and an exponent below -4 and from there up.
pub(super) fn general(float: f64, precision: Option<usize>) -> String {
    let digits = precision.map(|digits| digits.max(1));
    let scientific = match digits {
        Some(digits) => format!("{float:.0$e}", digits - 1),
        None => format!("{float:e}"),
    };
    let (mantissa, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let power: i64 = power.parse().unwrap_or_default();
    let most = digits.and_then(|digits| i64::try_from(digits).ok()).unwrap_or(SHORTEST);
    if power < -4 || power >= most {
        return exponent(&format!("{}e{power}", trimmed(mantissa)));
    }
    match digits {
        Some(_) => {
            let decimals = usize::try_from(most - 1 - power).unwrap_or_default();
            trimmed(&format!("{float:.decimals$}")).to_owned()
        }
        None => float.to_string(),
    }
}

/// Without zeros at the end of a fraction.
fn trimmed(text: &str) -> &str {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        text
    }
}

/// Rust writes `1e21` and `1e-7`, Go `1e+21` and `1e-07`.
pub(super) fn exponent(text: &str) -> String {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (sign, digits) = exponent
        .strip_prefix('-')
        .map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// What counts as the precision where none is said (strconv, `%e is used if the exponent …`): 1e6 has an exponent.
const SHORTEST: i64 = 6;
