//! Tokens into the tree. Recursion is bounded, variables are known before anything is printed.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a token that fits nowhere is an error, whichever it is"
)]

use serde_json::Value;

use super::Fault;
use super::ast::{Base, Command, Leave, Node, Operand, Pipeline};
use super::functions::Function;
use super::lexer::{Kind, Token};

/// The tree of a whole template.
pub(super) fn parse(tokens: Vec<Token>) -> Result<Vec<Node>, Fault> {
    let mut parser = Parser {
        tokens,
        next: 0,
        variables: vec!["$".to_owned()],
        depth: 0,
        loops: 0,
    };
    let (nodes, stop) = parser.nodes()?;
    match stop {
        Stop::End(at) => Err(Fault::new(at, "end without if, range or with")),
        Stop::Else(at) => Err(Fault::new(at, "else without if, range or with")),
        Stop::Source => Ok(nodes),
    }
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
    variables: Vec<String>,
    depth: usize,
    /// Of those that are open: how many are `range`.
    loops: usize,
}

/// What ended a list of nodes; the word is read, the rest of its action is not.
enum Stop {
    End(usize),
    Else(usize),
    Source,
}

/// A word that begins a block.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Control {
    If,
    With,
    Range,
}

impl Control {
    fn of(word: &str) -> Option<Self> {
        match word {
            "if" => Some(Self::If),
            "with" => Some(Self::With),
            "range" => Some(Self::Range),
            _ => None,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::If => "if",
            Self::With => "with",
            Self::Range => "range",
        }
    }
}

impl Parser {
    fn peek(&self) -> &Token {
        // The last token is `End`, and nothing steps over it.
        self.tokens.get(self.next).unwrap_or(&END)
    }

    fn take(&mut self) -> Token {
        let token = self.peek().clone();
        if token.kind != Kind::End {
            self.next += 1;
        }
        token
    }

    fn take_if(&mut self, kind: &Kind) -> bool {
        let is = self.peek().kind == *kind;
        if is {
            self.next += 1;
        }
        is
    }

    fn peek_word(&self) -> Option<&str> {
        match &self.peek().kind {
            Kind::Word(word) => Some(word),
            _ => None,
        }
    }

    fn expect(&mut self, kind: &Kind, what: &str) -> Result<(), Fault> {
        let token = self.take();
        if token.kind == *kind {
            Ok(())
        } else {
            Err(unexpected(&token, what))
        }
    }

