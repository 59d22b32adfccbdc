//! What the doctor finds, and the list of everything that it can find.

use std::collections::BTreeSet;
use std::fmt;

use super::fix::Fix;
use super::line::{Line, Place};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Severity {
    /// Requests go undecided, or HAProxy refuses it.
    Error,
    /// Works until something goes wrong.
    Warning,
    /// Good to know.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

/// What HAProxy itself says of it when it reads the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Haproxy {
    Refuses,
    Warns,
    /// Of the milder case, which depends on the release; of the other it says nothing.
    WarnsOfMilder,
    Silent,
}

/// One kind of finding.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// For comments that silence it, and docs/doctor.md. Never changes.
    pub(crate) id: &'static str,
    pub(crate) severity: Severity,
    pub(crate) haproxy: Haproxy,
}

macro_rules! rules {
    ($($name:ident = $id:literal, $severity:ident, $haproxy:ident;)+) => {
        $(pub(super) static $name: Rule = Rule { id: $id, severity: Severity::$severity, haproxy: Haproxy::$haproxy };)+
        /// All of them, in the order of docs/doctor.md.
        #[cfg(test)]
        pub(super) static ALL: &[&Rule] = &[$(&$name),+];
    };
}

rules! {
    // Engines, messages and groups.
    NOT_CHECKED = "not-checked", Note, Silent;
    SYNTAX = "syntax", Error, Refuses;
    SPOE_FILE = "spoe-file", Error, Refuses;
    ENGINE_SCOPE = "engine-scope", Error, Refuses;
    DUPLICATE = "duplicate", Error, Refuses;
    ARGUMENTS = "arguments", Error, Refuses;
    UNKNOWN_ACL = "unknown-acl", Error, Refuses;
    UNKNOWN_KEYWORD = "unknown-keyword", Error, Refuses;
    USE_BACKEND = "use-backend", Error, Refuses;
    UNKNOWN_MESSAGE = "unknown-message", Error, Refuses;
    UNKNOWN_GROUP = "unknown-group", Error, Refuses;
    OTHER_ENGINE = "other-engine", Error, Refuses;
    GROUP_NEVER_SENT = "group-never-sent", Error, Silent;
    MESSAGE_NEVER_SENT = "message-never-sent", Warning, Silent;
    MESSAGE_NO_EVENT = "message-no-event", Error, Warns;
    EVENT_IN_GROUP = "event-in-group", Warning, Silent;
    EVENT_NEVER_FIRES = "event-never-fires", Error, Silent;
    // The backend of an engine.
    SPOP_MODE = "spop-mode", Error, Refuses;
    BACKEND_MODE = "backend-mode", Error, Refuses;
    TCP_MODE = "tcp-mode", Note, Silent;
    NO_SERVER = "no-server", Error, Silent;
    NO_CHECK = "no-check", Warning, Silent;
    NO_SPOP_CHECK = "no-spop-check", Warning, Silent;
    WRONG_CHECK = "wrong-check", Error, Silent;
    BACKEND_TIMEOUT = "backend-timeout", Warning, Silent;
    TIMEOUT_SERVER = "timeout-server", Warning, Silent;
    SEND_PROXY = "send-proxy", Error, WarnsOfMilder;
    SERVER_MAXCONN = "server-maxconn", Warning, Silent;
    CHROOT_SOCKET = "chroot-socket", Warning, Silent;
    ABSTRACT_SOCKET = "abstract-socket", Error, Silent;
    // The agent.
    VAR_PREFIX = "var-prefix", Error, Refuses;
    PREFIX_OVERLAP = "prefix-overlap", Warning, Silent;
    NO_VAR_PREFIX = "no-var-prefix", Note, Silent;
    NAME_TOO_LONG = "name-too-long", Error, Silent;
    NO_SET_ON_ERROR = "no-set-on-error", Warning, Silent;
    ERROR_NOT_READ = "error-not-read", Warning, Silent;
    ERROR_AS_BOOL = "error-as-bool", Note, Silent;
    NO_CONTINUE_ON_ERROR = "no-continue-on-error", Warning, Silent;
    PROCESSING_TIMEOUT = "processing-timeout", Warning, Warns;
    HELLO_IDLE_TIMEOUT = "hello-idle-timeout", Warning, Warns;
    IGNORED_KEYWORD = "ignored-keyword", Note, Silent;
    FRAGMENTS = "fragments", Warning, Silent;
    NO_PIPELINING = "no-pipelining", Warning, Silent;
    FORCE_SET_VAR = "force-set-var", Warning, Silent;
    FRAME_SIZE = "frame-size", Error, Refuses;
    SMALL_BUFFERS = "small-buffers", Note, Silent;
    // Bodies.
    TOO_BIG = "too-big", Error, Silent;
    BODY_SIZE = "body-size", Warning, Silent;
    BODY_NOT_THERE = "body-not-there", Error, Silent;
    // Rules.
    WRONG_PREFIX = "wrong-prefix", Error, Silent;
    NO_PREFIX = "no-prefix", Error, Silent;
    NO_FILTER = "no-filter", Error, Silent;
    READ_TOO_EARLY = "read-too-early", Error, Silent;
    SET_TOO_LATE = "set-too-late", Error, Silent;
    VAR_SCOPE = "var-scope", Error, Silent;
    FAILS_OPEN = "fails-open", Warning, Silent;
    FAILS_CLOSED = "fails-closed", Note, Silent;
    BOOL_VALUE = "bool-value", Error, Silent;
    RAW_PATH = "raw-path", Warning, Silent;
    STALE_VERDICT = "stale-verdict", Warning, Silent;
    FORGED_HEADER = "forged-header", Warning, Silent;
    // Releases.
    FILTER_SEQUENCE = "filter-sequence", Error, Refuses;
    KNOWN_BAD = "known-bad", Warning, Silent;
    // With the bridge's configuration.
    UNROUTED = "unrouted", Error, Silent;
    BRIDGE_PREFIX = "bridge-prefix", Error, Silent;
    BRIDGE_TIMEOUT = "bridge-timeout", Error, Silent;
    BRIDGE_ADDRESS = "bridge-address", Error, Silent;
    BRIDGE_VARIABLE = "bridge-variable", Warning, Silent;
    BRIDGE_WARNING = "bridge-warning", Warning, Silent;
    BRIDGE_FRAME = "bridge-frame", Warning, Silent;
    SOCKET_RIGHTS = "socket-rights", Error, Silent;
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) rule: &'static Rule,
    /// The rule's, unless this one is milder or worse.
    pub(crate) severity: Severity,
    /// The rule's, unless HAProxy is milder with this one.
    pub(crate) haproxy: Haproxy,
    pub(crate) place: Place,
    pub(crate) what: String,
    pub(crate) why: String,
    pub(crate) fix: Fix,
}

