//! The bridge that one writes in an afternoon, and writes well: the registry's `spop` crate, tokio's default runtime, one
//! tonic channel, the generated types. What a measurement of ours is worth depends on this being fair, so it may use everything
//! that is at hand: decisions run side by side, and ACKs that are ready together leave in one write.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::stream::{SplitSink, StreamExt};
use futures_util::{Sink, SinkExt};
use spop::actions::VarScope;
use spop::frame::{FramePayload, FrameType, Message};
use spop::frames::{Ack, AgentDisconnect, AgentHello, FrameCapabilities, HaproxyHello};
use spop::{MAX_FRAME_SIZE_LIMIT, SpopCodec, SpopFrame, StatusCode, TypedData};
use spop_bridge::pb::v1 as pb;
use spop_bridge::pb::v1::decision_service_client::DecisionServiceClient;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::codec::Framed;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};

const TIMEOUT: Duration = Duration::from_millis(500);

#[derive(clap::Args)]
pub struct Args {
    /// Where HAProxy connects
    #[arg(long, default_value = "127.0.0.1:19001")]
    listen: SocketAddr,
    /// The service
    #[arg(long, default_value = "127.0.0.1:19050")]
    service: SocketAddr,
}

type Client = DecisionServiceClient<Channel>;
type Frames = Framed<TcpStream, SpopCodec>;
type Frame = Box<dyn SpopFrame>;

pub fn main(args: &Args) -> Result<(), Box<dyn Error>> {
    tokio::runtime::Runtime::new()?.block_on(listen(args))
}

async fn listen(args: &Args) -> Result<(), Box<dyn Error>> {
    let client = DecisionServiceClient::new(Endpoint::from_shared(format!("http://{}", args.service))?.connect_lazy());
    let listener = TcpListener::bind(args.listen).await?;
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let client = client.clone();
        tokio::spawn(async move {
            if let Err(error) = serve(socket, client).await {
                eprintln!("connection: {error}");
            }
        });
    }
}

async fn serve(socket: TcpStream, client: Client) -> std::io::Result<()> {
    let mut frames = Framed::new(socket, SpopCodec::default());
    let Some(hello) = frames.next().await.transpose()? else { return Ok(()) };
    if !greet(&mut frames, hello).await? {
        return Ok(());
    }
    let (sink, mut frames) = frames.split();
    let (acks, ready) = mpsc::unbounded_channel();
    tokio::spawn(write(sink, ready));
    while let Some(frame) = frames.next().await.transpose()? {
        match frame.frame_type() {
            FrameType::Notify => {
                let (client, acks) = (client.clone(), acks.clone());
                tokio::spawn(async move {
                    let _ = acks.send(decide(client, frame).await);
                });
            }
            FrameType::HaproxyDisconnect => {
                let _ = acks.send(Box::new(disconnect(StatusCode::None)));
                return Ok(());
            }
            _ => return Ok(()),
        }
    }
    Ok(())
}

/// Answers the HELLO; whether the connection goes on.
async fn greet(frames: &mut Frames, frame: Frame) -> std::io::Result<bool> {
    let Ok(hello) = HaproxyHello::try_from(frame.payload()) else { return Ok(false) };
    drop(frame);
    let (Some(version), Ok(max_frame_size)) = (hello.negotiate_version(), hello.negotiate_max_frame_size(MAX_FRAME_SIZE_LIMIT))
    else {
        frames.send(Box::new(disconnect(StatusCode::BadVersion))).await?;
        return Ok(false);
    };
    frames.codec_mut().set_max_frame_size(max_frame_size);
    frames.send(Box::new(AgentHello { version, max_frame_size, capabilities: vec![FrameCapabilities::Pipelining] })).await?;
    Ok(!hello.healthcheck.unwrap_or(false))
}

fn disconnect(status: StatusCode) -> AgentDisconnect {
    AgentDisconnect { status_code: status.to_u32(), message: status.message().to_string() }
}

