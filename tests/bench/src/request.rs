//! What `spop-bridge bench` asks unless told otherwise, as the contract has it. `configs/wrk.lua` sends the same as HTTP.

use spop_bridge::pb::v1::{Arg, DecideRequest, Message, Origin, Value, value::Kind};

const TEXTS: [(&str, &str); 8] = [
    ("method", "GET"),
    ("path", "/shop/products/4711/reviews?page=2&sort=newest"),
    ("host", "www.example.com"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    ("referer", "https://www.example.com/shop/products/4711"),
    ("cookie", "session=3f9c2a7be1d04c58a6b7; consent=all; theme=dark; lang=en"),
    ("authorization", "Bearer eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiI0NzExIn0.MEUCIQDx0yq3T9vYkqPz"),
    ("unique-id", "8c5a1f0e-6b1d-4c55-9d2e-2f6d0c8e4b7a"),
];

/// What the bridge would make of that NOTIFY.
pub fn decide_request() -> DecideRequest {
    let arg = |name: &str, kind| Arg { name: name.into(), value: Some(Value { kind: Some(kind), ..Default::default() }) };
    let mut args: Vec<_> = TEXTS.iter().map(|(name, text)| arg(name, Kind::StringValue((*text).into()))).collect();
    args.push(arg("ip", Kind::Ipv4Value(vec![198, 51, 100, 23].into())));
    args.push(arg("content-length", Kind::Int64Value(1273)));
    let origin = Origin {
        engine_id: "spop-bridge-bench".into(),
        listener: "127.0.0.1:19001".into(),
        stream_id: 12_345,
        frame_id: 1,
        peer_address: "127.0.0.1:40000".into(),
    };
    DecideRequest { origin: Some(origin), messages: vec![Message { name: "check-request".into(), args }] }
}
