//! The translation as the generated types do it: the measure for the one pass, in cost (the benchmark) and in meaning (the
//! fuzz target).

use std::str::Utf8Chunk;

use bytes::Bytes;
use spop_bridge::pb::v1::action::Action;
use spop_bridge::pb::v1::value::Kind;
use spop_bridge::pb::v1::{self as pb, Arg, DecideRequest, DecideResponse, Message, Origin, Value};
use spop_bridge::spop::{Actions, Notify, TypedData, VarScope, check_name};

/// All messages of `notify`. Binary data shares the frame's memory, as far as the generated types can.
pub(crate) fn request(notify: &Notify) -> DecideRequest {
    let peer = &notify.peer;
    let origin = Origin {
        engine_id: text(&peer.engine_id),
        listener: peer.listener.to_string(),
        stream_id: notify.stream_id,
        frame_id: notify.frame_id,
        peer_address: peer.address.to_string(),
    };
    let messages = notify.messages().map(|message| {
        let args = message.args().map(|(name, typed)| Arg { name: text(name), value: Some(value(notify.payload(), typed)) });
        Message { name: text(message.name), args: args.collect() }
    });
    DecideRequest { origin: Some(origin), messages: messages.collect() }
}

fn text(bytes: &[u8]) -> String {
    let replaced = |chunk: Utf8Chunk<'_>| chunk.valid().to_owned() + &"?".repeat(chunk.invalid().len());
    bytes.utf8_chunks().map(replaced).collect()
}

fn value(payload: &Bytes, value: TypedData<'_>) -> Value {
    let mut raw_string = Bytes::new();
    let kind = match value {
        TypedData::Null => Kind::NullValue(0),
        TypedData::Bool(value) => Kind::BoolValue(value),
        TypedData::Int32(value) => Kind::Int64Value(value.into()),
        TypedData::Int64(value) => Kind::Int64Value(value),
        TypedData::Uint32(value) => Kind::Uint64Value(value.into()),
        TypedData::Uint64(value) => Kind::Uint64Value(value),
        TypedData::Ipv4(address) => Kind::Ipv4Value(Bytes::copy_from_slice(&address.octets())),
        TypedData::Ipv6(address) => Kind::Ipv6Value(Bytes::copy_from_slice(&address.octets())),
        TypedData::String(bytes) => {
            if std::str::from_utf8(bytes).is_err() {
                raw_string = payload.slice_ref(bytes);
            }
            Kind::StringValue(text(bytes))
        }
        TypedData::Binary(bytes) => Kind::BytesValue(payload.slice_ref(bytes)),
    };
    Value { kind: Some(kind), raw_string }
}

/// What a response means; `None` if it cannot be carried out.
pub(crate) fn actions(response: &DecideResponse) -> Option<Actions> {
    let mut actions = Actions::with_capacity(response.actions.len() * 32);
    for action in &response.actions {
        match action.action.as_ref()? {
            Action::SetVar(set) => {
                actions.set_var(scope(set.scope, &set.name)?, &set.name, typed_data(set.value.as_ref()?)?).ok()?;
            }
            Action::UnsetVar(unset) => {
                actions.unset_var(scope(unset.scope, &unset.name)?, &unset.name).ok()?;
            }
        }
    }
    Some(actions)
}

/// The scope, for a variable of a good name.
fn scope(number: i32, name: &str) -> Option<VarScope> {
    let scope = match pb::VarScope::try_from(number).ok()? {
        pb::VarScope::Unspecified | pb::VarScope::Transaction => VarScope::Transaction,
        pb::VarScope::Process => VarScope::Process,
        pb::VarScope::Session => VarScope::Session,
        pb::VarScope::Request => VarScope::Request,
        pb::VarScope::Response => VarScope::Response,
    };
    check_name(scope, UNKNOWN_PREFIX, name.as_bytes()).ok()?;
    Some(scope)
}

/// Bytes that HAProxy's variable prefix is taken to have (`SetVar.name` in the contract).
const UNKNOWN_PREFIX: usize = 16;

fn typed_data(value: &Value) -> Option<TypedData<'_>> {
    if !value.raw_string.is_empty() {
        return Some(TypedData::String(&value.raw_string));
    }
    Some(match value.kind.as_ref()? {
        Kind::NullValue(_) => TypedData::Null,
        Kind::BoolValue(value) => TypedData::Bool(*value),
        Kind::Int64Value(value) => TypedData::Int64(*value),
        Kind::Uint64Value(value) => TypedData::Uint64(*value),
        Kind::Ipv4Value(value) => TypedData::Ipv4(<[u8; 4]>::try_from(&value[..]).ok()?.into()),
        Kind::Ipv6Value(value) => TypedData::Ipv6(<[u8; 16]>::try_from(&value[..]).ok()?.into()),
        Kind::StringValue(value) => TypedData::String(value.as_bytes()),
        Kind::BytesValue(value) => TypedData::Binary(value),
    })
}
