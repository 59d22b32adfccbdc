//! The demo's decision service: one handler for both methods of the contract.

use std::io;
use std::net::SocketAddr;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tonic::Status;

use crate::pb::v1::{DecideRequest, DecideResponse, Value};
use crate::service::{Context, Decisions, set_var};

/// Serves on a free loopback port until the runtime ends.
pub(super) async fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let decisions = Decisions::new(guard).into_server();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(decisions.clone());
            tokio::spawn(http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service));
        }
    });
    Ok(address)
}

/// Guards `/admin`, however it is written: `//admin` and `/x/../admin` are the same place to most applications.
async fn guard(request: DecideRequest, _: Context) -> Result<DecideResponse, Status> {
    let text = |name| request.arg(name).and_then(Value::as_str).unwrap_or_default();
    let guarded = text("path").split('/').any(|segment| segment.eq_ignore_ascii_case("admin"));
    let (allow, reason, score) = match (guarded, text("token")) {
        (false, _) => (true, "the page is public", 0),
        (true, "let-me-in") => (true, "the token is known", 10),
        (true, "") => (false, "the page needs a token", 90),
        (true, _) => (false, "the token is not known", 100),
    };
    Ok(DecideResponse { actions: vec![set_var("allow", allow), set_var("reason", reason), set_var("score", score)] })
}
