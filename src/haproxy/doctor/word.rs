//! A line of HAProxy's configuration to words, as `parse_line()` in its `src/tools.c` cuts them.

use std::fmt;
use std::ops::Range;

/// One word, with quotes and escapes resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Word {
    text: String,
    /// Variables of the environment in it whose values only HAProxy will see.
    unknown: Vec<String>,
    /// The bytes of the line that it was cut from, quotes and escapes included.
    span: Range<usize>,
}

impl Word {
    /// What HAProxy will see, if that is certain.
    pub(super) fn known(&self) -> Option<&str> {
        self.unknown.is_empty().then_some(&*self.text)
    }

    /// The variables of the environment that decide what HAProxy will see.
    pub(super) fn unknown(&self) -> &[String] {
        &self.unknown
    }

    /// Where it stands in its line.
    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// With this process's environment for HAProxy's.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

/// The value of a variable, which may be unset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// HAProxy will see this.
    Known(Option<String>),
    /// This process sees it; HAProxy may see another.
    Guess(Option<String>),
}

impl Value {
    /// With the default of `${NAME-default}`, which counts where nothing else is known.
    pub(super) fn or(self, default: Option<String>) -> Self {
        match self {
            Self::Known(None) | Self::Guess(None) => Self::Known(default),
            value => value,
        }
    }
}

/// Why HAProxy refuses a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SyntaxError {
    Quote,
    Brace,
    VariableName,
    Hex,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Quote => "unmatched quote",
            Self::Brace => "unmatched brace in the name of an environment variable",
            Self::VariableName => "forbidden first character in the name of an environment variable",
            Self::Hex => "truncated or invalid \\x sequence",
        })
    }
}

/// The words of a line, and the comment after them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Split {
    pub(super) words: Vec<Word>,
    pub(super) comment: Option<String>,
}

/// Cuts a line; `env` looks up variables.
pub(super) fn split(line: &str, env: &dyn Fn(&str) -> Value) -> Result<Split, SyntaxError> {
    let length = line.len();
    let mut cutter =
        Cutter { length, rest: line, split: Split::default(), word: Word::default(), start: None, in_word: false, env };
    cutter.run()?;
    Ok(cutter.split)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quote {
    None,
    Weak,
    Strong,
}

struct Cutter<'a> {
    length: usize,
    rest: &'a str,
    split: Split,
    word: Word,
    /// Where the word begins.
    start: Option<usize>,
    in_word: bool,
    env: &'a dyn Fn(&str) -> Value,
}

