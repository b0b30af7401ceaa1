//! Go's built-in functions, and Docker's.

use std::cmp::Ordering;
use std::ops::Range;

use serde_json::{Number, Value};

use super::{print, printf, texts};

/// A function by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    And,
    Or,
    Not,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Index,
    Len,
    Print,
    Printf,
    Println,
    Json,
    Join,
    Split,
    Lower,
    Upper,
    Title,
    Truncate,
    Pad,
    Slice,
    Html,
    Js,
    UrlQuery,
}

impl Function {
    pub(super) fn of(name: &str) -> Option<Self> {
        NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, function)| *function)
    }

    pub(super) fn name(self) -> &'static str {
        NAMES
            .iter()
            .find(|(_, function)| *function == self)
            .map_or("", |(name, _)| name)
    }
}

/// Calls a function; the message of an error names it.
pub(super) fn call(function: Function, arguments: &[Value]) -> Result<Value, String> {
    let result = match (function, arguments) {
        (Function::Not, [value]) => Ok(Value::Bool(!is_true(value))),
        (Function::Eq, [first, others @ ..]) if !others.is_empty() => any_equal(first, others),
        (Function::Ne, [a, b]) => equal(a, b).map(|equal| Value::Bool(!equal)),
        (Function::Lt, [a, b]) => compare(a, b).map(|order| Value::Bool(order.is_lt())),
        (Function::Le, [a, b]) => compare(a, b).map(|order| Value::Bool(order.is_le())),
        (Function::Gt, [a, b]) => compare(a, b).map(|order| Value::Bool(order.is_gt())),
        (Function::Ge, [a, b]) => compare(a, b).map(|order| Value::Bool(order.is_ge())),
        (Function::Index, [item, keys @ ..]) => index(item, keys),
        (Function::Len, [value]) => length(value),
        (Function::Print, values) => Ok(print::sprint(values).into()),
        (Function::Println, values) => Ok(print::sprintln(values).into()),
        (Function::Printf, [format, values @ ..]) => text(format).map(|format| printf::sprintf(format, values).into()),
        (Function::Slice, [item, bounds @ ..]) if bounds.len() <= 2 => slice(item, bounds),
        (Function::Html, values) => Ok(texts::html(&print::sprint(values)).into()),
        (Function::Js, values) => Ok(texts::js(&print::sprint(values)).into()),
        (Function::UrlQuery, values) => Ok(texts::query(&print::sprint(values)).into()),
        (Function::Json, [value]) => Ok(texts::json(value).into()),
        (Function::Join, [list, separator]) => texts::join(list, separator),
        (Function::Split, [value, separator]) => texts::split(value, separator),
        (Function::Lower, [value]) => text(value).map(|text| text.to_lowercase().into()),
        (Function::Upper, [value]) => text(value).map(|text| text.to_uppercase().into()),
        (Function::Title, [value]) => text(value).map(|text| texts::title(text).into()),
        (Function::Truncate, [value, length]) => texts::truncate(value, length),
        (Function::Pad, [value, before, after]) => texts::pad(value, before, after),
        _ => Err(format!("wrong number of arguments: {}", arguments.len())),
    };
    result.map_err(|problem| format!("{}: {problem}", function.name()))
}

/// Calls a function for the head of a table: there Docker's own give what they are given, so that `{{upper .Names}}` has
/// the head of `{{.Names}}`.
pub(super) fn head(function: Function, arguments: &[Value]) -> Result<Value, String> {
    let dockers = matches!(
        function,
        Function::Json
            | Function::Join
            | Function::Split
            | Function::Title
            | Function::Lower
            | Function::Upper
            | Function::Pad
            | Function::Truncate
    );
    match arguments.first().filter(|_| dockers) {
        Some(given) => Ok(given.clone()),
        None => call(function, arguments),
    }
}

/// Go's truth: not false, not 0, not nil, not empty.
pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// What a value is, for messages.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nil",
        Value::Bool(_) => "a bool",
        Value::Number(number) if number.is_f64() => "a float",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

