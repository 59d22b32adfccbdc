//! Metrics as Prometheus reads them: its classic text, version 0.0.4, and OpenMetrics 1.0, which has units and exemplars.
//!
//! Names by OpenTelemetry's rules for Prometheus: what is no letter or digit becomes an underscore, the unit is appended, and `_total` to
//! counters. One thing more: `count` at the end, which Prometheus keeps for histograms, becomes a plural (`process_threads`).

use std::fmt::{self, Write};
use std::time::{Duration, SystemTime};

use super::families::{BOUNDS, Family, Kind};
use super::instrument::Distribution;
use super::snapshot::{Measured, Point, Snapshot, Value};

/// The two forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Classic,
    OpenMetrics,
}

impl Format {
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// What a client that sends this `Accept` header likes best; the classic text if it does not say.
    pub(crate) fn accepted(header: &str) -> Self {
        let mut best = [0.0_f32; 2];
        for range in header.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default().to_ascii_lowercase();
            let (mut quality, mut version) = (1.0, None);
            for (key, value) in parts.filter_map(|part| part.split_once('=')) {
                match key.trim() {
                    "q" => quality = value.trim().parse().unwrap_or(0.0),
                    "version" => version = Some(value.trim().trim_matches('"')),
                    _ => {}
                }
            }
            let form = match (&*media, version) {
                ("application/openmetrics-text", None | Some("1.0.0")) => 1,
                ("text/plain", None | Some("0.0.4")) | ("text/*" | "*/*", _) => 0,
                _ => continue,
            };
            if let Some(best) = best.get_mut(form) {
                *best = best.max(quality);
            }
        }
        let [classic, open_metrics] = best;
        if open_metrics > 0.0 && open_metrics >= classic { Self::OpenMetrics } else { Self::Classic }
    }
}

impl Snapshot {
    /// All of it, in this form.
    pub(crate) fn text(&self, format: Format) -> String {
        let mut text = String::with_capacity(64 * 1024);
        for (family, points) in &self.families {
            let mut writer = Writer { text: &mut text, format, family, name: name(family) };
            // Nothing can go wrong when writing to memory.
            let _ = writer.family(points);
        }
        if format == Format::OpenMetrics {
            text.push_str("# EOF\n");
        }
        text
    }
}

struct Writer<'a> {
    text: &'a mut String,
    format: Format,
    family: &'static Family,
    /// Without `_total`.
    name: String,
}

impl Writer<'_> {
    fn family(&mut self, points: &[Point]) -> fmt::Result {
        let kind = match self.family.kind {
            Kind::Counter => "counter",
            Kind::UpDown | Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // In the classic text a counter's family has the name of its samples.
        let name = match (self.family.kind, self.format) {
            (Kind::Counter, Format::Classic) => format!("{}_total", self.name),
            _ => self.name.clone(),
        };
        let unit = unit(self.family.unit);
        writeln!(self.text, "# HELP {name} {}", Escaped(self.family.help, self.format == Format::OpenMetrics))?;
        writeln!(self.text, "# TYPE {name} {kind}")?;
        if self.format == Format::OpenMetrics && !unit.is_empty() {
            writeln!(self.text, "# UNIT {name} {unit}")?;
        }
        for point in points {
            match &point.value {
                Value::Sum(value) => self.sample("_total", &point.labels, None, value)?,
                Value::Gauge(value) => self.sample("", &point.labels, None, value)?,
                Value::Histogram(distribution) => self.histogram(&point.labels, distribution)?,
            }
        }
        Ok(())
    }

    fn histogram(&mut self, labels: &[impl AsRef<str>], distribution: &Distribution) -> fmt::Result {
        let bounds = BOUNDS.iter().map(|nanos| bound(*nanos)).chain(["+Inf".to_owned()]);
        let mut count = 0;
        for ((bound, added), exemplar) in bounds.zip(distribution.counts).zip(distribution.exemplars) {
            count += added;
            self.series("_bucket", labels, Some(&bound))?;
            write!(self.text, " {count}")?;
            if let Some(exemplar) = exemplar.filter(|_| self.format == Format::OpenMetrics) {
                self.exemplar(&exemplar)?;
            }
            self.text.push('\n');
        }
        self.sample("_sum", labels, None, &distribution.sum.as_secs_f64())?;
        self.sample("_count", labels, None, &count)
    }

    fn exemplar(&mut self, Measured { span, value, at }: &Measured) -> fmt::Result {
        let at = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let (trace, span) = (hex(&span.trace_id), hex(&span.span_id));
        write!(self.text, " # {{trace_id=\"{trace}\",span_id=\"{span}\"}} {} {:.3}", value.as_secs_f64(), at.as_secs_f64())
    }

    fn sample(&mut self, suffix: &str, labels: &[impl AsRef<str>], bound: Option<&str>, value: &dyn fmt::Display) -> fmt::Result {
        self.series(suffix, labels, bound)?;
        writeln!(self.text, " {value}")
    }

    fn series(&mut self, suffix: &str, labels: &[impl AsRef<str>], bound: Option<&str>) -> fmt::Result {
        write!(self.text, "{}{suffix}", self.name)?;
        let labels = self.family.labels.iter().copied().zip(labels.iter().map(AsRef::as_ref));
        let mut separator = '{';
        for (key, value) in labels.chain(bound.map(|bound| ("le", bound))) {
            write!(self.text, "{separator}{}=\"{}\"", underscored(key), Escaped(value, true))?;
            separator = ',';
        }
        if separator == ',' {
            self.text.push('}');
        }
        Ok(())
    }
}

