//! Small conveniences of the contract's types: reading args, building actions.

use std::net::IpAddr;

use bytes::Bytes;

use crate::pb::v1::value::Kind;
use crate::pb::v1::{Action, DecideRequest, SetVar, Value, VarScope, action};

/// Sets `txn.<prefix>.<name>` in HAProxy: a variable that lives as long as the transaction.
pub fn set_var(name: impl Into<String>, value: impl Into<Value>) -> Action {
    let set = SetVar { scope: VarScope::Transaction.into(), name: name.into(), value: Some(value.into()) };
    Action { action: Some(action::Action::SetVar(set)) }
}

impl DecideRequest {
    /// The first arg of that name in any message. An arg may be there and null: HAProxy could not fetch the sample.
    #[must_use]
    pub fn arg(&self, name: &str) -> Option<&Value> {
        let mut args = self.messages.iter().flat_map(|message| &message.args);
        args.find(|arg| arg.name == name)?.value.as_ref()
    }
}

impl Value {
    /// The text of a string. It holds `?` for each byte from HAProxy that is not part of valid UTF-8; [`Value::as_bytes`] has
    /// the exact ones.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match &self.kind {
            Some(Kind::StringValue(text)) => Some(text),
            _ => None,
        }
    }

    /// The exact bytes of a string, or of binary data.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match &self.kind {
            Some(Kind::StringValue(_)) if !self.raw_string.is_empty() => Some(&self.raw_string),
            Some(Kind::StringValue(text)) => Some(text.as_bytes()),
            Some(Kind::BytesValue(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// An integer of either kind that fits.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self.kind {
            Some(Kind::Int64Value(number)) => Some(number),
            Some(Kind::Uint64Value(number)) => number.try_into().ok(),
            _ => None,
        }
    }

    /// An address. `None` also where the number of bytes is wrong.
    #[must_use]
    pub fn as_ip(&self) -> Option<IpAddr> {
        match &self.kind {
            Some(Kind::Ipv4Value(octets)) => Some(IpAddr::from(<[u8; 4]>::try_from(&octets[..]).ok()?)),
            Some(Kind::Ipv6Value(octets)) => Some(IpAddr::from(<[u8; 16]>::try_from(&octets[..]).ok()?)),
            _ => None,
        }
    }
}

impl From<Kind> for Value {
    fn from(kind: Kind) -> Self {
        Self { kind: Some(kind), raw_string: Bytes::new() }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Kind::BoolValue(value).into()
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Kind::Int64Value(value).into()
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Kind::StringValue(text.into()).into()
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Kind::StringValue(text).into()
    }
}

impl From<IpAddr> for Value {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Kind::Ipv4Value(Bytes::copy_from_slice(&address.octets())).into(),
            IpAddr::V6(address) => Kind::Ipv6Value(Bytes::copy_from_slice(&address.octets())).into(),
        }
    }
}

/// Binary data.
impl From<Bytes> for Value {
    fn from(bytes: Bytes) -> Self {
        Kind::BytesValue(bytes).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::v1::{Arg, Message};

    #[test]
    fn args_are_found_in_every_message() {
        let arg = |name: &str, value: Value| Arg { name: name.into(), value: Some(value) };
        let message = |args| Message { name: "check".into(), args };
        let messages =
            vec![message(vec![arg("ip", IpAddr::from([192, 0, 2, 7]).into())]), message(vec![arg("port", 443.into())])];
        let request = DecideRequest { messages, ..DecideRequest::default() };
        assert_eq!(request.arg("ip").unwrap().as_ip(), Some([192, 0, 2, 7].into()));
        assert_eq!(request.arg("port").unwrap().as_i64(), Some(443));
        assert_eq!(request.arg("path"), None);
    }

    #[test]
    fn a_string_has_text_and_exact_bytes() {
        assert_eq!(Value::from("/a").as_bytes(), Some(&b"/a"[..]));
        let replaced = Value { raw_string: Bytes::from_static(b"/\xff"), ..Value::from("/?") };
        assert_eq!((replaced.as_str(), replaced.as_bytes()), (Some("/?"), Some(&b"/\xff"[..])));
        assert_eq!(Value::from(Bytes::from_static(b"\xff")).as_str(), None);
    }

    #[test]
    fn kinds_do_not_mix() {
        assert_eq!(Value::from(true).as_i64(), None);
        assert_eq!(Value::from(Kind::Uint64Value(u64::MAX)).as_i64(), None);
        assert_eq!(Value::from(Kind::Ipv4Value(Bytes::from_static(b"123"))).as_ip(), None);
        assert_eq!(Value::from(IpAddr::from([1; 16])).as_ip(), Some([1; 16].into()));
    }
}
