//! Text into tokens. Trim markers and comments end here.

use serde_json::Value;

use super::Fault;

/// A token, where it stands, and whether white space stands before it: `.A.B` is a path, `.A .B` are two operands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) at: usize,
    pub(super) spaced: bool,
}

/// What a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Text(String),
    Open,
    Close,
    Dot,
    Field(String),
    /// With its `$`.
    Variable(String),
    Word(String),
    Literal(Value),
    Pipe,
    Comma,
    Declare,
    Assign,
    LeftParenthesis,
    RightParenthesis,
    End,
}

/// All tokens of `source`, [`Kind::End`] last.
pub(super) fn tokens(source: &str) -> Result<Vec<Token>, Fault> {
    let mut lexer = Lexer {
        source,
        at: 0,
        tokens: Vec::new(),
    };
    let mut trim = false;
    while let Some(open) = lexer.text(trim) {
        trim = lexer.action(open)?;
    }
    lexer.push(Kind::End, source.len(), false);
    Ok(lexer.tokens)
}

struct Lexer<'s> {
    source: &'s str,
    at: usize,
    tokens: Vec<Token>,
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        self.source.get(self.at..).unwrap_or_default()
    }

    fn push(&mut self, kind: Kind, at: usize, spaced: bool) {
        self.tokens.push(Token { kind, at, spaced });
    }

    /// Text up to the next `{{`, whose offset it returns; the position is then behind the braces and their trim marker.
    fn text(&mut self, trim_start: bool) -> Option<usize> {
        let start = self.at;
        let rest = self.rest();
        let open = rest.find("{{");
        let mut text = rest.get(..open.unwrap_or(rest.len())).unwrap_or_default();
        let after = open.and_then(|open| rest.get(open + 2..)).unwrap_or_default();
        let trim_end = after
            .strip_prefix('-')
            .is_some_and(|rest| rest.starts_with(char::is_whitespace));
        if trim_start {
            text = text.trim_start();
        }
        if trim_end {
            text = text.trim_end();
        }
        if !text.is_empty() {
            self.push(Kind::Text(text.to_owned()), start, false);
        }
        let open = start + open?;
        self.at = open + 2 + usize::from(trim_end);
        Some(open)
    }

    /// Everything up to `}}`; says whether the text after it is to be trimmed.
    fn action(&mut self, open: usize) -> Result<bool, Fault> {
        if self.rest().trim_start().starts_with("/*") {
            return self.comment(open);
        }
        self.push(Kind::Open, open, false);
        loop {
            let spaced = self.skip_space();
            let at = self.at;
            if let Some(trim) = self.close(spaced) {
                self.push(Kind::Close, at, spaced);
                return Ok(trim);
            }
            let kind = self
                .token()?
                .ok_or_else(|| Fault::new(open, "unclosed action: no }}"))?;
            self.push(kind, at, spaced);
        }
    }

    fn comment(&mut self, open: usize) -> Result<bool, Fault> {
        let end = self
            .rest()
            .find("*/")
            .ok_or_else(|| Fault::new(open, "unclosed comment: no */"))?;
        self.at += end + 2;
        let spaced = self.skip_space();
        self.close(spaced)
            .ok_or_else(|| Fault::new(self.at, "a comment ends with */}}"))
    }

    /// Steps over `}}` or ` -}}`.
    fn close(&mut self, spaced: bool) -> Option<bool> {
        let rest = self.rest();
        let trim = spaced && rest.starts_with("-}}");
        if !trim && !rest.starts_with("}}") {
            return None;
        }
        self.at += 2 + usize::from(trim);
        Some(trim)
    }

    fn skip_space(&mut self) -> bool {
        let rest = self.rest();
        let space = rest.len() - rest.trim_start().len();
        self.at += space;
        space > 0
    }

    /// One token inside an action; `None` at the end of the source.
    fn token(&mut self) -> Result<Option<Kind>, Fault> {
        let rest = self.rest();
        let mut chars = rest.chars();
        let Some(first) = chars.next() else {
            return Ok(None);
        };
        let second = chars.next().unwrap_or_default();
        let kind = match first {
            '(' => self.fixed(1, Kind::LeftParenthesis),
            ')' => self.fixed(1, Kind::RightParenthesis),
            '|' => self.fixed(1, Kind::Pipe),
            ',' => self.fixed(1, Kind::Comma),
            '=' => self.fixed(1, Kind::Assign),
            ':' if second == '=' => self.fixed(2, Kind::Declare),
            '"' => self.quoted()?,
            '`' => self.raw()?,
            '\'' => self.character()?,
            '$' => Kind::Variable(format!("${}", self.word(1))),
            '.' if is_word(second) && !second.is_ascii_digit() => Kind::Field(self.word(1)),
            '.' if !second.is_ascii_digit() => self.fixed(1, Kind::Dot),
            '.' | '+' | '-' | '0'..='9' => self.number()?,
            _ if is_word(first) => Kind::Word(self.word(0)),
            _ => {
                return Err(Fault::new(self.at, format!("unexpected {first:?} in an action")));
            }
        };
        Ok(Some(kind))
    }

    fn fixed(&mut self, length: usize, kind: Kind) -> Kind {
        self.at += length;
        kind
    }

    /// Letters, digits and underscores after `skip` bytes.
    fn word(&mut self, skip: usize) -> String {
        let rest = self.rest().get(skip..).unwrap_or_default();
        let word = rest.split(|c| !is_word(c)).next().unwrap_or_default();
        self.at += skip + word.len();
        word.to_owned()
    }

    fn number(&mut self) -> Result<Kind, Fault> {
        let at = self.at;
        let rest = self.rest();
        let is_part = |(index, c): (usize, char)| {
            let exponent = index > 0 && rest.get(..index).is_some_and(|before| before.ends_with(['e', 'E']));
            is_word(c) || c == '.' || (matches!(c, '+' | '-') && (index == 0 || exponent))
        };
        let length = rest
            .char_indices()
            .find(|&part| !is_part(part))
            .map_or(rest.len(), |(end, _)| end);
        let text = rest.get(..length).unwrap_or_default();
        self.at += length;
        parse_number(text)
            .map(Kind::Literal)
            .ok_or_else(|| Fault::new(at, format!("{text:?} is no number")))
    }

    fn raw(&mut self) -> Result<Kind, Fault> {
        let text = self.rest().get(1..).unwrap_or_default();
        let end = text
            .find('`')
            .ok_or_else(|| Fault::new(self.at, "unterminated raw string: no `"))?;
        self.at += end + 2;
        Ok(Kind::Literal(text.get(..end).unwrap_or_default().into()))
    }

    fn quoted(&mut self) -> Result<Kind, Fault> {
        let open = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            let at = self.at;
            let next = self.rest().chars().next().filter(|c| *c != '\n');
            let c = next.ok_or_else(|| Fault::new(open, "unterminated string: no closing \""))?;
            self.at += c.len_utf8();
            match c {
                '"' => return Ok(Kind::Literal(text.into())),
                '\\' => text.push(
                    self.escape()
                        .ok_or_else(|| Fault::new(at, "unknown escape in a string"))?,
                ),
                _ => text.push(c),
            }
        }
    }

    /// `'a'`: the number of the character.
    fn character(&mut self) -> Result<Kind, Fault> {
        let open = self.at;
        let unfinished = || Fault::new(open, "a character is one, between two '");
        self.at += 1;
        let c = self.rest().chars().next().ok_or_else(unfinished)?;
        self.at += c.len_utf8();
        let c = if c == '\\' { self.escape() } else { Some(c) };
        let c = c.ok_or_else(unfinished)?;
        if !self.rest().starts_with('\'') {
            return Err(unfinished());
        }
        self.at += 1;
        Ok(Kind::Literal(u32::from(c).into()))
    }

    /// The escapes of Go's literals.
    fn escape(&mut self) -> Option<char> {
        let c = self.rest().chars().next()?;
        if matches!(c, '0'..='7') {
            return self.code(3, 8);
        }
        self.at += c.len_utf8();
        match c {
            'n' => Some('\n'),
            't' => Some('\t'),
            'r' => Some('\r'),
            'a' => Some('\x07'),
            'b' => Some('\x08'),
            'f' => Some('\x0c'),
            'v' => Some('\x0b'),
            '\\' | '"' | '\'' => Some(c),
            'x' => self.code(2, 16),
            'u' => self.code(4, 16),
            'U' => self.code(8, 16),
            _ => None,
        }
    }

    fn code(&mut self, digits: usize, base: u32) -> Option<char> {
        let code = self
            .rest()
            .get(..digits)
            .filter(|code| code.chars().all(|digit| digit.is_digit(base)))?;
        self.at += digits;
        char::from_u32(u32::from_str_radix(code, base).ok()?)
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Go's numbers, but imaginary ones and hexadecimal fractions.
fn parse_number(text: &str) -> Option<Value> {
    let unsigned = text.trim_start_matches(['+', '-']);
    let sign = text.strip_suffix(unsigned).unwrap_or_default();
    let plain = unsigned.replace('_', "");
    let lower = plain.to_ascii_lowercase();
    let bases = [("0x", 16), ("0o", 8), ("0b", 2), ("0", 8)];
    let based = bases
        .iter()
        .find_map(|(prefix, base)| Some((lower.strip_prefix(prefix).filter(|rest| !rest.is_empty())?, *base)));
    let integer = match based {
        Some((digits, base)) => i64::from_str_radix(&format!("{sign}{digits}"), base),
        None => format!("{sign}{plain}").parse(),
    };
    let digits = plain.bytes().any(|byte| byte.is_ascii_digit());
    let float = || format!("{sign}{plain}").parse::<f64>().ok().filter(|_| digits);
    integer.ok().map(Value::from).or_else(|| float().map(Value::from))
}
