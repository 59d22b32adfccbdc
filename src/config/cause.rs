//! Why a decision failed: the closed set that fallback actions, metric labels, logs and the status variable share.

use std::fmt;

/// Why HAProxy gets fallback actions instead of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// The deadline passed, or the service answered DEADLINE_EXCEEDED.
    Timeout,
    /// No connection to the service, or it answered UNAVAILABLE.
    Unavailable,
    /// The bridge shed the call, or the service answered RESOURCE_EXHAUSTED.
    Overloaded,
    /// The service answered any other gRPC status but OK.
    Rejected,
    /// The service's answer cannot be sent to HAProxy: a bad name or value, or too long for a frame.
    InvalidResponse,
    /// No route wants the message.
    Unrouted,
    /// A bug of the bridge.
    Internal,
}

impl Cause {
    /// Every cause, in the order of declaration.
    pub const ALL: [Self; 7] = [
        Self::Timeout,
        Self::Unavailable,
        Self::Overloaded,
        Self::Rejected,
        Self::InvalidResponse,
        Self::Unrouted,
        Self::Internal,
    ];

    /// Those that a client can bring about by what it sends, for itself alone: a question that takes the service too long, one that the
    /// service trips over, one whose answer does not fit into a frame. Of the others the operator's systems are the reason, or many
    /// requests at once.
    pub const OF_CLIENTS: [Self; 3] = [Self::Timeout, Self::Rejected, Self::InvalidResponse];

    /// Those that a route can meet.
    pub const OF_ROUTES: [Self; 6] =
        [Self::Timeout, Self::Unavailable, Self::Overloaded, Self::Rejected, Self::InvalidResponse, Self::Internal];

    /// The name in configuration, labels, logs and the status variable.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
            Self::Overloaded => "overloaded",
            Self::Rejected => "rejected",
            Self::InvalidResponse => "invalid_response",
            Self::Unrouted => "unrouted",
            Self::Internal => "internal",
        }
    }

    /// The position in [`Cause::ALL`], for tables with an entry per cause.
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_complete_and_in_order() {
        for (index, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(cause.index(), index);
        }
    }

    #[test]
    fn names_are_distinct() {
        let mut names: Vec<_> = Cause::ALL.iter().map(|cause| cause.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Cause::ALL.len());
    }
}
