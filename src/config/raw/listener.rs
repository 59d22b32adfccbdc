//! Where HAProxy connects.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{DEFAULT_MODE, FILE_TITLE, Items, MODE_TITLE, PREFIX_PATTERN, PREFIX_TITLE, SAN_TITLE, VERSION_TITLE};
use crate::config::limits;
use crate::config::tls::TlsVersion;

/// One address to serve SPOP on.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Listener {
    /// Name for routes, logs and metrics, and for the service (`origin.listener`). Unique. Default: the text of `bind`.
    #[schemars(length(min = 1, max = limits::MAX_NAME))]
    pub(in crate::config) name: Option<String>,
    /// Where to listen. IPv6 in brackets: `[::]:9000`. Port 0: any that is free. The path of a socket is absolute and at most 107
    /// bytes long.
    #[schemars(required, title = "host:port or unix:/path")]
    pub(in crate::config) bind: Option<String>,
    /// Permissions and owner of a Unix socket. Only with a `unix:` bind.
    pub(in crate::config) unix: Option<UnixSocket>,
    /// TLS. HAProxy's `server` lines then have `ssl`. Default: none.
    pub(in crate::config) tls: Option<ListenerTls>,
    /// Connections at a time; more are closed at once.
    #[schemars(transform = limits::MAX_CONNECTIONS.clone())]
    pub(in crate::config) max_connections: Option<usize>,
    /// NOTIFYs in flight on one connection; above it no more are read from it.
    #[schemars(transform = limits::MAX_IN_FLIGHT.clone())]
    pub(in crate::config) max_in_flight: Option<usize>,
    /// Largest frame that is agreed to in the HELLO. HAProxy offers its `tune.bufsize` less 4 bytes, 16380 by default; what it
    /// offers is taken if it is below this. Common gRPC servers refuse messages over 4 MiB, and end the stream on which one
    /// comes.
    #[schemars(transform = limits::MAX_FRAME_SIZE.clone())]
    pub(in crate::config) max_frame_size: Option<String>,
    /// From accepting a connection to HAProxy's HELLO.
    #[schemars(transform = limits::HANDSHAKE_TIMEOUT.clone())]
    pub(in crate::config) handshake_timeout: Option<String>,
    /// From the first byte of a frame to its last.
    #[schemars(transform = limits::READ_TIMEOUT.clone())]
    pub(in crate::config) read_timeout: Option<String>,
    /// Without any progress while there is something to write.
    #[schemars(transform = limits::WRITE_TIMEOUT.clone())]
    pub(in crate::config) write_timeout: Option<String>,
    /// Without a frame. HAProxy closes its idle connections itself. Without this, a connection ends on which no NOTIFY has come within
    /// a minute of its HELLO.
    #[schemars(transform = limits::IDLE_TIMEOUT.clone())]
    pub(in crate::config) idle_timeout: Option<String>,
    /// HAProxy's `option var-prefix`, or the engine's name without it. Only used to check the length of variable names, here and
    /// in responses. Default: unknown; 16 bytes are kept free for it.
    #[schemars(title = PREFIX_TITLE, extend("pattern" = PREFIX_PATTERN))]
    pub(in crate::config) var_prefix: Option<String>,
}

/// A Unix socket's file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct UnixSocket {
    /// Permissions in octal, in quotes. HAProxy must be able to write to its socket.
    #[schemars(title = MODE_TITLE, extend("pattern" = "^0?[0-7]{3}$", "default" = DEFAULT_MODE))]
    pub(in crate::config) mode: Option<String>,
    /// Owner: a user's name or number. Changing it takes privileges. Default: whoever runs the bridge.
    #[schemars(title = "a user's name or number, in quotes", length(min = 1))]
    pub(in crate::config) user: Option<String>,
    /// Group: a group's name or number. Default: that of whoever runs the bridge.
    #[schemars(title = "a group's name or number, in quotes", length(min = 1))]
    pub(in crate::config) group: Option<String>,
}

/// TLS of a listener. All files are PEM, and are read again on a reload.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ListenerTls {
    /// What HAProxy sees: the certificate, then those that lead to its CA.
    #[schemars(required, title = FILE_TITLE, length(min = 1))]
    pub(in crate::config) certificate: Option<String>,
    /// The private key, not encrypted: RSA of 2048 bits or more, ECDSA P-256 or P-384, or Ed25519. May be the same file, as
    /// HAProxy has it.
    #[schemars(required, title = FILE_TITLE, length(min = 1))]
    pub(in crate::config) key: Option<String>,
    /// CAs of clients. HAProxy must then show a certificate of one of them: `crt` on its `server` lines. Default: everybody may
    /// connect.
    #[schemars(title = FILE_TITLE, length(min = 1))]
    pub(in crate::config) client_ca: Option<String>,
    /// Names (SANs) of which a client's certificate must have one. Only with `client_ca`. A certificate for `*.example.com` has
    /// the name `a.example.com`; URIs, such as SPIFFE IDs, are compared byte by byte. Default: any.
    #[schemars(length(min = 1), inner(length(min = 1)), transform = Items("title", SAN_TITLE))]
    pub(in crate::config) allowed_sans: Option<Vec<String>>,
    /// The oldest version of TLS that is spoken.
    #[schemars(title = VERSION_TITLE, extend("default" = TlsVersion::default().as_str()))]
    pub(in crate::config) min_version: Option<TlsVersion>,
}
