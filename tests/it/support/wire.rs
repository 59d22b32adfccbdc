//! SPOP bytes as HAProxy's `doc/SPOE.txt` has them, written a second time.
//!
//! May not use `spop_bridge::spop`: a slip in the bridge's codec must not be repeated by the peer that tests it.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Frame types (SPOE §3.2.2).
pub(crate) const HAPROXY_HELLO: u8 = 1;
pub(crate) const HAPROXY_DISCONNECT: u8 = 2;
pub(crate) const NOTIFY: u8 = 3;
pub(crate) const AGENT_HELLO: u8 = 101;
pub(crate) const AGENT_DISCONNECT: u8 = 102;
pub(crate) const ACK: u8 = 103;

/// The frame is whole.
pub(crate) const FIN: u32 = 1;
/// HAProxy gave up on this NOTIFY.
pub(crate) const ABORT: u32 = 2;

/// One value (SPOE §3.1, TYPED-DATA).
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Data {
    Null,
    Bool(bool),
    Int32(i32),
    Uint32(u32),
    Int64(i64),
    Uint64(u64),
    Ipv4(Ipv4Addr),
    Ipv6(Ipv6Addr),
    Text(Vec<u8>),
    Binary(Vec<u8>),
}

impl From<&str> for Data {
    fn from(text: &str) -> Self {
        Data::Text(text.as_bytes().to_vec())
    }
}

/// One action of an ACK (SPOE §3.4). The scope is HAProxy's word for it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    Set(String, Data),
    Unset(String),
}

/// One frame without its length prefix.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u32,
    pub(crate) stream: u64,
    pub(crate) frame: u64,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn new(kind: u8, stream: u64, frame: u64, payload: Vec<u8>) -> Self {
        Frame { kind, flags: FIN, stream, frame, payload }
    }

    pub(crate) fn with_flags(mut self, flags: u32) -> Self {
        self.flags = flags;
        self
    }

    /// With the length prefix.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = vec![self.kind];
        body.extend(self.flags.to_be_bytes());
        put_varint(&mut body, self.stream);
        put_varint(&mut body, self.frame);
        body.extend(&self.payload);
        let mut out = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
        out.extend(body);
        out
    }

    /// The bytes after the length prefix.
    pub(crate) fn decode(body: &[u8]) -> Frame {
        let mut rest = body;
        let kind = take(&mut rest, 1)[0];
        let flags = u32::from_be_bytes(take(&mut rest, 4).try_into().unwrap());
        let stream = take_varint(&mut rest);
        let frame = take_varint(&mut rest);
        Frame { kind, flags, stream, frame, payload: rest.to_vec() }
    }

    /// The payload as KV-LIST (HELLO, DISCONNECT).
    pub(crate) fn pairs(&self) -> Vec<(String, Data)> {
        let mut rest = &self.payload[..];
        let mut pairs = Vec::new();
        while !rest.is_empty() {
            let name = String::from_utf8(take_text(&mut rest)).unwrap();
            pairs.push((name, take_data(&mut rest)));
        }
        pairs
    }

    /// The payload as LIST-OF-ACTIONS (ACK).
    pub(crate) fn actions(&self) -> Vec<Action> {
        let mut rest = &self.payload[..];
        let mut actions = Vec::new();
        while !rest.is_empty() {
            let head = take(&mut rest, 3);
            let scope = ["proc", "sess", "txn", "req", "res"][usize::from(head[2])];
            let name = format!("{scope}.{}", String::from_utf8(take_text(&mut rest)).unwrap());
            actions.push(match (head[0], head[1]) {
                (1, 3) => Action::Set(name, take_data(&mut rest)),
                (2, 2) => Action::Unset(name),
                other => panic!("action type and number of args {other:?}"),
            });
        }
        actions
    }
}

/// One ACK, taken apart.
#[derive(Debug)]
pub(crate) struct Ack {
    pub(crate) stream: u64,
    pub(crate) frame: u64,
    pub(crate) actions: Vec<Action>,
}

