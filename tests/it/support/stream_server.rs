//! A decision service whose `DecideStream`s a test answers itself, over HTTP/2 by h2 alone.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use spop_bridge::pb::v1::DecideResponse;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use super::say;
use super::service::allow;
use super::stream::{Control, PATIENCE, Stream, grpc, grpc_headers, status};

/// Hands the streams that the bridge opens to the test. Unary calls get `txn.allow`.
///
/// Its HTTP/2 windows are the smallest common ones, 64 KiB a stream: what it does not read, the bridge cannot send.
pub(crate) struct StreamServer {
    uri: String,
    opened: Mutex<Receiver<Stream>>,
    unary_calls: Arc<AtomicUsize>,
    runtime: Option<Runtime>,
}

impl StreamServer {
    pub(crate) fn start() -> StreamServer {
        StreamServer::at((Ipv4Addr::LOCALHOST, 0).into())
    }

    pub(crate) fn at(address: SocketAddr) -> StreamServer {
        let listener = super::host::listen(address);
        let uri = format!("http://{}", listener.local_addr().unwrap());
        listener.set_nonblocking(true).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (open, opened) = channel();
        let unary_calls = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&unary_calls);
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((socket, _)) = listener.accept().await {
                socket.set_nodelay(true).unwrap();
                tokio::spawn(connection(socket, open.clone(), Arc::clone(&count)));
            }
        });
        StreamServer { uri, opened: Mutex::new(opened), unary_calls, runtime: Some(runtime) }
    }

    pub(crate) fn uri(&self) -> &str {
        &self.uri
    }

    /// The next stream that the bridge opens.
    pub(crate) fn stream(&self) -> Stream {
        self.stream_within(PATIENCE).expect("the bridge opens a stream")
    }

    /// As `stream`; `None` if there is none in that time.
    pub(crate) fn stream_within(&self, patience: Duration) -> Option<Stream> {
        self.opened.lock().unwrap().recv_timeout(patience).ok()
    }

    pub(crate) fn unary_calls(&self) -> usize {
        self.unary_calls.load(Ordering::SeqCst)
    }

    /// Gone at once, as if the process had been killed.
    pub(crate) fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(PATIENCE);
        }
    }
}

impl Drop for StreamServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Serves one connection until it ends.
async fn connection(socket: TcpStream, open: Sender<Stream>, unary_calls: Arc<AtomicUsize>) {
    let Ok(mut connection) = h2::server::handshake(socket).await else { return };
    let control = Arc::new(Control::default());
    loop {
        let request = tokio::select! {
            request = connection.accept() => request,
            () = control.go_away.notified() => {
                connection.graceful_shutdown();
                continue;
            }
            () = control.lose.notified() => return,
        };
        let (request, respond) = match request {
            Some(Ok(request)) => request,
            Some(Err(error)) => return say(format_args!("connection of a StreamServer: {error}")),
            None => return,
        };
        let (head, requests) = request.into_parts();
        if head.uri.path().ends_with("/DecideStream") {
            let _test_is_over = open.send(Stream::new(head.headers, requests, respond, Arc::clone(&control)));
        } else {
            unary_calls.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(answer_unary(requests, respond));
        }
    }
}

async fn answer_unary(mut request: RecvStream, mut respond: SendResponse<Bytes>) {
    while let Some(Ok(data)) = request.data().await {
        let _at_the_end = request.flow_control().release_capacity(data.len());
    }
    if let Ok(mut answer) = respond.send_response(grpc_headers(), false) {
        let _cancelled = answer.send_data(grpc(&DecideResponse { actions: vec![allow()] }), false);
        let _cancelled = answer.send_trailers(status(0, ""));
    }
}
