//! gRPC's frame around a message: a flag, four bytes of length, the message (gRPC over HTTP/2, "Length-Prefixed-Message").

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

/// Bytes before a message.
pub(super) const PREFIX: usize = 5;

/// The largest message that is read, in bytes: gRPC's usual limit, and far more than an ACK of common size can say.
pub(super) const MAX_MESSAGE: usize = 4 << 20;

/// The prefix of an uncompressed message.
pub(super) fn prefix(length: usize) -> [u8; PREFIX] {
    // A request is bounded by its SPOP frame, of at most 16 MiB, and what protobuf adds.
    let [a, b, c, d] = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    [0, a, b, c, d]
}

/// Why the rest of a stream cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum FramingError {
    #[error("a message is compressed, which was not offered")]
    Compressed,
    #[error("a message has {0} bytes, at most {MAX_MESSAGE} are read")]
    TooLong(usize),
    #[error("the stream ended in the middle of a message")]
    UnexpectedEnd,
}

/// Cuts what arrives into messages. Those that arrive whole are not copied.
#[derive(Debug, Default)]
pub(super) struct Messages {
    chunk: Bytes,
    /// A message of which a part is here. Grows with what arrives, not with what is announced.
    partial: BytesMut,
}

impl Messages {
    /// Adds what arrived, after everything before it was taken by [`next`](Self::next).
    pub(super) fn push(&mut self, chunk: Bytes) {
        debug_assert!(self.chunk.is_empty(), "chunks come one by one");
        self.chunk = chunk;
    }

    /// The next whole message.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, FramingError> {
        if self.partial.is_empty()
            && let Some(length) = length(&self.chunk)?
            && self.chunk.len() >= PREFIX + length
        {
            let mut message = self.chunk.split_to(PREFIX + length);
            message.advance(PREFIX);
            return Ok(Some(message));
        }
        self.complete()
    }

    /// Moves to `partial` what is missing there.
    fn complete(&mut self) -> Result<Option<Bytes>, FramingError> {
        self.fill(PREFIX);
        let Some(length) = length(&self.partial)? else { return Ok(None) };
        self.fill(PREFIX + length);
        if self.partial.len() < PREFIX + length {
            return Ok(None);
        }
        let mut message = std::mem::take(&mut self.partial).freeze();
        message.advance(PREFIX);
        Ok(Some(message))
    }

    fn fill(&mut self, target: usize) {
        let missing = target.saturating_sub(self.partial.len()).min(self.chunk.len());
        self.partial.extend_from_slice(&self.chunk.split_to(missing));
    }

    /// Says that nothing more comes.
    pub(super) fn finish(&self) -> Result<(), FramingError> {
        if self.partial.is_empty() && self.chunk.is_empty() { Ok(()) } else { Err(FramingError::UnexpectedEnd) }
    }
}

/// The length of the message that `bytes` begin with, once its prefix is there.
fn length(bytes: &[u8]) -> Result<Option<usize>, FramingError> {
    let Some(&[flag, a, b, c, d]) = bytes.first_chunk() else { return Ok(None) };
    if flag != 0 {
        return Err(FramingError::Compressed);
    }
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    if length > MAX_MESSAGE { Err(FramingError::TooLong(length)) } else { Ok(Some(length)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(messages: &mut Messages, chunk: &[u8]) -> Result<Vec<Bytes>, FramingError> {
        messages.push(Bytes::copy_from_slice(chunk));
        std::iter::from_fn(|| messages.next().transpose()).collect()
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        assert_eq!(all(&mut Messages::default(), &[1, 0, 0, 0, 0]), Err(FramingError::Compressed));
        assert_eq!(all(&mut Messages::default(), &[0, 0, 0x40, 0, 1]), Err(FramingError::TooLong(MAX_MESSAGE + 1)));
        let mut messages = Messages::default();
        assert_eq!(all(&mut messages, &[0, 0, 0, 0, 2, 1]), Ok(Vec::new()));
        assert_eq!(messages.finish(), Err(FramingError::UnexpectedEnd));
        assert_eq!(all(&mut messages, &[2]), Ok(vec![Bytes::from_static(&[1, 2])]));
        assert_eq!(messages.finish(), Ok(()));
    }

    proptest! {
        #[test]
        fn messages_arrive_however_they_are_cut(
            sent in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
            cuts in prop::collection::vec(1_usize..60, 1..20),
        ) {
            let wire: Vec<u8> = sent.iter().flat_map(|message| prefix(message.len()).into_iter().chain(message.clone())).collect();
            let (mut rest, mut cuts) = (wire.as_slice(), cuts.iter().cycle());
            let (mut messages, mut found) = (Messages::default(), Vec::new());
            while !rest.is_empty() {
                let (chunk, after) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                found.extend(all(&mut messages, chunk).unwrap());
                rest = after;
            }
            prop_assert_eq!(found, sent);
            prop_assert_eq!(messages.finish(), Ok(()));
        }

        #[test]
        fn any_bytes_are_cut_or_refused(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..8)) {
            let mut messages = Messages::default();
            let _ = chunks.iter().try_for_each(|chunk| all(&mut messages, chunk).map(drop));
        }
    }
}
