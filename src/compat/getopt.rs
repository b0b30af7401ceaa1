//! Options as getopt_long(3) of glibc reads them: for command lines that were written for it.
//!
//! Pure: arguments in, options and operands in the order in which the original would see them out. Its rules: options may
//! stand after operands, until `--`; a long name may be cut as long as it is no beginning of two; `--name=value`,
//! `--name value`, `-nvalue`, `-n value`, and short options without value run together. The error is what glibc prints
//! after the program's name.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Whether an option has a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// It has none.
    Nothing,
    /// It must.
    Value,
    /// Only one that is written to it: `--name=value`, `-nvalue`.
    Maybe,
}

/// An option that a program knows.
#[derive(Debug, Clone, Copy)]
pub struct Known<K> {
    /// Its long name, without dashes; empty for none.
    pub long: &'static str,
    /// Its letter.
    pub short: Option<char>,
    /// Whether it has a value.
    pub takes: Takes,
    /// What the program calls it. Names of the same option are no ambiguity.
    pub key: K,
}

/// One thing that was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said<K> {
    /// An option, with its value.
    Option(K, Option<OsString>),
    /// An operand.
    Operand(OsString),
}

/// Why a command line can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misread {
    /// No option has this name.
    #[error("unrecognized option '--{0}'")]
    Unrecognized(String),
    /// Several begin so.
    #[error("option '--{name}' is ambiguous; possibilities:{}", quoted(names))]
    Ambiguous {
        /// What was written.
        name: String,
        /// What it may mean.
        names: Vec<&'static str>,
    },
    /// It has no value.
    #[error("option '--{0}' doesn't allow an argument")]
    NoValue(&'static str),
    /// It must have one.
    #[error("option '--{0}' requires an argument")]
    ValueMissing(&'static str),
    /// No option has this letter.
    #[error("invalid option -- '{0}'")]
    InvalidLetter(char),
    /// It must have a value.
    #[error("option requires an argument -- '{0}'")]
    LetterValueMissing(char),
}

/// Reads arguments (without the program's name) one at a time, so that a program may stop at one that it acts upon at
/// once, as getopt's callers do: what stands behind is not judged then.
#[derive(Debug)]
pub struct Reader<'k, K> {
    known: &'k [Known<K>],
    arguments: std::vec::IntoIter<OsString>,
    /// Letters that are left of an argument.
    letters: Vec<u8>,
    /// Everything is an operand from here on.
    only_operands: bool,
    stops_at_operand: bool,
}

impl<'k, K: Copy + PartialEq> Reader<'k, K> {
    /// Reads `arguments`, of which `known` says what they mean.
    pub fn new(known: &'k [Known<K>], arguments: impl IntoIterator<Item = OsString>) -> Self {
        Self {
            known,
            arguments: arguments.into_iter().collect::<Vec<_>>().into_iter(),
            letters: Vec::new(),
            only_operands: false,
            stops_at_operand: false,
        }
    }

    /// What follows the first operand is an operand too ('+' before the letters): a command with options of its own.
    pub fn stopping_at_operand(mut self) -> Self {
        self.stops_at_operand = true;
        self
    }

    fn long(&mut self, text: &[u8]) -> Result<Said<K>, Misread> {
        let (name, value) = match text.iter().position(|byte| *byte == b'=') {
            Some(at) => (&text[..at], Some(OsString::from_vec(text[at + 1..].to_vec()))),
            None => (text, None),
        };
        let option = self.meant(name, text)?;
        let value = match (option.takes, value) {
            (Takes::Nothing, Some(_)) => return Err(Misread::NoValue(option.long)),
            (Takes::Value, None) => Some(self.arguments.next().ok_or(Misread::ValueMissing(option.long))?),
            (Takes::Nothing, None) => None,
            (Takes::Value | Takes::Maybe, value) => value,
        };
        Ok(Said::Option(option.key, value))
    }

    fn meant(&self, name: &[u8], text: &[u8]) -> Result<&'k Known<K>, Misread> {
        let named = || self.known.iter().filter(|option| !option.long.is_empty());
        if let Some(exact) = named().find(|option| option.long.as_bytes() == name) {
            return Ok(exact);
        }
        let begun: Vec<_> = named()
            .filter(|option| option.long.as_bytes().starts_with(name))
            .collect();
        match begun.as_slice() {
            [] => Err(Misread::Unrecognized(lossy(text))),
            [first, others @ ..] if others.iter().all(|other| other.key == first.key) => Ok(first),
            several => Err(Misread::Ambiguous {
                name: lossy(text),
                names: several.iter().map(|option| option.long).collect(),
            }),
        }
    }

    fn letter(&mut self) -> Result<Said<K>, Misread> {
        let letters = std::mem::take(&mut self.letters);
        let letter = char::from(letters[0]);
        let rest = &letters[1..];
        let option = self.known.iter().find(|option| option.short == Some(letter));
        let option = option.ok_or(Misread::InvalidLetter(letter))?;
        let value = match option.takes {
            Takes::Nothing => {
                self.letters = rest.to_vec();
                None
            }
            Takes::Value if rest.is_empty() => {
                let next = self.arguments.next();
                Some(next.ok_or(Misread::LetterValueMissing(letter))?)
            }
            Takes::Maybe if rest.is_empty() => None,
            Takes::Value | Takes::Maybe => Some(OsString::from_vec(rest.to_vec())),
        };
        Ok(Said::Option(option.key, value))
    }

    fn argument(&mut self, argument: OsString) -> Option<Result<Said<K>, Misread>> {
        let bytes = argument.as_bytes();
        match bytes {
            _ if self.only_operands => Some(Ok(Said::Operand(argument))),
            b"--" => {
                self.only_operands = true;
                self.next()
            }
            [b'-', b'-', long @ ..] => Some(self.long(long)),
            [b'-', letters @ ..] if !letters.is_empty() => {
                self.letters = letters.to_vec();
                Some(self.letter())
            }
            _ => {
                self.only_operands = self.stops_at_operand;
                Some(Ok(Said::Operand(argument)))
            }
        }
    }
}

