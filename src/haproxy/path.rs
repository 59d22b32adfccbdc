//! Paths as clients write them: the tests of a condition that a request gets past by writing the same path otherwise.
//!
//! HAProxy compares texts. `/%61dmin` and `//admin` are others than `/admin`, and for most applications the same place; a
//! condition that is to hold a request, or to have it asked about, must see through that.

use super::sample;

/// Other words for the same path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Spelling {
    /// `/%61dmin`.
    Encoded,
    /// `//admin`.
    Slashes,
    /// `http://host/admin`, which is the only form in HTTP/2.
    Absolute,
    /// `/admin?/public`.
    Query,
    /// `/public/../admin`.
    Dots,
}

/// A test that can be got past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Loophole {
    /// As it is written.
    pub(super) test: String,
    /// Not empty.
    pub(super) by: Vec<Spelling>,
    /// A request that gets past, one for each of `by`.
    pub(super) examples: Vec<String>,
    /// The test that sees through, where there is one of the same meaning.
    pub(super) instead: Option<String>,
}

/// The loopholes of a condition. `holds` says which outcome is the careful one: that requests are asked about or refused if the
/// condition holds, or if it does not. `follow` has the conditions that a term stands for, and whether each is negated.
pub(super) fn loopholes(words: &[String], holds: bool, follow: &Follow<'_>) -> Vec<Loophole> {
    within(words, holds, follow, DEEPEST)
}

/// The conditions behind an ACL's name or a variable.
pub(super) type Follow<'a> = dyn Fn(&Term<'_>) -> Vec<(bool, Vec<String>)> + 'a;

/// How many names are followed from one to the next.
const DEEPEST: usize = 4;

fn within(words: &[String], holds: bool, follow: &Follow<'_>, depth: usize) -> Vec<Loophole> {
    let mut found = Vec::new();
    for (negated, term) in terms(words) {
        let holds = holds != negated;
        if let Term::Test(test) = term {
            found.extend(loophole(test, holds));
        }
        if depth > 0 {
            let behind = follow(&term).into_iter();
            found.extend(behind.flat_map(|(negated, words)| within(&words, holds != negated, follow, depth - 1)));
        }
    }
    found
}

/// A term of a condition.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Term<'a> {
    /// What stands in braces.
    Test(&'a [String]),
    Name(&'a str),
}

/// The terms of a condition, and whether each is negated.
fn terms(mut words: &[String]) -> Vec<(bool, Term<'_>)> {
    let mut terms = Vec::new();
    let mut negated = false;
    while let Some((word, rest)) = words.split_first() {
        words = rest;
        let name = word.trim_start_matches('!');
        negated ^= (word.len() - name.len()) % 2 == 1;
        let term = match name {
            "" | "or" | "||" => continue,
            "{" => {
                let end = words.iter().position(|word| word == "}").unwrap_or(words.len());
                let (test, rest) = words.split_at(end);
                words = rest.get(1..).unwrap_or_default();
                Term::Test(test)
            }
            name => Term::Name(name),
        };
        terms.push((std::mem::take(&mut negated), term));
    }
    terms
}

/// What is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Path,
    /// With the query.
    PathAndQuery,
    /// As it stands in the request, with the host or without.
    Url {
        query: bool,
    },
    /// Behind the host.
    Base,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Match {
    Whole,
    Beginning,
    End,
    Part,
    Folder,
    Regex,
    /// In a map.
    Map,
}

struct Test<'a> {
    source: Source,
    how: Match,
    decoded: bool,
    /// Some converter has cut it.
    is_part: bool,
    /// Some converter has taken slashes away.
    rewritten: bool,
    any_case: bool,
    /// Those of files are not known.
    patterns: Vec<&'a str>,
    files: bool,
}

impl<'a> Test<'a> {
    fn parse(words: &'a [String]) -> Option<Self> {
        let (expression, words) = words.split_first()?;
        let expression = sample::parse(expression);
        let (source, how) = source(expression.fetch.name)?;
        let mut test = Self {
            source,
            how,
            decoded: false,
            is_part: false,
            rewritten: false,
            any_case: false,
            patterns: Vec::new(),
            files: false,
        };
        for converter in &expression.converters {
            match converter.name {
                "url_dec" => test.decoded = true,
                "lower" | "upper" => test.any_case = true,
                "field" => test.is_part = true,
                "word" | "regsub" | "ltrim" | "rtrim" => (test.is_part, test.rewritten) = (true, true),
                name if name == "map" || name.starts_with("map_") => test.how = Match::Map,
                // A digest, a length: not a path any more.
                _ => return None,
            }
        }
        test.flags(words)?;
        Some(test)
    }

