//! Steady traffic from a few clients while a test does something to the servers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::http::{self, Client, Reply};

/// How often which outcome was seen, by the words of the test.
pub(crate) type Tally = BTreeMap<String, usize>;

/// Clients that ask as fast as they are answered, each on its own keep-alive connection.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    pub(crate) fn start(clients: usize, address: SocketAddr, outcome: fn(&Reply) -> String) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let tally = Arc::new(Mutex::new(Tally::new()));
        let client = |_| {
            let (stop, tally) = (Arc::clone(&stop), Arc::clone(&tally));
            std::thread::spawn(move || run_client(&stop, &tally, address, outcome))
        };
        Load { clients: (0..clients).map(client).collect(), stop, tally }
    }

    /// Waits until so many more requests were answered in one of the test's words.
    pub(crate) fn wait_for(&self, count: usize, outcome: &str) -> bool {
        let so_far = || self.tally.lock().unwrap().get(outcome).copied().unwrap_or(0);
        let goal = so_far() + count;
        super::eventually(std::time::Duration::from_secs(15), || (so_far() >= goal).then_some(())).is_some()
    }

    pub(crate) fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().expect("a client of the load");
        }
        self.tally.lock().unwrap().clone()
    }
}

fn run_client(stop: &AtomicBool, tally: &Mutex<Tally>, address: SocketAddr, outcome: fn(&Reply) -> String) {
    let mut connection = None;
    while !stop.load(Ordering::Relaxed) {
        let attempt = match connection.take() {
            Some(kept) => Ok(kept),
            None => Client::connect(address),
        };
        let answer = attempt.and_then(|mut client: Client| {
            let reply = client.send(http::get("/"))?;
            Ok((client, reply))
        });
        let word = match answer {
            Ok((client, reply)) => {
                // A stopping HAProxy says that it will close.
                if reply.header("connection") != "close" {
                    connection = Some(client);
                }
                outcome(&reply)
            }
            Err(error) => format!("no HTTP answer: {}", error.kind()),
        };
        *tally.lock().unwrap().entry(word).or_default() += 1;
    }
}
