//! Another configuration while the bridge runs: all of it, or nothing.
//!
//! 1. it is read and checked, and what cannot change while running is looked for;
//! 2. new listeners are bound, new backends started;
//! 3. every worker connects to what is new;
//! 4. in one step on this thread, and one on each worker, the new takes the place of the old: NOTIFYs read before are decided by the old
//!    configuration, NOTIFYs read after by the new one;
//! 5. listeners that are gone accept no more and drain their connections;
//! 6. backends that are gone are left when their last decision is made.
//!
//! Until the fourth step nothing has changed, and whatever fails leaves it so.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;

use super::change::Changes;
use super::listener::Live;
use super::{App, bind_all, running, systemd};
use crate::admin::Refused;
use crate::agent::SocketListener;
use crate::config::{BackendConfig, Config, Path, Problem};
use crate::control::{Control, Loaded};
use crate::grpc::Backend;
use crate::telemetry::event;
use crate::tls::Material;
use crate::worker::{Generation, ListenerId};

/// Where a listener of the new configuration comes from.
enum Origin {
    /// It is there, at this position.
    Kept(usize),
    Bound(SocketListener),
}

impl App {
    /// Reads the configuration again and puts it into effect; if it is no good, says so and goes on as before.
    pub(super) async fn reload(&mut self, control: &mut Control) {
        systemd::reloading();
        let file = control.file();
        let result = match control.load().await {
            Ok(loaded) => self.apply(loaded, &file).await,
            Err(error) => Err(error.lines()),
        };
        let generation = self.generation.number;
        match result {
            Ok(changes) => {
                event::ConfigReloaded { generation, changes: &changes }.record();
                systemd::ready(self.status());
            }
            Err(problems) => {
                event::ConfigRefused { generation, problems: &problems }.record();
                self.state.refuse(Refused { at: SystemTime::now(), problems });
                self.renew_tls(control).await;
                systemd::ready(format!("{}; {file} was refused, the configuration before goes on", self.status()));
            }
        }
    }

    /// Certificates are renewed also while the configuration in the file is no good.
    async fn renew_tls(&self, control: &mut Control) {
        let Ok(Some(material)) = control.load_material(&self.generation.config).await else { return };
        self.generation.backends.iter().zip(material.backends).for_each(|(backend, tls)| backend.set_tls(tls));
        self.listeners.iter().zip(material.listeners).for_each(|(listener, tls)| listener.set_tls(tls));
        self.state.set_expiries(material.expiries);
    }

    async fn apply(&mut self, loaded: Loaded, file: &str) -> Result<Changes, Vec<String>> {
        let Loaded { config, material, warnings, .. } = loaded;
        let kept = self.kept(&config);
        let problems = self.needs_restart(&config, &kept);
        if !problems.is_empty() {
            return Err(problems.iter().map(|problem| format!("{file}: {problem}")).collect());
        }
        let origins = origins(&config, &kept).await?;
        let admin = self.admin.next(&config.admin).await.map_err(|error| vec![error.to_string()])?;
        let known: HashMap<_, _> = self.generation.backends.iter().map(|backend| (&backend.config().name, backend)).collect();
        let backend = |(config, tls): (&BackendConfig, &Option<_>)| {
            let known = known.get(&config.name).filter(|known| is_same(config, known));
            known.map_or_else(|| Backend::start(config, tls.clone()), |known| Arc::clone(known))
        };
        let backends: Vec<_> = config.backends.iter().zip(&material.backends).map(backend).collect();
        let listeners = self.ids(&origins);
        let (old, number) = (Arc::clone(&self.generation.config), self.generation.number + 1);
        // Both take as long as there are routes.
        let next = tokio::task::spawn_blocking(move || {
            let changes = Changes::between(&old, &config);
            (Arc::new(Generation::new(number, Arc::new(config), listeners, backends)), changes)
        });
        let (next, mut changes) = next.await.map_err(|_| vec![format!("{file}: internal error, please report it")])?;
        for prepared in join_all(self.workers.iter().map(|worker| worker.prepare(&next))).await {
            if let Err(error) = prepared {
                tokio::spawn(outlive(next));
                return Err(vec![format!("{file}: listeners: {error}")]);
            }
        }
        changes.certificates(&self.state.running().expiries, &material.expiries);
        // No `await` from here on: nothing else happens on this thread in between.
        warnings.iter().for_each(|warning| tracing::warn!(%warning, "configuration"));
        self.admin.change(&next.config.admin, admin);
        self.commit(next, material, origins, file);
        Ok(changes)
    }

    fn commit(&mut self, next: Arc<Generation>, material: Material, origins: Vec<Origin>, file: &str) {
        let config = Arc::clone(&next.config);
        let grace_period = config.drain.grace_period;
        let mut before: Vec<_> = std::mem::take(&mut self.listeners).into_iter().map(Some).collect();
        let kept = |origin: &Origin| match origin {
            Origin::Kept(position) => before.get_mut(*position).and_then(Option::take),
            Origin::Bound(_) => None,
        };
        let kept: Vec<_> = origins.iter().map(kept).collect();
        // First, so that no worker gets a connection of a listener that it no longer knows.
        for gone in before.into_iter().flatten() {
            tracing::info!(listener = &*gone.config.name, address = gone.address, "no longer listening");
            self.leaving.spawn(gone.leave(grace_period, self.last.watch()));
        }
        self.workers.iter().for_each(|worker| worker.swap());
        // Those that are kept, too: the same names of files, with other contents.
        next.backends.iter().zip(material.backends).for_each(|(backend, tls)| backend.set_tls(tls));
        let listeners = next.listeners().zip(material.listeners).zip(origins.into_iter().zip(kept));
        self.listeners = listeners
            .filter_map(|(((id, config, metrics), tls), (origin, kept))| match origin {
                Origin::Bound(socket) => Some(Live::start(id, config, metrics, socket, tls, &self.workers, &self.state)),
                Origin::Kept(_) => kept.map(|mut live| {
                    live.change(config, metrics, tls, grace_period);
                    live
                }),
            })
            .collect();
        self.requirements.replace(&config, &next.backends);
        let addresses = self.listeners.iter().map(|listener| listener.address.clone());
        self.state.replace(running(&next, file, addresses, material.expiries));
        tokio::spawn(outlive(std::mem::replace(&mut self.generation, next)));
        while self.leaving.try_join_next().is_some() {}
    }

