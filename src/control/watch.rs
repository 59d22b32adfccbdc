//! Notices that a file has changed.
//!
//! By looking once a second, and not by inotify: a ConfigMap is a symlink to a folder that is replaced, editors and `mv` put
//! another file in place, and on NFS the change is made on another machine. For each of these inotify needs another trick, or is
//! not told at all; `stat` through the symlinks sees them all, for some microseconds a second.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

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
        let hash = stamp.and_then(|_| Some(hash(&fs::read(&path).ok()?)));
        Self { path, stamp, hash }
    }

    /// The file and its content. It is read once only, as a pipe must be.
    ///
    /// # Errors
    /// When it cannot be read or is not UTF-8.
    pub(super) fn read(path: &Path) -> io::Result<(Self, String)> {
        let stamp = stamp(path);
        let text = fs::read_to_string(path)?;
        let hash = stamp.map(|_| hash(text.as_bytes()));
        Ok((Self { path: path.to_owned(), stamp, hash }, text))
    }
}

/// Files, as they were when they were read last.
#[derive(Debug)]
pub(super) struct Watch {
    files: Vec<Watched>,
    ticks: tokio::time::Interval,
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

    /// Whether it is as it was at the look before.
    fn is_stable(&mut self) -> bool {
        let now = stamp(&self.known.path);
        std::mem::replace(&mut self.before, now) == now
    }

    /// Whether its content is not what it was. A file that was only touched is not news.
    fn has_changed(&mut self) -> bool {
        if self.before == self.known.stamp {
            return false;
        }
        let now = Snapshot::of(self.known.path.clone());
        std::mem::replace(&mut self.known, now).hash != self.known.hash
    }
}

impl Watch {
    pub(super) fn new(files: Vec<Snapshot>) -> Self {
        let mut ticks = tokio::time::interval_at(Instant::now() + INTERVAL, INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { files: files.into_iter().map(Watched::new).collect(), ticks }
    }

    /// Waits until a file has changed, and says which.
    pub(super) async fn changed(&mut self) -> PathBuf {
        loop {
            self.ticks.tick().await;
            // Files that belong together, as a certificate and its key, change together: nothing is taken while one is being
            // written.
            let unstable = self.files.iter_mut().filter_map(|file| (!file.is_stable()).then_some(())).count();
            if unstable > 0 {
                continue;
            }
            if let Some(file) = self.files.iter_mut().find_map(|file| file.has_changed().then(|| file.known.path.clone())) {
                return file;
            }
        }
    }

    /// Takes all files as they are now for known.
    pub(super) fn look(&mut self) {
        for file in &mut self.files {
            *file = Watched::new(Snapshot::of(file.known.path.clone()));
        }
    }

    /// Watches these files as well.
    pub(super) fn add(&mut self, files: Vec<PathBuf>) {
        for file in files {
            if !self.files.iter().any(|watched| watched.known.path == file) {
                self.files.push(Watched::new(Snapshot::of(file)));
            }
        }
    }

    /// Watches these files instead.
    pub(super) fn follow(&mut self, files: Vec<Snapshot>) {
        self.files = files.into_iter().map(Watched::new).collect();
    }
}

fn stamp(path: &Path) -> Stamp {
    let found = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    Some((found.dev(), found.ino(), found.mtime(), found.mtime_nsec(), found.size()))
}

fn hash(content: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// How many looks it takes until a change is seen; `None`: more than five.
    async fn looks(watch: &mut Watch) -> Option<u32> {
        let begin = Instant::now();
        tokio::time::timeout(INTERVAL * 5 + INTERVAL / 2, watch.changed()).await.ok()?;
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
            assert!(tokio::time::timeout(INTERVAL, watch.changed()).await.is_err(), "{length}");
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
        watch.look();
        assert_eq!(looks(&mut watch).await, None, "known");
        fs::write(&file, "three, longest").unwrap();
        assert_eq!(looks(&mut watch).await, Some(2));
    }
}
