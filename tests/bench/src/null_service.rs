//! A decision service that costs as little as a service can: three fixed actions for everything but the path `/denied`.
//!
//! One thread, and tonic's own server for all rivals. Bridges are answered by the `service` module, as any service in Rust would be.

use std::error::Error;
use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use envoy_types::ext_authz::v3::pb::{
    Authorization, AuthorizationServer, CheckRequest, CheckResponse, DeniedHttpResponse, HeaderValue, HeaderValueOption,
    HttpResponse, HttpStatus, OkHttpResponse,
};
use prost::Message;
use spop_bridge::pb::v1::{DecideRequest, DecideResponse, Value};
use spop_bridge::service::{Context, Decisions, set_var};
use tonic::{Request, Response, Status};

const DENIED: &str = "/denied";

#[derive(clap::Args)]
pub struct Args {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:19050")]
    listen: SocketAddr,
}

/// How many decisions were made, and how long requests are. Each line on standard input asks for both; its end ends the service.
#[derive(Default)]
struct Count {
    decisions: AtomicU64,
    bytes: AtomicU64,
}

impl Count {
    fn add(&self, request: &impl Message) {
        let before = self.decisions.fetch_add(1, Ordering::Relaxed);
        // Measuring takes time, so that only a few are.
        if before % 4096 == 1000 {
            self.bytes.store(request.encoded_len() as u64, Ordering::Relaxed);
        }
    }
}

pub fn main(args: &Args) -> Result<(), Box<dyn Error>> {
    let count = Arc::<Count>::default();
    std::thread::spawn({
        let count = Arc::clone(&count);
        move || tell(&count)
    });
    let null = Arc::new(Null { count });
    let decide = {
        let null = Arc::clone(&null);
        move |request: DecideRequest, _: Context| std::future::ready(Ok(null.decide(&request)))
    };
    let server = tonic::transport::Server::builder()
        .add_service(Decisions::new(decide).into_server())
        .add_service(AuthorizationServer::from_arc(null))
        .serve(args.listen);
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(server)?)
}

fn tell(count: &Count) {
    for _ in std::io::stdin().lock().lines() {
        let mut out = std::io::stdout();
        let _ = writeln!(out, "{} {}", count.decisions.load(Ordering::Relaxed), count.bytes.load(Ordering::Relaxed));
        let _ = out.flush();
    }
    std::process::exit(0);
}

/// An answer to Envoy or to a bridge.
struct Null {
    count: Arc<Count>,
}

impl Null {
    fn decide(&self, request: &DecideRequest) -> DecideResponse {
        self.count.add(request);
        let allow = request.arg("path").and_then(Value::as_str) != Some(DENIED);
        let reason = if allow { "ok" } else { "denied" };
        DecideResponse { actions: vec![set_var("allow", allow), set_var("score", 7), set_var("reason", reason)] }
    }
}

#[tonic::async_trait]
impl Authorization for Null {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        self.count.add(request.get_ref());
        let http = request.get_ref().attributes.as_ref().and_then(|attributes| attributes.request.as_ref()?.http.as_ref());
        let allow = http.is_none_or(|http| http.path != DENIED);
        Ok(Response::new(if allow { allowed() } else { denied() }))
    }
}

/// As many words as the three actions have.
fn allowed() -> CheckResponse {
    let header = |key: &str, value: &str| HeaderValueOption {
        header: Some(HeaderValue { key: key.into(), value: value.into(), ..Default::default() }),
        ..Default::default()
    };
    let ok = OkHttpResponse { headers: vec![header("x-score", "7"), header("x-reason", "ok")], ..Default::default() };
    CheckResponse { http_response: Some(HttpResponse::OkResponse(ok)), ..Default::default() }
}

fn denied() -> CheckResponse {
    let denied = DeniedHttpResponse { status: Some(HttpStatus { code: 403 }), ..Default::default() };
    let status = envoy_types::pb::google::rpc::Status { code: tonic::Code::PermissionDenied.into(), ..Default::default() };
    CheckResponse { status: Some(status), http_response: Some(HttpResponse::DeniedResponse(denied)), ..Default::default() }
}
