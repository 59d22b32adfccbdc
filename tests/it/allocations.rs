//! What the translation of a decision allocates, counted: it does not depend on how much there is to translate.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use allocation_counter::measure;
use bytes::{Bytes, BytesMut};
use prost::Message;
use spop_bridge::internals::{self, Translator};
use spop_bridge::pb::v1::decide_stream_response::Result as Outcome;
use spop_bridge::pb::v1::{DecideResponse, DecideStreamResponse};
use spop_bridge::service::set_var;
use spop_bridge::spop::{Decoder, Notify, NotifyEncoder, Peer};

#[test]
fn a_request_is_one_allocation() {
    for args in [1, 10, 200] {
        let notify = notify(&vec![("user-agent", "Mozilla/5.0 (X11; Linux x86_64)"); args]);
        assert_eq!(request(&notify), 1, "{args} args");
    }
}

/// Each part of the trace that there is, and the place where they are kept.
#[test]
fn a_trace_costs_two_to_four_more() {
    let parts = [
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("tracestate", "a=1"),
        ("baggage", "user=1"),
    ];
    for count in 1..=parts.len() {
        assert_eq!(request(&notify(&parts[..count])), 2 + count as u64, "{count} parts");
    }
}

/// Not for one more item, once the buffer has its size and what it held before is sent.
#[test]
fn an_item_allocates_nothing() {
    let notify = notify(&[("method", "GET"); 10]);
    let mut translator = Translator::new(&notify.peer);
    let request = translator.request(&notify);
    let mut write = |count| {
        (1..=count).for_each(|id| translator.item(id, Duration::from_millis(50), &request));
        drop(black_box(translator.take_items()));
    };
    (0..100).for_each(|_| write(20));
    assert_eq!(measure(|| write(1)).count_total, 0);
}

#[test]
fn an_answer_allocates_nothing() {
    let item = |count| {
        let result = Some(Outcome::Response(response(count)));
        Bytes::from(DecideStreamResponse { id: 1, result }.encode_to_vec())
    };
    for count in [1, 3, 100] {
        // As they come in: several in one read, of which this is a part.
        let item = item(count).slice(..);
        let _read = item.clone();
        assert_eq!(measure(|| drop(black_box(internals::answer(&item)))).count_total, 0, "{count} actions");
    }
}

#[test]
fn actions_are_one_allocation() {
    for count in [1, 3, 100] {
        let bytes = response(count).encode_to_vec();
        assert_eq!(measure(|| drop(black_box(internals::response(&bytes)))).count_total, 1, "{count} actions");
    }
}

fn request(notify: &Notify) -> u64 {
    let translator = Translator::new(&notify.peer);
    measure(|| drop(black_box(translator.request(notify)))).count_total
}

fn notify(args: &[(&str, &str)]) -> Notify {
    let args: Vec<_> = args.iter().map(|(name, value)| (name, (*value).into())).collect();
    let mut wire = BytesMut::new();
    NotifyEncoder::new(1, 1).message("check-request", &args).encode(&mut wire).unwrap();
    let frame = Decoder::new(16_380).decode(&mut wire).unwrap().unwrap();
    let peer = Peer { engine_id: "engine".into(), listener: "main".into(), address: "192.0.2.1:40000".into() };
    Notify::decode(frame, Arc::new(peer), Instant::now(), 16_380).unwrap()
}

fn response(actions: usize) -> DecideResponse {
    DecideResponse { actions: vec![set_var("reason", "token accepted"); actions] }
}
