//! `printf`: the verbs of Go's `fmt` that templates use. As in Go a wrong verb is no error but shows in the text.

use serde_json::{Number, Value};

use super::print;

/// `fmt.Sprintf`.
pub(super) fn sprintf(format: &str, arguments: &[Value]) -> String {
    let mut text = String::new();
    let mut arguments = Arguments {
        all: arguments,
        next: 0,
        reordered: false,
    };
    let mut rest = format;
    while let Some((before, after)) = rest.split_once('%') {
        text.push_str(before);
        let (spec, verb, tail) = Spec::read(after, &mut arguments);
        rest = tail;
        match verb {
            None => text.push_str("%!(NOVERB)"),
            Some('%') => text.push('%'),
            Some(verb) => match arguments.take() {
                Some(argument) => text.push_str(&spec.format(verb, argument)),
                None => text.push_str(&format!("%!{verb}(MISSING)")),
            },
        }
    }
    text.push_str(rest);
    text + &arguments.left()
}

/// What is to be formatted, and how far that has come.
struct Arguments<'a> {
    all: &'a [Value],
    next: usize,
    /// `[n]` was said: then nobody counts.
    reordered: bool,
}

impl<'a> Arguments<'a> {
    fn take(&mut self) -> Option<&'a Value> {
        let argument = self.all.get(self.next);
        self.next += 1;
        argument
    }

    /// `[n]` before a verb or a `*`: the argument with this number is next.
    fn jump<'t>(&mut self, text: &'t str) -> &'t str {
        let number = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        match number.and_then(|(number, rest)| Some((number.parse::<usize>().ok()?, rest))) {
            Some((number, rest)) => {
                self.next = number.saturating_sub(1);
                self.reordered = true;
                rest
            }
            None => text,
        }
    }

    /// Complaint about arguments that no verb has taken.
    fn left(&self) -> String {
        let left: Vec<_> = self.all.iter().skip(self.next).map(typed).collect();
        if self.reordered || left.is_empty() {
            return String::new();
        }
        format!("%!(EXTRA {})", left.join(", "))
    }
}

/// Flags, width and precision of a verb.
#[derive(Default)]
struct Spec {
    left: bool,
    zero: bool,
    plus: bool,
    space: bool,
    sharp: bool,
    width: usize,
    precision: Option<usize>,
}

