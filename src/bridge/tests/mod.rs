//! One-pass translation against the generated types.

mod decisions;
mod merging;

use std::time::Instant;

use bytes::BytesMut;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message as _;

use super::request::Tracing;
use super::response::{ActionProblem, Limits, ResponseError};
use super::*;
use crate::config::TraceArgs;
use crate::pb::v1::{self as pb, action, value};
use crate::spop::action::check_name;
use crate::spop::{Decoder, NotifyEncoder, Peer, VarScope};
use crate::telemetry::TraceContext;

const ROOMY: Limits<'_> = Limits { prefix_length: 16, room: 1 << 20, own: &[], allowed: None };

#[derive(Clone, Debug)]
enum Value {
    Plain(TypedData<'static>),
    String(Vec<u8>),
    Binary(Vec<u8>),
}

impl Value {
    fn typed_data(&self) -> TypedData<'_> {
        match self {
            Self::Plain(value) => *value,
            Self::String(bytes) => TypedData::String(bytes),
            Self::Binary(bytes) => TypedData::Binary(bytes),
        }
    }

    /// What a service must see, written out once more by hand.
    fn expected(&self) -> pb::Value {
        let mut raw_string = Bytes::new();
        let kind = match self {
            Self::Plain(TypedData::Null) => value::Kind::NullValue(0),
            Self::Plain(TypedData::Bool(value)) => value::Kind::BoolValue(*value),
            Self::Plain(TypedData::Int32(value)) => value::Kind::Int64Value((*value).into()),
            Self::Plain(TypedData::Uint32(value)) => value::Kind::Uint64Value((*value).into()),
            Self::Plain(TypedData::Int64(value)) => value::Kind::Int64Value(*value),
            Self::Plain(TypedData::Uint64(value)) => value::Kind::Uint64Value(*value),
            Self::Plain(TypedData::Ipv4(value)) => value::Kind::Ipv4Value(Bytes::copy_from_slice(&value.octets())),
            Self::Plain(TypedData::Ipv6(value)) => value::Kind::Ipv6Value(Bytes::copy_from_slice(&value.octets())),
            Self::Plain(TypedData::String(_) | TypedData::Binary(_)) => panic!("these own their bytes"),
            Self::String(bytes) => {
                if std::str::from_utf8(bytes).is_err() {
                    raw_string = bytes.clone().into();
                }
                value::Kind::StringValue(lossy(bytes))
            }
            Self::Binary(bytes) => value::Kind::BytesValue(bytes.clone().into()),
        };
        pb::Value { kind: Some(kind), raw_string }
    }
}

/// A `?` for each byte that is not part of UTF-8.
fn lossy(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut rest = bytes;
    while let Err(error) = std::str::from_utf8(rest) {
        let (valid, invalid) = rest.split_at(error.valid_up_to());
        let length = error.error_len().unwrap_or(invalid.len());
        text += &(std::str::from_utf8(valid).unwrap().to_owned() + &"?".repeat(length));
        rest = &invalid[length..];
    }
    text + std::str::from_utf8(rest).unwrap()
}

fn values() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Plain(TypedData::Null)),
        any::<bool>().prop_map(|value| Value::Plain(TypedData::Bool(value))),
        any::<i32>().prop_map(|value| Value::Plain(TypedData::Int32(value))),
        any::<u32>().prop_map(|value| Value::Plain(TypedData::Uint32(value))),
        any::<i64>().prop_map(|value| Value::Plain(TypedData::Int64(value))),
        any::<u64>().prop_map(|value| Value::Plain(TypedData::Uint64(value))),
        any::<[u8; 4]>().prop_map(|value| Value::Plain(TypedData::Ipv4(value.into()))),
        any::<[u8; 16]>().prop_map(|value| Value::Plain(TypedData::Ipv6(value.into()))),
        vec(any::<u8>(), 0..300).prop_map(Value::String),
        ".{0,100}".prop_map(|text| Value::String(text.into_bytes())),
        vec(any::<u8>(), 0..300).prop_map(Value::Binary),
    ]
}

/// Valid text, beginnings of longer sequences, and bytes that begin none, side by side.
fn odd_text() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        "[a-z/ä€😀]{1,3}".prop_map(String::into_bytes),
        Just(vec![0xff]),
        Just(vec![0xe2, 0x82]),
        Just(vec![0xf0, 0x9f, 0x98]),
        Just(vec![0xed, 0xa0, 0x80]),
        vec(any::<u8>(), 1..4),
    ];
    vec(part, 0..100).prop_map(|parts| parts.concat())
}

