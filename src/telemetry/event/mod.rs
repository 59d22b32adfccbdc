//! A value per kind of happening. Make it where it happens and call its `record`.

#[cfg(feature = "bridge")]
mod control;
#[cfg(feature = "bridge")]
mod decision;
mod spop;

#[cfg(feature = "bridge")]
pub(crate) use control::*;
#[cfg(feature = "bridge")]
pub(crate) use decision::{DecisionFailed, EndpointDown, EndpointUp, LateAnswer, StreamRefused, UnknownAnswer};
pub(crate) use spop::*;
