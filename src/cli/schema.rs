//! `spop-bridge schema`: the configuration's JSON Schema, for editors.
#![allow(clippy::print_stdout, reason = "the schema is this command's output")]

/// Prints the schema.
pub(super) fn run() {
    println!("{:#}", crate::config::schema());
}
