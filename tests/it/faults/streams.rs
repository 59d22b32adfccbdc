//! A service that allows ten calls on a connection (SETTINGS_MAX_CONCURRENT_STREAMS).

use std::time::Duration;

use super::bridge_to;
use crate::support::askers::{Askers, only, percentile, tally};
use crate::support::proxy::Proxy;
use crate::support::{eventually, figure};

const CALLS: u32 = 10;
const IN_FLIGHT: u64 = 100;
const WORK: Duration = Duration::from_millis(100);

/// Calls get more connections, up to `max_connections`, and those that nobody needs any more are closed.
#[test]
fn calls_get_more_connections_for_as_long_as_they_need_them() {
    let service = service();
    let proxy = Proxy::to(&service.uri);
    let keys = "protocol: decide, max_connections: 4, outlier_detection: { interval: 1s }";
    let bridge = bridge_to(1, &[&proxy.uri()], keys, "8s");
    let load = Askers::start(bridge.address(), 1, IN_FLIGHT);
    load.wait_for(200);
    let busy = proxy.open();
    load.wait_for(200);
    let asked = load.stop();
    assert_eq!(only(&asked, "decided").len(), asked.len(), "{:?}", tally(&asked));
    assert_eq!((busy, proxy.accepted()), (4, 4));
    let idle = eventually(Duration::from_secs(10), || (proxy.open() == 1).then_some(()));
    figure(
        &format!("{IN_FLIGHT} in flight, {CALLS} calls a connection, {} ms each", WORK.as_millis()),
        format!("{:?}, p50 {:.0?}, {busy} connections, {} when idle", tally(&asked), percentile(&asked, 50), proxy.open()),
    );
    assert!(idle.is_some(), "{} are open", proxy.open());
    // The one that is left is used, and again more of them when they are needed.
    let load = Askers::start(bridge.address(), 1, IN_FLIGHT);
    load.wait_for(200);
    assert_eq!(proxy.open(), 4);
    let asked = load.stop();
    assert_eq!(only(&asked, "decided").len(), asked.len(), "{:?}", tally(&asked));
}

/// A stream of decisions is one call, whatever is on it.
#[test]
fn a_stream_needs_one() {
    let service = service();
    let proxy = Proxy::to(&service.uri);
    let bridge = bridge_to(1, &[&proxy.uri()], "protocol: decide_stream", "8s");
    let load = Askers::start(bridge.address(), 1, IN_FLIGHT);
    load.wait_for(400);
    let asked = load.stop();
    assert_eq!(only(&asked, "decided").len(), asked.len(), "{:?}", tally(&asked));
    assert_eq!(proxy.accepted(), 1);
}

struct Limited {
    uri: String,
    _runtime: tokio::runtime::Runtime,
}

/// By tonic and the library's own helper, as services in Rust are.
fn service() -> Limited {
    use spop_bridge::pb::v1::{DecideRequest, DecideResponse};
    use spop_bridge::service::{Context, Decisions, set_var};
    use tonic::transport::server::{Server, TcpIncoming};

    async fn decide(_: DecideRequest, _: Context) -> Result<DecideResponse, tonic::Status> {
        tokio::time::sleep(WORK).await;
        Ok(DecideResponse { actions: vec![set_var("allow", true)] })
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let entered = runtime.enter();
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap().with_nodelay(Some(true));
    let uri = format!("http://{}", incoming.local_addr().unwrap());
    let server = Server::builder().max_concurrent_streams(CALLS).add_service(Decisions::new(decide).into_server());
    runtime.spawn(server.serve_with_incoming(incoming));
    drop(entered);
    Limited { uri, _runtime: runtime }
}