type Messages = Vec<(Vec<u8>, Vec<(Vec<u8>, Value)>)>;

fn messages() -> impl Strategy<Value = Messages> {
    let names = || prop_oneof!["[a-z-]{0,12}".prop_map(String::into_bytes), vec(any::<u8>(), 0..12)];
    vec((names(), vec((names(), values()), 0..6)), 0..4)
}

fn notify(stream_id: u64, messages: &Messages, max_frame_size: u32) -> Notify {
    notify_from(b"engine", stream_id, messages, max_frame_size)
}

fn notify_from(engine_id: &[u8], stream_id: u64, messages: &Messages, max_frame_size: u32) -> Notify {
    let encoder = messages.iter().fold(NotifyEncoder::new(stream_id, 1), |encoder, (name, args)| {
        let args: Vec<_> = args.iter().map(|(name, value)| (name, value.typed_data())).collect();
        encoder.message(name, &args)
    });
    let mut wire = BytesMut::new();
    encoder.encode(&mut wire).unwrap();
    let frame = Decoder::new(1 << 24).decode(&mut wire).unwrap().unwrap();
    let peer = Peer { engine_id: Bytes::copy_from_slice(engine_id), listener: "main".into(), address: "192.0.2.1:4000".into() };
    Notify::decode(frame, Arc::new(peer), Instant::now(), max_frame_size).unwrap()
}

proptest! {
    #[test]
    fn requests_equal_the_generated_types(stream_id: u64, messages in messages(), wanted: u8) {
        let wanted = |position: usize| wanted & (1 << position) != 0;
        let notify = notify(stream_id, &messages, 16_380);
        let mut trace = Tracing { args: &TraceArgs::default(), context: TraceContext::default() };
        let encoded = request::encode(&notify, &Origin::of(&notify.peer), wanted, &mut trace);
        let request = Bytes::copy_from_slice(encoded.message());
        let expected = pb::DecideRequest {
            origin: Some(pb::Origin {
                engine_id: "engine".to_owned(),
                listener: "main".to_owned(),
                stream_id,
                frame_id: 1,
                peer_address: "192.0.2.1:4000".to_owned(),
            }),
            messages: messages.iter().enumerate().filter(|(position, _)| wanted(*position)).map(|(_, (name, args))| pb::Message {
                name: lossy(name),
                args: args.iter().map(|(name, value)| pb::Arg { name: lossy(name), value: Some(value.expected()) }).collect(),
            }).collect(),
        };
        prop_assert_eq!(pb::DecideRequest::decode(request.clone()).unwrap(), expected.clone());
        // Not only the same meaning: nobody could tell the two apart.
        prop_assert_eq!(request, Bytes::from(expected.encode_to_vec()));
    }

    /// What a service sees of bytes that are not UTF-8 is as long as they are: with more it would echo more than a client has sent,
    /// and an echo that does not fit into the frame costs the whole answer.
    #[test]
    fn lossy_text_is_as_long_as_the_original(bytes in odd_text()) {
        let messages = vec![(bytes.clone(), vec![(bytes.clone(), Value::String(bytes.clone()))])];
        let notify = notify_from(&bytes, 1, &messages, 1 << 20);
        let mut trace = Tracing { args: &TraceArgs::default(), context: TraceContext::default() };
        let encoded = request::encode(&notify, &Origin::of(&notify.peer), |_| true, &mut trace);
        let request = pb::DecideRequest::decode(encoded.message()).unwrap();
        let (message, origin) = (&request.messages[0], request.origin.unwrap());
        let value = message.args[0].value.clone().unwrap();
        let Some(value::Kind::StringValue(text)) = value.kind else { panic!("{value:?}") };
        for text in [&origin.engine_id, &message.name, &message.args[0].name, &text] {
            prop_assert_eq!(text.len(), bytes.len());
            prop_assert_eq!(text, &lossy(&bytes));
        }
        let exact = if std::str::from_utf8(&bytes).is_ok() { &b""[..] } else { &bytes };
        prop_assert_eq!(&value.raw_string[..], exact);
    }

    #[test]
    fn responses_mean_what_the_generated_types_say(actions in vec(pb_actions(), 0..6)) {
        let response = pb::DecideResponse { actions };
        let decoded = response::decode(&response.encode_to_vec(), ROOMY);
        match expected_actions(&response) {
            Some(expected) => prop_assert_eq!(decoded.unwrap(), expected),
            None => prop_assert!(matches!(decoded, Err(ResponseError::Action { .. })), "{:?}", decoded),
        }
    }

    /// Fields in any order, repeated, unknown, of the wrong type, cut short: what prost takes we take, with the same meaning, and
    /// what it refuses we refuse.
    #[test]
    fn odd_bytes_mean_what_they_mean_to_prost(bytes in odd_messages(3)) {
        let ours = response::decode(&bytes, ROOMY);
        match pb::DecideResponse::decode(bytes.as_slice()) {
            Err(_) => prop_assert!(ours.is_err(), "{:?}", ours),
            Ok(theirs) => match (ours, expected_actions(&theirs)) {
                (Ok(ours), Some(expected)) => prop_assert_eq!(ours, expected),
                (Err(ResponseError::Action { .. }), None) => {}
                // An action that cannot be carried out may hide bytes behind it that are no protobuf.
                (ours, expected) => prop_assert!(false, "{:?} against {:?}", ours, expected),
            },
        }
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        let _ = response::decode(&bytes, ROOMY);
    }
}

