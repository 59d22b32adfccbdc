//! `spop-bridge schema`: the configuration's keys, for editors and for people.

use clap::{Parser, ValueEnum};

/// Print the JSON Schema of the configuration, for editors, or all keys as a page of Markdown.
#[derive(Debug, Parser)]
pub(super) struct Args {
    /// `json` for editors, `markdown` for people.
    #[arg(long, default_value = "json", value_name = "FORMAT")]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Json,
    Markdown,
}

/// Prints the schema.
pub(super) fn run(args: &Args) {
    match args.format {
        Format::Json => super::output::say_json(format_args!("{:#}", crate::config::schema())),
        Format::Markdown => say!("{}", crate::config::reference().trim_end()),
    }
}
