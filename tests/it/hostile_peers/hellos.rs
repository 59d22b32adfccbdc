//! HELLO: missing, twice, or with something missing in it.

use super::{Scene, assert_allowed, status};
use crate::support::engine::{Engine, hello_frame, notify_frame};
use crate::support::wire::{self, Data, Frame};

fn hello(pairs: &[(&str, Data)]) -> Frame {
    Frame::new(wire::HAPROXY_HELLO, 0, 0, wire::kv_list(pairs))
}

fn refused(scene: &Scene, frame: &Frame) -> (u32, String) {
    let mut peer = scene.stranger();
    peer.send_frame(frame);
    let reason = peer.expect_disconnect();
    peer.expect_end();
    assert!(reason.1.len() <= 255, "3.0 and older refuse longer messages (d21)");
    assert!(!reason.1.is_empty());
    reason
}

#[test]
fn notify_before_hello() {
    let scene = Scene::new();
    assert_eq!(refused(&scene, &notify_frame(1, 1, &[("m", &[])])).0, status::INVALID);
    scene.finish();
}

#[test]
fn hello_twice() {
    let scene = Scene::new();
    let mut peer = scene.bridge.engine();
    assert_allowed(&mut peer, 1);
    peer.send_frame(&hello_frame(16380, "again"));
    assert_eq!(peer.expect_disconnect().0, status::INVALID);
    peer.expect_end();
    scene.finish();
}

/// d3, d6, SPOE §3.2.4: what is missing or wrong has a code of its own.
#[test]
fn d3_hello_with_something_missing_or_wrong() {
    let scene = Scene::new();
    let versions = || ("supported-versions", Data::from("2.0"));
    let size = || ("max-frame-size", Data::Uint32(16380));
    let capabilities = || ("capabilities", Data::from("pipelining"));
    let cases = [
        ("no versions", vec![size(), capabilities()], status::NO_VERSION),
        ("no max-frame-size", vec![versions(), capabilities()], status::NO_FRAME_SIZE),
        ("no capabilities", vec![versions(), size()], status::NO_CAPABILITIES),
        ("version 1.0 only", vec![("supported-versions", "1.0".into()), size(), capabilities()], status::BAD_VERSION),
        ("version 3.0 only", vec![("supported-versions", "3.0".into()), size(), capabilities()], status::BAD_VERSION),
        ("255 bytes", vec![versions(), ("max-frame-size", Data::Uint32(255)), capabilities()], status::BAD_FRAME_SIZE),
        ("0 bytes", vec![versions(), ("max-frame-size", Data::Uint32(0)), capabilities()], status::BAD_FRAME_SIZE),
        ("nothing", Vec::new(), status::NO_VERSION),
        ("version is a number", vec![("supported-versions", Data::Uint32(2)), size(), capabilities()], status::INVALID),
    ];
    for (what, pairs, expected) in cases {
        let (code, message) = refused(&scene, &hello(&pairs));
        // A value of the wrong type may be called missing or invalid.
        let fits = code == expected || what.ends_with("number") && code == status::NO_VERSION;
        assert!(fits, "{what}: {code} {message}");
    }
    scene.finish();
}

/// d6, d7: the offer comes back, unless it's more than the bridge accepts; unknown keys and capabilities are skipped.
#[test]
fn d6_the_offer_is_echoed() {
    let scene = Scene::new();
    for (offer, answer) in [(256, 256), (16380, 16380), (65_536, 65_536), (131_068, 131_068), (10_000_000, 131_072)] {
        let mut peer = scene.stranger();
        let pairs = peer.hello_with(offer, "x");
        assert!(pairs.contains(&("max-frame-size".into(), Data::Uint32(answer))), "{offer}: {pairs:?}");
        assert!(pairs.contains(&("version".into(), "2.0".into())), "{pairs:?}");
        // d9, d11, d12.
        assert!(pairs.contains(&("capabilities".into(), "pipelining".into())), "{pairs:?}");
        assert_eq!(pairs.len(), 3, "{pairs:?}");
    }
    let mut peer = scene.stranger();
    peer.send_frame(&hello(&[
        ("x-unknown", Data::Binary(vec![1, 2, 3])),
        ("supported-versions", " 1.0 , 2.0,3.1 ".into()),
        ("max-frame-size", Data::Uint32(16380)),
        ("capabilities", "async , fragmentation,telepathy".into()),
        ("x-other", Data::Null),
    ]));
    assert_eq!(peer.expect_frame().kind, wire::AGENT_HELLO);
    assert_allowed(&mut peer, 1);
    scene.finish();
}

/// d4, d5: no engine id, no capabilities, answered with all three keys, then closed.
#[test]
fn d5_health_check() {
    let scene = Scene::new();
    let mut peer = scene.stranger();
    let pairs = peer.health_check().expect("ready");
    let keys: Vec<_> = pairs.iter().map(|(key, _)| &key[..]).collect();
    for key in ["version", "max-frame-size", "capabilities"] {
        assert!(keys.contains(&key), "{keys:?}");
    }
    peer.expect_end();
    scene.finish();
}

/// SPOE §3.2.3: HAProxy may leave before or right after HELLO.
#[test]
fn d22_leaving_at_any_moment_is_no_fault() {
    let scene = Scene::new();
    drop(scene.stranger());
    drop(scene.bridge.engine());
    let mut peer = scene.bridge.engine();
    peer.finish_writing();
    peer.expect_end();
    let mut peer = Engine::connect(scene.address());
    peer.send(&hello_frame(16380, "x").encode()[..7]);
    drop(peer);
    scene.finish();
}
