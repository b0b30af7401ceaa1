//! The tests that `integration/nat.md` names are there.

use std::fs;
use std::path::PathBuf;

#[test]
fn every_test_of_the_table_exists() {
    let table = fs::read_to_string(root().join("integration/nat.md")).unwrap();
    let named: Vec<&str> = table.split('`').filter(|text| text.contains("::")).collect();
    assert!(named.len() > 20, "{named:?}");
    let missing: Vec<_> = named.into_iter().filter(|name| !exists(name)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

/// `stack_core::datagrams::name` is `fn name` in tests/stack_core/datagrams.rs, `src::…` one below src.
fn exists(name: &str) -> bool {
    let Some((module, function)) = name.rsplit_once("::") else {
        return false;
    };
    let path = module.replace("::", "/") + ".rs";
    let file = if path.starts_with("src/") {
        root().join(path)
    } else {
        root().join("tests").join(path)
    };
    fs::read_to_string(file).is_ok_and(|text| text.contains(&format!("fn {function}(")))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
