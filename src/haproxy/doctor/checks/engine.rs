//! Engines: names that must agree, and groups and messages that nobody sends.

use super::super::case::{Case, Engine};
use super::super::finding::{self, Findings};
use super::super::fix::Fix;
use super::super::line::{Line, Modifier};
use super::super::rules::Rules;
use super::super::settings::{Setting, Settings};
use super::super::spoe::{Name, Section};
use super::list;

pub(super) fn check(case: &Case<'_>, out: &mut Findings) {
    for engine in &case.engines {
        duplicates(engine, out);
        unknown_keywords(engine, out);
        use_backend(case, engine, out);
        messages(engine, out);
        if !engine.uses.is_empty() && !case.unclear {
            groups_sent(case, engine, out);
        }
        messages_sent(case, engine, out);
    }
    for (position, proxy) in case.config.proxies.iter().enumerate() {
        let engines: Vec<_> = case.engines_of(position).collect();
        twice(position, &engines, out);
        let filters = proxy.lines().iter().filter(|line| line.is(&["filter", "spoe"])).count();
        for rule in &Rules::new(proxy).list {
            let Some((Some(engine), Some(group))) = rule.sends().map(|(engine, group)| (engine.known(), group.known())) else {
                continue;
            };
            match engines.iter().find(|candidate| candidate.name == engine) {
                Some(engine) => undeclared_group(engine, group, rule.line, out),
                // Each filter of the proxy was understood, and none is meant.
                None if filters == engines.len() => other_engine(&proxy.title(), engine, &engines, rule.line, out),
                None => {}
            }
        }
    }
}

/// Filters of a proxy whose engines have the same name.
fn twice(position: usize, engines: &[&Engine], out: &mut Findings) {
    let uses = engines.iter().flat_map(|engine| engine.uses.iter().map(move |used| (*engine, used)));
    let uses: Vec<_> = uses.filter(|(_, used)| used.proxy == position && !used.line.maybe).collect();
    for (at, (engine, second)) in uses.iter().enumerate() {
        let first = uses.iter().take(at).find(|(other, _)| other.name == engine.name);
        let Some((other, first)) = first else { continue };
        let same = other.file == engine.file;
        out.add(
            &finding::DUPLICATE,
            &second.line,
            format!("the engine `{}` has a filter in line {} already", engine.name, first.line.place.line),
            "a proxy asks an engine by one filter, which is there for all of its rules",
            if same { Fix::remove(&second.line) } else { "another name for one of the engines".into() },
        );
    }
}

fn duplicates(engine: &Engine, out: &mut Findings) {
    if let Some(second) = engine.spoe.agents.get(1) {
        out.add(
            &finding::DUPLICATE,
            &second.head,
            format!("a second spoe-agent, `{}`, for the engine `{}`", second.name, engine.name),
            "an engine has one agent",
            "give it a `[scope]` and a filter of its own",
        );
    }
    for (kind, sections) in [("spoe-message", &engine.spoe.messages), ("spoe-group", &engine.spoe.groups)] {
        for (position, section) in sections.iter().enumerate() {
            let first = sections.iter().take(position).find(|earlier| earlier.name == section.name);
            if let Some(first) = first {
                out.add(
                    &finding::DUPLICATE,
                    &section.head,
                    format!("{kind} `{}` stands in line {} already", section.name, first.head.place.line),
                    "names are unique within a scope",
                    "rename one of them",
                );
            }
        }
    }
    for group in &engine.spoe.groups {
        for name in group.names("messages") {
            let others = engine.spoe.groups.iter().take_while(|other| other.name != group.name);
            let other = others.into_iter().find(|other| other.names("messages").iter().any(|other| other.text == name.text));
            if let Some(other) = other {
                out.add(
                    &finding::DUPLICATE,
                    name.line,
                    format!("message `{}` is in the groups `{}` and `{}`", name.text, other.name, group.name),
                    "a message belongs to one group at most",
                    "define the message a second time by another name",
                );
            }
        }
    }
}

const AGENT: [&str; 11] = [
    "groups",
    "log",
    "max-frame-size",
    "max-waiting-frames",
    "maxconnrate",
    "maxerrrate",
    "messages",
    "option",
    "register-var-names",
    "timeout",
    "use-backend",
];

