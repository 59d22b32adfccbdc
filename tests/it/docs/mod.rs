//! The documentation: what it links to exists, what it shows works.

mod contract;
mod how_to;
mod page;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use self::page::Page;

pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files below `folder` that `wanted` takes, but for what is generated or installed.
pub(crate) fn below(folder: &str, wanted: fn(&str) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![repository().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            match name {
                "gen" | "node_modules" | "target" | "build" | "dist" => {}
                _ if name.starts_with('.') => {}
                _ if path.is_dir() => folders.push(path),
                _ if wanted(name) => found.push(path),
                _ => {}
            }
        }
    }
    found
}

/// Every page of the documentation, wherever it lies.
pub(crate) fn pages() -> Vec<PathBuf> {
    let mut pages = vec![repository().join("README.md"), repository().join("proto/README.md")];
    pages.extend(below("docs", |name| name.ends_with(".md")));
    pages.extend(below("deploy", |name| name == "README.md"));
    pages.extend(below("examples", |name| name == "README.md"));
    pages
}

/// Without `..`, and without looking at what is there.
fn resolved(path: &Path) -> PathBuf {
    let mut resolved = PathBuf::new();
    for component in path.components() {
        if component == Component::ParentDir {
            resolved.pop();
        } else {
            resolved.push(component);
        }
    }
    resolved
}

#[test]
fn every_link_leads_somewhere() {
    let mut dead = Vec::new();
    for file in pages() {
        let page = Page::read(&file);
        for link in page.links.iter().filter(|link| !link.contains("://") && !link.starts_with("mailto:")) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { file.clone() } else { resolved(&file.parent().unwrap().join(path)) };
            let found = target.starts_with(repository()) && target.exists();
            if !found || !anchor.is_empty() && !Page::read(&target).anchors.iter().any(|known| known == anchor) {
                dead.push(format!("{}: {link}", file.strip_prefix(repository()).unwrap().display()));
            }
        }
    }
    assert_eq!(dead, [""; 0], "links that lead nowhere");
}

#[test]
fn every_page_of_docs_is_in_the_summary() {
    let docs = repository().join("docs");
    let listed = Page::read(&docs.join("SUMMARY.md")).links;
    let listed: BTreeSet<_> = listed.into_iter().map(|link| docs.join(link)).collect();
    let mut pages: BTreeSet<_> = below("docs", |name| name.ends_with(".md")).into_iter().collect();
    pages.remove(&docs.join("SUMMARY.md"));
    assert_eq!(listed, pages, "docs/SUMMARY.md, left, lists the pages below docs/");
}
