//! `spop-bridge haproxy generate`: the SPOE file, the backend and the rules that go with a configuration.

use std::path::{Path, PathBuf};

use clap::{Parser, ValueEnum};

use super::warn;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output;
use crate::config::Config;
use crate::control::read_once;
use crate::haproxy::Version;
use crate::haproxy::generate::{Options, Parts, Target, TlsFiles, generate};

/// Write the SPOE file, the backend section and the rules for a configuration of the bridge.
///
/// The routes that have `haproxy` say what is asked, when, and what follows; `haproxy: {}` takes the defaults.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The bridge's configuration file.
    #[arg(long, short, env = "SPOP_BRIDGE_CONFIG", value_name = "FILE")]
    config: PathBuf,
    /// The release of HAProxy that it is for: a line from 2.4 to 3.4, or what `haproxy -v` says.
    #[arg(long, value_name = "VERSION", default_value_t = Version::DEFAULT)]
    haproxy_version: Version,
    /// One part instead of all.
    #[arg(long, value_name = "PART")]
    only: Option<Part>,
    /// Write files into this folder instead of printing them.
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Replace files that are there.
    #[arg(long, requires = "output")]
    force: bool,
    /// Where HAProxy reaches the bridge: host:port, unix:/path, or dns:///host:port for all addresses of a name, such as a headless
    /// Service. Repeat it for more bridges [default: the listeners, on this machine].
    #[arg(long, value_name = "ADDRESS")]
    server: Vec<Target>,
    /// Name of a listener that HAProxy uses. Repeat it for more [default: all that take the messages].
    #[arg(long, value_name = "NAME")]
    listener: Vec<String>,
    /// The SPOE file, as HAProxy's `filter` line is to name it.
    #[arg(long, value_name = "FILE", default_value = "spoe.cfg", value_parser = file_name)]
    spoe_file: String,
    /// For a listener with TLS: the file with the CA of the bridge's certificate, on HAProxy's machine.
    #[arg(long, value_name = "FILE", value_parser = file_name)]
    tls_ca: Option<String>,
    /// For a listener with TLS: the name that the bridge's certificate has.
    #[arg(long, value_name = "NAME", value_parser = file_name)]
    tls_name: Option<String>,
    /// For a listener with client_ca: the file with HAProxy's certificate and key.
    #[arg(long, value_name = "FILE", value_parser = file_name)]
    tls_crt: Option<String>,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The SPOE file.
    Spoe,
    /// The section whose servers are the bridge.
    Backend,
    /// The lines for your frontend.
    Rules,
    /// A whole haproxy.cfg to try it out.
    Complete,
}

const EXAMPLES: &str = "\
Try it out:
  spop-bridge haproxy generate --config bridge.yaml --output try && haproxy -f try/haproxy.cfg
For your own haproxy.cfg:
  spop-bridge haproxy generate --config bridge.yaml --only spoe > /etc/haproxy/spoe.cfg
  spop-bridge haproxy generate --config bridge.yaml --only backend >> /etc/haproxy/haproxy.cfg
  spop-bridge haproxy generate --config bridge.yaml --only rules --spoe-file /etc/haproxy/spoe.cfg";

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let config = read(&args.config)?;
    args.haproxy_version.warning().iter().for_each(|warning| warn(warning));
    let options = Options {
        version: args.haproxy_version,
        servers: args.server.clone(),
        listeners: args.listener.clone(),
        spoe_file: args.spoe_file.clone(),
        tls: TlsFiles { ca: args.tls_ca.clone(), name: args.tls_name.clone(), certificate: args.tls_crt.clone() },
    };
    let failed = |error| Failure::new(Exit::Config, format!("{}: {error}", args.config.display()));
    let parts = generate(&config, &options).map_err(failed)?;
    parts.warnings.iter().for_each(|warning| warn(warning));
    match &args.output {
        Some(folder) => write(folder, &parts, args),
        None => {
            print(&parts, args.only);
            Ok(())
        }
    }
}

/// The configuration, without the files that it names: they are where the bridge runs, and HAProxy's side does not need them.
fn read(file: &Path) -> Result<Config, Failure> {
    let text = read_once(file).map_err(|error| Failure::new(Exit::Config, error))?;
    let (name, env) = (file.display().to_string(), |variable: &str| std::env::var(variable).ok());
    let (config, warnings) = Config::for_haproxy(&text, &name, &env).map_err(|error| Failure::new(Exit::Config, error))?;
    warnings.iter().for_each(|warning| warn(&warning.to_string()));
    Ok(config)
}

fn print(parts: &Parts, only: Option<Part>) {
    match only {
        // As they are written into files, to the byte.
        Some(part) => output::write(format!("{}\n", part.text(parts).trim_end()).as_bytes()),
        None => {
            for part in [Part::Spoe, Part::Backend, Part::Rules] {
                let rule = "#".repeat(20);
                output::write(format!("{rule} {} {rule}\n{}\n", part.file(), part.text(parts)).as_bytes());
            }
        }
    }
}

/// Writes all of them, or none.
fn write(folder: &Path, parts: &Parts, args: &Args) -> Result<(), Failure> {
    let failed = |path: &Path, error: &dyn std::fmt::Display| Failure::new(Exit::Failed, format!("{}: {error}", path.display()));
    let wanted: Vec<_> =
        Part::value_variants().iter().filter(|part| args.only.is_none_or(|only| only == **part)).copied().collect();
    let files: Vec<_> = wanted.iter().map(|part| (folder.join(part.file()), part.text(parts))).collect();
    if let Some((path, _)) = files.iter().find(|(path, _)| !args.force && path.symlink_metadata().is_ok()) {
        return Err(failed(path, &"is there already. Nothing was written; --force replaces it"));
    }
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
    for (path, text) in &files {
        std::fs::write(path, text).map_err(|error| failed(path, &error))?;
        say!("{}", path.display());
    }
    Ok(())
}

impl Part {
    fn file(self) -> &'static str {
        match self {
            Self::Spoe => "spoe.cfg",
            Self::Backend => "backend.cfg",
            Self::Rules => "rules.cfg",
            Self::Complete => "haproxy.cfg",
        }
    }

    fn text(self, parts: &Parts) -> &str {
        match self {
            Self::Spoe => &parts.spoe,
            Self::Backend => &parts.backend,
            Self::Rules => &parts.rules,
            Self::Complete => &parts.complete,
        }
    }
}

/// A text that goes into a line of HAProxy's.
fn file_name(text: &str) -> Result<String, &'static str> {
    let usable = !text.is_empty() && !text.contains(char::is_control);
    if usable { Ok(text.to_owned()) } else { Err("expected text without control characters") }
}
