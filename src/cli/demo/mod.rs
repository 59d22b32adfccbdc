//! `spop-bridge demo`: HAProxy, the bridge and a decision service on one machine, and requests through all of it.

mod haproxy;
mod service;

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use super::engine::Engine;
use super::exit::{Exit, Failure};
use super::value::{show, show_action};
use crate::app::App;
use crate::config::{Config, LogFormat, LogLevel, Overrides};
use crate::spop::{NotifyEncoder, TypedData};

/// Show the whole way on this machine: HAProxy, the bridge and a decision service.
///
/// Sends a few requests, prints what each got and why, and stays up for requests of your own until Ctrl-C. Without HAProxy
/// it plays HAProxy's part itself.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// End after the requests.
    #[arg(long)]
    once: bool,
    /// HAProxy's program [default: `haproxy` on the path].
    #[arg(long, value_name = "FILE")]
    haproxy: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  Stay up, and ask from another terminal:
    spop-bridge demo
    curl -i -H 'x-token: let-me-in' http://127.0.0.1:8080/admin

  A few requests through a HAProxy that is not on the path:
    spop-bridge demo --once --haproxy /usr/sbin/haproxy";

/// A request of the demo: path, token, and what it shows.
const REQUESTS: [(&str, Option<&str>, &str); 3] = [
    ("/", None, "an ordinary page"),
    ("/admin", None, "a guarded page"),
    ("/admin", Some("let-me-in"), "a guarded page, with the token"),
];

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    super::control_runtime()?.block_on(play(args))
}

async fn play(args: &Args) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::new(Exit::Failed, error);
    let service = service::start().await.map_err(failed)?;
    let overrides = Overrides {
        workers: Some(1),
        listen: vec!["127.0.0.1:0".to_owned()],
        log_level: Some(LogLevel::Warn),
        log_format: Some(LogFormat::Text),
        // Nobody has to be warned.
        drain_delay: Some(Duration::ZERO),
        admin: Some("off".to_owned()),
        ..Overrides::default()
    };
    let endpoint = format!("http://{service}");
    let config = Config::quick_with(&[endpoint], Some(Duration::from_millis(200)), &overrides)
        .map_err(|error| Failure::new(Exit::Config, error))?;
    crate::telemetry::init(&config.log);
    let material = super::run::load_material(&config, "demo")?;
    let app = App::start(config, material, "demo").await.map_err(|error| Failure::new(Exit::Start, error))?;
    let bridge = app.addresses().concat();
    say!("decision service  {service}   paths with /admin need the header `x-token: let-me-in`");
    say!("spop-bridge       {bridge}   asks the service for every request");
    let mut stop = super::run::stop()?;
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let app = tokio::spawn(app.run(
        async move {
            let _ = ended.await;
        },
        None,
    ));
    let haproxy = match haproxy::find(args.haproxy.as_deref()).await {
        Some(program) => Some(haproxy::Haproxy::start(program, &bridge).await?),
        None => None,
    };
    match &haproxy {
        Some(haproxy) => through_haproxy(haproxy).await?,
        None => as_haproxy(&bridge).await?,
    }
    if !args.once {
        say!("\nCtrl-C ends the demo.");
        stop.received().await;
    }
    drop(haproxy);
    drop(end);
    app.await.map_err(|error| Failure::new(Exit::Failed, error))
}

async fn through_haproxy(haproxy: &haproxy::Haproxy) -> Result<(), Failure> {
    let address = haproxy.address();
    say!("{:<17} {address}   lets through, or not, what the service decides\n", haproxy.version());
    for (path, token, what) in REQUESTS {
        let answer = haproxy.get(path, token).await.map_err(|error| Failure::new(Exit::Failed, error))?;
        let token = token.map(|token| format!(" x-token: {token}")).unwrap_or_default();
        say!("GET {path}{token}   ({what})");
        say!("    {} {}", answer.status, answer.body.trim());
    }
    say!("\nTry it:");
    for (path, token, _) in REQUESTS {
        let header = token.map(|token| format!(" -H 'x-token: {token}'")).unwrap_or_default();
        say!("    curl -i http://{address}{path}{header}");
    }
    say!("    cargo run --release -- notify --agent {} --message check-request --arg path=/admin", haproxy.bridge());
    Ok(())
}

/// What HAProxy would have sent and got.
async fn as_haproxy(bridge: &str) -> Result<(), Failure> {
    say!("HAProxy           not found: the demo plays its part and shows NOTIFYs and the actions that come back\n");
    let failed = |error| Failure::new(Exit::Failed, error);
    let mut engine = Engine::connect(bridge, "demo").await.map_err(failed)?;
    let hello = engine.hello();
    say!("HELLO: SPOP {}, frames up to {} bytes, {}\n", hello.version, hello.max_frame_size, hello.capabilities);
    for (stream_id, (path, token, what)) in (1..).step_by(2).zip(REQUESTS) {
        let token = token.map_or(TypedData::Null, TypedData::from);
        let args = [("path", TypedData::from(path)), ("token", token)];
        let notify = NotifyEncoder::new(stream_id, 1).message("check-request", &args);
        say!("NOTIFY check-request path={path} token={}   ({what})", show(token));
        for action in &engine.notify(&notify).await.map_err(failed)? {
            say!("    {}", show_action(&action));
        }
    }
    engine.disconnect().await.map_err(failed)?;
    say!("\nTry it:");
    say!("    cargo run --release -- notify --agent {bridge} --message check-request --arg path=/admin");
    say!("Install HAProxy (Debian: apt-get install haproxy) and run the demo again to see real requests.");
    Ok(())
}
