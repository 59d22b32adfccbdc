//! Where a configuration comes from: a file below flags and environment, or these alone.

use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use super::watch::Snapshot;
use crate::config::{Config, ConfigError, Overrides, Warning};
use crate::tls::Material;

/// Where to read the configuration, as often as it is wanted.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// A file, and what flags and environment lay over it.
    File { path: PathBuf, overrides: Overrides },
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
    #[error("{}: cannot be read: {error}", .file.display())]
    Unreadable { file: PathBuf, error: std::io::Error },
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl LoadError {
    /// Everything that is wrong, a line each.
    pub(crate) fn lines(&self) -> Vec<String> {
        match self {
            Self::Unreadable { .. } => vec![self.to_string()],
            Self::Config(error) => error.lines(),
        }
    }
}

impl Source {
    /// Reads and checks it.
    ///
    /// # Errors
    /// When a file cannot be read, or the configuration has problems: then all of them at once.
    pub(crate) fn load(&self) -> Result<Loaded, LoadError> {
        let (config, mut warnings, file) = match self {
            Self::File { path, overrides } => {
                let (file, text) = Snapshot::read(path).map_err(|error| LoadError::Unreadable { file: path.clone(), error })?;
                let env = |variable: &str| std::env::var(variable).ok();
                let (config, warnings) = Config::from_yaml_with(&text, &path.display().to_string(), &env, overrides)?;
                (config, warnings, Some(file))
            }
            Self::CommandLine { backend, timeout, overrides } => {
                (Config::quick_with(backend, *timeout, overrides)?, Vec::new(), None)
            }
        };
        let files = file.into_iter().chain(config.files().into_iter().map(Snapshot::of)).collect();
        let invalid = |problems| ConfigError::Invalid { file: self.name(), problems };
        let mut material = Material::load(&config).map_err(invalid)?;
        warnings.append(&mut material.warnings);
        Ok(Loaded { config, material, warnings, files })
    }

    /// What problems are said to be in.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::File { path, .. } => path.display().to_string(),
            Self::CommandLine { .. } => "command line".to_owned(),
        }
    }

    pub(crate) fn is_file(&self) -> bool {
        matches!(self, Self::File { .. })
    }
}
