//! NOTIFY and ACK.

use super::super::super::action::VarScope;
use super::*;

#[test]
fn d02_acks_are_whole_frames_one_behind_the_other() {
    let mut haproxy = Haproxy::established();
    for stream_id in [1, 3, 5] {
        haproxy.notify(stream_id, 1).unwrap();
    }
    for stream_id in [1, 3, 5] {
        let mut actions = Actions::new();
        actions.set_var(VarScope::Transaction, "id", stream_id.into()).unwrap();
        assert!(haproxy.session.ack(stream_id, 1, &actions, &mut haproxy.out));
    }
    assert_eq!(haproxy.acks(), [(1, 1), (3, 1), (5, 1)]);
}

#[test]
fn d09_twenty_in_flight_are_answered_in_any_order() {
    let mut haproxy = Haproxy::established();
    let ids: Vec<u64> = (0..20).map(|n| 2 * n + 1).collect();
    for id in &ids {
        assert!(matches!(haproxy.notify(*id, 1), Ok(Event::Notify(notify)) if notify.stream_id == *id));
    }
    assert_eq!(haproxy.session.in_flight(), 20);
    for id in ids.iter().rev() {
        assert!(haproxy.ack(*id, 1));
    }
    assert_eq!(haproxy.acks().into_iter().map(|(id, _)| id).rev().collect::<Vec<_>>(), ids);
    assert_eq!(haproxy.session.in_flight(), 0);
}

/// HAProxy up to 3.0 counts streams per process from 0, and goes on counting; 3.1+ per connection from 1.
#[test]
fn d13_ids_are_echoed_exactly() {
    let mut haproxy = Haproxy::established();
    for ids in [(0, 1), (1, 1), (1, 2), (239, 240), (u64::from(u32::MAX), 7), (u64::MAX, u64::MAX)] {
        assert!(matches!(haproxy.notify(ids.0, ids.1), Ok(Event::Notify(_))));
        assert!(haproxy.ack(ids.0, ids.1));
        assert_eq!(haproxy.acks(), [ids]);
    }
}

#[test]
fn d14_a_notify_is_answered_once() {
    let mut haproxy = Haproxy::established();
    haproxy.notify(1, 1).unwrap();
    assert!(!haproxy.ack(3, 1), "never asked");
    assert!(!haproxy.ack(1, 2), "another frame of the stream");
    assert!(haproxy.ack(1, 1));
    assert!(!haproxy.ack(1, 1), "answered already");
    assert_eq!(haproxy.acks(), [(1, 1)]);
}

#[test]
fn d14_ids_in_flight_are_not_taken_twice() {
    let mut haproxy = Haproxy::established();
    haproxy.notify(1, 1).unwrap();
    let error = haproxy.notify(1, 1).unwrap_err();
    assert_eq!(error, ProtocolError::DuplicateNotify { stream_id: 1, frame_id: 1 });
    assert_eq!(haproxy.session.in_flight(), 1);
    assert_eq!(haproxy.fail(error).status, StatusCode::INVALID);
}

#[test]
fn d14_answered_ids_may_come_again() {
    let mut haproxy = Haproxy::established();
    for _ in 0..2 {
        haproxy.notify(1, 1).unwrap();
        assert!(haproxy.ack(1, 1));
    }
    assert_eq!(haproxy.acks(), [(1, 1), (1, 1)]);
}

/// SPOE §3.2.6: both ids must be set. HAProxy's frame ids count from 1.
#[test]
fn d14_a_notify_has_a_frame_id() {
    assert_eq!(Haproxy::established().notify(1, 0).unwrap_err(), ProtocolError::NotifyWithoutId);
}

#[test]
fn d16_a_notify_without_messages_is_a_notify() {
    let mut haproxy = Haproxy::established();
    let event = haproxy.frame(FrameType::NOTIFY, Flags::FIN, 1, 1);
    assert!(matches!(event, Ok(Event::Notify(notify)) if notify.message_count() == 0));
    assert!(haproxy.ack(1, 1));
    assert_eq!(haproxy.acks(), [(1, 1)]);
}

#[test]
fn d12_a_frame_without_fin_is_refused() {
    let mut haproxy = Haproxy::established();
    let error = haproxy.frame(FrameType::NOTIFY, Flags(0), 1, 1).unwrap_err();
    assert_eq!(haproxy.fail(error).status, StatusCode::FRAGMENTATION);
    let last_fragment = Haproxy::established().frame(FrameType::UNSET, Flags::FIN, 1, 1).unwrap_err();
    assert_eq!(last_fragment, ProtocolError::Fragmented);
}

#[test]
fn aborted_notify_gets_no_ack() {
    for frame_type in [FrameType::NOTIFY, FrameType::UNSET] {
        let mut haproxy = Haproxy::established();
        haproxy.notify(1, 1).unwrap();
        haproxy.notify(3, 1).unwrap();
        let event = haproxy.frame(frame_type, Flags::FIN | Flags::ABORT, 1, 1);
        assert!(matches!(event, Ok(Event::Aborted { stream_id: 1, frame_id: 1 })));
        let unknown = haproxy.frame(frame_type, Flags::FIN | Flags::ABORT, 5, 1);
        assert!(matches!(unknown, Ok(Event::Ignored)));
        assert!(!haproxy.ack(1, 1));
        assert!(haproxy.ack(3, 1));
        assert_eq!(haproxy.acks(), [(3, 1)]);
    }
}

#[test]
fn a_damaged_payload_is_not_in_flight() {
    let mut haproxy = Haproxy::established();
    let error = haproxy.send_hex("0000000a 03 00000001 01 01 01 6d 01").unwrap_err();
    assert_eq!(haproxy.session.in_flight(), 0);
    assert_eq!(haproxy.fail(error).status, StatusCode::INVALID);
}

/// SPOE §3.2.2 allows to skip them.
#[test]
fn unknown_frames_are_skipped_but_not_those_of_agents() {
    let mut haproxy = Haproxy::established();
    assert!(matches!(haproxy.frame(FrameType(42), Flags::FIN, 1, 1), Ok(Event::Ignored)));
    for agents in [FrameType::AGENT_HELLO, FrameType::AGENT_DISCONNECT, FrameType::ACK] {
        assert_eq!(haproxy.frame(agents, Flags::FIN, 1, 1).unwrap_err(), ProtocolError::AgentFrame(agents));
    }
}

#[test]
fn ack_fits_counts_header_and_ids() {
    let haproxy = Haproxy::established();
    assert!(haproxy.session.ack_fits(1, 1, 16_380 - 7));
    assert!(!haproxy.session.ack_fits(1, 1, 16_380 - 6));
    assert!(!haproxy.session.ack_fits(240, 1, 16_380 - 7));
    assert!(!haproxy.session.ack_fits(1, 1, usize::MAX));
}

#[test]
fn room_ends_with_the_configured_number_in_flight() {
    let mut haproxy = Haproxy::connect_to(SessionConfig { max_in_flight: 2, ..SessionConfig::default() });
    haproxy.hello(&offer()).unwrap();
    haproxy.agent_hello();
    haproxy.notify(1, 1).unwrap();
    assert!(haproxy.session.has_room());
    haproxy.notify(3, 1).unwrap();
    assert!(!haproxy.session.has_room());
    haproxy.ack(1, 1);
    assert!(haproxy.session.has_room());
}