    fn flags(&mut self, words: &'a [String]) -> Option<()> {
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match &**word {
                "-i" => self.any_case = true,
                "-f" | "-M" => {
                    words.next();
                    self.files = true;
                }
                // What a map says may be of any kind.
                "-m" if self.how == Match::Map => _ = words.next(),
                "-m" => self.how = kind(words.next()?)?,
                "-n" | "-u" => {}
                "--" => self.patterns.extend(words.by_ref().map(String::as_str)),
                pattern => self.patterns.push(pattern),
            }
        }
        Some(())
    }

    /// Whether the text that is sought stands at the beginning of the path, where another slash would push it on.
    fn is_rooted(&self) -> bool {
        match self.how {
            Match::Whole | Match::Beginning => !self.rewritten,
            Match::Regex => self.patterns.iter().any(|pattern| pattern.strip_prefix("^/").is_some_and(starts_with_a_name)),
            Match::End | Match::Part | Match::Folder | Match::Map => false,
        }
    }

    fn is_anything(&self) -> bool {
        !self.files && self.how != Match::Map && self.patterns.iter().all(|pattern| names(pattern).is_empty())
    }

    /// How it is got past where it must hold.
    fn evaded(&self) -> Vec<Spelling> {
        let mut by = Vec::new();
        if self.is_anything() {
            return by;
        }
        if !self.decoded {
            by.push(Spelling::Encoded);
        }
        if self.is_rooted() {
            by.push(Spelling::Slashes);
            if matches!(self.source, Source::Url { .. }) {
                by.push(Spelling::Absolute);
            }
        }
        by
    }

    /// How it is made to hold for another path.
    fn feigned(&self) -> Vec<Spelling> {
        let open_ended = self.how == Match::Regex && !self.patterns.iter().all(|pattern| pattern.ends_with('$'));
        let has_query = matches!(self.source, Source::PathAndQuery | Source::Url { query: true });
        let anywhere = matches!(self.how, Match::Part | Match::Folder | Match::End)
            || (open_ended && !self.patterns.iter().all(|pattern| pattern.starts_with('^')));
        match self.how {
            _ if has_query && anywhere => vec![Spelling::Query],
            Match::Beginning | Match::Part | Match::Folder => vec![Spelling::Dots],
            Match::Regex if open_ended => vec![Spelling::Dots],
            _ => Vec::new(),
        }
    }

    /// The test of the same meaning that sees through, if it can be told.
    fn instead(&self) -> Option<String> {
        if self.files || self.how == Match::Map || self.patterns.is_empty() {
            return None;
        }
        let plain = |c: char| c.is_ascii_graphic() && !"\"'\\#{}".contains(c);
        if !self.patterns.iter().all(|pattern| pattern.chars().all(plain)) || self.source == Source::Base || self.is_part {
            return None;
        }
        let case = if self.any_case { " -i" } else { "" };
        let all = self.patterns.join(" ");
        let end = match self.how {
            Match::Whole => "$",
            Match::Beginning => "",
            Match::Regex => {
                let rooted = |pattern: &&str| match pattern.strip_prefix("^/") {
                    Some(rest) if starts_with_a_name(rest) => format!("^/+{rest}"),
                    _ => (*pattern).to_owned(),
                };
                let all: Vec<_> = self.patterns.iter().map(rooted).collect();
                return Some(format!("path,url_dec{case} -m reg {}", all.join(" ")));
            }
            Match::End => return Some(format!("path,url_dec{case} -m end {all}")),
            Match::Part => return Some(format!("path,url_dec{case} -m sub {all}")),
            Match::Folder => return Some(format!("path,url_dec{case} -m dir {all}")),
            Match::Map => return None,
        };
        let below_root: Option<Vec<_>> = self.patterns.iter().map(|pattern| Some(escape(pattern.strip_prefix('/')?))).collect();
        let below_root = below_root?;
        let names = match &below_root[..] {
            [name] => name.clone(),
            names => format!("({})", names.join("|")),
        };
        Some(format!("path,url_dec{case} -m reg ^/+{names}{end}"))
    }

    /// Something that the test looks for.
    fn sought(&self) -> &'a str {
        let named = self.patterns.iter().find(|pattern| !names(pattern).is_empty());
        let whole = named.copied().filter(|_| self.how != Match::Regex);
        let named = named.and_then(|pattern| pattern.strip_prefix('^')).map(|pattern| {
            let end = pattern.find(|c: char| !c.is_ascii_alphanumeric() && !"/_-".contains(c)).unwrap_or(pattern.len());
            pattern.get(..end).unwrap_or_default()
        });
        whole.or(named).filter(|text| !names(text).is_empty()).unwrap_or("/admin")
    }

    fn example(&self, spelling: Spelling) -> String {
        let sought = self.sought();
        let path = if self.source == Source::Base { sought.find('/').and_then(|at| sought.get(at..)) } else { None };
        let path = path.unwrap_or(sought);
        let name = path.trim_start_matches('/');
        match spelling {
            Spelling::Encoded => match name.char_indices().find(|(_, c)| c.is_ascii_alphanumeric()) {
                Some((at, c)) => {
                    let (before, after) = (name.get(..at).unwrap_or_default(), name.get(at + 1..).unwrap_or_default());
                    format!("/{before}%{:x}{after}", u32::from(c))
                }
                None => "/%61".to_owned(),
            },
            Spelling::Slashes => format!("//{name}"),
            Spelling::Absolute => format!("http://host/{name}"),
            Spelling::Query => format!("/x?{path}"),
            Spelling::Dots => format!("/{}/../x", name.trim_end_matches('/')),
        }
    }
}

