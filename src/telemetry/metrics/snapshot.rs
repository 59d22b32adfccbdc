//! All metrics at one moment, in no particular form: the Prometheus text and OTLP are made from it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use super::families::{self, Family, Kind};
use super::instrument::Distribution;
pub(crate) use super::instrument::Measured;
use super::process;
use super::registry::{Instrument, Labels, observers};

/// All metrics at one moment. Families are in the order of their names, and each is there once.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Since when counters count.
    pub(crate) start: SystemTime,
    pub(crate) taken: SystemTime,
    pub(crate) families: Vec<(&'static Family, Vec<Point>)>,
}

/// One series' value.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    pub(crate) labels: Labels,
    pub(crate) value: Value,
}

/// A value, in the family's unit.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// Of a counter.
    Sum(f64),
    /// Of a gauge or an up-down counter.
    Gauge(f64),
    /// Of a histogram.
    Histogram(Box<Distribution>),
}

/// Points that are added one after the other: by the families' names, and by their labels.
#[derive(Debug, Default)]
pub(crate) struct Batch(BTreeMap<&'static str, (&'static Family, BTreeMap<Labels, Value>)>);

impl Batch {
    /// Adds a value; points of the same labels from several observers are added up.
    pub(crate) fn add(&mut self, family: &'static Family, labels: &[&str], value: f64) {
        debug_assert_eq!(family.labels.len(), labels.len(), "labels of {}", family.name);
        let labels = labels.iter().map(|label| Arc::from(*label)).collect();
        match self.points(family).entry(labels) {
            Entry::Occupied(mut known) => match known.get_mut() {
                Value::Sum(sum) | Value::Gauge(sum) => *sum += value,
                Value::Histogram(_) => {}
            },
            Entry::Vacant(free) => {
                free.insert(if family.kind == Kind::Counter { Value::Sum(value) } else { Value::Gauge(value) });
            }
        }
    }

    fn points(&mut self, family: &'static Family) -> &mut BTreeMap<Labels, Value> {
        &mut self.0.entry(family.name).or_insert_with(|| (family, BTreeMap::new())).1
    }
}

impl Snapshot {
    /// Reads all instruments and asks all observers.
    pub(crate) fn now() -> Self {
        let mut batch = Batch::default();
        for family in families::ALL.iter().copied() {
            // Read when the lock is free again.
            let series = family.series.take_stock();
            if !series.is_empty() {
                *batch.points(family) = series.into_iter().map(|(labels, instrument)| (labels, read(&instrument))).collect();
            }
        }
        observers().iter().for_each(|observer| observer.observe(&mut batch));
        process::observe(&mut batch);
        let points =
            |points: BTreeMap<Labels, Value>| points.into_iter().map(|(labels, value)| Point { labels, value }).collect();
        let families = batch.0.into_values().map(|(family, all)| (family, points(all))).collect();
        Self { start: started(), taken: SystemTime::now(), families }
    }
}

fn read(instrument: &Instrument) -> Value {
    match instrument {
        Instrument::Counter(counter) => Value::Sum(counter.value() as f64),
        // Read while it moves from one thread to another it may be below.
        Instrument::UpDown(up_down) => Value::Gauge(up_down.value().max(0) as f64),
        Instrument::Histogram(histogram) => Value::Histogram(Box::new(histogram.value())),
    }
}

/// When the process started.
pub(crate) fn started() -> SystemTime {
    static STARTED: OnceLock<SystemTime> = OnceLock::new();
    *STARTED.get_or_init(|| process::start_time().unwrap_or_else(SystemTime::now))
}
