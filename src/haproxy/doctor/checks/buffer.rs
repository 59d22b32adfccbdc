//! HAProxy's buffers held against the frames that the bridge takes.

use super::super::case::Case;
use super::super::finding::{self, Findings};
use super::super::settings::{Setting, Settings};
use super::address::listeners;
use super::agent::BUFSIZE;
use super::backend::backends;
use super::body::largest;

pub(super) fn check(case: &Case<'_>, out: &mut Findings) {
    let Some(bridge) = case.bridge else { return };
    let line = case.config.global.line(&["tune.bufsize"]);
    let (Setting::Known(line), Setting::Known(buffer)) = (line, case.config.global.number(&["tune.bufsize"])) else { return };
    for (engine, backend) in backends(case) {
        let sized = engine.spoe.agent().is_some_and(|agent| agent.line(&["max-frame-size"]) != Setting::Unset);
        let reached = listeners(case, backend, bridge);
        let all = if reached.is_empty() { bridge.listeners.iter().collect() } else { reached };
        let Some(least) = all.into_iter().min_by_key(|listener| listener.max_frame_size) else { continue };
        let limit = u64::from(least.max_frame_size);
        let frame = buffer.saturating_sub(4);
        let moments = engine.moments(case);
        let Some(moment) = moments.iter().find(|moment| largest(moment, buffer) > limit) else { continue };
        if sized || frame <= limit || buffer <= BUFSIZE {
            continue;
        }
        let error = if case.version.has_mux() { 259 } else { 3 };
        out.add(
            &finding::BRIDGE_FRAME,
            line,
            format!("buffers have {buffer} bytes, and frames to the bridge's listener {} at most {limit}", least.bind),
            format!(
                "`{}` sends as much of a request as a buffer holds: a message above the limit is not sent, the error variable is {error} and the \
                 request goes on undecided, which a client can bring about",
                moment.name
            ),
            format!("max_frame_size: {}KiB, on that listener of the bridge; or bytes() around what is long", buffer.div_ceil(1024)),
        );
    }
}