fn any_equal(first: &Value, others: &[Value]) -> Result<Value, String> {
    for other in others {
        if equal(first, other)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn equal(a: &Value, b: &Value) -> Result<bool, String> {
    match (a, b) {
        (Value::Null, _) | (_, Value::Null) => Ok(a == b),
        (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
        (Value::Number(_), Value::Number(_)) | (Value::String(_), Value::String(_)) => {
            compare(a, b).map(Ordering::is_eq)
        }
        _ => Err(incomparable(a, b)),
    }
}

fn compare(a: &Value, b: &Value) -> Result<Ordering, String> {
    let order = match (a, b) {
        (Value::Number(a), Value::Number(b)) => order(a, b),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => None,
    };
    order.ok_or_else(|| incomparable(a, b))
}

/// Go compares integers with integers and floats with floats.
fn order(a: &Number, b: &Number) -> Option<Ordering> {
    match (a.is_f64(), b.is_f64()) {
        (false, false) => Some(a.as_i128()?.cmp(&b.as_i128()?)),
        (true, true) => a.as_f64()?.partial_cmp(&b.as_f64()?),
        _ => None,
    }
}

fn incomparable(a: &Value, b: &Value) -> String {
    format!("{} and {} cannot be compared", kind(a), kind(b))
}

/// `index item key key …`, each into the result of the one before.
fn index(item: &Value, keys: &[Value]) -> Result<Value, String> {
    let mut value = item;
    for (place, key) in keys.iter().enumerate() {
        value = match (value, key) {
            // A byte, beyond which there is nothing.
            (Value::String(text), Value::Number(number)) if place + 1 == keys.len() => return byte(text, number),
            (Value::Object(map), Value::String(key)) => map.get(key).unwrap_or(&Value::Null),
            (Value::Array(list), Value::Number(number)) => element(list, number)?,
            (Value::Null, _) => {
                return Err("index of nil: there is nothing to look into".to_owned());
            }
            (Value::Object(_) | Value::Array(_), _) => {
                return Err(format!("{} cannot be indexed with {}", kind(value), kind(key)));
            }
            _ => return Err(format!("{} cannot be indexed", kind(value))),
        };
    }
    Ok(value.clone())
}

fn element<'v>(list: &'v [Value], number: &Number) -> Result<&'v Value, String> {
    let position = number.as_u64().and_then(|number| usize::try_from(number).ok());
    let element = position.and_then(|position| list.get(position));
    element.ok_or_else(|| format!("index {number} is out of range: the list has {}", list.len()))
}

fn byte(text: &str, number: &Number) -> Result<Value, String> {
    let position = number.as_u64().and_then(|number| usize::try_from(number).ok());
    let byte = position.and_then(|position| text.as_bytes().get(position));
    byte.map(|byte| Value::from(*byte))
        .ok_or_else(|| format!("index {number} is out of range: the string has {}", text.len()))
}

/// `slice item from to`, of a list or of the bytes of a string.
fn slice(item: &Value, bounds: &[Value]) -> Result<Value, String> {
    match item {
        Value::Array(list) => {
            let part = list.get(range(bounds, list.len())?).unwrap_or_default();
            Ok(part.to_vec().into())
        }
        Value::String(text) => {
            let part = text.as_bytes().get(range(bounds, text.len())?).unwrap_or_default();
            Ok(String::from_utf8_lossy(part).into())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            Err(format!("{} cannot be sliced", kind(item)))
        }
    }
}

fn range(bounds: &[Value], length: usize) -> Result<Range<usize>, String> {
    let bound = |place: usize, default: usize| match bounds.get(place) {
        None => Ok(default),
        Some(bound) => bound
            .as_u64()
            .and_then(|bound| usize::try_from(bound).ok())
            .filter(|bound| *bound <= length)
            .ok_or_else(|| format!("index {} is out of range: there are {length}", print::inner(bound))),
    };
    let (from, to) = (bound(0, 0)?, bound(1, length)?);
    if from > to {
        return Err(format!("it begins at {from} and ends at {to}"));
    }
    Ok(from..to)
}

fn length(value: &Value) -> Result<Value, String> {
    match value {
        Value::String(text) => Ok(text.len().into()),
        Value::Array(list) => Ok(list.len().into()),
        Value::Object(map) => Ok(map.len().into()),
        Value::Null | Value::Bool(_) | Value::Number(_) => Err(format!("{} has no length", kind(value))),
    }
}

pub(super) fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| format!("{} is no string", kind(value)))
}

const NAMES: &[(&str, Function)] = &[
    ("and", Function::And),
    ("or", Function::Or),
    ("not", Function::Not),
    ("eq", Function::Eq),
    ("ne", Function::Ne),
    ("lt", Function::Lt),
    ("le", Function::Le),
    ("gt", Function::Gt),
    ("ge", Function::Ge),
    ("index", Function::Index),
    ("len", Function::Len),
    ("print", Function::Print),
    ("printf", Function::Printf),
    ("println", Function::Println),
    ("json", Function::Json),
    ("join", Function::Join),
    ("split", Function::Split),
    ("lower", Function::Lower),
    ("upper", Function::Upper),
    ("title", Function::Title),
    ("truncate", Function::Truncate),
    ("pad", Function::Pad),
    ("slice", Function::Slice),
    ("html", Function::Html),
    ("js", Function::Js),
    ("urlquery", Function::UrlQuery),
];
