//! What the process may use, and what it needs.

pub(crate) mod descriptors;
mod memory;
mod rights;
mod threads;
