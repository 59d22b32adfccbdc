//! Every series of the process, by family and labels.

use std::collections::BTreeMap;
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

/// Values of labels, in the order of the family's.
pub(crate) type Labels = Arc<[Arc<str>]>;

/// The series of a family.
///
/// Each family has a lock of its own. A worker takes that of one whose series are made when they are needed, with the first
/// connection of an engine or the first answer of a kind, and then waits for no reader of all the routes' series.
#[derive(Debug)]
pub(super) struct AllSeries(Mutex<Series>);

#[derive(Debug)]
struct Series {
    instruments: BTreeMap<Labels, Instrument>,
    /// With so many it is time to look for those that are unused.
    many: usize,
}

/// Series of a family below which unused ones do no harm.
const FEW: usize = 64;

impl AllSeries {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(Series { instruments: BTreeMap::new(), many: FEW }))
    }

    /// The instrument of these labels: the one that there is, or a new one. Not for the path of a NOTIFY.
    fn instrument(&self, labels: &[&str], make: fn() -> Instrument) -> Instrument {
        let labels: Labels = labels.iter().map(|label| Arc::from(*label)).collect();
        let mut series = self.lock();
        // Looked for whenever their number has doubled, so that a new series costs the same however many there are.
        if series.instruments.len() >= series.many {
            series.instruments.retain(|_, instrument| !instrument.is_unused());
            series.many = FEW.max(2 * series.instruments.len());
        }
        series.instruments.entry(labels).or_insert_with(make).clone()
    }

    /// Every series. What no configuration has any more is read once more, and then forgotten.
    #[cfg(feature = "bridge")]
    pub(super) fn take_stock(&self) -> Vec<(Labels, Instrument)> {
        let mut all = Vec::new();
        self.lock().instruments.retain(|labels, instrument| {
            let is_used = !instrument.is_unused();
            all.push((Arc::clone(labels), instrument.clone()));
            is_used
        });
        all
    }

    fn lock(&self) -> MutexGuard<'_, Series> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(feature = "bridge")]
static OBSERVERS: Mutex<Vec<Weak<dyn Observe>>> = Mutex::new(Vec::new());

fn instrument(family: &'static Family, labels: &[&str], make: fn() -> Instrument) -> Instrument {
    debug_assert_eq!(family.labels.len(), labels.len(), "labels of {}", family.name);
    #[cfg(test)]
    ASKED.set(ASKED.get() + 1);
    family.series.instrument(labels, make)
}

#[cfg(test)]
thread_local! {
    static ASKED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// How often this thread has asked for an instrument.
#[cfg(all(test, feature = "bridge"))]
pub(crate) fn series_made() -> usize {
    ASKED.get()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn all(series: &AllSeries) -> usize {
        series.lock().instruments.len()
    }

    fn make() -> Instrument {
        Instrument::Counter(Counter::new())
    }

    #[test]
    fn the_same_labels_are_the_same_series() {
        let series = AllSeries::new();
        let [a, b] = [0, 1].map(|_| series.instrument(&["a", "b"], make));
        let (Instrument::Counter(a), Instrument::Counter(b)) = (a, b) else { panic!("counters were made") };
        a.increment();
        assert_eq!((b.value(), all(&series)), (1, 1));
    }

    /// However often a configuration is replaced by one with other names, and also if metrics are never read.
    #[test]
    fn unused_series_do_not_pile_up() {
        let series = AllSeries::new();
        for generation in 0..1_000 {
            let _in_use: Vec<_> = (0..10).map(|n| series.instrument(&[&format!("{generation}-{n}")], make)).collect();
        }
        assert!(all(&series) <= FEW, "{}", all(&series));
    }

    #[cfg(feature = "bridge")]
    #[test]
    fn an_unused_series_is_read_once_more() {
        let series = AllSeries::new();
        let kept = series.instrument(&["kept"], make);
        drop(series.instrument(&["gone"], make));
        assert_eq!([0, 1].map(|_| series.take_stock().len()), [2, 1]);
        drop(kept);
    }
}
