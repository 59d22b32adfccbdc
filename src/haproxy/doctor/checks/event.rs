//! Events that never come where the filter is.

use super::super::case::{Case, event};
use super::super::finding::{self, Findings};
use super::super::proxy::Proxy;
use super::super::settings::{Setting, Settings};
use super::list;

pub(super) fn check(case: &Case<'_>, out: &mut Findings) {
    for engine in case.engines.iter().filter(|engine| !engine.uses.is_empty()) {
        let proxies: Vec<_> = engine.uses.iter().filter_map(|used| case.config.proxies.get(used.proxy)).collect();
        for message in engine.by_event() {
            let Some(event) = event(message).known() else { continue };
            let reasons: Option<Vec<_>> = proxies.iter().map(|proxy| never(event, proxy)).collect();
            // Elsewhere it may come.
            let (Some(reasons), Setting::Known(line)) = (reasons, message.line(&["event"])) else { continue };
            let Some(reason) = reasons.first() else { continue };
            let titles: Vec<_> = proxies.iter().map(|proxy| proxy.title()).collect();
            out.add(
                &finding::EVENT_NEVER_FIRES,
                line,
                format!("message `{}` never leaves: {reason}", message.name),
                format!("the engine `{}` is used by {}", engine.name, titles.join(", ")),
                format!("put the filter where the event comes, or take another event than {}", list([event])),
            );
        }
    }
}

/// Why an event never comes in a proxy.
fn never(event: &str, proxy: &Proxy) -> Option<&'static str> {
    let frontend_event = matches!(event, "on-client-session" | "on-frontend-tcp-request" | "on-frontend-http-request");
    if frontend_event && !proxy.has_frontend() {
        return Some("a backend has no events of frontends");
    }
    let http = match event {
        "on-frontend-http-request" => proxy.has_frontend(),
        "on-backend-http-request" | "on-http-response" => proxy.has_backend(),
        _ => false,
    };
    let tcp = matches!(proxy.mode(), Setting::Unset | Setting::Known("tcp"));
    let switches = proxy.lines().iter().any(|line| line.words.iter().any(|word| word.text() == "switch-mode"));
    (http && tcp && !switches).then_some("there are no HTTP requests in `mode tcp`, which is the mode unless another is set")
}
