//! How much of a backend may be in flight, over all workers, and who may have it. What is above is `overloaded` at once: in a queue it would only wait for
//! its deadline, and keep others from theirs.
//!
//! One engine alone may have all of it. Beside others, the last eighth is kept for engines that have less than their even share, so that a busy one
//! cannot starve them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;

/// Bytes of requests in flight, kept until they are answered since they may be sent again: what a backend can cost in memory, of all workers together.
const MAX_BYTES: usize = 64 << 20;

/// A backend's decisions in flight.
#[derive(Debug)]
pub(super) struct Admission {
    max: usize,
    in_flight: AtomicUsize,
    bytes: AtomicUsize,
    engines: Mutex<HashMap<Bytes, Weak<Engine>>>,
    /// How many of them live.
    sharing: Arc<AtomicUsize>,
}

/// One engine's decisions in flight at one backend. Shared by its connections; lives as long as one of them.
#[derive(Debug)]
pub(crate) struct Engine {
    in_flight: AtomicUsize,
    bytes: AtomicUsize,
    sharing: Arc<AtomicUsize>,
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.sharing.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why a decision is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    Decisions(usize),
    Bytes(usize),
}

/// A decision that is let in, until dropped.
#[derive(Debug)]
pub(super) struct Admitted<'a> {
    admission: &'a Admission,
    engine: &'a Engine,
    bytes: usize,
}

impl Admission {
    pub(super) fn new(max: usize) -> Self {
        let (in_flight, bytes) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { max, in_flight, bytes, engines: Mutex::default(), sharing: Arc::default() }
    }

    /// The engine with this id. One without an id is one for each connection that asks.
    pub(super) fn engine(&self, id: &Bytes) -> Arc<Engine> {
        let new = || {
            self.sharing.fetch_add(1, Ordering::Relaxed);
            Arc::new(Engine { in_flight: AtomicUsize::new(0), bytes: AtomicUsize::new(0), sharing: Arc::clone(&self.sharing) })
        };
        if id.is_empty() {
            return new();
        }
        let mut engines = self.engines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = engines.get(id).and_then(Weak::upgrade) {
            return engine;
        }
        engines.retain(|_, engine| engine.strong_count() > 0);
        let engine = new();
        // The id is part of the frame that it came in; this copy lives longer than that need.
        engines.insert(Bytes::copy_from_slice(id), Arc::downgrade(&engine));
        engine
    }

    /// How many decisions are in, or have just been refused.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Lets a decision of `bytes` in.
    pub(super) fn admit<'a>(&'a self, engine: &'a Engine, bytes: usize) -> Result<Admitted<'a>, Full> {
        let own = engine.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        let all = self.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        let own_bytes = engine.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let all_bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        // From here on, whatever is refused is given back.
        let admitted = Admitted { admission: self, engine, bytes };
        let limit = self.limit(own, self.max);
        if all > limit {
            return Err(Full::Decisions(limit));
        }
        let limit = self.limit(own_bytes, MAX_BYTES);
        if all_bytes > limit && all > 1 {
            return Err(Full::Bytes(limit));
        }
        Ok(admitted)
    }

    /// What of `max` all together may have for an engine that has `own`.
    fn limit(&self, own: usize, max: usize) -> usize {
        let sharing = self.sharing.load(Ordering::Relaxed);
        if sharing > 1 && own > max / sharing { max - max.div_ceil(8).min(max - 1) } else { max }
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        self.engine.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.engine.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.admission.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.admission.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted<'a>(admission: &'a Admission, engine: &'a Engine) -> Vec<Admitted<'a>> {
        std::iter::from_fn(|| admission.admit(engine, 1).ok()).collect()
    }

    #[test]
    fn an_engine_alone_has_all_of_it() {
        let admission = Admission::new(80);
        let engine = admission.engine(&Bytes::from_static(b"a"));
        let all = admitted(&admission, &engine);
        assert_eq!(all.len(), 80);
        assert_eq!(admission.admit(&engine, 1).unwrap_err(), Full::Decisions(80));
        drop(all);
        assert_eq!(admitted(&admission, &engine).len(), 80, "what is over is given back, what was refused too");
    }

    #[test]
    fn a_busy_engine_leaves_room_for_the_others() {
        let admission = Admission::new(80);
        let (busy, quiet) = (admission.engine(&Bytes::from_static(b"a")), admission.engine(&Bytes::from_static(b"b")));
        let of_the_busy = admitted(&admission, &busy);
        assert_eq!(of_the_busy.len(), 70);
        assert_eq!(admitted(&admission, &quiet).len(), 10);
        drop(of_the_busy);
        assert_eq!(admitted(&admission, &quiet).len(), 70);
        drop(quiet);
        assert_eq!(admitted(&admission, &busy).len(), 80, "alone again");
    }

    #[test]
    fn connections_of_an_engine_share_and_those_without_an_id_do_not() {
        let admission = Admission::new(1);
        let id = Bytes::from_static(b"a");
        assert!(Arc::ptr_eq(&admission.engine(&id), &admission.engine(&id)));
        let (one, other) = (admission.engine(&Bytes::new()), admission.engine(&Bytes::new()));
        assert!(!Arc::ptr_eq(&one, &other));
        assert!(admission.admit(&one, 1).is_ok(), "a limit of one lets one in, however many share it");
    }

    #[test]
    fn bytes_are_bounded_too() {
        let admission = Admission::new(80);
        let engine = admission.engine(&Bytes::new());
        let large = admission.admit(&engine, MAX_BYTES + 1);
        assert!(large.is_ok(), "one that is too large alone is let through alone");
        assert_eq!(admission.admit(&engine, 1).unwrap_err(), Full::Bytes(MAX_BYTES));
        drop(large);
        assert!(admission.admit(&engine, 1).is_ok());
    }
}
