//! What a template says, as a tree. Made by the parser, walked by the evaluator; `at` is an offset in the source.

use serde_json::Value;

use super::functions::Function;

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    /// Printed as it stands.
    Text(String),
    /// `{{pipeline}}`: printed unless it sets variables.
    Print(Pipeline),
    /// `{{if}}` or, when `dot` is set, `{{with}}`.
    Condition {
        dot: bool,
        pipeline: Pipeline,
        body: Vec<Self>,
        otherwise: Vec<Self>,
    },
    /// `{{range}}`.
    Range {
        pipeline: Pipeline,
        body: Vec<Self>,
        otherwise: Vec<Self>,
    },
    /// `{{break}}` or `{{continue}}`.
    Leave(Leave),
}

/// Where a list of nodes is left before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    /// `{{break}}`.
    Loop,
    /// `{{continue}}`.
    Turn,
}

/// Commands, each fed to the next as its last argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pipeline {
    pub(super) at: usize,
    pub(super) variables: Vec<String>,
    /// `=` instead of `:=`.
    pub(super) assign: bool,
    pub(super) commands: Vec<Command>,
}

/// A value, or a function and its arguments. Never empty: the first operand is a field of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) first: Operand,
    pub(super) arguments: Vec<Operand>,
}

/// `base.field.field`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Operand {
    pub(super) at: usize,
    pub(super) base: Base,
    pub(super) fields: Vec<String>,
}

/// Where an operand's path begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Base {
    Dot,
    Variable(String),
    Literal(Value),
    Function(Function),
    Parenthesis(Box<Pipeline>),
}
