//! `bench` against agents that go away, say what nobody asked, or can do little.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::super::{code, spop_bridge};
use super::bench;
use crate::support::free_address;
use crate::support::garbage::TcpServer;
use crate::support::wire::{ACK, AGENT_DISCONNECT, AGENT_HELLO, Data, Frame, HAPROXY_HELLO, kv_list};

/// An agent that says `hello` and then does as the test says with each frame.
fn scripted(max_frame_size: u32, capabilities: &'static str, answer: fn(&mut TcpStream, Frame)) -> String {
    let server = TcpServer::start(move |mut socket| {
        while let Some(frame) = read_frame(&mut socket) {
            if frame.kind == HAPROXY_HELLO {
                let hello = [
                    ("version", "2.0".into()),
                    ("max-frame-size", Data::Uint32(max_frame_size)),
                    ("capabilities", capabilities.into()),
                ];
                send(&mut socket, &[Frame::new(AGENT_HELLO, 0, 0, kv_list(&hello))]);
            } else {
                answer(&mut socket, frame);
            }
        }
    });
    server.uri.trim_start_matches("http://").to_owned()
}

fn read_frame(socket: &mut TcpStream) -> Option<Frame> {
    let mut prefix = [0; 4];
    socket.read_exact(&mut prefix).ok()?;
    let mut body = vec![0; u32::from_be_bytes(prefix) as usize];
    socket.read_exact(&mut body).ok()?;
    Some(Frame::decode(&body))
}

fn send(socket: &mut TcpStream, frames: &[Frame]) {
    let _peer_may_be_gone = socket.write_all(&frames.iter().flat_map(Frame::encode).collect::<Vec<_>>());
}

fn ack(of: &Frame) -> Frame {
    Frame::new(ACK, of.stream, of.frame, Vec::new())
}

#[test]
fn an_agent_that_goes_away() {
    let polite = scripted(16_380, "pipelining", |socket, notify| match notify.stream {
        11 => {
            let why = [("status-code", Data::Uint32(13)), ("message", "no more memory".into())];
            send(socket, &[Frame::new(AGENT_DISCONNECT, 0, 0, kv_list(&why))]);
        }
        _ => send(socket, &[ack(&notify)]),
    });
    let (exit, report, err) = bench(&polite, &["--requests", "100", "--connections", "2", "--warmup", "0s"]);
    assert_eq!((exit, &report["errors"]["disconnected"]), (code::REFUSED, &2.into()));
    assert_eq!(report["decisions"], 10);
    assert!(err.contains("no more memory"), "{err}");

    let silent = scripted(16_380, "pipelining", |socket, _| socket.shutdown(std::net::Shutdown::Both).unwrap());
    let (exit, report, err) = bench(&silent, &["--duration", "1m", "--connections", "3"]);
    assert_eq!((exit, &report["errors"]["disconnected"]), (code::REFUSED, &3.into()), "in the warm-up: {err}");
}

#[test]
fn an_agent_that_answers_what_nobody_asked() {
    let twice = scripted(16_380, "pipelining", |socket, notify| send(socket, &[ack(&notify), ack(&notify)]));
    let (exit, report, err) = bench(&twice, &["--requests", "10", "--connections", "1", "--warmup", "0s"]);
    assert_eq!((exit, &report["decisions"]), (code::REFUSED, &10.into()));
    assert!(report["errors"]["unknown"].as_u64().unwrap() > 0);
    assert!(err.contains("ACKs answer no NOTIFY in flight, the first: stream id 1, frame id 1"), "{err}");

    let garbled = scripted(16_380, "pipelining", |socket, notify| {
        send(socket, &[Frame::new(ACK, notify.stream, notify.frame, vec![9, 9, 9])]);
    });
    let (exit, report, err) = bench(&garbled, &["--requests", "10", "--connections", "1", "--warmup", "0s"]);
    assert_eq!((exit, &report["errors"]["disconnected"]), (code::REFUSED, &1.into()));
    assert!(err.contains("unknown action type 9"), "{err}");
}

#[test]
fn what_the_agent_announces_is_kept_to() {
    let one_by_one = scripted(16_380, "", |socket, notify| {
        socket.set_nonblocking(true).unwrap();
        let early = socket.peek(&mut [0; 1]).is_ok();
        socket.set_nonblocking(false).unwrap();
        if !early {
            send(socket, &[ack(&notify)]);
        }
    });
    let arguments = ["bench", "--agent", &one_by_one, "--requests", "100", "--connections", "2", "--timeout", "2s"];
    let (exit, out, err) = spop_bridge(&arguments);
    assert_eq!(exit, code::SUCCESS, "{err}");
    assert!(out.contains("one in flight on 2 of them"), "{out}");

    let small = scripted(256, "pipelining", |_, _| {});
    let (exit, _, err) = spop_bridge(&["bench", "--agent", &small]);
    assert_eq!(exit, code::USAGE);
    assert!(err.contains("max-frame-size is 256"), "{err}");
}

#[test]
fn nobody_or_somebody_else_there() {
    let nobody = free_address().to_string();
    assert_eq!(spop_bridge(&["bench", "--agent", &nobody]).0, code::REFUSED);
    let mute = TcpServer::mute();
    let address = mute.uri.trim_start_matches("http://");
    let (exit, _, err) = spop_bridge(&["bench", "--agent", address, "--timeout", "200ms"]);
    assert_eq!(exit, code::NO_ANSWER);
    assert!(err.contains("no hello"), "{err}");
}
