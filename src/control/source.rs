//! Where a configuration comes from: a file below flags and environment, or these alone.

use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use super::watch::Snapshot;
use crate::aside::Unanswered;
use crate::config::{Config, ConfigError, Overrides, Warning};
use crate::files::{self, Unreadable};
use crate::tls::Material;

/// The largest configuration that is read, in bytes: some 50,000 routes.
pub(crate) const MAX_CONFIG: u64 = 16 << 20;

/// Where to read the configuration, as often as it is wanted.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// A file, and what flags and environment lay over it.
    File { path: PathBuf, overrides: Overrides },
    /// What can be read once only, as a pipe or standard input, or is to be; and what lies over it.
    Once { path: PathBuf, overrides: Overrides },
    /// Flags and environment, which do not change while the process runs.
    CommandLine { backend: Vec<String>, timeout: Option<Duration>, overrides: Overrides },
}

/// A configuration that was read, and everything about its reading.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    /// What the files hold that it names.
    pub(crate) material: Material,
    pub(crate) warnings: Vec<Warning>,
    /// The files that it was made of, as they were just before they were read.
    pub(crate) files: Vec<Snapshot>,
}

/// Why there is no configuration.
#[derive(Debug, Error)]
pub(crate) enum LoadError {
    #[error("{}: {error}{}", .file.display(), advice(.error))]
    Unreadable { file: PathBuf, error: Unreadable },
    #[error("{}: is not UTF-8, which YAML is", .file.display())]
    NotText { file: PathBuf },
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
    #[error(transparent)]
    Config(#[from] ConfigError),
}

fn advice(error: &Unreadable) -> &'static str {
    match error {
        Unreadable::Irregular(_) => ", which is what the bridge watches and reads again; `--config -` reads standard input, once",
        Unreadable::Io(_) | Unreadable::TooLarge(_) => "",
    }
}

impl LoadError {
    /// Everything that is wrong, a line each.
    pub(crate) fn lines(&self) -> Vec<String> {
        match self {
            Self::Unreadable { .. } | Self::NotText { .. } | Self::Unanswered(_) => vec![self.to_string()],
            Self::Config(error) => error.lines(),
        }
    }
}

impl Source {
    /// The file that the command line names: `-` and `/dev/stdin` are standard input, which is read once; everything else is read as often
    /// as it changes.
    pub(crate) fn file(path: PathBuf, overrides: Overrides) -> Self {
        let is_stdin = path == Path::new(files::STDIN) || path == Path::new("/dev/stdin");
        if is_stdin { Self::Once { path: files::STDIN.into(), overrides } } else { Self::File { path, overrides } }
    }

    /// Reads and checks it, and the files that it names. Blocks for as long as the file system does.
    ///
    /// # Errors
    /// When a file cannot be read, or the configuration has problems: then all of them at once.
    pub(crate) fn load(&self) -> Result<Loaded, LoadError> {
        let (config, mut warnings, file) = self.read()?;
        let files = file.into_iter().chain(config.files().into_iter().map(Snapshot::of)).collect();
        let invalid = |problems| ConfigError::Invalid { file: self.name(), problems };
        let mut material = Material::load(&config).map_err(invalid)?;
        warnings.append(&mut material.warnings);
        Ok(Loaded { config, material, warnings, files })
    }

    /// As [`load`](Self::load), without the files that it names.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    fn read(&self) -> Result<(Config, Vec<Warning>, Option<Snapshot>), LoadError> {
        let (overrides, text, file) = match self {
            Self::File { path, overrides } => {
                let (file, content) = Snapshot::read(path, MAX_CONFIG).map_err(|error| unreadable(path, error))?;
                (overrides, text(path, content)?, Some(file))
            }
            Self::Once { path, overrides } => (overrides, read_once(path)?, None),
            Self::CommandLine { backend, timeout, overrides } => {
                return Ok((Config::quick_with(backend, *timeout, overrides)?, Vec::new(), None));
            }
        };
        let env = |variable: &str| std::env::var(variable).ok();
        let (config, warnings) = Config::from_yaml_with(&text, &self.name(), &env, overrides)?;
        Ok((config, warnings, file))
    }

    /// What problems are said to be in.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Once { path, .. } if path == Path::new(files::STDIN) => "standard input".to_owned(),
            Self::File { path, .. } | Self::Once { path, .. } => path.display().to_string(),
            Self::CommandLine { .. } => "command line".to_owned(),
        }
    }

    /// Whether it can be read again.
    pub(crate) fn is_file(&self) -> bool {
        matches!(self, Self::File { .. })
    }
}

/// The text of a configuration that the operator has named on the command line of a command that ends.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn read_once(path: &Path) -> Result<String, LoadError> {
    text(path, files::read_once(path, MAX_CONFIG).map_err(|error| unreadable(path, error))?)
}

fn text(path: &Path, content: Vec<u8>) -> Result<String, LoadError> {
    String::from_utf8(content).map_err(|_| LoadError::NotText { file: path.to_owned() })
}

fn unreadable(path: &Path, error: Unreadable) -> LoadError {
    LoadError::Unreadable { file: path.to_owned(), error }
}
