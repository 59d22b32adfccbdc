//! A receiver of OTLP, by gRPC and by HTTP on one port, whose answers a test scripts, and which remembers what it was sent.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Buf, Bytes};
use flate2::read::GzDecoder;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use spop_bridge::agent::rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use super::bridge::PATIENCE;
use super::eventually;
use super::host::listen;

/// What the receiver does with a message, the first ones one by one, all others well.
#[derive(Clone)]
pub(crate) enum Reply {
    Taken,
    /// All but so many items, and why.
    Partly(i64, &'static str),
    /// HTTP status, or gRPC code where it came by gRPC.
    Refused(u16, i32),
    /// `Refused`, and to be asked again in so many seconds (OTLP/HTTP).
    RefusedFor(u16, u64),
    After(Duration),
}

/// One message, as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) version: http::Version,
    /// Not compressed any more.
    pub(crate) message: Bytes,
    pub(crate) was_compressed: bool,
}

#[derive(Default)]
struct Shared {
    received: Mutex<Vec<Received>>,
    replies: Mutex<VecDeque<Reply>>,
}

/// A running receiver.
pub(crate) struct Receiver {
    address: SocketAddr,
    is_tls: bool,
    shared: Arc<Shared>,
    /// Stops it when dropped.
    runtime: Option<Runtime>,
}

impl Receiver {
    pub(crate) fn start(replies: &[Reply]) -> Receiver {
        Receiver::on(listen((Ipv4Addr::LOCALHOST, 0).into()), None, replies)
    }

    pub(crate) fn at(address: SocketAddr) -> Receiver {
        Receiver::on(listen(address), None, &[])
    }

    pub(crate) fn tls(config: Arc<ServerConfig>) -> Receiver {
        Receiver::on(listen((Ipv4Addr::LOCALHOST, 0).into()), Some(config), &[])
    }

    fn on(listener: TcpListener, tls: Option<Arc<ServerConfig>>, replies: &[Reply]) -> Receiver {
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { replies: Mutex::new(replies.iter().cloned().collect()), ..Shared::default() });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (is_tls, for_all) = (tls.is_some(), Arc::clone(&shared));
        runtime.spawn(async move {
            listener.set_nonblocking(true).unwrap();
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((socket, _)) = listener.accept().await {
                let (shared, tls) = (Arc::clone(&for_all), tls.clone().map(TlsAcceptor::from));
                tokio::spawn(async move {
                    match tls {
                        None => serve(socket, shared).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(socket).await {
                                serve(stream, shared).await;
                            }
                        }
                    }
                });
            }
        });
        Receiver { address, is_tls, shared, runtime: Some(runtime) }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("{}://localhost:{}", if self.is_tls { "https" } else { "http" }, self.address.port())
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }

    /// The messages of which `pick` makes something, when there is a first one.
    #[track_caller]
    pub(crate) fn wait_for<T>(&self, what: &str, pick: impl Fn(&Received) -> Option<T>) -> T {
        let found = eventually(PATIENCE, || self.received().iter().find_map(&pick));
        found.unwrap_or_else(|| {
            let paths: Vec<String> = self.received().into_iter().map(|received| received.path).collect();
            panic!("no {what} among {paths:?}")
        })
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        let messages = self.received().into_iter().filter_map(|received| received.decode::<ExportTraceServiceRequest>("race"));
        let resources = messages.flat_map(|message| message.resource_spans);
        resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
    }

    pub(crate) fn records(&self) -> Vec<LogRecord> {
        self.received().iter().flat_map(Received::records).collect()
    }

    /// Gone at once, with its connections.
    pub(crate) fn kill(&mut self) {
        self.runtime.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Received {
    /// If it is one of the signal whose name is in the path, which both protocols have there.
    fn decode<M: Message + Default>(&self, signal: &str) -> Option<M> {
        let path = self.path.to_ascii_lowercase();
        path.contains(signal).then(|| M::decode(self.message.clone()).unwrap_or_else(|error| panic!("{}: {error}", self.path)))
    }

    pub(crate) fn metrics(&self) -> Option<(Resource, Vec<Metric>)> {
        let mut message: ExportMetricsServiceRequest = self.decode("metrics")?;
        let mut resource = message.resource_metrics.remove(0);
        Some((resource.resource?, resource.scope_metrics.remove(0).metrics))
    }

    pub(crate) fn records(&self) -> Vec<LogRecord> {
        let message = self.decode::<ExportLogsServiceRequest>("logs").unwrap_or_default();
        let scopes = message.resource_logs.into_iter().flat_map(|resource| resource.scope_logs);
        scopes.flat_map(|scope| scope.log_records).collect()
    }
}

/// The value of an attribute, as text.
pub(crate) fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = attributes.iter().find(|pair| pair.key == key)?.value.clone()?;
    Some(text(&value))
}

