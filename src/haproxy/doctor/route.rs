//! Ways from frontends to backends.

use super::Context;
use super::case::resolve;
use super::line::{Line, Place};
use super::proxy::{Config, Proxy};
use super::settings::Settings;
use super::word::Word;

/// A way into a backend.
pub(super) struct Way<'a> {
    /// Position in [`Config::proxies`].
    pub(super) proxy: usize,
    pub(super) from: &'a Proxy,
    /// The line that says so; for a `listen` section its first.
    pub(super) line: &'a Line,
    /// False: requests choose the backend by what only HAProxy sees.
    pub(super) certain: bool,
}

/// What maps say by which requests choose backends: the line, and the backends that it can name.
pub(super) struct Maps(Vec<(Place, Vec<String>)>);

impl Maps {
    pub(super) fn read(config: &Config, context: &Context<'_>) -> Self {
        let lines = config.proxies.iter().filter(|proxy| proxy.has_frontend()).flat_map(|proxy| proxy.lines());
        Self(lines.filter_map(|line| Some((line.place.clone(), by_map(line, config, context)?))).collect())
    }

    /// All ways into a backend, at most one from each frontend.
    pub(super) fn ways_into<'a>(&self, config: &'a Config, backend: &Proxy) -> Vec<Way<'a>> {
        let mut ways = Vec::new();
        for (position, proxy) in config.proxies.iter().enumerate().filter(|(_, proxy)| proxy.has_frontend()) {
            let way = |line, certain| Way { proxy: position, from: proxy, line, certain };
            if std::ptr::eq(proxy, backend) && proxy.lines().iter().any(|line| line.is(&["bind"])) {
                ways.push(way(&proxy.head, true));
                continue;
            }
            let leads = proxy.lines().iter().filter_map(|line| Some((line, self.leads(line, backend)?)));
            // The surest of them will do.
            let best = leads.max_by_key(|(_, certain)| *certain);
            ways.extend(best.map(|(line, certain)| way(line, certain)));
        }
        ways
    }

    fn leads(&self, line: &Line, backend: &Proxy) -> Option<bool> {
        if line.maybe || !matches!(line.get(0), Some("default_backend" | "use_backend")) || !backend.has_backend() {
            return None;
        }
        let name = line.get(1)?;
        if !name.contains("%[") {
            return (name == backend.name).then_some(true);
        }
        match self.0.iter().find(|(place, _)| *place == line.place) {
            Some((_, names)) => names.contains(&backend.name).then_some(true),
            None => Some(false),
        }
    }
}

/// The backends that `%[...,map(FILE,DEFAULT)]` can name, if the map can be read.
fn by_map(line: &Line, config: &Config, context: &Context<'_>) -> Option<Vec<String>> {
    let name = line.words.get(1).and_then(Word::known).filter(|_| line.get(0) == Some("use_backend"))?;
    let expression = name.strip_prefix("%[")?.strip_suffix(']')?;
    let last = super::sample::parse(expression).converters.pop()?;
    if last.name != "map" && !last.name.starts_with("map_") {
        return None;
    }
    let mut args = last.args.split(',').map(str::trim);
    let text = (context.read)(&resolve(config, &line.place, args.next()?)).ok()?;
    let values = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let values = values.filter_map(|line| line.split_once(char::is_whitespace)).map(|(_, value)| value.trim().to_owned());
    Some(values.chain(args.next().map(str::to_owned)).collect())
}
