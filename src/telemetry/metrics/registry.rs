//! Every series of the process, by family and labels.

#[cfg(feature = "bridge")]
use std::sync::Weak;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::families::Family;
use super::instrument::{Counter, Histogram, UpDown};

/// Whatever says what it knows when somebody reads metrics.
#[cfg(feature = "bridge")]
pub(crate) trait Observe: Send + Sync {
    /// Adds its points to `batch`.
    fn observe(&self, batch: &mut super::Batch);
}

#[derive(Clone, Debug)]
pub(super) enum Instrument {
    Counter(Counter),
    UpDown(UpDown),
    Histogram(Histogram),
}

impl Instrument {
    fn is_unused(&self) -> bool {
        match self {
            Self::Counter(counter) => counter.is_unused(),
            Self::UpDown(up_down) => up_down.is_unused(),
            Self::Histogram(histogram) => histogram.is_unused(),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) family: &'static Family,
    /// In the order of the family's labels.
    pub(super) labels: Arc<[Arc<str>]>,
    pub(super) instrument: Instrument,
}

static SERIES: Mutex<Vec<Series>> = Mutex::new(Vec::new());
#[cfg(feature = "bridge")]
static OBSERVERS: Mutex<Vec<Weak<dyn Observe>>> = Mutex::new(Vec::new());

pub(super) fn series() -> MutexGuard<'static, Vec<Series>> {
    SERIES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The instrument of these labels: the one that there is, or a new one. Not for the path of a NOTIFY.
fn instrument(family: &'static Family, labels: &[&str], make: fn() -> Instrument) -> Instrument {
    debug_assert_eq!(family.labels.len(), labels.len(), "labels of {}", family.name);
    let mut all = series();
    let same = |series: &&Series| {
        std::ptr::eq(series.family, family) && series.labels.iter().zip(labels).all(|(known, label)| **known == **label)
    };
    if let Some(known) = all.iter().find(same) {
        return known.instrument.clone();
    }
    // What no configuration has any more goes when something new comes.
    all.retain(|series| !series.instrument.is_unused());
    let instrument = make();
    let labels = labels.iter().map(|label| Arc::from(*label)).collect();
    all.push(Series { family, labels, instrument: instrument.clone() });
    instrument
}

/// The counter with these labels.
pub(crate) fn counter(family: &'static Family, labels: &[&str]) -> Counter {
    match instrument(family, labels, || Instrument::Counter(Counter::new())) {
        Instrument::Counter(counter) => counter,
        _ => Counter::new(),
    }
}

/// The up-down counter with these labels.
pub(crate) fn up_down(family: &'static Family, labels: &[&str]) -> UpDown {
    match instrument(family, labels, || Instrument::UpDown(UpDown::new())) {
        Instrument::UpDown(up_down) => up_down,
        _ => UpDown::new(),
    }
}

/// The histogram with these labels.
pub(crate) fn histogram(family: &'static Family, labels: &[&str]) -> Histogram {
    match instrument(family, labels, || Instrument::Histogram(Histogram::new())) {
        Instrument::Histogram(histogram) => histogram,
        _ => Histogram::new(),
    }
}

/// From now on `observer` is asked, as long as it lives.
#[cfg(feature = "bridge")]
pub(crate) fn observe(observer: Weak<dyn Observe>) {
    let mut observers = OBSERVERS.lock().unwrap_or_else(PoisonError::into_inner);
    observers.retain(|observer| observer.strong_count() > 0);
    observers.push(observer);
}

#[cfg(feature = "bridge")]
pub(super) fn observers() -> Vec<Arc<dyn Observe>> {
    OBSERVERS.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade).collect()
}
