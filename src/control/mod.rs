//! What the control thread waits for while the bridge runs: a configuration to read again. It serves no NOTIFY.

mod source;
mod stop;
mod watch;

use std::io;
use std::path::PathBuf;

pub(crate) use source::{LoadError, Loaded, Source};
pub(crate) use stop::{Limit, Stop};
use tokio::signal::unix::{Signal, SignalKind, signal};
use watch::Watch;

/// The running configuration's source, and what says that it should be read again: SIGHUP, or a file that has changed.
#[derive(Debug)]
pub(crate) struct Control {
    source: Source,
    hangup: Signal,
    watch: Watch,
    /// How long a stop may take.
    pub(crate) limit: Limit,
}

/// SIGHUP, caught from now on: a signal that comes before the bridge is up must not end the process.
#[derive(Debug)]
pub(crate) struct Hangup(Signal);

impl Hangup {
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the operating system has no place for a handler.
    pub(crate) fn new() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }
}

impl Control {
    /// `loaded` is what the bridge was started with.
    pub(crate) fn new(source: Source, hangup: Hangup, loaded: &Loaded, limit: Limit) -> Self {
        Self { source, hangup: hangup.0, watch: Watch::new(loaded.files.clone()), limit }
    }

    /// Waits for a reason to read the configuration again. What comes while it is read and put into effect is another reason.
    pub(crate) async fn changed(&mut self) {
        loop {
            tokio::select! {
                biased;
                _ = self.hangup.recv() => {
                    if self.source.is_file() {
                        tracing::info!("SIGHUP, reading the configuration again");
                        return;
                    }
                    tracing::info!("SIGHUP, but nothing to reload: the configuration is the command line");
                }
                file = self.watch.changed() => {
                    tracing::info!(file = %file.display(), "file has changed, reading the configuration again");
                    return;
                }
            }
        }
    }

    /// Watches these files as well, until a configuration is read that is good.
    pub(crate) fn watch_also(&mut self, files: Vec<PathBuf>) {
        self.watch.add(files);
    }

    /// What problems are said to be in.
    pub(crate) fn file(&self) -> String {
        self.source.name()
    }

    /// Reads the configuration again. From now on the files are watched that it names; if it is no good, those before, too.
    ///
    /// # Errors
    /// When it cannot be read, or has problems.
    pub(crate) fn load(&mut self) -> Result<Loaded, LoadError> {
        // What changes while we read is then noticed, since it is not what was there before.
        self.watch.look();
        let loaded = self.source.load()?;
        self.watch.follow(loaded.files.clone());
        Ok(loaded)
    }
}
