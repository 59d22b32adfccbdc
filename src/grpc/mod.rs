//! The way to the decision services: connections, the choice among them, calls. Knows no frames and no messages: bytes go out
//! to a method, bytes or a [`CallError`] come back.

mod codec;
mod connect;
mod endpoint;
mod error;
mod pool;
mod unary;

pub(crate) use error::CallError;
pub(crate) use pool::Pool;
