//! NOTIFY and its messages (SPOE §3.2.6).

use std::sync::Arc;
use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};

use super::super::error::{DecodeError, EncodeError};
use super::super::kv::decode_item;
use super::super::reader::Reader;
use super::super::typed_data::TypedData;
use super::super::writer::{Writer, put_string};
use super::{Flags, Frame, FrameType};

/// Most messages in a NOTIFY. HAProxy sends those of one event or group, a few dozen at most. A frame of 128 KiB has room for 65,500
/// empty ones, which would keep a thread busy for as long as thousands of ordinary NOTIFYs.
pub const MAX_MESSAGES: usize = 256;

/// Most args in a NOTIFY, of all its messages together, for the same reason. A message has 255 at most.
pub const MAX_ARGS: usize = 4096;

/// Who is at the other end of a connection. One for all NOTIFYs of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Engine id of its HELLO; empty when it gave none.
    pub engine_id: Bytes,
    /// Name of the listener that it came to.
    pub listener: Arc<str>,
    /// Its address as text; empty when unknown.
    pub address: Arc<str>,
}

/// A question that HAProxy waits on: messages with args, and where they came from.
///
/// The payload is HAProxy's own bytes. It is checked once, on [`Notify::decode`], so reading it cannot fail, and cloning
/// it copies nothing.
#[derive(Clone, Debug)]
pub struct Notify {
    /// HAProxy's stream: per connection since 3.1, per process before, where the first one is 0.
    pub stream_id: u64,
    /// Which NOTIFY of the stream; 1 or more.
    pub frame_id: u64,
    payload: Bytes,
    message_count: usize,
    arg_count: usize,
    /// Who asks.
    pub peer: Arc<Peer>,
    /// When the frame was complete.
    pub received_at: Instant,
    /// Most bytes that the ACK may have, without the length prefix.
    pub max_frame_size: u32,
}

impl Notify {
    /// Checks the whole payload of a NOTIFY frame and takes it over, without copying.
    ///
    /// # Errors
    ///
    /// When any message, arg or value in it cannot be decoded, or there are more than [`MAX_MESSAGES`] or [`MAX_ARGS`].
    pub fn decode(frame: Frame, peer: Arc<Peer>, received_at: Instant, max_frame_size: u32) -> Result<Self, DecodeError> {
        let Frame { metadata, payload } = frame;
        let mut reader = Reader::new(&payload);
        let (mut message_count, mut arg_count) = (0_usize, 0_usize);
        while !reader.is_empty() {
            if message_count == MAX_MESSAGES {
                return Err(DecodeError::TooManyMessages);
            }
            arg_count = arg_count.saturating_add(Message::decode(&mut reader)?.arg_count().into());
            if arg_count > MAX_ARGS {
                return Err(DecodeError::TooManyArgs);
            }
            message_count = message_count.saturating_add(1);
        }
        Ok(Self {
            stream_id: metadata.stream_id,
            frame_id: metadata.frame_id,
            payload,
            message_count,
            arg_count,
            peer,
            received_at,
            max_frame_size,
        })
    }

    /// The messages in HAProxy's order. None at all happens: HAProxy 3.1 and 3.2 before 2025-08 send a NOTIFY whose
    /// messages were all ruled out by ACLs.
    pub fn messages(&self) -> Messages<'_> {
        Messages { reader: Reader::new(&self.payload), left: self.message_count }
    }

    /// Number of messages.
    pub const fn message_count(&self) -> usize {
        self.message_count
    }

    /// Number of args of all messages together.
    pub const fn arg_count(&self) -> usize {
        self.arg_count
    }

    /// LIST-OF-MESSAGES as it was sent.
    pub const fn payload(&self) -> &Bytes {
        &self.payload
    }
}

/// Iterator over the messages of a [`Notify`].
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    reader: Reader<'a>,
    left: usize,
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        self.left = self.left.checked_sub(1)?;
        // The payload was checked when it came in, so an error is the end. The last message, mostly the only one, is not
        // read to find where the next one begins.
        let message = if self.left == 0 { Message::decode_head(&mut self.reader) } else { Message::decode(&mut self.reader) };
        message.ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Messages<'_> {}

/// A named list of args, borrowed from its NOTIFY.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    /// Name of the `spoe-message` section; bytes, usually ASCII.
    pub name: &'a [u8],
    args: Args<'a>,
}

