//! HTTP/2 servers in the test's process, each on a runtime of its own, so that one can be killed as a process would be.
//!
//! Driven by hyper without tonic's transport: that one enforces `grpc-timeout` by itself, which would hide whether the bridge cancels.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use spop_bridge::agent::rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tower::Service as TowerService;

use super::tls::Seen;

/// Where a server is bound.
pub(crate) enum Bound {
    Tcp(TcpListener),
    Unix(UnixListener),
    /// TCP with TLS, and what was seen of clients whose handshake went well.
    Tls(TcpListener, Arc<ServerConfig>, Arc<Mutex<Vec<Seen>>>),
    UnixTls(UnixListener, Arc<ServerConfig>),
}

impl Bound {
    pub(crate) fn tcp() -> Bound {
        Bound::at((Ipv4Addr::LOCALHOST, 0).into())
    }

    pub(crate) fn at(address: SocketAddr) -> Bound {
        Bound::Tcp(listen(address))
    }

    pub(crate) fn unix(path: &Path) -> Bound {
        Bound::Unix(UnixListener::bind(path).expect("bind a test server"))
    }

    pub(crate) fn tls(config: Arc<ServerConfig>) -> (Bound, Arc<Mutex<Vec<Seen>>>) {
        Bound::tls_at((Ipv4Addr::LOCALHOST, 0).into(), config)
    }

    pub(crate) fn tls_at(address: SocketAddr, config: Arc<ServerConfig>) -> (Bound, Arc<Mutex<Vec<Seen>>>) {
        let seen = Arc::default();
        (Bound::Tls(listen(address), config, Arc::clone(&seen)), seen)
    }

    /// As `endpoints` in the bridge's configuration has it.
    fn uri(&self) -> String {
        match self {
            Bound::Tls(listener, ..) => format!("https://{}", listener.local_addr().unwrap()),
            Bound::Tcp(listener) => format!("http://{}", listener.local_addr().unwrap()),
            Bound::Unix(listener) | Bound::UnixTls(listener, _) => {
                format!("unix:{}", listener.local_addr().unwrap().as_pathname().unwrap().display())
            }
        }
    }
}

/// Listens, also where somebody else did a moment ago: a child that another test has just forked may still hold that socket.
pub(super) fn listen(address: SocketAddr) -> TcpListener {
    super::eventually(Duration::from_secs(5), || TcpListener::bind(address).ok())
        .unwrap_or_else(|| panic!("cannot bind {address}"))
}

/// Older than any test.
pub(crate) const FOREVER: Duration = Duration::from_secs(3600);

/// A running server.
pub(crate) struct Host {
    uri: String,
    connections: Arc<AtomicUsize>,
    retired: watch::Sender<bool>,
    runtime: Option<Runtime>,
}

impl Host {
    /// Serves HTTP/2 to everyone who connects. A connection that is `max_age` old is ended with GOAWAY: what is in flight is
    /// finished.
    pub(crate) fn start<S, B>(bound: Bound, max_age: Duration, service: S) -> Host
    where
        S: TowerService<http::Request<Incoming>, Response = http::Response<B>, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send,
        B: hyper::body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let uri = bound.uri();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let (retired, retiring) = watch::channel(false);
        runtime.spawn(async move {
            let mut told = retiring.clone();
            let accept = async {
                match bound {
                    Bound::Tcp(listener) => {
                        listener.set_nonblocking(true).unwrap();
                        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                        while let Ok((socket, _)) = listener.accept().await {
                            socket.set_nodelay(true).unwrap();
                            counter.fetch_add(1, Ordering::Relaxed);
                            tokio::spawn(serve(socket, max_age, retiring.clone(), service.clone()));
                        }
                    }
                    Bound::Tls(listener, config, seen) => {
                        listener.set_nonblocking(true).unwrap();
                        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                        while let Ok((socket, _)) = listener.accept().await {
                            socket.set_nodelay(true).unwrap();
                            counter.fetch_add(1, Ordering::Relaxed);
                            let (seen, retiring, service) = (Arc::clone(&seen), retiring.clone(), service.clone());
                            let accepted = TlsAcceptor::from(Arc::clone(&config)).accept(socket);
                            tokio::spawn(async move {
                                let Ok(stream) = accepted.await else { return };
                                seen.lock().unwrap().push(Seen::of(stream.get_ref().1));
                                serve(stream, max_age, retiring, service).await;
                            });
                        }
                    }
                    Bound::UnixTls(listener, config) => {
                        listener.set_nonblocking(true).unwrap();
                        let listener = tokio::net::UnixListener::from_std(listener).unwrap();
                        while let Ok((socket, _)) = listener.accept().await {
                            counter.fetch_add(1, Ordering::Relaxed);
                            if let Ok(stream) = TlsAcceptor::from(Arc::clone(&config)).accept(socket).await {
                                tokio::spawn(serve(stream, max_age, retiring.clone(), service.clone()));
                            }
                        }
                    }
                    Bound::Unix(listener) => {
                        listener.set_nonblocking(true).unwrap();
                        let listener = tokio::net::UnixListener::from_std(listener).unwrap();
                        while let Ok((socket, _)) = listener.accept().await {
                            counter.fetch_add(1, Ordering::Relaxed);
                            tokio::spawn(serve(socket, max_age, retiring.clone(), service.clone()));
                        }
                    }
                }
            };
            tokio::select! {
                () = accept => {}
                _ = told.wait_for(|retired| *retired) => {}
            }
        });
        Host { uri, connections, retired, runtime: Some(runtime) }
    }

    /// As `endpoints` in the bridge's configuration has it.
    pub(crate) fn uri(&self) -> &str {
        &self.uri
    }

    /// How many connections were accepted.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Listens no more, and ends its connections with GOAWAY: what is in flight is finished.
    pub(crate) fn retire(&self) {
        self.retired.send_replace(true);
    }

    /// Gone, with whatever was in flight, as if the process had been killed. The address is free afterwards.
    pub(crate) fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn serve<S, B>(
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    max_age: Duration,
    mut retiring: watch::Receiver<bool>,
    service: S,
) where
    S: TowerService<http::Request<Incoming>, Response = http::Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: hyper::body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let mut connection = pin!(
        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .max_concurrent_streams(1000)
            .serve_connection(TokioIo::new(socket), TowerToHyperService::new(service))
    );
    tokio::select! {
        _ended = connection.as_mut() => return,
        () = tokio::time::sleep(max_age) => {}
        _ = retiring.wait_for(|retired| *retired) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _peer_went_away = connection.await;
}
