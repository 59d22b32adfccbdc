//! Counters and histograms that cost nothing to share: a cell for each thread, summed when somebody asks.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::available_parallelism;
use std::time::{Duration, SystemTime};

use super::families::BOUNDS;
use crate::telemetry::trace::SpanContext;

/// A cell of its own cache line, so that neighbours do not disturb each other.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Cells<T>(T);

/// A thread's place among the cells of every instrument.
#[derive(Clone, Copy, Debug)]
struct Shard {
    index: usize,
    /// No other thread has it: no need to lock the bus for what it writes there.
    is_own: bool,
}

thread_local! {
    static SHARD: Cell<Shard> = Cell::new(Shard::next());
}

impl Shard {
    /// The first threads, workers among them, have a shard each; all others share the last.
    fn next() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let last = shards() - 1;
        let index = NEXT.fetch_add(1, Ordering::Relaxed).min(last);
        Self { index, is_own: index < last }
    }

    fn add(self, cell: &AtomicU64, difference: u64) {
        if self.is_own {
            cell.store(cell.load(Ordering::Relaxed).wrapping_add(difference), Ordering::Relaxed);
        } else {
            cell.fetch_add(difference, Ordering::Relaxed);
        }
    }
}

/// For each thread that measures at any rate, which is one for each core and the control thread, and for all others together.
fn shards() -> usize {
    static SHARDS: OnceLock<usize> = OnceLock::new();
    *SHARDS.get_or_init(|| available_parallelism().map_or(1, std::num::NonZeroUsize::get).min(64) + 2)
}

fn mine<T>(cells: &[Cells<T>]) -> Option<(Shard, &T)> {
    let shard = SHARD.with(Cell::get);
    cells.get(shard.index).map(|cells| (shard, &cells.0))
}

fn cells<T>(make: impl Fn() -> T) -> Arc<[Cells<T>]> {
    (0..shards()).map(|_| Cells(make())).collect()
}

/// What only grows.
#[derive(Clone, Debug)]
pub(crate) struct Counter(Arc<[Cells<AtomicU64>]>);

impl Counter {
    pub(super) fn new() -> Self {
        Self(cells(AtomicU64::default))
    }

    pub(crate) fn increment(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, count: u64) {
        if let Some((shard, cell)) = mine(&self.0) {
            shard.add(cell, count);
        }
    }

    /// Whether nobody else has it.
    pub(super) fn is_unused(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.iter().fold(0, |sum, cell| sum.wrapping_add(cell.0.load(Ordering::Relaxed)))
    }
}

/// What grows and shrinks, perhaps on different threads.
#[derive(Clone, Debug)]
pub(crate) struct UpDown(Arc<[Cells<AtomicU64>]>);

impl UpDown {
    pub(super) fn new() -> Self {
        Self(cells(AtomicU64::default))
    }

    pub(crate) fn add(&self, difference: i64) {
        if let Some((shard, cell)) = mine(&self.0) {
            // Two's complement: a difference below zero wraps around to what it should be.
            shard.add(cell, difference.cast_unsigned());
        }
    }

    /// Whether nobody else has it.
    pub(super) fn is_unused(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    pub(crate) fn value(&self) -> i64 {
        self.0.iter().fold(0_u64, |sum, cell| sum.wrapping_add(cell.0.load(Ordering::Relaxed))).cast_signed()
    }
}

/// Times, in buckets.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    cells: Arc<[Cells<Buckets>]>,
    /// Made with the first trace: most histograms never see one.
    exemplars: Arc<OnceLock<Box<Exemplars>>>,
}

/// Of each bucket, the last measurement that belongs to a sampled trace.
type Exemplars = Mutex<[Option<Measured>; BUCKETS]>;

/// The buckets with a bound, and the one above.
const BUCKETS: usize = BOUNDS.len() + 1;

#[derive(Debug, Default)]
struct Buckets {
    counts: [AtomicU64; BUCKETS],
    /// Nanoseconds.
    sum: AtomicU64,
}

/// A measurement that a trace tells more about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) span: SpanContext,
    pub(crate) value: Duration,
    pub(crate) at: SystemTime,
}

