//! The pages of the program's own code that are mapped.
//!
//! They belong to the page cache and all processes share them, but they count for each that has them mapped, and what is
//! mapped is the last that the kernel takes back when memory is short. Sources: madvise(2), proc_pid_maps(5).

use std::fs::File;
use std::io;
use std::ptr;

/// Lets go of all mapped code, the libraries' too: what is needed again comes back from the page cache, page by page.
///
/// For a long life after a rich beginning: whoever has read options, built a network and said so will not do it again.
pub fn forget() -> io::Result<()> {
    forget_listed(File::open("/proc/self/maps")?)
}

/// The same, of what `maps` lists, this process's own /proc/self/maps: for whoever can't open it any more.
pub fn forget_listed(maps: File) -> io::Result<()> {
    for line in io::read_to_string(maps)?.lines() {
        let Some((start, bytes)) = code_of_a_file(line) else {
            continue;
        };
        // SAFETY: the mapping is private, of a file, and never was writable, so its pages hold what the file holds, and
        // that is what they hold when they come back.
        let advised = unsafe { libc::madvise(ptr::without_provenance_mut(start), bytes, libc::MADV_DONTNEED) };
        if advised != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Start and length, if the line of the map is about code that comes from a file.
fn code_of_a_file(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (range, protection) = (fields.next()?, fields.next()?);
    let path = fields.nth(3)?;
    if protection != "r-xp" || !path.starts_with('/') {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let (start, end) = (
        usize::from_str_radix(start, 16).ok()?,
        usize::from_str_radix(end, 16).ok()?,
    );
    Some((start, end.checked_sub(start)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_and_nothing_else() {
        for (line, expected) in [
            (
                "7f10-7f30 r-xp 00001000 08:01 42   /usr/lib/libc.so.6",
                Some((0x7f10, 0x20)),
            ),
            ("7f10-7f30 r--p 00001000 08:01 42   /usr/lib/libc.so.6", None),
            ("7f10-7f30 rwxp 00001000 08:01 42   /usr/lib/libc.so.6", None),
            ("7f10-7f30 r-xp 00000000 00:00 0    [vdso]", None),
            ("7f10-7f30 r-xp 00000000 00:00 0", None),
            ("nonsense", None),
        ] {
            assert_eq!(code_of_a_file(line), expected, "{line}");
        }
    }

    #[test]
    fn goes_on_after_it() {
        forget().unwrap();
        assert_eq!("still here".len(), 10);
    }
}
