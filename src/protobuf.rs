//! The protobuf wire format, as far as one-pass translation needs it: a writer that knows no messages, a reader that borrows.
//!
//! <https://protobuf.dev/programming-guides/encoding/>

use thiserror::Error;

/// How a field's value is written. Nothing of the contract has a fixed width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum WireType {
    Varint = 0,
    Length = 2,
}

/// Appends fields to a message. Field numbers must be below 16: one byte of tag.
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Appends to what `bytes` holds.
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn varint(&mut self, field: u8, value: u64) {
        self.tag(field, WireType::Varint);
        self.put_varint(value);
    }

    pub(crate) fn bytes(&mut self, field: u8, value: &[u8]) {
        self.head(field, value.len());
        self.bytes.extend_from_slice(value);
    }

    /// Appends fields as they were encoded elsewhere.
    pub(crate) fn raw(&mut self, fields: &[u8]) {
        self.bytes.extend_from_slice(fields);
    }

    /// Writes what stands before the content of a bytes, string or message field.
    pub(crate) fn head(&mut self, field: u8, length: usize) {
        if length < 0x80 {
            debug_assert!((1..16).contains(&field), "one byte of tag");
            self.bytes.extend_from_slice(&[field << 3 | WireType::Length as u8, length as u8]);
            return;
        }
        self.tag(field, WireType::Length);
        self.put_varint(length as u64);
    }

    /// Writes a string field; each byte that is not part of UTF-8 is replaced with `?`. `false` if some were.
    ///
    /// One byte for one byte, and not the three of U+FFFD: who sends such bytes must not make what a service echoes longer than what
    /// he has sent.
    pub(crate) fn text(&mut self, field: u8, value: &[u8]) -> bool {
        // Most texts are short and ASCII, and for those the whole check is mostly preparation.
        let is_text = is_ascii(value) || std::str::from_utf8(value).is_ok();
        if is_text {
            self.bytes(field, value);
        } else {
            self.head(field, value.len());
            self.put_lossy(value);
        }
        is_text
    }

    fn put_lossy(&mut self, value: &[u8]) {
        for chunk in value.utf8_chunks() {
            self.bytes.extend_from_slice(chunk.valid().as_bytes());
            self.bytes.extend(chunk.invalid().iter().map(|_| b'?'));
        }
    }

    /// Writes a message field whose content `write` appends. One byte is set aside for its length; a content of 128 bytes
    /// or more is moved up to make room.
    pub(crate) fn message(&mut self, field: u8, write: impl FnOnce(&mut Self)) {
        self.tag(field, WireType::Length);
        let length_at = self.bytes.len();
        self.bytes.push(0);
        let start = self.bytes.len();
        write(self);
        let end = self.bytes.len();
        let length = (end - start) as u64;
        if length < 0x80 {
            if let Some(place) = self.bytes.get_mut(length_at) {
                *place = length as u8;
            }
            return;
        }
        let mut encoded = [0; 10];
        let encoded = encode_varint(length, &mut encoded);
        let extra = encoded.len() - 1;
        self.bytes.resize(end + extra, 0);
        self.bytes.copy_within(start..end, start + extra);
        if let Some(place) = self.bytes.get_mut(length_at..start + extra) {
            place.copy_from_slice(encoded);
        }
    }

    fn tag(&mut self, field: u8, wire_type: WireType) {
        debug_assert!((1..16).contains(&field), "one byte of tag");
        self.bytes.push(field << 3 | wire_type as u8);
    }

    fn put_varint(&mut self, value: u64) {
        if value < 0x80 {
            self.bytes.push(value as u8);
            return;
        }
        self.bytes.extend_from_slice(encode_varint(value, &mut [0; 10]));
    }
}

/// Eight bytes at a time, which is what most texts here come to.
fn is_ascii(text: &[u8]) -> bool {
    let (words, rest) = text.as_chunks::<8>();
    let high = words.iter().fold(0, |all, word| all | u64::from_ne_bytes(*word));
    let rest = rest.iter().fold(0, |all, byte| all | byte);
    high & 0x8080_8080_8080_8080 == 0 && rest < 0x80
}

