//! A decision service whose answers a test scripts, and which remembers what it was asked. Has both methods, unless told otherwise.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use spop_bridge::pb::v1::decision_service_server::DecisionServiceServer;
use spop_bridge::pb::v1::value::Kind;
use spop_bridge::pb::v1::{self as pb, DecideRequest, VarScope};
use tonic::Status;
use tonic::service::Routes;

use super::decider::{Decider, Record};
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

/// Which of the contract's methods a service has.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Methods {
    Both,
    /// `DecideStream` is answered with UNIMPLEMENTED.
    Unary,
}

impl Methods {
    /// Both; with `IT_PROTOCOL=decide` in the environment of the tests only `Decide`.
    fn of_this_run() -> Methods {
        match std::env::var("IT_PROTOCOL").as_deref() {
            Ok("decide") => Methods::Unary,
            Ok(other) => panic!("IT_PROTOCOL is {other:?}, expected decide or nothing"),
            Err(_) => Methods::Both,
        }
    }
}

/// One call as it arrived: a unary one, or a decision on a stream.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) request: DecideRequest,
    /// Of a decision on a stream, what came when the stream was opened.
    pub(crate) metadata: Arc<HashMap<String, String>>,
    /// The time that a decision on a stream carries; a unary call has it in its metadata.
    pub(crate) remaining: Option<Duration>,
    /// The trace that a decision on a stream carries: traceparent, tracestate and baggage.
    pub(crate) traced: [String; 3],
}

impl Call {
    pub(crate) fn is_streamed(&self) -> bool {
        self.remaining.is_some()
    }

    /// One of the headers of its trace.
    pub(crate) fn trace(&self, header: &str) -> Option<String> {
        if !self.is_streamed() {
            return self.metadata.get(header).cloned();
        }
        let position = ["traceparent", "tracestate", "baggage"].iter().position(|known| *known == header)?;
        Some(self.traced[position].clone()).filter(|value| !value.is_empty())
    }

    /// What was left until the deadline when the call was sent.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.remaining.or_else(|| Some(grpc_timeout(self.metadata.get("grpc-timeout")?)))
    }

    /// The value of the first arg of that name in the first message.
    pub(crate) fn arg(&self, name: &str) -> Option<Kind> {
        argument(&self.request, name)
    }
}

/// A number and a unit.
fn grpc_timeout(text: &str) -> Duration {
    let (number, unit) = text.split_at(text.len() - 1);
    let number: u64 = number.parse().unwrap();
    match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        other => panic!("unit of grpc-timeout {other:?}"),
    }
}

/// The value of the first arg of that name in any message.
pub(crate) fn argument(request: &DecideRequest, name: &str) -> Option<Kind> {
    let mut args = request.messages.iter().flat_map(|message| &message.args);
    args.find(|arg| arg.name == name)?.value.clone()?.kind
}

/// What the service does with each request.
pub(super) type Script = Arc<dyn Fn(&DecideRequest) -> Answer + Send + Sync>;

/// A running decision service. Dropped, it fails the test if the bridge broke the contract of the stream.
pub(crate) struct Service {
    host: Host,
    record: Arc<Record>,
}

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
        Service::with(Methods::of_this_run(), bound, max_age, script)
    }

    /// With these methods, whatever `IT_PROTOCOL` is.
    pub(crate) fn with(
        methods: Methods,
        bound: Bound,
        max_age: Duration,
        script: impl Fn(&DecideRequest) -> Answer + Send + Sync + 'static,
    ) -> Service {
        let record = Arc::new(Record::default());
        let decider = Decider::new(methods, Arc::new(script), Arc::clone(&record));
        Service { host: Host::start(bound, max_age, DecisionServiceServer::new(decider)), record }
    }

    /// With other services on the same port.
    pub(crate) fn beside(
        bound: Bound,
        others: impl FnOnce(Routes) -> Routes,
        script: impl Fn(&DecideRequest) -> Answer + Send + Sync + 'static,
    ) -> Service {
        let record = Arc::new(Record::default());
        let decider = Decider::new(Methods::of_this_run(), Arc::new(script), Arc::clone(&record));
        Service { host: Host::start(bound, FOREVER, others(Routes::new(DecisionServiceServer::new(decider)))), record }
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

    /// How often a stream was asked for, granted or not.
    pub(crate) fn streams(&self) -> usize {
        self.record.streams.load(Ordering::SeqCst)
    }

    pub(crate) fn open_streams(&self) -> usize {
        self.record.open_streams.load(Ordering::SeqCst)
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.record.in_flight.load(Ordering::SeqCst)
    }

    pub(crate) fn most_in_flight(&self) -> usize {
        self.record.most_in_flight.load(Ordering::SeqCst)
    }

    /// Calls that were not answered because the peer went away, reset them or, on a stream, sent a Cancel.
    pub(crate) fn cancelled(&self) -> usize {
        self.record.cancelled.load(Ordering::SeqCst)
    }

    /// Gone at once, with the calls in flight.
    pub(crate) fn kill(&mut self) {
        self.host.kill();
    }

    /// Listens no more and ends its connections with GOAWAY: what is in flight is finished.
    pub(crate) fn retire(&self) {
        self.host.retire();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.host.kill();
        let faults = std::mem::take(&mut *self.record.faults.lock().unwrap());
        assert!(faults.is_empty() || std::thread::panicking(), "against the contract of DecideStream: {faults:?}");
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
