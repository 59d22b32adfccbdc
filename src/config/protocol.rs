//! How decisions are carried.

use schemars::JsonSchema;
use serde::Deserialize;

use super::names::names;

/// How decisions are carried to an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Protocol {
    /// The stream. A service that does not have it, or refuses it, is called by `Decide`, and asked again after a reconnect.
    #[default]
    Auto,
    /// A `Decide` call for each decision.
    Decide,
    /// One `DecideStream` for each worker, and nothing else.
    DecideStream,
}

names!(Protocol { Auto = "auto", Decide = "decide", DecideStream = "decide_stream" });