const OPTIONS: [&str; 10] = [
    "async",
    "continue-on-error",
    "dontlog-normal",
    "force-set-var",
    "pipelining",
    "send-frag-payload",
    "set-on-error",
    "set-process-time",
    "set-total-time",
    "var-prefix",
];

const EVENTS: [&str; 8] = [
    "on-backend-http-request",
    "on-backend-tcp-request",
    "on-client-session",
    "on-frontend-http-request",
    "on-frontend-tcp-request",
    "on-http-response",
    "on-server-session",
    "on-tcp-response",
];

fn unknown_keywords(engine: &Engine, out: &mut Findings) {
    let spoe = &engine.spoe;
    let mut unknown = |line: &Line, silent: bool, what: &str, known: &[&str]| {
        let what = format!("{what} does not exist");
        let knows = format!("HAProxy knows {}", list(known.iter().copied()));
        if silent {
            let why = format!("{knows}, and overlooks everything else in a spoe-message: what is meant here does not happen");
            out.add_silent(&finding::UNKNOWN_KEYWORD, line, what, why, "write one of them, or remove the line");
        } else {
            out.add(&finding::UNKNOWN_KEYWORD, line, what, knows, "write one of them");
        }
    };
    for line in spoe.agents.iter().flat_map(|agent| agent.lines()) {
        let Some(word) = line.get(0) else { continue };
        if !AGENT.contains(&word) {
            unknown(line, false, &format!("`{word}` of spoe-agent"), &AGENT);
        }
        let option = line.get(1).filter(|option| word == "option" && !OPTIONS.contains(option));
        if let Some(option) = option {
            unknown(line, false, &format!("`option {option}` of spoe-agent"), &OPTIONS);
        }
    }
    for line in spoe.messages.iter().flat_map(|message| message.lines()) {
        match (line.get(0), line.get(1)) {
            (Some("event"), Some(event)) if !EVENTS.contains(&event) => {
                unknown(line, false, &format!("the event `{event}`"), &EVENTS);
            }
            (Some("args" | "acl" | "event"), _) | (None, _) => {}
            (Some(word), _) => unknown(line, true, &format!("`{word}` of spoe-message"), &["acl", "args", "event"]),
        }
    }
    for line in spoe.groups.iter().flat_map(|group| group.lines()) {
        if let Some(word) = line.get(0).filter(|word| *word != "messages") {
            unknown(line, false, &format!("`{word}` of spoe-group"), &["messages"]);
        }
    }
    for line in &spoe.outside {
        let word = line.get(0).unwrap_or_default();
        unknown(line, false, &format!("`{word}` before the first section"), &["spoe-agent", "spoe-group", "spoe-message"]);
    }
    for (line, overlooked) in &spoe.foreign {
        let what = format!("`{}` stands in the SPOE file", line.text(0..line.words.len()));
        let fix = "move the section to HAProxy's configuration, the file with the `filter`";
        if *overlooked {
            let why = "HAProxy takes it and its lines for lines of the spoe-message above, and overlooks them";
            out.add_silent(&finding::UNKNOWN_KEYWORD, line, what, why, fix);
        } else {
            out.add(&finding::UNKNOWN_KEYWORD, line, what, "HAProxy takes it for a line of the section above", fix);
        }
    }
}

fn use_backend(case: &Case<'_>, engine: &Engine, out: &mut Findings) {
    let Some(agent) = engine.spoe.agent() else { return };
    match agent.line(&["use-backend"]) {
        Setting::Unset => out.add(
            &finding::USE_BACKEND,
            &agent.head,
            format!("agent `{}` has no `use-backend`", agent.name),
            "the agent's servers are those of a backend of HAProxy's configuration",
            "use-backend spop-bridge",
        ),
        Setting::Known(line) if !engine.uses.is_empty() => {
            let backends = case.config.proxies.iter().filter(|proxy| proxy.has_backend());
            let name = line.get(1).filter(|name| case.config.backend(name).is_none());
            if let Some(name) = name {
                out.add(
                    &finding::USE_BACKEND,
                    line,
                    format!("there is no backend `{name}`"),
                    format!("the backends are {}", list(backends.map(|backend| &backend.name[..]))),
                    format!("backend {name}, in HAProxy's configuration"),
                );
            }
        }
        _ => {}
    }
}

