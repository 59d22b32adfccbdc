//! The port for operators: whether it lives, whether it is ready, metrics, and what runs, over HTTP/1.1. Served on the control thread.
//!
//! Knows no sockets and nothing of how the bridge is put together: connections are handed in, and what runs is [published](State) as
//! whole values by who composed it.

mod answers;
mod guard;
mod places;
mod routes;
mod server;
mod state;

pub(crate) use places::Places;
pub(crate) use server::{Peer, serve};
pub(crate) use state::{Refused, Running, State};
