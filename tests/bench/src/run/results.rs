//! All figures of a run, and what becomes of the rounds: medians.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::machine::Machine;
use super::{Args, Fallible};

/// One measurement: values by name. Times are microseconds: `cpu` is that of the bridge, or of the bare client; `mean`, `p50`
/// and `p99` are latencies.
pub type Figures = BTreeMap<String, f64>;

#[derive(Serialize, Deserialize)]
pub struct Results {
    pub machine: Machine,
    pub seconds: u32,
    /// Each case's measurements, one a round.
    cases: BTreeMap<String, Vec<Figures>>,
}

/// The middle of the rounds, and their extremes.
#[derive(Clone, Copy)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Results {
    pub fn new(args: &Args) -> Fallible<Self> {
        Ok(Self { machine: Machine::look(args)?, seconds: args.seconds, cases: BTreeMap::new() })
    }

    pub fn add(&mut self, case: &str, figures: Figures) {
        self.cases.entry(case.to_owned()).or_default().push(figures);
    }

    pub fn rounds(&self) -> usize {
        self.cases.values().map(Vec::len).max().unwrap_or_default()
    }

    pub fn spread(&self, case: &str, figure: &str) -> Option<Spread> {
        Spread::of(self.values(case, figure))
    }

    /// Of one case to another, round by round.
    pub fn ratio(&self, figure: &str, case: &str, to: &str) -> Option<Spread> {
        Spread::of(self.values(case, figure).zip(self.values(to, figure)).map(|(one, other)| one / other))
    }

    /// Cases with requests that got no decision, and how many those are.
    pub fn refused(&self) -> Vec<String> {
        let sums = self.cases.keys().map(|case| (case, self.values(case, "refused").sum::<f64>()));
        sums.filter(|(_, sum)| *sum > 0.0).map(|(case, sum)| format!("{sum} of {case}")).collect()
    }

    /// In the order of the rounds.
    fn values(&self, case: &str, figure: &str) -> impl Iterator<Item = f64> {
        self.cases.get(case).into_iter().flatten().filter_map(move |figures| figures.get(figure).copied())
    }

    /// All medians, a line for each case.
    pub fn lines(&self) -> String {
        let mut lines = String::new();
        for (case, rounds) in &self.cases {
            let _ = write!(lines, "{case:34}");
            for name in rounds.first().into_iter().flat_map(Figures::keys) {
                if let Some(Spread { median, .. }) = self.spread(case, name) {
                    let _ = write!(lines, "  {name} {median:.1}");
                }
            }
            lines.push('\n');
        }
        lines
    }
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<_> = values.collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Self { median: f64::midpoint(low, high), min, max })
    }
}
