//! HAPROXY-HELLO and AGENT-HELLO (SPOE §3.2.4, §3.2.5).

use bytes::{Bytes, BytesMut};

use super::super::capabilities::Capabilities;
use super::super::error::{DecodeError, ProtocolError};
use super::super::kv::{KvList, string_item, unsigned_item};
use super::super::typed_data::TypedData;
use super::super::version::Version;
use super::super::writer::Writer;
use super::{Flags, FrameType};

/// Least max-frame-size that SPOE.txt allows, in bytes.
pub const MIN_FRAME_SIZE: u32 = 256;

/// max-frame-size that HAProxy offers unless `tune.bufsize` says otherwise: 16 KiB less the length prefix, in bytes.
pub const DEFAULT_FRAME_SIZE: u32 = 16_380;

/// HAProxy's first frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HaproxyHello {
    /// Versions that it speaks. Entries that are no versions are left out.
    pub supported_versions: Vec<Version>,
    /// Most bytes in a frame, without the length prefix. [`DEFAULT_FRAME_SIZE`] when a health check does not say.
    pub max_frame_size: u32,
    /// What it can do.
    pub capabilities: Capabilities,
    /// Whether it only wants to see the answer and then closes.
    pub healthcheck: bool,
    /// Which SPOE engine of which HAProxy process this is; absent in health checks.
    pub engine_id: Option<Bytes>,
}

impl HaproxyHello {
    /// Decodes the payload of a HAPROXY-HELLO frame. Unknown items are skipped; of repeated ones the last counts.
    ///
    /// # Errors
    ///
    /// When an item cannot be decoded or has the wrong type. When a mandatory item is missing, unless it is a health
    /// check: those come without engine id, and nothing depends on what they say.
    pub fn decode(payload: &Bytes) -> Result<Self, ProtocolError> {
        let (mut versions, mut max_frame_size, mut capabilities) = (None, None, None);
        let (mut healthcheck, mut engine_id) = (false, None);
        for item in KvList::new(payload) {
            let (key, value) = item?;
            match key {
                b"supported-versions" => versions = Some(Version::parse_list(string_item(SUPPORTED_VERSIONS, value)?)),
                b"max-frame-size" => max_frame_size = Some(unsigned_item(MAX_FRAME_SIZE, value)?),
                b"capabilities" => capabilities = Some(Capabilities::parse(string_item(CAPABILITIES, value)?)),
                b"healthcheck" => healthcheck = bool_item(HEALTHCHECK, value)?,
                // Copied: it lives as long as the connection and would keep the whole read buffer alive.
                b"engine-id" => engine_id = Some(Bytes::copy_from_slice(string_item(ENGINE_ID, value)?)),
                _ => {}
            }
        }
        if healthcheck {
            versions.get_or_insert_default();
            max_frame_size.get_or_insert(DEFAULT_FRAME_SIZE);
            capabilities.get_or_insert_default();
        }
        Ok(Self {
            supported_versions: versions.ok_or(ProtocolError::MissingVersion)?,
            max_frame_size: max_frame_size.ok_or(ProtocolError::MissingMaxFrameSize)?,
            capabilities: capabilities.ok_or(ProtocolError::MissingCapabilities)?,
            healthcheck,
            engine_id,
        })
    }

    /// Appends the whole frame, in HAProxy's order of items.
    pub fn encode(&self, out: &mut BytesMut) {
        let versions = self.supported_versions.iter().map(Version::to_string).collect::<Vec<_>>().join(",");
        let mut writer = Writer::frame(out, FrameType::HAPROXY_HELLO, Flags::FIN, 0, 0);
        writer.put_item(SUPPORTED_VERSIONS, &versions.as_str().into());
        writer.put_item(MAX_FRAME_SIZE, &TypedData::Uint32(self.max_frame_size));
        writer.put_item(CAPABILITIES, &self.capabilities.to_string().as_str().into());
        if let Some(engine_id) = &self.engine_id {
            writer.put_item(ENGINE_ID, &TypedData::String(engine_id));
        }
        if self.healthcheck {
            writer.put_item(HEALTHCHECK, &TypedData::Bool(true));
        }
        writer.finish();
    }
}

/// The agent's answer to [`HaproxyHello`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgentHello {
    /// The version spoken from here on.
    pub version: Version,
    /// Most bytes in a frame from here on, without the length prefix; never above HAProxy's offer.
    pub max_frame_size: u32,
    /// What the agent can do.
    pub capabilities: Capabilities,
}

