//! What the steps of one decision cost, in time and allocations: `cargo bench`, or `cargo bench -- encode` for some of them.
//!
//! Times depend on the machine; allocations do not. A buffer is read with one or with many NOTIFYs in it, and the figures
//! are for all of them: what is paid once a read is shared by those that came in it. In `translation` what a step makes is
//! also freed in it; `generated_types` is the same done with prost's types, which is what one pass saves.

#![allow(clippy::expect_used, clippy::panic, clippy::unreachable, reason = "what is measured is known to work")]

#[cfg(feature = "bridge")]
mod generated;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher};
use spop_bridge::spop::frame::ack::encode_ack;
use spop_bridge::spop::frame::hello::DEFAULT_FRAME_SIZE;
use spop_bridge::spop::{
    Actions, Capabilities, Decoder, Event, HaproxyHello, Notify, NotifyEncoder, Peer, Session, SessionConfig, TypedData,
    VarScope, Version,
};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// NOTIFYs that come in one read: one, and as many as HAProxy keeps in flight on a connection.
const IN_A_READ: [usize; 2] = [1, 20];

mod spop {
    use super::*;

    /// Frames cut from the buffer, and every value in them checked.
    #[divan::bench(args = IN_A_READ)]
    fn decode_notify(bencher: Bencher<'_, '_>, count: usize) {
        let (peer, received_at) = (Arc::<Peer>::default(), Instant::now());
        let wire = notifies(count);
        bencher.counter(ItemsCount::new(count)).with_inputs(|| BytesMut::from(&wire[..])).bench_local_refs(|buffer| {
            let mut decoder = Decoder::new(DEFAULT_FRAME_SIZE);
            while let Some(frame) = decoder.decode(buffer).expect("a frame") {
                black_box(Notify::decode(frame, Arc::clone(&peer), received_at, DEFAULT_FRAME_SIZE).expect("a NOTIFY"));
            }
        });
    }

    /// A connection's whole part: decode, note as in flight, encode the ACK.
    #[divan::bench(args = IN_A_READ)]
    fn session(bencher: Bencher<'_, '_>, count: usize) {
        let (mut session, mut decoder, mut out) = established();
        let (wire, actions, now) = (notifies(count), actions(), Instant::now());
        bencher.counter(ItemsCount::new(count)).with_inputs(|| BytesMut::from(&wire[..])).bench_local_refs(|buffer| {
            out.clear();
            while let Some(frame) = decoder.decode(buffer).expect("a frame") {
                let Ok(Event::Notify(notify)) = session.handle_frame(now, frame, true, &mut out) else { panic!("a NOTIFY") };
                assert!(session.ack(notify.stream_id, notify.frame_id, &actions, &mut out));
            }
        });
    }

    /// Every arg of a NOTIFY, read once.
    #[divan::bench]
    fn iterate_args(bencher: Bencher<'_, '_>) {
        let notify = notify();
        bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
            for message in black_box(&notify).messages() {
                for arg in message.args() {
                    black_box(arg);
                }
            }
        });
    }

    /// The actions of an answer, from nothing.
    #[divan::bench]
    fn build_actions(bencher: Bencher<'_, '_>) {
        bencher.counter(ItemsCount::new(1_usize)).bench_local(actions);
    }

    /// An ACK, appended to a buffer that has room.
    #[divan::bench]
    fn encode_ack_frame(bencher: Bencher<'_, '_>) {
        let (actions, mut out) = (actions(), BytesMut::with_capacity(1024));
        bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
            out.clear();
            encode_ack(&mut out, black_box(4711), black_box(1), black_box(&actions));
        });
    }
}

#[cfg(feature = "bridge")]
mod translation {
    use std::time::Duration;

    use bytes::Bytes;
    use prost::Message as _;
    use spop_bridge::internals::{self, Translator};
    use spop_bridge::pb::v1::decide_stream_response::Result as Outcome;
    use spop_bridge::pb::v1::{DecideResponse, DecideStreamResponse};

    use super::*;

    mod one_pass {
        use super::*;

        /// A NOTIFY to the bytes of a `DecideRequest`.
        #[divan::bench]
        fn request(bencher: Bencher<'_, '_>) {
            let notify = notify();
            let translator = Translator::new(&notify.peer);
            bencher.counter(ItemsCount::new(1_usize)).bench_local(|| drop(black_box(translator.request(black_box(&notify)))));
        }

        /// Requests to items of a stream, as many as leave in one write.
        #[divan::bench(args = IN_A_READ)]
        fn item(bencher: Bencher<'_, '_>, count: usize) {
            let notify = notify();
            let mut translator = Translator::new(&notify.peer);
            let request = translator.request(&notify);
            bencher.counter(ItemsCount::new(count)).bench_local(|| {
                for id in (1_000..).take(count) {
                    translator.item(id, Duration::from_micros(48_900), black_box(&request));
                }
                drop(black_box(translator.take_items()));
            });
        }

