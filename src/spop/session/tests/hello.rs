//! HELLO: what is offered, answered, refused.

use super::super::super::error::DecodeError;
use super::*;

#[test]
fn d01_answer_is_one_whole_frame() {
    let mut haproxy = Haproxy::connect();
    haproxy.hello(&offer()).unwrap();
    haproxy.agent_hello();
    assert!(haproxy.out.is_empty());
    assert!(haproxy.session.is_established());
}

#[test]
fn d03_two_zero_is_found_in_the_list() {
    let versions = |list: &[u8]| HaproxyHello { supported_versions: Version::parse_list(list), ..offer() };
    for list in [&b"2.0"[..], b"1.0, 2.0", b"2.3", b"3.0,2.0"] {
        let mut haproxy = Haproxy::connect();
        assert!(haproxy.hello(&versions(list)).is_ok(), "{list:?}");
        assert_eq!(haproxy.agent_hello().version, Version::V2_0);
    }
    for list in [&b"1.0"[..], b"3.0", b"", b"two"] {
        let mut haproxy = Haproxy::connect();
        let error = haproxy.hello(&versions(list)).unwrap_err();
        assert_eq!(haproxy.fail(error).status, StatusCode::BAD_VERSION, "{list:?}");
    }
}

/// SPOP 1.0 sent its flags in host order, so FIN is not where it belongs.
#[test]
fn d03_flags_in_host_order_are_refused() {
    let error = Haproxy::connect().send_hex("00000007 01 01000000 00 00").unwrap_err();
    assert_eq!(error, ProtocolError::Fragmented);
}

#[test]
fn d04_health_check_is_answered_and_closed() {
    let mut haproxy = Haproxy::connect();
    assert!(matches!(haproxy.hello(&health_check()), Ok(Event::HealthCheck)));
    haproxy.agent_hello();
    assert!(haproxy.session.is_closed());
    assert!(!haproxy.session.disconnect(StatusCode::NORMAL, "", &mut haproxy.out), "SPOE §3.2.5: no DISCONNECT is needed");
    assert!(haproxy.out.is_empty());
}

/// The check offers 16380 even when `tune.bufsize` is 8192, and then refuses that answer.
#[test]
fn d04_health_check_answer_fits_every_bufsize() {
    let mut haproxy = Haproxy::connect();
    haproxy.hello(&health_check()).unwrap();
    assert_eq!(haproxy.agent_hello().max_frame_size, 256);
}

#[test]
fn d05_health_check_answer_has_capabilities() {
    let mut haproxy = Haproxy::connect();
    haproxy.hello(&health_check()).unwrap();
    assert_eq!(haproxy.agent_hello().capabilities, Capabilities::PIPELINING);
}

#[test]
fn d06_offered_frame_size_is_echoed() {
    for max_frame_size in [256, 8_188, 16_380, 65_532, 131_072] {
        let mut haproxy = Haproxy::connect();
        haproxy.hello(&HaproxyHello { max_frame_size, ..offer() }).unwrap();
        assert_eq!(haproxy.agent_hello().max_frame_size, max_frame_size);
        assert_eq!(haproxy.session.decoder_limit(), max_frame_size);
    }
}

#[test]
fn d07_offers_above_our_limit_are_answered_with_it() {
    let mut haproxy = Haproxy::connect();
    haproxy.hello(&HaproxyHello { max_frame_size: u32::MAX, ..offer() }).unwrap();
    assert_eq!(haproxy.agent_hello().max_frame_size, 131_072);
    assert_eq!(haproxy.session.negotiated().unwrap().max_frame_size, 131_072);
}

#[test]
fn d07_a_limit_below_256_counts_as_256() {
    let mut haproxy = Haproxy::connect_to(SessionConfig { max_frame_size: 1, ..SessionConfig::default() });
    haproxy.hello(&offer()).unwrap();
    assert_eq!(haproxy.agent_hello().max_frame_size, 256);
}

#[test]
fn d08_hello_is_bounded_more_tightly_than_what_follows() {
    let mut haproxy = Haproxy::connect();
    assert_eq!(haproxy.session.decoder_limit(), 4096);
    let error = haproxy.send_hex("00001001").unwrap_err();
    assert_eq!(error, DecodeError::FrameTooBig { len: 4097, max: 4096 }.into());
    assert_eq!(Haproxy::established().session.decoder_limit(), 16_380);
}

