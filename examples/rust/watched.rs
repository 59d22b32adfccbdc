//! Files that are read again when they change, also by a symlink as Kubernetes swaps them.

use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// What a file holds. The content can be taken while it is replaced.
pub(crate) struct Watched<T>(RwLock<Arc<T>>);

/// Reads text that came from a file of that name.
type Parse<T> = fn(&str, &str) -> Result<T, String>;

impl<T: Default + Send + Sync + 'static> Watched<T> {
    /// Of no file: what is there by default.
    pub(crate) fn nothing() -> Arc<Self> {
        Arc::new(Self(RwLock::default()))
    }

    /// Reads `path`, now and when it changes; what is wrong then leaves the old content.
    pub(crate) fn file(path: String, every: Duration, parse: Parse<T>) -> Result<Arc<Self>, String> {
        let mut seen = state(&path);
        let watched = Arc::new(Self(RwLock::new(Arc::new(read(&path, parse)?))));
        let watching = Arc::downgrade(&watched);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                let Some(watched) = watching.upgrade() else { return };
                let state = state(&path);
                if state == seen {
                    continue;
                }
                seen = state; // of before it is read: a change meanwhile is seen the next time
                match read(&path, parse) {
                    Ok(new) => {
                        *watched.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
                        eprintln!("{path}: read again");
                    }
                    Err(error) => eprintln!("{error}\n{path}: the old content stays"),
                }
            }
        });
        Ok(watched)
    }

    pub(crate) fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn read<T>(path: &str, parse: Parse<T>) -> Result<T, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    parse(path, &text)
}

/// What changes with the content. `None` while there is no such file.
fn state(path: &str) -> Option<(i64, i64, u64, u64)> {
    let found = std::fs::metadata(path).ok()?;
    Some((found.mtime(), found.mtime_nsec(), found.size(), found.ino()))
}