impl<'a> Message<'a> {
    /// Takes one message off `reader` and checks each of its args.
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let message = Self::decode_head(reader)?;
        for _ in 0..message.args.left {
            decode_item(reader)?;
        }
        Ok(message)
    }

    /// Takes the name and the number of args off `reader`, and leaves the args there.
    fn decode_head(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let name = reader.string()?;
        let left = reader.u8()?;
        Ok(Self { name, args: Args { reader: reader.clone(), left } })
    }

    /// The args in the order of HAProxy's `args` line. A name may be empty, and may repeat.
    pub fn args(&self) -> Args<'a> {
        self.args.clone()
    }

    /// Number of args, at most 255.
    pub const fn arg_count(&self) -> u8 {
        self.args.left
    }

    /// Value of the first arg with that name.
    pub fn arg(&self, name: impl AsRef<[u8]>) -> Option<TypedData<'a>> {
        self.args().find(|(found, _)| *found == name.as_ref()).map(|(_, value)| value)
    }
}

/// Iterator over the args of a [`Message`]: name and value.
#[derive(Clone, Debug)]
pub struct Args<'a> {
    reader: Reader<'a>,
    left: u8,
}

impl<'a> Iterator for Args<'a> {
    type Item = (&'a [u8], TypedData<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        // The payload was checked when it came in, so an error is the end.
        decode_item(&mut self.reader).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left.into(), Some(self.left.into()))
    }
}

impl ExactSizeIterator for Args<'_> {}

/// Builds a NOTIFY frame, as HAProxy would; for clients of agents and for tests.
#[derive(Clone, Debug)]
pub struct NotifyEncoder {
    stream_id: u64,
    frame_id: u64,
    payload: BytesMut,
    error: Option<EncodeError>,
}

impl NotifyEncoder {
    /// A NOTIFY without messages. HAProxy 3.1+ numbers streams 1, 3, 5, … on a connection, and frames from 1.
    pub fn new(stream_id: u64, frame_id: u64) -> Self {
        Self { stream_id, frame_id, payload: BytesMut::new(), error: None }
    }