pub(crate) fn text(value: &AnyValue) -> String {
    match &value.value {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(value)) => value.to_string(),
        other => format!("{other:?}"),
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, shared: Arc<Shared>) {
    let service = hyper::service::service_fn(move |request| answer(request, Arc::clone(&shared)));
    let _gone = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Response<Answer>, Infallible> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return Ok(Response::new(Answer::plain(Bytes::new()))) };
    let mut body = body.to_bytes();
    let is_grpc = head.headers.get("content-type").is_some_and(|kind| kind == "application/grpc");
    let was_compressed = if is_grpc {
        let flag = body.get_u8();
        assert_eq!(body.get_u32() as usize, body.len(), "one whole message");
        flag == 1
    } else {
        head.headers.get("content-encoding").is_some_and(|encoding| encoding == "gzip")
    };
    let message = if was_compressed { unzip(&body) } else { body };
    let path = head.uri.path().to_owned();
    shared.received.lock().unwrap().push(Received {
        path,
        headers: head.headers,
        version: head.version,
        message,
        was_compressed,
    });
    let reply = shared.replies.lock().unwrap().pop_front().unwrap_or(Reply::Taken);
    if let Reply::After(delay) = reply {
        tokio::time::sleep(delay).await;
    }
    Ok(if is_grpc { by_grpc(&reply) } else { by_http(&reply) })
}

fn unzip(body: &[u8]) -> Bytes {
    let mut plain = Vec::new();
    GzDecoder::new(body).read_to_end(&mut plain).expect("gzip");
    plain.into()
}

/// What all signals' answers look like.
fn response(reply: &Reply) -> Vec<u8> {
    let partial_success = match reply {
        Reply::Partly(rejected_spans, why) => {
            Some(ExportTracePartialSuccess { rejected_spans: *rejected_spans, error_message: (*why).to_owned() })
        }
        _ => None,
    };
    ExportTraceServiceResponse { partial_success }.encode_to_vec()
}

fn by_http(reply: &Reply) -> Response<Answer> {
    let builder = Response::builder().header("content-type", "application/x-protobuf");
    match reply {
        Reply::Refused(status, _) => builder.status(*status).body(Answer::plain(Bytes::new())),
        Reply::RefusedFor(status, seconds) => {
            builder.status(*status).header("retry-after", *seconds).body(Answer::plain(Bytes::new()))
        }
        _ => builder.body(Answer::plain(response(reply).into())),
    }
    .unwrap()
}

fn by_grpc(reply: &Reply) -> Response<Answer> {
    let code = if let Reply::Refused(_, code) = reply { *code } else { 0 };
    let builder = Response::builder().header("content-type", "application/grpc");
    let builder = if code == 0 { builder } else { builder.header("grpc-status", code).header("grpc-message", "not%20now") };
    let message = response(reply);
    let framed = [&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), &message].concat();
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
    let answer =
        if code == 0 { Answer { data: Some(framed.into()), trailers: Some(trailers) } } else { Answer::plain(Bytes::new()) };
    builder.body(answer).unwrap()
}

/// A body with trailers.
struct Answer {
    data: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl Answer {
    fn plain(data: Bytes) -> Answer {
        Answer { data: Some(data), trailers: None }
    }
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = self.data.take().filter(|data| !data.is_empty()).map(Frame::data);
        std::task::Poll::Ready(data.or_else(|| self.trailers.take().map(Frame::trailers)).map(Ok))
    }
}
