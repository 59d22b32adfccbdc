//! ACK, the answer to a NOTIFY (SPOE §3.2.7).

use bytes::BytesMut;

use super::super::action::Actions;
use super::super::error::DecodeError;
use super::super::varint;
use super::super::writer::{PREFIX_LEN, Writer};
use super::{Flags, Frame, FrameType};

/// An ACK as a client of agents sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Stream id of the NOTIFY.
    pub stream_id: u64,
    /// Frame id of the NOTIFY.
    pub frame_id: u64,
    /// What the agent asks HAProxy to do.
    pub actions: Actions,
    /// Whether the agent gave up on the NOTIFY.
    pub aborted: bool,
}

impl Ack {
    /// Decodes an ACK frame, its actions strictly.
    ///
    /// # Errors
    ///
    /// When the frame is of another type or an action cannot be decoded.
    pub fn decode(frame: Frame) -> Result<Self, DecodeError> {
        let Frame { metadata, payload } = frame;
        if metadata.frame_type != FrameType::ACK {
            return Err(DecodeError::UnexpectedFrame { expected: FrameType::ACK, found: metadata.frame_type });
        }
        Ok(Self {
            stream_id: metadata.stream_id,
            frame_id: metadata.frame_id,
            actions: Actions::decode(&payload)?,
            aborted: metadata.flags.contains(Flags::ABORT),
        })
    }
}

/// Appends an ACK frame.
///
/// Both ids must be those of a NOTIFY that waits for its ACK on this connection: HAProxy 3.1+ closes a connection over an
/// id that it does not know. [`Session::ack`](super::super::session::Session::ack) sees to that.
pub fn encode_ack(out: &mut BytesMut, stream_id: u64, frame_id: u64, actions: &Actions) {
    out.reserve(ack_len(stream_id, frame_id, actions.len_bytes()).saturating_add(PREFIX_LEN));
    // SPOE §3.2.7: the ACK repeats both ids.
    let mut writer = Writer::frame(out, FrameType::ACK, Flags::FIN, stream_id, frame_id);
    writer.put_slice(actions.as_bytes());
    writer.finish();
}

/// Bytes of an ACK frame without the length prefix, which is what max-frame-size counts.
pub const fn ack_len(stream_id: u64, frame_id: u64, actions_len: usize) -> usize {
    TYPE_AND_FLAGS
        .saturating_add(varint::encoded_len(stream_id))
        .saturating_add(varint::encoded_len(frame_id))
        .saturating_add(actions_len)
}

const TYPE_AND_FLAGS: usize = 5;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::action::VarScope;
    use super::super::super::decoder::Decoder;
    use super::super::super::testing::{hex, numbers, values};
    use super::*;

    fn decoded(bytes: &[u8]) -> Result<Ack, DecodeError> {
        let frame = Decoder::new(u32::MAX).decode(&mut BytesMut::from(bytes))?.expect("a whole frame");
        Ack::decode(frame)
    }

    #[test]
    fn bytes_are_those_of_spoe_3_2_7() {
        let (mut actions, mut out) = (Actions::new(), BytesMut::new());
        actions.set_var(VarScope::Transaction, "allow", true.into()).unwrap();
        encode_ack(&mut out, 3, 1, &actions);
        assert_eq!(out[..], hex("00000011 67 00000001 03 01   01 03 02 05 616c6c6f77 11"));
    }

    #[test]
    fn aborted_acks_and_other_frames_are_told_apart() {
        assert!(decoded(&hex("00000007 67 00000003 01 01")).unwrap().aborted);
        let expected = DecodeError::UnexpectedFrame { expected: FrameType::ACK, found: FrameType::NOTIFY };
        assert_eq!(decoded(&hex("00000007 03 00000001 01 01")), Err(expected));
    }

    proptest! {
        #[test]
        fn d13_ids_and_actions_survive(stream_id in numbers(), frame_id in numbers(), value in values()) {
            let (mut actions, mut out) = (Actions::new(), BytesMut::new());
            actions.set_var(VarScope::Response, "v", value.typed()).unwrap();
            encode_ack(&mut out, stream_id, frame_id, &actions);
            prop_assert_eq!(out.len(), PREFIX_LEN + ack_len(stream_id, frame_id, actions.len_bytes()));
            prop_assert_eq!(decoded(&out), Ok(Ack { stream_id, frame_id, actions, aborted: false }));
        }
    }
}
