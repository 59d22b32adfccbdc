//! A decision service whose answers a test scripts, and which remembers what it was asked.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use spop_bridge::pb::v1::decision_service_server::{DecisionService, DecisionServiceServer};
use spop_bridge::pb::v1::value::Kind;
use spop_bridge::pb::v1::{self as pb, DecideRequest, DecideResponse, VarScope};
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming};

use super::host::{Bound, FOREVER, Host};

/// What the service does with one call.
pub(crate) enum Answer {
    Actions(Vec<pb::Action>),
    Status(Status),
    After(Duration, Box<Answer>),
    Never,
}

impl Answer {
    pub(crate) fn after(delay: Duration, answer: Answer) -> Answer {
        Answer::After(delay, Box::new(answer))
    }
}

/// One call as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) request: DecideRequest,
    pub(crate) metadata: HashMap<String, String>,
}

impl Call {
    /// `grpc-timeout`, which has a number and a unit.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        let text = self.metadata.get("grpc-timeout")?;
        let (number, unit) = text.split_at(text.len() - 1);
        let number: u64 = number.parse().unwrap();
        Some(match unit {
            "H" => Duration::from_secs(number * 3600),
            "M" => Duration::from_secs(number * 60),
            "S" => Duration::from_secs(number),
            "m" => Duration::from_millis(number),
            "u" => Duration::from_micros(number),
            "n" => Duration::from_nanos(number),
            other => panic!("unit of grpc-timeout {other:?}"),
        })
    }

    /// The value of the first arg of that name in the first message.
    pub(crate) fn arg(&self, name: &str) -> Option<Kind> {
        argument(&self.request, name)
    }
}

/// The value of the first arg of that name in any message.
pub(crate) fn argument(request: &DecideRequest, name: &str) -> Option<Kind> {
    let mut args = request.messages.iter().flat_map(|message| &message.args);
    args.find(|arg| arg.name == name)?.value.clone()?.kind
}

#[derive(Default)]
struct Record {
    calls: Mutex<Vec<Call>>,
    in_flight: AtomicUsize,
    most_in_flight: AtomicUsize,
    cancelled: AtomicUsize,
}

/// A running decision service.
pub(crate) struct Service {
    host: Host,
    record: Arc<Record>,
}

type Script = Arc<dyn Fn(&DecideRequest) -> Answer + Send + Sync>;

impl Service {
    pub(crate) fn start(script: impl Fn(&DecideRequest) -> Answer + Send + Sync + 'static) -> Service {
        Service::bound(Bound::tcp(), script)
    }

    pub(crate) fn start_unix(path: &Path, script: impl Fn(&DecideRequest) -> Answer + Send + Sync + 'static) -> Service {
        Service::bound(Bound::unix(path), script)
    }

    pub(crate) fn bound(bound: Bound, script: impl Fn(&DecideRequest) -> Answer + Send + Sync + 'static) -> Service {
        Service::with_max_age(bound, FOREVER, script)
    }

    /// Ends connections of that age with GOAWAY, as services do that want to be balanced anew.
    pub(crate) fn with_max_age(
        bound: Bound,
        max_age: Duration,
        script: impl Fn(&DecideRequest) -> Answer + Send + Sync + 'static,
    ) -> Service {
        let record = Arc::new(Record::default());
        let decider = Decider { script: Arc::new(script), record: Arc::clone(&record) };
        Service { host: Host::start(bound, max_age, DecisionServiceServer::new(decider)), record }
    }

    /// Sets `txn.allow` to true, whatever it is asked.
    pub(crate) fn allowing() -> Service {
        Service::start(|_| Answer::Actions(vec![allow()]))
    }

    pub(crate) fn uri(&self) -> &str {
        self.host.uri()
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.record.calls.lock().unwrap().clone()
    }

    /// The only call so far.
    pub(crate) fn only_call(&self) -> Call {
        let calls = self.calls();
        assert_eq!(calls.len(), 1, "calls: {calls:?}");
        calls.into_iter().next().unwrap()
    }

    pub(crate) fn connections(&self) -> usize {
        self.host.connections()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.record.in_flight.load(Ordering::SeqCst)
    }

    pub(crate) fn most_in_flight(&self) -> usize {
        self.record.most_in_flight.load(Ordering::SeqCst)
    }

    /// Calls whose peer went away or reset the stream before they were answered.
    pub(crate) fn cancelled(&self) -> usize {
        self.record.cancelled.load(Ordering::SeqCst)
    }

    /// Gone at once, with the calls in flight.
    pub(crate) fn kill(&mut self) {
        self.host.kill();
    }
}

struct Decider {
    script: Script,
    record: Arc<Record>,
}

#[tonic::async_trait]
impl DecisionService for Decider {
    type DecideStreamStream = BoxStream<pb::DecideStreamResponse>;

    async fn decide(&self, request: Request<DecideRequest>) -> Result<Response<DecideResponse>, Status> {
        let mut presence = Presence::enter(&self.record);
        let metadata = request.metadata().clone().into_headers();
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let metadata = metadata.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        let request = request.into_inner();
        let mut answer = (self.script)(&request);
        self.record.calls.lock().unwrap().push(Call { request, metadata });
        loop {
            match answer {
                Answer::After(delay, next) => {
                    tokio::time::sleep(delay).await;
                    answer = *next;
                }
                Answer::Never => std::future::pending().await,
                Answer::Status(status) => {
                    presence.answered = true;
                    return Err(status);
                }
                Answer::Actions(actions) => {
                    presence.answered = true;
                    return Ok(Response::new(DecideResponse { actions }));
                }
            }
        }
    }

    async fn decide_stream(
        &self,
        _: Request<Streaming<pb::DecideStreamRequest>>,
    ) -> Result<Response<Self::DecideStreamStream>, Status> {
        Err(Status::unimplemented("unary only"))
    }
}

/// A call being served; dropped unanswered it was cancelled.
struct Presence {
    record: Arc<Record>,
    answered: bool,
}

impl Presence {
    fn enter(record: &Arc<Record>) -> Presence {
        let now = record.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        record.most_in_flight.fetch_max(now, Ordering::SeqCst);
        Presence { record: Arc::clone(record), answered: false }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.record.in_flight.fetch_sub(1, Ordering::SeqCst);
        if !self.answered {
            self.record.cancelled.fetch_add(1, Ordering::SeqCst);
        }
    }
}

pub(crate) fn set(scope: VarScope, name: &str, kind: Kind) -> pb::Action {
    let value = Some(pb::Value { kind: Some(kind), ..Default::default() });
    let set = pb::SetVar { scope: scope.into(), name: name.into(), value };
    pb::Action { action: Some(pb::action::Action::SetVar(set)) }
}

pub(crate) fn set_txn(name: &str, kind: Kind) -> pb::Action {
    set(VarScope::Transaction, name, kind)
}

pub(crate) fn unset_txn(name: &str) -> pb::Action {
    let unset = pb::UnsetVar { scope: VarScope::Transaction.into(), name: name.into() };
    pb::Action { action: Some(pb::action::Action::UnsetVar(unset)) }
}

pub(crate) fn allow() -> pb::Action {
    set_txn("allow", Kind::BoolValue(true))
}