/// The loophole of one test, which must hold for the careful outcome or must not.
fn loophole(words: &[String], holds: bool) -> Option<Loophole> {
    let test = Test::parse(words)?;
    let by = if holds { test.evaded() } else { test.feigned() };
    let examples = by.iter().map(|spelling| test.example(*spelling)).collect();
    let instead = if holds { test.instead() } else { None };
    (!by.is_empty()).then(|| Loophole { test: words.join(" "), by, examples, instead })
}

/// What a fetch looks at, and how its name says that it is compared.
fn source(fetch: &str) -> Option<(Source, Match)> {
    let (name, how) = match fetch.rsplit_once('_') {
        Some((name, suffix)) => (name, kind(suffix)?),
        None => (fetch, Match::Whole),
    };
    let source = match name {
        "path" => Source::Path,
        "pathq" => Source::PathAndQuery,
        "url" | "capture.req.uri" => Source::Url { query: true },
        "base" => Source::Base,
        _ => return None,
    };
    Some((source, how))
}

/// What `-m` and the ends of names say.
fn kind(word: &str) -> Option<Match> {
    Some(match word {
        "str" => Match::Whole,
        "beg" => Match::Beginning,
        "end" => Match::End,
        "sub" => Match::Part,
        "dir" | "dom" => Match::Folder,
        "reg" => Match::Regex,
        _ => return None,
    })
}

/// A regex that goes on with a name, not with what could take in another slash.
fn starts_with_a_name(rest: &str) -> bool {
    let rest = rest.trim_start_matches(['(', '?', ':', 'i', ')', '[']);
    rest.starts_with(|c: char| c.is_ascii_alphanumeric() || "_-%".contains(c))
}

/// The letters and digits of a pattern.
fn names(pattern: &str) -> String {
    pattern.chars().filter(char::is_ascii_alphanumeric).collect()
}

