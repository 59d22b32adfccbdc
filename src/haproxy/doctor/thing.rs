//! Things that rules set and messages read: variables, headers, counters, captures, addresses, paths.

use super::line::Line;
use super::sample::{self, VarName};
use super::word::Word;

/// Something that a rule sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Thing<'a> {
    Variable(VarName<'a>),
    /// A header that proxies set, in lower case.
    Header {
        response: bool,
        name: String,
    },
    /// A slot of `http-request capture`.
    Capture(u32),
    /// What `track-sc` counts.
    Counter(u32),
    /// `src`, `src_port`, `dst` or `dst_port`.
    Address(&'static str),
    /// A path that is normalized.
    Path,
    /// A path that is rewritten for the application.
    Rewritten,
}

impl Thing<'_> {
    /// As messages name it.
    pub(super) fn title(&self) -> String {
        match self {
            Self::Variable(name) => format!("`{}`", name.full),
            Self::Header { response: false, name } => format!("the header `{name}`"),
            Self::Header { response: true, name } => format!("the response's header `{name}`"),
            Self::Capture(slot) => format!("the capture {slot}"),
            Self::Counter(number) => format!("what `track-sc{number}` counts"),
            Self::Address(name) => format!("`{name}`"),
            Self::Path | Self::Rewritten => "the path".to_owned(),
        }
    }

    /// Whether what an earlier request has set is still there: reading it before it is set again may be meant.
    pub(super) fn is_kept(&self) -> bool {
        matches!(self, Self::Variable(name) if matches!(name.scope(), "sess" | "proc"))
    }

    /// Whether it can decide if a question is asked. Conditions on paths are the subject of another finding.
    pub(super) fn is_about_requests(&self) -> bool {
        !matches!(self, Self::Path | Self::Rewritten)
    }

    /// Whether `tcp-request content` can set it too.
    pub(super) fn is_set_by_tcp_rules(&self) -> bool {
        matches!(self, Self::Variable(_) | Self::Counter(_) | Self::Address(_))
    }
}

/// What a word of an arg or a condition reads.
pub(super) fn read_by(word: &str) -> Vec<Thing<'_>> {
    let mut things: Vec<_> = sample::reads(word).map(Thing::Variable).collect();
    let expression = sample::parse(word);
    let converters = expression.converters.iter().filter(|call| !call.name.ends_with("set-var"));
    let operands = converters.flat_map(|call| call.args.split(',')).map(|arg| VarName { full: arg.trim() });
    things.extend(operands.filter(|name| is_variable(*name)).map(Thing::Variable));
    let (name, args) = (expression.fetch.name, expression.fetch.args);
    let first = args.split(',').next().unwrap_or_default().trim();
    let header = name.strip_prefix("req.").or(Some(name)).filter(|name| {
        let base = name.split('_').next().unwrap_or_default();
        ["hdr", "fhdr"].contains(&base)
    });
    let response = name.strip_prefix("res.").is_some_and(|name| name.starts_with("hdr") || name.starts_with("fhdr"));
    if (header.is_some() || response) && !first.is_empty() {
        things.push(Thing::Header { response, name: first.to_ascii_lowercase() });
    }
    if name == "capture.req.hdr" {
        things.extend(first.parse().ok().map(Thing::Capture));
    }
    if let Some(counter) = name.strip_prefix("sc") {
        let (number, _) = counter.split_once('_').unwrap_or_default();
        let number = if number.is_empty() { first } else { number };
        things.extend(number.parse().ok().map(Thing::Counter));
    }
    things.extend(address(name).map(Thing::Address));
    if ["path", "pathq", "url", "base"].contains(&name) {
        things.extend([Thing::Path, Thing::Rewritten]);
    }
    things
}

fn address(fetch: &str) -> Option<&'static str> {
    match fetch {
        "src_port" => Some("src_port"),
        "dst_port" => Some("dst_port"),
        "dst" => Some("dst"),
        "src" => Some("src"),
        _ if fetch.starts_with("src_") => Some("src"),
        _ => None,
    }
}

fn is_variable(name: VarName<'_>) -> bool {
    ["txn", "req", "res", "sess", "proc"].contains(&name.scope()) && !name.rest().is_empty()
}

/// What a rule sets.
pub(super) fn set_by<'a>(action: &str, line: &'a Line) -> Vec<Thing<'a>> {
    let texts = line.words.iter().map(Word::text);
    let mut things: Vec<_> = texts.flat_map(variables_set).map(Thing::Variable).collect();
    let response = line.get(0).is_some_and(|word| word == "http-response" || word == "http-after-response");
    match action {
        "set-header" | "add-header" => {
            let name = line.get(2).unwrap_or_default().to_ascii_lowercase();
            if !is_of_clients(&name) {
                things.push(Thing::Header { response, name });
            }
        }
        "normalize-uri" => things.push(Thing::Path),
        "set-path" | "replace-path" | "set-pathq" | "replace-pathq" | "set-uri" | "replace-uri" => things.push(Thing::Rewritten),
        "set-src" => things.push(Thing::Address("src")),
        "set-dst" => things.push(Thing::Address("dst")),
        "set-src-port" => things.push(Thing::Address("src_port")),
        "set-dst-port" => things.push(Thing::Address("dst_port")),
        _ => {
            if let Some(number) = action.strip_prefix("track-sc") {
                things.extend(number.parse().ok().map(Thing::Counter));
            }
        }
    }
    things
}

/// The slot of `http-request capture` that a line fills, of those that the lines before it make.
pub(super) fn slot_filled(lines: &[Line], line: &Line) -> Option<u32> {
    let action = if line.get(0) == Some("tcp-request") { 2 } else { 1 };
    if line.get(action) != Some("capture") || line.get(0) == Some("http-response") {
        return None;
    }
    if let Some(id) = line.words.iter().position(|word| word.text() == "id") {
        return line.get(id + 1)?.parse().ok();
    }
    let makes = |line: &&Line| {
        let has_length = line.words.iter().any(|word| word.text() == "len");
        line.is(&["capture", "request", "header"])
            || line.is(&["declare", "capture", "request"])
            || (has_length && (line.is(&["http-request", "capture"]) || line.is(&["tcp-request", "content", "capture"])))
    };
    let before = lines.iter().take_while(|before| !std::ptr::eq(*before, line));
    u32::try_from(before.filter(makes).count()).ok()
}

/// Variables that a word sets, by `do-resolve` too.
fn variables_set(word: &str) -> impl Iterator<Item = VarName<'_>> {
    let resolved = word.strip_prefix("do-resolve(").and_then(|rest| rest.split([',', ')']).next());
    let resolved = resolved.map(|full| VarName { full });
    sample::writes(word).filter(|name| !word.contains(&format!("unset-var({}", name.full))).chain(resolved)
}

/// Headers of which the client's own value may be what is meant, whatever is sent on in its place.
fn is_of_clients(name: &str) -> bool {
    let own =
        ["accept", "content-", "host", "origin", "referer", "user-agent", "via", "range", "if-", "connection", "upgrade", "te"];
    let secret = ["auth", "token", "key", "cookie", "secret", "session", "credential"];
    own.iter().any(|own| name.starts_with(own)) || secret.iter().any(|part| name.contains(part))
}
