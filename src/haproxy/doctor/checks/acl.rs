//! Conditions: ACLs that nothing defines, braces that nothing closes, and what `-m` makes of variables.

use super::super::case::Case;
use super::super::finding::{self, Findings};
use super::super::fix::Fix;
use super::super::line::Line;
use super::super::sample;
use super::super::settings::Settings;
use super::super::word::Word;

pub(super) fn check(case: &Case<'_>, out: &mut Findings) {
    let messages = case.engines.iter().flat_map(|engine| &engine.spoe.messages);
    messages.for_each(|message| conditions(message.lines(), &["event"], out));
    let rules =
        ["http-request", "http-response", "http-after-response", "tcp-request", "tcp-response", "use_backend", "redirect"];
    for proxy in &case.config.proxies {
        conditions(proxy.lines(), &rules, out);
        proxy.lines().iter().for_each(|line| bool_values(line, out));
    }
    for message in case.engines.iter().flat_map(|engine| &engine.spoe.messages) {
        message.lines().iter().for_each(|line| bool_values(line, out));
    }
}

/// ACLs that HAProxy has by itself.
const BUILT_IN: [&str; 23] = [
    "FALSE",
    "HTTP",
    "HTTP_1.0",
    "HTTP_1.1",
    "HTTP_2.0",
    "HTTP_3.0",
    "HTTP_CONTENT",
    "HTTP_URL_ABS",
    "HTTP_URL_SLASH",
    "HTTP_URL_STAR",
    "LOCALHOST",
    "METH_CONNECT",
    "METH_DELETE",
    "METH_GET",
    "METH_HEAD",
    "METH_OPTIONS",
    "METH_POST",
    "METH_PUT",
    "METH_TRACE",
    "RDP_COOKIE",
    "REQ_CONTENT",
    "TRUE",
    "WAIT_END",
];

/// HAProxy reads from the top: an ACL is defined above the lines that name it.
fn conditions(lines: &[Line], keywords: &[&str], out: &mut Findings) {
    let mut defined: Vec<&str> = BUILT_IN.to_vec();
    for line in lines {
        if line.get(0) == Some("acl") {
            defined.extend(line.get(1));
            method(line, line.from(2), out);
        } else if line.get(0).is_some_and(|word| keywords.contains(&word)) {
            let texts = line.words.iter().any(|word| matches!(word.text(), "string" | "lf-string"));
            let begins = line.words.iter().rposition(|word| matches!(word.known(), Some("if" | "unless")));
            if let (Some(begins), false) = (begins, texts) {
                condition(line, line.from(begins + 1), &defined, out);
            }
        }
    }
}

fn condition(line: &Line, mut words: &[Word], defined: &[&str], out: &mut Findings) {
    while let Some((word, rest)) = words.split_first() {
        words = rest;
        let name = word.known().map(|word| word.trim_start_matches('!'));
        match name {
            None | Some("" | "or" | "||") => {}
            Some("{") => {
                let Some(end) = rest.iter().position(|word| word.text() == "}") else {
                    out.add(
                        &finding::ARGUMENTS,
                        line,
                        "a `{` of the condition has no `}`",
                        "braces are words of their own, with spaces around them",
                        "{ path_beg /api }",
                    );
                    return;
                };
                let (test, after) = rest.split_at(end);
                words = after.get(1..).unwrap_or_default();
                method(line, test, out);
            }
            Some(name) if !defined.contains(&name) => out.add(
                &finding::UNKNOWN_ACL,
                line,
                format!("no line above defines the ACL `{name}`"),
                "a message has ACLs of its own and does not see those of proxies; a test without a name stands in braces",
                format!("acl {name} ..., above this line; or {{ ... }}"),
            ),
            Some(_) => {}
        }
    }
}

/// A variable may hold anything: HAProxy wants to be told how to compare it.
fn method(line: &Line, test: &[Word], out: &mut Findings) {
    let Some(expression) = test.first().and_then(Word::known) else { return };
    let untyped = sample::plain_variable(expression).is_some() && sample::parse(expression).converters.is_empty();
    if untyped && !test.iter().any(|word| word.text() == "-m") && test.iter().all(|word| word.known().is_some()) {
        out.add(
            &finding::ARGUMENTS,
            line,
            format!("`{expression}` without `-m`"),
            "a variable may be of any type, so HAProxy does not know how to compare it",
            format!("{expression} -m bool, or -m str, -m int, -m found"),
        );
    }
}

/// `-m bool` has no use for a value: `-m bool false` holds when the variable is true.
fn bool_values(line: &Line, out: &mut Findings) {
    let falsy = |word: &str| ["0", "false", "no", "off"].contains(&&*word.to_ascii_lowercase());
    let position = (1..line.words.len()).find(|at| {
        let words = line.from(*at);
        let method = words.first().and_then(Word::known) == Some("-m") && words.get(1).and_then(Word::known) == Some("bool");
        method && words.get(2).and_then(Word::known).is_some_and(falsy)
    });
    let Some(at) = position else { return };
    let value = line.get(at + 2).unwrap_or_default();
    out.add(
        &finding::BOOL_VALUE,
        line,
        format!("`-m bool {value}` holds when the value is true"),
        "`-m bool` compares with nothing: HAProxy ignores what comes after it, and the rule means the contrary of what it says",
        meant(line, at),
    );
}

/// A plain test in braces can be written as it was meant; an ACL has to be negated where it is named.
fn meant(line: &Line, at: usize) -> Fix {
    let begins = (0..at).rev().find(|begin| line.get(*begin).is_some_and(|word| word.ends_with('{')));
    let name = line.get(at - 1).and_then(sample::plain_variable);
    match (begins, name, line.get(at + 3)) {
        (Some(begin), Some(name), Some("}")) if begin + 2 == at && line.get(begin) == Some("{") => {
            let test = line.text(begin..at + 2);
            Fix::replace(line, line.with(begin..at + 4, &format!("{{ var({}) -m found }} !{test} }}", name.full)))
        }
        _ => "-m bool, with `!` where the test is used".into(),
    }
}