    /// For each listener of `config` the one that is bound as it is to be, each once.
    fn kept(&self, config: &Config) -> Vec<Option<usize>> {
        let mut bound: HashMap<String, Vec<(usize, &str)>> = HashMap::new();
        for (position, live) in self.listeners.iter().enumerate() {
            bound.entry(live.config.bind.to_string()).or_default().push((position, &*live.config.name));
        }
        let mut kept = vec![None; config.listeners.len()];
        // Several may have port 0: those of the same name first, then as they come.
        for by_name in [true, false] {
            for (listener, kept) in config.listeners.iter().zip(&mut kept).filter(|(_, kept)| kept.is_none()) {
                let Some(bound) = bound.get_mut(&listener.bind.to_string()) else { continue };
                let found = bound.iter().position(|(_, name)| !by_name || **name == *listener.name);
                *kept = found.map(|found| bound.remove(found).0);
            }
        }
        kept
    }

    /// What is different and cannot change while running.
    fn needs_restart(&self, config: &Config, kept: &[Option<usize>]) -> Vec<Problem> {
        let (old, root) = (&*self.generation.config, Path::root());
        let mut problems = Vec::new();
        let mut refuse = |path: Path, found: String, as_before: String| {
            // Either may have come from the environment.
            let (found, as_before) = (config.effective.shown(&path, found), old.effective.shown(&path, as_before));
            problems.push(Problem { path, found, expected: format!("{as_before} as before, for another it needs a restart") });
        };
        for (index, (listener, position)) in config.listeners.iter().zip(kept).enumerate() {
            let Some(live) = position.and_then(|position| self.listeners.get(position)) else { continue };
            if live.config.bind != listener.bind {
                let path = root.key("listeners").index(index).key("unix");
                refuse(path, "other permissions or another owner".to_owned(), "those of the socket file".to_owned());
            }
        }
        let (format, old_format) = (config.log.format.as_str(), old.log.format.as_str());
        if format != old_format {
            refuse(root.key("log").key("format"), format.to_owned(), old_format.to_owned());
        }
        if config.workers != old.workers {
            refuse(root.key("workers"), config.workers.to_string(), old.workers.to_string());
        }
        problems
    }

    fn ids(&mut self, origins: &[Origin]) -> Vec<ListenerId> {
        let id = |origin: &Origin| {
            let kept = match origin {
                Origin::Kept(position) => self.listeners.get(*position),
                Origin::Bound(_) => None,
            };
            kept.map(|live| live.id).unwrap_or_else(|| {
                self.next_listener += 1;
                self.next_listener - 1
            })
        };
        origins.iter().map(id).collect()
    }
}

/// Whether the backend that is there can stay, with its connections.
fn is_same(config: &BackendConfig, known: &Backend) -> bool {
    let known = known.config();
    // Whether it is required is for health checks and not for connections.
    BackendConfig { required: known.required, ..config.clone() } == *known
}

/// Between two looks at a generation that has been replaced.
const LOOK: Duration = Duration::from_secs(1);

/// Keeps a generation until nothing else does, and then lets go of it where nothing waits: with many routes that takes a while, and no
/// worker is to spend it.
async fn outlive(generation: Arc<Generation>) {
    while generation.is_shared() || Arc::strong_count(&generation) > 1 {
        tokio::time::sleep(LOOK).await;
    }
    let _ = tokio::task::spawn_blocking(move || drop(generation)).await;
}

/// Binds what is not there yet.
async fn origins(config: &Config, kept: &[Option<usize>]) -> Result<Vec<Origin>, Vec<String>> {
    let new = config.listeners.iter().zip(kept).enumerate().filter(|(_, (_, kept))| kept.is_none());
    let new = new.map(|(index, (listener, _))| (index, listener));
    let sockets = bind_all(new).await;
    let mut sockets = sockets.map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?.into_iter();
    let origin = |kept: &Option<usize>| kept.map(Origin::Kept).or_else(|| sockets.next().map(Origin::Bound));
    Ok(kept.iter().filter_map(origin).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A worker that lets go of its part last would spend the time of decisions on it.
    #[tokio::test(start_paused = true)]
    async fn a_generation_outlives_all_that_share_it() {
        let text = "backends: {b: {endpoints: ['http://h:1']}}";
        let (config, _) = Config::from_yaml(text, "test.yaml", &|_| None).unwrap();
        let generation = Arc::new(Generation::new(1, Arc::new(config), vec![0], Vec::new()));
        let (config, given) = (Arc::clone(&generation.config), Arc::clone(&generation));
        let outliving = tokio::spawn(outlive(generation));
        tokio::time::sleep(LOOK * 10).await;
        drop(given);
        tokio::time::sleep(LOOK * 10).await;
        assert!(!outliving.is_finished(), "the configuration is in use");
        assert_eq!(Arc::strong_count(&config), 2);
        drop(config);
        outliving.await.unwrap();
    }
}
