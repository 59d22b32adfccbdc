//! HAProxy's variables: where they live and what they may be called.

use std::fmt;
use std::str::FromStr;

use super::error::ActionError;

/// Most bytes of `scope.prefix.name`: HAProxy builds it in a buffer of 64 with the closing zero.
///
/// Longer names were cut before 2026-08 and are dropped since, without a word.
pub const MAX_VARIABLE_NAME: usize = 63;

/// Where a variable of HAProxy lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum VarScope {
    /// `proc`: the whole process.
    Process,
    /// `sess`: the client's session.
    Session,
    /// `txn`: request and response.
    Transaction,
    /// `req`: the request.
    Request,
    /// `res`: the response.
    Response,
}

impl VarScope {
    /// Every scope, by wire number.
    pub const ALL: [Self; 5] = [Self::Process, Self::Session, Self::Transaction, Self::Request, Self::Response];

    /// Its number in an action, 0 to 4.
    pub const fn to_wire(self) -> u8 {
        match self {
            Self::Process => 0,
            Self::Session => 1,
            Self::Transaction => 2,
            Self::Request => 3,
            Self::Response => 4,
        }
    }

    /// The scope with that number in an action; `None` above 4.
    pub const fn from_wire(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Process),
            1 => Some(Self::Session),
            2 => Some(Self::Transaction),
            3 => Some(Self::Request),
            4 => Some(Self::Response),
            _ => None,
        }
    }

    /// The word in front of a variable's first dot.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Process => "proc",
            Self::Session => "sess",
            Self::Transaction => "txn",
            Self::Request => "req",
            Self::Response => "res",
        }
    }
}

impl fmt::Display for VarScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Text is no scope: expected `proc`, `sess`, `txn`, `req` or `res`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown variable scope, expected proc, sess, txn, req or res")]
pub struct UnknownScope;

impl FromStr for VarScope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or(UnknownScope)
    }
}

/// Whether HAProxy can hold the variable `scope.prefix.name`, where `prefix` has `prefix_len` bytes; 0 for none.
///
/// # Errors
///
/// When the name is empty, holds a byte other than ASCII letters, digits, `_` and `.`, or is longer with its scope and
/// prefix than [`MAX_VARIABLE_NAME`] bytes.
pub fn check_name(scope: VarScope, prefix_len: usize, name: &[u8]) -> Result<(), ActionError> {
    if name.is_empty() {
        return Err(ActionError::EmptyName);
    }
    if let Some(byte) = name.iter().copied().find(|byte| !is_name_byte(*byte)) {
        return Err(ActionError::InvalidByte(byte));
    }
    let dots = if prefix_len == 0 { 1 } else { 2 };
    let len = [scope.as_str().len(), prefix_len, name.len()].into_iter().fold(dots, usize::saturating_add);
    if len > MAX_VARIABLE_NAME {
        return Err(ActionError::NameTooLong { len, max: MAX_VARIABLE_NAME });
    }
    Ok(())
}

fn is_name_byte(byte: u8) -> bool {
    NAME_BYTES.get(usize::from(byte)).copied().unwrap_or_default()
}

/// Whether each byte may be in a name. Every name of every answer is looked at.
const NAME_BYTES: [bool; 256] = {
    let mut bytes = [false; 256];
    let mut byte = 0_u8;
    loop {
        #[allow(clippy::indexing_slicing, reason = "no byte is above 255")]
        {
            bytes[byte as usize] = byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.';
        }
        if byte == u8::MAX {
            break bytes;
        }
        byte += 1;
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d19_name_with_scope_and_prefix_is_63_bytes_at_most() {
        // txn. + name
        assert_eq!(check_name(VarScope::Transaction, 0, &[b'n'; 59]), Ok(()));
        let too_long = Err(ActionError::NameTooLong { len: 64, max: 63 });
        assert_eq!(check_name(VarScope::Transaction, 0, &[b'n'; 60]), too_long);
        // sess. + prefix + . + name
        assert_eq!(check_name(VarScope::Session, 16, &[b'n'; 41]), Ok(()));
        assert_eq!(check_name(VarScope::Session, 16, &[b'n'; 42]), too_long);
        assert!(check_name(VarScope::Session, usize::MAX, b"n").is_err());
    }

    #[test]
    fn d19_name_is_made_of_what_haproxy_allows() {
        assert_eq!(check_name(VarScope::Request, 0, b"a.B_9"), Ok(()));
        assert_eq!(check_name(VarScope::Request, 0, b""), Err(ActionError::EmptyName));
        for byte in [b'-', b' ', 0, b'\n', 0xc3] {
            assert_eq!(check_name(VarScope::Request, 0, &[b'a', byte]), Err(ActionError::InvalidByte(byte)));
        }
    }

    #[test]
    fn scopes_have_haproxys_words_and_numbers() {
        for (number, word) in (0..).zip(["proc", "sess", "txn", "req", "res"]) {
            let scope = VarScope::from_wire(number).unwrap();
            assert_eq!((scope.to_wire(), scope.as_str(), word.parse()), (number, word, Ok(scope)));
        }
        assert_eq!(VarScope::from_wire(5), None);
        assert_eq!("transaction".parse::<VarScope>(), Err(UnknownScope));
    }
}
