//! Memory: of an agent that has done nothing yet, and of connections that HAProxy has opened and does not use.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::BytesMut;
use spop_bridge::spop::{Capabilities, Decoder, FrameType, HaproxyHello, Version};

use super::child::{Running, SPOP, Service};
use super::results::Figures;
use super::{Args, Fallible};

const CONNECTIONS: u32 = 2_000;
/// What HAProxy offers.
const FRAME_SIZE: u32 = 16_380;
/// For threads to come up, buffers to go back.
const REST: Duration = Duration::from_secs(1);

pub fn memory(args: &Args, start: impl FnOnce() -> Fallible<Running>) -> Fallible<Figures> {
    let _service = Service::start(args)?;
    let agent = start()?;
    std::thread::sleep(REST);
    let idle = agent.resident_kib()?;
    let connections = (0..CONNECTIONS).map(|_| connect()).collect::<Fallible<Vec<_>>>()?;
    std::thread::sleep(REST);
    let connected = agent.resident_kib()?;
    drop(connections);
    Ok(Figures::from([("idle_kib".into(), idle), ("connection_kib".into(), (connected - idle) / f64::from(CONNECTIONS))]))
}

/// A connection that is through HELLO.
fn connect() -> Fallible<TcpStream> {
    let mut socket = TcpStream::connect(("127.0.0.1", SPOP))?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    let hello = HaproxyHello {
        supported_versions: vec![Version::V2_0],
        max_frame_size: FRAME_SIZE,
        capabilities: Capabilities::PIPELINING,
        healthcheck: false,
        engine_id: Some("8c5a1f0e-6b1d-4c55-9d2e-2f6d0c8e4b7a".into()),
    };
    let (mut out, mut input, mut chunk) = (BytesMut::new(), BytesMut::new(), [0; 256]);
    hello.encode(&mut out);
    socket.write_all(&out)?;
    loop {
        let read = socket.read(&mut chunk)?;
        input.extend_from_slice(&chunk[..read]);
        match Decoder::new(FRAME_SIZE).decode(&mut input)? {
            Some(frame) if frame.metadata.frame_type == FrameType::AGENT_HELLO => return Ok(socket),
            Some(frame) => return Err(format!("the agent said {:?} instead of hello", frame.metadata.frame_type).into()),
            None if read == 0 => return Err("the agent closed the connection instead of saying hello".into()),
            None => {}
        }
    }
}
