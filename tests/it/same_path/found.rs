//! The configurations that the repository shows: files, blocks of pages, and texts inside of Kubernetes objects.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::docs::{below, pages, repository};

/// A text, and the file that it stands in.
pub(super) struct Text {
    pub(super) file: String,
    pub(super) text: String,
}

/// HAProxy's side with SPOE, and what goes with it.
pub(super) struct Found {
    pub(super) file: String,
    pub(super) main: String,
    pub(super) spoe: String,
    /// The bridge's configuration, where the same place has one.
    pub(super) bridge: Option<String>,
}

/// All that has a `filter spoe` line, with the SPOE file that it names or that stands beside it.
pub(super) fn configurations() -> Vec<Found> {
    let sources = sources();
    let with = |file: &str, wanted: fn(&str) -> bool| {
        let same = sources.iter().filter(|text| text.file == file);
        same.map(|text| text.text.as_str()).find(|text| wanted(text)).map(str::to_owned)
    };
    let mains = sources.iter().filter(|source| line(&source.text, "filter spoe").is_some());
    mains
        .map(|source| Found {
            file: source.file.clone(),
            main: source.text.clone(),
            spoe: with(&source.file, is_spoe).or_else(|| named(source)).unwrap_or_default(),
            bridge: with(&source.file, is_bridge).or_else(|| beside(&source.file)),
        })
        .collect()
}

/// Everything that may be a configuration: of HAProxy, or of the bridge.
pub(super) fn sources() -> Vec<Text> {
    let mut paths = pages();
    paths.extend(below("deploy", |name| [".cfg", ".yaml"].iter().any(|end| name.ends_with(end))));
    // What Helm makes of them is in deploy/manifests and deploy/kustomize.
    paths.retain(|path| !path.components().any(|part| part.as_os_str() == "templates"));
    paths.sort();
    paths.iter().flat_map(|path| texts(path)).collect()
}

fn texts(path: &Path) -> Vec<Text> {
    let whole = fs::read_to_string(path).unwrap();
    let file = path.strip_prefix(repository()).unwrap().display().to_string();
    let texts = match path.extension().and_then(|end| end.to_str()) {
        Some("md") => blocks(&whole),
        Some("yaml") if is_bridge(&whole) => vec![whole],
        Some("yaml") => strings(&whole, &file),
        _ => vec![whole],
    };
    texts.into_iter().map(|text| Text { file: file.clone(), text }).collect()
}

/// The fenced blocks of a page, but for drawings.
fn blocks(page: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String)> = None;
    let mut is_drawing = false;
    for line in page.lines() {
        let indent = line.len() - line.trim_start().len();
        match (&mut open, line.trim_start().starts_with("```")) {
            (Some(_), true) => blocks.extend(open.take().map(|(_, text)| text).filter(|_| !is_drawing)),
            (None, true) => {
                is_drawing = line.trim() == "```text";
                open = Some((indent, String::new()));
            }
            (Some((indent, text)), false) => {
                text.push_str(line.get(*indent..).unwrap_or_default());
                text.push('\n');
            }
            (None, false) => {}
        }
    }
    blocks
}

/// The texts inside of a YAML file, such as the files of a ConfigMap.
fn strings(yaml: &str, file: &str) -> Vec<String> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(yaml).unwrap_or_else(|error| panic!("{file}: {error}"));
    let mut found = Vec::new();
    let mut rest: Vec<Value> = documents;
    while let Some(value) = rest.pop() {
        match value {
            Value::String(text) if text.contains('\n') => found.push(text),
            Value::Array(values) => rest.extend(values),
            Value::Object(values) => rest.extend(values.into_iter().map(|(_, value)| value)),
            _ => {}
        }
    }
    found
}

/// The file that `filter spoe ... config FILE` names, in the same folder.
fn named(source: &Text) -> Option<String> {
    let name = line(&source.text, "filter spoe")?.split_whitespace().last()?;
    fs::read_to_string(folder(&source.file).join(name)).ok()
}

/// A `bridge.yaml` in the same folder or the one above.
fn beside(file: &str) -> Option<String> {
    let folder = folder(file);
    let places = [folder.join("bridge.yaml"), folder.parent()?.join("bridge.yaml")];
    places.iter().find_map(|path| fs::read_to_string(path).ok())
}

fn folder(file: &str) -> PathBuf {
    repository().join(file).parent().unwrap().to_owned()
}

fn is_spoe(text: &str) -> bool {
    line(text, "spoe-agent").is_some()
}

/// Whether it is a configuration of the bridge with routes.
pub(super) fn is_bridge(text: &str) -> bool {
    ["backends:", "routes:"].iter().all(|key| text.lines().any(|line| line.starts_with(key)))
}

/// The first line that begins so, without what it is indented by.
pub(super) fn line<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    text.lines().map(str::trim).find(|line| line.starts_with(start))
}
