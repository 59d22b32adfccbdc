//! Actions of an ACK: set-var and unset-var (SPOE §3.4).

use bytes::BufMut;

use super::error::{ActionError, DecodeError};
use super::reader::Reader;
use super::typed_data::TypedData;
pub use super::variable::{MAX_VARIABLE_NAME, UnknownScope, VarScope, check_name};
use super::writer::put_string;

/// A list of actions, already encoded, in the order in which HAProxy runs them.
///
/// HAProxy stops at the first action it cannot read and keeps quiet about it, so everything is checked on the way in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actions {
    bytes: Vec<u8>,
    count: usize,
}

impl Actions {
    /// An empty list; allocates nothing.
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), count: 0 }
    }

    /// An empty list with room for `bytes` bytes of encoded actions.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), count: 0 }
    }

    /// Appends set-var. HAProxy puts `option var-prefix` between scope and name; setting NULL unsets.
    ///
    /// # Errors
    ///
    /// When [`check_name`] refuses the name, without a prefix. Nothing is appended then.
    pub fn set_var(&mut self, scope: VarScope, name: impl AsRef<[u8]>, value: TypedData<'_>) -> Result<&mut Self, ActionError> {
        self.put_head(SET_VAR, SET_VAR_ARGS, scope, name.as_ref())?;
        value.encode(&mut self.bytes);
        Ok(self)
    }

    /// Appends unset-var.
    ///
    /// # Errors
    ///
    /// As [`Actions::set_var`].
    pub fn unset_var(&mut self, scope: VarScope, name: impl AsRef<[u8]>) -> Result<&mut Self, ActionError> {
        self.put_head(UNSET_VAR, UNSET_VAR_ARGS, scope, name.as_ref())?;
        Ok(self)
    }

    /// Appends every action of `other`.
    pub fn append(&mut self, other: &Self) {
        self.bytes.extend_from_slice(&other.bytes);
        self.count = self.count.saturating_add(other.count);
    }

    /// Appends those actions of `other` that are `wanted`, in their order.
    pub fn append_if(&mut self, other: &Self, mut wanted: impl FnMut(&Action<'_>) -> bool) {
        let mut reader = Reader::new(&other.bytes);
        loop {
            let rest = reader.rest();
            let Ok(action) = Action::decode(&mut reader) else { break };
            if wanted(&action) {
                let length = rest.len().saturating_sub(reader.remaining());
                self.bytes.extend_from_slice(rest.get(..length).unwrap_or_default());
                self.count = self.count.saturating_add(1);
            }
        }
    }

    /// Removes every action and keeps the room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
    }

    /// The payload of an ACK frame.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes of the payload.
    pub fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Number of actions.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Whether there is no action. HAProxy 3.1 before 2025-02 lets a stream hang whose ACK has none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The actions, decoded.
    pub const fn iter(&self) -> Iter<'_> {
        Iter { reader: Reader::new(self.bytes.as_slice()) }
    }

    /// Checks the payload of an ACK and takes it over; what a client of agents needs. Names are not checked.
    ///
    /// # Errors
    ///
    /// On anything that HAProxy would stop at.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        let mut count = 0_usize;
        while !reader.is_empty() {
            Action::decode(&mut reader)?;
            count = count.saturating_add(1);
        }
        Ok(Self { bytes: payload.to_vec(), count })
    }

    fn put_head(&mut self, action: u8, args: u8, scope: VarScope, name: &[u8]) -> Result<(), ActionError> {
        check_name(scope, 0, name)?;
        self.bytes.put_slice(&[action, args, scope.to_wire()]);
        put_string(name, &mut self.bytes);
        self.count = self.count.saturating_add(1);
        Ok(())
    }
}

impl<'a> IntoIterator for &'a Actions {
    type Item = Action<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Iterator over [`Actions`].
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    reader: Reader<'a>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Action<'a>;

    fn next(&mut self) -> Option<Action<'a>> {
        // The bytes were encoded or checked here, so an error is the end.
        Action::decode(&mut self.reader).ok()
    }
}

/// One action, borrowed from its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Sets a variable.
    SetVar {
        /// Where it lives.
        scope: VarScope,
        /// Its name without scope and prefix.
        name: &'a [u8],
        /// Its value; NULL unsets.
        value: TypedData<'a>,
    },
    /// Removes a variable.
    UnsetVar {
        /// Where it lives.
        scope: VarScope,
        /// Its name without scope and prefix.
        name: &'a [u8],
    },
}

impl<'a> Action<'a> {
    /// The variable that it sets or removes: HAProxy tells variables apart by their scope and the bytes of their name.
    pub const fn variable(&self) -> (VarScope, &'a [u8]) {
        match *self {
            Self::SetVar { scope, name, .. } | Self::UnsetVar { scope, name } => (scope, name),
        }
    }

