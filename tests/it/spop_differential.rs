//! Our frames against those of the registry's `spop` crate, an independent reading of the same text: what one encodes
//! means the same to the other.
//!
//! Where that crate leaves SPOE.txt or HAProxy, the values stay off that spot, and the comment there says so. It reads only
//! HAProxy's frames and writes no NOTIFY, so answers are compared by their bytes and NOTIFYs in one direction.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use proptest::collection::vec;
use proptest::prelude::*;
use spop_bridge::spop::frame::ack::encode_ack;
use spop_bridge::spop::reader::Reader;
use spop_bridge::spop::{
    Ack, Actions, AgentHello, Capabilities, DecodeError, Decoder, Disconnect, Frame, FrameType, HaproxyHello, Notify,
    NotifyEncoder, StatusCode, TypedData, VarScope, Version, varint,
};
use spop_crate as theirs;
use theirs::SpopFrame;
use theirs::frames::haproxy_disconnect::HaproxyDisconnectFrame;
use theirs::frames::haproxy_hello::HaproxyHelloFrame;

/// Their value, which owns its bytes; ours borrows from it.
type Theirs = theirs::TypedData;

fn ours(value: &Theirs) -> TypedData<'_> {
    match value {
        Theirs::Null => TypedData::Null,
        Theirs::Bool(value) => TypedData::Bool(*value),
        Theirs::Int32(value) => TypedData::Int32(*value),
        Theirs::UInt32(value) => TypedData::Uint32(*value),
        Theirs::Int64(value) => TypedData::Int64(*value),
        Theirs::UInt64(value) => TypedData::Uint64(*value),
        Theirs::IPv4(address) => TypedData::Ipv4(*address),
        Theirs::IPv6(address) => TypedData::Ipv6(*address),
        Theirs::String(text) => TypedData::String(text.as_bytes()),
        Theirs::Binary(bytes) => TypedData::Binary(bytes),
    }
}

/// Whether both mean the same, but for what they replaced in a STRING that is not UTF-8.
fn is_same(value: TypedData<'_>, other: &Theirs) -> bool {
    match (value, other) {
        (TypedData::String(text), Theirs::String(lossy)) => String::from_utf8_lossy(text) == *lossy,
        _ => value == ours(other),
    }
}

/// Integers of every length on the wire.
fn numbers() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..64_u32).prop_map(|(number, shift)| number >> shift)
}

/// Strings are UTF-8: they replace what is not, while HAProxy sends header values as they are.
fn values() -> impl Strategy<Value = Theirs> {
    prop_oneof![
        Just(Theirs::Null),
        any::<bool>().prop_map(Theirs::Bool),
        any::<i32>().prop_map(Theirs::Int32),
        any::<u32>().prop_map(Theirs::UInt32),
        numbers().prop_map(|number| Theirs::Int64(number.cast_signed())),
        numbers().prop_map(Theirs::UInt64),
        any::<[u8; 4]>().prop_map(|octets| Theirs::IPv4(octets.into())),
        any::<[u8; 16]>().prop_map(|octets| Theirs::IPv6(octets.into())),
        "\\PC{0,80}".prop_map(Theirs::String),
        vec(any::<u8>(), 0..300).prop_map(Theirs::Binary),
    ]
}

/// One whole frame of theirs, decoded by us.
fn our_frame(wire: &[u8]) -> Frame {
    let mut buffer = BytesMut::from(wire);
    let frame = Decoder::new(u32::MAX).decode(&mut buffer).expect("a frame").expect("a whole frame");
    assert!(buffer.is_empty());
    frame
}

/// One whole frame of ours, decoded by them.
fn their_frame(wire: &[u8]) -> Box<dyn SpopFrame> {
    let (rest, frame) = theirs::parser::parse_frame(wire).expect("a frame");
    assert!(rest.is_empty());
    frame
}

/// Items of their KV-LIST.
fn items(frame: &dyn SpopFrame) -> HashMap<String, Theirs> {
    match frame.payload() {
        theirs::FramePayload::KVList(items) => items,
        other => panic!("a KV-LIST, found {other:?}"),
    }
}

