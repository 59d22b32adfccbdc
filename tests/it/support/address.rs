//! One address, as each of those who need it writes it.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Where an agent listens.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Address {
    /// As the bridge writes it: `127.0.0.1:9000` or `unix:/path`.
    pub(crate) fn parse(text: &str) -> Address {
        match text.strip_prefix("unix:") {
            Some(path) => Address::Unix(path.into()),
            None => Address::Tcp(text.parse().unwrap_or_else(|_| panic!("address {text:?}"))),
        }
    }

    /// As a `server` line of haproxy.cfg has it.
    pub(crate) fn for_haproxy(&self) -> String {
        match self {
            Address::Tcp(address) => address.to_string(),
            Address::Unix(path) => format!("unix@{}", path.display()),
        }
    }

    /// As `--agent` has it.
    pub(crate) fn for_command_line(&self) -> String {
        match self {
            Address::Tcp(address) => address.to_string(),
            Address::Unix(path) => format!("unix:{}", path.display()),
        }
    }
}