impl Cutter<'_> {
    fn run(&mut self) -> Result<(), SyntaxError> {
        let mut quote = Quote::None;
        loop {
            let at = self.length - self.rest.len();
            let Some(c) = self.next() else { break };
            let separates = c.is_ascii_whitespace() || "\x0b\0".contains(c) || (c == '#' && quote == Quote::None);
            if !separates && self.start.is_none() {
                self.start = Some(at);
            }
            match (c, quote) {
                ('\n' | '\r' | '\0', _) => {
                    self.end_word(at);
                    break;
                }
                ('#', Quote::None) => {
                    self.end_word(at);
                    self.split.comment = Some(std::mem::take(&mut self.rest).to_owned());
                    break;
                }
                ('"', Quote::None) => quote = Quote::Weak,
                ('\'', Quote::None) => quote = Quote::Strong,
                ('"', Quote::Weak) | ('\'', Quote::Strong) => {
                    // An empty pair of quotes is a word too.
                    self.in_word = true;
                    quote = Quote::None;
                }
                ('\\', Quote::None | Quote::Weak) => self.escape(quote)?,
                ('$', Quote::Weak) => self.variable()?,
                (c, Quote::None) if c.is_ascii_whitespace() || c == '\x0b' => self.end_word(at),
                (c, _) => self.push(c),
            }
        }
        self.end_word(self.length);
        if quote == Quote::None { Ok(()) } else { Err(SyntaxError::Quote) }
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = self.rest.get(c.len_utf8()..).unwrap_or_default();
        Some(c)
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &str {
        let length = self.rest.find(|c| !wanted(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    fn push(&mut self, c: char) {
        self.in_word = true;
        self.word.text.push(c);
    }

    fn end_word(&mut self, at: usize) {
        let start = self.start.take();
        if std::mem::take(&mut self.in_word) {
            self.word.span = start.unwrap_or(at)..at;
            self.split.words.push(std::mem::take(&mut self.word));
        }
    }

    /// After a backslash.
    fn escape(&mut self, quote: Quote) -> Result<(), SyntaxError> {
        let escaped = match self.rest.chars().next() {
            Some(c @ (' ' | '\\' | '#' | '\'' | '"')) => c,
            Some('t') => '\t',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('$') if quote == Quote::Weak => '$',
            Some('x') => {
                let code = self.rest.get(1..3).and_then(|hex| u8::from_str_radix(hex, 16).ok()).ok_or(SyntaxError::Hex)?;
                self.rest = self.rest.get(2..).unwrap_or_default();
                char::from(code)
            }
            // No escape: the backslash stays, and what follows is read as ever.
            _ => {
                self.push('\\');
                return Ok(());
            }
        };
        self.next();
        self.push(escaped);
        Ok(())
    }

    /// After a dollar in double quotes: `$NAME`, `${NAME}`, `${NAME-default}`, `${NAME[*]}`.
    fn variable(&mut self) -> Result<(), SyntaxError> {
        let braces = self.rest.starts_with('{');
        if braces {
            self.next();
        }
        let dot = self.rest.starts_with('.');
        if dot {
            self.next();
        }
        let first = self.rest.chars().next();
        if !first.is_some_and(|c| c.is_ascii_alphabetic() || c == '_') {
            return Err(SyntaxError::VariableName);
        }
        let name = self.take_while(|c| c.is_ascii_alphanumeric() || c == '_').to_owned();
        let mut value = if dot { Value::Guess(None) } else { (self.env)(&name) };
        if braces {
            if self.rest.starts_with("[*]") {
                self.take_while(|c| "[*]".contains(c));
            }
            if self.rest.starts_with('-') {
                let default = self.take_while(|c| c != '}').get(1..).map(str::to_owned);
                value = value.or(default);
            }
            if self.next() != Some('}') {
                return Err(SyntaxError::Brace);
            }
        }
        self.in_word = true;
        let text = match value {
            Value::Known(text) => text,
            Value::Guess(text) => {
                self.word.unknown.push(name);
                text
            }
        };
        self.word.text.push_str(&text.unwrap_or_default());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        let split = split(line, &|_| Value::Guess(None)).unwrap();
        split.words.iter().map(|word| word.known().unwrap().to_owned()).collect()
    }

    /// The equivalent lines of HAProxy's manual, 2.2.
    #[test]
    fn quoting_as_the_manual_has_it() {
        for line in [
            r"log-format %{+Q}o\ %t\ %s\ %{-Q}r",
            r#"log-format "%{+Q}o %t %s %{-Q}r""#,
            r"log-format '%{+Q}o %t %s %{-Q}r'",
            r#"log-format "%{+Q}o %t"' %s %{-Q}r'"#,
            r#"log-format "%{+Q}o %t"' %s'\ %{-Q}r"#,
        ] {
            assert_eq!(words(line), ["log-format", "%{+Q}o %t %s %{-Q}r"], "{line}");
        }
        assert_eq!(words(r#"a "" '' b"#), ["a", "", "", "b"]);
        assert_eq!(words(r"tab\there \x41\\ \1 $X '$X\n'"), ["tab\there", r"A\", r"\1", "$X", r"$X\n"]);
        assert_eq!(words(r#"\" \' \# "\$X" "a'b#c" 'a"b'"#), ["\"", "'", "#", "$X", "a'b#c", "a\"b"]);
    }

    #[test]
    fn comments_end_lines() {
        let split = split("server a 1.2.3.4 # spop-bridge: ignore", &|_| Value::Guess(None)).unwrap();
        assert_eq!((split.words.len(), split.comment.as_deref()), (3, Some(" spop-bridge: ignore")));
        assert_eq!(words("a#b c"), ["a"]);
    }

    #[test]
    fn values_of_the_environment_are_guesses() {
        let env = |name: &str| Value::Guess((name == "HOST").then(|| "h".to_owned()));
        let all = split(r#""${HOST}:1" "$HOST" "${NO-dflt}/x" "${NO[*]}" $HOST"#, &env).unwrap().words;
        let seen: Vec<_> = all.iter().map(|word| (word.text(), word.unknown().join(" "))).collect();
        let unknown = |text, name: &str| (text, name.to_owned());
        let expected =
            [unknown("h:1", "HOST"), unknown("h", "HOST"), unknown("dflt/x", ""), unknown("", "NO"), unknown("$HOST", "")];
        assert_eq!(seen, expected);
        assert!(all[0].known().is_none() && all[4].known() == Some("$HOST"));
    }

    #[test]
    fn words_know_where_they_stand() {
        let line = "  a \"b c\"'d'\\ e \"\" f# g";
        let words = split(line, &|_| Value::Guess(None)).unwrap().words;
        let seen: Vec<_> = words.iter().map(|word| &line[word.span()]).collect();
        assert_eq!(seen, ["a", "\"b c\"'d'\\ e", "\"\"", "f"]);
    }

    #[test]
    fn what_haproxy_refuses() {
        let error = |line| split(line, &|_| Value::Guess(None)).unwrap_err();
        assert_eq!(error("a \"b"), SyntaxError::Quote);
        assert_eq!(error("a 'b"), SyntaxError::Quote);
        assert_eq!(error(r#"a "${B""#), SyntaxError::Brace);
        assert_eq!(error(r#"a "$1""#), SyntaxError::VariableName);
        assert_eq!(error(r"a \xg1"), SyntaxError::Hex);
    }
}
