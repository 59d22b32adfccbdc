//! A page of Markdown, as far as the tests read it.

use std::fs;
use std::path::Path;

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// What is in a page.
#[derive(Default)]
pub(super) struct Page {
    /// Where links and images lead.
    pub(super) links: Vec<String>,
    /// What links to the page's headings say after `#`.
    pub(super) anchors: Vec<String>,
    /// What comments of the form `<!-- test: ... -->` ask for.
    pub(super) steps: Vec<Step>,
}

/// A comment for tests, and the block of code that follows it at once, if one does.
pub(super) struct Step {
    pub(super) what: String,
    pub(super) code: String,
}

impl Page {
    pub(super) fn read(path: &Path) -> Page {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut page = Page::default();
        let (mut heading, mut block) = (None, None);
        for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => page.links.push(dest_url.into_string()),
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => page.add_anchor(&heading.take().unwrap_or_default()),
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(_))) => block = Some(String::new()),
                Event::End(TagEnd::CodeBlock) => page.add_code(block.take().unwrap_or_default()),
                Event::Html(html) => page.add_step(&html),
                Event::Text(text) | Event::Code(text) => {
                    if let Some(into) = heading.as_mut().or(block.as_mut()) {
                        into.push_str(&text);
                    }
                }
                _ => {}
            }
        }
        page
    }

    /// As forges and mdBook make them: the second of a name is `name-1`.
    fn add_anchor(&mut self, heading: &str) {
        let kept = heading.to_lowercase().replace(' ', "-");
        let anchor: String = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect();
        let mut unique = anchor.clone();
        for number in 1.. {
            if !self.anchors.contains(&unique) {
                break;
            }
            unique = format!("{anchor}-{number}");
        }
        self.anchors.push(unique);
    }

    fn add_step(&mut self, html: &str) {
        if let Some(what) = html.trim().strip_prefix("<!-- test:").and_then(|rest| rest.strip_suffix("-->")) {
            self.steps.push(Step { what: what.trim().to_owned(), code: String::new() });
        }
    }

    /// To the step before it, unless that has its own or is one without.
    fn add_code(&mut self, code: String) {
        if let Some(step) = self.steps.last_mut().filter(|step| step.code.is_empty() && !step.what.starts_with("stop ")) {
            step.code = code;
        }
    }
}
