//! `man` and `completions`: what packages install beside the program.

use std::path::Path;
use std::process::Command;

use super::{code, ended, spop_bridge};
use crate::support::skipped;

/// A page for every command that `--help` lists, also below `haproxy`.
#[test]
fn every_command_has_a_manual_page() {
    let directory = tempfile::tempdir().unwrap();
    let (exit, out, err) = spop_bridge(&["man", directory.path().join("man1").to_str().unwrap()]);
    assert_eq!((exit, &out[..], &err[..]), (code::SUCCESS, "", ""));
    let page = |name: &str| {
        let path = directory.path().join("man1").join(format!("{name}.1"));
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let (_, help, _) = spop_bridge(&["--help"]);
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let commands: Vec<_> = listed
        .filter(|line| line[2..].starts_with(char::is_alphabetic))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(commands.len() > 8, "{commands:?}");
    for command in commands.iter().filter(|command| **command != "help") {
        let page = page(&format!("spop-bridge-{command}"));
        for section in [".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION", ".SH OPTIONS"] {
            assert!(page.contains(section), "{section} in {page}");
        }
    }
    assert!(page("spop-bridge").contains(".SH \"EXIT CODES\""));
    assert!(page("spop-bridge-haproxy-doctor").contains("SPOE"));
    assert!(page("spop-bridge-run").contains("OTEL_EXPORTER_OTLP_ENDPOINT"));
}

/// As `man` formats them: no unknown requests, and what belongs below each other stays so.
#[test]
fn manual_pages_are_good_roff() {
    if Command::new("groff").arg("--version").output().is_err() {
        return skipped("manual_pages_are_good_roff", "groff");
    }
    let directory = tempfile::tempdir().unwrap();
    spop_bridge(&["man", directory.path().to_str().unwrap()]);
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let page = entry.unwrap().path();
        let (exit, _, warnings) = ended(Command::new("groff").args(["-man", "-Tutf8", "-ww", "-rLL=100n"]).arg(&page));
        assert_eq!((exit, &warnings[..]), (0, ""), "{}", page.display());
    }
    let main = directory.path().join("spop-bridge.1");
    let (_, text, _) = ended(Command::new("groff").args(["-man", "-Tascii", "-P-cbou", "-rLL=100n"]).arg(main));
    assert!(text.contains("\n       2  wrong use of the command line\n"), "{text}");
}

#[test]
fn a_folder_that_cannot_be_made() {
    let (exit, _, err) = spop_bridge(&["man", "/proc/nowhere/man1"]);
    assert_eq!(exit, code::FAILED);
    assert!(err.contains("/proc/nowhere/man1"), "{err}");
}

/// Bash, asked as the Tab key does.
#[test]
fn bash_completes_commands_and_options() {
    let directory = tempfile::tempdir().unwrap();
    let completed = |words: &[&str]| complete(directory.path(), words);
    assert_eq!(completed(&["spop-bridge", "che"]), ["check"]);
    assert_eq!(completed(&["spop-bridge", "haproxy", "doc"]), ["doctor"]);
    assert_eq!(completed(&["spop-bridge", "run", "--drain"]), ["--drain-delay"]);
}

fn complete(directory: &Path, words: &[&str]) -> Vec<String> {
    let (exit, script, _) = spop_bridge(&["completions", "bash"]);
    assert_eq!(exit, code::SUCCESS);
    let file = directory.join("completions");
    let last = words.len() - 1;
    let ask = format!(
        "\nCOMP_WORDS=({}) COMP_CWORD={last}\n_spop__bridge spop-bridge '{}' '{}'\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
        words.join(" "),
        words[last],
        words[last - 1],
    );
    std::fs::write(&file, script + &ask).unwrap();
    let (exit, out, err) = ended(Command::new("bash").args(["--norc", "--noprofile"]).arg(&file));
    assert_eq!((exit, &err[..]), (0, ""), "{out}");
    out.lines().map(str::to_owned).collect()
}

#[test]
fn the_other_shells_have_scripts() {
    for (shell, word) in [
        ("zsh", "#compdef spop-bridge"),
        ("fish", "complete -c spop-bridge"),
        ("elvish", "spop-bridge"),
        ("powershell", "Register-"),
    ] {
        let (exit, out, _) = spop_bridge(&["completions", shell]);
        assert!(exit == code::SUCCESS && out.contains(word), "{shell}: {out}");
    }
    assert_eq!(spop_bridge(&["completions", "cmd"]).0, code::USAGE);
}
