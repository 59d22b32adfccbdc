//! Metrics, read back from the text that the admin port gives.

use crate::telemetry::metrics::text::name;
use crate::telemetry::metrics::{Family, Kind};

/// What stands in a text of metrics.
#[derive(Debug, Default)]
pub(super) struct Samples(Vec<Sample>);

#[derive(Debug)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Samples {
    /// Reads the classic text. Lines that are none of it are left out.
    pub(super) fn parse(text: &str) -> Self {
        Self(text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect())
    }

    /// The values of a family, each with its labels' values.
    pub(super) fn of(&self, family: &Family) -> impl Iterator<Item = (Vec<&str>, f64)> {
        let suffix = if family.kind == Kind::Counter { "_total" } else { "" };
        self.named(name(family) + suffix)
    }

    /// The value of a family that has one series.
    pub(super) fn one(&self, family: &Family) -> Option<f64> {
        self.of(family).next().map(|(_, value)| value)
    }

    /// The buckets of the histogram with this label: upper bounds and how many are not above, in the order of the bounds.
    pub(super) fn buckets(&self, family: &Family, label: &str) -> Vec<(f64, f64)> {
        let buckets = self.named(name(family) + "_bucket");
        let buckets = buckets.filter(|(labels, _)| labels.first() == Some(&label));
        buckets.filter_map(|(labels, count)| Some((labels.last()?.parse().ok()?, count))).collect()
    }

    fn named(&self, name: String) -> impl Iterator<Item = (Vec<&str>, f64)> {
        let samples = self.0.iter().filter(move |sample| sample.name == name);
        samples.map(|sample| (sample.labels.iter().map(|(_, value)| &**value).collect(), sample.value))
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let Some((name, labels)) = series.split_once('{') else {
        return Some(Sample { name: series.to_owned(), labels: Vec::new(), value });
    };
    let mut rest = labels;
    let mut labels = Vec::new();
    while let Some((key, value)) = rest.split_once("=\"") {
        let (value, length) = unescape(value)?;
        labels.push((key.trim_start_matches(',').to_owned(), value));
        rest = rest.get(key.len() + 2 + length..)?;
    }
    Some(Sample { name: name.to_owned(), labels, value })
}

/// The text before the next quote, and how long it is with that quote.
fn unescape(text: &str) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, at + 1)),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                c => c,
            }),
            c => value.push(c),
        }
    }
    None
}

/// The value below which `share` of what is in the buckets is, as Prometheus estimates it; `None` if nothing is in them.
pub(super) fn quantile(buckets: &[(f64, f64)], share: f64) -> Option<f64> {
    let all = buckets.last().map(|(_, count)| *count).filter(|count| *count > 0.0)?;
    let wanted = all * share;
    let (mut lower, mut below) = (0.0, 0.0);
    for (bound, count) in buckets {
        if *count >= wanted {
            let part = if *count > below { (wanted - below) / (count - below) } else { 1.0 };
            // In the last one, all that is known is where it begins.
            return Some(if bound.is_finite() { lower + (bound - lower) * part } else { lower });
        }
        (lower, below) = (*bound, *count);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::families as f;

    #[test]
    fn what_is_written_is_read() {
        let samples = Samples::parse(
            "# TYPE spop_bridge_decisions_total counter\n\
             spop_bridge_decisions_total{spop_bridge_route=\"a, \\\"b\\\" \\\\ }\",outcome=\"ok\"} 12\n\
             spop_bridge_decisions_total{spop_bridge_route=\"\",outcome=\"timeout\"} 1\n\
             spop_bridge_ready 1\nrubbish\nspop_bridge_decision_duration_seconds_bucket{spop_bridge_route=\"a\",le=\"0.1\"} 3\n\
             spop_bridge_decision_duration_seconds_bucket{spop_bridge_route=\"a\",le=\"+Inf\"} 4\n",
        );
        let decisions: Vec<_> = samples.of(&f::DECISIONS).collect();
        assert_eq!(decisions, [(vec!["a, \"b\" \\ }", "ok"], 12.0), (vec!["", "timeout"], 1.0)]);
        assert_eq!((samples.one(&f::READY), samples.one(&f::UPTIME)), (Some(1.0), None));
        assert_eq!(samples.buckets(&f::DECISION_DURATION, "a"), [(0.1, 3.0), (f64::INFINITY, 4.0)]);
    }

    #[test]
    fn quantiles_are_prometheus_s() {
        let buckets = [(0.1, 0.0), (0.2, 50.0), (0.4, 100.0), (f64::INFINITY, 100.0)];
        assert_eq!(quantile(&buckets, 0.5), Some(0.2));
        assert_eq!(quantile(&buckets, 0.75).map(|value| (value * 1e6).round()), Some(300_000.0));
        assert_eq!(quantile(&[(0.1, 1.0), (f64::INFINITY, 100.0)], 0.99), Some(0.1), "more is not known");
        assert_eq!(quantile(&[(0.1, 0.0), (f64::INFINITY, 0.0)], 0.5), None);
        assert_eq!(quantile(&[], 0.5), None);
    }
}
