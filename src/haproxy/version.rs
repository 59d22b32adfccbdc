//! Releases of HAProxy, as far as their configuration differs.

use std::fmt;
use std::str::FromStr;

/// A release line of HAProxy such as 3.2, or one release of it such as 3.2.26.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    major: u8,
    minor: u8,
    patch: Option<u16>,
}

impl Version {
    /// The first that we know to work: older ones lack `http-request return` and much else.
    pub(crate) const OLDEST: Self = Self::new(2, 4);
    /// SPOP is a multiplexer of its own, `mode spop` exists, and several keywords of the SPOE file are ignored.
    pub(crate) const MUX: Self = Self::new(3, 1);
    /// PROXY headers for agents are left out, with a warning.
    pub(crate) const NO_PROXY_HEADERS: Self = Self::new(3, 3);
    /// The newest that is known: what came after it may differ.
    pub(crate) const NEWEST: Self = Self::new(3, 4);
    /// What is assumed unless the operator says otherwise: the line with long-term support whose image deploy/ has.
    pub(crate) const DEFAULT: Self = Self::new(3, 2);

    /// `major.minor`.
    pub(crate) const fn new(major: u8, minor: u8) -> Self {
        Self { major, minor, patch: None }
    }

    /// Whether it speaks SPOP by the multiplexer, not by the applet.
    pub(crate) fn has_mux(self) -> bool {
        self >= Self::MUX
    }

    /// The release line, and the release of it if that is known.
    pub(crate) fn release(self) -> (Self, Option<u16>) {
        (Self::new(self.major, self.minor), self.patch)
    }

    /// What to say of a line that came after this program.
    pub(crate) fn warning(self) -> Option<String> {
        let (line, _) = self.release();
        let newest = Self::NEWEST;
        let text =
            || format!("HAProxy {line} is newer than {newest}, the newest that is known here, and is taken for one like it");
        (line > newest).then(text)
    }

    /// HAProxy's `version_atleast()`; `None` if it depends on a patch number that we don't know, or `text` is none.
    pub(crate) fn is_at_least(self, text: &str) -> Option<bool> {
        let (line, patch) = Self::parse(text.trim_matches(['"', '\'', ' ']))?.release();
        match (self.release(), patch) {
            ((own, _), _) if own != line => Some(own > line),
            (_, None | Some(0)) => Some(true),
            ((_, own), Some(patch)) => own.map(|own| own >= patch),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(['.', '-']);
        let (major, minor) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(Self { major, minor, patch: parts.next().and_then(|patch| patch.parse().ok()) })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        self.patch.map_or(Ok(()), |patch| write!(f, ".{patch}"))
    }
}

/// Takes `3.2`, `3.2.26` or `3.2.26-1`, and all that `haproxy -v` says.
impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let word = text.split_once("version ").and_then(|(_, said)| said.split_whitespace().next()).unwrap_or(text);
        match Self::parse(word) {
            // 3.0 came after 2.9.
            Some(Self { major: 2, minor: 10.., .. }) => {
                Err(format!("{text} is no release of HAProxy: its lines are 2.4 to 2.9, and 3.0 on"))
            }
            Some(version) if version >= Self::OLDEST => Ok(version),
            Some(_) => Err(format!("{text} is older than {}, the first release that is known to work", Self::OLDEST)),
            None => Err(format!("{text} is no release of HAProxy: expected major.minor, such as {}", Self::DEFAULT)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_haproxy_prints_them() {
        for (text, version, shown) in [
            ("2.6", (2, 6, None), "2.6"),
            ("3.0.11-1+deb13u3", (3, 0, Some(11)), "3.0.11"),
            ("3.2.26", (3, 2, Some(26)), "3.2.26"),
            ("3.5-dev5", (3, 5, None), "3.5"),
            ("3.10", (3, 10, None), "3.10"),
            ("3.4.7-1", (3, 4, Some(7)), "3.4.7"),
            ("HAProxy version 3.4.7-1 2026/10/14 - https://haproxy.org/\nStatus: long-term", (3, 4, Some(7)), "3.4.7"),
            ("HA-Proxy version 2.4.0 2021/05/14", (2, 4, Some(0)), "2.4.0"),
        ] {
            let read: Version = text.parse().unwrap();
            assert_eq!(read.release(), (Version::new(version.0, version.1), version.2));
            assert_eq!(read.to_string(), shown);
        }
        assert!("1.8".parse::<Version>().unwrap_err().contains("older than 2.4"));
        assert!("2.10".parse::<Version>().unwrap_err().contains("2.4 to 2.9"));
        for wrong in ["", "3", "three", "3.x", "HAProxy version unknown"] {
            assert!(wrong.parse::<Version>().unwrap_err().contains("major.minor"), "{wrong}");
        }
    }

    #[test]
    fn newer_ones_are_taken_with_a_warning() {
        let warning = |text: &str| text.parse::<Version>().unwrap().warning();
        for known in ["2.4", "2.9", "3.3.10", "3.4", "3.4.99"] {
            assert_eq!(warning(known), None, "{known}");
        }
        for newer in ["3.5-dev5", "3.10.1", "4.0"] {
            assert!(warning(newer).unwrap().contains("newer than 3.4"), "{newer}");
        }
    }

    #[test]
    fn the_multiplexer_came_with_3_1() {
        assert!(!Version::new(3, 0).has_mux() && Version::new(3, 1).has_mux() && Version::new(3, 10).has_mux());
        assert!(!"3.0.26".parse::<Version>().unwrap().has_mux() && "3.1.0".parse::<Version>().unwrap().has_mux());
    }

    #[test]
    fn at_least() {
        let release: Version = "3.2.4".parse().unwrap();
        for (than, expected) in [("3.2", true), ("3.2.4", true), ("3.2.5", false), ("3.1.9", true), ("3.3", false)] {
            assert_eq!(release.is_at_least(than), Some(expected), "{than}");
        }
        assert_eq!(Version::new(3, 2).is_at_least("3.2.5"), None);
        assert_eq!(Version::new(3, 2).is_at_least("x"), None);
    }
}
