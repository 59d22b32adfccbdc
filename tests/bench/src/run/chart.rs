//! `docs/benchmarks.svg`: two groups of bars, in colours that follow the reader's choice of dark or light.

use std::fmt::Write;

use super::results::{Results, Spread};

const WIDTH: f64 = 760.0;
/// Names stand left of it, bars right of it.
const AXIS: f64 = 270.0;
/// What a bar may take; its figure stands behind it.
const LONGEST: f64 = WIDTH - AXIS - 110.0;
const ROW: f64 = 30.0;
const BAR: f64 = 20.0;
const HEAD: f64 = 34.0;
const GAP: f64 = 26.0;

struct Group {
    title: &'static str,
    figure: &'static str,
    /// Behind each figure.
    unit: &'static str,
    /// Name, case, and whether it is ours.
    bars: &'static [(&'static str, &'static str, bool)],
}

const GROUPS: [Group; 2] = [
    Group {
        title: "CPU time of the bridge for one decision (shorter is better)",
        figure: "cpu",
        unit: "µs",
        bars: &[
            ("straightforward bridge", "cpu/straightforward", false),
            ("bare tonic client, no SPOP", "cpu/bare", false),
            ("spop-bridge, unary", "cpu/unary", true),
            ("spop-bridge, stream", "cpu/stream", true),
        ],
    },
    Group {
        title: "Requests a second on two cores, each one decided (longer is better)",
        figure: "per_second",
        unit: "/s",
        bars: &[
            ("Envoy, ext_authz", "http/envoy", false),
            ("HAProxy 3.2, straightforward bridge", "http/haproxy-3.2-straightforward", false),
            ("HAProxy 3.2, spop-bridge, unary", "http/haproxy-3.2-unary", true),
            ("HAProxy 2.6, spop-bridge, stream", "http/haproxy-2.6-stream", true),
            ("HAProxy 3.2, spop-bridge, stream", "http/haproxy-3.2-stream", true),
        ],
    },
];

const STYLE: &str = "
text { font: 14px system-ui, sans-serif; fill: #24292f } .title { font-weight: 600 } .name { text-anchor: end }
.ours { fill: #1f7a4d } .other { fill: #8c959f } line { stroke: #57606a }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .ours { fill: #3fb97a } .other { fill: #6e7681 } line { stroke: #8b949e } }
";

pub fn draw(results: &Results) -> String {
    let (mut body, mut y) = (String::new(), GAP);
    for group in &GROUPS {
        y = group.draw(results, &mut body, y) + GAP;
    }
    let label = GROUPS.map(|group| group.title).join("; ");
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" width=\"{WIDTH}\" role=\"img\" aria-label=\"{label}\">\n\
         <style>{STYLE}</style>\n{body}</svg>\n"
    )
}

impl Group {
    /// Draws from `top` on; returns where it ends.
    fn draw(&self, results: &Results, out: &mut String, top: f64) -> f64 {
        let value = |case| results.spread(case, self.figure).map_or(0.0, |Spread { median, .. }| median);
        let longest = self.bars.iter().map(|(_, case, _)| value(case)).fold(f64::MIN_POSITIVE, f64::max);
        let _ = writeln!(out, "<text class=\"title\" x=\"10\" y=\"{top}\">{}</text>", self.title);
        let mut y = top + HEAD / 2.0;
        let start = y;
        for (name, case, ours) in self.bars {
            let (value, text_y) = (value(case), y + BAR - 5.0);
            let length = value / longest * LONGEST;
            let class = if *ours { "ours" } else { "other" };
            let _ = writeln!(out, "<text class=\"name\" x=\"{}\" y=\"{text_y}\">{name}</text>", AXIS - 10.0);
            let _ =
                writeln!(out, "<rect class=\"{class}\" x=\"{AXIS}\" y=\"{y}\" width=\"{length:.1}\" height=\"{BAR}\" rx=\"2\"/>");
            let _ = writeln!(out, "<text x=\"{:.1}\" y=\"{text_y}\">{}</text>", AXIS + length + 8.0, self.show(value));
            y += ROW;
        }
        let _ = writeln!(out, "<line x1=\"{AXIS}\" x2=\"{AXIS}\" y1=\"{}\" y2=\"{}\"/>", start - 5.0, y - ROW + BAR + 5.0);
        y
    }

    fn show(&self, value: f64) -> String {
        if value < 1000.0 { format!("{value:.1} {}", self.unit) } else { format!("{:.1} thousand", value / 1000.0) }
    }
}