    /// Appends a message.
    pub fn message<N: AsRef<[u8]>>(mut self, name: impl AsRef<[u8]>, args: &[(N, TypedData<'_>)]) -> Self {
        let Ok(count) = u8::try_from(args.len()) else {
            self.error.get_or_insert(EncodeError::TooManyArgs(args.len()));
            return self;
        };
        put_string(name.as_ref(), &mut self.payload);
        self.payload.put_u8(count);
        for (name, value) in args {
            put_string(name.as_ref(), &mut self.payload);
            value.encode(&mut self.payload);
        }
        self
    }

    /// Appends the whole frame.
    ///
    /// # Errors
    ///
    /// When a message had more than 255 args. Nothing is appended then.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let mut writer = Writer::frame(out, FrameType::NOTIFY, Flags::FIN, self.stream_id, self.frame_id);
        writer.put_slice(&self.payload);
        writer.finish();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::decoder::Decoder;
    use super::super::super::status::StatusCode;
    use super::super::super::testing::{args, borrowed, hex, numbers};
    use super::*;

    fn decoded(out: &mut BytesMut) -> Result<Notify, DecodeError> {
        let frame = Decoder::new(u32::MAX).decode(out)?.expect("a whole frame");
        Notify::decode(frame, Arc::default(), Instant::now(), 16_380)
    }

    /// `args mth=method src=src hdr=req.hdr(x-bin) none=req.hdr(nope) b=bool(true) i=int(-3) body=bin(00ff) =int(300)`
    /// as HAProxy 3.0 sends it for the first stream of its process.
    #[test]
    fn d17_args_come_in_haproxys_order() {
        let wire = "00000049 03 00000001 00 01
            03 63686b 08
            03 6d7468 08 03 474554
            03 737263 06 7f000001
            03 686472 08 02 fffe
            04 6e6f6e65 00
            01 62 11
            01 69 04 fdf0fefefefefefefe0e
            04 626f6479 09 02 00ff
            00 04 fc03";
        let notify = decoded(&mut BytesMut::from(&hex(wire)[..])).unwrap();
        assert_eq!((notify.stream_id, notify.frame_id, notify.message_count()), (0, 1, 1));
        let message = notify.messages().next().unwrap();
        let expected: Vec<(&[u8], _)> = vec![
            (b"mth", TypedData::from("GET")),
            (b"src", TypedData::Ipv4([127, 0, 0, 1].into())),
            (b"hdr", TypedData::String(&[0xff, 0xfe])),
            (b"none", TypedData::Null),
            (b"b", TypedData::Bool(true)),
            (b"i", TypedData::Int64(-3)),
            (b"body", TypedData::Binary(&[0, 0xff])),
            (b"", TypedData::Int64(300)),
        ];
        assert_eq!((message.name, message.arg_count()), (&b"chk"[..], 8));
        assert_eq!(message.args().collect::<Vec<_>>(), expected);
        assert_eq!(message.arg("i"), Some(TypedData::Int64(-3)));
        assert_eq!(message.arg("I"), None);
    }

    #[test]
    fn d16_no_message_at_all_is_a_notify() {
        let notify = decoded(&mut BytesMut::from(&hex("00000007 03 00000001 01 01")[..])).unwrap();
        assert_eq!(notify.message_count(), 0);
        assert!(notify.messages().next().is_none());
    }

    #[test]
    fn d29_args_may_be_unnamed_and_repeat() {
        let mut out = BytesMut::new();
        let args = [("", 1_i64.into()), ("", 2_i64.into()), ("a", 3_i64.into()), ("a", 4_i64.into())];
        NotifyEncoder::new(1, 1).message("m", &args).encode(&mut out).unwrap();
        let notify = decoded(&mut out).unwrap();
        let message = notify.messages().next().unwrap();
        let names: Vec<_> = message.args().map(|(name, _)| name).collect();
        assert_eq!(names, [&b""[..], b"", b"a", b"a"]);
        assert_eq!(message.arg("a"), Some(TypedData::Int64(3)), "the first one");
        assert_eq!(message.args().len(), 4);
    }

    #[test]
    fn number_of_args_is_one_byte() {
        let mut out = BytesMut::new();
        let args = vec![("a", TypedData::Null); 255];
        NotifyEncoder::new(1, 1).message("m", &args).encode(&mut out).unwrap();
        assert_eq!(decoded(&mut out).unwrap().messages().next().unwrap().args().count(), 255);
        let too_many = NotifyEncoder::new(1, 1).message("m", &vec![("a", TypedData::Null); 256]);
        assert_eq!(too_many.encode(&mut out), Err(EncodeError::TooManyArgs(256)));
        assert!(out.is_empty());
    }

    #[test]
    fn a_damaged_payload_is_refused_at_once() {
        let refused = |wire: &str| decoded(&mut BytesMut::from(&hex(wire)[..])).unwrap_err();
        assert_eq!(refused("0000000a 03 00000001 01 01 01 6d 01"), DecodeError::UnexpectedEnd, "an arg is missing");
        assert_eq!(refused("0000000b 03 00000001 01 01 01 6d 00 05"), DecodeError::UnexpectedEnd, "a second message is cut");
        assert_eq!(refused("0000000c 03 00000001 01 01 01 6d 01 00 0a"), DecodeError::UnknownDataType(10));
    }

    #[test]
    fn d08_number_of_messages_and_of_all_args_is_bounded() {
        let of = |messages: usize, args: usize| {
            let (mut out, args) = (BytesMut::new(), vec![("", TypedData::Null); args]);
            let notify = (0..messages).fold(NotifyEncoder::new(1, 1), |notify, _| notify.message("", &args));
            notify.encode(&mut out).unwrap();
            decoded(&mut out).map(|notify| notify.message_count())
        };
        assert_eq!(of(256, 16), Ok(256));
        assert_eq!(of(257, 0), Err(DecodeError::TooManyMessages));
        assert_eq!(of(16, 255), Ok(16));
        assert_eq!(of(17, 255), Err(DecodeError::TooManyArgs));
        assert_eq!(DecodeError::TooManyArgs.to_string(), "NOTIFY of more than 4096 args");
        assert_eq!(DecodeError::TooManyMessages.status_code(), StatusCode::TOO_BIG);
    }

    proptest! {
        #[test]
        fn decode_undoes_encode(
            ids in (numbers(), numbers()),
            messages in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..20), args()), 0..5),
        ) {
            let mut encoder = NotifyEncoder::new(ids.0, ids.1);
            for (name, args) in &messages {
                encoder = encoder.message(name, &borrowed(args));
            }
            let mut out = BytesMut::new();
            encoder.encode(&mut out).unwrap();
            let notify = decoded(&mut out).unwrap();
            prop_assert_eq!((notify.stream_id, notify.frame_id), ids);
            prop_assert_eq!(notify.message_count(), messages.len());
            let found: Vec<_> = notify.messages().map(|message| (message.name, message.args().collect::<Vec<_>>())).collect();
            let expected: Vec<_> = messages.iter().map(|(name, args)| (name.as_slice(), borrowed(args))).collect();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(notify.arg_count(), messages.iter().map(|(_, args)| args.len()).sum::<usize>());
        }

        /// What was accepted is handed out whole: no message or arg disappears in the infallible iterators.
        #[test]
        fn any_bytes_decode_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let mut out = BytesMut::new();
            let mut writer = Writer::frame(&mut out, FrameType::NOTIFY, Flags::FIN, 1, 1);
            writer.put_slice(&bytes);
            writer.finish();
            if let Ok(notify) = decoded(&mut out) {
                prop_assert_eq!(notify.messages().count(), notify.message_count());
                for message in notify.messages() {
                    prop_assert_eq!(message.args().count(), usize::from(message.arg_count()));
                }
            }
        }
    }
}