/// Names of messages and groups that nothing defines.
fn messages(engine: &Engine, out: &mut Findings) {
    let spoe = &engine.spoe;
    let missing = |kind: &str, name: &Name<'_>, out: &mut Findings, rule| {
        out.add(
            rule,
            name.line,
            format!("there is no {kind} `{}` for the engine `{}`", name.text, engine.name),
            "the names must agree to the letter, and the sections stand under the same `[scope]`",
            format!("{kind} {}", name.text),
        );
    };
    let lists = spoe.agents.iter().chain(&spoe.groups);
    for name in lists.flat_map(|section| section.names("messages")) {
        if spoe.message(name.text).is_none() {
            missing("spoe-message", &name, out, &finding::UNKNOWN_MESSAGE);
        }
    }
    for name in spoe.agents.iter().flat_map(|agent| agent.names("groups")) {
        if spoe.group(name.text).is_none() {
            missing("spoe-group", &name, out, &finding::UNKNOWN_GROUP);
        }
    }
}

fn undeclared_group(engine: &Engine, group: &str, line: &Line, out: &mut Findings) {
    let Some(agent) = engine.spoe.agent() else { return };
    if !agent.is_certain("groups") || agent.names("groups").iter().any(|name| name.text == group) {
        return;
    }
    let defined = engine.spoe.group(group).is_some();
    let what = if defined {
        format!("the group `{group}` is not in `groups` of the agent `{}`", agent.name)
    } else {
        format!("the engine `{}` has no group `{group}`", engine.name)
    };
    let fix = if defined {
        listed(agent, "groups", group)
    } else {
        format!("spoe-group {group}, and `groups {group}` in the agent").into()
    };
    out.add(&finding::UNKNOWN_GROUP, line, what, "rules can send only the groups that the agent names", fix);
}

/// A name in a list of the agent.
fn listed(agent: &Section, keyword: &str, name: &str) -> Fix {
    let text = format!("{keyword} {name}");
    Fix::after(&agent.head, &*text).saying(format!("{text}, in the spoe-agent section"))
}

/// An event that comes where the engine's filter is.
fn event_for(case: &Case<'_>, engine: &Engine, message: &Section) -> Fix {
    let mut proxies = engine.uses.iter().filter_map(|used| case.config.proxies.get(used.proxy));
    let side = if proxies.all(|proxy| proxy.has_frontend()) { "frontend" } else { "backend" };
    Fix::after(&message.head, format!("event on-{side}-http-request"))
}

fn other_engine(proxy: &str, name: &str, engines: &[&Engine], line: &Line, out: &mut Findings) {
    let there = if engines.is_empty() {
        "it has no `filter spoe`".to_owned()
    } else {
        format!("its engines are {}", list(engines.iter().map(|engine| &engine.name[..])))
    };
    out.add(
        &finding::OTHER_ENGINE,
        line,
        format!("{proxy} has no engine `{name}`: {there}"),
        "`send-spoe-group ENGINE GROUP` wants a filter of that engine in the same proxy; without `engine` in the filter, the engine is named like its agent",
        match (engines, line.words.iter().position(|word| word.known() == Some("send-spoe-group"))) {
            ([engine], Some(at)) if engine.spoe.group(line.get(at + 2).unwrap_or_default()).is_some() => {
                Fix::replace(line, line.with(at + 1..at + 2, &engine.name))
            }
            _ => format!("filter spoe engine {name} config FILE, in {proxy}").into(),
        },
    );
}