fn encode_varint(mut value: u64, out: &mut [u8; 10]) -> &[u8] {
    let mut length = 0;
    for place in out.iter_mut() {
        length += 1;
        if value < 0x80 {
            *place = value as u8;
            break;
        }
        *place = value as u8 | 0x80;
        value >>= 7;
    }
    out.get(..length).unwrap_or_default()
}

/// Why bytes are no protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum WireError {
    #[error("the message ends in the middle of a field")]
    UnexpectedEnd,
    #[error("a varint has more than 64 bits")]
    VarintTooLong,
    #[error("wire type {0} is not supported")]
    UnknownWireType(u8),
    #[error("field number {0} is not valid")]
    BadFieldNumber(u64),
    #[error("field {0} has the wrong wire type")]
    WrongWireType(u32),
    #[error("a string is not UTF-8")]
    NotUtf8,
}

/// A field's value, as written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Length(&'a [u8]),
    /// Four or eight bytes: nothing of the contract is written so, but unknown fields may be.
    Fixed,
}

/// A field of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<'a> {
    pub(crate) number: u32,
    pub(crate) value: Value<'a>,
}

impl<'a> Field<'a> {
    pub(crate) fn varint(self) -> Result<u64, WireError> {
        match self.value {
            Value::Varint(value) => Ok(value),
            _ => Err(WireError::WrongWireType(self.number)),
        }
    }

    pub(crate) fn bytes(self) -> Result<&'a [u8], WireError> {
        match self.value {
            Value::Length(bytes) => Ok(bytes),
            _ => Err(WireError::WrongWireType(self.number)),
        }
    }

    pub(crate) fn text(self) -> Result<&'a [u8], WireError> {
        let bytes = self.bytes()?;
        if is_ascii(bytes) || std::str::from_utf8(bytes).is_ok() { Ok(bytes) } else { Err(WireError::NotUtf8) }
    }
}

/// The fields of a message in the order in which they were written, known or not.
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// Nearly all fields have tags, numbers and lengths of one byte.
    #[inline]
    fn field(&mut self) -> Result<Field<'a>, WireError> {
        if let [tag @ 8..0x80, number @ ..0x80, rest @ ..] = self.rest {
            let field = u32::from(*tag >> 3);
            if tag & 7 == WireType::Varint as u8 {
                self.rest = rest;
                return Ok(Field { number: field, value: Value::Varint(u64::from(*number)) });
            }
            if tag & 7 == WireType::Length as u8
                && let Some((content, rest)) = rest.split_at_checked(usize::from(*number))
            {
                self.rest = rest;
                return Ok(Field { number: field, value: Value::Length(content) });
            }
        }
        self.any_field()
    }

    fn any_field(&mut self) -> Result<Field<'a>, WireError> {
        let tag = self.take_varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| (1..=0x1fff_ffff).contains(number));
        let number = number.ok_or(WireError::BadFieldNumber(tag >> 3))?;
        let value = match (tag & 7) as u8 {
            0 => Value::Varint(self.take_varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let length = usize::try_from(self.take_varint()?).map_err(|_| WireError::UnexpectedEnd)?;
                Value::Length(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            // Groups (3 and 4) are not in proto3.
            other => return Err(WireError::UnknownWireType(other)),
        };
        Ok(Field { number, value })
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(WireError::UnexpectedEnd)?;
        self.rest = rest;
        Ok(taken)
    }

    fn take_varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let (&byte, rest) = self.rest.split_first().ok_or(WireError::UnexpectedEnd)?;
            self.rest = rest;
            // The tenth byte holds one bit. Some implementations lose what is above it, prost and Go's refuse it.
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(WireError::VarintTooLong)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, WireError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        (!self.rest.is_empty()).then(|| self.field().inspect_err(|_| self.rest = &[]))
    }
}
