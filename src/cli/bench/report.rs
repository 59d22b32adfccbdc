//! What a bench found, as text and as JSON.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::tally::{Errors, Samples};
use crate::cli::exit::{Exit, Failure};

/// The fields of the JSON object, which are stable. Units are in the names.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) agent: String,
    pub(super) connections: u64,
    pub(super) in_flight: usize,
    /// Decisions a second; `None` in a closed loop.
    pub(super) rate: Option<u64>,
    /// From the first NOTIFY to the last ACK.
    pub(super) seconds: f64,
    pub(super) decisions: u64,
    pub(super) errors: Errors,
    pub(super) decisions_per_second: f64,
    pub(super) latency_us: Latency,
    pub(super) notify_bytes: usize,
    pub(super) load: Load,
    pub(super) processes: Vec<Process>,
    #[serde(skip)]
    pub(super) samples: Samples,
    /// Connections whose agent does not announce pipelining.
    #[serde(skip)]
    pub(super) single: usize,
}

#[derive(Debug, Serialize)]
pub(super) struct Latency {
    min: f64,
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    p99_9: f64,
    max: f64,
}

/// This process.
#[derive(Debug, Serialize)]
pub(super) struct Load {
    /// `None` without a decision.
    pub(super) cpu_us_per_decision: Option<f64>,
    pub(super) resident_kib: Option<u64>,
}

/// A process that was asked about.
#[derive(Debug, Serialize)]
pub(super) struct Process {
    pub(super) pid: u32,
    /// `None` without a decision, and when the process has ended.
    pub(super) cpu_us_per_decision: Option<f64>,
    /// `None` when the process has ended.
    pub(super) resident_kib: Option<u64>,
    /// Since it started.
    pub(super) peak_resident_kib: Option<u64>,
}

impl Latency {
    /// From nanoseconds.
    pub(super) fn of(histogram: &Histogram<u64>) -> Self {
        let at = |percentile| micros(histogram.value_at_percentile(percentile) as f64);
        Self {
            min: micros(histogram.min() as f64),
            mean: micros(histogram.mean()),
            p50: at(50.0),
            p90: at(90.0),
            p99: at(99.0),
            p99_9: at(99.9),
            max: micros(histogram.max() as f64),
        }
    }
}

fn print_process(name: &str, cpu: Option<f64>, memory: [Option<u64>; 2]) {
    let [resident, peak] = memory.map(|kib| kib.map_or_else(|| "-".to_owned(), |kib| kib.to_string()));
    let cpu = cpu.map_or_else(|| "-".to_owned(), |cpu| format!("{cpu:.2}"));
    say!("{name:<14}{cpu:>15}{resident:>14}{peak:>14}");
}

/// Nanoseconds as microseconds with three decimals.
pub(super) fn micros(nanos: f64) -> f64 {
    nanos.round() / 1000.0
}

/// Nanoseconds of CPU as microseconds a decision.
pub(super) fn per_decision(nanos: u64, decisions: u64) -> Option<f64> {
    (decisions > 0).then(|| micros(nanos as f64 / decisions as f64))
}

impl Report {
    pub(super) fn print(&self) {
        let Self { agent, connections, in_flight, .. } = self;
        say!("agent        {agent}");
        let pace = self.rate.map_or_else(|| "closed loop".to_owned(), |rate| format!("{rate} decisions/s by schedule"));
        say!("load         {connections} connections, {in_flight} in flight on each, {pace}, NOTIFY of {} B", self.notify_bytes);
        if self.single > 0 {
            say!("             one in flight on {} of them: the agent does not announce pipelining", self.single);
        }
        say!("decisions    {} in {:.2} s, {:.0}/s", self.decisions, self.seconds, self.decisions_per_second);
        say!("errors       {}", self.errors);
        self.print_latency();
        say!("");
        say!("process       CPU us/decision  resident KiB      peak KiB");
        for Process { pid, cpu_us_per_decision, resident_kib, peak_resident_kib } in &self.processes {
            print_process(&pid.to_string(), *cpu_us_per_decision, [*resident_kib, *peak_resident_kib]);
        }
        print_process("this load", self.load.cpu_us_per_decision, [self.load.resident_kib, None]);
    }

    fn print_latency(&self) {
        let Latency { min, mean, p50, p90, p99, p99_9, max } = self.latency_us;
        let from = if self.rate.is_some() { "from when each was due" } else { "from when each was sent" };
        say!("");
        say!("latency in us, {from}");
        let columns = [("min", min), ("mean", mean), ("p50", p50), ("p90", p90), ("p99", p99), ("p99.9", p99_9), ("max", max)];
        let names: String = columns.iter().map(|(name, _)| format!("{name:>11}")).collect();
        let values: String = columns.iter().map(|(_, value)| format!("{value:>11.1}")).collect();
        say!("{names}\n{values}");
    }

    /// Success when every NOTIFY got the ACK that was expected. Otherwise one sentence for each kind of error, and the code
    /// of the worst.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        let (Errors { lost, mismatched, unknown, disconnected }, samples) = (self.errors, &self.samples);
        let exit = match () {
            () if disconnected + unknown > 0 => Exit::Refused,
            () if lost > 0 => Exit::NoAnswer,
            () if mismatched > 0 => Exit::Mismatch,
            () => return Ok(()),
        };
        let kinds = [
            (disconnected, "connections ended", &samples.disconnected),
            (unknown, "ACKs answer no NOTIFY in flight", &samples.unknown),
            (lost, "NOTIFYs lost", &samples.lost),
            (mismatched, "ACKs differ from what was expected", &samples.mismatched),
        ];
        let some = kinds.iter().filter(|(count, ..)| *count > 0);
        let sentences = some.map(|(count, what, sample)| {
            let sample = sample.as_deref().unwrap_or_default();
            format!("{count} {what}, the first: {sample}")
        });
        Err(Failure::new(exit, format!("{}: {}", self.agent, sentences.collect::<Vec<_>>().join("; "))))
    }
}
