//! The demo's decision service: what any gRPC server does, with the generated types.

use std::io;
use std::net::SocketAddr;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tonic::{Request, Response, Status};

use crate::pb::v1::decision_service_server::{DecisionService, DecisionServiceServer};
use crate::pb::v1::{
    Action, DecideRequest, DecideResponse, DecideStreamRequest, DecideStreamResponse, SetVar, Value, VarScope, action, value,
};

/// Serves on a free loopback port until the runtime ends.
pub(super) async fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(DecisionServiceServer::new(Guard));
            tokio::spawn(http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service));
        }
    });
    Ok(address)
}

/// Guards `/admin`.
struct Guard;

#[tonic::async_trait]
impl DecisionService for Guard {
    async fn decide(&self, request: Request<DecideRequest>) -> Result<Response<DecideResponse>, Status> {
        let request = request.into_inner();
        let text = |name: &str| {
            let args = request.messages.iter().flat_map(|message| &message.args);
            let value = args.filter(|arg| arg.name == name).find_map(|arg| arg.value.as_ref()?.kind.as_ref());
            match value {
                Some(value::Kind::StringValue(text)) => text.as_str(),
                _ => "",
            }
        };
        let (allow, reason, score) = match (text("path").starts_with("/admin"), text("token")) {
            (false, _) => (true, "the page is public", 0),
            (true, "let-me-in") => (true, "the token is known", 10),
            (true, "") => (false, "the page needs a token", 90),
            (true, _) => (false, "the token is not known", 100),
        };
        let actions = vec![
            set("allow", value::Kind::BoolValue(allow)),
            set("reason", value::Kind::StringValue(reason.to_owned())),
            set("score", value::Kind::Int64Value(score)),
        ];
        Ok(Response::new(DecideResponse { actions }))
    }

    type DecideStreamStream = futures_util::stream::Empty<Result<DecideStreamResponse, Status>>;

    async fn decide_stream(
        &self,
        _: Request<tonic::Streaming<DecideStreamRequest>>,
    ) -> Result<Response<Self::DecideStreamStream>, Status> {
        Err(Status::unimplemented("this service decides one by one"))
    }
}

fn set(name: &str, kind: value::Kind) -> Action {
    let value = Some(Value { kind: Some(kind), ..Value::default() });
    let variable = SetVar { scope: VarScope::Transaction.into(), name: name.to_owned(), value };
    Action { action: Some(action::Action::SetVar(variable)) }
}
