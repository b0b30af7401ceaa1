//! The tree and a value into text.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::Fault;
use super::ast::{Base, Command, Leave, Node, Operand, Pipeline};
use super::functions::{self, Function};
use super::print;

/// Renders `nodes` with `value` as dot and as `$`.
pub(super) fn render(nodes: &[Node], value: &Value, purpose: Purpose) -> Result<String, Fault> {
    let mut evaluation = Evaluation {
        text: String::new(),
        variables: vec![("$", value.clone())],
        purpose,
    };
    evaluation.walk(nodes, value)?;
    Ok(evaluation.text)
}

/// What a template is rendered for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A line, or a document.
    Row,
    /// The line above a table: the values are the heads of columns.
    Head,
}

struct Evaluation<'t> {
    text: String,
    // The innermost last.
    variables: Vec<(&'t str, Value)>,
    purpose: Purpose,
}

/// How a list of nodes was left; `None`: at its end.
type Left = Option<Leave>;

impl<'t> Evaluation<'t> {
    fn walk(&mut self, nodes: &'t [Node], dot: &Value) -> Result<Left, Fault> {
        for node in nodes {
            if let Some(leave) = self.node(node, dot)? {
                return Ok(Some(leave));
            }
        }
        Ok(None)
    }

    /// A block: what is declared inside ends with it.
    fn block(&mut self, nodes: &'t [Node], dot: &Value) -> Result<Left, Fault> {
        let scope = self.variables.len();
        let walked = self.walk(nodes, dot);
        self.variables.truncate(scope);
        walked
    }

    fn node(&mut self, node: &'t Node, dot: &Value) -> Result<Left, Fault> {
        match node {
            Node::Text(text) => self.text.push_str(text),
            Node::Print(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.variables.is_empty() {
                    self.text.push_str(&print::display(&value));
                }
                // A variable set here lives to the end of the block around.
                self.set(pipeline, &[&value]);
            }
            Node::Condition {
                dot: moves,
                pipeline,
                body,
                otherwise,
            } => {
                let scope = self.variables.len();
                let value = self.pipeline(pipeline, dot)?;
                self.set(pipeline, &[&value]);
                let left = match functions::is_true(&value) {
                    true => self.block(body, if *moves { &value } else { dot })?,
                    false => self.block(otherwise, dot)?,
                };
                self.variables.truncate(scope);
                return Ok(left);
            }
            Node::Range {
                pipeline,
                body,
                otherwise,
            } => return self.range(pipeline, body, otherwise, dot),
            Node::Leave(leave) => return Ok(Some(*leave)),
        }
        Ok(None)
    }

    fn range(
        &mut self,
        pipeline: &'t Pipeline,
        body: &'t [Node],
        otherwise: &'t [Node],
        dot: &Value,
    ) -> Result<Left, Fault> {
        let value = self.pipeline(pipeline, dot)?;
        let refused = |what: &str| Fault::new(pipeline.at, format!("range cannot iterate over {what}"));
        let mut items = items(&value)
            .ok_or_else(|| refused(functions::kind(&value)))?
            .peekable();
        if value.is_number() && pipeline.variables.len() == 2 {
            return Err(refused("a number with two variables"));
        }
        if items.peek().is_none() {
            return self.block(otherwise, dot);
        }
        for (key, item) in items {
            let scope = self.variables.len();
            match pipeline.variables.len() {
                2 => self.set(pipeline, &[&key, &item]),
                _ => self.set(pipeline, &[&item]),
            }
            let left = self.block(body, &item)?;
            self.variables.truncate(scope);
            if left == Some(Leave::Loop) {
                break;
            }
        }
        Ok(None)
    }

    /// Declares the pipeline's variables, or with `=` sets the innermost of each name.
    fn set(&mut self, pipeline: &'t Pipeline, values: &[&Value]) {
        for (name, value) in pipeline.variables.iter().zip(values) {
            let known = self.variables.iter_mut().rev().find(|(known, _)| known == name);
            match known {
                Some((_, old)) if pipeline.assign => *old = (*value).clone(),
                _ => self.variables.push((name, (*value).clone())),
            }
        }
    }

    fn pipeline(&mut self, pipeline: &'t Pipeline, dot: &Value) -> Result<Value, Fault> {
        let mut piped = None;
        for command in &pipeline.commands {
            piped = Some(self.command(command, dot, piped)?);
        }
        Ok(piped.unwrap_or_default())
    }

