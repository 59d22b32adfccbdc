//! A DNS server in the test's process, over UDP and TCP, that answers what a test tells it to.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{CNAME, SRV};
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// How the server treats questions for a name.
#[derive(Clone)]
pub(crate) enum Reply {
    /// These records, whatever type is asked for: resolvers pick what they need.
    Records(Vec<Record>),
    NoSuchName,
    ServerFailure,
    Silence,
    Late(Duration, Box<Reply>),
    /// Cut off over UDP, whole over TCP.
    Truncated(Vec<Record>),
    /// Bytes that are no answer, behind the id of the question.
    Garbage(Vec<u8>),
}

#[derive(Default)]
struct State {
    names: Mutex<HashMap<String, Reply>>,
    questions: AtomicUsize,
    over_tcp: AtomicUsize,
    stopped: AtomicBool,
}

/// A running server. Gone when dropped.
pub(crate) struct Dns {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

impl Dns {
    pub(crate) fn start() -> Dns {
        let bind = || {
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            let tcp = TcpListener::bind(udp.local_addr().unwrap()).ok()?;
            Some((udp, tcp))
        };
        let (udp, tcp) = super::eventually(Duration::from_secs(5), bind).expect("a port for UDP and TCP");
        Dns::serve(udp, tcp)
    }

    fn serve(udp: UdpSocket, tcp: TcpListener) -> Dns {
        let address = udp.local_addr().unwrap();
        let state = Arc::new(State::default());
        udp.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        tcp.set_nonblocking(true).unwrap();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || serve_udp(&udp, &shared));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || serve_tcp(&tcp, &shared));
        Dns { address, state }
    }

    pub(crate) fn set(&self, name: &str, reply: Reply) {
        self.state.names.lock().unwrap().insert(name.to_lowercase(), reply);
    }

    /// These addresses, valid for no time at all: the bridge asks as often as it allows itself.
    pub(crate) fn set_addresses(&self, name: &str, addresses: &[IpAddr]) {
        self.set(name, Reply::Records(addresses.iter().map(|ip| host(name, 0, *ip)).collect()));
    }

    pub(crate) fn questions(&self) -> usize {
        self.state.questions.load(Ordering::SeqCst)
    }

    pub(crate) fn over_tcp(&self) -> usize {
        self.state.over_tcp.load(Ordering::SeqCst)
    }

    /// Waits until it was asked at least so many more times.
    #[track_caller]
    pub(crate) fn wait_for_questions(&self, more: usize) {
        let goal = self.questions() + more;
        let asked = super::eventually(Duration::from_secs(20), || (self.questions() >= goal).then_some(()));
        assert!(asked.is_some(), "{} questions, expected {goal}", self.questions());
    }

    /// Listens no more.
    pub(crate) fn stop(&self) {
        self.state.stopped.store(true, Ordering::SeqCst);
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.stop();
    }
}

pub(crate) fn host(name: &str, ttl: u32, ip: IpAddr) -> Record {
    Record::from_rdata(fqdn(name), ttl, ip.into())
}

pub(crate) fn cname(name: &str, to: &str) -> Record {
    Record::from_rdata(fqdn(name), 0, RData::CNAME(CNAME(fqdn(to))))
}

pub(crate) fn srv(name: &str, priority: u16, port: u16, target: &str) -> Record {
    Record::from_rdata(fqdn(name), 0, RData::SRV(SRV::new(priority, 0, port, fqdn(target))))
}

fn fqdn(name: &str) -> Name {
    Name::from_str(&format!("{}.", name.trim_end_matches('.'))).unwrap()
}

fn serve_udp(socket: &UdpSocket, state: &Arc<State>) {
    let mut buffer = [0; 4096];
    while !state.stopped.load(Ordering::SeqCst) {
        let Ok((length, peer)) = socket.recv_from(&mut buffer) else { continue };
        let (question, state, socket) = (buffer[..length].to_vec(), Arc::clone(state), socket.try_clone().unwrap());
        std::thread::spawn(move || {
            if let Some(answer) = answer(&question, &state, false) {
                let _peer_is_gone = socket.send_to(&answer, peer);
            }
        });
    }
}

fn serve_tcp(listener: &TcpListener, state: &Arc<State>) {
    while !state.stopped.load(Ordering::SeqCst) {
        let Ok((mut socket, _)) = listener.accept() else {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        };
        let state = Arc::clone(state);
        std::thread::spawn(move || {
            socket.set_nonblocking(false).unwrap();
            let mut length = [0; 2];
            while socket.read_exact(&mut length).is_ok() {
                let mut question = vec![0; u16::from_be_bytes(length).into()];
                if socket.read_exact(&mut question).is_err() {
                    return;
                }
                state.over_tcp.fetch_add(1, Ordering::SeqCst);
                let Some(answer) = answer(&question, &state, true) else { return };
                let framed = [&u16::try_from(answer.len()).unwrap().to_be_bytes()[..], &answer].concat();
                if socket.write_all(&framed).is_err() {
                    return;
                }
            }
        });
    }
}

fn answer(question: &[u8], state: &State, over_tcp: bool) -> Option<Vec<u8>> {
    let question = Message::from_vec(question).ok()?;
    let query = question.queries.first()?.clone();
    state.questions.fetch_add(1, Ordering::SeqCst);
    let name = query.name().to_ascii().trim_end_matches('.').to_lowercase();
    let mut reply = state.names.lock().unwrap().get(&name).cloned().unwrap_or(Reply::NoSuchName);
    let mut answer = Message::response(question.metadata.id, OpCode::Query);
    answer.metadata.recursion_desired = true;
    answer.metadata.recursion_available = true;
    answer.add_query(query.clone());
    loop {
        match reply {
            Reply::Late(delay, then) => {
                std::thread::sleep(delay);
                reply = *then;
                continue;
            }
            Reply::Silence => return None,
            Reply::Garbage(bytes) => return Some([&question.metadata.id.to_be_bytes()[..], &bytes].concat()),
            Reply::NoSuchName => answer.metadata.response_code = ResponseCode::NXDomain,
            Reply::ServerFailure => answer.metadata.response_code = ResponseCode::ServFail,
            Reply::Truncated(_) if !over_tcp => answer.metadata.truncation = true,
            Reply::Records(records) | Reply::Truncated(records) => {
                let wanted = |record: &Record| [query.query_type(), RecordType::CNAME].contains(&record.record_type());
                answer.add_answers(records.into_iter().filter(wanted));
            }
        }
        return Some(answer.to_vec().unwrap());
    }
}
