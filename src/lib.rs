//! spop-bridge: decisions for HAProxy, from a gRPC service in any language.
//!
//! HAProxy hands decisions to agents over SPOP (its `doc/SPOE.txt`). This package is three things in one:
//!
//! - **the sidecar** `spop-bridge`: it terminates SPOP, turns each NOTIFY into a protobuf request for a decision service, and
//!   turns the answer into actions on the ACK;
//! - **an SPOP agent SDK**: [`spop`] is the protocol, pure; [`agent`] serves it on sockets. Both build alone, with
//!   `default-features = false`;
//! - **the service's side**, `service`: a decision service in Rust from one handler. It builds without the sidecar, with
//!   `default-features = false, features = ["service"]`.
//!
//! # The way of one NOTIFY
//!
//! ```text
//! HAProxy ──frames──▶ agent/connection ─▶ spop/session ─▶ bridge/route ─▶ bridge/request ─▶ grpc/pool ══▶ service
//!    ▲                       │ one write, many ACKs           │ deadline set here                              │
//!    └──────ACK──────────────┘◀── spop/ack ◀── bridge/response (or fallback, by cause) ◀───────────────────────┘
//! ```
//!
//! Start reading at `app`, which composes all of it, then follow the arrows. A module imports to its right only:
//! `cli → app → {worker, control} → {agent, bridge, admin} → grpc → tls → telemetry → config → {spop, pb, printable, protobuf, deadline, timer, shutdown}`.
//! `otlp` carries telemetry out, from below `cli` and above `tls`. `haproxy` writes and reads HAProxy's
//! configuration for `cli`, and knows only `config`. `service` stands beside them and knows only `pb` and `shutdown`; `internals` is for benchmarks and fuzz targets.
#![deny(missing_docs)]

#[cfg(feature = "bridge")]
mod admin;
pub mod agent;
#[cfg(feature = "bridge")]
mod app;
#[cfg(feature = "bridge")]
mod aside;
#[cfg(feature = "bridge")]
mod bridge;
#[cfg(feature = "bridge")]
pub mod cli;
#[cfg(feature = "bridge")]
pub mod config;
#[cfg(feature = "bridge")]
mod control;
#[cfg(feature = "bridge")]
mod deadline;
#[cfg(feature = "bridge")]
mod files;
#[cfg(feature = "bridge")]
mod grpc;
#[cfg(feature = "bridge")]
mod haproxy;
#[cfg(feature = "bridge")]
#[doc(hidden)]
pub mod internals;
#[cfg(feature = "bridge")]
mod otlp;
#[cfg(feature = "service")]
pub mod pb;
#[cfg(feature = "bridge")]
mod printable;
#[cfg(feature = "bridge")]
mod protobuf;
#[cfg(feature = "service")]
pub mod service;
pub mod shutdown;
pub mod spop;
mod telemetry;
mod timer;
#[cfg(feature = "bridge")]
mod tls;
#[cfg(feature = "bridge")]
mod worker;
