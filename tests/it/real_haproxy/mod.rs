//! Real HTTP requests through a real HAProxy, the bridge and a gRPC service, the same suite for every release line.

mod args;
mod config_reload;
mod deny;
mod descriptors;
mod engines;
mod events;
mod failures;
mod frame_size;
mod health;
mod reload;
mod restart;
mod services;
mod stream;
mod tls;
mod values;
mod why;

use std::path::Path;

use crate::support::bridge::Bridge;
use crate::support::haproxy::{Haproxy, Setup};
use crate::support::http::Reply;

/// Makes of `fn topic(haproxy: &Path)` one test for each of these release lines.
macro_rules! on_lines {
    ($($test:ident: $line:literal),+; $topic:ident) => {
        mod $topic {
            use super::super::run;

            $(#[test]
            fn $test() {
                run($line, module_path!(), super::$topic);
            })+
        }
    };
}
use on_lines;

/// One test of each topic for each of `LINES`.
macro_rules! on_each_line {
    ($($topic:ident),+ $(,)?) => {
        $($crate::real_haproxy::on_lines! {
            haproxy_2_6: "2.6", haproxy_3_0: "3.0", haproxy_3_2: "3.2", haproxy_3_4: "3.4"; $topic
        })+
    };
}
use on_each_line;

/// One test of each topic for each of `ALL_LINES`: for verdicts, which must hold on all of them.
macro_rules! on_all_lines {
    ($($topic:ident),+ $(,)?) => {
        $($crate::real_haproxy::on_lines! {
            haproxy_2_6: "2.6", haproxy_2_8: "2.8", haproxy_3_0: "3.0", haproxy_3_2: "3.2", haproxy_3_4: "3.4"; $topic
        })+
    };
}
use on_all_lines;

fn run(line: &str, test: &str, topic: fn(&Path)) {
    if let Some(binary) = crate::support::haproxy::find_or_skip(test, line) {
        crate::support::figure("HAProxy", line);
        topic(&binary);
    }
}

/// An engine `br` whose backend is the bridge. `lines` go into its `spoe-agent` section.
fn engine(lines: &str, messages: &str) -> String {
    format!(
        "[br]\nspoe-agent br\n    option var-prefix br\n    option set-on-error error\n    \
         option set-process-time ms\n    timeout hello 2s\n    timeout idle 30s\n    timeout processing 5s\n    \
         use-backend bridge\n    {lines}\n\n{messages}\n"
    )
}

/// A frontend with that engine, whose `rules` follow the filter, in front of an origin server that says `served`.
fn frontend(rules: &str) -> String {
    format!(
        "frontend fe\n    bind $FE\n    option http-buffer-request\n    filter spoe engine br config $DIR/spoe.cfg\n{rules}\n    \
         default_backend origin\n\n{}{}",
        origin(),
        backend("bridge"),
    )
}

/// The origin server, which is HAProxy too.
fn origin() -> String {
    "backend origin\n    server origin unix@$DIR/origin.sock\n\n\
     frontend origin-server\n    bind unix@$DIR/origin.sock\n    \
     http-request return status 200 content-type text/plain string served\n\n"
        .into()
}

/// As generic configurations have it: `mode tcp` and `option spop-check` do on every line.
fn backend(name: &str) -> String {
    format!(
        "backend {name}\n    mode tcp\n    option spop-check\n    timeout server 30s\n    \
         server s1 $BRIDGE check inter 200ms fall 1 rise 1\n\n"
    )
}

/// Shows variables to the client: `x-NAME: VALUE` in the response, when the variable is there.
fn reflect(variables: &[(&str, &str)]) -> String {
    let line = |(name, sample): &(&str, &str)| {
        let variable = sample.split(',').next().unwrap();
        format!(
            "    http-response set-header x-{name} %[var({variable}){}] if {{ var({variable}) -m found }}\n",
            &sample[variable.len()..]
        )
    };
    variables.iter().map(line).collect()
}

/// What most tests show of a decision.
const VERDICT: [(&str, &str); 3] = [("allow", "txn.br.allow"), ("error", "txn.br.error"), ("ms", "txn.br.ms")];

fn start(binary: &Path, bridge: &Bridge, proxies: String, spoe: String) -> Haproxy {
    let setup = Setup { proxies, spoe, global: String::new(), master: false };
    Haproxy::start(binary, bridge.address(), &setup)
}

/// In a word what a client of the load saw.
fn outcome(reply: &Reply) -> String {
    match (reply.status, &reply.header("x-allow")[..], &reply.header("x-error")[..]) {
        (200, "1", "-") => "decided".into(),
        (200, _, "-") => "undecided".into(),
        (200, _, error) => format!("error={error}"),
        (status, ..) => format!("status={status}"),
    }
}
