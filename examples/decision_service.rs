//! A decision service for spop-bridge: who may see what lies under /admin.
//!
//! Run it with `cargo run --example decision_service --no-default-features --features service`, and the bridge beside it with
//! `spop-bridge run --listen 127.0.0.1:9000 --backend http://127.0.0.1:50051 --timeout 50ms`. One function answers both methods
//! of the contract, `Decide` and `DecideStream`. Ctrl-C ends it in order.

use std::net::IpAddr;
use std::time::Duration;

use spop_bridge::pb::v1::{DecideRequest, DecideResponse, Value};
use spop_bridge::service::{Context, Decisions, set_var};
use spop_bridge::shutdown::{Phase, Shutdown};
use tokio::signal::ctrl_c;
use tokio::signal::unix::{SignalKind, signal};
use tonic::Status;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

const TOKEN: &str = "let-me-in";

/// Answers the message `check-request` with the args `ip`, `path` and `token`.
async fn decide(request: DecideRequest, _context: Context) -> Result<DecideResponse, Status> {
    if request.messages.iter().all(|message| message.name != "check-request") {
        return Ok(DecideResponse::default()); // not a question for this service: no opinion
    }
    let text = |name| request.arg(name).and_then(Value::as_str);
    let Some(path) = text("path") else {
        // The bridge answers HAProxy with the route's actions for `rejected`.
        return Err(Status::invalid_argument("check-request came without a path"));
    };
    let ip = request.arg("ip").and_then(Value::as_ip);
    let (allow, reason, score) = verdict(ip, path, text("token"));
    Ok(DecideResponse { actions: vec![set_var("allow", allow), set_var("reason", reason), set_var("score", score)] })
}

/// The rule itself. The score goes from 0 (harmless) to 100.
fn verdict(ip: Option<IpAddr>, path: &str, token: Option<&str>) -> (bool, String, i64) {
    if path != "/admin" && !path.starts_with("/admin/") {
        return (true, "public path".into(), 0);
    }
    if token == Some(TOKEN) {
        return (true, "token accepted".into(), 10);
    }
    let ip = ip.map_or_else(|| "unknown".into(), |ip| ip.to_string());
    (false, format!("admin path without token from {ip}"), 100)
}

#[allow(clippy::print_stdout, reason = "the address is what a user of the example needs")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listen = std::env::args().skip_while(|arg| arg != "--listen").nth(1);
    let incoming = TcpIncoming::bind(listen.as_deref().unwrap_or("127.0.0.1:50051").parse()?)?.with_nodelay(Some(true));
    println!("listening on {}", incoming.local_addr()?);
    let shutdown = Shutdown::new();
    let decisions = Decisions::new(decide).shutdown(&shutdown).into_server();
    let mut drain = shutdown.watch();
    tokio::spawn(async move {
        told_to_stop().await;
        // Bridges get a second to go elsewhere; then streams end once they are quiet, after five more in any case.
        shutdown.drain(Duration::from_secs(1), Duration::from_secs(5)).await;
    });
    let stop = async move { _ = drain.reached(Phase::NotReady).await };
    Server::builder().add_service(decisions).serve_with_incoming_shutdown(incoming, stop).await?;
    Ok(())
}

/// Ctrl-C, or SIGTERM as container runtimes send it.
async fn told_to_stop() {
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => _ = tokio::select! { _ = ctrl_c() => None, told = terminate.recv() => told },
        Err(_) => _ = ctrl_c().await,
    }
}
