//! HAProxy's own configuration: [`generate`] writes the part that belongs to this bridge, [`doctor`] reads what somebody else wrote.
//!
//! Texts in, texts out: no sockets and no files, so that everything here is tested on strings. What HAProxy itself says of
//! such texts (`haproxy -c`) is asked in `tests/it/haproxy_config`.

pub(crate) mod doctor;
pub(crate) mod generate;
mod path;
mod sample;
mod version;

pub(crate) use version::Version;