/// What to do about a value that only HAProxy sees.
pub(super) const GIVE: &str = "--env NAME=VALUE, for each variable of the environment that decides it";

/// Collects findings: each once, none where HAProxy may not read the line, none that a comment silences.
#[derive(Default)]
pub(super) struct Findings {
    found: Vec<Finding>,
    ignored: BTreeSet<(Place, String)>,
    silenced: usize,
}

impl Findings {
    pub(super) fn ignore(&mut self, ignored: BTreeSet<(Place, String)>) {
        self.ignored.extend(ignored);
    }

    pub(super) fn has(&self, rule: &Rule) -> bool {
        self.found.iter().any(|finding| finding.rule == rule)
    }

    pub(super) fn add(
        &mut self,
        rule: &'static Rule,
        line: &Line,
        what: impl Into<String>,
        why: impl Into<String>,
        fix: impl Into<Fix>,
    ) {
        self.add_as(rule, rule.severity, line, what, why, fix);
    }

    /// A milder or worse case. What is milder than an error HAProxy takes.
    pub(super) fn add_as(
        &mut self,
        rule: &'static Rule,
        severity: Severity,
        line: &Line,
        what: impl Into<String>,
        why: impl Into<String>,
        fix: impl Into<Fix>,
    ) {
        let (what, why, fix) = (what.into(), why.into(), fix.into());
        if !line.maybe {
            self.add_at(rule, severity, &line.place, what, why, fix);
        } else if severity != Severity::Note {
            let what = format!("whether HAProxy reads this line is not known; if it does: {what} [{}]", rule.id);
            let why = "it stands in a conditional block that depends on what only HAProxy sees";
            self.add_at(&NOT_CHECKED, Severity::Note, &line.place, what, why, GIVE);
        }
    }

    /// A case that HAProxy takes without a word, though it refuses others.
    pub(super) fn add_silent(
        &mut self,
        rule: &'static Rule,
        line: &Line,
        what: impl Into<String>,
        why: impl Into<String>,
        fix: impl Into<Fix>,
    ) {
        let before = self.found.len();
        self.add(rule, line, what, why, fix);
        self.found.iter_mut().skip(before).for_each(|finding| finding.haproxy = Haproxy::Silent);
    }

    pub(super) fn add_at(
        &mut self,
        rule: &'static Rule,
        severity: Severity,
        place: &Place,
        what: impl Into<String>,
        why: impl Into<String>,
        fix: impl Into<Fix>,
    ) {
        let haproxy = match (rule.haproxy, severity) {
            (Haproxy::Refuses, Severity::Warning | Severity::Note) => Haproxy::Silent,
            (Haproxy::WarnsOfMilder, Severity::Warning) => Haproxy::Warns,
            (Haproxy::WarnsOfMilder, _) => Haproxy::Silent,
            (haproxy, _) => haproxy,
        };
        let (place, what, why, fix) = (place.clone(), what.into(), why.into(), fix.into());
        let finding = Finding { rule, severity, haproxy, place, what, why, fix };
        let same = |other: &Finding| (other.rule, &other.place, &other.what) == (finding.rule, &finding.place, &finding.what);
        if self.found.iter().any(same) {
            return;
        }
        if self.ignored.contains(&(finding.place.clone(), rule.id.to_owned())) {
            self.silenced += 1;
            return;
        }
        self.found.push(finding);
    }

    /// All of them by place, and how many a comment silenced.
    pub(super) fn finish(mut self) -> (Vec<Finding>, usize) {
        self.found.sort_by(|a, b| (&a.place, a.severity, a.rule.id).cmp(&(&b.place, b.severity, b.rule.id)));
        (self.found, self.silenced)
    }
}
