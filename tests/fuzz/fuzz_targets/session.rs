//! A script for one connection: what HAProxy sends, what the agent does.
//!
//! The script is a row of steps, each a byte and its operands: see [`Script::step`]. Nothing panics, no NOTIFY is answered
//! twice, and every byte out belongs to a whole frame.
#![no_main]

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use spop_bridge::spop::reader::Reader;
use spop_bridge::spop::writer::Writer;
use spop_bridge::spop::{Actions, DecodeError, Decoder, Event, Flags, FrameType, Session, SessionConfig, StatusCode};

fuzz_target!(|data: &[u8]| {
    let mut script = Script::new(data);
    while script.step().is_ok() {}
    script.check_out();
});

struct Script<'a> {
    steps: Reader<'a>,
    session: Session,
    decoder: Decoder,
    buffer: BytesMut,
    out: BytesMut,
    /// NOTIFYs that wait for their ACK, by our own count.
    open: HashSet<(u64, u64)>,
}

impl<'a> Script<'a> {
    fn new(data: &'a [u8]) -> Self {
        let session = Session::new(Arc::new(SessionConfig::default()), Arc::default());
        let decoder = Decoder::new(session.decoder_limit());
        Self { steps: Reader::new(data), session, decoder, buffer: BytesMut::new(), out: BytesMut::new(), open: HashSet::new() }
    }

    /// Does the next step; an error at the end of the script.
    fn step(&mut self) -> Result<(), DecodeError> {
        match self.steps.u8()? {
            // Bytes off the wire: a length and as many bytes.
            0 => {
                let bytes = self.steps.string()?;
                self.receive(bytes, true);
            }
            // The same for an agent that is not ready.
            1 => {
                let bytes = self.steps.string()?;
                self.receive(bytes, false);
            }
            // A frame whose prefix is right: type, flags, ids, payload.
            2 => {
                let (frame_type, flags) = (FrameType(self.steps.u8()?), Flags(self.steps.u8()?.into()));
                let (stream_id, frame_id, payload) = (self.steps.varint()?, self.steps.varint()?, self.steps.string()?);
                let mut wire = BytesMut::new();
                let mut writer = Writer::frame(&mut wire, frame_type, flags, stream_id, frame_id);
                writer.put_slice(payload);
                writer.finish();
                self.receive(&wire, true);
            }
            // The ACK of these ids.
            3 => {
                let ids = (self.steps.varint()?, self.steps.varint()?);
                self.ack(ids);
            }
            // The ACK of a NOTIFY that waits.
            4 => {
                if let Some(ids) = self.open.iter().copied().min() {
                    self.ack(ids);
                }
            }
            5 => {
                let was_closed = self.session.is_closed();
                assert_eq!(self.session.disconnect(StatusCode::NORMAL, "", &mut self.out), !was_closed);
                self.open.clear();
            }
            _ => {}
        }
        assert_eq!(self.session.in_flight(), self.open.len());
        Ok(())
    }

    fn receive(&mut self, bytes: &[u8], ready: bool) {
        self.buffer.extend_from_slice(bytes);
        loop {
            self.decoder.set_max_frame_size(self.session.decoder_limit());
            let before = self.out.len();
            let event = match self.decoder.decode(&mut self.buffer) {
                Ok(None) => return,
                Ok(Some(frame)) => self.session.handle_frame(Instant::now(), frame, ready, &mut self.out),
                Err(error) => Err(error.into()),
            };
            match event {
                Ok(Event::Notify(notify)) => {
                    assert_eq!(notify.messages().count(), notify.message_count());
                    assert!(self.open.insert((notify.stream_id, notify.frame_id)), "ids in flight are unique");
                }
                Ok(Event::Aborted { stream_id, frame_id }) => assert!(self.open.remove(&(stream_id, frame_id))),
                Ok(Event::Established | Event::HealthCheck) => assert!(self.out.len() > before),
                Ok(Event::Disconnected(_) | Event::Ignored) => assert_eq!(self.out.len(), before),
                Err(error) => {
                    assert_eq!(self.out.len(), before);
                    self.session.disconnect(error.status_code(), &error.to_string(), &mut self.out);
                    self.open.clear();
                    self.buffer.clear();
                }
            }
        }
    }

    fn ack(&mut self, ids: (u64, u64)) {
        let before = self.out.len();
        let waits = self.open.remove(&ids);
        assert_eq!(self.session.ack(ids.0, ids.1, &Actions::new(), &mut self.out), waits);
        assert_eq!(self.out.len() > before, waits);
    }

    /// Whole frames, nothing behind a farewell.
    fn check_out(mut self) {
        let mut decoder = Decoder::new(u32::MAX);
        while let Some(frame) = decoder.decode(&mut self.out).expect("our own frames") {
            assert_eq!(frame.metadata.flags, Flags::FIN);
            assert!(frame.metadata.frame_type.is_from_agent());
            assert!(frame.metadata.frame_type != FrameType::AGENT_DISCONNECT || self.out.is_empty());
        }
        assert!(self.out.is_empty());
    }
}
