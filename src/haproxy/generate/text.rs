//! Words and lines as HAProxy reads them.

/// `text` as one word of a line.
pub(super) fn quoted(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-./:@[]%+=,".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// `keyword` and `words`, on as many lines as it takes: HAProxy reads 64 words and 2048 bytes of a line, people less.
pub(super) fn wrapped<T: AsRef<str>>(keyword: &str, words: impl IntoIterator<Item = T>) -> String {
    let mut text = String::new();
    let mut line = String::new();
    for word in words {
        let word = word.as_ref();
        if !line.is_empty() && line.len() + word.len() >= WIDTH {
            text.push_str(&std::mem::take(&mut line));
            text.push('\n');
        }
        if line.is_empty() {
            line = format!("    {keyword}");
        }
        line.push(' ');
        line.push_str(word);
    }
    if !line.is_empty() {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

const WIDTH: usize = 100;