    fn deeper<T>(&mut self, at: usize, parse: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        if self.depth == MAX_DEPTH {
            return Err(Fault::new(at, format!("nested more than {MAX_DEPTH} deep")));
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    fn nodes(&mut self) -> Result<(Vec<Node>, Stop), Fault> {
        let mut nodes = Vec::new();
        loop {
            let token = self.take();
            match token.kind {
                Kind::Text(text) => nodes.push(Node::Text(text)),
                Kind::Open => match self.action()? {
                    Ok(node) => nodes.push(node),
                    Err(stop) => return Ok((nodes, stop)),
                },
                _ => return Ok((nodes, Stop::Source)),
            }
        }
    }

    /// An action after its `{{`: a node, or the end of the list it stands in.
    fn action(&mut self) -> Result<Result<Node, Stop>, Fault> {
        let at = self.peek().at;
        let word = self.peek_word().unwrap_or_default().to_owned();
        match word.as_str() {
            "end" => {
                self.take();
                self.expect(&Kind::Close, "end")?;
                Ok(Err(Stop::End(at)))
            }
            "else" => {
                self.take();
                Ok(Err(Stop::Else(at)))
            }
            "break" => self.leave(Leave::Loop, &word).map(Ok),
            "continue" => self.leave(Leave::Turn, &word).map(Ok),
            "define" | "template" | "block" => Err(Fault::new(at, format!("{word} is not supported here"))),
            _ => match Control::of(&word) {
                Some(control) => self.deeper(at, |parser| parser.control(control)).map(Ok),
                None => self.print().map(|pipeline| Ok(Node::Print(pipeline))),
            },
        }
    }

    fn leave(&mut self, leave: Leave, word: &str) -> Result<Node, Fault> {
        let at = self.take().at;
        self.expect(&Kind::Close, word)?;
        if self.loops == 0 {
            return Err(Fault::new(at, format!("{word} outside range")));
        }
        Ok(Node::Leave(leave))
    }

    fn print(&mut self) -> Result<Pipeline, Fault> {
        let pipeline = self.pipeline("an action", 1)?;
        self.expect(&Kind::Close, "an action")?;
        Ok(pipeline)
    }

    /// `if`, `with` or `range` up to its `end`.
    fn control(&mut self, control: Control) -> Result<Node, Fault> {
        let at = self.take().at;
        let scope = self.variables.len();
        let pipeline = self.pipeline(control.word(), if control == Control::Range { 2 } else { 1 })?;
        self.expect(&Kind::Close, control.word())?;
        let inner = self.variables.len();
        let loops = usize::from(control == Control::Range);
        self.loops += loops;
        let body = self.nodes();
        self.loops -= loops;
        let (body, stop) = body?;
        self.variables.truncate(inner);
        let otherwise = match stop {
            Stop::End(_) => Vec::new(),
            Stop::Else(_) => self.otherwise(control)?,
            Stop::Source => return Err(Fault::new(at, format!("{} without end", control.word()))),
        };
        self.variables.truncate(scope);
        Ok(match control {
            Control::Range => Node::Range {
                pipeline,
                body,
                otherwise,
            },
            Control::If | Control::With => Node::Condition {
                dot: control == Control::With,
                pipeline,
                body,
                otherwise,
            },
        })
    }

    /// After `else`: `if …` or `with …` go on with a condition that shares the `end`.
    fn otherwise(&mut self, control: Control) -> Result<Vec<Node>, Fault> {
        let at = self.peek().at;
        if control != Control::Range && self.peek_word() == Some(control.word()) {
            return self.deeper(at, |parser| parser.control(control)).map(|node| vec![node]);
        }
        self.expect(&Kind::Close, "else")?;
        match self.nodes()? {
            (nodes, Stop::End(_)) => Ok(nodes),
            (_, Stop::Else(at)) => Err(Fault::new(at, "a second else")),
            (_, Stop::Source) => Err(Fault::new(at, "else without end")),
        }
    }

    /// Up to, and without, the `}}` or `)` that ends it.
    fn pipeline(&mut self, context: &str, most_variables: usize) -> Result<Pipeline, Fault> {
        let at = self.peek().at;
        let (variables, assign) = self.variables(most_variables)?;
        let mut commands = Vec::new();
        loop {
            let stage = self.peek().at;
            let command = self.command(context)?;
            if !commands.is_empty() && !matches!(command.first.base, Base::Function(_)) {
                return Err(Fault::new(stage, "what stands after | must be a function"));
            }
            commands.push(command);
            if !self.take_if(&Kind::Pipe) {
                break;
            }
        }
        // Only now: in `$x := $x` the second is the outer one.
        if !assign {
            self.variables.extend(variables.iter().cloned());
        }
        Ok(Pipeline {
            at,
            variables,
            assign,
            commands,
        })
    }

    /// `$a, $b :=`, `$a :=` or `$a =`, if the pipeline begins so.
    fn variables(&mut self, most: usize) -> Result<(Vec<String>, bool), Fault> {
        let start = self.next;
        let mut names = Vec::new();
        while let Kind::Variable(name) = self.peek().kind.clone() {
            let at = self.take().at;
            names.push(name);
            let sign = self.peek().kind.clone();
            match sign {
                Kind::Comma if names.len() < most => self.next += 1,
                Kind::Declare => {
                    self.next += 1;
                    return Ok((names, false));
                }
                Kind::Assign => {
                    self.next += 1;
                    names.iter().try_for_each(|name| self.known(name, at))?;
                    return Ok((names, true));
                }
                _ => break,
            }
        }
        self.next = start;
        Ok((Vec::new(), false))
    }

    fn known(&self, name: &str, at: usize) -> Result<(), Fault> {
        if self.variables.iter().any(|variable| variable == name) {
            return Ok(());
        }
        Err(Fault::new(at, format!("undefined variable {name}")))
    }

    fn command(&mut self, context: &str) -> Result<Command, Fault> {
        let at = self.peek().at;
        let Some(first) = self.operand()? else {
            let token = self.take();
            return Err(if ends_command(&token.kind) {
                Fault::new(at, format!("missing value for {context}"))
            } else {
                unexpected(&token, context)
            });
        };
        if first.base == Base::Literal(Value::Null) {
            return Err(Fault::new(at, "nil is not a command"));
        }
        let mut arguments = Vec::new();
        while let Some(operand) = self.operand()? {
            arguments.push(operand);
        }
        if ends_command(&self.peek().kind) {
            Ok(Command { first, arguments })
        } else {
            Err(unexpected(self.peek(), context))
        }
    }

    fn operand(&mut self) -> Result<Option<Operand>, Fault> {
        let token = self.peek().clone();
        let at = token.at;
        let mut fields = Vec::new();
        let base = match token.kind {
            Kind::Dot => Base::Dot,
            Kind::Field(name) => {
                fields.push(name);
                Base::Dot
            }
            Kind::Variable(name) => {
                self.known(&name, at)?;
                Base::Variable(name)
            }
            Kind::Literal(value) => Base::Literal(value),
            Kind::Word(word) => word_operand(&word, at)?,
            Kind::LeftParenthesis => {
                self.take();
                let pipeline = self.deeper(at, |parser| parser.pipeline("a parenthesis", 0))?;
                if self.peek().kind != Kind::RightParenthesis {
                    return Err(unexpected(self.peek(), "a parenthesis"));
                }
                Base::Parenthesis(Box::new(pipeline))
            }
            _ => return Ok(None),
        };
        self.take();
        while let Token {
            kind: Kind::Field(name),
            spaced: false,
            ..
        } = self.peek().clone()
        {
            self.take();
            fields.push(name);
        }
        Ok(Some(Operand { at, base, fields }))
    }
}

fn word_operand(word: &str, at: usize) -> Result<Base, Fault> {
    match word {
        "true" => Ok(Base::Literal(Value::Bool(true))),
        "false" => Ok(Base::Literal(Value::Bool(false))),
        "nil" => Ok(Base::Literal(Value::Null)),
        _ => match Function::of(word) {
            Some(function) => Ok(Base::Function(function)),
            None => Err(Fault::new(at, format!("function {word:?} is not defined"))),
        },
    }
}

fn ends_command(kind: &Kind) -> bool {
    matches!(kind, Kind::Pipe | Kind::Close | Kind::RightParenthesis)
}

fn unexpected(token: &Token, context: &str) -> Fault {
    let what = match &token.kind {
        Kind::Text(_) | Kind::Open | Kind::End => "end of the template".to_owned(),
        Kind::Close => "}}".to_owned(),
        Kind::Dot => ".".to_owned(),
        Kind::Field(name) => format!(".{name}"),
        Kind::Variable(name) | Kind::Word(name) => name.clone(),
        Kind::Literal(value) => value.to_string(),
        Kind::Pipe => "|".to_owned(),
        Kind::Comma => ",".to_owned(),
        Kind::Declare => ":=".to_owned(),
        Kind::Assign => "=".to_owned(),
        Kind::LeftParenthesis => "(".to_owned(),
        Kind::RightParenthesis => ")".to_owned(),
    };
    Fault::new(token.at, format!("unexpected {what} in {context}"))
}

/// Blocks and parentheses in each other: far more than anybody types, far less than a stack holds.
const MAX_DEPTH: usize = 64;
const END: Token = Token {
    kind: Kind::End,
    at: 0,
    spaced: false,
};
