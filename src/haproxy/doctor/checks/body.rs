//! Bodies in messages: whether they are there, whether they fit into a frame, and whether the service can tell that it sees all.

use std::collections::BTreeMap;

use super::super::case::{Case, Moment};
use super::super::finding::{self, Findings};
use super::super::line::Line;
use super::super::proxy::Proxy;
use super::super::rules::{Rules, Stage};
use super::super::sample::{self, Expression};
use super::super::settings::{Setting, Settings};
use super::super::spoe::Section;
use super::agent::BUFSIZE;

pub(super) fn check(case: &Case<'_>, out: &mut Findings) {
    for engine in &case.engines {
        let sized = engine.spoe.agent().is_some_and(|agent| !matches!(agent.line(&["max-frame-size"]), Setting::Unset));
        for moment in engine.moments(case) {
            // Frames smaller than buffers are a finding of their own.
            if !sized {
                too_big(case, &moment, out);
            }
            unknown_size(&moment, out);
            not_there(&moment, out);
        }
    }
}

struct Arg<'a> {
    line: &'a Line,
    text: &'a str,
    expression: Expression<'a>,
}

fn args(message: &Section) -> Vec<Arg<'_>> {
    let lines = message.lines().iter().filter(|line| line.is(&["args"]));
    let words = lines.flat_map(|line| line.from(1).iter().filter_map(move |word| Some((line, word.known()?))));
    words
        .map(|(line, text)| {
            let expression = text.split_once('=').map_or(text, |(_, expression)| expression);
            Arg { line, text: expression, expression: sample::parse(expression) }
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
        format!("{},bytes(0,256)", first.text),
    );
}

/// The most bytes that the args of a moment make of a request of `size` bytes.
pub(super) fn largest(moment: &Moment<'_>, size: u64) -> u64 {
    let args: Vec<_> = moment.messages.iter().flat_map(|message| args(message)).collect();
    worst(&taken(&args), size).0
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
fn unknown_size(moment: &Moment<'_>, out: &mut Findings) {
    let args: Vec<_> = moment.messages.iter().flat_map(|message| args(message)).collect();
    let tells = |arg: &Arg<'_>| match arg.expression.fetch.name {
        "req.body_size" | "req.body_len" | "req.hdrs" | "req.hdrs_bin" => true,
        "req.hdr" | "req.fhdr" | "hdr" => arg.expression.fetch.args.eq_ignore_ascii_case("content-length"),
        _ => false,
    };
    let whole = |arg: &&Arg<'_>| arg.expression.fetch.name == "req.body" && take(&arg.expression).is_some();
    let (Some(body), false) = (args.iter().find(whole), args.iter().any(tells)) else { return };
    out.add(
        &finding::BODY_SIZE,
        body.line,
        format!("`{}` may be a part of the body, and the service can't tell", body.text),
        "HAProxy has as much of a body as fits into a buffer (tune.bufsize); what comes after it passes unseen",
        "body_size=req.body_size, beside it; or a rule that denies what is longer",
    );
}

/// Whether a body has arrived when a message with it leaves.
fn not_there(moment: &Moment<'_>, out: &mut Findings) {
    let stages = [Stage::HttpRequestEvent, Stage::HttpRequest, Stage::BackendHttpRequestEvent, Stage::BackendHttpRequest];
    if !stages.contains(&moment.stage) || waits(moment) {
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
                format!("option http-buffer-request, in {}; or a group after `http-request wait-for-body`", moment.proxy.title()),
            ),
            Some(rule) => (
                rule,
                format!("group `{}` leaves before `{}` is there", moment.name, arg.text),
                "http-request wait-for-body time 1s, before this rule".to_owned(),
            ),
        };
        let why = "nothing waits for the body in this proxy: the service sees as much of it as came with the headers, often none";
        out.add(&finding::BODY_NOT_THERE, place, what, why, fix);
    }
}

fn waits(moment: &Moment<'_>) -> bool {
    match moment.proxy.option("http-buffer-request") {
        Setting::Known(true) | Setting::Unclear => return true,
        _ => {}
    }
    moment.rule.is_some_and(|rule| waits_before(moment.proxy, rule))
}

fn waits_before(proxy: &Proxy, rule: &Line) -> bool {
    let rules = Rules::new(proxy);
    let before = rules.list.iter().take_while(|before| before.line.place != rule.place);
    before.into_iter().any(|before| before.action() == "wait-for-body")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn most(args: &str) -> u64 {
        let line = super::super::super::line::read("f", args, crate::haproxy::Version::DEFAULT, &|_| None).lines.remove(0);
        let arg = |text| Arg { line: &line, text, expression: sample::parse(text) };
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
