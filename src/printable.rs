//! Text of others as it may be shown: on one line, and with nothing in it that a terminal carries out, hides or turns around.
//!
//! What counts as printable is Unicode's affair, by the tables of the standard library, and no list of ours: control characters (C0, DEL,
//! C1), formatting characters (bidi marks, zero width), separators of lines and paragraphs, and what has no meaning yet are escaped.

use std::borrow::Cow;
use std::fmt::{self, Display, Write};

/// Shows what it holds with an escape such as `\n` or `\u{202e}` in place of each character that cannot be printed.
pub(crate) struct Printable<T>(pub(crate) T);

impl<T: Display> Display for Printable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping { to: f, kept: &[] }, "{}", self.0)
    }
}

/// As [`Printable`], for a text of several lines that are ours.
pub(crate) struct PrintableLines<T>(pub(crate) T);

impl<T: Display> Display for PrintableLines<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping { to: f, kept: &['\n', '\t'] }, "{}", self.0)
    }
}

/// Writes on what can be printed, and escapes in place of the rest.
struct Escaping<'a, W: ?Sized> {
    to: &'a mut W,
    /// Those that stay all the same.
    kept: &'static [char],
}

impl<W: Write + ?Sized> Write for Escaping<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some((at, odd)) = rest.char_indices().find(|(_, c)| !is_printable(*c) && !self.kept.contains(c)) {
            let (before, after) = rest.split_at(at);
            self.to.write_str(before)?;
            write!(self.to, "{}", odd.escape_debug())?;
            rest = after.get(odd.len_utf8()..).unwrap_or_default();
        }
        self.to.write_str(rest)
    }
}

/// JSON with JSON's own escapes in place of characters that cannot be printed: readers get the same texts. Encoders leave all but the first
/// 32 as they are. Line feeds between values stay.
pub(crate) fn printable_json(json: &str) -> Cow<'_, str> {
    let is_odd = |c: char| !is_printable(c) && c >= '\x7f';
    if !json.contains(is_odd) {
        return json.into();
    }
    let mut escaped = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if is_odd(c) {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| _ = write!(escaped, "\\u{unit:04x}"));
        } else {
            escaped.push(c);
        }
    }
    escaped.into()
}

/// A text that ought to be an address, without what stands before its `@`: name and password of a URL, however little of a URL it is.
pub(crate) fn without_userinfo(text: &str) -> Cow<'_, str> {
    let Some((before, host)) = text.rsplit_once('@') else { return text.into() };
    let (scheme, userinfo) = before.split_at(before.find("//").map_or(0, |at| at + 2));
    // The second is how others write the address of an abstract socket.
    if matches!(userinfo, "" | "unix:") {
        return text.into();
    }
    format!("{scheme}(redacted)@{host}").into()
}

/// Any text, its URLs without names and passwords.
pub(crate) fn without_passwords(text: &str) -> String {
    let words = text.split_inclusive(char::is_whitespace);
    words.map(|word| if word.contains("//") { without_userinfo(word) } else { word.into() }).collect()
}

/// Within a text: what joins the character before it, as accents do, is printable.
fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return matches!(c, ' '..='~');
    }
    let mut buffer = [b'x', 0, 0, 0, 0];
    let length = 1 + buffer.get_mut(1..).map_or(0, |rest| c.encode_utf8(rest).len());
    let text = buffer.get(..length).and_then(|bytes| std::str::from_utf8(bytes).ok());
    text.is_some_and(|text| text.escape_debug().count() == 2)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What must not come out as it is: by Unicode's names, and what a terminal does with it.
    pub(crate) const HOSTILE: &str = "a\u{1b}[2J\u{1b}]0;title\u{7}b\r\n2026-11-23 INFO fake\0c\u{7f}\u{85}\u{9b}31m\u{90}q\u{202e}txt.exe\u{2066}\
                                      \u{2069}\u{200e}\u{200f}\u{61c}\u{200b}\u{200d}\u{2060}\u{feff}\u{ad}\u{2028}\u{2029}\u{e0041}\u{e000}\u{fff9}\t\u{8}d";

    pub(crate) fn is_clean(text: &str) -> bool {
        text.chars().all(|c| !c.is_control() && !HOSTILE.contains(c) || c.is_ascii_graphic() || c == ' ')
    }

    #[test]
    fn what_cannot_be_printed_is_escaped() {
        assert_eq!(Printable("a\nb\u{1b}c\u{202e}d\u{9b}\0").to_string(), r"a\nb\u{1b}c\u{202e}d\u{9b}\0");
        let shown = Printable(HOSTILE).to_string();
        assert!(is_clean(&shown), "{shown:?}");
        assert!(shown.starts_with('a') && shown.ends_with('d'), "{shown:?}");
        assert_eq!(PrintableLines("a\n\tb\rc").to_string(), "a\n\tb\\rc");
    }

    #[test]
    fn languages_are_printable() {
        for text in ["plain \"quotes\" 'and' \\", "Grüße", "e\u{301}", "ไม่อนุญาต", "запрещено", "禁止", "👍🏽", "مرفوض"]
        {
            assert_eq!(Printable(text).to_string(), text);
            assert_eq!(printable_json(text), text);
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        for (text, shown) in [
            ("http://svc:hunter2@a:1", "http://(redacted)@a:1"),
            ("svc:hunter2@a:1", "(redacted)@a:1"),
            ("//svc:hun/ter@2@a", "//(redacted)@a"),
            ("dns://user@9.9.9.9/a:1", "dns://(redacted)@9.9.9.9/a:1"),
            ("unix:@spop", "unix:@spop"),
            ("http://a:1", "http://a:1"),
        ] {
            assert_eq!(without_userinfo(text), shown);
        }
        assert_eq!(without_passwords("a@b: http://u:p@c:1, d\n//e@f"), "a@b: http://(redacted)@c:1, d\n//(redacted)@f");
    }

    #[test]
    fn json_means_the_same() {
        for value in [serde_json::json!({ "a": HOSTILE, HOSTILE: [HOSTILE] }), serde_json::json!(["plain"])] {
            for text in [value.to_string(), format!("{value:#}")] {
                let escaped = printable_json(&text);
                assert!(escaped.lines().all(is_clean), "{escaped:?}");
                assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap(), value);
            }
        }
    }
}