fn groups_sent(case: &Case<'_>, engine: &Engine, out: &mut Findings) {
    let Some(agent) = engine.spoe.agent() else { return };
    let moments = engine.moments(case);
    let sent = |name: &str| moments.iter().any(|moment| moment.rule.is_some() && moment.name == name);
    let unclear = case
        .config
        .proxies
        .iter()
        .flat_map(|proxy| Rules::new(proxy).list)
        .any(|rule| rule.sends().is_some_and(|(engine, group)| engine.known().is_none() || group.known().is_none()));
    if unclear {
        return;
    }
    let defined = |name: &Name<'_>| engine.spoe.group(name.text).is_some();
    for name in agent.names("groups").into_iter().filter(|name| defined(name) && !sent(name.text)) {
        out.add(
            &finding::GROUP_NEVER_SENT,
            name.line,
            format!("no rule sends the group `{}` of the engine `{}`", name.text, engine.name),
            "groups leave only where a rule says so; nothing asks the service, and nothing says that",
            send(case, engine, name.text),
        );
    }
}

/// A rule that sends a group, at the top of the proxy that may.
fn send(case: &Case<'_>, engine: &Engine, group: &str) -> Fix {
    let text = format!("http-request send-spoe-group {} {group}", engine.name);
    let said = format!("{text}, where the filter is");
    match &engine.uses[..] {
        [used] if case.config.proxies.get(used.proxy).is_some_and(|proxy| proxy.mode() == Setting::Known("http")) => {
            Fix::after(&used.line, text).saying(said)
        }
        _ => said.into(),
    }
}

/// Messages and groups that are in no list.
fn messages_sent(case: &Case<'_>, engine: &Engine, out: &mut Findings) {
    let Some(agent) = engine.spoe.agent() else { return };
    let sections = || engine.spoe.agents.iter().chain(&engine.spoe.groups);
    if !agent.is_certain("messages") || !agent.is_certain("groups") || !sections().all(|section| section.is_certain("messages")) {
        return;
    }
    let by_event = agent.names("messages");
    let groups = agent.names("groups");
    let has = |names: &[Name<'_>], name: &str| names.iter().any(|candidate| candidate.text == name);
    let groups_of = |message: &Section| {
        let holds = |group: &&Section| has(&group.names("messages"), &message.name);
        engine.spoe.groups.iter().filter(holds).map(|group| group.name.clone()).collect::<Vec<_>>()
    };
    // A name that is misspelt in one of two places is one finding.
    let misspelt = groups.iter().any(|name| engine.spoe.group(name.text).is_none());
    for group in engine.spoe.groups.iter().filter(|group| !misspelt && !has(&groups, &group.name)) {
        out.add(
            &finding::GROUP_NEVER_SENT,
            &group.head,
            format!("the group `{}` is not in `groups` of the agent `{}`", group.name, agent.name),
            "rules can send only the groups that the agent names",
            listed(agent, "groups", &group.name),
        );
    }
    let first =
        |message: &&Section| engine.spoe.message(&message.name).is_some_and(|first| first.head.place == message.head.place);
    for message in engine.spoe.messages.iter().filter(first) {
        let groups = groups_of(message);
        if !has(&by_event, &message.name) && groups.is_empty() {
            out.add(
                &finding::MESSAGE_NEVER_SENT,
                &message.head,
                format!("message `{}` is neither in `messages` of the agent nor in a group", message.name),
                "a message leaves at its event if the agent names it, or with a group that a rule sends",
                match message.line(&["event"]) {
                    Setting::Known(_) => listed(agent, "messages", &message.name),
                    _ => format!("messages {}, in the spoe-agent section", message.name).into(),
                },
            );
        }
        match message.line(&["event"]) {
            Setting::Unset if has(&by_event, &message.name) => out.add(
                &finding::MESSAGE_NO_EVENT,
                &message.head,
                format!("message `{}` is in `messages` of the agent and has no `event`", message.name),
                "the agent's messages leave at their events; HAProxy warns and ignores this one",
                event_for(case, engine, message),
            ),
            Setting::Known(line) if !has(&by_event, &message.name) && !groups.is_empty() && line.modifier == Modifier::Plain => {
                out.add(
                    &finding::EVENT_IN_GROUP,
                    line,
                    format!(
                        "message `{}` is only in the group {}: its `event` is ignored",
                        message.name,
                        list(groups.iter().map(|name| &name[..]))
                    ),
                    "messages of groups leave when a rule sends the group, and at no event",
                    Fix::remove(line)
                        .saying(format!("remove the event, or say `messages {}` in the spoe-agent section", message.name)),
                )
            }
            _ => {}
        }
    }
}
