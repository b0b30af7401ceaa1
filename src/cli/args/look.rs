//! Commands that only look: `ps`, `inspect`, `show`, `network ls`, `network inspect`, `doctor`.

use clap::Args;

use super::network_name;
use crate::cli::output::{DocumentFormat, Filter, Format, PsView};

/// `ps`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Ps {
    /// List stopped containers, too
    #[arg(short, long)]
    pub all: bool,
    /// Print ids only
    #[arg(short, long)]
    pub quiet: bool,
    /// Print ids and commands in full
    #[arg(long)]
    pub no_trunc: bool,
    /// List the N containers that were made last, in whatever state
    #[arg(short = 'n', long, value_name = "N", default_value = "0", hide_default_value = true)]
    pub last: usize,
    /// List the container that was made last, in whatever state
    #[arg(short, long, conflicts_with = "last")]
    pub latest: bool,
    /// List only those like KEY=VALUE: name, id, status, exited, network, publish, expose, before, since; repeatable
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = Filter::for_ps)]
    pub filter: Vec<Filter>,
    /// table, json, a Go template, or 'table TEMPLATE'
    #[arg(long, default_value = "table", hide_default_value = true)]
    pub format: Format,
}

impl Ps {
    /// What to list, and how much of it.
    pub fn view(&self) -> PsView {
        PsView {
            all: self.all,
            quiet: self.quiet,
            no_trunc: self.no_trunc,
            last: if self.latest { 1 } else { self.last },
            filters: self.filter.clone(),
        }
    }
}

/// `inspect`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Inspect {
    /// Names, ids or beginnings of ids
    #[arg(value_name = "NAME", required = true)]
    pub containers: Vec<String>,
    /// json, or a Go template like '{{.NetworkSettings.IPAddress}}'
    #[arg(short, long, default_value = "json", hide_default_value = true)]
    pub format: DocumentFormat,
}

/// `show`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Show {
    /// table, json, a Go template, or 'table TEMPLATE'
    #[arg(long, default_value = "table", hide_default_value = true)]
    pub format: Format,
}

/// `network ls`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct NetworkList {
    /// Print names only
    #[arg(short, long)]
    pub quiet: bool,
    /// table, json, a Go template, or 'table TEMPLATE'
    #[arg(long, default_value = "table", hide_default_value = true)]
    pub format: Format,
}

/// `network inspect`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct NetworkInspect {
    /// The networks
    #[arg(value_name = "NAME", required = true, value_parser = network_name)]
    pub names: Vec<String>,
    /// json, or a Go template
    #[arg(short, long, default_value = "json", hide_default_value = true)]
    pub format: DocumentFormat,
}

/// `doctor`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Doctor {
    /// table, json, a Go template, or 'table TEMPLATE'
    #[arg(long, default_value = "table", hide_default_value = true)]
    pub format: Format,
}

#[cfg(test)]
mod tests {
    use super::super::Command;
    use super::super::tests::{parsed, usage};
    use super::*;

    #[test]
    fn ps_says_what_to_list() {
        let Command::Ps(ps) = parsed("ps -aq --no-trunc --format json").command else {
            panic!()
        };
        assert_eq!(
            ps.view(),
            PsView {
                all: true,
                quiet: true,
                no_trunc: true,
                ..PsView::default()
            }
        );
        assert_eq!(ps.format, Format::Json);
        let Command::Ps(ps) = parsed("ps -n 3 -f name=web --filter status=exited").command else {
            panic!()
        };
        assert_eq!((ps.view().last, ps.view().filters.len()), (3, 2));
        let Command::Ps(ps) = parsed("ps -lq").command else {
            panic!()
        };
        assert_eq!(ps.view().last, 1);
    }

    #[test]
    fn a_filter_that_means_nothing_is_a_line() {
        for (line, part) in [
            ("ps --filter ancestor=busybox", "containers are made of no image"),
            ("ps --filter name", "bad format of filter"),
            ("ps -n x", "invalid value 'x'"),
        ] {
            let text = usage(line);
            assert!(text.contains(part) && text.lines().count() == 1, "{text}");
        }
    }

    #[test]
    fn a_bad_template_is_bad_usage_with_its_position() {
        for line in [
            "ps --format {{.ID",
            "inspect web -f {{.ID",
            "network ls --format {{.ID",
            "doctor --format {{.ID",
        ] {
            assert!(usage(line).contains("template: 1:1: unclosed action"), "{line}");
        }
    }
}
