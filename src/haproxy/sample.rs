//! Sample expressions: a fetch and its converters, and the variables that texts read and write.

/// `fetch(args),converter(args),...`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expression<'a> {
    pub(super) fetch: Call<'a>,
    pub(super) converters: Vec<Call<'a>>,
}

/// A name with the text between its parentheses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Call<'a> {
    pub(super) name: &'a str,
    pub(super) args: &'a str,
}

/// Takes an expression apart.
pub(super) fn parse(text: &str) -> Expression<'_> {
    let mut calls = calls(text).into_iter();
    Expression { fetch: calls.next().unwrap_or_default(), converters: calls.collect() }
}

fn calls(text: &str) -> Vec<Call<'_>> {
    let mut depth = 0_usize;
    let mut calls: Vec<&str> = Vec::new();
    let mut start = 0;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                calls.extend(text.get(start..at));
                start = at + 1;
            }
            _ => {}
        }
    }
    calls.extend(text.get(start..));
    let call = |text: &'_ str| -> (usize, usize) {
        let open = text.find('(').unwrap_or(text.len());
        (open, text.rfind(')').filter(|close| *close > open).unwrap_or(text.len()))
    };
    calls
        .into_iter()
        .map(|text| {
            let (open, close) = call(text);
            Call { name: text.get(..open).unwrap_or_default().trim(), args: text.get(open + 1..close).unwrap_or_default() }
        })
        .collect()
}

/// A variable's name: `scope.name`, the name with its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct VarName<'a> {
    pub(super) full: &'a str,
}

impl<'a> VarName<'a> {
    pub(super) fn scope(self) -> &'a str {
        self.full.split('.').next().unwrap_or_default()
    }

    /// What comes after the scope.
    pub(super) fn rest(self) -> &'a str {
        self.full.split_once('.').map_or("", |(_, rest)| rest)
    }

    /// What comes after `scope.prefix.`, if that is the prefix.
    pub(super) fn under(self, prefix: &str) -> Option<&'a str> {
        self.rest().strip_prefix(prefix)?.strip_prefix('.')
    }
}

/// The variable that an expression begins with: it has no value while the variable has none.
pub(super) fn plain_variable(text: &str) -> Option<VarName<'_>> {
    let fetch = parse(text).fetch;
    // A second argument is a default.
    (fetch.name == "var" && !fetch.args.contains(',')).then_some(VarName { full: fetch.args })
}

/// The variables that a text reads by `var(...)`.
pub(super) fn reads(text: &str) -> impl Iterator<Item = VarName<'_>> {
    names_in(text, &["var("])
}

/// The variables that a text sets or unsets.
pub(super) fn writes(text: &str) -> impl Iterator<Item = VarName<'_>> {
    names_in(text, &["set-var(", "set-var-fmt(", "unset-var("])
}

fn names_in<'a>(text: &'a str, calls: &'static [&'static str]) -> impl Iterator<Item = VarName<'a>> {
    calls.iter().flat_map(move |call| text.match_indices(call)).filter_map(move |(at, call)| {
        // `var(` is not the end of `set-var(`.
        let before = text.get(..at)?.chars().next_back();
        if before.is_some_and(|c| c.is_ascii_alphanumeric() || "_-.".contains(c)) {
            return None;
        }
        let rest = text.get(at + call.len()..)?;
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"_.".contains(c))?;
        rest.get(..end).filter(|name| name.contains('.')).map(|full| VarName { full })
    })
}

/// Whether a variable is mentioned anywhere in a text, by a fetch, as an argument of a converter or for Lua.
pub(super) fn mentions(text: &str, name: &str) -> bool {
    let part_of_name = |c: char| c.is_ascii_alphanumeric() || "_.".contains(c);
    text.match_indices(name).any(|(at, _)| {
        let before = text.get(..at).and_then(|text| text.chars().next_back());
        let after = text.get(at + name.len()..).and_then(|text| text.chars().next());
        !before.is_some_and(part_of_name) && !after.is_some_and(part_of_name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        let expression = parse("req.body,bytes(0,12000),lower");
        assert_eq!(expression.fetch, Call { name: "req.body", args: "" });
        assert_eq!(expression.converters, [Call { name: "bytes", args: "0,12000" }, Call { name: "lower", args: "" }]);
        assert_eq!(parse("req.hdr(x-token)").fetch, Call { name: "req.hdr", args: "x-token" });
        assert_eq!(parse("").fetch, Call::default());
        assert_eq!(parse("a(b").fetch, Call { name: "a", args: "b" });
        parse("))((,)");
    }

    #[test]
    fn variables() {
        let text =
            "%[var(txn.br.a)] set-var(txn.b) x,set-var(req.c),add(txn.d) var(sess.e,str) unset-var(txn.f) set-var-fmt(txn.g) -m";
        let names = |names: Vec<VarName<'_>>| names.iter().map(|name| name.full.to_owned()).collect::<Vec<_>>();
        assert_eq!(names(reads(text).collect()), ["txn.br.a", "sess.e"]);
        assert_eq!(names(writes(text).collect()), ["txn.b", "req.c", "txn.g", "txn.f"]);
        assert!(mentions(text, "txn.d") && !mentions(text, "txn.br") && !mentions(text, "br.a"));
        let name = VarName { full: "txn.my.pre.x" };
        assert_eq!((name.scope(), name.under("my.pre"), name.under("my")), ("txn", Some("x"), Some("pre.x")));
    }
}
