//! Fallbacks that may not fit into one frame together.

use std::collections::HashMap;

use super::Findings;
use super::actions::Fallback;
use crate::config::cause::Cause;
use crate::config::error::Warning;
use crate::config::haproxy::Moment;
use crate::config::model::{ListenerConfig, RouteConfig};
use crate::config::on_failure::OnFailure;
use crate::config::path::Path;
use crate::spop::Actions;
use crate::spop::frame::hello::MIN_FRAME_SIZE;
use crate::spop::frame::notify::MAX_MESSAGES;

/// Warns of listeners whose frames are too short for the fallbacks of all the routes that can be in one NOTIFY from there.
pub(super) fn warn(
    routes: &[RouteConfig],
    top: &OnFailure,
    fallback: &Fallback<'_>,
    listeners: &[ListenerConfig],
    bufsize: u32,
    findings: &mut Findings,
) {
    let (internal, room) = (top.actions(Cause::Internal).len_bytes(), fallback.room_in(MIN_FRAME_SIZE as usize));
    if internal > room {
        let message = format!(
            "takes {internal} bytes for internal, the smallest frame has {room} for them: at the end of a drain HAProxy gets \
             status_variable alone; shorter actions for internal"
        );
        findings.warnings.push(Warning { path: Path::root().key("on_failure"), message });
    }
    for (index, listener) in listeners.iter().enumerate() {
        // Four bytes of HAProxy's buffer are for the length of the frame.
        let frame = listener.max_frame_size.min(bufsize.saturating_sub(4)) as usize;
        let (longest, room) = (longest(routes, top, index), fallback.room_in(frame));
        if longest > room {
            let message = format!(
                "the fallbacks of all routes that can be in one NOTIFY take {longest} bytes, a frame has {room} for them: \
                 when all of them fail those of the last messages are left out; a larger frame, or shorter fallbacks"
            );
            findings.warnings.push(Warning { path: Path::root().key("listeners").index(index), message });
        }
    }
}

/// What the bridge can say on a listener without knowing which routes a NOTIFY belongs to: what all of them say alike. Half of them must not
/// pass because the top level lets pass.
pub(super) fn last_resort(routes: &[RouteConfig], top: &OnFailure, listener: usize) -> Actions {
    let mut alike = Actions::new();
    let of_listener = |route: &&RouteConfig| route.listeners.is_empty() || route.listeners.contains(&listener);
    alike.append_if(top.actions(Cause::Internal), |action| {
        let mut routes = routes.iter().filter(of_listener);
        routes.all(|route| route.on_failure.actions(Cause::Internal).iter().any(|other| other == *action))
    });
    alike
}

/// Most bytes that the fallbacks of one NOTIFY from this listener can take.
fn longest(routes: &[RouteConfig], top: &OnFailure, listener: usize) -> usize {
    let mut lengths = vec![top.actions(Cause::Unrouted).len_bytes()];
    let mut by_moment: HashMap<&Moment, Vec<usize>> = HashMap::new();
    for route in routes.iter().filter(|route| route.listeners.is_empty() || route.listeners.contains(&listener)) {
        let length = Cause::ALL.iter().map(|cause| route.on_failure.actions(*cause).len_bytes()).max().unwrap_or_default();
        match &route.haproxy {
            Some(haproxy) => by_moment.entry(&haproxy.moment).or_default().push(length),
            None => lengths.push(length),
        }
    }
    let together = by_moment.into_values().chain([Vec::new()]).map(|mut moment| {
        moment.extend(&lengths);
        moment.sort_unstable_by_key(|length| std::cmp::Reverse(*length));
        // One message each, at least.
        moment.iter().take(MAX_MESSAGES).sum()
    });
    together.max().unwrap_or_default()
}
