//! The kernel's rules and their probes belong together: what `src/uplink/mod.rs` says about superframes names every probe
//! of `integration/probes`, and none that is not there. The probes themselves are run by `.ci/run`.

use std::collections::BTreeSet;
use std::fs;

#[test]
fn every_probe_is_explained_and_every_rule_proven() {
    let probes = probes();
    assert!(!probes.is_empty());
    assert_eq!(named(&probes), probes);
}

/// All probes there are, as `subject.name`: each subject's file ends with the list of its own.
fn probes() -> BTreeSet<String> {
    let mut probes = BTreeSet::new();
    for entry in fs::read_dir("integration/probes").expect("a folder") {
        let path = entry.expect("an entry").path();
        let text = fs::read_to_string(&path).unwrap_or_default();
        let Some((_, rules)) = text.split_once("\nRULES = [") else {
            continue;
        };
        let (rules, _) = rules.split_once(']').expect("the end of the list");
        let subject = path.file_stem().unwrap_or_default().to_string_lossy();
        probes.extend(rules.split(',').map(|name| format!("{subject}.{}", name.trim())));
    }
    probes
}

/// What the module names: words in backticks that begin with a subject.
fn named(probes: &BTreeSet<String>) -> BTreeSet<String> {
    let subjects: BTreeSet<&str> = probes.iter().filter_map(|name| name.split('.').next()).collect();
    let is_probe = |word: &&str| {
        let subject = word.split_once('.').map(|(subject, _)| subject);
        subject.is_some_and(|subject| subjects.contains(subject))
    };
    let quoted = include_str!("../src/uplink/mod.rs").split('`').skip(1).step_by(2);
    quoted.filter(is_probe).map(str::to_owned).collect()
}