impl<K: Copy + PartialEq> Iterator for Reader<'_, K> {
    type Item = Result<Said<K>, Misread>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.letters.is_empty() {
            return Some(self.letter());
        }
        let argument = self.arguments.next()?;
        self.argument(argument)
    }
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!(" '--{name}'")).collect()
}

fn lossy(text: &[u8]) -> String {
    OsStr::from_bytes(text).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Key {
        Configure,
        Mtu,
        Dns,
        Loopback,
        Sandbox,
        Plain,
        Level,
    }

    const KNOWN: &[Known<Key>] = &[
        known("configure", Some('c'), Takes::Nothing, Key::Configure),
        known("mtu", Some('m'), Takes::Value, Key::Mtu),
        known("disable-dns", None, Takes::Nothing, Key::Dns),
        known("disable-host-loopback", None, Takes::Nothing, Key::Loopback),
        known("create-sandbox", None, Takes::Nothing, Key::Sandbox),
        known("create-sand", None, Takes::Nothing, Key::Sandbox),
        known("plain", None, Takes::Nothing, Key::Plain),
        known("plain-level", Some('l'), Takes::Maybe, Key::Level),
    ];

    const fn known(long: &'static str, short: Option<char>, takes: Takes, key: Key) -> Known<Key> {
        Known {
            long,
            short,
            takes,
            key,
        }
    }

    fn read(line: &str) -> Result<Vec<Said<Key>>, String> {
        let reader = Reader::new(KNOWN, line.split_whitespace().map(OsString::from));
        reader.collect::<Result<_, _>>().map_err(|misread| misread.to_string())
    }

    fn option(key: Key) -> Said<Key> {
        Said::Option(key, None)
    }

    fn with(key: Key, value: &str) -> Said<Key> {
        Said::Option(key, Some(value.into()))
    }

    fn operand(text: &str) -> Said<Key> {
        Said::Operand(text.into())
    }

    #[test]
    fn every_way_to_say_it() {
        let mtu = [with(Key::Mtu, "1500")];
        for line in ["--mtu 1500", "--mtu=1500", "--mt=1500", "--m 1500", "-m1500", "-m 1500"] {
            assert_eq!(read(line).unwrap(), mtu, "{line}");
        }
        assert_eq!(read("-cm9").unwrap(), [option(Key::Configure), with(Key::Mtu, "9")]);
        assert_eq!(read("-cc").unwrap(), [option(Key::Configure), option(Key::Configure)]);
        assert_eq!(
            read("--mtu -c").unwrap(),
            [with(Key::Mtu, "-c")],
            "a value may look like an option"
        );
        assert_eq!(read("--mtu=").unwrap(), [with(Key::Mtu, "")]);
        assert_eq!(read("--mtu=a=b").unwrap(), [with(Key::Mtu, "a=b")]);
        assert_eq!(
            read("--plain").unwrap(),
            [option(Key::Plain)],
            "whole names come before beginnings"
        );
        assert_eq!(
            read("--create-sandb").unwrap(),
            [option(Key::Sandbox)],
            "two names of one option"
        );
        assert_eq!(
            read("-l7 -l 7").unwrap()[..2],
            [with(Key::Level, "7"), option(Key::Level)]
        );
        assert_eq!(read("--plain-level 7").unwrap(), [option(Key::Level), operand("7")]);
    }

    #[test]
    fn operands_anywhere() {
        let said = [operand("42"), option(Key::Configure), operand("tap0")];
        assert_eq!(read("42 -c tap0").unwrap(), said);
        assert_eq!(read("-- -c --").unwrap(), [operand("-c"), operand("--")]);
        assert_eq!(read("-").unwrap(), [operand("-")]);
        let reader = Reader::new(KNOWN, ["sh", "-c"].map(OsString::from)).stopping_at_operand();
        let said: Result<Vec<_>, _> = reader.collect();
        assert_eq!(said.unwrap(), [operand("sh"), operand("-c")]);
    }

    #[test]
    fn in_getopts_words() {
        for (line, words) in [
            ("--x", "unrecognized option '--x'"),
            ("--x=1", "unrecognized option '--x=1'"),
            ("--mtu", "option '--mtu' requires an argument"),
            ("--configure=1", "option '--configure' doesn't allow an argument"),
            ("--conf=1", "option '--configure' doesn't allow an argument"),
            ("-m", "option requires an argument -- 'm'"),
            ("-x", "invalid option -- 'x'"),
            (
                "--disable",
                "option '--disable' is ambiguous; possibilities: '--disable-dns' '--disable-host-loopback'",
            ),
        ] {
            assert_eq!(read(line).unwrap_err(), words, "{line}");
        }
    }
}
