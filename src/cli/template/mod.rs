//! The Go templates of `--format`: the subset that people paste from Docker, over JSON values.
//!
//! Supported: text, comments, `{{-` and `-}}`; field paths, `$variables`, `:=` and `=`, literals, parentheses, pipelines;
//! `if`, `else if`, `else`, `with`, `range` over lists, maps (in the order of the keys) and numbers, `break`, `continue`; Go's
//! functions `and or not eq ne lt le gt ge index slice len print printf println html js urlquery` and Docker's `json join split
//! lower upper title truncate pad`. What a value looks like is Go's: `map[a:1]`, `[a b]`, `<no value>`, and `{1 2}` for what
//! has the names of a struct's fields; a field that is missing is an error, as in Docker. Not supported, and refused by name:
//! `define`, `template`, `block`.
//!
//! Own code, because the one crate there is, gtmpl 0.7, calls itself passively maintained, brings a value type of its own, knows
//! no column in an error and nests without bound. Source: the documentation of Go's `text/template` and `fmt`; the table in
//! the tests was compared with what the `docker` command prints. Called by [`super::output`]; pure.
//!
//! A template is read once and rendered per row: `lexer` → `parser` → `ast`, then `eval` with `functions`, `texts`, `print`
//! and `printf`.

mod ast;
mod eval;
mod functions;
mod lexer;
mod parser;
mod print;
mod printf;
#[cfg(test)]
mod tests;
mod texts;

use std::str::FromStr;

use eval::Purpose;
use serde_json::Value;

/// A template that has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    source: String,
    nodes: Vec<ast::Node>,
}

/// What is wrong with a template, or with a value for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template: {line}:{column}: {message}")]
pub struct TemplateError {
    /// Counted from 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

/// An error on its way out: the position is still an offset.
#[derive(Debug)]
struct Fault {
    at: usize,
    message: String,
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(source: &str) -> Result<Self, TemplateError> {
        let nodes = lexer::tokens(source)
            .and_then(parser::parse)
            .map_err(|fault| fault.in_source(source))?;
        Ok(Self {
            source: source.to_owned(),
            nodes,
        })
    }
}

impl Template {
    /// The text that the template makes of `value`.
    pub fn render(&self, value: &Value) -> Result<String, TemplateError> {
        self.render_for(value, Purpose::Row)
    }

    /// The head of a table whose lines the template makes, from the heads of its columns.
    pub(super) fn render_head(&self, heads: &Value) -> Result<String, TemplateError> {
        self.render_for(heads, Purpose::Head)
    }

    fn render_for(&self, value: &Value, purpose: Purpose) -> Result<String, TemplateError> {
        eval::render(&self.nodes, value, purpose).map_err(|fault| fault.in_source(&self.source))
    }
}

impl Fault {
    fn new(at: usize, message: impl Into<String>) -> Self {
        Self {
            at,
            message: message.into(),
        }
    }

    fn in_source(self, source: &str) -> TemplateError {
        let before = source.get(..self.at).unwrap_or(source);
        let start_of_line = before.rfind('\n').map_or(0, |newline| newline + 1);
        TemplateError {
            line: before.matches('\n').count() + 1,
            column: before.get(start_of_line..).unwrap_or_default().chars().count() + 1,
            message: self.message,
        }
    }
}
