//! What holds whatever the peer and the driver do.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

/// One thing that happens to a session. Ids are few, so that they collide.
#[derive(Clone, Debug)]
enum Step {
    Hello { healthcheck: bool, ready: bool },
    Notify { ids: (u64, u64) },
    Abort { ids: (u64, u64) },
    Ack { ids: (u64, u64) },
    Farewell,
    Disconnect,
    Frame { frame_type: u8, flags: u32, ids: (u64, u64), payload: Vec<u8> },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ids = || (0..4_u64, 0..3_u64);
    let step = prop_oneof![
        1 => any::<(bool, bool)>().prop_map(|(healthcheck, ready)| Step::Hello { healthcheck, ready }),
        8 => ids().prop_map(|ids| Step::Notify { ids }),
        2 => ids().prop_map(|ids| Step::Abort { ids }),
        8 => ids().prop_map(|ids| Step::Ack { ids }),
        1 => Just(Step::Farewell),
        1 => Just(Step::Disconnect),
        2 => (any::<u8>(), 0..4_u32, ids(), prop::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(frame_type, flags, ids, payload)| Step::Frame { frame_type, flags, ids, payload }),
    ];
    prop::collection::vec(step, 0..60)
}

/// NOTIFYs that were accepted, less those answered or aborted, by their ids.
type Open = HashSet<(u64, u64)>;

impl Haproxy {
    /// Does one step, also after an error, when a driver would have closed; keeps count and checks what was written.
    fn step(&mut self, step: Step, open: &mut Open) -> Result<(), TestCaseError> {
        let before = self.out.len();
        let event = match step {
            Step::Hello { healthcheck, ready } => {
                self.ready = ready;
                self.hello(&HaproxyHello { healthcheck, ..offer() })
            }
            Step::Notify { ids } => self.notify(ids.0, ids.1),
            Step::Abort { ids } => self.frame(FrameType::NOTIFY, Flags::FIN | Flags::ABORT, ids.0, ids.1),
            Step::Farewell => self.disconnect(StatusCode::NORMAL),
            Step::Frame { frame_type, flags, ids, payload } => {
                let mut wire = BytesMut::new();
                let mut writer = Writer::frame(&mut wire, FrameType(frame_type), Flags(flags), ids.0, ids.1);
                writer.put_slice(&payload);
                writer.finish();
                self.send(&wire)
            }
            Step::Ack { ids } => {
                let waits = open.remove(&ids) && !self.session.is_closed();
                prop_assert_eq!(self.ack(ids.0, ids.1), waits, "an ACK for what waits, and for nothing else");
                prop_assert_eq!(self.out.len() > before, waits);
                return Ok(());
            }
            Step::Disconnect => {
                let was_closed = self.session.is_closed();
                prop_assert_eq!(self.session.disconnect(StatusCode::NORMAL, "", &mut self.out), !was_closed);
                open.clear();
                return Ok(());
            }
        };
        match event {
            Ok(Event::Notify(notify)) => {
                prop_assert!(self.session.is_established());
                prop_assert!(open.insert((notify.stream_id, notify.frame_id)), "ids in flight are unique");
            }
            Ok(Event::Aborted { stream_id, frame_id }) => prop_assert!(open.remove(&(stream_id, frame_id))),
            Ok(Event::Established | Event::HealthCheck) => prop_assert!(self.out.len() > before),
            Ok(Event::Disconnected(_) | Event::Ignored) | Err(_) => prop_assert_eq!(self.out.len(), before),
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_notify_is_answered_once_at_most(greet: bool, steps in steps()) {
        let mut haproxy = if greet { Haproxy::established() } else { Haproxy::connect() };
        let mut open = Open::new();
        for step in steps {
            haproxy.step(step, &mut open)?;
            prop_assert_eq!(haproxy.session.in_flight(), open.len());
        }
        // Whatever was written is a row of whole frames, and nothing follows a farewell.
        while let Some(frame) = haproxy.read() {
            if frame.metadata.frame_type == FrameType::AGENT_DISCONNECT {
                prop_assert!(haproxy.out.is_empty());
            }
        }
        prop_assert!(haproxy.out.is_empty());
    }

    /// Any bytes, framed or not: an event or an error, and never an answer to what was not asked.
    #[test]
    fn any_bytes_are_events_or_errors(bytes in prop::collection::vec(any::<u8>(), 0..300), greet: bool) {
        let mut haproxy = if greet { Haproxy::established() } else { Haproxy::connect() };
        let (mut decoder, mut buffer) = (Decoder::new(300), BytesMut::from(&bytes[..]));
        while let Ok(Some(frame)) = decoder.decode(&mut buffer) {
            if haproxy.session.handle_frame(Instant::now(), frame, true, &mut haproxy.out).is_err() {
                break;
            }
        }
        prop_assert!(haproxy.session.in_flight() <= bytes.len() / 11);
    }
}
