//! Endpoints that fail where others do not, taken out for a while (gRFC A50; the probing is linkerd2-proxy's breaker).
//!
//! ```text
//!         consecutive failures, success rate
//!    In ───────────────────────────────────────▶ Out ──time over──▶ one decision as a probe ──answered──▶ In
//!                                                 ▲                     │
//!                                                 └──failed, for longer─┘
//! ```

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::OutlierConfig;

/// One endpoint's record.
#[derive(Debug, Default)]
pub(super) struct Outlier(Mutex<Record>);

#[derive(Debug, Default)]
struct Record {
    consecutive_failures: u32,
    /// Of this interval.
    answered: u64,
    failed: u64,
    /// Ejections that are not forgotten yet: each makes the next one longer.
    ejections: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    In,
    Out {
        until: Instant,
    },
    Probed,
}

/// Whether an endpoint may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    In,
    /// Its time is over: the next decision is to find out.
    Due,
    Out,
}

/// What a decision's end means for its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    Nothing,
    /// It failed too often in a row, and is to be ejected if others are left.
    Suspect,
    /// The probe was answered.
    Back,
    /// The probe failed.
    StillOut,
}

impl Outlier {
    pub(super) fn standing(&self, now: Instant) -> Standing {
        match self.lock().state {
            State::In => Standing::In,
            State::Out { until } if until <= now => Standing::Due,
            State::Out { .. } | State::Probed => Standing::Out,
        }
    }

    pub(super) fn is_ejected(&self) -> bool {
        self.lock().state != State::In
    }

    /// Until when it is out, and how often it has been lately. What is out while a probe is under way is so until then.
    pub(super) fn ejection(&self, now: Instant) -> (Option<Instant>, u32) {
        let record = self.lock();
        let until = match record.state {
            State::In => None,
            State::Out { until } => Some(until.max(now)),
            State::Probed => Some(now),
        };
        (until, record.ejections)
    }

    /// A decision goes there. Whether it is the probe, which it is if one is due.
    pub(super) fn begin(&self, now: Instant) -> bool {
        let mut record = self.lock();
        let is_due = matches!(record.state, State::Out { until } if until <= now);
        if is_due {
            record.state = State::Probed;
        }
        is_due
    }

    /// A decision there ended, perhaps the `probe`; `answered` is `None` if that says nothing about the endpoint.
    pub(super) fn record(&self, now: Instant, probe: bool, answered: Option<bool>, config: &OutlierConfig) -> Finding {
        let mut record = self.lock();
        // What was sent before the endpoint was out says how it was then.
        let probed = probe && record.state == State::Probed;
        match answered {
            // The next one is the probe.
            None if probed => record.state = State::Out { until: now },
            None => {}
            Some(true) => {
                record.consecutive_failures = 0;
                record.answered += 1;
                if probed {
                    record.state = State::In;
                    return Finding::Back;
                }
            }
            Some(false) => {
                record.consecutive_failures = record.consecutive_failures.saturating_add(1);
                record.failed += 1;
                if probed {
                    record.eject(now, config);
                    return Finding::StillOut;
                }
                let enough = config.consecutive_failures.is_some_and(|limit| record.consecutive_failures >= limit);
                if enough && record.state == State::In {
                    return Finding::Suspect;
                }
            }
        }
        Finding::Nothing
    }

    pub(super) fn eject(&self, now: Instant, config: &OutlierConfig) -> Duration {
        self.lock().eject(now, config)
    }

