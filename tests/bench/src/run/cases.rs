//! What is measured in each round.

use super::child::{bridge, straightforward, traced};
use super::http::{self, Proxy};
use super::load::{self, FULL, ONE};
use super::results::Figures;
use super::{Args, Fallible, idle};

pub struct Case {
    pub name: &'static str,
    pub measure: fn(&Args) -> Fallible<Figures>,
}

const fn case(name: &'static str, measure: fn(&Args) -> Fallible<Figures>) -> Case {
    Case { name, measure }
}

/// Names are the keys of the results: what, a slash, through whom.
pub const CASES: &[Case] = &[
    // CPU of one decision: 4 connections with 20 in flight, one worker.
    case("cpu/bare", |args| load::bare(args, FULL)),
    case("cpu/straightforward", |args| load::agent(args, FULL, || straightforward(args))),
    case("cpu/unary", |args| load::agent(args, FULL, || bridge(args, "decide", Some(1)))),
    case("cpu/stream", |args| load::agent(args, FULL, || bridge(args, "decide-stream", Some(1)))),
    // The same stream with traces, of which so many are recorded and exported.
    case("traces/0", |args| load::agent(args, FULL, || traced(args, "0"))),
    case("traces/1", |args| load::agent(args, FULL, || traced(args, "0.01"))),
    case("traces/100", |args| load::agent(args, FULL, || traced(args, "1"))),
    // Decisions a second: the same, with as many workers as cores. The first two are that already.
    case("rate/unary", |args| load::agent(args, FULL, || bridge(args, "decide", None))),
    case("rate/stream", |args| load::agent(args, FULL, || bridge(args, "decide-stream", None))),
    // Latency: one at a time.
    case("one/bare", |args| load::bare(args, ONE)),
    case("one/straightforward", |args| load::agent(args, ONE, || straightforward(args))),
    case("one/unary", |args| load::agent(args, ONE, || bridge(args, "decide", None))),
    case("one/stream", |args| load::agent(args, ONE, || bridge(args, "decide-stream", None))),
    case("memory/straightforward", |args| idle::memory(args, || straightforward(args))),
    case("memory/stream", |args| idle::memory(args, || bridge(args, "decide-stream", None))),
    // End to end.
    case("http/envoy", |args| http::decided(args, Proxy::Envoy, None)),
    case("http/haproxy-3.2-straightforward", |args| http::decided(args, Proxy::Haproxy32, Some(straightforward))),
    case("http/haproxy-3.2-unary", |args| http::decided(args, Proxy::Haproxy32, Some(|args| bridge(args, "decide", None)))),
    case("http/haproxy-2.6-stream", |args| {
        http::decided(args, Proxy::Haproxy26, Some(|args| bridge(args, "decide-stream", None)))
    }),
    case("http/haproxy-3.2-stream", |args| {
        http::decided(args, Proxy::Haproxy32, Some(|args| bridge(args, "decide-stream", None)))
    }),
    // What the proxies do without a decision.
    case("alone/envoy", |args| http::undecided(args, Proxy::Envoy)),
    case("alone/haproxy-2.6", |args| http::undecided(args, Proxy::Haproxy26)),
    case("alone/haproxy-3.2", |args| http::undecided(args, Proxy::Haproxy32)),
];
