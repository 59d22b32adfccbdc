//! A configuration that HAProxy runs as it is, for a first try and for tests.

use std::fmt::Write as _;

use super::plan::{Plan, outlives_requests};
use super::rules::{DEFAULT_BUFSIZE, backend, frontend, log_fields};
use crate::config::{Event, Moment};

pub(super) fn write(plan: &Plan<'_>) -> String {
    let mut text = format!(
        "# HAProxy {} with spop-bridge, to try it out: haproxy -f haproxy.cfg, with the SPOE file beside it.\n\n\
         global\n    log stdout format raw local0\n    # Names of files are relative to this one.\n    default-path config\n",
        plan.options.version
    );
    if plan.config.haproxy.bufsize != DEFAULT_BUFSIZE {
        let _ = writeln!(text, "    tune.bufsize {}", plan.config.haproxy.bufsize);
    }
    let _ = write!(
        text,
        "\ndefaults\n    mode http\n    log global\n    timeout connect 1s\n    timeout client 30s\n    timeout server 30s\n    \
         timeout http-request 5s\n\n\
         frontend www\n    bind 127.0.0.1:8080\n    log-format \"{HTTPLOG} {}\"\n{}\n    default_backend app\n\n",
        log_fields(plan),
        frontend(plan)
    );
    text.push_str(&super::backend::write(plan));
    let rules = backend(plan);
    let gap = if rules.is_empty() { "" } else { "\n" };
    let _ = write!(
        text,
        "\n# Stands in for the application.\nbackend app\n{}{gap}{}",
        rules.trim_start_matches('\n'),
        application(plan)
    );
    text
}

/// HAProxy answers itself where nothing has to be decided about responses.
fn application(plan: &Plan<'_>) -> String {
    let late = [Event::OnServerSession, Event::OnTcpResponse, Event::OnHttpResponse];
    if plan.asks.iter().any(|ask| matches!(ask.haproxy.moment, Moment::Event(event) if late.contains(&event))) {
        return "    server app 127.0.0.1:8081\n".to_owned();
    }
    let shown = plan.asks.iter().flat_map(|ask| &ask.haproxy.variables).chain(plan.bridges_own()).any(outlives_requests);
    let ignore = if shown { "    # spop-bridge: ignore stale-verdict (they are only shown)\n" } else { "" };
    let fields = log_fields(plan).replace("%{+Q,+E}[", "%[");
    format!("{ignore}    http-request return status 200 content-type text/plain lf-string \"path=%[path] {fields}\\n\"\n")
}

/// `option httplog`.
const HTTPLOG: &str = "%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq %{+Q}r";
