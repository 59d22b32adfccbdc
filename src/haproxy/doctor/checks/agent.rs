//! The agent's options: variables, errors, frames.

use super::super::case::{Case, Engine, is_name};
use super::super::finding::{self, Findings, Severity};
use super::super::fix::Fix;
use super::super::line::{Line, Modifier};
use super::super::sample;
use super::super::settings::{Setting, Settings};
use super::super::spoe::Section;

pub(super) fn check(case: &Case<'_>, out: &mut Findings) {
    for engine in &case.engines {
        let Some(agent) = engine.spoe.agent() else { continue };
        prefix(agent, out);
        long_names(engine, agent, out);
        errors(case, engine, agent, out);
        options(case, agent, out);
        frames(case, agent, out);
    }
}

fn prefix(agent: &Section, out: &mut Findings) {
    let own = agent.line(&["option", "var-prefix"]).known();
    let prefix = match agent.value(&["option", "var-prefix"]) {
        Setting::Unset => &*agent.name,
        Setting::Known(prefix) => prefix,
        Setting::Unclear => return,
    };
    if let Some(c) = prefix.chars().find(|c| !is_name(*c)) {
        let of = if own.is_some() {
            "`option var-prefix`"
        } else {
            "the agent's name, which is the prefix unless `option var-prefix` is there,"
        };
        out.add(
            &finding::VAR_PREFIX,
            own.unwrap_or(&agent.head),
            format!("`{prefix}` is no prefix of variables: {of} has `{c}`"),
            "names of variables have letters, digits, `_` and `.`",
            "option var-prefix br",
        );
    } else if agent.line(&["option", "var-prefix"]) == Setting::Unset {
        out.add(
            &finding::NO_VAR_PREFIX,
            &agent.head,
            format!("variables are txn.{prefix}.NAME, after the agent"),
            "without `option var-prefix` the agent's name is the prefix: who renames the agent changes all variables",
            Fix::after(&agent.head, format!("option var-prefix {prefix}")),
        );
    }
}

/// HAProxy's limit for a variable's name with scope and prefix.
const LONGEST: usize = 63;

fn long_names(engine: &Engine, agent: &Section, out: &mut Findings) {
    let Setting::Known(prefix) = engine.prefix() else { return };
    let options = ["set-on-error", "set-process-time", "set-total-time"].into_iter().filter_map(|option| {
        let line = agent.line(&["option", option]).known()?;
        Some((line, line.get(2)?))
    });
    let registered = agent.names("register-var-names").into_iter().map(|name| (name.line, name.text));
    for (line, name) in options.chain(registered) {
        let full = format!("txn.{prefix}.{name}");
        if full.len() > LONGEST {
            out.add(
                &finding::NAME_TOO_LONG,
                line,
                format!("`{full}` has {} characters", full.len()),
                format!("HAProxy drops what is longer than {LONGEST} with scope and prefix; releases before August 2026 cut it"),
                "a shorter name, or a shorter `option var-prefix`",
            );
        }
    }
}

fn errors(case: &Case<'_>, engine: &Engine, agent: &Section, out: &mut Findings) {
    match engine.error_variable() {
        Setting::Unset => out.add(
            &finding::NO_SET_ON_ERROR,
            &agent.head,
            format!("agent `{}` has no `option set-on-error`", agent.name),
            "when HAProxy gets no answer, requests go on undecided, and nothing shows it",
            Fix::after(&agent.head, "option set-on-error error"),
        ),
        Setting::Known(variable) => error_variable(case, engine, agent, &variable, out),
        Setting::Unclear => {}
    }
    if engine.uses.is_empty() || agent.option("continue-on-error") != Setting::Unset {
        return;
    }
    let moments = engine.moments(case);
    let mut names: Vec<_> = moments.iter().map(|moment| moment.name).collect();
    names.sort_unstable();
    names.dedup();
    // In one proxy one after the other; frontends side by side don't concern each other.
    let several =
        moments.iter().any(|one| moments.iter().any(|other| one.proxy.name == other.proxy.name && one.name != other.name));
    if several {
        out.add(
            &finding::NO_CONTINUE_ON_ERROR,
            &agent.head,
            format!("agent `{}` has no `option continue-on-error`, and asks several times: {}", agent.name, super::list(names)),
            "one error switches the engine off for the rest of the transaction: what comes after it isn't asked, without a trace of its own",
            Fix::after(&agent.head, "option continue-on-error"),
        );
    }
}

fn error_variable(case: &Case<'_>, engine: &Engine, agent: &Section, variable: &str, out: &mut Findings) {
    let Setting::Known(line) = agent.line(&["option", "set-on-error"]) else { return };
    if engine.uses.is_empty() {
        return;
    }
    let unclear = case.all_words().any(|(_, word)| word.known().is_none() && word.text().is_empty());
    if !case.unclear && !unclear && !case.all_words().any(|(_, word)| sample::mentions(word.text(), variable)) {
        out.add(
            &finding::ERROR_NOT_READ,
            line,
            format!("nothing reads `{variable}`"),
            "it says why HAProxy got no answer: no rule acts on it, and no log shows it",
            format!("log-format \"... spoe_error=%[var({variable})]\", or a rule with {{ var({variable}) -m found }}"),
        );
    }
    for line in case.config.all_lines() {
        let reads = |word: Option<&str>| word.is_some_and(|word| sample::reads(word).any(|name| name.full == variable));
        let mut at = 0..line.words.len();
        let at = at.find(|at| reads(line.get(*at)) && line.get(at + 1) == Some("-m") && line.get(at + 2) == Some("bool"));
        if let Some(at) = at {
            let fix = Fix::replace(line, line.with(at + 2..at + 3, "found"));
            out.add(
                &finding::ERROR_AS_BOOL,
                line,
                format!("`{variable}` is tested with `-m bool`"),
                "it holds a number (1 timeout, 2 no server, 3 too big, 256+N a status), though its type is boolean: `-m bool` can't tell them apart",
                fix.saying(format!("{{ var({variable}) -m found }}, or `-m int 3`")),
            );
        }
    }
}

