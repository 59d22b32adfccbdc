//! Bodies in messages: whether they are there, whether they fit into a frame, and whether the service can tell that it sees all.

use std::collections::BTreeMap;

use super::super::case::{Case, Moment};
use super::super::finding::{self, Findings};
use super::super::fix::Fix;
use super::super::line::Line;
use super::super::proxy::Proxy;
use super::super::rules::{Rules, Stage};
use super::super::sample::{self, Expression};
use super::super::settings::{Setting, Settings};
use super::super::spoe::Section;
use super::super::word::Word;
use super::agent::BUFSIZE;

pub(super) fn check(case: &Case<'_>, out: &mut Findings) {
    for engine in &case.engines {
        let sized = engine.spoe.agent().is_some_and(|agent| !matches!(agent.line(&["max-frame-size"]), Setting::Unset));
        for moment in engine.moments(case) {
            // Frames smaller than buffers are a finding of their own.
            if !sized {
                too_big(case, &moment, out);
            }
            unknown_size(case, &moment, out);
            not_there(case, &moment, out);
        }
    }
}

struct Arg<'a> {
    line: &'a Line,
    name: &'a str,
    text: &'a str,
    expression: Expression<'a>,
}

fn args(message: &Section) -> Vec<Arg<'_>> {
    let lines = message.lines().iter().filter(|line| line.is(&["args"]));
    let words = lines.flat_map(|line| line.from(1).iter().filter_map(move |word| Some((line, word.known()?))));
    words
        .map(|(line, text)| {
            let (name, expression) = text.split_once('=').unwrap_or(("", text));
            Arg { line, name, text: expression, expression: sample::parse(expression) }
        })
        .collect()
}

/// How much of a part of a request an arg takes, and tenths of a byte that it makes of each byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Take {
    most: u64,
    weight: u64,
}

/// What an arg takes of its parts; nothing for what is short or can't be told.
fn take(expression: &Expression<'_>) -> Option<Take> {
    let mut take = Take { most: u64::MAX, weight: 10 };
    for call in &expression.converters {
        match call.name {
            "bytes" => {
                if let Some((_, length)) = call.args.split_once(',') {
                    take.most = take.most.min(length.trim().parse().ok()?);
                }
            }
            "lower" | "upper" | "url_dec" | "ltrim" | "rtrim" | "b64dec" | "ub64dec" => {}
            "base64" | "ub64enc" => take.weight = take.weight.saturating_mul(4) / 3,
            "hex" => take.weight = take.weight.saturating_mul(2),
            // A digest, a part, a number.
            _ => return None,
        }
    }
    Some(take)
}

/// The parts of a message that a fetch reads. Parts don't overlap, but for `*`, which is all headers.
fn parts(expression: &Expression<'_>) -> Vec<String> {
    let fetch = expression.fetch;
    let header = |side: &str| {
        let name = fetch.args.split(',').next().unwrap_or_default().trim().to_ascii_lowercase();
        vec![format!("{side} header {}", if name.is_empty() { "*" } else { &name })]
    };
    match fetch.name {
        "req.body" => vec!["request body".into()],
        "res.body" => vec!["response body".into()],
        "req.hdrs" | "req.hdrs_bin" => vec!["request header *".into()],
        "res.hdrs" | "res.hdrs_bin" => vec!["response header *".into()],
        "req.hdr" | "req.fhdr" | "hdr" | "fhdr" => header("request"),
        "res.hdr" | "res.fhdr" => header("response"),
        "req.cook" | "cook" => vec!["request header cookie".into()],
        "path" => vec!["path".into()],
        "query" => vec!["query".into()],
        "url" | "pathq" | "capture.req.uri" => vec!["path".into(), "query".into()],
        _ => Vec::new(),
    }
}

/// What `tune.maxrewrite` keeps free of a buffer unless it says otherwise.
const RESERVE: u64 = 1024;

