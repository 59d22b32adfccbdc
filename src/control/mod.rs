//! What the control thread waits for while the bridge runs: a configuration to read again. It serves no NOTIFY.

mod source;
mod stop;
mod watch;

use std::io;
use std::sync::Arc;

pub(crate) use source::{LoadError, Loaded, MAX_CONFIG, Source, read_once};
pub(crate) use stop::{Limit, Stop};
use tokio::signal::unix::{Signal, SignalKind, signal};
use watch::{Snapshot, Watch};

use crate::aside::{Aside, Unanswered};
use crate::config::Config;
use crate::tls::Material;

/// The running configuration's source, and what says that it should be read again: SIGHUP, or a file that has changed.
#[derive(Debug)]
pub(crate) struct Control {
    source: Source,
    hangup: Signal,
    watch: Watch,
    /// What reads files.
    aside: Aside,
    /// Whether the last attempt to read the configuration got no answer.
    is_owing: bool,
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
    /// `loaded` is what the bridge was started with, and `aside` has read it.
    pub(crate) fn new(source: Source, hangup: Hangup, loaded: &Loaded, aside: Aside, limit: Limit) -> Self {
        Self { source, hangup: hangup.0, watch: Watch::new(loaded.files.clone()), aside, is_owing: false, limit }
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
                    tracing::info!("SIGHUP, but nothing to reload: the configuration is the {}", self.source.name());
                }
                () = news(&mut self.watch, &mut self.aside, self.is_owing) => return,
            }
        }
    }

    /// What problems are said to be in.
    pub(crate) fn file(&self) -> String {
        self.source.name()
    }

    /// Reads the configuration again. From now on the files are watched that it names; if it is no good, those before, too.
    ///
    /// # Errors
    /// When it cannot be read, or has problems.
    pub(crate) async fn load(&mut self) -> Result<Loaded, LoadError> {
        let (source, paths) = (self.source.clone(), self.watch.paths());
        let read = self.aside.run(move || {
            // What changes while we read is then noticed, since it is not what was there before.
            let before: Vec<_> = paths.into_iter().map(Snapshot::of).collect();
            (before, source.load())
        });
        self.is_owing = true;
        let (before, loaded) = read.await?;
        self.is_owing = false;
        self.watch.follow(before);
        let loaded = loaded?;
        self.watch.follow(loaded.files.clone());
        Ok(loaded)
    }

    /// Reads the files again that `config` names, and watches them as well, until a configuration is read that is good.
    ///
    /// # Errors
    /// When there is no answer.
    pub(crate) async fn load_material(&mut self, config: &Arc<Config>) -> Result<Option<Material>, Unanswered> {
        let config = Arc::clone(config);
        let read = self.aside.run(move || {
            let before: Vec<_> = config.files().into_iter().map(Snapshot::of).collect();
            // If they are no good either, the problems of the refused configuration say so, or the next reload.
            (before, Material::load(&config).ok())
        });
        let (before, material) = read.await?;
        self.watch.add(before);
        Ok(material)
    }
}

/// Waits for a file to change; `is_owing`: for an answer, which is still owed.
async fn news(watch: &mut Watch, aside: &mut Aside, is_owing: bool) {
    if is_owing {
        aside.free().await;
        tracing::info!("the file system has answered, reading the configuration again");
    } else {
        let file = watch.changed(aside).await;
        tracing::info!(file = %file.display(), "file has changed, reading the configuration again");
    }
}