        /// An item of the stream to the bytes of a `DecideResponse`.
        #[divan::bench]
        fn answer(bencher: Bencher<'_, '_>) {
            let result = Some(Outcome::Response(response_message()));
            let item = Bytes::from(DecideStreamResponse { id: 1_000, result }.encode_to_vec());
            bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
                drop(black_box(internals::answer(black_box(&item)).expect("an id")));
            });
        }

        /// The bytes of a `DecideResponse` to actions.
        #[divan::bench]
        fn response(bencher: Bencher<'_, '_>) {
            let response = response_message().encode_to_vec();
            bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
                drop(black_box(internals::response(black_box(&response)).expect("three actions")));
            });
        }
    }

    mod generated_types {
        use super::*;

        #[divan::bench]
        fn request(bencher: Bencher<'_, '_>) {
            let notify = notify();
            let one_pass = Translator::new(&notify.peer).request(&notify);
            assert_eq!(generated::request(&notify).encode_to_vec(), one_pass.message());
            bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
                drop(black_box(generated::request(black_box(&notify)).encode_to_vec()));
            });
        }

        #[divan::bench]
        fn response(bencher: Bencher<'_, '_>) {
            let response = Bytes::from(response_message().encode_to_vec());
            assert_eq!(generated::actions(&response_message()), internals::response(&response).ok());
            bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
                let response = DecideResponse::decode(black_box(&response).clone()).expect("a DecideResponse");
                drop(black_box(generated::actions(&response).expect("three actions")));
            });
        }
    }

    /// The answer of [`actions`].
    fn response_message() -> DecideResponse {
        use spop_bridge::service::set_var;

        DecideResponse { actions: vec![set_var("allow", true), set_var("score", 10), set_var("reason", "token accepted")] }
    }
}

/// The one of `notifies(1)`, from HAProxy at a usual address.
fn notify() -> Notify {
    let frame = Decoder::new(DEFAULT_FRAME_SIZE).decode(&mut notifies(1)).expect("a frame").expect("a whole frame");
    let engine_id = "f1e2d3c4-7a6b-4c5d-8e9f-0a1b2c3d4e5f".into();
    let peer = Peer { engine_id, listener: "main".into(), address: "192.0.2.1:40000".into() };
    Notify::decode(frame, Arc::new(peer), Instant::now(), DEFAULT_FRAME_SIZE).expect("a NOTIFY")
}

/// So many NOTIFYs as HAProxy sends them about a browser's request, of about 480 bytes each.
fn notifies(count: usize) -> BytesMut {
    let args = [
        ("method", TypedData::from("GET")),
        ("path", "/shop/products/4711/reviews?page=2&sort=newest".into()),
        ("host", "www.example.com".into()),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0".into()),
        ("referer", "https://www.example.com/shop/products/4711".into()),
        ("cookie", "session=3f9c2a7be1d04c58a6b7; consent=all; theme=dark; lang=en".into()),
        ("authorization", "Bearer eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiI0NzExIn0.MEUCIQDx0yq3T9vYkqPz".into()),
        ("unique-id", "8c5a1f0e-6b1d-4c55-9d2e-2f6d0c8e4b7a".into()),
        ("ip", TypedData::Ipv4([198, 51, 100, 23].into())),
        ("content-length", TypedData::Int64(1273)),
    ];
    let mut wire = BytesMut::new();
    for stream_id in (1..).step_by(2).take(count) {
        NotifyEncoder::new(stream_id, 1).message("check-request", &args).encode(&mut wire).expect("ten args");
    }
    wire
}

/// What a decision service answers: a verdict, a score, a reason.
fn actions() -> Actions {
    let mut actions = Actions::new();
    for (name, value) in [("allow", TypedData::Bool(true)), ("score", TypedData::Int64(10)), ("reason", "token accepted".into())]
    {
        actions.set_var(VarScope::Transaction, name, value).expect("a variable's name");
    }
    actions
}

/// A session after HELLO, and what goes with it.
fn established() -> (Session, Decoder, BytesMut) {
    let mut session = Session::new(Arc::new(SessionConfig::default()), "192.0.2.1:40000".into());
    let (mut wire, mut out) = (BytesMut::new(), BytesMut::with_capacity(16 * 1024));
    let hello = HaproxyHello {
        supported_versions: vec![Version::V2_0],
        max_frame_size: DEFAULT_FRAME_SIZE,
        capabilities: Capabilities::PIPELINING,
        healthcheck: false,
        engine_id: None,
    };
    hello.encode(&mut wire);
    let mut decoder = Decoder::new(session.decoder_limit());
    let frame = decoder.decode(&mut wire).expect("a frame").expect("a whole frame");
    let event = session.handle_frame(Instant::now(), frame, true, &mut out);
    assert!(matches!(event, Ok(Event::Established)));
    decoder.set_max_frame_size(session.decoder_limit());
    (session, decoder, out)
}
