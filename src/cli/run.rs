//! `spop-bridge run`: the bridge itself.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use super::exit::{Exit, Failure};
use crate::app::App;
use crate::aside::Aside;
use crate::config::{Config, ConfigError, LogFormat, LogLevel, Overrides, parse_duration};
use crate::control::{Control, Hangup, Limit, LoadError, Loaded, Source, Stop};
use crate::otlp::{Exporter, Settings};
use crate::tls::Material;

/// Run the bridge, with a configuration file or with --listen and --backend alone.
///
/// Flags come before SPOP_BRIDGE_* environment variables, and those before the file.
/// A file that changes is read again, and SIGHUP has it read at once.
/// SIGTERM and SIGINT drain and end it; a second one ends it at once.
#[derive(Debug, Parser)]
#[command(after_help = NOTES)]
pub(super) struct Args {
    /// The configuration file; - for standard input, which is read once.
    #[arg(long, short, env = "SPOP_BRIDGE_CONFIG", value_name = "FILE", conflicts_with_all = ["backend", "timeout"])]
    config: Option<PathBuf>,
    /// Where HAProxy connects: host:port or unix:/path. Repeat it for more; with a file, replaces its listeners.
    #[arg(long, env = "SPOP_BRIDGE_LISTEN", value_name = "ADDRESS", value_delimiter = ',')]
    listen: Vec<String>,
    /// The decision service: http(s)://host:port, dns:///host:port or unix:/path. Repeat it for more endpoints of the same service.
    #[arg(long, env = "SPOP_BRIDGE_BACKEND", value_name = "URI", value_delimiter = ',', required_unless_present = "config")]
    backend: Vec<String>,
    /// How long a decision may take, e.g. 50ms.
    #[arg(long, env = "SPOP_BRIDGE_TIMEOUT", value_name = "DURATION", value_parser = parse_duration)]
    timeout: Option<Duration>,
    /// Threads that serve connections [default: the available cores].
    #[arg(long, env = "SPOP_BRIDGE_WORKERS", value_name = "NUMBER")]
    workers: Option<usize>,
    /// The least important log lines to print: error, warn, info, debug or trace.
    #[arg(long, env = "SPOP_BRIDGE_LOG_LEVEL", value_name = "LEVEL")]
    log_level: Option<LogLevel>,
    /// What log lines look like: text, json, or auto: text on a terminal, JSON elsewhere.
    #[arg(long, env = "SPOP_BRIDGE_LOG_FORMAT", value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// How long health checks are refused before connections are, when draining.
    #[arg(long, env = "SPOP_BRIDGE_DRAIN_DELAY", value_name = "DURATION", value_parser = parse_duration)]
    drain_delay: Option<Duration>,
    /// How long decisions in flight may take when draining.
    #[arg(long, env = "SPOP_BRIDGE_GRACE_PERIOD", value_name = "DURATION", value_parser = parse_duration)]
    grace_period: Option<Duration>,
    /// Where operators find health, metrics and what runs: host:port, unix:/path or off [default: 127.0.0.1:9902].
    #[arg(long, env = "SPOP_BRIDGE_ADMIN", value_name = "ADDRESS")]
    admin: Option<String>,
}

const NOTES: &str = "\
Examples:
  Next to HAProxy, without a file; HAProxy's side: spop-bridge haproxy --help
    spop-bridge run --listen 127.0.0.1:9000 --backend http://127.0.0.1:50051 --timeout 50ms

  Several servers of one name, with a file for everything else:
    spop-bridge run --config /etc/spop-bridge/bridge.yaml
  where the file begins with
    backends:
      decisions:
        endpoints: [dns:///decisions.default.svc:50051]

OpenTelemetry:
  Traces, metrics and logs are exported by OTLP if OpenTelemetry's variables say where to:
    OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318
    OTEL_EXPORTER_OTLP_PROTOCOL=grpc      for OTLP/gRPC, often on port 4317
    OTEL_TRACES_SAMPLER=parentbased_traceidratio
    OTEL_TRACES_SAMPLER_ARG=0.01          a share of traces instead of all
  The others are in docs/opentelemetry.md.";

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let result = serve(source(args));
    // By the log's thread: the reader of standard error may have stalled.
    result.map_err(|Failure { exit, message }| {
        crate::telemetry::complain(&message);
        Failure::silent(exit)
    })
}

fn serve(source: Source) -> Result<(), Failure> {
    let runtime = super::control_runtime()?;
    let result = runtime.block_on(async {
        // Before anything else: from here on a signal that comes early ends it in order or reloads, and does not kill.
        let mut stop = stop()?;
        let limit = stop.limit();
        limit.set(Duration::ZERO);
        let hangup = Hangup::new().map_err(|error| Failure::new(Exit::Start, format!("cannot listen for signals: {error}")))?;
        let started = tokio::select! {
            biased;
            // Left in the middle of it, nothing has begun that would have to be ended.
            () = stop.received() => return Ok(()),
            started = start(source, hangup, limit) => started?,
        };
        let (app, control, exporter) = started;
        app.run(stop.received(), Some(control)).await;
        exporter.shut_down().await;
        Ok(())
    });
    // Not waiting for what a file system or a name server has not answered.
    runtime.shutdown_background();
    result
}

async fn start(source: Source, hangup: Hangup, limit: Limit) -> Result<(App, Control, Exporter), Failure> {
    let (mut aside, reads) = (Aside::new(), source.clone());
    let read = aside.run(move || reads.load()).await.map_err(LoadError::from);
    let mut loaded = read.flatten().map_err(|error| Failure::new(Exit::Config, error))?;
    crate::telemetry::init(&loaded.config.log);
    crate::telemetry::log_panics();
    let exporter = crate::otlp::start(Settings::of_process());
    for warning in std::mem::take(&mut loaded.warnings) {
        tracing::warn!(%warning, "configuration");
    }
    super::open_files::raise_limit(&loaded.config);
    let name = source.name();
    let control = Control::new(source, hangup, &loaded, aside, limit);
    match App::start(loaded.config, loaded.material, &name).await {
        Ok(app) => Ok((app, control, exporter)),
        Err(error) => {
            exporter.shut_down().await;
            Err(Failure::new(Exit::Start, error))
        }
    }
}

/// The signals that end the process, from now on.
pub(super) fn stop() -> Result<Stop, Failure> {
    Stop::listen().map_err(|error| Failure::new(Exit::Start, format!("cannot listen for signals: {error}")))
}

fn source(args: &Args) -> Source {
    let overrides = Overrides {
        workers: args.workers,
        listen: args.listen.clone(),
        log_level: args.log_level,
        log_format: args.log_format,
        drain_delay: args.drain_delay,
        grace_period: args.grace_period,
        admin: args.admin.clone(),
    };
    match &args.config {
        Some(path) => Source::file(path.clone(), overrides),
        None => Source::CommandLine { backend: args.backend.clone(), timeout: args.timeout, overrides },
    }
}

/// Reads and checks a configuration.
pub(super) fn load(source: &Source) -> Result<Loaded, Failure> {
    source.load().map_err(|error| Failure::new(Exit::Config, error))
}

/// Reads the files that the configuration in `file` names.
pub(super) fn load_material(config: &Config, file: &str) -> Result<Material, Failure> {
    Material::load(config)
        .map_err(|problems| Failure::new(Exit::Config, ConfigError::Invalid { file: file.to_owned(), problems }))
}
