//! Capabilities that HELLO frames announce (SPOE §3.2.1).

use std::fmt;

/// What a peer can do besides answering one NOTIFY after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Capabilities {
    /// Several NOTIFYs may be in flight on a connection, and ACKs come in any order.
    pub pipelining: bool,
    /// Payloads may be cut into frames. Deprecated; HAProxy up to 3.0 offers it.
    pub fragmentation: bool,
    /// ACKs may travel on another connection of the same engine. Deprecated; HAProxy up to 3.0 offers it.
    pub r#async: bool,
}

impl Capabilities {
    /// Nothing.
    pub const NONE: Self = Self { pipelining: false, fragmentation: false, r#async: false };

    /// Pipelining alone: what an agent of this crate announces.
    pub const PIPELINING: Self = Self { pipelining: true, ..Self::NONE };

    /// Reads a comma-separated list; spaces and unknown names do not count.
    pub fn parse(text: &[u8]) -> Self {
        let mut capabilities = Self::NONE;
        for name in text.split(|byte| *byte == b',') {
            match name.trim_ascii() {
                b"pipelining" => capabilities.pipelining = true,
                b"fragmentation" => capabilities.fragmentation = true,
                b"async" => capabilities.r#async = true,
                _ => {}
            }
        }
        capabilities
    }
}

/// The list as HAProxy writes it: no spaces, empty when there are none.
impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [(self.pipelining, "pipelining"), (self.r#async, "async"), (self.fragmentation, "fragmentation")];
        let mut separator = "";
        for (_, name) in names.iter().filter(|(has, _)| *has) {
            write!(f, "{separator}{name}")?;
            separator = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_haproxy_writes_them() {
        assert_eq!(Capabilities::parse(b""), Capabilities::NONE);
        assert_eq!(Capabilities::parse(b"pipelining"), Capabilities::PIPELINING);
        let all = Capabilities { pipelining: true, fragmentation: true, r#async: true };
        assert_eq!(Capabilities::parse(b"pipelining,async,fragmentation"), all);
        assert_eq!(all.to_string(), "pipelining,async,fragmentation");
        assert_eq!(Capabilities::NONE.to_string(), "");
    }

    #[test]
    fn spaces_and_unknown_names_do_not_count() {
        assert_eq!(Capabilities::parse(b" pipelining , teleport,,\xff"), Capabilities::PIPELINING);
        assert_eq!(Capabilities::parse(b"pipeliningx,Pipelining"), Capabilities::NONE);
    }

    #[test]
    fn every_combination_survives() {
        for bits in 0..8_u8 {
            let capabilities = Capabilities { pipelining: bits & 1 > 0, fragmentation: bits & 2 > 0, r#async: bits & 4 > 0 };
            assert_eq!(Capabilities::parse(capabilities.to_string().as_bytes()), capabilities);
        }
    }
}
