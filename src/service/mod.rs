//! A decision service in Rust: one handler answers both methods of the contract.
//!
//! ```no_run
//! use spop_bridge::pb::v1::{DecideRequest, DecideResponse, Value};
//! use spop_bridge::service::{Context, Decisions, set_var};
//! use tonic::Status;
//!
//! async fn decide(request: DecideRequest, _context: Context) -> Result<DecideResponse, Status> {
//!     let path = request.arg("path").and_then(Value::as_str).unwrap_or_default();
//!     let guarded = path.split('/').any(|segment| segment.eq_ignore_ascii_case("admin"));
//!     Ok(DecideResponse { actions: vec![set_var("allow", !guarded)] })
//! }
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let decisions = Decisions::new(decide).into_server();
//! tonic::transport::Server::builder().add_service(decisions).serve("127.0.0.1:50051".parse()?).await?;
//! # Ok(())
//! # }
//! ```
//!
//! `Decide` is one call a decision. On `DecideStream` many decisions are under way at once: [`Decisions`] answers each when its
//! handler is done, in any order, and drops a handler's future when the bridge cancels the decision or its deadline passes.
//!
//! Whoever compiles the service brings the server: tonic's `transport`, as above, or hyper, for which
//! `DecisionServiceServer` is a tower service. `examples/rust` is complete, with health and an orderly stop.

mod context;
mod decider;
mod decisions;
mod in_flight;
mod stream;
mod values;

pub use self::context::Context;
pub use self::decider::{Decider, Spawned};
pub use self::decisions::Decisions;
pub use self::values::set_var;
