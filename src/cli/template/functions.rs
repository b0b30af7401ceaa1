//! Go's built-in functions, and Docker's.

use std::cmp::Ordering;

use serde_json::{Number, Value};

use super::{print, printf};

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
        (Function::Json, [value]) => Ok(value.to_string().into()),
        (Function::Join, [list, separator]) => join(list, separator),
        (Function::Split, [value, separator]) => split(value, separator),
        (Function::Lower, [value]) => text(value).map(|text| text.to_lowercase().into()),
        (Function::Upper, [value]) => text(value).map(|text| text.to_uppercase().into()),
        (Function::Title, [value]) => text(value).map(|text| title(text).into()),
        (Function::Truncate, [value, length]) => truncate(value, length),
        _ => Err(format!("wrong number of arguments: {}", arguments.len())),
    };
    result.map_err(|problem| format!("{}: {problem}", function.name()))
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

/// Exact for what fits; a float literal meets an integer halfway.
fn order(a: &Number, b: &Number) -> Option<Ordering> {
    match (a.as_i128(), b.as_i128()) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}

fn incomparable(a: &Value, b: &Value) -> String {
    format!("{} and {} cannot be compared", kind(a), kind(b))
}

/// `index item key key …`, each into the result of the one before.
fn index(item: &Value, keys: &[Value]) -> Result<Value, String> {
    let mut value = item;
    for key in keys {
        value = match (value, key) {
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

fn length(value: &Value) -> Result<Value, String> {
    match value {
        Value::String(text) => Ok(text.len().into()),
        Value::Array(list) => Ok(list.len().into()),
        Value::Object(map) => Ok(map.len().into()),
        Value::Null | Value::Bool(_) | Value::Number(_) => Err(format!("{} has no length", kind(value))),
    }
}

fn join(list: &Value, separator: &Value) -> Result<Value, String> {
    match list {
        Value::Array(items) => Ok(items
            .iter()
            .map(print::display)
            .collect::<Vec<_>>()
            .join(text(separator)?)
            .into()),
        Value::Null => Ok("".into()),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            Err(format!("{} is no list", kind(list)))
        }
    }
}

fn split(value: &Value, separator: &Value) -> Result<Value, String> {
    Ok(text(value)?.split(text(separator)?).map(Value::from).collect())
}

/// The first letter of each word.
fn title(text: &str) -> String {
    let mut in_word = false;
    let capitalise = |c: char| {
        let starts = !in_word && c.is_alphabetic();
        in_word = c.is_alphanumeric() || c == '_' || c == '\'';
        if starts {
            c.to_uppercase().collect::<String>()
        } else {
            c.to_string()
        }
    };
    text.chars().map(capitalise).collect()
}

fn truncate(value: &Value, length: &Value) -> Result<Value, String> {
    let length = length.as_u64().ok_or("the length is no number")?;
    Ok(text(value)?
        .chars()
        .take(usize::try_from(length).unwrap_or(usize::MAX))
        .collect::<String>()
        .into())
}

fn text(value: &Value) -> Result<&str, String> {
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
];