impl AgentHello {
    /// Decodes the payload of an AGENT-HELLO frame. Unknown items are skipped; of repeated ones the last counts.
    ///
    /// # Errors
    ///
    /// When an item cannot be decoded or has the wrong type, or a mandatory one is missing.
    pub fn decode(payload: &Bytes) -> Result<Self, ProtocolError> {
        let (mut version, mut max_frame_size, mut capabilities) = (None, None, None);
        for item in KvList::new(payload) {
            let (key, value) = item?;
            match key {
                b"version" => {
                    let text = string_item(VERSION, value)?;
                    version = Some(Version::parse(text).ok_or(DecodeError::BadItem(VERSION))?);
                }
                b"max-frame-size" => max_frame_size = Some(unsigned_item(MAX_FRAME_SIZE, value)?),
                b"capabilities" => capabilities = Some(Capabilities::parse(string_item(CAPABILITIES, value)?)),
                _ => {}
            }
        }
        Ok(Self {
            version: version.ok_or(ProtocolError::MissingVersion)?,
            max_frame_size: max_frame_size.ok_or(ProtocolError::MissingMaxFrameSize)?,
            capabilities: capabilities.ok_or(ProtocolError::MissingCapabilities)?,
        })
    }

    /// Appends the whole frame. HAProxy's `spop-check` insists on all three items, the flags being exactly FIN, and ids 0.
    pub fn encode(&self, out: &mut BytesMut) {
        let mut writer = Writer::frame(out, FrameType::AGENT_HELLO, Flags::FIN, 0, 0);
        writer.put_item(VERSION, &self.version.to_string().as_str().into());
        writer.put_item(MAX_FRAME_SIZE, &TypedData::Uint32(self.max_frame_size));
        writer.put_item(CAPABILITIES, &self.capabilities.to_string().as_str().into());
        writer.finish();
    }
}

fn bool_item(key: &'static str, value: TypedData<'_>) -> Result<bool, DecodeError> {
    match value {
        TypedData::Bool(value) => Ok(value),
        other => Err(DecodeError::BadItemType { key, found: other.data_type() }),
    }
}