/// HAProxy reads at most a buffer of a request: a NOTIFY with each part once fits into a frame of that size. One that repeats
/// parts need not.
fn too_big(case: &Case<'_>, moment: &Moment<'_>, out: &mut Findings) {
    let size = |name: &str, otherwise| match case.config.global.number(&[name]) {
        Setting::Known(size) => Some(size),
        Setting::Unset => Some(otherwise),
        Setting::Unclear => None,
    };
    let (Some(buffer), Some(reserve)) = (size("tune.bufsize", BUFSIZE), size("tune.maxrewrite", RESERVE)) else { return };
    let limit = buffer.saturating_sub(36);
    let args: Vec<_> = moment.messages.iter().flat_map(|message| args(message)).collect();
    let taken = taken(&args);
    let (most, part) = worst(&taken, buffer.saturating_sub(reserve.min(buffer / 2)));
    let (true, Some(part)) = (most > limit, part) else { return };
    let covers = |arg: &&Arg<'_>| parts(&arg.expression).iter().any(|own| own == part || is_all(own, part));
    let culprits: Vec<_> = args.iter().filter(covers).collect();
    let Some(first) = culprits.last() else { return };
    let again =
        if culprits.len() > 1 { "takes the same bytes more than once" } else { "makes more bytes of them than there were" };
    out.add(
        &finding::TOO_BIG,
        first.line,
        format!("`{}` {again}: {}", moment.name, super::list(culprits.iter().map(|arg| arg.text))),
        format!(
            "HAProxy reads up to a buffer of a request ({buffer} bytes), and as much fits into a frame ({limit}), but not more: a message too big \
             is not sent at all, the error variable is 3 and the request goes on undecided, which a client can bring about"
        ),
        shorter(first),
    );
}

/// The most bytes that the args of a moment make of a request of `size` bytes.
pub(super) fn largest(moment: &Moment<'_>, size: u64) -> u64 {
    let args: Vec<_> = moment.messages.iter().flat_map(|message| args(message)).collect();
    worst(&taken(&args), size).0
}

/// An arg that takes the beginning only.
fn shorter(arg: &Arg<'_>) -> Fix {
    let ends = |word: &Word| word.known().is_some_and(|word| word == arg.text || word.ends_with(&format!("={}", arg.text)));
    let text = format!("{},bytes(0,256)", arg.text);
    match arg.line.words.iter().rposition(ends) {
        Some(at) => {
            let word = format!("{},bytes(0,256)", arg.line.text(at..at + 1));
            Fix::replace(arg.line, arg.line.with(at..at + 1, &word)).saying(text)
        }
        None => text.into(),
    }
}

/// Whether `all` stands for all headers of the side of `part`.
fn is_all(all: &str, part: &str) -> bool {
    all.strip_suffix('*').is_some_and(|side| part.starts_with(side))
}

