//! The decision about the message `check-request` with the args `ip`, `path` and `token`.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use spop_bridge::pb::v1::{DecideRequest, DecideResponse, Value};
use spop_bridge::service::{Context, Decider, set_var};
use tonic::Status;

use crate::checks::{Blocklist, Keys, Limit, client_of};
use crate::watched::Watched;

pub(crate) struct CheckRequest {
    pub(crate) blocklist: Arc<Watched<Blocklist>>,
    pub(crate) keys: Arc<Watched<Keys>>,
    pub(crate) limit: Mutex<Limit>,
}

/// One function for both methods. An `async fn(DecideRequest, Context)` without state would do as well.
impl Decider for CheckRequest {
    async fn decide(&self, request: DecideRequest, _context: Context) -> Result<DecideResponse, Status> {
        if request.messages.iter().all(|message| message.name != "check-request") {
            return Ok(DecideResponse::default()); // not a question for this service: no opinion
        }
        let Some(path) = request.arg("path").and_then(Value::as_str) else {
            // The bridge answers HAProxy with the route's actions for `rejected`.
            return Err(Status::invalid_argument("check-request came without a path"));
        };
        let ip = request.arg("ip").and_then(address);
        let token = request.arg("token").and_then(Value::as_bytes).unwrap_or_default();
        let Verdict { allow, reason, score, retry_after } = self.verdict(ip, path, token);
        let mut actions = vec![set_var("allow", allow), set_var("reason", reason), set_var("score", score)];
        if let Some(retry_after) = retry_after {
            actions.push(set_var("retry_after", i64::try_from(retry_after.as_secs()).unwrap_or(i64::MAX)));
        }
        Ok(DecideResponse { actions })
    }
}

struct Verdict {
    allow: bool,
    reason: String,
    /// From 0 (harmless) to 100.
    score: i64,
    /// If rate-limited.
    retry_after: Option<Duration>,
}

impl CheckRequest {
    /// The rule itself.
    fn verdict(&self, ip: Option<IpAddr>, path: &str, token: &[u8]) -> Verdict {
        let verdict = |allow, reason: String, score| Verdict { allow, reason, score, retry_after: None };
        if let Some(entry) = self.blocklist.get().entry(ip) {
            return verdict(false, format!("listed: {entry}"), 100);
        }
        let keys = self.keys.get();
        let owner = keys.name_of(token);
        let client = owner.map_or_else(|| client_of(ip), |owner| format!("key {owner}"));
        // Before keys are judged, so that they cannot be guessed any faster.
        let retry_after = self.limit.lock().unwrap_or_else(PoisonError::into_inner).take(&client, Instant::now());
        if retry_after.is_some() {
            return Verdict { retry_after, ..verdict(false, "rate limit".into(), 50) };
        }
        // By segments: `//admin` and `/x/../admin` are the same place to most applications.
        if !path.split('/').any(|segment| segment.eq_ignore_ascii_case("admin")) {
            return verdict(true, "public path".into(), 0);
        }
        if owner.is_some() {
            return verdict(true, "token accepted".into(), 10);
        }
        let ip = ip.map_or_else(|| "unknown".into(), |ip| ip.to_string());
        verdict(false, format!("admin path without token from {ip}"), 100)
    }
}

/// An address, also one that came as text (`ip=req.hdr(x-real-ip)`). IPv4 in IPv6 (::ffff:192.0.2.1) is IPv4: HAProxy has it so on an
/// IPv6 socket.
pub(crate) fn address(value: &Value) -> Option<IpAddr> {
    let ip = value.as_ip().or_else(|| value.as_str()?.parse().ok())?;
    Some(ip.to_canonical())
}