/// Writes what is ready, then flushes once.
async fn write(mut sink: SplitSink<Frames, Frame>, mut ready: mpsc::UnboundedReceiver<Frame>) -> std::io::Result<()>
where
    SplitSink<Frames, Frame>: Sink<Frame, Error = std::io::Error>,
{
    while let Some(frame) = ready.recv().await {
        sink.feed(frame).await?;
        while let Ok(frame) = ready.try_recv() {
            sink.feed(frame).await?;
        }
        sink.flush().await?;
    }
    Ok(())
}

async fn decide(mut client: Client, notify: Frame) -> Frame {
    let (stream_id, frame_id) = (notify.metadata().stream_id, notify.metadata().frame_id);
    let messages = match notify.payload() {
        FramePayload::ListOfMessages(messages) => messages.iter().map(message).collect(),
        _ => Vec::new(),
    };
    drop(notify);
    let origin = Some(pb::Origin { stream_id, frame_id, ..Default::default() });
    let mut request = Request::new(pb::DecideRequest { origin, messages });
    request.set_timeout(TIMEOUT);
    let ack = Ack::new(stream_id, frame_id);
    Box::new(match client.decide(request).await {
        Ok(response) => response.into_inner().actions.into_iter().fold(ack, act),
        Err(status) => ack.set_var(VarScope::Transaction, "error", status.code().description()),
    })
}

fn message(message: &Message) -> pb::Message {
    let arg = |(name, value): &(String, TypedData)| pb::Arg { name: name.clone(), value: Some(to_value(value)) };
    pb::Message { name: message.name.clone(), args: message.args.iter().map(arg).collect() }
}

fn act(ack: Ack, action: pb::Action) -> Ack {
    use pb::action::Action::{SetVar, UnsetVar};
    match action.action {
        Some(SetVar(set)) => ack.set_var(scope(set.scope), &set.name, from_value(set.value)),
        Some(UnsetVar(unset)) => ack.unset_var(scope(unset.scope), &unset.name),
        None => ack,
    }
}

fn scope(number: i32) -> VarScope {
    match pb::VarScope::try_from(number) {
        Ok(pb::VarScope::Process) => VarScope::Process,
        Ok(pb::VarScope::Session) => VarScope::Session,
        Ok(pb::VarScope::Request) => VarScope::Request,
        Ok(pb::VarScope::Response) => VarScope::Response,
        _ => VarScope::Transaction,
    }
}

fn to_value(value: &TypedData) -> pb::Value {
    use pb::value::Kind;
    let kind = match value {
        TypedData::Null => Kind::NullValue(0),
        TypedData::Bool(value) => Kind::BoolValue(*value),
        TypedData::Int32(value) => Kind::Int64Value((*value).into()),
        TypedData::UInt32(value) => Kind::Uint64Value((*value).into()),
        TypedData::Int64(value) => Kind::Int64Value(*value),
        TypedData::UInt64(value) => Kind::Uint64Value(*value),
        TypedData::IPv4(address) => Kind::Ipv4Value(address.octets().to_vec().into()),
        TypedData::IPv6(address) => Kind::Ipv6Value(address.octets().to_vec().into()),
        TypedData::String(value) => Kind::StringValue(value.clone()),
        TypedData::Binary(value) => Kind::BytesValue(value.clone().into()),
    };
    pb::Value { kind: Some(kind), ..Default::default() }
}

fn from_value(value: Option<pb::Value>) -> TypedData {
    use pb::value::Kind;
    match value.and_then(|value| value.kind) {
        None | Some(Kind::NullValue(_)) => TypedData::Null,
        Some(Kind::BoolValue(value)) => TypedData::Bool(value),
        Some(Kind::Int64Value(value)) => TypedData::Int64(value),
        Some(Kind::Uint64Value(value)) => TypedData::UInt64(value),
        Some(Kind::Ipv4Value(bytes)) => {
            <[u8; 4]>::try_from(&bytes[..]).map_or(TypedData::Null, |octets| TypedData::IPv4(octets.into()))
        }
        Some(Kind::Ipv6Value(bytes)) => {
            <[u8; 16]>::try_from(&bytes[..]).map_or(TypedData::Null, |octets| TypedData::IPv6(octets.into()))
        }
        Some(Kind::StringValue(value)) => TypedData::String(value),
        Some(Kind::BytesValue(bytes)) => TypedData::Binary(bytes.into()),
    }
}
