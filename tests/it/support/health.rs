//! grpc.health.v1 of a scripted service: what it says, what of it it has, and who watches.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use spop_bridge::pb::v1::DecideRequest;
use tokio::sync::watch;
use tonic::codegen::BoxStream;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::host::Bound;
use super::service::{Answer, Service, allow};

/// Which methods of the service there are.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Has {
    Watch,
    CheckOnly,
    /// Both, and neither is ever answered.
    Silence,
    /// `Watch` that says one thing and the other as fast as it can.
    Flood,
}

#[derive(Default)]
struct Seen {
    watches: AtomicUsize,
    open_watches: AtomicUsize,
    checks: AtomicUsize,
    tenant: AtomicUsize,
}

/// A decision service that allows everything, and tells of its health what the test sets.
pub(crate) struct Patient {
    pub(crate) service: Service,
    status: watch::Sender<ServingStatus>,
    seen: Arc<Seen>,
}

impl Patient {
    pub(crate) fn start(bound: Bound, has: Has) -> Patient {
        let status = watch::Sender::new(ServingStatus::Serving);
        let seen = Arc::<Seen>::default();
        let script = Script { has, status: status.subscribe(), seen: Arc::clone(&seen) };
        let others = |routes: Routes| routes.add_service(HealthServer::new(script));
        let allowing = |_: &DecideRequest| Answer::Actions(vec![allow()]);
        Patient { service: Service::beside(bound, others, allowing), status, seen }
    }

    pub(crate) fn set_serving(&self, serving: bool) {
        self.status.send_replace(if serving { ServingStatus::Serving } else { ServingStatus::NotServing });
    }

    /// Calls of `Watch` so far.
    pub(crate) fn watches(&self) -> usize {
        self.seen.watches.load(Ordering::SeqCst)
    }

    /// Those that have not ended.
    pub(crate) fn open_watches(&self) -> usize {
        self.seen.open_watches.load(Ordering::SeqCst)
    }

    pub(crate) fn checks(&self) -> usize {
        self.seen.checks.load(Ordering::SeqCst)
    }

    /// Questions that came with `x-tenant: shop`.
    pub(crate) fn asked_by_tenant(&self) -> usize {
        self.seen.tenant.load(Ordering::SeqCst)
    }
}

struct Script {
    has: Has,
    status: watch::Receiver<ServingStatus>,
    seen: Arc<Seen>,
}

impl Script {
    async fn come_in(&self, request: &Request<HealthCheckRequest>) {
        if request.metadata().get("x-tenant").is_some_and(|tenant| tenant == "shop") {
            self.seen.tenant.fetch_add(1, Ordering::SeqCst);
        }
        if self.has == Has::Silence {
            std::future::pending::<()>().await;
        }
    }
}

#[tonic::async_trait]
impl Health for Script {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        self.seen.checks.fetch_add(1, Ordering::SeqCst);
        self.come_in(&request).await;
        Ok(Response::new(response(*self.status.borrow())))
    }

    type WatchStream = BoxStream<HealthCheckResponse>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        self.seen.watches.fetch_add(1, Ordering::SeqCst);
        self.come_in(&request).await;
        let open = Open::new(&self.seen);
        match self.has {
            Has::CheckOnly => Err(Status::unimplemented("no Watch")),
            Has::Flood => {
                let statuses = [ServingStatus::Serving, ServingStatus::NotServing].into_iter().cycle();
                let stream = statuses.map(move |status| (&open, Ok(response(status))).1);
                Ok(Response::new(Box::pin(futures_util::stream::iter(stream))))
            }
            Has::Watch | Has::Silence => {
                let first = Some((self.status.clone(), true, open));
                Ok(Response::new(Box::pin(futures_util::stream::unfold(first, async |state| {
                    let (mut status, is_first, open) = state?;
                    if !is_first && status.changed().await.is_err() {
                        return None;
                    }
                    let now = *status.borrow_and_update();
                    Some((Ok(response(now)), Some((status, false, open))))
                }))))
            }
        }
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

/// A `Watch`, counted until it ends.
struct Open(Arc<Seen>);

impl Open {
    fn new(seen: &Arc<Seen>) -> Open {
        seen.open_watches.fetch_add(1, Ordering::SeqCst);
        Open(Arc::clone(seen))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open_watches.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Longer than any of these tests waits for a change that it expects.
pub(crate) const SOON: Duration = Duration::from_secs(10);