const SUPPORTED_VERSIONS: &str = "supported-versions";
const VERSION: &str = "version";
const MAX_FRAME_SIZE: &str = "max-frame-size";
const CAPABILITIES: &str = "capabilities";
const HEALTHCHECK: &str = "healthcheck";
const ENGINE_ID: &str = "engine-id";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::decoder::Decoder;
    use super::super::super::testing::hex;
    use super::super::super::typed_data::DataType;
    use super::super::Metadata;
    use super::*;

    fn payload(out: &mut BytesMut) -> (Metadata, Bytes) {
        let frame = Decoder::new(4096).decode(out).unwrap().unwrap();
        (frame.metadata, frame.payload)
    }

    /// `spop_req` of HAProxy's `src/tcpcheck.c`, the request of `option spop-check`.
    const SPOP_CHECK: &str = "0000004e 01 00000001 00 00
        12 737570706f727465642d76657273696f6e73 08 03 322e30
        0e 6d61782d6672616d652d73697a65 03 fcf006
        0c 6361706162696c6974696573 08 00
        0b 6865616c7468636865636b 11";

    #[test]
    fn d04_health_check_hello_needs_no_engine_id() {
        let (metadata, payload) = payload(&mut BytesMut::from(&hex(SPOP_CHECK)[..]));
        assert_eq!(metadata.frame_type, FrameType::HAPROXY_HELLO);
        let hello = HaproxyHello::decode(&payload).unwrap();
        let expected = HaproxyHello {
            supported_versions: vec![Version::V2_0],
            max_frame_size: DEFAULT_FRAME_SIZE,
            capabilities: Capabilities::NONE,
            healthcheck: true,
            engine_id: None,
        };
        assert_eq!(hello, expected);
        let mut out = BytesMut::new();
        hello.encode(&mut out);
        assert_eq!(out[..], hex(SPOP_CHECK), "and it is encoded as HAProxy does");
    }

    #[test]
    fn d04_health_check_may_say_nothing_at_all() {
        let hello = HaproxyHello::decode(&hex("0b 6865616c7468636865636b 11").into()).unwrap();
        assert_eq!((hello.max_frame_size, hello.supported_versions), (DEFAULT_FRAME_SIZE, vec![]));
    }

    /// What `tcpcheck_spop_expect_hello` of HAProxy insists on.
    #[test]
    fn d05_answer_has_three_items_and_exactly_fin_and_ids_0() {
        let hello = AgentHello { version: Version::V2_0, max_frame_size: 16_380, capabilities: Capabilities::NONE };
        let mut out = BytesMut::new();
        hello.encode(&mut out);
        let expected = "00000036 65 00000001 00 00
            07 76657273696f6e 08 03 322e30
            0e 6d61782d6672616d652d73697a65 03 fcf006
            0c 6361706162696c6974696573 08 00";
        assert_eq!(out[..], hex(expected));
        assert_eq!(AgentHello::decode(&payload(&mut out).1), Ok(hello));
    }

    #[test]
    fn mandatory_items_are_missed_by_name() {
        let versions = "12 737570706f727465642d76657273696f6e73 08 03 322e30";
        let size = "0e 6d61782d6672616d652d73697a65 03 fcf006";
        let hello = |items: &[&str]| HaproxyHello::decode(&hex(&items.concat()).into()).unwrap_err();
        assert_eq!(hello(&[]), ProtocolError::MissingVersion);
        assert_eq!(hello(&[versions]), ProtocolError::MissingMaxFrameSize);
        assert_eq!(hello(&[versions, size]), ProtocolError::MissingCapabilities);
        assert_eq!(AgentHello::decode(&Bytes::new()), Err(ProtocolError::MissingVersion));
    }

    #[test]
    fn items_of_another_type_are_refused() {
        let refused = |bytes: &str| HaproxyHello::decode(&hex(bytes).into()).unwrap_err();
        let item_type = |key, found| ProtocolError::Decode(DecodeError::BadItemType { key, found });
        assert_eq!(refused("12 737570706f727465642d76657273696f6e73 03 02"), item_type("supported-versions", DataType::UINT32));
        assert_eq!(refused("0e 6d61782d6672616d652d73697a65 08 00"), item_type("max-frame-size", DataType::STRING));
        assert_eq!(refused("0b 6865616c7468636865636b 00"), item_type("healthcheck", DataType::NULL));
        let version = AgentHello::decode(&hex("07 76657273696f6e 08 01 78").into());
        assert_eq!(version, Err(DecodeError::BadItem("version").into()));
    }

    #[test]
    fn d29_engine_ids_are_bytes_and_unknown_items_are_skipped() {
        let mut payload = hex("0b 6865616c7468636865636b 11  01 78 04 00  09 656e67696e652d6964 08 02 fffe");
        let hello = HaproxyHello::decode(&Bytes::copy_from_slice(&payload)).unwrap();
        assert_eq!(hello.engine_id.as_deref(), Some(&[0xff, 0xfe][..]));
        payload.push(0);
        assert_eq!(HaproxyHello::decode(&payload.into()), Err(DecodeError::UnexpectedEnd.into()));
    }

    proptest! {
        #[test]
        fn decode_undoes_encode(
            versions in prop::collection::vec((1..u16::MAX, 0..1000_u16), 0..4),
            max_frame_size in any::<u32>(),
            (pipelining, fragmentation, r#async, healthcheck) in any::<(bool, bool, bool, bool)>(),
            engine_id in prop::option::of(prop::collection::vec(any::<u8>(), 0..40)),
        ) {
            let supported_versions: Vec<_> = versions.into_iter().map(|(major, minor)| Version { major, minor }).collect();
            let capabilities = Capabilities { pipelining, fragmentation, r#async };
            let version = supported_versions.first().copied().unwrap_or(Version::V2_0);
            let engine_id = engine_id.map(Bytes::from);
            let hello = HaproxyHello { supported_versions, max_frame_size, capabilities, healthcheck, engine_id };
            let mut out = BytesMut::new();
            hello.encode(&mut out);
            prop_assert_eq!(HaproxyHello::decode(&payload(&mut out).1), Ok(hello));

            let hello = AgentHello { version, max_frame_size, capabilities };
            hello.encode(&mut out);
            prop_assert_eq!(AgentHello::decode(&payload(&mut out).1), Ok(hello));
        }

        #[test]
        fn any_bytes_decode_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let bytes = Bytes::from(bytes);
            let _ = (HaproxyHello::decode(&bytes), AgentHello::decode(&bytes));
        }
    }
}