fn scopes() -> impl Strategy<Value = (VarScope, theirs::VarScope)> {
    prop::sample::select(vec![
        (VarScope::Process, theirs::VarScope::Process),
        (VarScope::Session, theirs::VarScope::Session),
        (VarScope::Transaction, theirs::VarScope::Transaction),
        (VarScope::Request, theirs::VarScope::Request),
        (VarScope::Response, theirs::VarScope::Response),
    ])
}

proptest! {
    #[test]
    fn varints_are_the_same_bytes(value in numbers()) {
        let (mut our_bytes, mut their_bytes) = (Vec::new(), Vec::new());
        varint::encode(value, &mut our_bytes);
        theirs::encode_varint_into(value, &mut their_bytes);
        prop_assert_eq!(&our_bytes, &their_bytes);
        prop_assert_eq!(varint::encoded_len(value), theirs::varint_len(value));
        prop_assert_eq!(theirs::decode_varint(&our_bytes), Ok((&[][..], value)));
    }

    /// Any bytes: the same value and the same rest. They shift the bits above 64 of a tenth byte away as HAProxy does;
    /// here that is an error.
    #[test]
    fn varints_are_read_alike(bytes in vec(prop_oneof![any::<u8>(), 0x80..=0xff_u8], 0..12)) {
        let mut reader = Reader::new(&bytes);
        match (reader.varint(), theirs::decode_varint(&bytes)) {
            (Ok(value), found) => prop_assert_eq!(found, Ok((reader.rest(), value))),
            (Err(DecodeError::VarintTooLong), Ok((rest, _))) => prop_assert!(bytes.len() - rest.len() == varint::MAX_LEN),
            (Err(error), Ok(value)) => prop_assert!(false, "{error}, but they read {value:?}"),
            (Err(_), Err(_)) => {}
        }
    }

    #[test]
    fn values_are_the_same_bytes(value in values()) {
        let (mut our_bytes, mut their_bytes) = (Vec::new(), Vec::new());
        ours(&value).encode(&mut our_bytes);
        value.to_bytes(&mut their_bytes);
        prop_assert_eq!(&our_bytes, &their_bytes);
        prop_assert_eq!(ours(&value).encoded_len(), value.serialized_len());
        prop_assert_eq!(TypedData::decode(&mut Reader::new(&their_bytes)), Ok(ours(&value)));
        prop_assert_eq!(Theirs::from_bytes(&our_bytes), Some(value));
    }

    /// Any bytes: the same value. They cut an INT32 or UINT32 with more than 32 bits, and replace what is not UTF-8 in a
    /// STRING.
    #[test]
    fn values_are_read_alike(head: u8, mut bytes in vec(any::<u8>(), 0..24)) {
        bytes.insert(0, head);
        let (found, expected) = (TypedData::decode(&mut Reader::new(&bytes)), Theirs::from_bytes(&bytes));
        match (found, expected) {
            (Ok(value), Some(other)) => prop_assert!(is_same(value, &other), "{value:?} is {other:?} to them"),
            (Err(DecodeError::IntegerOutOfRange), Some(Theirs::Int32(_) | Theirs::UInt32(_))) => {}
            (Err(DecodeError::VarintTooLong), _) | (Err(_), None) => {}
            (found, other) => prop_assert!(false, "{found:?} is {other:?} to them"),
        }
    }

    /// What answers a NOTIFY: byte for byte, ids, actions and all.
    #[test]
    fn acks_are_the_same_bytes(
        stream_id in numbers(),
        frame_id in numbers(),
        list in vec((scopes(), "[a-zA-Z0-9_.]{1,40}", prop::option::of(values())), 0..6),
    ) {
        let (mut actions, mut ack) = (Actions::new(), theirs::frames::Ack::new(stream_id, frame_id));
        for ((scope, their_scope), name, value) in list {
            match value {
                Some(value) => {
                    actions.set_var(scope, &name, ours(&value)).unwrap();
                    ack = ack.set_var(their_scope, &name, value);
                }
                None => {
                    actions.unset_var(scope, &name).unwrap();
                    ack = ack.unset_var(their_scope, &name);
                }
            }
        }
        let mut wire = BytesMut::new();
        encode_ack(&mut wire, stream_id, frame_id, &actions);
        let their_wire = ack.serialize().unwrap();
        prop_assert_eq!(&wire[..], &their_wire);
        prop_assert_eq!(Ack::decode(our_frame(&their_wire)), Ok(Ack { stream_id, frame_id, actions, aborted: false }));
    }

    /// They write no NOTIFY. Names are UTF-8, as strings above.
    #[test]
    fn our_notify_means_the_same_to_them(
        stream_id in numbers(),
        frame_id in numbers(),
        messages in vec(("\\PC{0,20}", vec(("\\PC{0,12}", values()), 0..8)), 0..4),
    ) {
        let mut encoder = NotifyEncoder::new(stream_id, frame_id);
        for (name, args) in &messages {
            let args: Vec<_> = args.iter().map(|(name, value)| (name, ours(value))).collect();
            encoder = encoder.message(name, &args);
        }
        let mut wire = BytesMut::new();
        encoder.encode(&mut wire).unwrap();
        let frame = their_frame(&wire);
        prop_assert_eq!(frame.frame_type(), &theirs::FrameType::Notify);
        prop_assert_eq!((frame.metadata().stream_id, frame.metadata().frame_id), (stream_id, frame_id));
        let theirs::FramePayload::ListOfMessages(found) = frame.payload() else { panic!("messages") };
        let found: Vec<_> = found.iter().map(|message| (message.name.clone(), message.args.clone())).collect();
        prop_assert_eq!(found, messages);
    }

    /// Any payload of a NOTIFY: accepted by both with the same meaning, or refused by both; but for what is said above.
    #[test]
    fn notifys_are_read_alike(payload in vec(prop_oneof![0..10_u8, any::<u8>()], 0..60)) {
        let mut wire = u32::try_from(payload.len() + 7).unwrap().to_be_bytes().to_vec();
        wire.extend([3, 0, 0, 0, 1, 1, 1]);
        wire.extend(&payload);
        let notify = Notify::decode(our_frame(&wire), Arc::default(), Instant::now(), 16_380);
        let frame = theirs::parser::parse_frame(&wire);
        let notify = match (notify, &frame) {
            (Ok(notify), _) => notify,
            (Err(DecodeError::IntegerOutOfRange | DecodeError::VarintTooLong), _) | (Err(_), Err(_)) => return Ok(()),
            (Err(error), Ok(_)) => return Err(TestCaseError::fail(format!("{error}, but they accept it"))),
        };
        let Ok((_, frame)) = frame else { return Err(TestCaseError::fail("we accept it, but they do not")) };
        let theirs::FramePayload::ListOfMessages(found) = frame.payload() else { panic!("messages") };
        prop_assert_eq!(found.len(), notify.message_count());
        for (message, found) in notify.messages().zip(found) {
            prop_assert_eq!(String::from_utf8_lossy(message.name), found.name.as_str());
            prop_assert_eq!(message.args().len(), found.args.len());
            for ((name, value), (found, found_value)) in message.args().zip(&found.args) {
                prop_assert_eq!(String::from_utf8_lossy(name), found.as_str());
                prop_assert!(is_same(value, found_value), "{value:?} is {found_value:?} to them");
            }
        }
    }

    /// They know no capability but pipelining, and insist on every item in a health check too.
    #[test]
    fn our_haproxy_hello_means_the_same_to_them(
        minor in 0..1000_u16,
        max_frame_size: u32,
        pipelining: bool,
        healthcheck: bool,
        engine_id in prop::option::of("\\PC{0,40}"),
    ) {
        let hello = HaproxyHello {
            supported_versions: vec![Version { major: 2, minor }, Version { major: 1, minor: 5 }],
            max_frame_size,
            capabilities: Capabilities { pipelining, ..Capabilities::NONE },
            healthcheck,
            engine_id: engine_id.clone().map(Into::into),
        };
        let mut wire = BytesMut::new();
        hello.encode(&mut wire);
        let frame = their_frame(&wire);
        let payload = theirs::frames::HaproxyHello::try_from(frame.payload()).unwrap();
        let versions: Vec<_> = payload.supported_versions.iter().map(|version| (version.major, version.minor)).collect();
        prop_assert_eq!(versions, [(2, u64::from(minor)), (1, 5)]);
        prop_assert_eq!(payload.max_frame_size, max_frame_size);
        prop_assert_eq!(payload.capabilities.contains(&theirs::frames::FrameCapabilities::Pipelining), pipelining);
        prop_assert_eq!(payload.healthcheck.unwrap_or(false), healthcheck);
        prop_assert_eq!(payload.engine_id, engine_id);
    }

    #[test]
    fn their_haproxy_hello_means_the_same_to_us(
        minor in 0..1000_u64,
        max_frame_size: u32,
        pipelining: bool,
        healthcheck in prop::option::of(any::<bool>()),
        engine_id in prop::option::of("\\PC{0,40}"),
    ) {
        let payload = theirs::frames::HaproxyHello {
            supported_versions: vec![theirs::Version::new(2, minor, 0)],
            max_frame_size,
            capabilities: pipelining.then_some(theirs::frames::FrameCapabilities::Pipelining).into_iter().collect(),
            healthcheck,
            engine_id: engine_id.clone(),
        };
        let metadata = theirs::Metadata { flags: theirs::FrameFlags::new(true, false), stream_id: 0, frame_id: 0 };
        let frame = our_frame(&HaproxyHelloFrame { metadata, payload }.serialize().unwrap());
        prop_assert_eq!(frame.metadata.frame_type, FrameType::HAPROXY_HELLO);
        let expected = HaproxyHello {
            supported_versions: vec![Version { major: 2, minor: minor.try_into().unwrap() }],
            max_frame_size,
            capabilities: Capabilities { pipelining, ..Capabilities::NONE },
            healthcheck: healthcheck.unwrap_or(false),
            engine_id: engine_id.map(Into::into),
        };
        prop_assert_eq!(HaproxyHello::decode(&frame.payload), Ok(expected));
    }

    /// Their items come in no particular order, so ours are compared one by one.
    #[test]
    fn agent_hellos_mean_the_same(minor in 0..1000_u16, max_frame_size: u32, pipelining: bool) {
        let capabilities = Capabilities { pipelining, ..Capabilities::NONE };
        let hello = AgentHello { version: Version { major: 2, minor }, max_frame_size, capabilities };
        let theirs = theirs::frames::AgentHello {
            version: theirs::Version::new(2, minor.into(), 0),
            max_frame_size,
            capabilities: pipelining.then_some(theirs::frames::FrameCapabilities::Pipelining).into_iter().collect(),
        };
        let frame = our_frame(&theirs.serialize().unwrap());
        prop_assert_eq!(frame.metadata.frame_type, FrameType::AGENT_HELLO);
        prop_assert_eq!(AgentHello::decode(&frame.payload), Ok(hello));

        let mut wire = BytesMut::new();
        hello.encode(&mut wire);
        let sent = spop_bridge::spop::kv::KvList::new(&our_frame(&wire).payload)
            .map(|item| item.map(|(key, value)| (String::from_utf8(key.to_vec()).unwrap(), format!("{value:?}"))))
            .collect::<Result<HashMap<_, _>, _>>();
        let expected = items(&theirs).iter().map(|(key, value)| (key.clone(), format!("{:?}", ours(value)))).collect();
        prop_assert_eq!(sent, Ok(expected));
    }

    /// Messages are of 255 bytes at most: they send longer ones, which HAProxy up to 3.0 refuses.
    #[test]
    fn disconnects_mean_the_same(status: u32, message in "[ -~]{0,255}") {
        let ours = Disconnect::new(StatusCode(status), &message);
        let theirs = theirs::frames::AgentDisconnect { status_code: status, message: message.clone() };
        let frame = our_frame(&theirs.serialize().unwrap());
        prop_assert_eq!(frame.metadata.frame_type, FrameType::AGENT_DISCONNECT);
        prop_assert_eq!(Disconnect::decode(&frame.payload), Ok(ours.clone()));

        let mut wire = BytesMut::new();
        ours.encode(FrameType::HAPROXY_DISCONNECT, &mut wire);
        let frame = their_frame(&wire);
        let payload = theirs::frames::HaproxyDisconnect::try_from(frame.payload()).unwrap();
        prop_assert_eq!((payload.status_code, &payload.message), (status, &message));

        let frame = HaproxyDisconnectFrame { metadata: *frame.metadata(), payload };
        prop_assert_eq!(Disconnect::decode(&our_frame(&frame.serialize().unwrap()).payload), Ok(ours));
    }
}
