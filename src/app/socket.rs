//! The sockets of listeners. The file of a Unix socket is looked after: one that is gone, or has another in its place, can be reached by
//! nobody, and is bound again.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior};

use super::bind::{BindError, bind_at, touch};
use crate::admin::State;
use crate::agent::{Listener, Socket, SocketFile, SocketListener};
use crate::config::Bind;

/// Between two looks at the file.
const INTERVAL: Duration = Duration::from_secs(1);

/// The file of a socket that is listened on, which outlives it.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept(Arc<Mutex<Option<SocketFile>>>);

impl Kept {
    fn replace(&self, file: Option<SocketFile>) -> Option<SocketFile> {
        std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), file)
    }

    /// Removes the file, if it is still there.
    pub(super) async fn remove(self) {
        if let Some(file) = self.replace(None) {
            // Without an answer it stays, and is replaced by the next process.
            let _ = touch("the folder of a socket".to_owned(), move || drop(file)).await;
        }
    }
}

/// A socket at its address, for as long as it is listened on.
#[derive(Debug)]
pub(super) struct Published {
    place: String,
    bind: Bind,
    socket: SocketListener,
    file: Kept,
    ticks: Interval,
    state: Arc<State>,
    is_lost: bool,
}

impl Published {
    /// `place` is where the configuration says it.
    pub(super) fn new(place: String, bind: &Bind, mut socket: SocketListener, state: &Arc<State>) -> Self {
        let file = Kept::default();
        file.replace(socket.take_file());
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { place, bind: bind.clone(), socket, file, ticks, state: Arc::clone(state), is_lost: false }
    }

    pub(super) fn file(&self) -> Kept {
        self.file.clone()
    }

    /// Puts another socket in the place of one whose file is gone. If that cannot be done it is told, and tried again.
    async fn bind_again(&mut self) {
        match bind_at(&self.place, &self.bind).await {
            Ok(mut socket) => {
                tracing::warn!(
                    listener = self.place,
                    address = socket.address(),
                    "the socket's file was removed or replaced, bound again"
                );
                // The old one is another's, or gone.
                let before = self.file.replace(socket.take_file());
                let _ = touch("the folder of a socket".to_owned(), move || drop(before)).await;
                self.socket = socket;
                self.is_lost = false;
                self.state.set_unreachable(&self.place, None);
            }
            Err(error) => self.lose(&error),
        }
    }

    fn lose(&mut self, error: &BindError) {
        if !std::mem::replace(&mut self.is_lost, true) {
            tracing::error!(%error, "the socket's file was removed or replaced, and cannot be bound again; trying on");
        }
        self.state.set_unreachable(&self.place, Some(error.to_string()));
    }
}

/// Waits until the file is gone.
async fn lost(file: &Kept, ticks: &mut Interval) {
    loop {
        ticks.tick().await;
        let place = file.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(SocketFile::place);
        let Some(place) = place else { return std::future::pending().await };
        // Without an answer nothing is known.
        if touch("the folder of a socket".to_owned(), move || place.is_kept()).await == Ok(false) {
            return;
        }
    }
}

impl Listener for Published {
    type Stream = Socket;

    async fn accept(&mut self) -> io::Result<(Socket, String)> {
        loop {
            tokio::select! {
                biased;
                accepted = self.socket.accept() => return accepted,
                () = lost(&self.file, &mut self.ticks) => {}
            }
            self.bind_again().await;
        }
    }
}

impl AsFd for Published {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        self.state.set_unreachable(&self.place, None);
    }
}
