//! A decision service for spop-bridge: bad addresses, API keys for /admin, a rate limit.
//!
//! It answers the message `check-request` with the args `ip`, `path` and `token`. `../README.md` says what it decides, `README.md` how to
//! run it. The library's module `service` makes both methods of the contract, `Decide` and `DecideStream`, from one function.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the address and bad files are what its user needs to see")]

mod check_request;
mod checks;
#[cfg(test)]
mod tests;
mod watched;

use std::io::{Error, Result};
use std::os::unix::fs::FileTypeExt;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::stream;
use spop_bridge::service::{Decider, Decisions};
use spop_bridge::shutdown::{Phase, Shutdown};
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;

use crate::check_request::CheckRequest;
use crate::checks::{Blocklist, Keys, Limit, MAX_CLIENTS};
use crate::watched::Watched;

const USAGE: &str =
    "usage: decision_service [--listen host:port|unix:path] [--blocklist FILE] [--keys FILE] [--rate N [--burst N]]";
/// How often files are looked at.
const EVERY: Duration = Duration::from_secs(1);
/// From NOT_SERVING, upon which bridges that ask for it go elsewhere, to GOAWAY.
const SAID: Duration = Duration::from_millis(500);

#[tokio::main]
async fn main() -> ExitCode {
    let shutdown = Shutdown::new();
    let stop = shutdown.clone();
    tokio::spawn(async move {
        told_to_stop().await;
        // GOAWAY comes after SAID; bridges then get a second to go elsewhere. Then streams end once they are quiet, after five more in any
        // case.
        stop.drain(SAID + Duration::from_secs(1), Duration::from_secs(5)).await;
    });
    let service = match Options::read(std::env::args().skip(1)) {
        Ok(options) => options.service().map(|service| (options, service)),
        Err(error) => Err(format!("{error}\n{USAGE}")),
    };
    let ended = match service {
        Ok((options, service)) => {
            let serving = serve(&options.listen, service, shutdown, |address| println!("listening on {address}"));
            serving.await.map_err(|error| format!("cannot serve on {}: {error}", options.listen))
        }
        Err(error) => Err(error),
    };
    ended.map_or_else(
        |error| {
            eprintln!("{error}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

struct Options {
    listen: String,
    blocklist: Option<String>,
    keys: Option<String>,
    rate: f64,
    burst: Option<f64>,
}

impl Options {
    fn read(mut args: impl Iterator<Item = String>) -> std::result::Result<Self, String> {
        let mut options = Self { listen: "127.0.0.1:50051".into(), blocklist: None, keys: None, rate: 0.0, burst: None };
        while let Some(flag) = args.next() {
            let value = args.next().ok_or_else(|| format!("{flag}: a flag without a value, or none that is known"))?;
            let number = |least: f64| {
                let number = value.parse().ok().filter(|number: &f64| number.is_finite() && *number >= least);
                number.ok_or_else(|| format!("{flag} {value}: expected a number of at least {least}"))
            };
            match &flag[..] {
                "--rate" => options.rate = number(0.0)?,
                "--burst" => options.burst = Some(number(1.0)?),
                "--listen" => options.listen = value,
                "--blocklist" => options.blocklist = Some(value),
                "--keys" => options.keys = Some(value),
                _ => return Err(format!("{flag}: no such flag")),
            }
        }
        Ok(options)
    }

    /// With the files read; they are watched from now on.
    fn service(&self) -> std::result::Result<CheckRequest, String> {
        let blocklist = match &self.blocklist {
            Some(path) => Watched::file(path.clone(), EVERY, Blocklist::parse)?,
            None => Watched::nothing(),
        };
        let keys = match &self.keys {
            Some(path) => Watched::file(path.clone(), EVERY, Keys::parse)?,
            None => Watched::nothing(),
        };
        Ok(CheckRequest { blocklist, keys, limit: Mutex::new(Limit::new(self.rate, self.burst, MAX_CLIENTS)) })
    }
}

/// Serves until `shutdown` says that it is over.
async fn serve(listen: &str, decider: impl Decider, shutdown: Shutdown, ready: impl FnOnce(String)) -> Result<()> {
    let (health, healthy) = tonic_health::server::health_reporter();
    let everything = ["", "spopbridge.v1.DecisionService"];
    for name in everything {
        health.set_service_status(name, ServingStatus::Serving).await;
    }
    let mut drain = shutdown.watch();
    let stop = async move {
        _ = drain.reached(Phase::NotReady).await;
        for name in everything {
            health.set_service_status(name, ServingStatus::NotServing).await;
        }
        tokio::time::sleep(SAID).await;
    };
    let decisions = Decisions::new(decider).shutdown(&shutdown).into_server();
    let server = Server::builder().add_service(decisions).add_service(healthy);
    let serving = async move {
        match listen.strip_prefix("unix:") {
            None => {
                let listener = TcpListener::bind(listen).await?;
                ready(listener.local_addr()?.to_string());
                let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
                server.serve_with_incoming_shutdown(incoming, stop).await.map_err(Error::other)
            }
            Some(path) => {
                let listener = bind_unix(path)?;
                ready(listen.into());
                let accept =
                    |listener: UnixListener| async { Some((listener.accept().await.map(|(socket, _)| socket), listener)) };
                let incoming = stream::unfold(listener, accept);
                server.serve_with_incoming_shutdown(incoming, stop).await.map_err(Error::other)
            }
        }
    };
    // Whoever still watches its health must not keep it.
    let mut drain = shutdown.watch();
    tokio::select! {
        served = serving => served,
        _ = drain.reached(Phase::Closing) => Ok(()),
    }
}

fn bind_unix(path: &str) -> Result<UnixListener> {
    // A socket file left by a process that was killed is in the way.
    if std::fs::metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        std::fs::remove_file(path)?;
    }
    UnixListener::bind(path)
}

/// Ctrl-C, or SIGTERM as container runtimes send it.
async fn told_to_stop() {
    let terminate = signal(SignalKind::terminate());
    let interrupt = signal(SignalKind::interrupt());
    if let (Ok(mut terminate), Ok(mut interrupt)) = (terminate, interrupt) {
        tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () }
    }
}
