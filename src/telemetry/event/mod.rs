//! A value per kind of happening. Make it where it happens and call its `record`.

#[cfg(feature = "bridge")]
mod control;
#[cfg(feature = "bridge")]
mod decision;
#[cfg(feature = "bridge")]
mod discovery;
#[cfg(feature = "bridge")]
pub(super) mod export;
mod spop;

#[cfg(feature = "bridge")]
pub(crate) use control::*;
#[cfg(feature = "bridge")]
pub(crate) use decision::{
    AnswerCutShort, AttemptStarted, DecisionFailed, DecisionVariablesLeftOut, EndpointBack, EndpointDown, EndpointEjected,
    EndpointUp, LateAnswer, LeftOutReason, StreamRefused, UnknownAnswer,
};
#[cfg(feature = "bridge")]
pub(crate) use discovery::*;
#[cfg(feature = "bridge")]
pub(crate) use export::{ExportFailed, ExportRecovered, ExportRejected, NotFlushed};
pub(crate) use spop::*;