impl Spec {
    /// What stands between `%` and its verb, the verb, and the rest.
    fn read<'t>(text: &'t str, arguments: &mut Arguments<'_>) -> (Self, Option<char>, &'t str) {
        let mut spec = Self::default();
        let mut rest = text;
        while let Some(flag) = rest.chars().next().filter(|c| "-0+ #".contains(*c)) {
            match flag {
                '-' => spec.left = true,
                '0' => spec.zero = true,
                '+' => spec.plus = true,
                ' ' => spec.space = true,
                _ => spec.sharp = true,
            }
            rest = rest.get(1..).unwrap_or_default();
        }
        let width;
        (width, rest) = amount(rest, arguments);
        // A negative `*` is a width with the flag `-`.
        spec.left |= width < 0;
        spec.width = bounded(width.saturating_abs());
        if let Some(after) = rest.strip_prefix('.') {
            let precision;
            (precision, rest) = amount(after, arguments);
            spec.precision = (precision >= 0).then(|| bounded(precision));
        }
        rest = arguments.jump(rest);
        let mut chars = rest.chars();
        let verb = chars.next();
        (spec, verb, chars.as_str())
    }

    /// One argument; of a list each element by itself.
    fn format(&self, verb: char, value: &Value) -> String {
        match (verb, value) {
            ('T', _) => self.pad(type_name(value)),
            ('v' | 's' | 'd' | 'q' | 'x' | 'X', Value::Array(list)) => {
                let elements = list.iter().map(|element| self.format(verb, element));
                format!("[{}]", elements.collect::<Vec<_>>().join(" "))
            }
            ('v', Value::String(text)) if self.sharp => self.pad(&quoted(text)),
            ('s' | 'v', Value::String(text)) => self.pad(&self.cut(text)),
            ('q', Value::String(text)) => self.pad(&quoted(&self.cut(text))),
            ('x' | 'X', Value::String(text)) => self.pad(&self.bytes(verb, text)),
            ('v' | 's', Value::Object(_)) | ('v', Value::Null) => self.pad(&print::inner(value)),
            ('v' | 't', Value::Bool(value)) => self.pad(&value.to_string()),
            (_, Value::Number(number)) => self
                .number(verb, number)
                .unwrap_or_else(|| format!("%!{verb}({})", typed(value))),
            _ => format!("%!{verb}({})", typed(value)),
        }
    }

    fn number(&self, verb: char, number: &Number) -> Option<String> {
        if number.is_f64() {
            return self.float(verb, number.as_f64()?);
        }
        let integer = number.as_i128()?;
        let magnitude = integer.unsigned_abs();
        let code = || {
            u32::try_from(integer)
                .ok()
                .and_then(char::from_u32)
                .unwrap_or('\u{fffd}')
        };
        let (prefix, digits) = match verb {
            'd' | 'v' => ("", magnitude.to_string()),
            'b' => ("0b", format!("{magnitude:b}")),
            'o' => ("0", format!("{magnitude:o}")),
            'O' => return Some(self.signed(integer < 0, "0o", &format!("{magnitude:o}"))),
            'x' => ("0x", format!("{magnitude:x}")),
            'X' => ("0X", format!("{magnitude:X}")),
            'c' => return Some(self.pad(&code().to_string())),
            'q' => return Some(self.pad(&format!("'{}'", code()))),
            'U' => return Some(self.pad(&format!("U+{magnitude:04X}"))),
            _ => return None,
        };
        let prefix = if self.sharp { prefix } else { "" };
        Some(self.signed(integer < 0, prefix, &digits))
    }

    fn float(&self, verb: char, float: f64) -> Option<String> {
        let size = float.abs();
        let precision = self.precision.unwrap_or(6);
        let text = match verb {
            'f' | 'F' => format!("{size:.precision$}"),
            'e' | 'E' => print::exponent(&format!("{size:.precision$e}")),
            'g' | 'G' | 'v' => print::general(size, self.precision),
            _ => return None,
        };
        let text = if matches!(verb, 'E' | 'G') {
            text.to_uppercase()
        } else {
            text
        };
        Some(self.signed(float.is_sign_negative(), "", &text))
    }

    /// Sign, prefix and digits; zeros that fill up stand before the digits.
    fn signed(&self, negative: bool, prefix: &str, digits: &str) -> String {
        let sign = match (negative, self.plus, self.space) {
            (true, _, _) => "-",
            (_, true, _) => "+",
            (_, _, true) => " ",
            _ => "",
        };
        let length = sign.len() + prefix.len() + digits.len();
        let zeros = if self.zero && !self.left {
            self.width.saturating_sub(length)
        } else {
            0
        };
        let filled = format!("{sign}{prefix}{}{digits}", "0".repeat(zeros));
        let blanks = " ".repeat(self.width.saturating_sub(filled.len()));
        if self.left { filled + &blanks } else { blanks + &filled }
    }

    /// A string byte by byte, with blanks between when the flag says so.
    fn bytes(&self, verb: char, text: &str) -> String {
        let hex = |byte| match verb {
            'x' => format!("{byte:02x}"),
            _ => format!("{byte:02X}"),
        };
        let between = if self.space { " " } else { "" };
        text.bytes().map(hex).collect::<Vec<_>>().join(between)
    }

    /// Precision of a string: so many characters.
    fn cut(&self, text: &str) -> String {
        match self.precision {
            Some(precision) => text.chars().take(precision).collect(),
            None => text.to_owned(),
        }
    }

    fn pad(&self, text: &str) -> String {
        let missing = self.width.saturating_sub(text.chars().count());
        if self.left {
            return format!("{text}{}", " ".repeat(missing));
        }
        let filler = if self.zero { "0" } else { " " };
        format!("{}{text}", filler.repeat(missing))
    }
}

/// A width or precision: digits, or `*` for the next argument.
fn amount<'t>(text: &'t str, arguments: &mut Arguments<'_>) -> (i64, &'t str) {
    let jumped = arguments.jump(text);
    if let Some(rest) = jumped.strip_prefix('*') {
        let given = arguments.take().and_then(Value::as_i64).unwrap_or_default();
        return (given, rest);
    }
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = text.strip_suffix(rest).unwrap_or_default();
    let number = if digits.is_empty() {
        0
    } else {
        digits.parse().unwrap_or(i64::MAX)
    };
    (number, rest)
}

/// Nobody pads wider, and a template must not ask for gigabytes.
fn bounded(amount: i64) -> usize {
    usize::try_from(amount).unwrap_or_default().min(MAX_WIDTH)
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
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

const MAX_WIDTH: usize = 999;
