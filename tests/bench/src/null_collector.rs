//! A receiver of OTLP that takes everything and keeps nothing, so that what exporting costs the bridge can be measured.

use std::error::Error;
use std::net::SocketAddr;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use tonic::{Request, Response, Status};

#[derive(clap::Args)]
pub struct Args {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:19317")]
    listen: SocketAddr,
}

pub fn main(args: &Args) -> Result<(), Box<dyn Error>> {
    let server = tonic::transport::Server::builder()
        .add_service(TraceServiceServer::new(Null).accept_compressed(tonic::codec::CompressionEncoding::Gzip))
        .serve(args.listen);
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(server)?)
}

struct Null;

#[tonic::async_trait]
impl TraceService for Null {
    async fn export(&self, _: Request<ExportTraceServiceRequest>) -> Result<Response<ExportTraceServiceResponse>, Status> {
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}
