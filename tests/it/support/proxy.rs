//! A bad network between two who speak TCP: it delays, stalls, throttles, and ends connections in every way.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// How the network is at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Weather {
    /// For every byte, in each direction.
    pub(crate) delay: Duration,
    /// Nothing passes, and nobody is told. What is under way arrives when it is over.
    pub(crate) stalled: bool,
    /// In each direction of each connection.
    pub(crate) bytes_per_second: Option<usize>,
}

/// What happens to the connections that there are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fate {
    /// RST to both sides.
    Reset,
    /// The client hears FIN; what it says is read and goes nowhere.
    HalfClose,
    /// Nothing passes any more, ever: as when the other host has lost its power, but for the acknowledgements.
    Forgotten,
}

/// A running proxy for one server.
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    _runtime: Runtime,
}

struct Shared {
    weather: watch::Sender<Weather>,
    /// A connection sees only what comes after its start.
    fate: watch::Sender<Option<Fate>>,
    /// Bytes for the client until the connection is closed, in the middle of whatever it is; none below zero.
    left: AtomicI64,
    accepted: AtomicUsize,
    open: AtomicUsize,
}

/// More than any test sends.
const ENDLESS: i64 = i64::MAX / 2;

impl Proxy {
    /// In front of `http://host:port`.
    pub(crate) fn to(uri: &str) -> Proxy {
        let server: SocketAddr = uri.trim_start_matches("http://").parse().expect("an address with http://");
        let listener = super::host::listen((Ipv4Addr::LOCALHOST, 0).into());
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let shared = Arc::new(Shared {
            weather: watch::Sender::default(),
            fate: watch::Sender::new(None),
            left: AtomicI64::new(ENDLESS),
            accepted: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
        });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let all = Arc::clone(&shared);
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((client, _)) = listener.accept().await {
                all.accepted.fetch_add(1, Ordering::Relaxed);
                let shared = Arc::clone(&all);
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(server).await {
                        shared.open.fetch_add(1, Ordering::Relaxed);
                        carry(client, server, &shared).await;
                        shared.open.fetch_sub(1, Ordering::Relaxed);
                    }
                });
            }
        });
        Proxy { address, shared, _runtime: runtime }
    }

    pub(crate) fn uri(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn set(&self, weather: Weather) {
        self.shared.weather.send_replace(weather);
    }

    /// For all connections that are open now.
    pub(crate) fn seal(&self, fate: Fate) {
        self.shared.fate.send_replace(Some(fate));
    }

    /// The connection that carries the byte after so many more to the client is closed before it.
    pub(crate) fn cut_after(&self, bytes: i64) {
        self.shared.left.store(bytes, Ordering::Relaxed);
    }

    /// Connections so far.
    pub(crate) fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Connections that have not ended.
    pub(crate) fn open(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }
}

/// Until one side closes, or the connection's fate is sealed.
async fn carry(mut client: TcpStream, mut server: TcpStream, shared: &Shared) {
    let mut fate = shared.fate.subscribe();
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let fate = {
        let ((from_client, mut to_client), (from_server, mut to_server)) = (client.split(), server.split());
        tokio::select! {
            () = pump(from_client, &mut to_server, shared, None) => None,
            () = pump(from_server, &mut to_client, shared, Some(&shared.left)) => None,
            Ok(()) = fate.changed() => *fate.borrow(),
        }
    };
    match fate {
        None => {}
        Some(Fate::Reset) => {
            for socket in [&client, &server] {
                SockRef::from(socket).set_linger(Some(Duration::ZERO)).unwrap();
            }
        }
        Some(Fate::HalfClose) => {
            let _gone_already = client.shutdown().await;
            while matches!(client.read(&mut [0; 4096]).await, Ok(1..)) {}
        }
        Some(Fate::Forgotten) => {
            // As kernels go on acknowledging.
            while matches!(client.read(&mut [0; 4096]).await, Ok(1..)) {}
        }
    }
}

/// Carries bytes one way, as the weather allows.
async fn pump(mut from: impl AsyncRead + Unpin, to: &mut (impl AsyncWrite + Unpin), shared: &Shared, left: Option<&AtomicI64>) {
    let (send, mut receive) = mpsc::channel::<(Instant, Vec<u8>)>(64);
    let read = async move {
        loop {
            let size = shared.weather.borrow().bytes_per_second.map_or(16_384, |rate| rate / 20 + 1);
            let mut buffer = vec![0; size];
            let Ok(count @ 1..) = from.read(&mut buffer).await else { return };
            buffer.truncate(count);
            let due = Instant::now() + shared.weather.borrow().delay;
            if send.send((due, buffer)).await.is_err() {
                return;
            }
        }
    };
    let write = async {
        while let Some((due, bytes)) = receive.recv().await {
            tokio::time::sleep_until(due).await;
            let mut weather = shared.weather.subscribe();
            let calm = weather.wait_for(|weather| !weather.stalled).await.map(|weather| *weather).unwrap_or_default();
            if let Some(rate) = calm.bytes_per_second {
                tokio::time::sleep(Duration::from_secs_f64(bytes.len() as f64 / rate as f64)).await;
            }
            let count = i64::try_from(bytes.len()).unwrap();
            let room = left.map_or(count, |left| left.fetch_sub(count, Ordering::Relaxed));
            let whole = room >= count;
            let part = bytes.get(..usize::try_from(room.clamp(0, count)).unwrap()).unwrap();
            if to.write_all(part).await.is_err() {
                return;
            }
            if !whole {
                // Only this connection.
                left.unwrap().store(ENDLESS, Ordering::Relaxed);
                return;
            }
        }
    };
    let read = async {
        read.await;
        // Closed by one side: what is under way arrives.
        std::future::pending().await
    };
    tokio::select! {
        () = write => {}
        () = read => {}
    }
}
