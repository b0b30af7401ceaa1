//! The container's own files over the host's /etc, and the helper's directory out of sight.
//!
//! The texts live on a small tmpfs that is mounted over the hidden directory itself, so that nothing is written on the
//! host and nothing is left behind; a second tmpfs, empty and read-only, then covers the first.
//!
//! /etc becomes an overlay whose upper layer has the files (needs Linux 5.11 in a user namespace). A file bound over the
//! host's would not stay: when the host puts another file in its place by rename(2), as whoever keeps resolv.conf does,
//! the kernel takes the mount away (`detach_mounts` in fs/namespace.c) and the container reads the host's. Binding is
//! what is left where overlays are not to be had, for the files that the host has.
//!
//! Must run in a mount namespace of our own. Called by `namespaces`.

use std::env;
use std::fs;
use std::io;
use std::path::Path;

use nix::mount::{MsFlags, mount};

use super::Failure;

/// Covers `hidden` and gives /etc each named file with its text.
pub(super) fn install(hidden: &Path, files: &[(&str, &str)]) -> Result<(), Failure> {
    let hide = |error: nix::Error| Failure::ours(format_args!("cannot hide {}", hidden.display()), error);
    let nothing_special = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("gangplank"), hidden, Some("tmpfs"), nothing_special, Some(SCRATCH)).map_err(hide)?;
    if let Err(error) = overlay(hidden, files) {
        if files.iter().any(|(name, _)| is_missing(name)) {
            return Err(Failure::ours("cannot lay the container's files over /etc", error));
        }
        for (name, text) in files {
            bind(hidden, name, text).map_err(|error| Failure::ours(format_args!("cannot bind /etc/{name}"), error))?;
        }
    }
    mount(
        Some("gangplank"),
        hidden,
        Some("tmpfs"),
        nothing_special | MsFlags::MS_RDONLY,
        Some(EMPTY),
    )
    .map_err(hide)
}

fn is_missing(name: &str) -> bool {
    fs::metadata(Path::new(ETC).join(name)).is_err()
}

fn bind(scratch: &Path, name: &str, text: &str) -> io::Result<()> {
    let source = scratch.join(name);
    fs::write(&source, text)?;
    mount(
        Some(&source),
        &Path::new(ETC).join(name),
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )?;
    Ok(())
}

/// The directories are named relative to the working directory, for a path may hold what separates mount options.
fn overlay(scratch: &Path, files: &[(&str, &str)]) -> io::Result<()> {
    env::set_current_dir(scratch)?;
    fs::create_dir("upper")?;
    fs::create_dir("work")?;
    for (name, text) in files {
        fs::write(Path::new("upper").join(name), text)?;
    }
    let layers = format!("lowerdir={ETC},upperdir=upper,workdir=work");
    mount(
        Some("gangplank"),
        ETC,
        Some("overlay"),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        Some(layers.as_str()),
    )?;
    Ok(())
}

const ETC: &str = "/etc";

/// Room for the two files; what the container writes into them counts as the user's memory.
const SCRATCH: &str = "size=4m,mode=0755";

/// The least that the kernel makes.
const EMPTY: &str = "size=4k,nr_inodes=1,mode=0555";