/// A family's name without `_total`.
pub(crate) fn name(family: &Family) -> String {
    let mut name = underscored(family.name);
    if let Some(counted) = name.strip_suffix("_count") {
        name = format!("{counted}s");
    }
    match unit(family.unit) {
        "" => name,
        unit => format!("{name}_{unit}"),
    }
}

/// Of the units that there are; what is counted has none.
fn unit(ucum: &str) -> &'static str {
    match ucum {
        "s" => "seconds",
        "By" => "bytes",
        _ => "",
    }
}

fn underscored(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// A bound in seconds, as OpenMetrics wants it; the same in both forms, so that they are the same series.
fn bound(nanos: u64) -> String {
    let seconds = Duration::from_nanos(nanos).as_secs_f64();
    if seconds.fract() == 0.0 { format!("{seconds}.0") } else { seconds.to_string() }
}

/// Text with what would end it escaped: backslashes, line feeds, and quotes if they would.
struct Escaped<'a>(&'a str, bool);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '\\' => f.write_str("\\\\"),
            '\n' => f.write_str("\\n"),
            '"' if self.1 => f.write_str("\\\""),
            c => f.write_char(c),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::families::{self as f, ALL};
    use super::super::{Histogram, Snapshot};
    use super::*;
    use crate::telemetry::trace::SpanContext;

    fn point(labels: &[&str], value: Value) -> Point {
        Point { labels: labels.iter().map(|label| (*label).into()).collect(), value }
    }

    fn text(family: &'static Family, points: Vec<Point>, format: Format) -> String {
        let now = SystemTime::now();
        Snapshot { start: now, taken: now, families: vec![(family, points)] }.text(format)
    }

    #[test]
    fn names_have_their_units() {
        let names = |families: [&Family; 8]| families.map(name).join(" ");
        assert_eq!(
            names([
                &f::CONNECTIONS,
                &f::IO,
                &f::NOTIFY_DURATION,
                &f::READY,
                &f::CPU_TIME,
                &f::THREADS,
                &f::BUILD_INFO,
                &f::MEMORY_USAGE
            ]),
            "spop_server_connections spop_server_io_bytes spop_server_notify_duration_seconds spop_bridge_ready \
             process_cpu_time_seconds process_threads spop_bridge_build_info process_memory_usage_bytes"
        );
        let mut all: Vec<_> = ALL.iter().map(|family| name(family)).collect();
        assert!(ALL.iter().all(|family| family.unit != "1"), "that would be a ratio, and get `_ratio` from other exporters");
        for name in &all {
            assert!(!["_total", "_count", "_sum", "_bucket", "_ratio"].iter().any(|suffix| name.ends_with(suffix)), "{name}");
        }
        all.sort();
        all.dedup();
        assert_eq!(all.len(), ALL.len(), "no two have the same name");
    }

    #[test]
    fn counters_and_labels() {
        let points = vec![point(&["a\"b\\c\nd", "ok"], Value::Sum(3.0)), point(&["", "timeout"], Value::Sum(1e9))];
        assert_eq!(
            text(&f::DECISIONS, points.clone(), Format::Classic),
            format!(
                "# HELP spop_bridge_decisions_total {}\n# TYPE spop_bridge_decisions_total counter\n\
                 spop_bridge_decisions_total{{spop_bridge_route=\"a\\\"b\\\\c\\nd\",outcome=\"ok\"}} 3\n\
                 spop_bridge_decisions_total{{spop_bridge_route=\"\",outcome=\"timeout\"}} 1000000000\n",
                f::DECISIONS.help
            )
        );
        let open = text(&f::DECISIONS, points, Format::OpenMetrics);
        assert!(open.contains("# TYPE spop_bridge_decisions counter\nspop_bridge_decisions_total{"), "{open}");
        assert!(open.ends_with("1000000000\n# EOF\n"), "{open}");
    }

    #[test]
    fn units_and_bare_gauges() {
        let open = text(&f::UPTIME, vec![point(&[], Value::Gauge(1.5))], Format::OpenMetrics);
        assert!(open.contains("# TYPE process_uptime_seconds gauge\n# UNIT process_uptime_seconds seconds\n"), "{open}");
        assert!(open.contains("\nprocess_uptime_seconds 1.5\n"), "{open}");
        let classic = text(&f::UPTIME, vec![point(&[], Value::Gauge(1.5))], Format::Classic);
        assert!(!classic.contains("UNIT") && !classic.contains("EOF"), "{classic}");
    }

    #[test]
    fn histograms_are_cumulative_and_have_exemplars_in_open_metrics() {
        let histogram = Histogram::new();
        let span = SpanContext { trace_id: [0xab; 16], span_id: [1; 8] };
        histogram.observe(Duration::from_micros(60), Some(span));
        histogram.observe(Duration::from_micros(40), None);
        histogram.observe(Duration::from_secs(61), None);
        let points = || vec![point(&["main"], Value::Histogram(Box::new(histogram.value())))];
        let classic = text(&f::NOTIFY_DURATION, points(), Format::Classic);
        let lines: Vec<_> = classic.lines().collect();
        let bucket = |bound: &str, count: u64| {
            format!("spop_server_notify_duration_seconds_bucket{{spop_listener=\"main\",le=\"{bound}\"}} {count}")
        };
        for (bound, count) in [("0.00005", 1), ("0.0001", 2), ("1.0", 2), ("2.5", 2), ("60.0", 2), ("+Inf", 3)] {
            assert!(lines.contains(&&*bucket(bound, count)), "{bound}: {classic}");
        }
        assert!(lines.contains(&"spop_server_notify_duration_seconds_sum{spop_listener=\"main\"} 61.0001"), "{classic}");
        assert!(lines.contains(&"spop_server_notify_duration_seconds_count{spop_listener=\"main\"} 3"), "{classic}");
        let open = text(&f::NOTIFY_DURATION, points(), Format::OpenMetrics);
        let trace =
            format!("{} # {{trace_id=\"{}\",span_id=\"{}\"}} 0.00006 ", bucket("0.0001", 2), "ab".repeat(16), "01".repeat(8));
        assert_eq!(open.matches(" # {").count(), 1, "{open}");
        assert!(open.contains(&trace), "{open}");
    }

    #[test]
    fn who_asks_gets_what_it_likes_best() {
        use Format::{Classic, OpenMetrics};
        for (accept, expected) in [
            ("", Classic),
            ("*/*", Classic),
            ("application/json", Classic),
            ("application/openmetrics-text", OpenMetrics),
            ("application/openmetrics-text;version=\"1.0.0\"", OpenMetrics),
            ("application/openmetrics-text;version=2.0.0", Classic),
            // Prometheus 2.42 and 2.49, and one with OpenMetrics turned off.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                OpenMetrics,
            ),
            (
                "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                OpenMetrics,
            ),
            ("text/plain;version=0.0.4;q=1,*/*;q=0.1", Classic),
            ("text/plain, application/openmetrics-text;q=0.5", Classic),
            ("application/openmetrics-text;q=0", Classic),
        ] {
            assert_eq!(Format::accepted(accept), expected, "{accept}");
        }
    }
}
