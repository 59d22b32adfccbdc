//! Frames of the agent, checked where they lie in the read buffer.

use bytes::Bytes;

use super::in_flight::{Answered, InFlight};
use super::round::Plan;
use super::tally::Tally;
use super::template::FRAME_ID;
use crate::cli::engine::EngineError;
use crate::spop::frame::HEADER_MIN_LEN;
use crate::spop::reader::Reader;
use crate::spop::writer::PREFIX_LEN;
use crate::spop::{DecodeError, Disconnect, Flags, FrameType, ProtocolError};

/// What one connection waits for, and what its last good ACK was.
#[derive(Debug)]
pub(super) struct Answers {
    pub(super) in_flight: InFlight,
    max_frame_size: u32,
    /// Payload of the last ACK that held what was expected. Most agents say the same again, and that is quickly compared.
    passed: Option<Vec<u8>>,
}

impl Answers {
    pub(super) fn new(window: usize, max_frame_size: u32) -> Self {
        Self { in_flight: InFlight::new(window), max_frame_size, passed: None }
    }

    /// Handles every whole frame at the front of `bytes`, which came in at `now`; returns how many bytes those were.
    ///
    /// # Errors
    /// When the agent says good-bye or something that no agent may say: the connection is of no more use.
    pub(super) fn handle(&mut self, bytes: &[u8], now: u64, plan: &Plan, tally: &mut Tally) -> Result<usize, EngineError> {
        let mut handled = 0;
        while let Some(frame) = next(&bytes[handled..], self.max_frame_size)? {
            handled += PREFIX_LEN + frame.len();
            self.frame(Reader::new(frame), now, plan, tally)?;
        }
        Ok(handled)
    }

    fn frame(&mut self, mut reader: Reader<'_>, now: u64, plan: &Plan, tally: &mut Tally) -> Result<(), EngineError> {
        let (frame_type, flags) = (FrameType(reader.u8()?), Flags(reader.u32()?));
        let (stream_id, frame_id) = (reader.varint()?, reader.varint()?);
        let payload = reader.rest();
        match frame_type {
            FrameType::ACK if flags.contains(Flags::FIN) => {}
            FrameType::AGENT_DISCONNECT => {
                let disconnect = Disconnect::decode(&Bytes::copy_from_slice(payload))?;
                return Err(EngineError::Disconnected(disconnect));
            }
            FrameType::ACK => return Err(ProtocolError::Fragmented.into()),
            other => return Err(EngineError::Unexpected(other)),
        }
        let answered = if frame_id == FRAME_ID { self.in_flight.remove(stream_id) } else { Answered::Unknown };
        match answered {
            Answered::Waiting { due } => tally.ack(due, now),
            // Counted when it was given up.
            Answered::Lost => return Ok(()),
            Answered::Unknown => {
                tally.unknown(stream_id, frame_id);
                return Ok(());
            }
        }
        if flags.contains(Flags::ABORT) {
            tally.mismatch(|| "found ABORT: the agent gave up on the NOTIFY".to_owned());
        } else if self.passed.as_deref() != Some(payload) {
            self.check(payload, plan, tally)?;
        }
        Ok(())
    }

    fn check(&mut self, payload: &[u8], plan: &Plan, tally: &mut Tally) -> Result<(), DecodeError> {
        if plan.expect.holds(payload)? {
            let passed = self.passed.get_or_insert_default();
            passed.clear();
            passed.extend_from_slice(payload);
        } else {
            tally.mismatch(|| plan.expect.explain(payload));
        }
        Ok(())
    }
}

/// The first frame without its prefix, if it is all there.
fn next(bytes: &[u8], max: u32) -> Result<Option<&[u8]>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let Ok(len) = reader.u32() else { return Ok(None) };
    if len > max {
        return Err(DecodeError::FrameTooBig { len, max });
    }
    // It is at most max-frame-size, which fits.
    let whole = len as usize;
    if whole < HEADER_MIN_LEN {
        return Err(DecodeError::FrameTooSmall { len });
    }
    Ok(reader.bytes(whole).ok())
}