/// What a histogram holds.
#[derive(Clone, Debug)]
pub(crate) struct Distribution {
    /// For each bucket of [`BOUNDS`] and the one above: what is in that bucket alone.
    pub(crate) counts: [u64; BUCKETS],
    pub(crate) sum: Duration,
    pub(crate) exemplars: [Option<Measured>; BUCKETS],
}

impl Histogram {
    pub(super) fn new() -> Self {
        Self { cells: cells(Buckets::default), exemplars: Arc::default() }
    }

    /// `span` is that of the measurement, if it is sampled.
    pub(crate) fn observe(&self, value: Duration, span: Option<SpanContext>) {
        let nanos = u64::try_from(value.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| *bound < nanos);
        let Some((shard, buckets)) = mine(&self.cells) else { return };
        if let Some(count) = buckets.counts.get(bucket) {
            shard.add(count, 1);
        }
        shard.add(&buckets.sum, nanos);
        if let Some(span) = span {
            // One of many is as good as another: nobody waits for it.
            let exemplars = self.exemplars.get_or_init(|| Box::new(Mutex::new([None; BUCKETS])));
            if let Ok(mut exemplars) = exemplars.try_lock()
                && let Some(exemplar) = exemplars.get_mut(bucket)
            {
                *exemplar = Some(Measured { span, value, at: SystemTime::now() });
            }
        }
    }

    /// Whether nobody else has it.
    pub(super) fn is_unused(&self) -> bool {
        Arc::strong_count(&self.cells) == 1
    }

    pub(crate) fn value(&self) -> Distribution {
        let mut counts = [0_u64; BUCKETS];
        let mut sum = 0_u64;
        for Cells(buckets) in self.cells.iter() {
            for (total, count) in counts.iter_mut().zip(&buckets.counts) {
                *total = total.wrapping_add(count.load(Ordering::Relaxed));
            }
            sum = sum.wrapping_add(buckets.sum.load(Ordering::Relaxed));
        }
        let exemplars = self.exemplars.get().map(|exemplars| *exemplars.lock().unwrap_or_else(PoisonError::into_inner));
        Distribution { counts, sum: Duration::from_nanos(sum), exemplars: exemplars.unwrap_or([None; BUCKETS]) }
    }
}

impl Distribution {
    /// How many measurements there are.
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_of_all_threads_are_summed() {
        let (counter, up_down, histogram) = (Counter::new(), UpDown::new(), Histogram::new());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for n in 0..1_000 {
                        counter.add(2);
                        up_down.add(if n % 4 == 0 { -1 } else { 1 });
                        histogram.observe(Duration::from_millis(n), None);
                    }
                });
            }
        });
        assert_eq!((counter.value(), up_down.value()), (16_000, 4_000));
        let value = histogram.value();
        assert_eq!((value.count(), value.sum), (8_000, Duration::from_millis(8 * 499_500)));
        assert!(value.exemplars.iter().all(Option::is_none));
    }

    /// A bound belongs to its bucket, as Prometheus (`le`) and OpenTelemetry have it.
    #[test]
    fn bounds_are_inclusive() {
        let histogram = Histogram::new();
        let bucket = |nanos: u64| {
            let before = histogram.value().counts;
            histogram.observe(Duration::from_nanos(nanos), None);
            histogram.value().counts.iter().zip(before).position(|(now, before)| *now > before).unwrap()
        };
        assert_eq!([bucket(0), bucket(50_000), bucket(50_001), bucket(100_000)], [0, 0, 1, 1]);
        assert_eq!([bucket(60_000_000_000), bucket(60_000_000_001)], [BUCKETS - 2, BUCKETS - 1]);
        assert!(BOUNDS.is_sorted());
    }

    #[test]
    fn the_last_trace_of_a_bucket_is_its_exemplar() {
        let histogram = Histogram::new();
        let span = |n| Some(SpanContext { trace_id: [n; 16], span_id: [n; 8] });
        for (n, micros) in [(1, 10), (2, 20), (3, 70)] {
            histogram.observe(Duration::from_micros(micros), span(n));
        }
        histogram.observe(Duration::from_micros(30), None);
        let exemplars = histogram.value().exemplars;
        let found: Vec<_> = exemplars.iter().flatten().map(|exemplar| (Some(exemplar.span), exemplar.value)).collect();
        assert_eq!(found, [(span(2), Duration::from_micros(20)), (span(3), Duration::from_micros(70))]);
    }
}
