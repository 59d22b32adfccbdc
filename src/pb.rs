//! The contract with a decision service, generated from `proto/spopbridge/v1/decision.proto`.
//!
//! Generated code only: message types, the client, and the server trait of `DecisionService`. What a field means is
//! documented in the `.proto` file, whose comments are kept here. `bytes` fields are [`bytes::Bytes`].

pub use self::spopbridge::v1;

/// Messages of Google's common types that the contract uses.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
pub mod google {
    /// Package `google.rpc`.
    pub mod rpc {
        tonic::include_proto!("google.rpc");
    }
}

/// The contract, one module per version.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
pub mod spopbridge {
    /// Package `spopbridge.v1`.
    pub mod v1 {
        tonic::include_proto!("spopbridge.v1");
    }
}
