//! Metrics: what is measured, once, for whoever reads it in whatever form.
//!
//! Instruments are sharded by thread, so that measuring shares nothing: a reader sums. Every label has its values from a closed set,
//! made of the configuration and of the enums here; nothing that a peer says becomes one. What is known only when somebody asks
//! (endpoints, memory) is [observed](Observe) then.

#[cfg(feature = "bridge")]
mod backend;
#[cfg(all(test, feature = "bridge"))]
mod conventions;
#[cfg(all(test, feature = "bridge"))]
mod documented;
#[cfg(feature = "bridge")]
mod export;
pub(crate) mod families;
mod instrument;
mod listener;
#[cfg(feature = "bridge")]
mod process;
mod registry;
#[cfg(feature = "bridge")]
mod route;
#[cfg(feature = "bridge")]
mod snapshot;
#[cfg(feature = "bridge")]
pub(crate) mod text;

#[cfg(feature = "bridge")]
pub(crate) use backend::{BackendMetrics, Method, Reason, code_name};
#[cfg(feature = "bridge")]
pub(crate) use export::{Exported, Signal};
#[cfg(feature = "bridge")]
pub(crate) use families::{Family, Kind};
#[cfg(feature = "bridge")]
pub(crate) use instrument::Distribution;
pub(crate) use instrument::{Counter, Histogram, UpDown};
pub(crate) use listener::{FrameKind, Hello, ListenerMetrics, Refusal, Side, Slot};
#[cfg(all(test, feature = "bridge"))]
pub(crate) use registry::series_made;
#[cfg(feature = "bridge")]
pub(crate) use registry::{Observe, observe};
pub(crate) use registry::{counter, histogram, up_down};
#[cfg(feature = "bridge")]
pub(crate) use route::RouteMetrics;
#[cfg(feature = "bridge")]
pub(crate) use snapshot::{Batch, Measured, Point, Snapshot, Value};
