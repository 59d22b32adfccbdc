//! Who is connected, for people: the list behind `/connections`, and the numbers by which metrics tell engines apart.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;

use super::metrics::{ListenerMetrics, Slot};

static ROSTER: Mutex<Roster> = Mutex::new(Roster { next: 0, connections: BTreeMap::new(), engines: Vec::new() });

#[derive(Default)]
struct Roster {
    next: u64,
    /// In the order in which they came.
    connections: BTreeMap<u64, Arc<Connection>>,
    /// By slot: the engine's id and how many connections it has.
    engines: Vec<Option<(Bytes, usize)>>,
}

/// An open connection. Counts are written by its own thread.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) listener: Arc<str>,
    pub(crate) peer: Arc<str>,
    pub(crate) since: SystemTime,
    pub(crate) notifies: AtomicU64,
    pub(crate) in_flight: AtomicU64,
    pub(crate) engine: OnceLock<Engine>,
}

/// What HELLO has told.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) id: Bytes,
    /// The number in metrics.
    pub(crate) slot: Slot,
    pub(crate) max_frame_size: u32,
}

/// A connection on the list, and counted, until dropped.
#[derive(Debug)]
pub(crate) struct Listed {
    number: u64,
    connection: Arc<Connection>,
    metrics: Arc<ListenerMetrics>,
}

impl Listed {
    /// A connection that has not said HELLO.
    pub(crate) fn new(listener: &Arc<str>, peer: &Arc<str>, metrics: &Arc<ListenerMetrics>) -> Self {
        let connection = Arc::new(Connection {
            listener: Arc::clone(listener),
            peer: Arc::clone(peer),
            since: SystemTime::now(),
            notifies: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            engine: OnceLock::new(),
        });
        metrics.open(Slot::None, 1);
        let mut roster = roster();
        let number = roster.next;
        roster.next += 1;
        roster.connections.insert(number, Arc::clone(&connection));
        Self { number, connection, metrics: Arc::clone(metrics) }
    }

    /// HELLO said who it is.
    pub(crate) fn established(&self, id: &Bytes, max_frame_size: u32) {
        let slot = roster().enter(id);
        self.metrics.open(slot, 1);
        self.metrics.open(Slot::None, -1);
        let _ = self.connection.engine.set(Engine { id: id.clone(), slot, max_frame_size });
    }

    /// A NOTIFY came.
    pub(crate) fn begin(&self) {
        self.connection.notifies.fetch_add(1, Ordering::Relaxed);
        self.connection.in_flight.fetch_add(1, Ordering::Relaxed);
        self.metrics.in_flight.add(1);
    }

    /// Whether a NOTIFY has come.
    pub(crate) fn has_notified(&self) -> bool {
        self.connection.notifies.load(Ordering::Relaxed) > 0
    }

    /// A NOTIFY is over, acknowledged or not.
    pub(crate) fn end(&self) {
        self.connection.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.metrics.in_flight.add(-1);
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let slot = self.connection.engine.get().map_or(Slot::None, |engine| engine.slot);
        self.metrics.open(slot, -1);
        let in_flight = self.connection.in_flight.load(Ordering::Relaxed);
        self.metrics.in_flight.add(-i64::try_from(in_flight).unwrap_or_default());
        let mut roster = roster();
        roster.connections.remove(&self.number);
        roster.leave(slot);
    }
}

/// Everybody who is connected now, in the order in which they came.
pub(crate) fn connections() -> Vec<Arc<Connection>> {
    roster().connections.values().cloned().collect()
}

fn roster() -> MutexGuard<'static, Roster> {
    ROSTER.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Roster {
    /// The slot of the engine with this id: the one that it has, else the first that is free.
    fn enter(&mut self, id: &Bytes) -> Slot {
        for (slot, engine) in self.engines.iter_mut().enumerate() {
            if let Some((known, connections)) = engine
                && known == id
            {
                *connections += 1;
                return Slot::Engine(slot);
            }
        }
        let free = self.engines.iter().position(Option::is_none).unwrap_or(self.engines.len());
        if free >= Slot::ENGINES {
            return Slot::Other;
        }
        let engine = Some((id.clone(), 1));
        match self.engines.get_mut(free) {
            Some(place) => *place = engine,
            None => self.engines.push(engine),
        }
        Slot::Engine(free)
    }

    fn leave(&mut self, slot: Slot) {
        let Slot::Engine(slot) = slot else { return };
        if let Some(place) = self.engines.get_mut(slot)
            && let Some((_, connections)) = place
        {
            *connections -= 1;
            if *connections == 0 {
                *place = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::{families, up_down};

    #[test]
    fn engines_have_numbers_which_are_given_away_again() {
        let mut roster = Roster::default();
        let enter = |roster: &mut Roster, id: &'static [u8]| roster.enter(&Bytes::from_static(id));
        assert_eq!([enter(&mut roster, b"a"), enter(&mut roster, b"b"), enter(&mut roster, b"a")], [0, 1, 0].map(Slot::Engine));
        roster.leave(Slot::Engine(0));
        assert_eq!(enter(&mut roster, b"c"), Slot::Engine(2), "one connection of the first is left");
        roster.leave(Slot::Engine(0));
        assert_eq!([enter(&mut roster, b"d"), enter(&mut roster, b"a")], [0, 3].map(Slot::Engine));
    }

    #[test]
    fn a_thousand_engines_make_no_more_series() {
        let mut roster = Roster::default();
        let slots: Vec<_> = (0..1_000_u32).map(|n| roster.enter(&Bytes::copy_from_slice(&n.to_be_bytes()))).collect();
        assert!(slots.iter().skip(Slot::ENGINES).all(|slot| *slot == Slot::Other));
        assert!(slots.iter().take(Slot::ENGINES).all(|slot| *slot != Slot::Other));
    }

    #[test]
    fn a_connection_is_on_the_list_while_it_is_open() {
        let of_test = || connections().into_iter().filter(|connection| &*connection.listener == "listed").collect::<Vec<_>>();
        let metrics = Arc::new(ListenerMetrics::of("listed"));
        let listed = Listed::new(&Arc::from("listed"), &Arc::from("192.0.2.1:1"), &metrics);
        let waiting = up_down(&families::CONNECTIONS, &["listed", "none"]);
        assert_eq!((of_test().len(), waiting.value()), (1, 1));
        listed.established(&Bytes::from_static(b"engine"), 16_380);
        listed.begin();
        listed.begin();
        listed.end();
        let found = of_test();
        let engine = found[0].engine.get().unwrap();
        assert_eq!((&*engine.id, engine.max_frame_size, waiting.value()), (&b"engine"[..], 16_380, 0));
        assert_eq!([&found[0].notifies, &found[0].in_flight].map(|count| count.load(Ordering::Relaxed)), [2, 1]);
        assert_eq!(metrics.in_flight.value(), 1);
        drop(listed);
        assert!(of_test().is_empty());
        assert_eq!(metrics.in_flight.value(), 0, "what was in flight is so no more");
    }
}
