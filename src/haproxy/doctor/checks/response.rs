//! Bodies of responses in messages: whether they are there, and whether the service can tell that it sees all.

use super::super::case::{Case, Moment};
use super::super::finding::{self, Findings};
use super::super::rules::Stage;
use super::super::sample;
use super::super::settings::Settings;

pub(super) fn check(case: &Case<'_>, out: &mut Findings) {
    for engine in &case.engines {
        for moment in engine.moments(case).iter().filter(|moment| moment.stage.is_response() && moment.stage != Stage::Log) {
            if !waits(case, moment) {
                not_there(moment, &engine.name, out);
            }
            unknown_size(moment, out);
        }
    }
}

/// Whether a rule before that of the group waits for the body. Of responses the backend's rules come first.
fn waits(case: &Case<'_>, moment: &Moment<'_>) -> bool {
    let Some(sends) = moment.rule else { return false };
    let waits = |line: &&super::super::line::Line| line.is(&["http-response", "wait-for-body"]);
    let before = moment.proxy.lines().iter().take_while(|line| line.place != sends.place);
    let mut backends = case.config.proxies.iter().filter(|proxy| proxy.has_backend());
    before.into_iter().any(|line| waits(&line))
        || (moment.proxy.has_frontend() && backends.any(|proxy| proxy.lines().iter().any(|line| waits(&line))))
}

fn not_there(moment: &Moment<'_>, engine: &str, out: &mut Findings) {
    for message in &moment.messages {
        for (line, arg) in message.args().filter(|(_, arg)| ["res.body", "res.body_len"].contains(&sample::parse(arg).fetch.name))
        {
            let (place, what, fix) = match moment.rule {
                None => (
                    line,
                    format!("message `{}` leaves with the headers, before `{arg}` is there", message.name),
                    format!(
                        "a group: http-response wait-for-body time 1s, and below it http-response send-spoe-group {engine} GROUP, in {}",
                        moment.proxy.title()
                    ),
                ),
                Some(rule) => (
                    rule,
                    format!("group `{}` leaves before `{arg}` is there", moment.name),
                    "http-response wait-for-body time 1s, before this rule".to_owned(),
                ),
            };
            let why =
                "nothing waits for the body of the response: the service sees as much of it as came with the headers, often none";
            out.add(&finding::BODY_NOT_THERE, place, what, why, fix);
        }
    }
}

fn unknown_size(moment: &Moment<'_>, out: &mut Findings) {
    let args = || moment.messages.iter().flat_map(|message| message.args());
    let tells = |arg: &str| {
        let fetch = sample::parse(arg).fetch;
        ["res.body_size", "res.body_len", "res.hdrs", "res.hdrs_bin"].contains(&fetch.name)
            || (["res.hdr", "res.fhdr"].contains(&fetch.name) && fetch.args.eq_ignore_ascii_case("content-length"))
    };
    let is_body = |arg: &str| {
        let expression = sample::parse(arg);
        expression.fetch.name == "res.body" && expression.converters.iter().all(|converter| converter.name == "bytes")
    };
    let Some((line, body)) = args().find(|(_, arg)| is_body(arg)).filter(|_| !args().any(|(_, arg)| tells(arg))) else { return };
    out.add(
        &finding::BODY_SIZE,
        line,
        format!("`{body}` may be a part of the body, and the service can't tell"),
        "HAProxy has as much of a body as fits into a buffer (tune.bufsize); what comes after it passes unseen",
        "body_size=res.body_size, beside it",
    );
}
