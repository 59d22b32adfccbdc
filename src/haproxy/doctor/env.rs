//! The environment of HAProxy, as far as it is known: what the configuration itself sets, what the command line gives, and guesses.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::word::{Value, Word};

/// The environment at a line of the configuration.
#[derive(Clone)]
pub(super) struct Env<'a> {
    outside: &'a dyn Fn(&str) -> Option<String>,
    own: Rc<Own>,
}

#[derive(Clone, Default)]
struct Own {
    values: BTreeMap<String, Value>,
    /// After `resetenv` there is nothing but what it names and what lines after it set.
    kept: Option<Vec<String>>,
}

impl Default for Env<'_> {
    fn default() -> Self {
        Self::new(&|_| None, &[])
    }
}

impl<'a> Env<'a> {
    /// `given` is certain, `outside` guesses.
    pub(super) fn new(outside: &'a dyn Fn(&str) -> Option<String>, given: &[(String, String)]) -> Self {
        let given = given.iter().map(|(name, value)| (name.clone(), Value::Known(Some(value.clone()))));
        Self { outside, own: Rc::new(Own { values: given.collect(), kept: None }) }
    }

    pub(super) fn value(&self, name: &str) -> Value {
        match (self.own.values.get(name), &self.own.kept) {
            (Some(value), _) => value.clone(),
            (None, Some(kept)) if !kept.iter().any(|kept| kept == name) => Value::Known(None),
            (None, _) => Value::Guess((self.outside)(name)),
        }
    }

    /// Carries out `setenv`, `presetenv`, `unsetenv` and `resetenv`. A line that HAProxy may not read makes values guesses.
    pub(super) fn change(&mut self, words: &[Word], maybe: bool) {
        let Some((directive, words)) = words.split_first() else { return };
        let names = || words.iter().map(|word| word.text().to_owned());
        match directive.text() {
            directive @ ("setenv" | "presetenv") => {
                let (Some(name), Some(value)) = (words.first(), words.get(1)) else { return };
                if directive == "presetenv" && matches!(self.value(name.text()), Value::Known(Some(_))) {
                    return;
                }
                let value = match value.known() {
                    Some(text) if !maybe => Value::Known(Some(text.to_owned())),
                    _ => Value::Guess(Some(value.text().to_owned())),
                };
                Rc::make_mut(&mut self.own).values.insert(name.text().to_owned(), value);
            }
            "unsetenv" => {
                let value = if maybe { Value::Guess(None) } else { Value::Known(None) };
                Rc::make_mut(&mut self.own).values.extend(names().map(|name| (name, value.clone())));
            }
            "resetenv" if !maybe => {
                let own = Rc::make_mut(&mut self.own);
                let kept: Vec<_> = names().collect();
                own.values.retain(|name, _| kept.contains(name));
                own.kept = Some(kept);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::word::split;
    use super::*;

    #[test]
    fn directives_in_their_order() {
        let outside = |name: &str| (name == "HOME").then(|| "/root".to_owned());
        let mut env = Env::new(&outside, &[("GIVEN".into(), "g".into())]);
        let mut run = |line: &str, maybe| {
            let words = split(line, &|name| env.value(name)).unwrap().words;
            env.change(&words, maybe);
        };
        for line in [
            "setenv A one",
            "setenv A \"${A}s\"",
            "presetenv A two",
            "presetenv B two",
            "presetenv GIVEN other",
            "setenv C \"$HOME\"",
            "setenv D d",
            "unsetenv D",
        ] {
            run(line, false);
        }
        run("setenv E e", true);
        let known = |text: &str| Value::Known(Some(text.to_owned()));
        let guess = |text: &str| Value::Guess(Some(text.to_owned()));
        let expected =
            [("A", known("ones")), ("B", known("two")), ("GIVEN", known("g")), ("C", guess("/root")), ("E", guess("e"))];
        for (name, value) in expected {
            assert_eq!(env.value(name), value, "{name}");
        }
        assert_eq!([env.value("D"), env.value("F")], [Value::Known(None), Value::Guess(None)]);
        let mut reset = env.clone();
        reset.change(&split("resetenv A HOME", &|name| env.value(name)).unwrap().words, false);
        let values = ["A", "B", "HOME", "F"].map(|name| reset.value(name));
        assert_eq!(values, [known("ones"), Value::Known(None), guess("/root"), Value::Known(None)]);
        assert_eq!(Value::Guess(None).or(Some("x".into())), known("x"));
    }
}