#[test]
fn a_varint_has_at_most_64_bits() {
    // Field 15, which nobody knows, and its value.
    let message = |last| [&[15 << 3], &[0xff; 9][..], &[last]].concat();
    for (last, fits) in [(0, true), (1, true), (2, false), (0x7f, false), (0x80, false)] {
        assert_eq!(response::decode(&message(last), ROOMY).is_ok(), fits, "{last:#x}");
        assert_eq!(pb::DecideResponse::decode(&message(last)[..]).is_ok(), fits, "{last:#x}");
    }
}

fn pb_values() -> impl Strategy<Value = pb::Value> {
    let bytes = |lengths: std::ops::Range<usize>| vec(any::<u8>(), lengths).prop_map(Bytes::from);
    let kind = prop_oneof![
        Just(value::Kind::NullValue(0)),
        any::<bool>().prop_map(value::Kind::BoolValue),
        any::<i64>().prop_map(value::Kind::Int64Value),
        any::<u64>().prop_map(value::Kind::Uint64Value),
        bytes(4..5).prop_map(value::Kind::Ipv4Value),
        bytes(3..6).prop_map(value::Kind::Ipv4Value),
        bytes(16..17).prop_map(value::Kind::Ipv6Value),
        ".{0,40}".prop_map(value::Kind::StringValue),
        bytes(0..200).prop_map(value::Kind::BytesValue),
    ];
    let raw_string = prop_oneof![3 => Just(Bytes::new()), 1 => bytes(1..20)];
    (option::weighted(0.95, kind), raw_string).prop_map(|(kind, raw_string)| pb::Value { kind, raw_string })
}

fn pb_actions() -> impl Strategy<Value = pb::Action> {
    let scope = || prop_oneof![9 => 0..=5, 1 => any::<i32>()];
    let name = || prop_oneof![9 => "[a-zA-Z0-9_.]{1,42}", 1 => ".{0,50}"];
    let set = (scope(), name(), option::weighted(0.95, pb_values()))
        .prop_map(|(scope, name, value)| action::Action::SetVar(pb::SetVar { scope, name, value }));
    let unset = (scope(), name()).prop_map(|(scope, name)| action::Action::UnsetVar(pb::UnsetVar { scope, name }));
    option::weighted(0.98, prop_oneof![3 => set, 1 => unset]).prop_map(|action| pb::Action { action })
}

/// What a response means, read from the generated types; `None` if it must be refused.
fn expected_actions(response: &pb::DecideResponse) -> Option<Actions> {
    let scope_of = |number: i32| {
        Some(match pb::VarScope::try_from(number).ok()? {
            pb::VarScope::Unspecified | pb::VarScope::Transaction => VarScope::Transaction,
            pb::VarScope::Process => VarScope::Process,
            pb::VarScope::Session => VarScope::Session,
            pb::VarScope::Request => VarScope::Request,
            pb::VarScope::Response => VarScope::Response,
        })
    };
    let mut actions = Actions::new();
    for action in &response.actions {
        let (number, name) = match action.action.as_ref()? {
            action::Action::SetVar(set) => (set.scope, &set.name),
            action::Action::UnsetVar(unset) => (unset.scope, &unset.name),
        };
        let scope = scope_of(number)?;
        check_name(scope, ROOMY.prefix_length, name.as_bytes()).ok()?;
        let action::Action::SetVar(set) = action.action.as_ref()? else {
            actions.unset_var(scope, name).unwrap();
            continue;
        };
        let value = set.value.as_ref()?;
        let typed = match value.kind.as_ref() {
            _ if !value.raw_string.is_empty() => TypedData::String(&value.raw_string),
            None => return None,
            Some(value::Kind::NullValue(_)) => TypedData::Null,
            Some(value::Kind::BoolValue(value)) => TypedData::Bool(*value),
            Some(value::Kind::Int64Value(value)) => TypedData::Int64(*value),
            Some(value::Kind::Uint64Value(value)) => TypedData::Uint64(*value),
            Some(value::Kind::Ipv4Value(value)) => TypedData::Ipv4(<[u8; 4]>::try_from(&value[..]).ok()?.into()),
            Some(value::Kind::Ipv6Value(value)) => TypedData::Ipv6(<[u8; 16]>::try_from(&value[..]).ok()?.into()),
            Some(value::Kind::StringValue(value)) => TypedData::String(value.as_bytes()),
            Some(value::Kind::BytesValue(value)) => TypedData::Binary(value),
        };
        actions.set_var(scope, name, typed).unwrap();
    }
    Some(actions)
}

