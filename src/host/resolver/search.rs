//! The host's search list, for those who are told of it when they ask and not by a file.

use std::fs;
use std::future::pending;
use std::path::Path;
use std::time::Duration;

use super::resolv_conf::search;
use super::upstreams::read;
use super::watch::Watch;

/// The domains that `file` names now.
pub fn search_list(file: &Path) -> Vec<String> {
    listed(file).unwrap_or_default()
}

/// Tells of the domains that `file` names, now and whenever they are others; for ever.
pub async fn follow_search(file: &Path, tell: impl Fn(Vec<String>)) {
    let mut told = None;
    loop {
        // Before the file is read, so that no change falls between.
        let watch = Watch::on(file).ok();
        if let Some(domains) = listed(file)
            && told.as_ref() != Some(&domains)
        {
            tell(domains.clone());
            told = Some(domains);
        }
        // There are places that inotify does not see.
        let _ = tokio::time::timeout(LOOK_AGAIN, change(watch)).await;
        // Whoever writes it in place empties it first.
        tokio::time::sleep(PAUSE).await;
    }
}

/// None of a file that is no file, or not there: it is on its way. Opening a FIFO would wait.
fn listed(file: &Path) -> Option<Vec<String>> {
    let is_file = fs::metadata(file).is_ok_and(|about| about.is_file());
    let text = is_file.then(|| read(file).ok()).flatten();
    text.map(|text| search(&text))
}

/// Never, where inotify is not to be had.
async fn change(watch: Option<Watch>) {
    match watch {
        Some(watch) if watch.changed().await.is_ok() => {}
        Some(_) | None => pending().await,
    }
}

/// The longest that a change goes unnoticed; clients ask again after half an hour.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Between a change and the look at it.
const PAUSE: Duration = Duration::from_millis(100);
