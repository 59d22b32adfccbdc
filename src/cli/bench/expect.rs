//! What every ACK must hold.

use std::str::FromStr;

use crate::cli::value::{FORMS, Value, show, show_action};
use crate::config::Variable;
use crate::spop::reader::Reader;
use crate::spop::{Action, DecodeError};

/// All of it; nothing by default.
#[derive(Clone, Debug, Default)]
pub(super) struct Expect {
    pub(super) variables: Vec<Expected>,
    /// Number of actions.
    pub(super) actions: Option<usize>,
}

/// A set-var, written `txn.allow=bool:true`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Expected {
    variable: Variable,
    value: Value,
}

impl FromStr for Expected {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("expected scope.name=value, as in txn.allow=bool:true")?;
        let variable = name.parse().map_err(|error| format!("{name}: {error}, one of proc, sess, txn, req, res"))?;
        let value = value.parse().map_err(|error| format!("{error}. Values: {FORMS}"))?;
        Ok(Self { variable, value })
    }
}

impl Expect {
    /// Whether the payload of an ACK holds it.
    ///
    /// # Errors
    /// When an action cannot be decoded, whatever is expected.
    pub(super) fn holds(&self, payload: &[u8]) -> Result<bool, DecodeError> {
        let (mut reader, mut count) = (Reader::new(payload), 0);
        while !reader.is_empty() {
            Action::decode(&mut reader)?;
            count += 1;
        }
        let set = |expected: &Expected| actions(payload).any(|action| expected.is(&action));
        Ok(self.actions.is_none_or(|expected| expected == count) && self.variables.iter().all(set))
    }

    /// What was expected and what was found, on one line.
    pub(super) fn explain(&self, payload: &[u8]) -> String {
        let found: Vec<String> = actions(payload).map(|action| show_action(&action)).collect();
        let expected = self
            .variables
            .iter()
            .map(|Expected { variable, value }| format!("set-var {variable} = {}", show(value.typed_data())));
        let count = self.actions.map(|count| format!("{count} actions"));
        let expected: Vec<String> = expected.chain(count).collect();
        let found = if found.is_empty() { "no action".to_owned() } else { found.join(", ") };
        format!("found {found}; expected {}", expected.join(" and "))
    }
}

/// Up to the first that cannot be decoded.
fn actions(payload: &[u8]) -> impl Iterator<Item = Action<'_>> {
    let mut reader = Reader::new(payload);
    std::iter::from_fn(move || Action::decode(&mut reader).ok())
}

impl Expected {
    fn is(&self, action: &Action<'_>) -> bool {
        let (expected, wanted) = (&self.variable, self.value.typed_data());
        matches!(action, Action::SetVar { scope, name, value }
            if *scope == expected.scope && *name == expected.name.as_bytes() && *value == wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spop::{Actions, TypedData, VarScope};

    fn expect(variables: &[&str], actions: Option<usize>) -> Expect {
        Expect { variables: variables.iter().map(|text| text.parse().unwrap()).collect(), actions }
    }

    #[test]
    fn an_ack_holds_what_is_expected_or_not() {
        let mut actions = Actions::new();
        actions.set_var(VarScope::Transaction, "allow", TypedData::Bool(true)).unwrap();
        actions.unset_var(VarScope::Session, "old").unwrap();
        let holds = |expect: Expect| expect.holds(actions.as_bytes()).unwrap();
        assert!(holds(expect(&[], None)) && holds(expect(&["txn.allow=bool:true"], Some(2))));
        for wrong in ["txn.allow=bool:false", "sess.allow=bool:true", "txn.allowed=bool:true", "txn.allow=true", "sess.old=null"]
        {
            assert!(!holds(expect(&[wrong], None)), "{wrong}");
        }
        assert!(!holds(expect(&["txn.allow=bool:true"], Some(1))));
        assert_eq!(
            expect(&["txn.allow=bool:false"], Some(1)).explain(actions.as_bytes()),
            "found set-var txn.allow = bool:true, unset-var sess.old; expected set-var txn.allow = bool:false and 1 actions"
        );
    }

    #[test]
    fn actions_must_decode_whatever_is_expected() {
        assert_eq!(Expect::default().holds(&[9]), Err(DecodeError::UnknownAction(9)));
        assert_eq!(Expect::default().holds(&[]), Ok(true));
    }

    #[test]
    fn wrong_forms_are_explained() {
        for text in ["txn.allow", "allow=bool:true", "txn.allow=bool:yes"] {
            let error = text.parse::<Expected>().unwrap_err();
            assert!(error.contains("expected"), "{error}");
        }
    }
}
