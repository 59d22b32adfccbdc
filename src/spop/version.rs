//! SPOP versions (SPOE §3.2.4).

use std::fmt;

/// `major.minor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version {
    /// Before the dot; 1 or more.
    pub major: u16,
    /// After the dot; 0 to 999.
    pub minor: u16,
}

impl Version {
    /// The version spoken here, and by HAProxy since 1.8.10. SPOP 1.0 had its flags in host order.
    pub const V2_0: Self = Self { major: 2, minor: 0 };

    /// Reads `major.minor`; spaces around it do not count.
    ///
    /// `None` when it is anything else, as in HAProxy: no digits on either side, major 0, minor above 999.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = str::from_utf8(text.trim_ascii()).ok()?;
        let (major, minor) = text.split_once('.')?;
        let version = Self { major: parse_digits(major)?, minor: parse_digits(minor)? };
        (version.major > 0 && version.minor <= 999).then_some(version)
    }

    /// Reads a comma-separated list and drops entries that are no versions.
    pub fn parse_list(text: &[u8]) -> Vec<Self> {
        text.split(|byte| *byte == b',').filter_map(Self::parse).collect()
    }

    /// Whether a peer that announces this version also speaks `other`: announcing a version includes the lower minors.
    pub const fn includes(self, other: Self) -> bool {
        self.major == other.major && self.minor >= other.minor
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Digits only: `str::parse` alone would take a sign.
fn parse_digits(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_do_not_count() {
        assert_eq!(Version::parse(b" 2.0 "), Some(Version::V2_0));
        assert_eq!(Version::parse_list(b"2.0, 1.5"), [Version::V2_0, Version { major: 1, minor: 5 }]);
        assert_eq!(Version::parse_list(b" 1.0 ,2.0"), [Version { major: 1, minor: 0 }, Version::V2_0]);
    }

    #[test]
    fn what_haproxy_refuses_is_refused() {
        for text in ["", "2", "2.", ".0", "0.9", "2.0x", "2 .0", "+2.0", "2.1000", "99999.0", "2.0.0", "\u{ff12}.0"] {
            assert_eq!(Version::parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(Version::parse(&[0xff, b'.', b'0']), None);
        assert_eq!(Version::parse_list(b",, x,"), []);
    }

    #[test]
    fn a_version_includes_lower_minors_of_its_major() {
        let version = |major, minor| Version { major, minor };
        assert!(version(2, 5).includes(Version::V2_0));
        assert!(!version(1, 9).includes(Version::V2_0));
        assert!(!version(3, 0).includes(Version::V2_0));
        assert!(!Version::V2_0.includes(version(2, 1)));
    }

    #[test]
    fn display_is_what_parse_reads() {
        assert_eq!(Version::parse(Version::V2_0.to_string().as_bytes()), Some(Version::V2_0));
    }
}
