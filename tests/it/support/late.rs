//! A service that answers every call, cancelled or not: raw HTTP/2, because every library holds an answer back once its call is reset. On
//! the network answers cross cancellations all the time.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use prost::Message;

use super::service::allow;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Counts its connections; ends with the test's process.
pub(crate) struct LateService {
    uri: String,
    connections: Arc<AtomicUsize>,
}

impl LateService {
    /// Answers `delay` after each call's headers.
    pub(crate) fn start(delay: Duration) -> LateService {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in listener.incoming() {
                counter.fetch_add(1, Ordering::Relaxed);
                let stream = stream.unwrap();
                // The other side may end the connection at any time.
                thread::spawn(move || serve(stream, delay).ok());
            }
        });
        LateService { uri, connections }
    }

    pub(crate) fn uri(&self) -> &str {
        &self.uri
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

fn serve(mut stream: TcpStream, delay: Duration) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    stream.read_exact(&mut [0; 24])?; // the preface
    stream.write_all(&frame(SETTINGS, 0, 0, &[]))?;
    let (calls, due) = std::sync::mpsc::channel::<(std::time::Instant, u32)>();
    let mut answers = stream.try_clone()?;
    thread::spawn(move || {
        for (at, id) in due {
            thread::sleep(at.saturating_duration_since(std::time::Instant::now()));
            if answers.write_all(&answer(id)).is_err() {
                return;
            }
        }
    });
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload)?;
        if head[3] == HEADERS {
            let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            calls.send((std::time::Instant::now() + delay, id)).ok();
        }
    }
}

fn answer(id: u32) -> Vec<u8> {
    let message = spop_bridge::pb::v1::DecideResponse { actions: vec![allow()] }.encode_to_vec();
    let mut data = vec![0];
    data.extend((message.len() as u32).to_be_bytes());
    data.extend(message);
    // HPACK: 0x88 is `:status: 200` of the static table, the rest are literals.
    let headers = [&[0x88][..], &literal("content-type", "application/grpc")].concat();
    [
        frame(HEADERS, END_HEADERS, id, &headers),
        frame(DATA, 0, id, &data),
        frame(HEADERS, END_HEADERS | END_STREAM, id, &literal("grpc-status", "0")),
    ]
    .concat()
}

fn literal(name: &str, value: &str) -> Vec<u8> {
    [&[0, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
}

fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &id.to_be_bytes(), payload].concat()
}
