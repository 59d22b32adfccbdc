//! The sidecar from outside: its binary between HAProxy, real or scripted, and decision services, good or bad.
#![cfg(feature = "bridge")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    reason = "tests state their expectations by panicking, helpers of tests too"
)]

mod support;

mod admin;
mod allocations;
mod cli;
mod discovery;
mod docs;
mod duties;
mod examples;
mod failing_services;
mod faults;
mod grpc_health;
mod hangs;
mod haproxy_config;
mod hostile_peers;
mod layering;
mod limits;
mod log_sites;
mod monitoring;
mod otlp;
mod readme;
mod real_haproxy;
mod reload;
mod required;
mod same_path;
mod service;
mod shutdown;
mod spop_differential;
mod stream;
mod systemd;
mod tls;
mod unix_socket;
mod why;
