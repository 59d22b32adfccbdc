//! Events of TCP and HTTP, with one message or several or none.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use spop_bridge::pb::v1::value::Kind;
use spop_bridge::pb::v1::{DecideRequest, VarScope};

use super::{VERDICT, backend, engine, frontend, on_each_line, origin, reflect, start};
use crate::support::bridge::Bridge;
use crate::support::http::get;
use crate::support::service::{Answer, Service, set, set_txn};

on_each_line!(d17_several_messages_in_one_event, d16_event_without_messages, tcp_events);

/// One NOTIFY, one call, one ACK with everything; a message whose condition is false isn't sent.
fn d17_several_messages_in_one_event(haproxy: &Path) {
    let service = Service::start(|request| {
        Answer::Actions(request.messages.iter().map(|message| set_txn(&message.name, Kind::BoolValue(true))).collect())
    });
    let bridge = Bridge::simple(service.uri(), "3s");
    let spoe = engine(
        "messages first second third fourth",
        "spoe-message first\n    args n=int(1)\n    event on-frontend-http-request\n\
         spoe-message second\n    args n=int(2)\n    event on-frontend-http-request\n\
         spoe-message third\n    args n=int(3)\n    event on-frontend-http-request if { path /never }\n\
         spoe-message fourth\n    event on-frontend-http-request\n",
    );
    let names = ["first", "second", "third", "fourth"];
    let variables = names.map(|name| (name, format!("txn.br.{name}")));
    let rules = reflect(&variables.each_ref().map(|(name, variable)| (*name, &variable[..])));
    let haproxy = start(haproxy, &bridge, frontend(&rules), spoe);

    let reply = get("/").send(haproxy.frontend());
    assert_eq!(names.map(|name| reply.header(&format!("x-{name}"))), ["1", "1", "-", "1"]);
    let call = service.only_call();
    assert_eq!(message_names(&call.request), ["first", "second", "fourth"]);
}

/// 3.1 and 3.2 up to August 2025 send a NOTIFY without messages when all conditions are false; newer ones none. Either way the
/// request goes on at once.
fn d16_event_without_messages(haproxy: &Path) {
    let service = Service::allowing();
    let bridge = Bridge::simple(service.uri(), "3s");
    let spoe =
        engine("messages m", "spoe-message m\n    args path=path\n    event on-frontend-http-request if { path /asked }\n");
    let haproxy = start(haproxy, &bridge, frontend(&reflect(&VERDICT)), spoe);

    let reply = get("/unasked").send(haproxy.frontend());
    assert_eq!((reply.status, reply.header("x-error"), reply.header("x-allow")), (200, "-".into(), "-".into()));
    assert_eq!(get("/asked").send(haproxy.frontend()).header("x-allow"), "1");
    assert_eq!(service.calls().len(), 1);
}

/// A session event and a content event of a TCP frontend, whose verdicts close a connection or let it through.
fn tcp_events(haproxy: &Path) {
    let sessions = AtomicUsize::new(0);
    let service = Service::start(move |request| {
        Answer::Actions(match request.messages[0].name.as_str() {
            "session" => {
                let second = sessions.fetch_add(1, Ordering::SeqCst) == 1;
                vec![set(VarScope::Session, "deny", Kind::BoolValue(second))]
            }
            _ => vec![set(VarScope::Session, "content", Kind::BoolValue(true))],
        })
    });
    let bridge = Bridge::simple(service.uri(), "3s");
    let proxies = format!(
        "frontend fe\n    mode tcp\n    bind $FE\n    filter spoe engine br config $DIR/spoe.cfg\n    \
         tcp-request content reject if {{ var(sess.br.deny) -m bool }}\n    \
         tcp-request content reject if !{{ var(sess.br.content) -m bool }}\n    \
         default_backend tcp-origin\n\n\
         backend tcp-origin\n    mode tcp\n    server origin unix@$DIR/origin.sock\n\n{}{}",
        origin(),
        backend("bridge"),
    );
    let spoe = engine(
        "messages session content",
        "spoe-message session\n    args client=src port=dst_port\n    event on-client-session\n\
         spoe-message content\n    args deny=var(sess.br.deny)\n    event on-frontend-tcp-request\n",
    );
    let haproxy = start(haproxy, &bridge, proxies, spoe);

    let reply = get("/").send(haproxy.frontend());
    assert_eq!((reply.status, &reply.body[..]), (200, &b"served"[..]));
    let calls = service.calls();
    assert_eq!(calls.iter().flat_map(|call| message_names(&call.request)).collect::<Vec<_>>(), ["session", "content"]);
    assert_eq!(calls[0].arg("client"), Some(Kind::Ipv4Value(vec![127, 0, 0, 1].into())));
    assert_eq!(calls[0].arg("port"), Some(Kind::Int64Value(haproxy.frontend().port().into())));
    assert_eq!(calls[1].arg("deny"), Some(Kind::BoolValue(false)), "the second event sees what the first has set");

    assert!(get("/").try_send(haproxy.frontend()).is_err(), "the second connection is denied");
    assert_eq!(service.calls()[3].arg("deny"), Some(Kind::BoolValue(true)));
}

fn message_names(request: &DecideRequest) -> Vec<&str> {
    request.messages.iter().map(|message| &message.name[..]).collect()
}
