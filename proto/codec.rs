//! The server's codec: protobuf with small buffers, and with clear refusals of what cannot be decoded.
//!
//! tonic's own codec reserves 16 KiB for each call and calls a malformed request an internal error.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// Bytes that an encoder or decoder starts with. Most requests and frames fit.
const BUFFER_BYTES: usize = 512;
/// Bytes of encoded messages after which an encoder hands over what it has.
const YIELD_BYTES: usize = 32 * 1024;

/// A codec for messages `Out` to send and `In` to receive.
#[derive(Debug)]
pub struct ServerCodec<Out, In>(PhantomData<(Out, In)>);

impl<Out, In> Default for ServerCodec<Out, In> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<Out, In> Codec for ServerCodec<Out, In>
where
    Out: Message + Send + 'static,
    In: Message + Default + Send + 'static,
{
    type Encode = Out;
    type Decode = In;
    type Encoder = ServerEncoder<Out>;
    type Decoder = ServerDecoder<In>;

    fn encoder(&mut self) -> Self::Encoder {
        ServerEncoder(PhantomData)
    }

    fn decoder(&mut self) -> Self::Decoder {
        ServerDecoder(PhantomData)
    }
}

/// Encodes messages `T`.
#[derive(Debug)]
pub struct ServerEncoder<T>(PhantomData<T>);

impl<T: Message> Encoder for ServerEncoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(dst)
            .map_err(|error| Status::internal(format!("a response does not fit its buffer: {error}")))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
    }
}

/// Decodes messages `T`.
#[derive(Debug)]
pub struct ServerDecoder<T>(PhantomData<T>);

impl<T: Message + Default> Decoder for ServerDecoder<T> {
    type Item = T;
    type Error = Status;

    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<T>, Status> {
        T::decode(src).map(Some).map_err(|error| malformed(&error.to_string()))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
    }
}

/// The refusal of bytes that are no message of the expected type.
fn malformed(why: &str) -> Status {
    Status::with_error_details(
        Code::InvalidArgument,
        format!("the request cannot be decoded ({why}); send a message of the type that the method takes"),
        ErrorDetails::with_error_info("MALFORMED_REQUEST", "greffe", std::collections::HashMap::new()),
    )
}