/// As a part of a regex; a slash takes in others.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '/' => escaped.push_str("/+"),
            '.' | '+' | '*' | '?' | '(' | ')' | '[' | ']' | '^' | '$' | '|' => escaped.extend(['\\', c]),
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(condition: &str, holds: bool) -> Vec<Loophole> {
        let words: Vec<_> = condition.split_whitespace().map(str::to_owned).collect();
        loopholes(&words, holds, &|term| match term {
            Term::Name("admin") => vec![(false, vec!["{".into(), "path_beg".into(), "/admin".into(), "}".into()])],
            Term::Name("itself") => vec![(true, vec!["itself".into()])],
            _ => Vec::new(),
        })
    }

    fn by(condition: &str, holds: bool) -> Vec<Spelling> {
        found(condition, holds).into_iter().flat_map(|loophole| loophole.by).collect()
    }

    #[test]
    fn a_path_as_it_is_written_is_got_past() {
        use Spelling::{Absolute, Encoded, Slashes};
        for (condition, expected) in [
            ("{ path_beg /admin }", &[Encoded, Slashes][..]),
            ("admin METH_POST", &[Encoded, Slashes]),
            ("METH_POST || { path -i -m beg -- /admin }", &[Encoded, Slashes]),
            ("{ path /admin }", &[Encoded, Slashes]),
            ("{ path,lower -m str /admin }", &[Encoded, Slashes]),
            ("{ path_dir admin }", &[Encoded]),
            ("{ path_reg ^/admin }", &[Encoded, Slashes]),
            ("{ path_reg ^/(admin|api) }", &[Encoded, Slashes]),
            ("{ path_reg ^/+admin }", &[Encoded]),
            ("{ path_reg ^/?admin }", &[Encoded, Slashes]),
            ("{ path_reg (^|/)admin }", &[Encoded]),
            ("{ path_end .php }", &[Encoded]),
            ("{ path,field(2,/) admin }", &[Encoded, Slashes]),
            ("{ path,word(1,/) admin }", &[Encoded]),
            ("{ path,map_beg(guarded.map) -m found }", &[Encoded]),
            ("{ path_beg -f guarded.lst }", &[Encoded, Slashes]),
            ("{ pathq_beg /admin }", &[Encoded, Slashes]),
            ("{ url_beg /admin }", &[Encoded, Slashes, Absolute]),
            ("{ capture.req.uri -m sub /admin }", &[Encoded]),
            ("{ base_beg shop.example/admin }", &[Encoded, Slashes]),
            ("{ path,url_dec -m beg /admin }", &[Slashes]),
            ("{ url,url_dec -m beg /admin }", &[Slashes, Absolute]),
            ("!admin", &[Spelling::Dots]),
            ("itself", &[]),
        ] {
            assert_eq!(by(condition, true), expected, "{condition}");
        }
    }

    #[test]
    fn what_sees_through_or_sees_everything_is_left_alone() {
        for condition in [
            "{ path,url_dec -i -m reg ^/+admin(/|$) }",
            "{ path,url_dec -m dir admin }",
            "{ path,url_dec -m sub admin }",
            "{ path,url_dec,map_beg(x) -m found }",
            "{ path_beg / }",
            "{ path -m found }",
            "{ path_len gt 5 }",
            "{ path,length gt 5 }",
            "{ path,crc32 -m int 1 }",
            "{ url_param(x) -m found }",
            "{ query -m sub x } METH_GET { src 10.0.0.0/8 }",
            "{ var(txn.path) -m beg /admin }",
            "{",
            "}",
            "! !",
            "",
        ] {
            assert_eq!(found(condition, true), [], "{condition}");
        }
    }

    #[test]
    fn an_exception_is_feigned() {
        for (condition, expected) in [
            ("{ path_beg /public }", &[Spelling::Dots][..]),
            ("{ path,url_dec -m beg /public }", &[Spelling::Dots]),
            ("{ path_reg ^/public }", &[Spelling::Dots]),
            ("{ url_end .css }", &[Spelling::Query]),
            ("{ url_sub /public }", &[Spelling::Query]),
            ("{ path /health }", &[]),
            ("{ path_reg ^/public/[a-z]+$ }", &[]),
            ("{ path_end .css }", &[]),
            ("!{ path_beg /admin }", &[Spelling::Encoded, Spelling::Slashes]),
        ] {
            assert_eq!(by(condition, false), expected, "{condition}");
        }
    }

    #[test]
    fn examples_and_what_sees_through() {
        for (test, examples, instead) in [
            ("path_beg /admin", &["/%61dmin", "//admin"][..], Some("path,url_dec -m reg ^/+admin")),
            ("path -i /a.b/c /d", &["/%61.b/c", "//a.b/c"], Some(r"path,url_dec -i -m reg ^/+(a\.b/+c|d)$")),
            ("path_reg ^/(admin|api)/", &["/%61dmin", "//admin"], Some("path,url_dec -m reg ^/+(admin|api)/")),
            ("path_dir admin", &["/%61dmin"], Some("path,url_dec -m dir admin")),
            ("path_end .php", &["/.%70hp"], Some("path,url_dec -m end .php")),
            ("url_beg /admin", &["/%61dmin", "//admin", "http://host/admin"], Some("path,url_dec -m reg ^/+admin")),
            ("base_beg a.b/admin", &["/%61dmin", "//admin"], None),
            ("path_beg -f x", &["/%61dmin", "//admin"], None),
        ] {
            let found = found(&format!("{{ {test} }}"), true);
            let [loophole] = &found[..] else { panic!("{test}: {found:?}") };
            assert_eq!(
                (&loophole.test[..], &loophole.examples[..]),
                (test, &examples.iter().map(|e| e.to_string()).collect::<Vec<_>>()[..])
            );
            assert_eq!(loophole.instead.as_deref(), instead, "{test}");
        }
    }
}
