//! The functions on texts: Docker's, and those with which Go escapes.

use serde_json::Value;

use super::functions::{kind, text};
use super::print;

pub(super) fn join(list: &Value, separator: &Value) -> Result<Value, String> {
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

pub(super) fn split(value: &Value, separator: &Value) -> Result<Value, String> {
    Ok(text(value)?.split(text(separator)?).map(Value::from).collect())
}

/// The first letter of each word, as `strings.Title` finds words.
pub(super) fn title(text: &str) -> String {
    let mut starts = true;
    let capitalise = |c: char| {
        let capital = starts;
        starts = separates(c);
        if capital {
            c.to_uppercase().collect::<String>()
        } else {
            c.to_string()
        }
    };
    text.chars().map(capitalise).collect()
}

fn separates(c: char) -> bool {
    if c.is_ascii() {
        !c.is_ascii_alphanumeric() && c != '_'
    } else {
        !c.is_alphanumeric() && c.is_whitespace()
    }
}

pub(super) fn truncate(value: &Value, length: &Value) -> Result<Value, String> {
    let cut: String = text(value)?.chars().take(amount(length)?).collect();
    Ok(cut.into())
}

/// Blanks before and after, but nothing around nothing.
pub(super) fn pad(value: &Value, before: &Value, after: &Value) -> Result<Value, String> {
    let text = text(value)?;
    let (before, after) = (amount(before)?.min(MAX_PAD), amount(after)?.min(MAX_PAD));
    if text.is_empty() {
        return Ok("".into());
    }
    Ok(format!("{}{text}{}", " ".repeat(before), " ".repeat(after)).into())
}

/// `template.HTMLEscapeString`.
pub(super) fn html(text: &str) -> String {
    escape(text, |c| match c {
        '"' => Some("&#34;".to_owned()),
        '\'' => Some("&#39;".to_owned()),
        '&' => Some("&amp;".to_owned()),
        '<' => Some("&lt;".to_owned()),
        '>' => Some("&gt;".to_owned()),
        '\0' => Some("\u{fffd}".to_owned()),
        _ => None,
    })
}

/// `template.JSEscapeString`.
pub(super) fn js(text: &str) -> String {
    escape(text, |c| match c {
        '\\' | '\'' | '"' => Some(format!("\\{c}")),
        '<' | '>' | '&' | '=' => Some(format!("\\u{:04X}", u32::from(c))),
        _ if c.is_control() => Some(format!("\\u{:04X}", u32::from(c))),
        _ => None,
    })
}

/// `url.QueryEscape`.
pub(super) fn query(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b' ' => "+".to_owned(),
            b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
            _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// `encoding/json` without the escapes for HTML, which Docker switches off; two line separators stay escaped.
pub(super) fn json(value: &Value) -> String {
    value
        .to_string()
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

fn escape(text: &str, special: impl Fn(char) -> Option<String>) -> String {
    text.chars()
        .map(|c| special(c).unwrap_or_else(|| c.to_string()))
        .collect()
}

fn amount(value: &Value) -> Result<usize, String> {
    let amount = value.as_u64().ok_or("the length is no number")?;
    Ok(usize::try_from(amount).unwrap_or(usize::MAX))
}

/// Wider than any terminal; a template must not ask for gigabytes.
const MAX_PAD: usize = 999;
