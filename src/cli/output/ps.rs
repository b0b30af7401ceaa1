//! `ps`.

use serde_json::{Value, json};

use super::filter::{self, Candidate, Filter};
use super::format::{Column, Format, list};
use super::{duration, ports};
use crate::api::timestamp;
use crate::api::types::{ContainerSummary, State, Status};
use crate::cli::template::TemplateError;
use crate::network::name;

/// What `ps` was asked to show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PsView {
    /// Stopped containers, too.
    pub all: bool,
    /// Ids only.
    pub quiet: bool,
    /// Ids and commands in full.
    pub no_trunc: bool,
    /// So many that were made last, whatever their state; 0: all.
    pub last: usize,
    /// What must hold of them.
    pub filters: Vec<Filter>,
}

impl PsView {
    /// Whether stopped containers are looked at: they are asked for, one way or another.
    pub fn wants_stopped(&self) -> bool {
        self.all || self.last > 0 || self.filters.iter().any(|filter| filter.key == "status")
    }
}

/// The output of `ps`, the newest container first. `now`: seconds since the epoch.
pub fn ps(
    containers: &[ContainerSummary],
    view: &PsView,
    format: &Format,
    network: &str,
    now: u64,
) -> Result<String, TemplateError> {
    let stopped = view.wants_stopped();
    let candidate = |container| Candidate {
        container,
        network,
        all: containers,
    };
    let mut listed: Vec<_> = containers
        .iter()
        .filter(|it| stopped || it.state.status == Status::Running)
        .filter(|it| filter::lists(&view.filters, candidate(it)))
        .collect();
    listed.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
    if view.last > 0 {
        listed.truncate(view.last);
    }
    if view.quiet {
        return Ok(listed
            .iter()
            .map(|container| id(container, view).to_owned() + "\n")
            .collect());
    }
    let rows: Vec<_> = listed
        .iter()
        .map(|container| row(container, view, network, now))
        .collect();
    list(format, COLUMNS, &rows)
}

fn row(container: &ContainerSummary, view: &PsView, network: &str, now: u64) -> Value {
    let state = &container.state;
    json!({
        "ID": id(container, view),
        "Names": container.name,
        "Name": container.name,
        "Command": command(&container.cmd, view),
        "Status": status(state, now),
        "IP": container.ip.map(|address| address.to_string()).unwrap_or_default(),
        "Ports": ports::column(&container.ports),
        "State": state.status.word(),
        "CreatedAt": timestamp::spelled(state.created_at),
        "RunningFor": ago(state.created_at, now),
        "Networks": network,
        // There are none here; templates for `docker ps` ask for them, and Docker says so where an image is gone.
        "Image": "<no image>",
        "Labels": "",
        "Mounts": "",
    })
}

fn id<'c>(container: &'c ContainerSummary, view: &PsView) -> &'c str {
    if view.no_trunc {
        &container.id
    } else {
        name::short_id(&container.id)
    }
}

/// Quoted, so that a control character cannot reach the terminal; an attached namespace has no command.
fn command(words: &[String], view: &PsView) -> String {
    let command = words.join(" ");
    if view.no_trunc || command.chars().count() <= COMMAND {
        return format!("{command:?}");
    }
    let shortened: String = command.chars().take(COMMAND - 1).chain(std::iter::once('…')).collect();
    format!("{shortened:?}")
}

fn status(state: &State, now: u64) -> String {
    match state.status {
        Status::Created => "Created".to_owned(),
        Status::Running => format!("Up {}", duration::human(now.saturating_sub(state.started_at))),
        Status::Exited => format!("Exited ({}) {}", state.exit_code, ago(state.finished_at, now)),
    }
}

fn ago(then: u64, now: u64) -> String {
    format!("{} ago", duration::human(now.saturating_sub(then)))
}

/// Characters of a command in the table: docker/cli's `Ellipsis(…, 20)`.
const COMMAND: usize = 20;

