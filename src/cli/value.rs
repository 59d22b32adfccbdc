//! Typed values as people write them on a command line: `type:value`.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::spop::{Action, TypedData};

/// The forms of a value, for help and errors.
pub(super) const FORMS: &str =
    "null, bool:true, int:-5, int32:, uint32:, uint64:, ipv4:192.0.2.1, ipv6:2001:db8::1, str:text, bin:00ff (hex)";

/// A value that owns its bytes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Plain(TypedData<'static>),
    String(Vec<u8>),
    Binary(Vec<u8>),
}

impl Value {
    pub(super) fn typed_data(&self) -> TypedData<'_> {
        match self {
            Self::Plain(value) => *value,
            Self::String(bytes) => TypedData::String(bytes),
            Self::Binary(bytes) => TypedData::Binary(bytes),
        }
    }
}

impl FromStr for Value {
    type Err = String;

    /// Reads `type:value`. Text that does not begin with a known type is a string.
    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, value) = text.split_once(':').unwrap_or((text, ""));
        let bad = |expected: &str| format!("found `{text}`, expected {expected}");
        let number = "a number in range after the colon";
        Ok(Self::Plain(match kind {
            "null" if text == "null" => TypedData::Null,
            "bool" => TypedData::Bool(value.parse().map_err(|_| bad("bool:true or bool:false"))?),
            "int" | "int64" => TypedData::Int64(value.parse().map_err(|_| bad(number))?),
            "int32" => TypedData::Int32(value.parse().map_err(|_| bad(number))?),
            "uint32" => TypedData::Uint32(value.parse().map_err(|_| bad(number))?),
            "uint" | "uint64" => TypedData::Uint64(value.parse().map_err(|_| bad(number))?),
            "ipv4" => TypedData::Ipv4(value.parse::<Ipv4Addr>().map_err(|_| bad("an IPv4 address after the colon"))?),
            "ipv6" => TypedData::Ipv6(value.parse::<Ipv6Addr>().map_err(|_| bad("an IPv6 address after the colon"))?),
            "str" | "string" if text.contains(':') => return Ok(Self::String(value.as_bytes().to_vec())),
            "bin" | "bytes" if text.contains(':') => {
                return unhex(value).map(Self::Binary).ok_or_else(|| bad("hex digits in pairs after the colon"));
            }
            _ => return Ok(Self::String(text.as_bytes().to_vec())),
        }))
    }
}

/// Reads an arg of a message: `name=type:value`, or `name=text`. The name may be empty.
pub(super) fn parse_arg(text: &str) -> Result<(&str, Value), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("--arg {text}: expected name=value"))?;
    Ok((name, value.parse().map_err(|error| format!("--arg {name}: {error}. Values: {FORMS}"))?))
}

/// Prints a value as [`Value`] reads it.
pub(super) fn show(value: TypedData<'_>) -> String {
    match value {
        TypedData::Null => "null".to_owned(),
        TypedData::Bool(value) => format!("bool:{value}"),
        TypedData::Int32(value) => format!("int32:{value}"),
        TypedData::Uint32(value) => format!("uint32:{value}"),
        TypedData::Int64(value) => format!("int:{value}"),
        TypedData::Uint64(value) => format!("uint64:{value}"),
        TypedData::Ipv4(value) => format!("ipv4:{value}"),
        TypedData::Ipv6(value) => format!("ipv6:{value}"),
        // What is not text is shown with escapes: a terminal must not carry out what a service sends.
        TypedData::String(value) => format!("str:{}", value.escape_ascii()),
        TypedData::Binary(value) => value.iter().fold("bin:".to_owned(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        }),
    }
}

/// Prints an action on one line: `set-var txn.allow = bool:true`.
pub(super) fn show_action(action: &Action<'_>) -> String {
    match action {
        Action::SetVar { scope, name, value } => format!("set-var {scope}.{} = {}", name.escape_ascii(), show(*value)),
        Action::UnsetVar { scope, name } => format!("unset-var {scope}.{}", name.escape_ascii()),
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|digit| u8::try_from(digit.to_digit(16)?).ok()).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_as_they_are_shown() {
        for text in ["null", "bool:true", "int:-5", "int32:-5", "uint32:5", "uint64:18446744073709551615", "ipv4:192.0.2.1"] {
            assert_eq!(show(text.parse::<Value>().unwrap().typed_data()), text);
        }
        for text in ["ipv6:2001:db8::1", "str:a:b", "bin:00ff", "str:", "bin:"] {
            assert_eq!(show(text.parse::<Value>().unwrap().typed_data()), text);
        }
        assert_eq!("/path".parse(), Ok(Value::String(b"/path".to_vec())));
        assert_eq!("http://x".parse(), Ok(Value::String(b"http://x".to_vec())));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for text in ["bool:yes", "int:x", "int32:3000000000", "uint64:-1", "ipv4:1.2.3", "ipv6:x", "bin:0", "bin:zz"] {
            let error = text.parse::<Value>().unwrap_err();
            assert!(error.starts_with(&format!("found `{text}`, expected ")), "{error}");
        }
    }
}
