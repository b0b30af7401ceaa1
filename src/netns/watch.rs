//! When a container has gone.
//!
//! A veth goes with its network namespace; a cable's TAP does not, for its descriptor keeps the namespace alive. And
//! whatever the kind, address, name and ports are to be free at once. So the helper watches what the user named: the
//! process, or the path. It must hold no descriptor of the namespace itself meanwhile.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::namespace::Identity;
use crate::sys::pidfd::PidFd;

/// What stands for a container's life.
#[derive(Debug)]
pub enum Watch {
    /// A process.
    Process(PidFd),
    /// A path, as long as it leads to this namespace.
    Path {
        /// Where it is bound, `/run/user/1000/netns/…` for instance.
        path: PathBuf,
        /// The namespace that it led to.
        identity: Identity,
    },
}

impl Watch {
    /// Waits until the container has gone. A process is seen at once, a path within half a second.
    pub async fn gone(self) -> io::Result<()> {
        match self {
            Self::Process(process) => process.ended().await?,
            // Unmounting sends no inotify event, and inotify's instances run out.
            Self::Path { path, identity } => {
                while std::fs::metadata(&path).is_ok_and(|metadata| Identity::of(&metadata) == identity) {
                    tokio::time::sleep(PATH_PERIOD).await;
                }
            }
        }
        Ok(())
    }
}

/// Half of the second in which a container's address must be free again.
const PATH_PERIOD: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(future)
    }

    #[test]
    fn sees_a_process_end() {
        let mut child = std::process::Command::new("sleep").arg("0.2").spawn().unwrap();
        let watch = Watch::Process(PidFd::open(i32::try_from(child.id()).unwrap()).unwrap());
        let seen = block_on(async { tokio::time::timeout(Duration::from_secs(5), watch.gone()).await });
        seen.expect("the end is seen").unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn sees_a_path_lead_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("netns");
        std::fs::write(&path, "").unwrap();
        let identity = Identity::of(&std::fs::metadata(&path).unwrap());
        let watch = |path| Watch::Path { path, identity };
        block_on(async {
            let there = tokio::time::timeout(Duration::from_millis(50), watch(path.clone()).gone()).await;
            there.expect_err("the path is still there");
            let gone = tokio::spawn(watch(path.clone()).gone());
            std::fs::rename(&path, dir.path().join("other")).unwrap();
            tokio::time::timeout(Duration::from_secs(5), gone)
                .await
                .expect("the end is seen")
                .unwrap()
                .unwrap();
        });
    }
}
