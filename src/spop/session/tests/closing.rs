//! Farewells of either side.

use super::*;

#[test]
fn d23_haproxys_farewell_is_answered_after_the_last_ack() {
    let mut haproxy = Haproxy::established();
    haproxy.notify(1, 1).unwrap();
    let Ok(Event::Disconnected(disconnect)) = haproxy.disconnect(StatusCode::NORMAL) else { panic!("a farewell") };
    assert_eq!(disconnect.status, StatusCode::NORMAL);
    assert!(haproxy.out.is_empty(), "the ACK comes first");
    assert_eq!(haproxy.session.in_flight(), 1);
    assert!(haproxy.ack(1, 1));
    assert!(haproxy.session.disconnect(StatusCode::NORMAL, "", &mut haproxy.out));

    haproxy.expect(FrameType::ACK);
    assert_eq!(haproxy.agent_disconnect(), Disconnect::new(StatusCode::NORMAL, ""));
    assert!(haproxy.out.is_empty());
}

/// HAProxy does not like the answer to its HELLO (SPOE §3.2.3).
#[test]
fn d23_farewell_before_any_notify() {
    let mut haproxy = Haproxy::established();
    assert!(matches!(haproxy.disconnect(StatusCode::BAD_FRAME_SIZE), Ok(Event::Disconnected(_))));
    assert!(!haproxy.session.is_established());
    let mut haproxy = Haproxy::connect();
    assert!(matches!(haproxy.disconnect(StatusCode::TIMEOUT), Ok(Event::Disconnected(_))));
}

/// SPOE §3.2.8: all other frames will be ignored.
#[test]
fn d23_what_comes_after_a_farewell_is_ignored() {
    let mut haproxy = Haproxy::established();
    haproxy.disconnect(StatusCode::NORMAL).unwrap();
    assert!(matches!(haproxy.notify(1, 1), Ok(Event::Ignored)));
    assert_eq!(haproxy.session.in_flight(), 0);
}

#[test]
fn d24_draining_ends_with_code_0_behind_the_acks() {
    let mut haproxy = Haproxy::established();
    haproxy.notify(1, 1).unwrap();
    haproxy.notify(3, 1).unwrap();
    haproxy.ack(3, 1);
    haproxy.ack(1, 1);
    haproxy.session.disconnect(StatusCode::NORMAL, "normal", &mut haproxy.out);
    haproxy.expect(FrameType::ACK);
    haproxy.expect(FrameType::ACK);
    assert_eq!(haproxy.agent_disconnect().status, StatusCode::NORMAL);
}

#[test]
fn nothing_is_written_after_our_farewell() {
    let mut haproxy = Haproxy::established();
    haproxy.notify(1, 1).unwrap();
    assert!(haproxy.session.disconnect(StatusCode::IO, "x", &mut haproxy.out));
    assert!(!haproxy.session.disconnect(StatusCode::IO, "x", &mut haproxy.out));
    assert!(!haproxy.ack(1, 1));
    assert!(matches!(haproxy.notify(3, 1), Ok(Event::Ignored)));
    haproxy.agent_disconnect();
    assert!(haproxy.out.is_empty());
    assert_eq!((haproxy.session.in_flight(), haproxy.session.is_closed()), (0, true));
}

#[test]
fn d21_reasons_are_cut_to_what_haproxy_takes() {
    let mut haproxy = Haproxy::established();
    haproxy.session.disconnect(StatusCode::UNKNOWN, &"x".repeat(1000), &mut haproxy.out);
    assert_eq!(haproxy.agent_disconnect().message.len(), 255);
}
