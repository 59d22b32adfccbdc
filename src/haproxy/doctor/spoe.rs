//! An SPOE file, as one engine sees it: the agent, the messages and the groups of its scope.

use std::rc::Rc;

use super::line::{Line, Place, Text};
use super::settings::Settings;

/// What stands in a file for one engine.
#[derive(Debug, Default)]
pub(super) struct Spoe {
    pub(super) agents: Vec<Section>,
    pub(super) messages: Vec<Section>,
    pub(super) groups: Vec<Section>,
    /// Lines that begin sections of HAProxy's own configuration, and whether HAProxy overlooks them.
    pub(super) foreign: Vec<(Line, bool)>,
    /// Lines before all sections.
    pub(super) outside: Vec<Line>,
}

/// A `spoe-agent`, `spoe-message` or `spoe-group`.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) head: Line,
    lines: Vec<Line>,
}

impl Settings for Section {
    fn lines(&self) -> &[Line] {
        &self.lines
    }
}

impl Section {
    /// All names after a keyword, such as `messages`, on all of its lines.
    pub(super) fn names(&self, keyword: &str) -> Vec<Name<'_>> {
        let lines = self.lines.iter().filter(|line| line.is(&[keyword]));
        let names = lines.flat_map(|line| line.from(1).iter().map(move |word| (line, word)));
        names.filter_map(|(line, word)| word.known().map(|text| Name { line, text })).collect()
    }

    /// The expressions of a message's args, each with its line.
    pub(super) fn args(&self) -> impl Iterator<Item = (&Line, &str)> {
        let lines = self.lines.iter().filter(|line| line.is(&["args"]));
        let words = lines.flat_map(|line| line.from(1).iter().filter_map(move |word| Some((line, word.known()?))));
        words.map(|(line, word)| (line, word.split_once('=').map_or(word, |(_, expression)| expression)))
    }

    /// Whether all names after a keyword are certain.
    pub(super) fn is_certain(&self, keyword: &str) -> bool {
        let mut lines = self.lines.iter().filter(|line| line.is(&[keyword]));
        lines.all(|line| !line.maybe && line.words.iter().all(|word| word.known().is_some()))
    }
}

/// A name where it is mentioned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name<'a> {
    pub(super) line: &'a Line,
    pub(super) text: &'a str,
}

impl Spoe {
    /// What HAProxy takes of a file for an engine: the sections under `[engine]`; those under no scope for a filter without one.
    pub(super) fn read(text: &Text<'_>, engine: Option<&str>) -> Self {
        let mut spoe = Self::default();
        let mut kind = None;
        let mut foreign = false;
        for line in text.lines.iter().filter(|line| line.scope.as_deref() == engine) {
            let sections = match line.get(0) {
                Some("spoe-agent") => &mut spoe.agents,
                Some("spoe-message") => &mut spoe.messages,
                Some("spoe-group") => &mut spoe.groups,
                Some(word) if OWN.contains(&word) => {
                    // The last section goes on for HAProxy, and messages may have lines of any kind.
                    spoe.foreign.push((line.clone(), matches!(kind, Some(Kind::Message))));
                    foreign = true;
                    continue;
                }
                _ if foreign => continue,
                _ => {
                    let sections = match kind {
                        Some(Kind::Agent) => &mut spoe.agents,
                        Some(Kind::Message) => &mut spoe.messages,
                        Some(Kind::Group) => &mut spoe.groups,
                        None => {
                            spoe.outside.push(line.clone());
                            continue;
                        }
                    };
                    if let Some(section) = sections.last_mut() {
                        section.lines.push(line.clone());
                    }
                    continue;
                }
            };
            foreign = false;
            let name = line.get(1).unwrap_or_default().to_owned();
            sections.push(Section { name, head: line.clone(), lines: Vec::new() });
            kind = match line.get(0) {
                Some("spoe-agent") => Some(Kind::Agent),
                Some("spoe-message") => Some(Kind::Message),
                _ => Some(Kind::Group),
            };
        }
        spoe
    }

    pub(super) fn agent(&self) -> Option<&Section> {
        self.agents.first()
    }

    pub(super) fn message(&self, name: &str) -> Option<&Section> {
        self.messages.iter().find(|message| message.name == name)
    }

    pub(super) fn group(&self, name: &str) -> Option<&Section> {
        self.groups.iter().find(|group| group.name == name)
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = &Line> {
        [&self.agents, &self.messages, &self.groups].into_iter().flatten().flat_map(|section| &section.lines)
    }
}

/// Sections that belong into HAProxy's own files.
const OWN: [&str; 5] = ["global", "defaults", "frontend", "backend", "listen"];

#[derive(Clone, Copy)]
enum Kind {
    Agent,
    Message,
    Group,
}

/// Whether a text is an SPOE file rather than HAProxy's own.
pub(super) fn is_spoe(text: &Text<'_>) -> bool {
    let sections = ["spoe-agent", "spoe-message", "spoe-group"];
    let mut words = text.lines.iter().filter_map(|line| line.get(0));
    words.find(|word| OWN.contains(word) || sections.contains(word)).is_some_and(|word| sections.contains(&word))
}

/// Where a scope of a file that holds an agent begins, and its name; no place for sections under none.
pub(super) fn scopes_with_agent<'t>(text: &'t Text<'_>) -> Vec<(Option<Rc<str>>, &'t Place)> {
    let agents = text.lines.iter().filter(|line| line.is(&["spoe-agent"]));
    agents.map(|line| (line.scope.clone(), &line.place)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::env::Env;
    use super::super::line::read;
    use super::*;
    use crate::haproxy::Version;

    #[test]
    fn each_engine_sees_its_scope() {
        let text = read(
            "f",
            "spoe-agent plain\n use-backend p\n[br]\nspoe-agent a\n messages m n\n messages o\nspoe-message m\n event x\n[other]\nspoe-message q\n",
            Version::DEFAULT,
            &mut Env::default(),
        );
        let spoe = Spoe::read(&text, Some("br"));
        let names: Vec<_> = spoe.agent().unwrap().names("messages").iter().map(|name| name.text.to_owned()).collect();
        assert_eq!(names, ["m", "n", "o"]);
        assert!(spoe.message("m").is_some() && spoe.message("q").is_none());
        assert_eq!(Spoe::read(&text, None).agent().unwrap().name, "plain");
        assert!(Spoe::read(&text, Some("x")).agents.is_empty());
        assert!(is_spoe(&text));
    }
}
