//! The man page and the shells' completions: the table of [`args`](super::args) in other forms.
//!
//! One page for all commands, so that it can be searched; what no table holds (exit codes, files) stands below.

use std::io::{self, Write};

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use super::args::Cli;

/// The man page, as `man -l -` takes it.
pub(super) fn page() -> io::Result<Vec<u8>> {
    let mut whole = Cli::command();
    whole.build();
    let man = Man::new(whole.clone())
        .source(format!("gangplank {}", env!("CARGO_PKG_VERSION")))
        .manual("User Commands");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    page.write_all(b".SH COMMANDS\n")?;
    commands(&whole, &mut page)?;
    page.write_all(REST.as_bytes())?;
    Ok(page)
}

/// What a shell reads to complete our words.
pub(super) fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut visible(), "gangplank", &mut script);
    script
}

/// The table without the commands that nobody types, which the scripts would offer.
fn visible() -> Command {
    let whole = Cli::command();
    let commands = whole.get_subcommands().filter(|command| !command.is_hide_set());
    Command::new("gangplank")
        .version(env!("CARGO_PKG_VERSION"))
        .args(whole.get_arguments().cloned())
        .subcommands(commands.cloned())
}

/// A subsection for each command that does something, those of families after each other.
fn commands(above: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    for command in above.get_subcommands().filter(|command| !command.is_hide_set()) {
        if command.has_subcommands() {
            commands(command, page)?;
        } else {
            subsection(command, page)?;
        }
    }
    Ok(())
}

fn subsection(command: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    // What every command takes is told once.
    let own = command.clone().mut_args(|argument| {
        let everywhere = argument.is_global_set() || argument.get_id() == "help";
        if everywhere { argument.hide(true) } else { argument }
    });
    let has_options = own.get_arguments().any(|argument| !argument.is_hide_set());
    let name = own.get_bin_name().unwrap_or_else(|| own.get_name()).to_owned();
    let man = Man::new(own);
    writeln!(page, ".SS {name}")?;
    body(page, |part| man.render_synopsis_section(part))?;
    page.write_all(b".PP\n")?;
    body(page, |part| man.render_description_section(part))?;
    if has_options {
        body(page, |part| man.render_options_section(part))?;
    }
    Ok(())
}

/// A section without its head, and without what every section begins with.
fn body(page: &mut Vec<u8>, render: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> io::Result<()> {
    let mut section = Vec::new();
    render(&mut section)?;
    let text = String::from_utf8_lossy(&section);
    let (_, text) = text.split_once(".SH ").unwrap_or_default();
    let (_, text) = text.split_once('\n').unwrap_or_default();
    page.write_all(text.as_bytes())
}

const REST: &str = r".SH EXIT STATUS
.TP
.B 0
Done.
.TP
.B 1
Refused or failed; one line on standard error says what to do.
.TP
.B 2
Bad usage.
.TP
.B 125, 126, 127
Of \fBrun\fR and \fBexec\fR: our own failure, a command that cannot be executed, one that is not found. Otherwise they end as
the command did, with 128+n for a signal.
.SH FILES
.TP
.I $XDG_RUNTIME_DIR/gangplank/NETWORK/
The state of a running network, its socket and its log; without XDG_RUNTIME_DIR below /tmp/gangplank-UID.
.SH SEE ALSO
.BR docker (1),
.BR podman (1),
.BR user_namespaces (7)
";

#[cfg(test)]
mod tests {
    use super::*;

    fn every(above: &Command, names: &mut Vec<String>) {
        for command in above.get_subcommands().filter(|command| !command.is_hide_set()) {
            if command.has_subcommands() {
                every(command, names);
            } else {
                names.extend(command.get_bin_name().map(str::to_owned));
            }
        }
    }

    #[test]
    fn the_page_has_every_command_and_option_and_no_secret() {
        let page = String::from_utf8(page().unwrap()).unwrap();
        let mut whole = Cli::command();
        whole.build();
        let mut names = Vec::new();
        every(&whole, &mut names);
        assert!(names.len() > 20 && names.contains(&"gangplank network inspect".to_owned()));
        for name in names {
            assert_eq!(page.matches(&format!("\n.SS {name}\n")).count(), 1, "{name}");
        }
        for word in [
            ".TH gangplank 1",
            "no\\-trunc",
            "publish\\-all",
            "host\\-access",
            "GANGPLANK_NETWORK",
        ] {
            assert!(page.contains(word), "{word}");
        }
        assert_eq!(
            page.matches(r"\-\-runtime\-dir").count(),
            2,
            "in the synopsis and once more"
        );
        assert!(!page.contains("probe"), "hidden commands stay hidden");
        assert!(!page.contains("\n.SH \n") && !page.contains(".SH DESCRIPTION\n.SS"));
    }

    #[test]
    fn completions_know_commands_and_no_hidden_ones() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = String::from_utf8(completions(shell)).unwrap();
            for word in ["unpublish", "inspect", "no-trunc"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
            assert!(!script.contains("probe"), "{shell}");
        }
    }
}
