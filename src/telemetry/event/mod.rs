//! A value per kind of happening. Make it where it happens and call its `record`.

#[cfg(feature = "bridge")]
mod control;
#[cfg(feature = "bridge")]
mod decision;
#[cfg(feature = "bridge")]
mod discovery;
mod spop;

#[cfg(feature = "bridge")]
pub(crate) use control::*;
#[cfg(feature = "bridge")]
pub(crate) use decision::{
    DecisionFailed, EndpointBack, EndpointDown, EndpointEjected, EndpointUp, LateAnswer, Retried, StreamRefused, UnknownAnswer,
};
#[cfg(feature = "bridge")]
pub(crate) use discovery::*;
pub(crate) use spop::*;