/// The table is that of cli.md; the rest are Docker's fields for templates.
const COLUMNS: &[Column] = &[
    Column::shown("ID", "CONTAINER ID"),
    Column::shown("Name", "NAME"),
    Column::shown("Command", "COMMAND"),
    Column::shown("Status", "STATUS"),
    Column::shown("IP", "IP"),
    Column::shown("Ports", "PORTS"),
    Column::hidden("Names", "NAMES"),
    Column::hidden("State", "STATE"),
    Column::hidden("CreatedAt", "CREATED AT"),
    Column::hidden("RunningFor", "CREATED"),
    Column::hidden("Networks", "NETWORKS"),
    Column::hidden("Image", "IMAGE"),
    Column::hidden("Labels", "LABELS"),
    Column::hidden("Mounts", "MOUNTS"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::PortMapping;

    const NOW: u64 = 1_700_000_000;

    fn running() -> ContainerSummary {
        let published = |address: &str| PortMapping {
            container_port: 80,
            protocol: "tcp".into(),
            host: Some((address.parse().unwrap(), 8080)),
        };
        ContainerSummary {
            id: format!("b9ffb0800ca5{}", "a".repeat(52)),
            name: "web".into(),
            cmd: ["httpd", "-f", "-p", "80"].map(str::to_owned).into(),
            created: (NOW - 4) * 1_000_000_000,
            state: State {
                status: Status::Running,
                pid: 7,
                exit_code: 0,
                created_at: NOW - 4,
                started_at: NOW - 3,
                finished_at: 0,
            },
            ip: Some([172, 17, 0, 2].into()),
            ports: vec![published("0.0.0.0"), published("::")],
        }
    }

    fn exited() -> ContainerSummary {
        ContainerSummary {
            id: format!("0123456789ab{}", "c".repeat(52)),
            name: "backup-job".into(),
            cmd: vec!["sh".into(), "-c".into(), "echo \"done\"\x1b[31m; false".into()],
            created: (NOW - 9000) * 1_000_000_000,
            state: State {
                status: Status::Exited,
                pid: 0,
                exit_code: 1,
                created_at: NOW - 9000,
                started_at: NOW - 9000,
                finished_at: NOW - 130,
            },
            ip: None,
            ports: Vec::new(),
        }
    }

    fn shown(view: PsView, format: &str) -> String {
        ps(&[exited(), running()], &view, &format.parse().unwrap(), "gp0", NOW).unwrap()
    }

    fn all() -> PsView {
        PsView {
            all: true,
            ..PsView::default()
        }
    }

    #[test]
    fn the_table() {
        let expected = "\
CONTAINER ID   NAME      COMMAND            STATUS         IP           PORTS
b9ffb0800ca5   web       \"httpd -f -p 80\"   Up 3 seconds   172.17.0.2   0.0.0.0:8080->80/tcp, [::]:8080->80/tcp
";
        assert_eq!(shown(PsView::default(), "table"), expected);
    }

    #[test]
    fn stopped_ones_with_all_newest_first() {
        let table = shown(all(), "table");
        let lines: Vec<_> = table.lines().collect();
        assert!(lines[1].starts_with("b9ffb0800ca5   web "));
        assert_eq!(
            lines[2].trim_end(),
            "0123456789ab   backup-job   \"sh -c echo \\\"done\\\"\\u{1b}[…\"   Exited (1) 2 minutes ago"
        );
    }

    #[test]
    fn ids_and_commands_in_full() {
        assert_eq!(
            shown(PsView { quiet: true, ..all() }, "table"),
            "b9ffb0800ca5\n0123456789ab\n"
        );
        let full = shown(
            PsView {
                quiet: true,
                no_trunc: true,
                ..PsView::default()
            },
            "table",
        );
        assert_eq!(full.trim_end().len(), 64);
        assert!(
            shown(
                PsView {
                    no_trunc: true,
                    ..all()
                },
                "table"
            )
            .contains(r#""sh -c echo \"done\"\u{1b}[31m; false""#)
        );
    }

    #[test]
    fn dockers_fields_in_templates() {
        let template = "{{.ID}} {{.Names}} {{.State}} {{.Status}} {{.RunningFor}} {{.Networks}} {{.CreatedAt}}";
        assert_eq!(
            shown(PsView::default(), template),
            "b9ffb0800ca5 web running Up 3 seconds 4 seconds ago gp0 2023-11-14 22:13:16 +0000 UTC\n"
        );
        assert_eq!(
            shown(PsView::default(), r"table {{.Names}}\t{{.Ports}}").lines().next(),
            Some("NAMES     PORTS")
        );
        let json: Value = serde_json::from_str(&shown(PsView::default(), "json")).unwrap();
        assert_eq!(json["Ports"], "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp");
        assert_eq!(
            COLUMNS.iter().filter(|column| json.get(column.key).is_none()).count(),
            0,
            "a value for every column"
        );
    }

    #[test]
    fn the_last_and_the_filtered_in_whatever_state() {
        let names = |view| shown(view, "{{.Names}}");
        let last = |last| PsView {
            last,
            ..PsView::default()
        };
        assert_eq!(names(last(1)), "web\n");
        assert_eq!(names(last(2)), "web\nbackup-job\n");
        let filtered = |text| PsView {
            filters: vec![Filter::for_ps(text).unwrap()],
            ..PsView::default()
        };
        assert_eq!(names(filtered("status=exited")), "backup-job\n");
        assert_eq!(names(filtered("exited=1")), "", "stopped ones only when asked for");
        assert_eq!(names(filtered("since=backup-job")), "web\n");
    }

    #[test]
    fn nothing_is_a_head_alone() {
        let text = ps(&[], &PsView::default(), &Format::Table, "gp0", NOW).unwrap();
        assert_eq!(text, "CONTAINER ID   NAME      COMMAND   STATUS    IP        PORTS\n");
        assert_eq!(ps(&[], &PsView::default(), &Format::Json, "gp0", NOW).unwrap(), "");
    }

    #[test]
    fn a_clock_set_back_is_no_negative_time() {
        let mut container = running();
        container.state.started_at = NOW + 60;
        let text = ps(
            &[container],
            &PsView::default(),
            &"{{.Status}}".parse().unwrap(),
            "gp0",
            NOW,
        )
        .unwrap();
        assert_eq!(text, "Up Less than a second\n");
    }
}
