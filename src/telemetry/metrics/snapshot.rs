//! All metrics at one moment, in no particular form: the Prometheus text and OTLP are made from it.

use std::sync::Arc;
use std::sync::OnceLock;
use std::time::SystemTime;

use super::families::{Family, Kind};
use super::instrument::Distribution;
pub(crate) use super::instrument::Measured;
use super::process;
use super::registry::{Instrument, observers, series};

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
    /// In the order of the family's labels.
    pub(crate) labels: Arc<[Arc<str>]>,
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

/// Points that are added one after the other.
#[derive(Debug, Default)]
pub(crate) struct Batch(Vec<(&'static Family, Point)>);

impl Batch {
    /// Adds a value; points of the same labels from several observers are added up.
    pub(crate) fn add(&mut self, family: &'static Family, labels: &[&str], value: f64) {
        debug_assert_eq!(family.labels.len(), labels.len(), "labels of {}", family.name);
        let same = |(known, point): &&mut (&'static Family, Point)| {
            std::ptr::eq(*known, family) && point.labels.iter().zip(labels).all(|(known, label)| **known == **label)
        };
        let added = match self.0.iter_mut().find(same) {
            Some((_, Point { value: Value::Sum(sum) | Value::Gauge(sum), .. })) => {
                *sum += value;
                true
            }
            _ => false,
        };
        if !added {
            let value = if family.kind == Kind::Counter { Value::Sum(value) } else { Value::Gauge(value) };
            let labels = labels.iter().map(|label| Arc::from(*label)).collect();
            self.0.push((family, Point { labels, value }));
        }
    }
}

impl Snapshot {
    /// Reads all instruments and asks all observers.
    pub(crate) fn now() -> Self {
        let mut batch = Batch::default();
        // Workers that make a series do not wait until all are read.
        let all = series().clone();
        for series in all {
            let value = match &series.instrument {
                Instrument::Counter(counter) => Value::Sum(counter.value() as f64),
                // Read while it moves from one thread to another it may be below.
                Instrument::UpDown(up_down) => Value::Gauge(up_down.value().max(0) as f64),
                Instrument::Histogram(histogram) => Value::Histogram(Box::new(histogram.value())),
            };
            batch.0.push((series.family, Point { labels: series.labels, value }));
        }
        observers().iter().for_each(|observer| observer.observe(&mut batch));
        process::observe(&mut batch);
        let Batch(mut points) = batch;
        points.sort_by(|(a, x), (b, y)| a.name.cmp(b.name).then_with(|| x.labels.cmp(&y.labels)));
        let mut families: Vec<(&'static Family, Vec<Point>)> = Vec::new();
        for (family, point) in points {
            match families.last_mut() {
                Some((last, points)) if std::ptr::eq(*last, family) => points.push(point),
                _ => families.push((family, vec![point])),
            }
        }
        Self { start: started(), taken: SystemTime::now(), families }
    }
}

/// When the process started.
pub(crate) fn started() -> SystemTime {
    static STARTED: OnceLock<SystemTime> = OnceLock::new();
    *STARTED.get_or_init(|| process::start_time().unwrap_or_else(SystemTime::now))
}