    /// Takes one action off `reader`.
    ///
    /// # Errors
    ///
    /// When its type, scope or number of arguments is not one of SPOE §3.4, or a part of it cannot be decoded.
    pub fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        match reader.u8()? {
            SET_VAR => {
                let (scope, name) = decode_head(reader, SET_VAR_ARGS)?;
                Ok(Self::SetVar { scope, name, value: TypedData::decode(reader)? })
            }
            UNSET_VAR => {
                let (scope, name) = decode_head(reader, UNSET_VAR_ARGS)?;
                Ok(Self::UnsetVar { scope, name })
            }
            unknown => Err(DecodeError::UnknownAction(unknown)),
        }
    }
}

/// Argument count, scope and name, which both actions have.
fn decode_head<'a>(reader: &mut Reader<'a>, expected: u8) -> Result<(VarScope, &'a [u8]), DecodeError> {
    let found = reader.u8()?;
    if found != expected {
        return Err(DecodeError::BadActionArgs { expected, found });
    }
    let number = reader.u8()?;
    let scope = VarScope::from_wire(number).ok_or(DecodeError::UnknownScope(number))?;
    Ok((scope, reader.string()?))
}

const SET_VAR: u8 = 1;
const SET_VAR_ARGS: u8 = 3;
const UNSET_VAR: u8 = 2;
const UNSET_VAR_ARGS: u8 = 2;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{hex, scopes, values};
    use super::*;

    #[test]
    fn bytes_are_those_of_spoe_3_4() {
        let mut actions = Actions::new();
        actions.set_var(VarScope::Transaction, "allow", TypedData::Bool(true)).unwrap();
        actions.unset_var(VarScope::Session, "ip").unwrap();
        assert_eq!(actions.as_bytes(), hex("01 03 02 05 616c6c6f77 11   02 02 01 02 6970"));
        assert_eq!((actions.count(), actions.len_bytes()), (2, 16));
    }

    #[test]
    fn d18_a_refused_action_leaves_the_list_as_it_was() {
        let mut actions = Actions::new();
        actions.set_var(VarScope::Request, "a", 1_i64.into()).unwrap();
        let before = actions.clone();
        actions.set_var(VarScope::Request, "", 1_i64.into()).unwrap_err();
        actions.unset_var(VarScope::Request, "a b").unwrap_err();
        assert_eq!(actions, before);
    }

    #[test]
    fn d18_order_is_kept() {
        let (mut first, mut second) = (Actions::new(), Actions::with_capacity(64));
        first.set_var(VarScope::Process, "a", 1_i64.into()).unwrap();
        second.unset_var(VarScope::Response, "b").unwrap().set_var(VarScope::Response, "c", TypedData::Null).unwrap();
        first.append(&second);
        let name = |action| match action {
            Action::SetVar { name, .. } | Action::UnsetVar { name, .. } => name,
        };
        let names: Vec<&[u8]> = first.iter().map(name).collect();
        assert_eq!(names, [b"a", b"b", b"c"]);
        first.clear();
        assert!(first.is_empty() && first.iter().next().is_none());
    }

    #[test]
    fn strict_decoding_stops_where_haproxy_does() {
        let refused = |bytes: &str| Actions::decode(&hex(bytes)).unwrap_err();
        assert_eq!(refused("03 03 02 01 61 00"), DecodeError::UnknownAction(3));
        assert_eq!(refused("01 02 02 01 61 00"), DecodeError::BadActionArgs { expected: 3, found: 2 });
        assert_eq!(refused("02 03 02 01 61"), DecodeError::BadActionArgs { expected: 2, found: 3 });
        assert_eq!(refused("02 02 05 01 61"), DecodeError::UnknownScope(5));
        assert_eq!(refused("01 03 02 01 61"), DecodeError::UnexpectedEnd);
        assert_eq!(Actions::decode(&[]), Ok(Actions::new()));
    }

    proptest! {
        #[test]
        fn decode_undoes_encode(
            list in prop::collection::vec((scopes(), "[a-zA-Z0-9_.]{1,58}", prop::option::of(values())), 0..6),
        ) {
            let mut actions = Actions::new();
            for (scope, name, value) in &list {
                match value {
                    Some(value) => actions.set_var(*scope, name, value.typed()),
                    None => actions.unset_var(*scope, name),
                }.unwrap();
            }
            let expected: Vec<_> = list.iter().map(|(scope, name, value)| match value {
                Some(value) => Action::SetVar { scope: *scope, name: name.as_bytes(), value: value.typed() },
                None => Action::UnsetVar { scope: *scope, name: name.as_bytes() },
            }).collect();
            prop_assert_eq!(actions.iter().collect::<Vec<_>>(), expected);
            prop_assert_eq!(actions.count(), list.len());
            let wanted = |action: &Action<'_>| action.variable().1.len().is_multiple_of(2);
            let mut some = Actions::new();
            some.append_if(&actions, wanted);
            prop_assert_eq!(some.count(), some.iter().count());
            prop_assert_eq!(some.iter().collect::<Vec<_>>(), actions.iter().filter(wanted).collect::<Vec<_>>());
            prop_assert_eq!(Actions::decode(actions.as_bytes()), Ok(actions));
        }

        #[test]
        fn any_bytes_decode_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(actions) = Actions::decode(&bytes) {
                prop_assert_eq!(actions.iter().count(), actions.count());
            }
        }
    }
}
