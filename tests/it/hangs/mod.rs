//! What blocks: readers that have stalled, files that are none, peers that hang. Nothing waits for them, and signals always act.

mod files;
mod logs;
mod output;
mod sockets;