fn options(case: &Case<'_>, agent: &Section, out: &mut Findings) {
    if let (Setting::Known(false), Setting::Known(line)) = (agent.option("pipelining"), agent.line(&["option", "pipelining"])) {
        out.add(
            &finding::NO_PIPELINING,
            line,
            "one decision at a time on each connection",
            "without pipelining HAProxy opens a connection for every request under way; with it many (20 since 3.1) share one",
            Fix::remove(line).saying("option pipelining, which is the default"),
        );
    }
    if let Setting::Known(line) = agent.line(&["option", "force-set-var"]) {
        out.add(
            &finding::FORCE_SET_VAR,
            line,
            "the service may create variables of any name, as many as it likes",
            "each new name takes memory of HAProxy that is never given back",
            Fix::remove(line).saying("register-var-names NAME..., and no force-set-var"),
        );
    }
    let fragments = agent.option("send-frag-payload");
    if !case.version.has_mux() && matches!(fragments, Setting::Unset | Setting::Known(true)) {
        let line = agent.line(&["option", "send-frag-payload"]).known();
        out.add(
            &finding::FRAGMENTS,
            line.unwrap_or(&agent.head),
            "messages too big for a frame may be sent in pieces, which is the default up to 3.0",
            "the bridge takes no pieces, and HAProxy waits for an agent that does until `timeout processing`, instead of failing at once",
            match line {
                Some(line) => Fix::replace(line, line.with(0..line.words.len(), "no option send-frag-payload")),
                None => Fix::after(&agent.head, "no option send-frag-payload"),
            },
        );
    }
    if case.version.has_mux() {
        agent.lines().iter().filter(|line| is_ignored(line)).for_each(|line| ignored(case, line, out));
    }
}

/// What 3.1 and later read and forget.
fn is_ignored(line: &Line) -> bool {
    let keyword = line.get(0).is_some_and(|word| ["max-waiting-frames", "maxconnrate", "maxerrrate"].contains(&word));
    let option = line.is(&["option", "async"]) || line.is(&["option", "send-frag-payload"]);
    let timeout = line.is(&["timeout", "hello"]) || line.is(&["timeout", "idle"]);
    (keyword || option || timeout) && line.modifier == Modifier::Plain
}

fn ignored(case: &Case<'_>, line: &Line, out: &mut Findings) {
    let words: Vec<_> = [line.get(0), line.get(1)].into_iter().flatten().collect();
    out.add(
        &finding::IGNORED_KEYWORD,
        line,
        format!("`{}` has no effect with {}", words.join(" "), case.version),
        "since 3.1 SPOP connections are those of the backend; `timeout connect`, `timeout server` and `pool-purge-delay` there take its place",
        Fix::remove(line).saying("remove it where no release up to 3.0 reads the file"),
    );
}

/// What a buffer holds unless `tune.bufsize` says otherwise.
pub(super) const BUFSIZE: u64 = 16384;

fn frames(case: &Case<'_>, agent: &Section, out: &mut Findings) {
    let buffer = match case.config.global.number(&["tune.bufsize"]) {
        Setting::Known(size) => size,
        Setting::Unset => BUFSIZE,
        Setting::Unclear => return,
    };
    if let (Setting::Known(size), Setting::Known(line)) = (agent.number(&["max-frame-size"]), agent.line(&["max-frame-size"])) {
        let most = buffer.saturating_sub(4);
        if !(256..=most).contains(&size) {
            out.add(
                &finding::FRAME_SIZE,
                line,
                format!("`max-frame-size {size}` is not between 256 and {most}"),
                format!("a frame fits into a buffer, `tune.bufsize`, which has {buffer} bytes"),
                Fix::remove(line).saying(format!("tune.bufsize {}, in `global`, or no max-frame-size", size.saturating_add(4))),
            );
        } else if size < most.min(BUFSIZE - 4) {
            out.add_as(
                &finding::FRAME_SIZE,
                Severity::Warning,
                line,
                format!("`max-frame-size {size}` makes frames smaller than buffers are"),
                "what doesn't fit into a frame isn't sent at all, and the request goes on undecided",
                Fix::remove(line).saying("remove it: frames are as large as buffers then"),
            );
        }
    }
    let line = case.config.global.line(&["tune.bufsize"]).known().filter(|_| case.version.has_mux() && buffer < BUFSIZE);
    if let Some(line) = line {
        out.add(
            &finding::SMALL_BUFFERS,
            line,
            "`option spop-check` offers frames of 16380 bytes all the same",
            "agents that echo the offer are taken for dead; spop-bridge answers checks with 256 and is not",
            Fix::replace(line, line.with(1..2, "16384")).saying("tune.bufsize 16384, if other agents are asked too"),
        );
    }
}