/// The takes of every part that is mentioned; those of all headers count for each.
fn taken(args: &[Arg<'_>]) -> BTreeMap<String, Vec<Take>> {
    let takes: Vec<_> = args.iter().filter_map(|arg| Some((parts(&arg.expression), take(&arg.expression)?))).collect();
    let names = takes.iter().flat_map(|(parts, _)| parts.iter().cloned());
    let mut taken: BTreeMap<String, Vec<Take>> = names.map(|name| (name, Vec::new())).collect();
    for (name, list) in &mut taken {
        let covers = |parts: &Vec<String>| parts.iter().any(|own| own == name || is_all(own, name));
        list.extend(takes.iter().filter(|(parts, _)| covers(parts)).map(|(_, take)| *take));
    }
    taken
}

/// The most bytes that a request of `size` bytes makes, and the part that it has most of then.
fn worst(taken: &BTreeMap<String, Vec<Take>>, size: u64) -> (u64, Option<&str>) {
    let mut segments: Vec<(u64, u64, &str)> = Vec::new();
    for (name, takes) in taken {
        let mut ends: Vec<_> = takes.iter().map(|take| take.most).collect();
        ends.sort_unstable();
        let mut from = 0;
        for end in ends {
            let weight = takes.iter().filter(|take| take.most >= end).fold(0_u64, |sum, take| sum.saturating_add(take.weight));
            segments.push((weight, end.saturating_sub(from), name));
            from = end;
        }
    }
    // Each part's segments get lighter: taking the heaviest of all first is the worst case.
    segments.sort_by(|a, b| b.cmp(a));
    let mut rest = size;
    let mut most = 0_u64;
    for (weight, length, _) in &segments {
        let length = rest.min(*length);
        most = most.saturating_add(length.saturating_mul(*weight) / 10);
        rest -= length;
    }
    (most, segments.first().map(|(_, _, name)| *name))
}

/// Whether the service can tell that a body is longer than what it got.
fn unknown_size(case: &Case<'_>, moment: &Moment<'_>, out: &mut Findings) {
    let args: Vec<_> = moment.messages.iter().flat_map(|message| args(message)).collect();
    let tells = |arg: &Arg<'_>| match arg.expression.fetch.name {
        "req.body_size" | "req.body_len" | "req.hdrs" | "req.hdrs_bin" => true,
        "req.hdr" | "req.fhdr" | "hdr" => arg.expression.fetch.args.eq_ignore_ascii_case("content-length"),
        _ => false,
    };
    let whole = |arg: &&Arg<'_>| arg.expression.fetch.name == "req.body" && take(&arg.expression).is_some();
    let (Some(body), false) = (args.iter().find(whole), args.iter().any(tells)) else { return };
    let most = take(&body.expression).map_or(u64::MAX, |take| take.most);
    if case.config.proxies.iter().any(|proxy| meets(moment.proxy, proxy) && refuses_longer(proxy, most)) {
        return;
    }
    let beside = if args.iter().any(|arg| arg.name == "body_size") {
        "req.body_size beside it; or a rule that denies what is longer".into()
    } else {
        let fix = Fix::after(body.line, "args body_size=req.body_size");
        fix.saying("body_size=req.body_size, beside it; or a rule that denies what is longer")
    };
    out.add(
        &finding::BODY_SIZE,
        body.line,
        format!("`{}` may be a part of the body, and the service can't tell", body.text),
        "HAProxy has as much of a body as fits into a buffer (tune.bufsize); what comes after it passes unseen",
        beside,
    );
}

/// Whether a request comes by both proxies.
fn meets(one: &Proxy, other: &Proxy) -> bool {
    one.name == other.name || one.may_reach(other) || other.may_reach(one)
}

/// Whether a rule refuses bodies of more bytes than the service gets.
fn refuses_longer(proxy: &Proxy, most: u64) -> bool {
    let rules = Rules::new(proxy);
    let sizes = [
        "req.body_size",
        "req.hdr(content-length)",
        "hdr(content-length)",
        "req.fhdr(content-length)",
        "req.hdr_val(content-length)",
    ];
    rules.list.iter().filter(|rule| rule.refuses()).any(|rule| {
        let words: Vec<_> = rules.condition_words(rule).filter_map(Word::known).collect();
        let size = words.iter().position(|word| sizes.iter().any(|size| word.to_ascii_lowercase().starts_with(size)));
        let after = size.and_then(|at| words.get(at + 1..)).unwrap_or_default();
        let limit = after.iter().take_while(|word| **word != "}").find_map(|word| word.parse::<u64>().ok());
        size.is_some() && limit.is_none_or(|limit| limit <= most)
    })
}

