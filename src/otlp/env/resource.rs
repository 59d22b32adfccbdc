//! What the process is, for whoever looks at telemetry of many (resource attributes).

use percent_encoding::percent_decode_str;

use super::variables::Variables;
use crate::telemetry::trace::Attribute;

/// The attributes of this process, each key once. Those of the environment come before our own.
pub(super) fn read(variables: &mut Variables) -> Vec<(String, Attribute)> {
    let name = "OTEL_RESOURCE_ATTRIBUTES";
    let mut attributes = Vec::new();
    if let Some(text) = variables.text(name) {
        // In case of any error the whole value is to be discarded (resource/sdk.md).
        match parse(&text) {
            Some(found) => attributes = found,
            None => variables.warn(name, "expected key=value,key=value with values percent-encoded; ignored as a whole"),
        }
    }
    let mut attributes: Vec<_> = attributes.into_iter().map(|(key, value)| (key, text(&value))).collect();
    if let Some(service) = variables.text("OTEL_SERVICE_NAME") {
        attributes.retain(|(key, _)| key != SERVICE_NAME);
        attributes.push((SERVICE_NAME.to_owned(), text(&service)));
    }
    for (key, value) in own() {
        if !attributes.iter().any(|(known, _)| known == key) {
            attributes.push((key.to_owned(), value));
        }
    }
    attributes
}

const SERVICE_NAME: &str = "service.name";

fn own() -> impl Iterator<Item = (&'static str, Attribute)> {
    let version = env!("CARGO_PKG_VERSION");
    let host = nix::unistd::gethostname().ok().map(|name| ("host.name", text(&name.to_string_lossy())));
    let known = [
        (SERVICE_NAME, text("spop-bridge")),
        ("service.version", text(version)),
        ("service.instance.id", text(&random_uuid())),
        ("telemetry.sdk.name", text("spop-bridge")),
        ("telemetry.sdk.language", text("rust")),
        ("telemetry.sdk.version", text(version)),
        ("process.pid", Attribute::Integer(std::process::id().into())),
    ];
    known.into_iter().chain(host)
}

fn text(text: &str) -> Attribute {
    Attribute::Text(text.into())
}

/// Version 4 of RFC 9562.
fn random_uuid() -> String {
    let random = fastrand::u128(..) & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{random:032x}");
    let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0..8), part(8..12), part(12..16), part(16..20), part(20..32))
}

fn parse(text: &str) -> Option<Vec<(String, String)>> {
    let decoded = |text: &str| {
        let is_sound = text.split('%').skip(1).all(|rest| rest.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2);
        is_sound.then(|| percent_decode_str(text.trim()).decode_utf8().ok().map(String::from)).flatten()
    };
    let mut attributes: Vec<(String, String)> = Vec::new();
    for pair in text.split(',').filter(|pair| !pair.trim().is_empty()) {
        let (key, value) = pair.split_once('=')?;
        let (key, value) = (decoded(key).filter(|key| !key.is_empty())?, decoded(value)?);
        // The last of each key counts.
        attributes.retain(|(known, _)| *known != key);
        attributes.push((key, value));
    }
    Some(attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_percent_encoded_and_an_error_discards_all() {
        let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>();
        assert_eq!(parse("a=1, b = x%2Cy%3Dz ,a=2,"), Some(pairs(&[("b", "x,y=z"), ("a", "2")])));
        assert_eq!(parse("a=%C3%A4"), Some(pairs(&[("a", "ä")])));
        for bad in ["a", "a=1,b", "=1", "a=%zz", "a=%4", "a=%ff"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn instances_have_uuids_of_their_own() {
        let uuid = random_uuid();
        assert_eq!((uuid.len(), uuid.as_bytes()[14]), (36, b'4'), "{uuid}");
        assert!(matches!(uuid.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{uuid}");
        assert_ne!(uuid, random_uuid());
    }
}