    fn command(&mut self, command: &'t Command, dot: &Value, piped: Option<Value>) -> Result<Value, Fault> {
        let Base::Function(function) = command.first.base else {
            return match command.arguments.first() {
                Some(argument) => Err(Fault::new(
                    argument.at,
                    "what stands before this is no function and takes no argument",
                )),
                None => self.operand(&command.first, dot),
            };
        };
        if matches!(function, Function::And | Function::Or) {
            return self.short_circuit(function, command, dot, piped);
        }
        let mut arguments = Vec::new();
        for operand in &command.arguments {
            arguments.push(self.operand(operand, dot)?);
        }
        arguments.extend(piped);
        let value = match self.purpose {
            Purpose::Row => functions::call(function, &arguments),
            Purpose::Head => functions::head(function, &arguments),
        };
        let value = value.map_err(|message| Fault::new(command.first.at, message))?;
        descend(value, &command.first)
    }

    /// `and` and `or` give the argument that decides, and do not look at those after it.
    fn short_circuit(
        &mut self,
        function: Function,
        command: &'t Command,
        dot: &Value,
        piped: Option<Value>,
    ) -> Result<Value, Fault> {
        let mut last = None;
        for operand in &command.arguments {
            let value = self.operand(operand, dot)?;
            if functions::is_true(&value) == (function == Function::Or) {
                return Ok(value);
            }
            last = Some(value);
        }
        piped.or(last).ok_or_else(|| {
            Fault::new(
                command.first.at,
                format!("{} needs at least one argument", function.name()),
            )
        })
    }

    fn operand(&mut self, operand: &'t Operand, dot: &Value) -> Result<Value, Fault> {
        let value = match &operand.base {
            Base::Dot => return path(dot, operand).cloned(),
            Base::Variable(name) => {
                let variable = self.variables.iter().rev().find(|(known, _)| known == name);
                return path(variable.map_or(&Value::Null, |(_, value)| value), operand).cloned();
            }
            Base::Literal(value) => value.clone(),
            Base::Function(function) => {
                functions::call(*function, &[]).map_err(|message| Fault::new(operand.at, message))?
            }
            Base::Parenthesis(pipeline) => self.pipeline(pipeline, dot)?,
        };
        descend(value, operand)
    }
}

fn descend(value: Value, operand: &Operand) -> Result<Value, Fault> {
    if operand.fields.is_empty() {
        Ok(value)
    } else {
        path(&value, operand).cloned()
    }
}

/// Follows the fields. One that is missing is an error, as it is in Docker, so that a typing error cannot pass for a value;
/// but a small first letter is none of a Go field, only of a key in a map, where Go finds nothing without a complaint. What
/// would be looked for in that nothing is an error again.
fn path<'v>(start: &'v Value, operand: &Operand) -> Result<&'v Value, Fault> {
    let mut value = start;
    for (place, field) in operand.fields.iter().enumerate() {
        let is_last = place + 1 == operand.fields.len();
        let Value::Object(map) = value else {
            return Err(Fault::new(
                operand.at,
                format!("no field {field} in {}", functions::kind(value)),
            ));
        };
        value = match member(map, field) {
            Some(value) => value,
            None if is_last && field.starts_with(char::is_lowercase) => &Value::Null,
            None => return Err(Fault::new(operand.at, missing(field, map))),
        };
    }
    Ok(value)
}

/// A field by its name in Go, where it begins with a capital, or by its name in JSON, where it may not.
fn member<'v>(map: &'v Map<String, Value>, field: &str) -> Option<&'v Value> {
    let is_same = |key: &str| key.starts_with(char::is_lowercase) && key.eq_ignore_ascii_case(field);
    map.get(field).or_else(|| {
        let go = field.starts_with(char::is_uppercase);
        map.iter().find(|(key, _)| go && is_same(key)).map(|(_, value)| value)
    })
}

fn missing(field: &str, map: &Map<String, Value>) -> String {
    let keys: Vec<_> = print::sorted(map).into_iter().map(|(key, _)| key.as_str()).collect();
    format!("no field {field}: there are {}", keys.join(", "))
}

/// Keys and elements in Go's order, of a number those below it; `None` for what cannot be walked.
fn items(value: &Value) -> Option<Box<dyn Iterator<Item = (Value, Cow<'_, Value>)> + '_>> {
    match value {
        Value::Null => Some(Box::new(std::iter::empty())),
        Value::Array(list) => {
            let items = list.iter().enumerate();
            Some(Box::new(items.map(|(index, item)| (index.into(), Cow::Borrowed(item)))))
        }
        Value::Object(map) => {
            let items = print::sorted(map).into_iter();
            Some(Box::new(
                items.map(|(key, item)| (key.as_str().into(), Cow::Borrowed(item))),
            ))
        }
        Value::Number(number) => {
            let below = 0..number.as_i64()?;
            Some(Box::new(below.map(|number| (number.into(), Cow::Owned(number.into())))))
        }
        Value::Bool(_) | Value::String(_) => None,
    }
}
