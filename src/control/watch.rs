//! Notices that a file has changed.
//!
//! By looking once a second, and not by inotify: a ConfigMap is a symlink to a folder that is replaced, editors and `mv` put
//! another file in place, and on NFS the change is made on another machine. For each of these inotify needs another trick, or is
//! not told at all; `stat` through the symlinks sees them all, for some microseconds a second.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use crate::aside::Aside;
use crate::files::{self, Unreadable};

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// The largest file whose changes are noticed, in bytes: those that are larger are refused by their readers.
const MAX_FILE: u64 = 16 << 20;

/// What tells without reading that a file may have changed. `None`: it is not there, or is no file that can be read twice.
type Stamp = Option<(u64, u64, i64, i64, u64)>;

/// A file as it was at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    path: PathBuf,
    stamp: Stamp,
    /// Of the content, which may be a private key and is not kept.
    hash: Option<u64>,
}

impl Snapshot {
    /// The file as it is now.
    pub(crate) fn of(path: PathBuf) -> Self {
        // In this order: a change in between shows in the stamp next time.
        let stamp = stamp(&path);
        let hash = stamp.and_then(|_| Some(hash(&files::read(&path, MAX_FILE).ok()?)));
        Self { path, stamp, hash }
    }

    /// The file and its content, of at most `limit` bytes.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn read(path: &Path, limit: u64) -> Result<(Self, Vec<u8>), Unreadable> {
        let stamp = stamp(path);
        let content = files::read(path, limit)?;
        let hash = stamp.map(|_| hash(&content));
        Ok((Self { path: path.to_owned(), stamp, hash }, content))
    }
}

/// Files, as they were when they were read last.
#[derive(Debug)]
pub(super) struct Watch {
    files: Vec<Watched>,
    ticks: tokio::time::Interval,
    /// Whether it has been said that there is no answer.
    is_silent: bool,
}

#[derive(Debug)]
struct Watched {
    known: Snapshot,
    /// The stamp at the look before.
    before: Stamp,
}

impl Watched {
    fn new(known: Snapshot) -> Self {
        Self { before: known.stamp, known }
    }
}