#[test]
fn d08_hello_is_bounded_by_the_config_too() {
    let mut haproxy = Haproxy::connect_to(SessionConfig { max_frame_size: 1024, ..SessionConfig::default() });
    let error = haproxy.send_hex("00000401").unwrap_err();
    assert_eq!(error, DecodeError::FrameTooBig { len: 1025, max: 1024 }.into());
    assert_eq!(haproxy.fail(error).status, StatusCode::TOO_BIG);
}

/// SPOE §3.2: the least size is 256 bytes.
#[test]
fn offers_below_256_are_refused() {
    let mut haproxy = Haproxy::connect();
    let error = haproxy.hello(&HaproxyHello { max_frame_size: 255, ..offer() }).unwrap_err();
    assert_eq!(haproxy.fail(error).status, StatusCode::BAD_FRAME_SIZE);
}

#[test]
fn d09_d11_d12_pipelining_alone_is_announced() {
    for (pipelining, fragmentation) in [(false, false), (true, true)] {
        let capabilities = Capabilities { pipelining, fragmentation, r#async: fragmentation };
        let mut haproxy = Haproxy::connect();
        haproxy.hello(&HaproxyHello { capabilities, ..offer() }).unwrap();
        assert_eq!(haproxy.agent_hello().capabilities, Capabilities::PIPELINING);
        assert_eq!(haproxy.session.negotiated().unwrap().offered, capabilities);
    }
}

#[test]
fn engine_id_is_remembered_by_every_notify() {
    let mut haproxy = Haproxy::connect_to(SessionConfig { listener: "main".into(), ..SessionConfig::default() });
    assert!(haproxy.session.engine_id().is_empty());
    haproxy.hello(&offer()).unwrap();
    let Ok(Event::Notify(notify)) = haproxy.notify(1, 1) else { panic!("a NOTIFY") };
    assert_eq!(Some(&notify.peer.engine_id), offer().engine_id.as_ref());
    assert_eq!((&*notify.peer.listener, &*notify.peer.address), ("main", "192.0.2.1:40000"));
    assert!(Arc::ptr_eq(&notify.peer, haproxy.session.peer()));
}

#[test]
fn an_agent_that_is_not_ready_fails_checks_and_serves() {
    let mut haproxy = Haproxy { ready: false, ..Haproxy::connect() };
    assert!(matches!(haproxy.hello(&offer()), Ok(Event::Established)));

    let mut haproxy = Haproxy { ready: false, ..Haproxy::connect() };
    assert!(matches!(haproxy.hello(&health_check()), Ok(Event::HealthCheck)));
    assert_eq!(haproxy.agent_disconnect().status, StatusCode::UNKNOWN);
}

/// Readiness is about new connections.
#[test]
fn an_established_connection_does_not_ask_for_readiness() {
    let mut haproxy = Haproxy { ready: false, ..Haproxy::established() };
    assert!(matches!(haproxy.notify(1, 1), Ok(Event::Notify(_))));
}

#[test]
fn mandatory_items_are_refused_with_their_codes() {
    let versions = "12 737570706f727465642d76657273696f6e73 08 03 322e30";
    let size = "0e 6d61782d6672616d652d73697a65 03 fcf006";
    let cases = [
        ("00000007 01 00000001 00 00".to_owned(), StatusCode::NO_VERSION),
        (format!("0000001f 01 00000001 00 00 {versions}"), StatusCode::NO_FRAME_SIZE),
        (format!("00000032 01 00000001 00 00 {versions} {size}"), StatusCode::NO_CAPABILITIES),
    ];
    for (wire, status) in cases {
        let mut haproxy = Haproxy::connect();
        let error = haproxy.send_hex(&wire).unwrap_err();
        assert_eq!(haproxy.fail(error).status, status);
    }
}

#[test]
fn nothing_comes_before_hello() {
    let mut haproxy = Haproxy::connect();
    assert_eq!(haproxy.notify(1, 1).unwrap_err(), ProtocolError::HelloExpected(FrameType::NOTIFY));
    let unknown = haproxy.frame(FrameType(42), Flags::FIN, 0, 0).unwrap_err();
    assert_eq!(haproxy.fail(unknown).status, StatusCode::INVALID);
}

#[test]
fn hello_comes_once_and_without_ids() {
    let mut haproxy = Haproxy::established();
    assert_eq!(haproxy.hello(&offer()).unwrap_err(), ProtocolError::HelloTwice);
    let with_ids = Haproxy::connect().frame(FrameType::HAPROXY_HELLO, Flags::FIN, 1, 0).unwrap_err();
    assert_eq!((with_ids, with_ids.status_code()), (ProtocolError::HelloWithIds, StatusCode::INVALID));
}
