//! The Stream Processing Offload Protocol, pure: no sockets, no runtime, no clock, no logging.
//!
//! Bytes and instants come in, frames and events go out, so a whole conversation with HAProxy runs in a unit test.
//! Only `std`, `bytes` and `thiserror` are used. Nothing a peer sends makes this module panic, loop, or allocate more
//! than the frame at hand, and the frame at hand is bounded before the first byte of it is kept.
//!
//! "SPOE §" names a section of HAProxy's `doc/SPOE.txt`.
//!
//! # A frame (SPOE §3.2)
//!
//! ```text
//!  0        4      5         9            9+n          9+n+m
//!  +--------+------+---------+------------+------------+----------------------------------+
//!  | length | type |  flags  | stream id  |  frame id  | payload                          |
//!  | u32 BE |  u8  | u32 BE  |  varint    |  varint    | KV-LIST | messages | actions     |
//!  +--------+------+---------+------------+------------+----------------------------------+
//!           '-------------------- length bytes, at most max-frame-size ------------------'
//! ```
//!
//! # Where a section of the text lives
//!
//! | SPOE § | what | module |
//! |---|---|---|
//! | 3.1 | typed data, varints | [`typed_data`], [`varint`] |
//! | 3.2 | length, type, flags, ids | [`decoder`], [`frame`] |
//! | 3.2.1, 3.2.4, 3.2.5 | HELLO, versions, capabilities | [`frame::hello`], [`version`], [`capabilities`] |
//! | 3.2.3 | who may say what when | [`session`] |
//! | 3.2.6 | NOTIFY and its messages | [`frame::notify`] |
//! | 3.2.7, 3.4 | ACK and its actions | [`frame::ack`], [`action`] |
//! | 3.2.8, 3.2.9, 3.5 | DISCONNECT and status codes | [`frame::disconnect`], [`status`] |
//!
//! # A conversation
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Instant;
//!
//! use bytes::BytesMut;
//! use spop_bridge::spop::{
//!     Actions, Capabilities, Decoder, Event, HaproxyHello, NotifyEncoder, Session, SessionConfig, TypedData, VarScope, Version,
//! };
//!
//! // What HAProxy sends: HELLO, then one NOTIFY with one message.
//! let mut wire = BytesMut::new();
//! let hello = HaproxyHello {
//!     supported_versions: vec![Version::V2_0],
//!     max_frame_size: 16_380,
//!     capabilities: Capabilities::PIPELINING,
//!     healthcheck: false,
//!     engine_id: None,
//! };
//! hello.encode(&mut wire);
//! NotifyEncoder::new(1, 1).message("check", &[("path", TypedData::from("/"))]).encode(&mut wire)?;
//!
//! // What the agent does with it.
//! let mut session = Session::new(Arc::new(SessionConfig::default()), "192.0.2.1:40000".into());
//! let mut decoder = Decoder::new(session.decoder_limit());
//! let mut out = BytesMut::new();
//! while let Some(frame) = decoder.decode(&mut wire)? {
//!     if let Event::Notify(notify) = session.handle_frame(Instant::now(), frame, true, &mut out)? {
//!         let message = notify.messages().next().ok_or("one message")?;
//!         assert_eq!(message.name, b"check");
//!
//!         let mut actions = Actions::new();
//!         actions.set_var(VarScope::Transaction, "allow", TypedData::Bool(true))?;
//!         assert!(session.ack(notify.stream_id, notify.frame_id, &actions, &mut out));
//!     }
//!     decoder.set_max_frame_size(session.decoder_limit());
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
// Every byte here comes from a peer: what could panic or silently lose bits is refused by the compiler.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unreachable,
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss,
        clippy::cast_lossless,
        clippy::arithmetic_side_effects,
    )
)]

pub mod action;
pub mod capabilities;
pub mod decoder;
pub mod error;
pub mod frame;
pub mod kv;
pub mod reader;
pub mod session;
pub mod status;
pub mod typed_data;
pub mod varint;
pub mod version;
pub mod writer;

mod data_type;
mod variable;

#[cfg(test)]
mod testing;

pub use self::action::{Action, Actions, MAX_VARIABLE_NAME, UnknownScope, VarScope, check_name};
pub use self::capabilities::Capabilities;
pub use self::decoder::Decoder;
pub use self::error::{ActionError, DecodeError, EncodeError, ProtocolError};
pub use self::frame::ack::Ack;
pub use self::frame::disconnect::Disconnect;
pub use self::frame::hello::{AgentHello, HaproxyHello};
pub use self::frame::notify::{Message, Notify, NotifyEncoder, Peer};
pub use self::frame::{Flags, Frame, FrameType, Metadata};
pub use self::session::{Event, MAX_HELLO_SIZE, Negotiated, Session, SessionConfig};
pub use self::status::StatusCode;
pub use self::typed_data::{DataType, TypedData};
pub use self::version::Version;
