//! The arrows between modules point down only; see the map in `src/lib.rs`.
//!
//! Imports are read as text: every `crate::module` outside comments must name a module below the one it stands in.

use std::fs;
use std::path::Path;

/// Modules from the top down. A module may use those in the rows below its own, and none in its own row but itself.
const LAYERS: [&[&str]; 8] = [
    &["cli", "compat"],
    &["helper", "container"],
    &["api"],
    &["netns", "host"],
    &["uplink"],
    &["sys"],
    &["network", "stack"],
    &["policy"],
];

/// Modules that know neither system calls, clock, threads nor async code.
const CORE: [&str; 3] = ["network", "stack", "policy"];

#[test]
fn arrows_point_down() {
    let mut upward = Vec::new();
    for (from, file, line) in lines() {
        for to in line
            .split("crate::")
            .skip(1)
            .filter_map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next())
        {
            let (Some(above), Some(below)) = (layer(&from), layer(to)) else {
                continue;
            };
            if from != to && above >= below {
                upward.push(format!("{file}: {from} uses {to}: {}", line.trim()));
            }
        }
    }
    assert!(upward.is_empty(), "{}", upward.join("\n"));
}

#[test]
fn the_core_is_pure() {
    let banned = [
        "std::fs",
        "std::process",
        "std::thread",
        "std::time",
        "std::env",
        "tokio",
        "nix::",
        "libc::",
        "async fn",
        "mio::",
    ];
    let mut impure = Vec::new();
    for (from, file, line) in lines() {
        if CORE.contains(&from.as_str())
            && let Some(word) = banned.iter().find(|word| line.contains(**word))
        {
            impure.push(format!("{file}: {word}: {}", line.trim()));
        }
    }
    assert!(impure.is_empty(), "{}", impure.join("\n"));
}

#[test]
fn every_module_has_a_layer() {
    let map = fs::read_to_string("src/lib.rs").unwrap();
    for module in map
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
    {
        assert!(
            layer(module).is_some(),
            "{module} is not in the table of tests/layering.rs"
        );
        assert!(
            map.contains(&format!("[`{module}`]")),
            "{module} is not on the map of src/lib.rs"
        );
    }
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// Every line of code with the module and file it stands in; comments and unit tests left out.
fn lines() -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    walk(Path::new("src"), &mut |path| {
        let module = path.iter().nth(1).expect("below src/").to_string_lossy().into_owned();
        let text = fs::read_to_string(path).expect("UTF-8");
        let code = text.lines().take_while(|line| line.trim() != "#[cfg(test)]");
        let code = code.filter(|line| !line.trim_start().starts_with("//"));
        found.extend(code.map(|line| (module.clone(), path.display().to_string(), line.to_owned())));
    });
    assert!(found.len() > 1000, "found only {} lines", found.len());
    found
}

fn walk(folder: &Path, visit: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            walk(&path, visit);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            visit(&path);
        }
    }
}
