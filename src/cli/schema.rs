//! `spop-bridge schema`: the configuration's JSON Schema, for editors.

/// Prints the schema.
pub(super) fn run() {
    say!("{:#}", crate::config::schema());
}
