//! The items of a `DecideStream`, around messages whose content is none of our business. Numbers are the fields of
//! `proto/spopbridge/v1/decision.proto`.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use tonic::Code;

use super::error::Pushback;
use super::framing;
use super::request::Request;
use crate::protobuf::{Fields, WireError, Writer};
use crate::telemetry::TraceContext;

/// Writes items, each framed for gRPC, one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Items {
    out: BytesMut,
    // Kept for their room.
    head: Vec<u8>,
    fields: Vec<u8>,
}

impl Items {
    pub(crate) fn decision(&mut self, id: u64, remaining: Duration, request: &Request) {
        let mut fields = writer(&mut self.fields);
        fields.varint(1, id);
        // At least 1, says the contract.
        fields.varint(2, u64::try_from(remaining.as_micros()).unwrap_or(u64::MAX).max(1));
        for (field, value) in request.trace().into_iter().flat_map(TraceContext::parts) {
            let number = match field {
                "traceparent" => 3,
                "tracestate" => 4,
                _ => 5,
            };
            fields.bytes(number, value.as_bytes());
        }
        let message = request.message();
        fields.head(6, message.len());
        self.item(1, fields, message);
    }

    pub(crate) fn cancel(&mut self, id: u64) {
        let mut fields = writer(&mut self.fields);
        fields.varint(1, id);
        self.item(2, fields, &[]);
    }

    pub(crate) fn len(&self) -> usize {
        self.out.len()
    }

    pub(crate) fn take(&mut self) -> Bytes {
        self.out.split().freeze()
    }

    /// A `DecideStreamRequest` with one field, whose content is `fields` and then `rest`.
    fn item(&mut self, field: u8, fields: Writer, rest: &[u8]) {
        let fields = fields.into_bytes();
        let mut head = writer(&mut self.head);
        head.head(field, fields.len() + rest.len());
        let head = head.into_bytes();
        let length = head.len() + fields.len() + rest.len();
        self.out.reserve(framing::PREFIX + length);
        self.out.put_slice(&framing::prefix(length));
        self.out.put_slice(&head);
        self.out.put_slice(&fields);
        self.out.put_slice(rest);
        (self.head, self.fields) = (head, fields);
    }
}

/// A writer that uses the room of `bytes`.
fn writer(bytes: &mut Vec<u8>) -> Writer {
    let mut bytes = std::mem::take(bytes);
    bytes.clear();
    Writer::new(bytes)
}

