//! Binding what the configuration says, and what to do where that cannot be had.
//!
//! What touches the files of sockets, or asks for users, is done aside: one thing at a time.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;

use crate::agent::{SocketListener, UnixSocket};
use crate::aside::{Aside, Unanswered, asking};
use crate::config::{Bind, ListenerConfig};

/// For the addresses of a name that is listened on.
const LOOKUP_LIMIT: Duration = Duration::from_secs(10);

/// Why a listener cannot be had.
#[derive(Debug, Error)]
pub(crate) enum BindError {
    #[error("{place}.bind: cannot listen on {bind}: {source}. {advice}")]
    Bind { place: String, bind: String, source: io::Error, advice: &'static str },
    /// Without the name, which may have come from the environment.
    #[error("{place}.unix.{kind}: no such {kind} on this system; use a number or another name")]
    UnknownOwner { place: String, kind: &'static str },
}

/// Binds what stands at `index` in the configuration.
pub(super) async fn bind(index: usize, listener: &ListenerConfig) -> Result<SocketListener, BindError> {
    bind_at(&format!("listeners[{index}]"), &listener.bind).await
}

/// Binds what stands at `place` in the configuration.
pub(super) async fn bind_at(place: &str, bind: &Bind) -> Result<SocketListener, BindError> {
    let bound = match bind {
        Bind::Tcp(address) => bind_tcp(address).await,
        Bind::Unix { path, mode, user, group } => {
            let (socket, user, group) = (UnixSocket::new(path).mode(*mode), user.clone(), group.clone());
            let bound = touch(path.display().to_string(), move || {
                let user = user.map(|name| user_id(&name).ok_or("user")).transpose()?;
                let group = group.map(|name| group_id(&name).ok_or("group")).transpose()?;
                Ok(SocketListener::bind_unix(&socket.owner(user, group)))
            });
            let bound = bound.await.unwrap_or_else(|error| Ok(Err(io::Error::new(io::ErrorKind::TimedOut, error))));
            bound.map_err(|kind| BindError::UnknownOwner { place: place.to_owned(), kind })?
        }
    };
    bound.map_err(|source| {
        let advice = advice(bind, &source);
        BindError::Bind { place: place.to_owned(), bind: bind.to_string(), source, advice }
    })
}

/// What to do about an address that cannot be had.
fn advice(bind: &Bind, error: &io::Error) -> &'static str {
    use io::ErrorKind::{
        AddrInUse, AddrNotAvailable, AlreadyExists, NotADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem, TimedOut,
    };
    match (bind, error.kind()) {
        (Bind::Tcp(_), AddrInUse) => {
            "Stop the process that listens there, which `ss -ltnp` shows (a listener of this one that is to go gives its address free after \
             the reload), or choose another address"
        }
        (Bind::Unix { .. }, AddrInUse) => {
            "Stop the process that listens there, which `ss -lxp` shows (a listener of this one that is to go gives its address free after \
             the reload), or choose another path"
        }
        (Bind::Tcp(_), PermissionDenied) => {
            "A port below 1024 needs the capability CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities=); or choose a port from 1024 on"
        }
        (Bind::Unix { .. }, PermissionDenied) => {
            "The bridge's user must be able to list its folder and to create files in it, and only root gives a socket to another user or to a \
             group that the bridge is not in; or choose another path"
        }
        (Bind::Tcp(_), AddrNotAvailable) => "Choose an address that this machine has, which `ip address` shows",
        (Bind::Tcp(_), TimedOut) => "See whether the name server answers, or write an IP address",
        (Bind::Tcp(_), _) => "Choose another address; a name must be one that this machine can resolve",
        (Bind::Unix { .. }, NotFound) => "Create the folder, or choose another path",
        (Bind::Unix { .. }, NotADirectory) => "Choose a path whose folder is one",
        (Bind::Unix { .. }, AlreadyExists) => "Remove what is there, or choose another path",
        (Bind::Unix { .. }, ReadOnlyFilesystem) => {
            "Mount a folder there that can be written (in Kubernetes an emptyDir), or choose another path"
        }
        (Bind::Unix { .. }, _) => "Choose another path",
    }
}

/// Binds the first of the addresses that `address` resolves to and that can be bound.
async fn bind_tcp(address: &str) -> io::Result<SocketListener> {
    let mut result = Err(io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address"));
    let found = tokio::time::timeout(LOOKUP_LIMIT, tokio::net::lookup_host(address)).await;
    let silent = |_| io::Error::new(io::ErrorKind::TimedOut, "the name is not resolved in time");
    let addresses: Vec<SocketAddr> = found.map_err(silent)??.collect();
    for address in addresses {
        result = SocketListener::bind_tcp(address);
        if result.is_ok() {
            break;
        }
    }
    result
}

fn user_id(name: &str) -> Option<u32> {
    name.parse().ok().or_else(|| nix::unistd::User::from_name(name).ok()?.map(|user| user.uid.as_raw()))
}

fn group_id(name: &str) -> Option<u32> {
    name.parse().ok().or_else(|| nix::unistd::Group::from_name(name).ok()?.map(|group| group.gid.as_raw()))
}

/// What touches the files of sockets.
static TOUCHING: tokio::sync::Mutex<Aside> = tokio::sync::Mutex::const_new(Aside::new());

/// Does `job`, which touches files of sockets, as `what` says.
pub(super) async fn touch<T: Send + 'static>(what: String, job: impl FnOnce() -> T + Send + 'static) -> Result<T, Unanswered> {
    let job = move || {
        let _asking = asking(what);
        job()
    };
    TOUCHING.lock().await.run(job).await
}
