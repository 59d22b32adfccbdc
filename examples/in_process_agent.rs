//! An SPOP agent that decides in this process: `cargo run --example in_process_agent --no-default-features`.
//!
//! Blocks one address of every 256. Ask it with `spop-bridge notify --agent 127.0.0.1:9000 --message check-request --arg ip=ipv4:192.0.2.1`.

use std::convert::Infallible;
use std::time::Duration;

use spop_bridge::agent::{Agent, SocketListener};
use spop_bridge::shutdown::Shutdown;
use spop_bridge::spop::{Actions, Notify, TypedData, VarScope};

#[allow(clippy::print_stdout, reason = "the address is what a user of the example needs")]
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let processor = tower::service_fn(|notify: Notify| async move {
        let address = notify.messages().find_map(|message| message.arg("ip"));
        let blocked = matches!(address, Some(TypedData::Ipv4(address)) if address.octets()[3] == 0);
        let mut actions = Actions::new();
        let _ = actions.set_var(VarScope::Transaction, "blocked", TypedData::Bool(blocked));
        Ok::<_, Infallible>(actions)
    });
    let agent = Agent::builder(processor).listener_name("example").handshake_timeout(Duration::from_secs(2)).build()?;
    let listener = SocketListener::bind_tcp("127.0.0.1:9000".parse()?)?;
    println!("listening on {}", listener.address());
    let shutdown = Shutdown::new();
    let stop = shutdown.clone();
    tokio::spawn(async move {
        let _ = tokio::signal::ctrl_c().await;
        stop.drain(Duration::ZERO, Duration::from_secs(5)).await;
    });
    agent.serve(listener, &shutdown).await;
    Ok(())
}