/// A `DecideStreamResponse`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) id: u64,
    pub(crate) result: AnswerResult,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AnswerResult {
    /// The bytes of a `DecideResponse`.
    Response(Bytes),
    /// A status other than OK, its text, and when the service wants to be asked again.
    Error(Code, String, Option<Pushback>),
    /// Neither, or what the contract rules out.
    Invalid(&'static str),
}

impl Answer {
    /// # Errors
    /// If it cannot be said whose answer this is.
    pub(crate) fn decode(item: &Bytes) -> Result<Self, WireError> {
        let mut parts = Parts::default();
        match parts.read(item) {
            Ok(()) => Ok(Self { id: parts.id, result: parts.result() }),
            // What follows cannot be read, but we know whom it was for.
            Err(_) if parts.id != 0 => Ok(Self { id: parts.id, result: AnswerResult::Invalid("not a DecideStreamResponse") }),
            Err(error) => Err(error),
        }
    }
}

/// What was read of an answer.
#[derive(Default)]
struct Parts {
    id: u64,
    /// The field of the oneof that counts, and its content.
    field: u32,
    content: Bytes,
    /// The same with what came for that field once more: protobuf merges messages, and that is their bytes one behind the other.
    merged: Vec<u8>,
}

impl Parts {
    fn read(&mut self, item: &Bytes) -> Result<(), WireError> {
        for field in Fields::new(item) {
            let field = field?;
            match field.number {
                1 => self.id = field.varint()?,
                number @ (2 | 3) => self.add(number, item.slice_ref(field.bytes()?)),
                _ => {}
            }
        }
        Ok(())
    }

    fn add(&mut self, field: u32, part: Bytes) {
        if self.field != field {
            *self = Self { id: self.id, field, content: part, merged: Vec::new() };
            return;
        }
        if self.merged.is_empty() {
            self.merged.extend_from_slice(&self.content);
        }
        self.merged.extend_from_slice(&part);
    }

    fn result(self) -> AnswerResult {
        let content = if self.merged.is_empty() { self.content } else { self.merged.into() };
        match self.field {
            2 => AnswerResult::Response(content),
            3 => status(&content),
            _ => AnswerResult::Invalid("neither response nor error is set"),
        }
    }
}

/// A `google.rpc.Status`.
fn status(bytes: &[u8]) -> AnswerResult {
    let (mut code, mut message, mut pushback) = (0, "", None);
    for field in Fields::new(bytes) {
        let read = field.and_then(|field| match field.number {
            // An int32: higher bits do not count.
            1 => field.varint().map(|number| code = number as u32 as i32),
            2 => field.text().map(|text| message = std::str::from_utf8(text).unwrap_or_default()),
            3 => field.bytes().map(|detail| pushback = retry_delay(detail).or(pushback)),
            _ => Ok(()),
        });
        if read.is_err() {
            return AnswerResult::Invalid("error is not a google.rpc.Status");
        }
    }
    match Code::from_i32(code) {
        Code::Ok => AnswerResult::Invalid("error with the code 0, which is OK"),
        code => AnswerResult::Error(code, message.to_owned(), pushback),
    }
}

/// What a `google.rpc.RetryInfo` among a status's details says: on a stream there is no `grpc-retry-pushback-ms` for a single decision.
fn retry_delay(detail: &[u8]) -> Option<Pushback> {
    let detail = prost_types::Any::decode(detail).ok().filter(|any| any.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let fields = Fields::new(&detail.value).flatten();
    let delay = fields.filter(|field| field.number == 1).last()?.bytes().ok()?;
    let delay = prost_types::Duration::decode(delay).ok()?;
    // One below zero forbids it, as for calls.
    Some(delay.try_into().map_or(Pushback::Never, Pushback::After))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::TraceArgs;
    use crate::pb::google::rpc::Status;
    use crate::pb::v1::decide_stream_request::Item;
    use crate::pb::v1::decide_stream_response::Result as Outcome;
    use crate::pb::v1::{Cancel, DecideRequest, DecideStreamRequest, DecideStreamResponse, Decision, Origin};

    fn read(items: &mut Items) -> Vec<DecideStreamRequest> {
        let mut messages = framing::Messages::default();
        messages.push(items.take());
        let all = std::iter::from_fn(|| messages.next().unwrap());
        all.map(|message| DecideStreamRequest::decode(message).unwrap()).collect()
    }

    proptest! {
        #[test]
        fn items_are_what_the_generated_types_read(
            id in 1_u64..,
            micros in 0_u64..u64::MAX / 1000,
            text in ".{0,300}",
            baggage in "[a-z=]{0,20}",
        ) {
            let request = DecideRequest { origin: Some(Origin { listener: text, ..Default::default() }), messages: Vec::new() };
            let mut items = Items::default();
            let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned();
            let mut trace = TraceContext::default();
            let values = [("traceparent", &*traceparent), ("tracestate", "a=1"), ("baggage", &*baggage)];
            values.iter().for_each(|(name, value)| trace.take(&TraceArgs::default(), name.as_bytes(), value.as_bytes()));
            let bytes = request.encode_to_vec();
            let mut encoded = Request::new(0, |mut out| {
                out.extend_from_slice(&bytes);
                out
            });
            encoded.set_trace(Box::new(trace));
            items.decision(id, Duration::from_micros(micros), &encoded);
            items.cancel(id);
            let remaining_us = micros.max(1);
            let tracestate = "a=1".to_owned();
            let decision = Decision { id, remaining_us, traceparent, tracestate, baggage, request: Some(request) };
            let expected = [Item::Decision(decision), Item::Cancel(Cancel { id })];
            prop_assert_eq!(read(&mut items), expected.map(|item| DecideStreamRequest { item: Some(item) }));
        }

        #[test]
        fn answers_are_what_the_generated_types_wrote(id in any::<u64>(), code in any::<i32>(), message in ".{0,40}") {
            let error = Outcome::Error(Status { code, message: message.clone(), details: Vec::new() });
            let item = DecideStreamResponse { id, result: Some(error) }.encode_to_vec().into();
            let expected = match Code::from_i32(code) {
                Code::Ok => AnswerResult::Invalid("error with the code 0, which is OK"),
                code => AnswerResult::Error(code, message, None),
            };
            prop_assert_eq!(Answer::decode(&item), Ok(Answer { id, result: expected }));
        }

        #[test]
        fn answers_that_the_generated_types_read_are_read_alike(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let item = Bytes::from(bytes);
            if let Ok(DecideStreamResponse { id, result }) = DecideStreamResponse::decode(item.clone()) {
                let answer = Answer::decode(&item).unwrap();
                prop_assert_eq!(answer.id, id);
                prop_assert_eq!(matches!(answer.result, AnswerResult::Response(_)), matches!(result, Some(Outcome::Response(_))));
            }
        }
    }

    #[test]
    fn what_cannot_be_an_answer_is_invalid_for_the_one_who_waits() {
        let invalid = |bytes: &'static [u8], problem| {
            let answer = Answer::decode(&Bytes::from_static(bytes)).unwrap();
            assert_eq!(answer, Answer { id: 3, result: AnswerResult::Invalid(problem) });
        };
        invalid(&[8, 3, 0x10, 1], "not a DecideStreamResponse");
        invalid(&[8, 3, 0x12], "not a DecideStreamResponse");
    }

    #[test]
    fn an_error_in_parts_is_merged() {
        let part = |code, message: &str| {
            let error = Status { code, message: message.to_owned(), details: Vec::new() };
            DecideStreamResponse { id: 7, result: Some(Outcome::Error(error)) }.encode_to_vec()
        };
        let item = Bytes::from([part(5, ""), part(0, "not found"), part(0, "")].concat());
        let result = AnswerResult::Error(Code::NotFound, "not found".to_owned(), None);
        assert_eq!(Answer::decode(&item), Ok(Answer { id: 7, result }));
    }

    #[test]
    fn an_answer_with_nothing_in_it_is_invalid() {
        let item = DecideStreamResponse { id: 3, result: None }.encode_to_vec().into();
        assert!(matches!(Answer::decode(&item), Ok(Answer { id: 3, result: AnswerResult::Invalid(_) })));
        assert!(Answer::decode(&Bytes::from_static(&[0x0a])).is_err());
        assert!(matches!(
            Answer::decode(&Bytes::from_static(&[8, 3, 0x12])),
            Ok(Answer { id: 3, result: AnswerResult::Invalid(_) })
        ));
    }

    #[test]
    fn a_status_may_say_when_to_ask_again() {
        let detail = |kind: &str, value: Vec<u8>| prost_types::Any { type_url: format!("type.googleapis.com/{kind}"), value };
        let delay = prost_types::Duration { seconds: 1, nanos: 500_000_000 }.encode_to_vec();
        let info = [&[0x0a, delay.len() as u8][..], &delay].concat();
        let read = |details| {
            let error = Outcome::Error(Status { code: 14, message: String::new(), details });
            let item = DecideStreamResponse { id: 7, result: Some(error) }.encode_to_vec();
            Answer::decode(&item.into()).unwrap().result
        };
        let error = |pushback| AnswerResult::Error(Code::Unavailable, String::new(), pushback);
        let after = error(Some(Pushback::After(Duration::from_millis(1_500))));
        assert_eq!(read(vec![detail("google.rpc.Help", vec![1, 2]), detail("google.rpc.RetryInfo", info)]), after);
        assert_eq!(read(vec![detail("google.rpc.RetryInfo", vec![0xff])]), error(None));
    }
}
