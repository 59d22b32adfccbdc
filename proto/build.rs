//! Generates the types of the contract, and client and server code around them, into `OUT_DIR`.
//!
//! protox compiles the `.proto` files in Rust, so that nobody who builds this package needs `protoc`. `src/pb.rs`
//! includes the result.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    // The SPOP side alone has no contract, and its build dependencies are not there either.
    #[cfg(feature = "service")]
    generate()?;
    Ok(())
}

#[cfg(feature = "service")]
fn generate() -> Result<(), Box<dyn std::error::Error>> {
    let descriptors = protox::compile(["spopbridge/v1/decision.proto"], ["proto"])?;
    tonic_prost_build::configure()
        // Payloads are slices of the frame they came in: no copy to hand them over.
        .bytes(".")
        // Connecting is the business of grpc/, which has its own connections.
        .build_transport(false)
        .compile_fds(descriptors)?;
    Ok(())
}
