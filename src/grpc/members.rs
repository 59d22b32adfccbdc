//! The servers of a backend, as the control thread knows them and all workers are told.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use http::uri::Authority;
use tokio::sync::{Notify, watch};

use super::connect::Connector;
use super::keeper;
use super::resolver::Dns;
use crate::config::BackendConfig;

/// All servers of a backend at one moment. Replaced as a whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Members {
    /// No address twice; in the order of the configuration, those of one name in the order of addresses.
    pub(super) list: Arc<[Member]>,
    /// A name has had no answer yet: there may be more members in a moment.
    pub(super) resolving: bool,
    /// A name that never had an answer with addresses: the first of them.
    pub(super) unresolved: Option<Unresolved>,
}

/// A name without addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unresolved {
    /// As it is written in the configuration.
    pub(super) endpoint: Arc<str>,
    pub(super) reason: Arc<str>,
}

/// One server that takes a backend's decisions.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Member {
    pub(super) address: Address,
    pub(super) health: Health,
}

/// Where a server is. What identifies a member.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Address {
    /// `host:port`, which the operating system resolves at each connect.
    Host(Authority),
    /// One of the addresses that DNS has for a name; the authority is what the operator wrote.
    Resolved {
        address: SocketAddr,
        authority: Authority,
    },
    Unix(PathBuf),
}

/// Whether a server says that it can serve.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Health {
    /// It has not been asked yet, and is to be.
    Unknown,
    /// It says so, or nobody asks.
    Serving,
    /// It says that it does not, or could not be asked.
    NotServing(Arc<str>),
}

impl Address {
    /// What requests name as their authority, and what a certificate is for.
    pub(super) fn authority(&self) -> Authority {
        match self {
            Self::Host(authority) | Self::Resolved { authority, .. } => authority.clone(),
            // What gRPC libraries send for a Unix socket.
            Self::Unix(_) => Authority::from_static("localhost"),
        }
    }
}

/// For logs and errors.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(authority) => write!(f, "http://{authority}"),
            Self::Resolved { address, authority } => write!(f, "dns:///{authority} ({address})"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The members of a backend, kept current by a task of the runtime that this is called in, until all receivers are gone.
///
/// The other is to be notified when a worker could not connect to a member, or lost a connection: the set may be out of date.
pub(super) fn watch(config: &BackendConfig, connector: &Arc<Connector>) -> (watch::Receiver<Members>, Arc<Notify>) {
    keeper::watch(config, connector, Arc::new(Dns))
}
