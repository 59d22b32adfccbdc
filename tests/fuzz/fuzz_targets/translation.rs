//! Any bytes as a NOTIFY's payload on its way to a service, as an item of its stream on the way back, and as its response.
//!
//! Nothing panics, and both directions mean what they mean to the generated types.
#![no_main]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use prost::Message;
use spop_bridge::internals::{self, Translator};
use spop_bridge::pb::v1::decide_stream_request::Item;
use spop_bridge::pb::v1::decide_stream_response::Result as Outcome;
use spop_bridge::pb::v1::{DecideRequest, DecideResponse, DecideStreamRequest, DecideStreamResponse};
use spop_bridge::spop::{Flags, Frame, FrameType, Metadata, Notify, Peer};

#[path = "../../../benches/generated/mod.rs"]
mod generated;

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    notify(bytes.clone());
    item(&bytes);
    response(&bytes);
});

fn notify(payload: Bytes) {
    let (stream_id, frame_id) = (payload.len() as u64, payload.first().copied().unwrap_or_default().into());
    let metadata = Metadata { frame_type: FrameType::NOTIFY, flags: Flags::FIN, stream_id, frame_id };
    let peer =
        Peer { engine_id: payload.slice(..payload.len().min(40)), listener: "main".into(), address: "192.0.2.1:4000".into() };
    let Ok(notify) = Notify::decode(Frame { metadata, payload }, Arc::new(peer), Instant::now(), LIMIT) else { return };
    let mut translator = Translator::new(&notify.peer);
    let request = translator.request(&notify);
    let decoded = DecideRequest::decode(request.message()).expect("a DecideRequest");
    assert_eq!(decoded, generated::request(&notify));
    assert_eq!(decoded.encode_to_vec(), request.message(), "nobody could tell the two apart");

    translator.item(7, Duration::from_millis(50), &request);
    let items = translator.take_items();
    let (prefix, item) = items.split_first_chunk::<5>().expect("gRPC's prefix");
    assert_eq!(prefix[1..], u32::try_from(item.len()).expect("a short item").to_be_bytes());
    let item = DecideStreamRequest::decode(item).expect("a DecideStreamRequest").item;
    let Some(Item::Decision(decision)) = item else { panic!("{item:?}") };
    assert_eq!((decision.id, decision.remaining_us, decision.request), (7, 50_000, Some(decoded)));
}

const LIMIT: u32 = 16_380;

fn item(item: &Bytes) {
    let ours = internals::answer(item);
    if let Ok((_, Ok(bytes))) = &ours {
        response(bytes);
    }
    // What is wrong inside of an answer costs that one alone, so not all that prost refuses is refused here.
    let Ok(DecideStreamResponse { id, result }) = DecideStreamResponse::decode(item.clone()) else { return };
    let (our_id, outcome) = match ours {
        Err(problem) if problem == GROUP => return,
        // The same problem, but the item is known.
        Ok((_, Err((0, problem)))) if problem.contains("not a ") && item.iter().any(|byte| byte & 7 == 3) => return,
        ours => ours.expect("prost takes it"),
    };
    assert_eq!(our_id, id);
    match (outcome, result) {
        (Ok(ours), Some(Outcome::Response(theirs))) => assert_eq!(DecideResponse::decode(ours), Ok(theirs)),
        (Err(ours), Some(Outcome::Error(theirs))) if ours.0 != 0 => {
            // gRPC has 16 codes; any other number is UNKNOWN, which is 2.
            let code = if (1..=16).contains(&theirs.code) { theirs.code } else { 2 };
            assert_eq!(ours, (code, theirs.message));
        }
        (Err((0, _)), Some(Outcome::Error(theirs))) => assert_eq!(theirs.code, 0),
        (Err((0, _)), None) => {}
        (ours, theirs) => panic!("{ours:?} against {theirs:?}"),
    }
}

/// Proto3 has no groups. Prost skips them where they are no known field, we refuse them.
const GROUP: &str = "wire type 3 is not supported";

fn response(bytes: &[u8]) {
    match (internals::response(bytes), DecideResponse::decode(bytes)) {
        (Err(problem), _) if problem.ends_with(GROUP) => {}
        (ours, Ok(theirs)) => assert_eq!(ours.as_ref().ok(), generated::actions(&theirs).as_ref(), "{ours:?}"),
        (ours, Err(theirs)) => assert!(ours.is_err(), "{ours:?} against {theirs}"),
    }
}
