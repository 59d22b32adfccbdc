//! What a backend does when its servers are slow or fail: retries, hedging, limits, outlier detection.

use super::Findings;
use crate::config::limits::{self, OrP95, Percent};
use crate::config::model::{
    AdaptiveLimitConfig, BudgetConfig, HedgingConfig, HedgingDelay, OutlierConfig, RetryConfig, SuccessRateConfig,
};
use crate::config::path::Path;
use crate::config::raw;
use crate::config::status_code::StatusCode;

pub(super) fn adaptive_limit(raw: &raw::AdaptiveLimit, path: &Path, findings: &mut Findings) -> AdaptiveLimitConfig {
    let Percent(tolerance) = findings.quantity(&path.key("tolerance"), raw.tolerance.as_deref(), &limits::ADAPTIVE_TOLERANCE);
    AdaptiveLimitConfig { min: raw.min.unwrap_or(limits::ADAPTIVE_MIN.fallback()), tolerance }
}

pub(super) fn retry(raw: Option<&raw::Retry>) -> RetryConfig {
    RetryConfig {
        max_attempts: raw.and_then(|raw| raw.max_attempts).unwrap_or(limits::RETRY_ATTEMPTS.fallback()),
        retryable_status_codes: raw
            .and_then(|raw| raw.retryable_status_codes.clone())
            .unwrap_or_else(|| vec![StatusCode::Unavailable]),
    }
}

pub(super) fn hedging(backend: &raw::Backend, path: &Path, findings: &mut Findings) -> Option<HedgingConfig> {
    let raw = backend.hedging.as_ref()?;
    let path = path.key("hedging");
    if !backend.idempotent.unwrap_or_default() {
        findings.problems.add(&path, "hedging", "it only beside idempotent: true, since it asks twice for one decision");
    }
    let OrP95(delay) = findings.quantity(&path.key("delay"), raw.delay.as_deref(), &limits::HEDGING_DELAY);
    Some(HedgingConfig {
        max_attempts: raw.max_attempts.unwrap_or(limits::HEDGING_ATTEMPTS.fallback()),
        delay: delay.map_or(HedgingDelay::P95, HedgingDelay::Fixed),
    })
}

pub(super) fn budget(raw: Option<&raw::RetryBudget>, path: &Path, findings: &mut Findings) -> BudgetConfig {
    let percent = raw.and_then(|raw| raw.percent.as_deref());
    let Percent(percent) = findings.quantity(&path.key("percent"), percent, &limits::BUDGET_PERCENT);
    let min_per_second = raw.and_then(|raw| raw.min_per_second).unwrap_or(limits::BUDGET_PER_SECOND.fallback());
    BudgetConfig { percent, min_per_second: u32::try_from(min_per_second).unwrap_or(u32::MAX) }
}

pub(super) fn outlier_detection(raw: Option<&raw::OutlierDetection>, path: &Path, findings: &mut Findings) -> OutlierConfig {
    let default = raw::OutlierDetection::default();
    let raw = raw.unwrap_or(&default);
    let failures = raw.consecutive_failures.unwrap_or(limits::CONSECUTIVE_FAILURES.fallback());
    let mut time = |key, text: &Option<String>, limit| findings.quantity(&path.key(key), text.as_deref(), limit);
    let interval = time("interval", &raw.interval, &limits::OUTLIER_INTERVAL);
    let base_ejection_time = time("base_ejection_time", &raw.base_ejection_time, &limits::BASE_EJECTION_TIME);
    let max_ejection_time = time("max_ejection_time", &raw.max_ejection_time, &limits::MAX_EJECTION_TIME);
    let Percent(max_ejection_percent) =
        findings.quantity(&path.key("max_ejection_percent"), raw.max_ejection_percent.as_deref(), &limits::MAX_EJECTION_PERCENT);
    OutlierConfig {
        consecutive_failures: u32::try_from(failures).ok().filter(|failures| *failures > 0),
        interval,
        base_ejection_time,
        max_ejection_time: max_ejection_time.max(base_ejection_time),
        max_ejection_percent,
        success_rate: raw.success_rate.as_ref().map(success_rate),
    }
}

fn success_rate(raw: &raw::SuccessRate) -> SuccessRateConfig {
    let number =
        |value: Option<usize>, limit: &limits::Limit<usize>| u32::try_from(value.unwrap_or(limit.fallback())).unwrap_or(u32::MAX);
    SuccessRateConfig {
        stdev_factor: number(raw.stdev_factor, &limits::STDEV_FACTOR),
        minimum_hosts: raw.minimum_hosts.unwrap_or(limits::MINIMUM_HOSTS.fallback()),
        request_volume: number(raw.request_volume, &limits::REQUEST_VOLUME),
    }
}