impl Ack {
    /// The value that the last set-var of `name` (`txn.allow`) carries.
    pub(crate) fn value(&self, name: &str) -> Option<&Data> {
        self.actions.iter().rev().find_map(|action| match action {
            Action::Set(set, value) if set == name => Some(value),
            _ => None,
        })
    }

    /// The same as text; empty if it isn't there.
    pub(crate) fn text(&self, name: &str) -> String {
        match self.value(name) {
            Some(Data::Text(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
            Some(other) => format!("{other:?}"),
            None => String::new(),
        }
    }
}

/// Payload of a HELLO or DISCONNECT.
pub(crate) fn kv_list(pairs: &[(&str, Data)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in pairs {
        put_text(&mut out, name.as_bytes());
        put_data(&mut out, value);
    }
    out
}

/// Payload of a NOTIFY: messages, each a name and its args in order.
pub(crate) fn message_list(messages: &[(&str, &[(&str, Data)])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, args) in messages {
        put_text(&mut out, name.as_bytes());
        out.push(u8::try_from(args.len()).unwrap());
        out.extend(kv_list(args));
    }
    out
}

/// SPOE §3.1: the lowest values take one byte, then 4 bits, then 7 bits a byte.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    if value < 240 {
        out.push(value as u8);
        return;
    }
    out.push(value as u8 | 0xf0);
    value = (value - 240) >> 4;
    while value >= 128 {
        out.push(value as u8 | 0x80);
        value = (value - 128) >> 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    put_varint(out, text.len() as u64);
    out.extend(text);
}

pub(crate) fn put_data(out: &mut Vec<u8>, value: &Data) {
    match value {
        Data::Null => out.push(0),
        Data::Bool(value) => out.push(1 | u8::from(*value) << 4),
        Data::Int32(value) => (out.push(2), put_varint(out, i64::from(*value) as u64)).1,
        Data::Uint32(value) => (out.push(3), put_varint(out, u64::from(*value))).1,
        Data::Int64(value) => (out.push(4), put_varint(out, *value as u64)).1,
        Data::Uint64(value) => (out.push(5), put_varint(out, *value)).1,
        Data::Ipv4(value) => (out.push(6), out.extend(value.octets())).1,
        Data::Ipv6(value) => (out.push(7), out.extend(value.octets())).1,
        Data::Text(value) => (out.push(8), put_text(out, value)).1,
        Data::Binary(value) => (out.push(9), put_text(out, value)).1,
    }
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> &'a [u8] {
    assert!(rest.len() >= count, "frame ends {} bytes early", count - rest.len());
    let (taken, left) = rest.split_at(count);
    *rest = left;
    taken
}

fn take_varint(rest: &mut &[u8]) -> u64 {
    let mut value = u64::from(take(rest, 1)[0]);
    if value < 240 {
        return value;
    }
    let mut shift = 4;
    loop {
        let byte = take(rest, 1)[0];
        value = value.wrapping_add(u64::from(byte) << shift);
        shift += 7;
        if byte < 128 {
            return value;
        }
    }
}

fn take_text(rest: &mut &[u8]) -> Vec<u8> {
    let length = take_varint(rest);
    take(rest, usize::try_from(length).unwrap()).to_vec()
}

fn take_data(rest: &mut &[u8]) -> Data {
    let head = take(rest, 1)[0];
    assert!(head & 0x0f == 1 || head & 0xf0 == 0, "flag bits on a type without flags: {head:#x}");
    match head & 0x0f {
        0 => Data::Null,
        1 => Data::Bool(head & 0x10 != 0),
        2 => Data::Int32(take_varint(rest) as i32),
        3 => Data::Uint32(take_varint(rest) as u32),
        4 => Data::Int64(take_varint(rest) as i64),
        5 => Data::Uint64(take_varint(rest)),
        6 => Data::Ipv4(<[u8; 4]>::try_from(take(rest, 4)).unwrap().into()),
        7 => Data::Ipv6(<[u8; 16]>::try_from(take(rest, 16)).unwrap().into()),
        8 => Data::Text(take_text(rest)),
        9 => Data::Binary(take_text(rest)),
        other => panic!("data type {other}"),
    }
}
