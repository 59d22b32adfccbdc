//! A reload on a worker's thread, where every decision waits for it: its work does not grow with the routes.

use std::sync::Arc;
use std::time::Duration;

use allocation_counter::{AllocationInfo, measure};
use tokio::sync::oneshot;

use super::Generation;
use super::serving::Serving;
use crate::agent::Readiness;
use crate::config::Config;
use crate::grpc::Backend;
use crate::telemetry::metrics::series_made;

/// A generation with so many routes, whose names are those of others with `version`.
fn generation(routes: usize, version: usize, backends: &[Arc<Backend>]) -> Arc<Generation> {
    let routes = (0..routes).map(|n| format!("  - {{messages: [m{n}-{version}, n{n}], engines: [e{n}], backend: b}}\n"));
    let text = format!("backends: {{b: {{endpoints: ['http://127.0.0.1:9']}}}}\nroutes:\n{}", routes.collect::<String>());
    let (config, _) = Config::from_yaml(&text, "test.yaml", &|_| None).unwrap();
    let backends = match backends {
        [] => config.backends.iter().map(|backend| Backend::start(backend, None)).collect(),
        known => known.to_vec(),
    };
    Arc::new(Generation::new(version as u64, Arc::new(config), vec![0], backends))
}

/// What a worker allocates, and which series it makes, to serve by a new generation instead of an old one.
fn reload(routes: usize) -> (AllocationInfo, usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let old = generation(routes, 1, &[]);
    let new = generation(routes, 2, &old.backends);
    let mut serving = Serving::start(false, &old, &Readiness::new()).unwrap();
    let before = series_made();
    let (done, mut prepared) = oneshot::channel();
    let given = Arc::clone(&new);
    let allocations = measure(|| {
        serving.prepare(given, done);
        while serving.is_preparing() {
            serving.prepare_some();
        }
        serving.swap();
    });
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), &mut prepared).await.unwrap().unwrap().unwrap() });
    // As the control thread does: it keeps the old generation for longer than any worker.
    drop(serving);
    assert!(!old.is_shared(), "nothing of the old generation is left on the worker");
    (allocations, series_made() - before)
}

#[test]
fn a_reload_costs_a_worker_the_same_however_many_routes_there_are() {
    let [(few, _), (many, made)] = [10, 1_000].map(reload);
    assert_eq!(few.count_total, many.count_total);
    assert_eq!(few.bytes_total, many.bytes_total);
    assert_eq!(few.count_current, many.count_current, "nor is there more to let go of");
    assert_eq!(made, 0, "instruments are made where the configuration is read");
}
