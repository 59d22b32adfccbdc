//! Several engines, and sockets other than TCP.

use std::path::Path;

use spop_bridge::pb::v1::value::Kind;

use super::{VERDICT, backend, engine, frontend, on_each_line, origin, reflect, start};
use crate::support::bridge::Bridge;
use crate::support::haproxy::{Haproxy, Setup};
use crate::support::http::get;
use crate::support::service::{Answer, Service, set_txn};

on_each_line!(two_engines_on_one_bridge, unix_sockets_all_the_way);

/// Two filters of one frontend, each with connections, an engine id and a variable prefix of its own.
fn two_engines_on_one_bridge(haproxy: &Path) {
    let service =
        Service::start(|request| Answer::Actions(vec![set_txn("by", Kind::StringValue(request.messages[0].name.clone()))]));
    let bridge = Bridge::simple(service.uri(), "3s");
    let section = |name: &str| {
        format!(
            "[{name}]\nspoe-agent {name}-agent\n    messages ask-{name}\n    option var-prefix {name}\n    timeout hello 2s\n    \
             timeout idle 30s\n    timeout processing 5s\n    use-backend {name}-bridge\n\
             spoe-message ask-{name}\n    args path=path\n    event on-frontend-http-request\n"
        )
    };
    let proxies = format!(
        "frontend fe\n    bind $FE\n    filter spoe engine one config $DIR/spoe.cfg\n    \
         filter spoe engine two config $DIR/spoe.cfg\n{}    default_backend origin\n\n{}{}{}",
        reflect(&[("one", "txn.one.by"), ("two", "txn.two.by")]),
        origin(),
        backend("one-bridge"),
        backend("two-bridge"),
    );
    let haproxy = start(haproxy, &bridge, proxies, section("one") + &section("two"));

    let reply = get("/").send(haproxy.frontend());
    assert_eq!((reply.header("x-one"), reply.header("x-two")), ("ask-one".into(), "ask-two".into()));
    let calls = service.calls();
    let mut engines: Vec<_> = calls.iter().map(|call| call.request.origin.clone().unwrap().engine_id).collect();
    engines.dedup();
    assert_eq!((calls.len(), engines.len()), (2, 2), "engine ids: {engines:?}");
}

/// HAProxy to bridge and bridge to service, without a port.
fn unix_sockets_all_the_way(haproxy: &Path) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("decisions.sock");
    let service = Service::start_unix(&socket, |_| Answer::Actions(vec![crate::support::service::allow()]));
    let bridge = Bridge::start(&format!(
        "listeners: [{{ name: main, bind: \"unix:$DIR/spop.sock\" }}]\n\
         backends: {{ decisions: {{ endpoints: [\"{}\"] }} }}\n\
         routes: [{{ messages: [m], backend: decisions, timeout: 3s }}]",
        service.uri()
    ));
    let spoe = engine("messages m", "spoe-message m\n    args path=path\n    event on-frontend-http-request\n");
    let setup = Setup { proxies: frontend(&reflect(&VERDICT)), spoe, global: String::new(), master: false };
    let haproxy = Haproxy::start(haproxy, bridge.address(), &setup);

    for _ in 0..3 {
        let reply = get("/").send(haproxy.frontend());
        assert_eq!((reply.header("x-allow"), reply.header("x-error")), ("1".into(), "-".into()));
    }
    haproxy.wait_for_server("bridge", "s1", "UP").unwrap();
    let origin = service.calls()[0].request.origin.clone().unwrap();
    assert_eq!(origin.peer_address, "unix");
}
