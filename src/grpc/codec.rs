//! A codec that leaves messages alone: what it is given are the bytes of a protobuf message, and so is what it returns.

use bytes::{Buf, BufMut, Bytes};
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// What gRPC puts before a message: a flag and a length.
const HEADER: usize = 5;
/// Room for the response of most decisions; it grows for more.
const RESPONSE_BUFFER: usize = 512;

/// Carries the length of the request, so that tonic sets aside what is needed, and not 8 KiB a call each way.
#[derive(Clone, Copy, Debug)]
pub(super) struct BytesCodec {
    request_length: usize,
}

impl BytesCodec {
    pub(super) fn for_request(request: &Bytes) -> Self {
        Self { request_length: request.len() }
    }
}

impl Codec for BytesCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        let size = self.request_length + HEADER;
        BufferSettings::new(size, size)
    }
}

impl Decoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(message.copy_to_bytes(message.remaining())))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(RESPONSE_BUFFER, RESPONSE_BUFFER)
    }
}