/// Whether a body has arrived when a message with it leaves.
fn not_there(case: &Case<'_>, moment: &Moment<'_>, out: &mut Findings) {
    let stages = [Stage::HttpRequestEvent, Stage::HttpRequest, Stage::BackendHttpRequestEvent, Stage::BackendHttpRequest];
    if !stages.contains(&moment.stage) || waits(case, moment) {
        return;
    }
    for (message, arg) in moment.messages.iter().flat_map(|message| args(message).into_iter().map(move |arg| (message, arg))) {
        if !["req.body", "req.body_param", "req.body_len"].contains(&arg.expression.fetch.name) {
            continue;
        }
        let (place, what, fix) = match moment.rule {
            None => (
                arg.line,
                format!("message `{}` leaves with the headers, before `{}` is there", message.name, arg.text),
                Fix::after(&moment.proxy.head, "option http-buffer-request").saying(format!(
                    "option http-buffer-request, in {}; or a group after `http-request wait-for-body`",
                    moment.proxy.title()
                )),
            ),
            Some(rule) => (
                rule,
                format!("group `{}` leaves before `{}` is there", moment.name, arg.text),
                Fix::before(rule, "http-request wait-for-body time 1s")
                    .saying("http-request wait-for-body time 1s, before this rule"),
            ),
        };
        let why = "nothing waits for the body before that: the service sees as much of it as came with the headers, often none";
        out.add(&finding::BODY_NOT_THERE, place, what, why, fix);
    }
}

/// Whether HAProxy has waited for the body in this proxy, or in all frontends from which requests come to it.
fn waits(case: &Case<'_>, moment: &Moment<'_>) -> bool {
    let proxy = moment.proxy;
    let in_backend = moment.stage >= Stage::BackendTcpRequestEvent;
    let here = || {
        Rules::new(proxy).list.iter().any(|rule| {
            let earlier = rule.stage < moment.stage
                || moment.rule.is_some_and(|sends| is_before(rule.line, sends, rule.stage == moment.stage));
            rule.action() == "wait-for-body" && earlier
        })
    };
    if buffers(proxy) || here() {
        return true;
    }
    let mut frontends = case.config.proxies.iter().filter(|frontend| frontend.may_reach(proxy)).peekable();
    let waits =
        |frontend: &Proxy| buffers(frontend) || Rules::new(frontend).list.iter().any(|rule| rule.action() == "wait-for-body");
    in_backend && frontends.peek().is_some() && frontends.all(waits)
}

fn buffers(proxy: &Proxy) -> bool {
    matches!(proxy.option("http-buffer-request"), Setting::Known(true) | Setting::Unclear)
}

fn is_before(line: &Line, other: &Line, same_stage: bool) -> bool {
    same_stage && line.place < other.place
}

#[cfg(test)]
mod tests {
    use super::*;

    fn most(args: &str) -> u64 {
        let line = super::super::super::line::read(
            "f",
            args,
            crate::haproxy::Version::DEFAULT,
            &mut super::super::super::env::Env::default(),
        )
        .lines
        .remove(0);
        let arg = |text| Arg { line: &line, name: "", text, expression: sample::parse(text) };
        let args: Vec<_> = args.split(' ').map(arg).collect();
        worst(&taken(&args), 15_000).0
    }

    #[test]
    fn a_request_makes_as_much_as_it_has_unless_parts_repeat() {
        for (args, expected) in [
            ("req.body", 15_000),
            ("req.body req.hdrs path query", 15_000),
            ("req.body,bytes(0,12000)", 12_000),
            ("req.body,bytes(0,12000) req.hdrs,bytes(0,8000)", 15_000),
            ("req.body req.body", 30_000),
            ("req.body,hex", 30_000),
            ("req.body,sha1,hex", 0),
            ("url path", 30_000),
            ("url path,bytes(0,1000)", 16_000),
            ("req.hdrs req.hdr(cookie)", 30_000),
            ("req.hdrs req.hdr(cookie),bytes(0,500) req.body", 15_500),
            ("req.hdr(a) req.hdr(b)", 15_000),
            ("req.hdr(a) res.hdrs", 15_000),
            ("src method", 0),
        ] {
            assert_eq!(most(args), expected, "{args}");
        }
    }
}