impl Watch {
    pub(super) fn new(files: Vec<Snapshot>) -> Self {
        let mut ticks = tokio::time::interval_at(Instant::now() + INTERVAL, INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { files: files.into_iter().map(Watched::new).collect(), ticks, is_silent: false }
    }

    /// Waits until the content of a file has changed, and says which. Looks by `aside`, whose silence is told once.
    pub(super) async fn changed(&mut self, aside: &mut Aside) -> PathBuf {
        loop {
            self.ticks.tick().await;
            let paths = self.paths();
            let stamps = aside.run(move || paths.iter().map(|path| stamp(path)).collect::<Vec<_>>()).await;
            let stamps = match stamps {
                Ok(stamps) => stamps,
                Err(error) => {
                    if !std::mem::replace(&mut self.is_silent, true) {
                        tracing::error!(%error, "files are not looked at, what is loaded goes on");
                    }
                    continue;
                }
            };
            if std::mem::take(&mut self.is_silent) {
                tracing::info!("files are looked at again");
            }
            // Files that belong together, as a certificate and its key, change together: nothing is taken while one is being
            // written.
            let unstable = self.files.iter_mut().zip(stamps).filter_map(|(file, now)| {
                let before = std::mem::replace(&mut file.before, now);
                (before != now).then_some(())
            });
            if unstable.count() > 0 {
                continue;
            }
            let differing = self.files.iter().filter(|file| file.before != file.known.stamp);
            let differing: Vec<_> = differing.map(|file| file.known.path.clone()).collect();
            if differing.is_empty() {
                continue;
            }
            let Ok(now) = aside.run(move || differing.into_iter().map(Snapshot::of).collect::<Vec<_>>()).await else { continue };
            if let Some(file) = now.into_iter().filter_map(|now| self.news(now)).next_back() {
                return file;
            }
        }
    }

    /// Takes a file as it is now for known; its path if the content is another. A file that was only touched is not news.
    fn news(&mut self, now: Snapshot) -> Option<PathBuf> {
        let file = self.files.iter_mut().find(|file| file.known.path == now.path)?;
        let (path, hash) = (now.path.clone(), now.hash);
        (std::mem::replace(&mut file.known, now).hash != hash).then_some(path)
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.files.iter().map(|file| file.known.path.clone()).collect()
    }

    /// Watches these files as well.
    pub(super) fn add(&mut self, files: Vec<Snapshot>) {
        for file in files {
            if !self.files.iter().any(|watched| watched.known.path == file.path) {
                self.files.push(Watched::new(file));
            }
        }
    }

    /// Watches these files instead.
    pub(super) fn follow(&mut self, files: Vec<Snapshot>) {
        self.files = files.into_iter().map(Watched::new).collect();
    }
}

fn stamp(path: &Path) -> Stamp {
    let found = files::stat(path)?;
    Some((found.dev(), found.ino(), found.mtime(), found.mtime_nsec(), found.size()))
}

fn hash(content: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// How many looks it takes until a change is seen; `None`: more than five.
    async fn looks(watch: &mut Watch) -> Option<u32> {
        let begin = Instant::now();
        tokio::time::timeout(INTERVAL * 5 + INTERVAL / 2, watch.changed(&mut Aside::new())).await.ok()?;
        Some(begin.elapsed().as_secs_f64().ceil() as u32)
    }

    fn watch(path: &Path) -> Watch {
        Watch::new(vec![Snapshot::of(path.to_owned())])
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_seen_when_it_is_stable() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        fs::write(&file, "one").unwrap();
        let mut watch = watch(&file);
        assert_eq!(looks(&mut watch).await, None);
        fs::write(&file, "two, longer").unwrap();
        assert_eq!(looks(&mut watch).await, Some(2), "one look to see it, one to see that it is done");
        assert_eq!(looks(&mut watch).await, None, "once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_still_written_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        fs::write(&file, "").unwrap();
        let mut watch = watch(&file);
        for length in 1..4 {
            fs::write(&file, "x".repeat(length)).unwrap();
            assert!(tokio::time::timeout(INTERVAL, watch.changed(&mut Aside::new())).await.is_err(), "{length}");
        }
        assert!(looks(&mut watch).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_only_touched_is_no_change() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        fs::write(&file, "one").unwrap();
        let mut watch = watch(&file);
        fs::remove_file(&file).unwrap();
        fs::write(&file, "one").unwrap();
        assert_eq!(looks(&mut watch).await, None);
    }

    /// The kubelet's way: `file -> ..data/file`, `..data -> ..2024`, and another `..data` renamed into place.
    #[tokio::test(start_paused = true)]
    async fn config_map_swaps_renames_and_removals() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (version, text) in [("..2024", "one"), ("..2025", "two")] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("a"), text).unwrap();
        }
        symlink("..2024", at("..data")).unwrap();
        symlink("..data/a", at("a")).unwrap();
        let mut watch = watch(&at("a"));
        symlink("..2025", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        fs::remove_dir_all(at("..2024")).unwrap();
        assert_eq!(looks(&mut watch).await, Some(2), "swapped");
        fs::remove_dir_all(at("..2025")).unwrap();
        assert_eq!(looks(&mut watch).await, Some(2), "gone");
        fs::create_dir(at("..2025")).unwrap();
        fs::write(at("new"), "three").unwrap();
        fs::rename(at("new"), at("..2025").join("a")).unwrap();
        assert_eq!(looks(&mut watch).await, Some(2), "there again");
    }

    #[tokio::test(start_paused = true)]
    async fn what_changes_after_a_look_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        fs::write(&file, "one").unwrap();
        let mut watch = watch(&file);
        fs::write(&file, "two, longer").unwrap();
        let known = watch.paths().into_iter().map(Snapshot::of).collect();
        watch.follow(known);
        assert_eq!(looks(&mut watch).await, None, "known");
        fs::write(&file, "three, longest").unwrap();
        assert_eq!(looks(&mut watch).await, Some(2));
    }
}