    /// Ends an interval: how many decisions were answered and how many failed in it. Good conduct shortens the next ejection.
    pub(super) fn end_interval(&self) -> (u64, u64) {
        let mut record = self.lock();
        if record.state == State::In {
            record.ejections = record.ejections.saturating_sub(1);
        }
        (std::mem::take(&mut record.answered), std::mem::take(&mut record.failed))
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    fn eject(&mut self, now: Instant, config: &OutlierConfig) -> Duration {
        let time = config.base_ejection_time.saturating_mul(1 << self.ejections.min(16)).min(config.max_ejection_time);
        self.ejections = self.ejections.saturating_add(1);
        self.consecutive_failures = 0;
        self.state = State::Out { until: now + time };
        time
    }
}

/// Whether one more of `total` endpoints may be ejected.
pub(super) fn may_eject(ejected: usize, total: usize, config: &OutlierConfig) -> bool {
    let percent = usize::from(config.max_ejection_percent);
    // One in any case, as gRFC A50 has it, if another is left.
    let least = usize::from(total > 1 && percent > 0);
    ejected < (total * percent / 100).max(least)
}

/// The endpoints whose success rate is too far below the others' (gRFC A50): `intervals` has the answered and failed decisions of each.
pub(super) fn below_success_rate(intervals: &[(u64, u64)], config: &OutlierConfig) -> Vec<usize> {
    let Some(rule) = &config.success_rate else { return Vec::new() };
    let rate = |&(answered, failed): &(u64, u64)| answered as f64 / (answered + failed) as f64;
    let enough = |(answered, failed): &(u64, u64)| answered + failed >= u64::from(rule.request_volume);
    let judged: Vec<_> = intervals.iter().enumerate().filter(|(_, interval)| enough(interval)).collect();
    if judged.len() < rule.minimum_hosts {
        return Vec::new();
    }
    let count = judged.len() as f64;
    let mean = judged.iter().map(|(_, interval)| rate(interval)).sum::<f64>() / count;
    let variance = judged.iter().map(|(_, interval)| (rate(interval) - mean).powi(2)).sum::<f64>() / count;
    let least = mean - variance.sqrt() * f64::from(rule.stdev_factor) / 1_000.0;
    judged.into_iter().filter(|(_, interval)| rate(interval) < least).map(|(index, _)| index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SuccessRateConfig;

    const SECOND: Duration = Duration::from_secs(1);

    fn config() -> OutlierConfig {
        OutlierConfig {
            consecutive_failures: Some(3),
            interval: 10 * SECOND,
            base_ejection_time: SECOND,
            max_ejection_time: 4 * SECOND,
            max_ejection_percent: 50,
            success_rate: Some(SuccessRateConfig { stdev_factor: 1_900, minimum_hosts: 5, request_volume: 100 }),
        }
    }

    #[test]
    fn consecutive_failures_make_a_suspect_and_an_answer_between_them_does_not() {
        let (now, config, outlier) = (Instant::now(), config(), Outlier::default());
        let mut record = |answered| outlier.record(now, false, answered, &config);
        let findings = [Some(false), Some(false), Some(true), Some(false), None, Some(false), Some(false)].map(&mut record);
        assert_eq!(findings[..6], [Finding::Nothing; 6]);
        assert_eq!(findings[6], Finding::Suspect);
        assert_eq!(outlier.standing(now), Standing::In, "ejecting is for the pool to decide");
    }

    #[test]
    fn one_probe_at_a_time_brings_it_back_or_keeps_it_out_for_longer() {
        let (start, config, outlier) = (Instant::now(), config(), Outlier::default());
        assert_eq!(outlier.eject(start, &config), SECOND);
        assert_eq!(outlier.standing(start + SECOND / 2), Standing::Out);
        assert_eq!(outlier.record(start, false, Some(true), &config), Finding::Nothing, "an answer to what was asked before");
        let mut now = start + SECOND;
        for time in [2, 4, 4] {
            assert_eq!(outlier.standing(now), Standing::Due);
            assert!(outlier.begin(now));
            assert!(!outlier.begin(now), "one at a time");
            assert_eq!(outlier.standing(now), Standing::Out, "while it is probed");
            assert_eq!(outlier.record(now, false, Some(false), &config), Finding::Nothing, "of what was asked before");
            assert_eq!(outlier.record(now, true, Some(false), &config), Finding::StillOut);
            assert_eq!(outlier.standing(now + time * SECOND - SECOND / 10), Standing::Out);
            now += time * SECOND;
        }
        outlier.begin(now);
        assert_eq!(outlier.record(now, true, None, &config), Finding::Nothing);
        assert_eq!(outlier.standing(now), Standing::Due, "a probe that was given up says nothing");
        outlier.begin(now);
        assert_eq!(outlier.record(now, true, Some(true), &config), Finding::Back);
        assert_eq!(outlier.standing(now), Standing::In);
    }

    #[test]
    fn ejections_are_forgotten_with_time() {
        let (now, config, outlier) = (Instant::now(), config(), Outlier::default());
        outlier.eject(now, &config);
        outlier.begin(now + SECOND);
        outlier.record(now + SECOND, true, Some(true), &config);
        outlier.end_interval();
        assert_eq!(outlier.eject(now, &config), SECOND);
    }

    #[test]
    fn never_more_than_the_share() {
        let config = config();
        assert!(!may_eject(0, 1, &config), "not the only one");
        assert!(may_eject(0, 2, &config) && !may_eject(1, 2, &config));
        assert!(may_eject(0, 3, &config) && !may_eject(1, 3, &config));
        assert!(may_eject(4, 10, &config) && !may_eject(5, 10, &config));
        let config = OutlierConfig { max_ejection_percent: 10, ..config };
        assert!(may_eject(0, 5, &config) && !may_eject(1, 5, &config), "one in any case");
        let config = OutlierConfig { max_ejection_percent: 0, ..config };
        assert!(!may_eject(0, 5, &config), "unless there is to be none");
    }

    #[test]
    fn the_success_rate_is_held_against_the_others() {
        const NONE: [usize; 0] = [];
        let config = config();
        let good = (990, 10);
        assert_eq!(below_success_rate(&[good, good, (500, 500), good, good], &config), [2]);
        assert_eq!(below_success_rate(&[good, good, (500, 500), good], &config), NONE, "too few to compare");
        assert_eq!(below_success_rate(&[good, good, (40, 50), good, good], &config), NONE, "too few decisions");
        assert_eq!(below_success_rate(&[(500, 500); 5], &config), NONE, "all alike");
    }
}
