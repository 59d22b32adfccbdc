//! Lines of the log in both formats, in which nothing that others have sent is more than text: whatever a happening hands to the log, and
//! whatever a library does, it comes through here.

use std::fmt::{self, Debug};
use std::io;

use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

use crate::printable::{Printable, printable_json};

/// Fields in text: the message, then `name=value` for each of the others.
#[derive(Debug)]
pub(super) struct PrintableFields;

impl<'w> FormatFields<'w> for PrintableFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut text = Text { writer, is_first: true, result: Ok(()) };
        fields.record(&mut text);
        text.result
    }
}

struct Text<'w> {
    writer: Writer<'w>,
    is_first: bool,
    result: fmt::Result,
}

impl Text<'_> {
    fn write(&mut self, name: &str, value: &dyn Debug) -> fmt::Result {
        if !std::mem::replace(&mut self.is_first, false) {
            self.writer.write_char(' ')?;
        }
        let value = Printable(format_args!("{value:?}"));
        match name {
            "message" => write!(self.writer, "{value}"),
            // The name in italics, and dimmed what is between.
            _ if self.writer.has_ansi_escapes() => write!(self.writer, "\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m{value}"),
            _ => write!(self.writer, "{name}={value}"),
        }
    }
}

impl Visit for Text<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // What lines of libraries carry about their source.
        if self.result.is_ok() && !field.name().starts_with("log.") {
            self.result = self.write(field.name(), value);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.record_debug(field, &format_args!("{value}")),
            _ => self.record_debug(field, &value),
        }
    }
}

/// Writes lines of JSON on, each in a piece. The encoder leaves characters as they are that a terminal must not see.
#[derive(Debug)]
pub(super) struct PrintableJson<W>(pub(super) W);

impl<W: io::Write> io::Write for PrintableJson<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(printable_json(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
