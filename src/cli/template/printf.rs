//! `printf`: the verbs of Go's `fmt` that templates use. As in Go a wrong verb is no error but shows in the text.

use serde_json::Value;

use super::print;

/// `fmt.Sprintf`.
pub(super) fn sprintf(format: &str, arguments: &[Value]) -> String {
    let mut text = String::new();
    let mut arguments = arguments.iter();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once('%') {
        text.push_str(before);
        let (spec, verb, tail) = Spec::read(after);
        rest = tail;
        match verb {
            None => text.push_str("%!(NOVERB)"),
            Some('%') => text.push('%'),
            Some(verb) => match arguments.next() {
                Some(argument) => text.push_str(&spec.pad(&spec.format(verb, argument), argument.is_number())),
                None => text.push_str(&format!("%!{verb}(MISSING)")),
            },
        }
    }
    text.push_str(rest);
    let left: Vec<_> = arguments.map(typed).collect();
    if !left.is_empty() {
        text.push_str(&format!("%!(EXTRA {})", left.join(", ")));
    }
    text
}

/// Flags, width and precision of a verb.
#[derive(Default)]
struct Spec {
    left: bool,
    zero: bool,
    plus: bool,
    width: usize,
    precision: Option<usize>,
}

impl Spec {
    /// What stands between `%` and its verb, the verb, and the rest.
    fn read(text: &str) -> (Self, Option<char>, &str) {
        let mut spec = Self::default();
        let mut rest = text;
        while let Some(flag) = rest.chars().next().filter(|c| FLAGS.contains(*c)) {
            match flag {
                '-' => spec.left = true,
                '0' => spec.zero = true,
                '+' => spec.plus = true,
                _ => {}
            }
            rest = rest.get(1..).unwrap_or_default();
        }
        (spec.width, rest) = digits(rest);
        if let Some(after) = rest.strip_prefix('.') {
            let (precision, after) = digits(after);
            (spec.precision, rest) = (Some(precision), after);
        }
        let mut chars = rest.chars();
        let verb = chars.next();
        (spec, verb, chars.as_str())
    }

    fn format(&self, verb: char, value: &Value) -> String {
        let text = match (verb, value) {
            ('v', _) | ('s', Value::String(_) | Value::Array(_) | Value::Object(_)) => self.cut(&print::inner(value)),
            ('t', Value::Bool(_)) => print::inner(value),
            ('d', Value::Number(number)) if !number.is_f64() => print::inner(value),
            ('x' | 'X', _) => return hex(verb, value),
            ('q', Value::String(text)) => return Value::from(self.cut(text)).to_string(),
            ('f', Value::Number(number)) if number.is_f64() => {
                format!(
                    "{:.*}",
                    self.precision.unwrap_or(6),
                    number.as_f64().unwrap_or_default()
                )
            }
            ('T', _) => return type_name(value).to_owned(),
            _ => return format!("%!{verb}({})", typed(value)),
        };
        if self.plus && value.is_number() && !text.starts_with('-') {
            format!("+{text}")
        } else {
            text
        }
    }

    /// Precision of a string: so many characters.
    fn cut(&self, text: &str) -> String {
        match self.precision {
            Some(precision) => text.chars().take(precision).collect(),
            None => text.to_owned(),
        }
    }

    fn pad(&self, text: &str, is_number: bool) -> String {
        let missing = self.width.saturating_sub(text.chars().count());
        if self.left {
            return format!("{text}{}", " ".repeat(missing));
        }
        if !self.zero {
            return format!("{}{text}", " ".repeat(missing));
        }
        // Zeros stand between the sign and the digits.
        let digits = text.strip_prefix(['-', '+']).filter(|_| is_number).unwrap_or(text);
        let sign = text.strip_suffix(digits).unwrap_or_default();
        format!("{sign}{}{digits}", "0".repeat(missing))
    }
}

/// A number of at most three digits' worth: nobody pads wider, and a template must not ask for gigabytes.
fn digits(text: &str) -> (usize, &str) {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = text.strip_suffix(rest).unwrap_or_default();
    let number = if digits.is_empty() {
        0
    } else {
        digits.parse().unwrap_or(MAX_WIDTH).min(MAX_WIDTH)
    };
    (number, rest)
}

fn hex(verb: char, value: &Value) -> String {
    let lower = match value {
        Value::String(text) => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
        Value::Number(number) => match number.as_i64() {
            Some(number) if number < 0 => format!("-{:x}", number.unsigned_abs()),
            Some(number) => format!("{number:x}"),
            None => return format!("%!{verb}({})", typed(value)),
        },
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            return format!("%!{verb}({})", typed(value));
        }
    };
    if verb == 'X' { lower.to_uppercase() } else { lower }
}

/// `string=text`, which is how Go shows what a verb could not print.
fn typed(value: &Value) -> String {
    if value.is_null() {
        "<nil>".to_owned()
    } else {
        format!("{}={}", type_name(value), print::inner(value))
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// Go's flags; `#` and space are read and mean nothing here.
const FLAGS: &str = "-0+ #";
const MAX_WIDTH: usize = 999;