/// Bytes that look like messages nested `depth` deep, with field numbers that the contract uses.
fn odd_messages(depth: u32) -> BoxedStrategy<Vec<u8>> {
    let scalar = (1_u8..=10, any::<u16>()).prop_map(|(number, value)| {
        let mut field = vec![number << 3];
        prost::encoding::encode_varint(value.into(), &mut field);
        field
    });
    let fixed = (1_u8..=10, any::<bool>(), any::<[u8; 8]>()).prop_map(|(number, wide, bytes)| {
        [&[number << 3 | if wide { 1 } else { 5 }], &bytes[..if wide { 8 } else { 4 }]].concat()
    });
    let length = |content: BoxedStrategy<Vec<u8>>| {
        (1_u8..=10, content).prop_map(|(number, content)| {
            let mut field = vec![number << 3 | 2];
            prost::encoding::encode_varint(content.len() as u64, &mut field);
            field.extend(content);
            field
        })
    };
    let text = length(prop_oneof!["[a-z]{1,8}".prop_map(String::into_bytes), vec(any::<u8>(), 0..20)].boxed());
    let field = if depth == 0 {
        prop_oneof![scalar, fixed, text].boxed()
    } else {
        prop_oneof![1 => scalar, 1 => fixed, 1 => text, 6 => length(odd_messages(depth - 1))].boxed()
    };
    let cut = prop_oneof![19 => Just(usize::MAX), 1 => 0_usize..40];
    (vec(field, 0..5), cut)
        .prop_map(|(fields, cut)| {
            let mut message = fields.concat();
            message.truncate(cut);
            message
        })
        .boxed()
}

#[test]
fn problems_name_the_action() {
    let response =
        |actions: Vec<pb::Action>| response::decode(&pb::DecideResponse { actions }.encode_to_vec(), ROOMY).unwrap_err();
    let set = |scope, name: &str, value| {
        let variable =
            pb::SetVar { scope, name: name.to_owned(), value: Some(pb::Value { kind: Some(value), ..pb::Value::default() }) };
        pb::Action { action: Some(action::Action::SetVar(variable)) }
    };
    let good = || set(3, "ok", value::Kind::BoolValue(true));
    let error = response(vec![good(), set(3, "not-allowed", value::Kind::BoolValue(true))]);
    assert!(error.to_string().starts_with("actions[1]: "), "{error}");
    // d19: txn. + 16 reserved for the prefix + . + name
    assert!(
        response::decode(
            &pb::DecideResponse { actions: vec![set(3, &"n".repeat(42), value::Kind::BoolValue(true))] }.encode_to_vec(),
            ROOMY
        )
        .is_ok()
    );
    let error = response(vec![set(3, &"n".repeat(43), value::Kind::BoolValue(true))]);
    assert!(matches!(error, ResponseError::Action { problem: ActionProblem::Name(_), .. }), "{error}");
    let error = response(vec![set(6, "scope", value::Kind::BoolValue(true))]);
    assert_eq!(error.to_string(), "actions[0]: scope 6 is not a VarScope");
    let error = response(vec![set(3, "ip", value::Kind::Ipv4Value(Bytes::from_static(&[1, 2, 3])))]);
    assert_eq!(error.to_string(), "actions[0]: an ipv4 has 3 bytes, expected 4");
    let error =
        response::decode(&pb::DecideResponse { actions: vec![good()] }.encode_to_vec(), Limits { room: 5, ..ROOMY }).unwrap_err();
    assert!(matches!(error, ResponseError::TooBig { .. }), "{error}");
}
