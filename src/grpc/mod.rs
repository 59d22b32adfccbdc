//! The way to the decision services: connections, the choice among them, the two ways to carry a decision. Knows no frames and no
//! messages: the bytes of a request go out, those of a response or a [`CallError`] come back.
//!
//! ```text
//! Pool::decide ─▶ pick an endpoint's link ─┬▶ Decisions (stream.rs) ─▶ queue ─▶ link's task ══ one DecideStream ══▶ service
//!                                          └▶ unary.rs ═════════ one Decide call each, on the link's connection ══▶ service
//! ```
//!
//! HTTP/2 is the h2 crate's: the pool must see what tonic's and hyper's channels hide (GOAWAY on a connection with a live stream, which
//! request a service cannot have seen), and a decision must not pay for their queues.

mod adaptive;
mod admission;
mod allowance;
mod attempt;
mod backend;
mod backoff;
mod budget;
mod channel;
mod choice;
mod connect;
mod context;
mod deadlines;
mod discovery;
mod draining;
mod endpoint;
mod endpoints;
mod error;
mod framing;
mod health;
mod hedge;
pub(crate) mod item;
mod keepalive;
mod keeper;
mod latency;
mod link;
mod load;
mod log;
mod members;
mod outlier;
mod pool;
mod request;
mod resolver;
mod response;
mod silence;
mod status;
mod stream;
mod target;
mod tls;
mod trail;
mod unary;

pub(crate) use admission::Engine;
pub(crate) use backend::Backend;
pub(crate) use error::CallError;
pub(crate) use pool::Pool;
pub(crate) use request::Request;
pub(crate) use status::{BackendStatus, EndpointStatus};
pub(crate) use trail::Trail;
