//! The sidecar from outside: its binary between HAProxy, real or scripted, and decision services, good or bad.
#![allow(clippy::unwrap_used, reason = "tests state their expectations by unwrapping, helpers of tests too")]

mod support;

mod allocations;
mod cli;
mod duties;
mod examples;
mod failing_services;
mod hostile_peers;
mod layering;
mod readme;
mod real_haproxy;
mod reload;
mod required;
mod service;
mod shutdown;
mod spop_differential;
mod stream;
mod unix_socket;
