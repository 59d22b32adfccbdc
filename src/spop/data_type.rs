//! Numbers of the types of values (SPOE §3.1).

use std::fmt;

/// Number of a type on the wire, 0 to 9; others are unused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DataType(pub u8);

impl DataType {
    /// No value.
    pub const NULL: Self = Self(0);
    /// Boolean.
    pub const BOOL: Self = Self(1);
    /// 32-bit signed integer.
    pub const INT32: Self = Self(2);
    /// 32-bit unsigned integer.
    pub const UINT32: Self = Self(3);
    /// 64-bit signed integer.
    pub const INT64: Self = Self(4);
    /// 64-bit unsigned integer.
    pub const UINT64: Self = Self(5);
    /// IPv4 address.
    pub const IPV4: Self = Self(6);
    /// IPv6 address.
    pub const IPV6: Self = Self(7);
    /// Text.
    pub const STRING: Self = Self(8);
    /// Bytes.
    pub const BINARY: Self = Self(9);

    /// SPOE.txt's name in lower case, or `unknown`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NULL => "null",
            Self::BOOL => "bool",
            Self::INT32 => "int32",
            Self::UINT32 => "uint32",
            Self::INT64 => "int64",
            Self::UINT64 => "uint64",
            Self::IPV4 => "ipv4",
            Self::IPV6 => "ipv6",
            Self::STRING => "string",
            Self::BINARY => "binary",
            Self(_) => "unknown",
        }
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
