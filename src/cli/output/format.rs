//! `--format`: one list of rows, or one document each, as table, JSON or by a template.
//!
//! A row is a JSON object of texts with Docker's field names, so that a template for `docker ps` works here. As with
//! Docker `json` prints a list as an object a line, and `table TEMPLATE` prints a head, with columns at each `\t`.

use std::str::FromStr;

use serde_json::{Map, Value};

use super::table;
use crate::cli::template::{Template, TemplateError};

/// How a list is printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// Columns with a head.
    Table,
    /// A JSON object a line.
    Json,
    /// By a template, a line each.
    Template(Template),
    /// Columns with a head, each line by a template.
    TableTemplate(Template),
}

/// How documents are printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DocumentFormat {
    /// A JSON array.
    Json,
    /// By a template, a line each.
    Template(Template),
}

/// A field of a row.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Column {
    /// Its name in templates and JSON.
    pub(in crate::cli) key: &'static str,
    /// Its head in tables.
    pub(in crate::cli) head: &'static str,
    /// Whether the table has it when no template says so.
    pub(in crate::cli) shown: bool,
}

impl Column {
    /// One of the table.
    pub(in crate::cli) const fn shown(key: &'static str, head: &'static str) -> Self {
        Self { key, head, shown: true }
    }

    /// One for templates and JSON alone.
    pub(in crate::cli) const fn hidden(key: &'static str, head: &'static str) -> Self {
        Self {
            key,
            head,
            shown: false,
        }
    }
}

impl FromStr for Format {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        match text {
            "table" | "" => Ok(Self::Table),
            "json" => Ok(Self::Json),
            _ => match text.strip_prefix("table ") {
                Some(template) => unescape(template).parse().map(Self::TableTemplate),
                None => unescape(text).parse().map(Self::Template),
            },
        }
    }
}

impl FromStr for DocumentFormat {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        if matches!(text, "json" | "") {
            Ok(Self::Json)
        } else {
            text.parse().map(Self::Template)
        }
    }
}

/// A list as text. Each row must have a value for every column.
pub(in crate::cli) fn list(format: &Format, columns: &[Column], rows: &[Value]) -> Result<String, TemplateError> {
    match format {
        Format::Table => Ok(table::align(&shown(columns, rows))),
        Format::Json => Ok(rows.iter().map(|row| format!("{row}\n")).collect()),
        Format::Template(template) => each(template, rows),
        Format::TableTemplate(template) => {
            let heads: Map<_, _> = columns
                .iter()
                .map(|column| (column.key.to_owned(), column.head.into()))
                .collect();
            let lines = template.render_head(&heads.into())? + "\n" + &each(template, rows)?;
            let cells = |line: &str| line.split('\t').map(str::to_owned).collect();
            Ok(table::align(&lines.lines().map(cells).collect::<Vec<_>>()))
        }
    }
}

/// Documents as text.
pub fn documents(format: &DocumentFormat, documents: &[Value]) -> Result<String, TemplateError> {
    match format {
        DocumentFormat::Json => Ok(pretty(documents)),
        DocumentFormat::Template(template) => each(template, documents),
    }
}

fn each(template: &Template, values: &[Value]) -> Result<String, TemplateError> {
    values
        .iter()
        .map(|value| template.render(value).map(|text| text + "\n"))
        .collect()
}

fn shown(columns: &[Column], rows: &[Value]) -> Vec<Vec<String>> {
    let columns: Vec<_> = columns.iter().filter(|column| column.shown).collect();
    let heads = columns.iter().map(|column| column.head.to_owned()).collect();
    let cell = |row: &Value, key: &str| match row.get(key) {
        Some(Value::String(text)) => text.clone(),
        value => value.map_or_else(String::new, Value::to_string),
    };
    let rows = rows
        .iter()
        .map(|row| columns.iter().map(|column| cell(row, column.key)).collect());
    std::iter::once(heads).chain(rows).collect()
}

/// Docker indents by four. Values in memory cannot fail to become JSON.
fn pretty(documents: &[Value]) -> String {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    let _ = serde::Serialize::serialize(documents, &mut serializer);
    String::from_utf8_lossy(&text).into_owned() + "\n"
}

/// A shell does not make a tab of `\t` in single quotes, so Docker does.
fn unescape(template: &str) -> String {
    template.replace("\\t", "\t").replace("\\n", "\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const COLUMNS: &[Column] = &[
        Column {
            key: "Name",
            head: "NAME",
            shown: true,
        },
        Column {
            key: "Size",
            head: "SIZE",
            shown: true,
        },
        Column {
            key: "Secret",
            head: "SECRET",
            shown: false,
        },
    ];

    fn shown_as(format: &str) -> String {
        let rows = [
            json!({"Name": "web", "Size": 3, "Secret": "x"}),
            json!({"Name": "a-long-name", "Size": "", "Secret": "y"}),
        ];
        list(&format.parse().unwrap(), COLUMNS, &rows).unwrap()
    }

    #[test]
    fn the_formats_of_a_list() {
        assert_eq!(
            shown_as("table"),
            "NAME          SIZE\nweb           3\na-long-name   \n"
        );
        assert_eq!(
            shown_as("json"),
            "{\"Name\":\"web\",\"Size\":3,\"Secret\":\"x\"}\n{\"Name\":\"a-long-name\",\"Size\":\"\",\"Secret\":\"y\"}\n"
        );
        assert_eq!(shown_as("{{.Name}}={{.Secret}}"), "web=x\na-long-name=y\n");
        assert_eq!(shown_as(r"{{.Name}}\t{{.Size}}"), "web\t3\na-long-name\t\n");
        assert_eq!(
            shown_as(r"table {{.Secret}}\t{{.Name}}"),
            "SECRET    NAME\nx         web\ny         a-long-name\n"
        );
        assert_eq!(
            shown_as(r#"table {{upper .Secret}}\t{{truncate .Name 3}}\t{{json .Secret}}"#),
            "SECRET    NAME      SECRET\nX         web       \"x\"\nY         a-l       \"y\"\n"
        );
    }

    #[test]
    fn errors_of_a_template_come_through() {
        assert_eq!(
            "{{.Name".parse::<Format>().unwrap_err().to_string(),
            "template: 1:1: unclosed action: no }}"
        );
        let error = list(&"{{.Nmae}}".parse().unwrap(), COLUMNS, &[json!({"Name": "web"})]).unwrap_err();
        assert_eq!(error.to_string(), "template: 1:3: no field Nmae: there are Name");
    }

    #[test]
    fn documents_are_an_array_or_a_line_each() {
        let both = [json!({"Id": "a", "Ports": {}}), json!({"Id": "b", "Ports": null})];
        assert_eq!(documents(&"{{.Id}}".parse().unwrap(), &both).unwrap(), "a\nb\n");
        assert_eq!(
            documents(&"json".parse().unwrap(), &both[..1]).unwrap(),
            "[\n    {\n        \"Id\": \"a\",\n        \"Ports\": {}\n    }\n]\n"
        );
        assert_eq!(documents(&"json".parse().unwrap(), &[]).unwrap(), "[]\n");
    }
}
