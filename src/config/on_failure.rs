//! What HAProxy gets instead of a decision.

use super::cause::Cause;
use crate::spop::Actions;

/// The actions of every cause, encoded once when the configuration is read.
///
/// The status variable is not among them: one ACK may hold those of several routes, and gets it once. So they may be empty.
#[derive(Clone, Debug, PartialEq)]
pub struct OnFailure([Actions; Cause::ALL.len()]);

impl OnFailure {
    /// The actions that `of` says for each cause.
    pub fn new(of: impl FnMut(Cause) -> Actions) -> Self {
        Self(Cause::ALL.map(of))
    }

    /// The actions for `cause`.
    #[allow(clippy::indexing_slicing, reason = "there is an entry for each cause")]
    pub fn actions(&self, cause: Cause) -> &Actions {
        &self.0[cause.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spop::{TypedData, VarScope};

    #[test]
    fn every_cause_has_its_own_actions() {
        let status = |cause: Cause| {
            let mut actions = Actions::new();
            actions.set_var(VarScope::Transaction, "status", TypedData::String(cause.as_str().as_bytes())).unwrap();
            actions
        };
        let on_failure = OnFailure::new(status);
        for cause in Cause::ALL {
            assert_eq!(on_failure.actions(cause), &status(cause));
        }
    }
}
