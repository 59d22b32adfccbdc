//! Prometheus itself, and promtool.

use std::fmt::Write;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::http::{Reply, get};
use super::process::Process;
use super::{eventually, free_address, skipped};

/// `prometheus` or `promtool`, where the setup script puts them; a missing one is reported as skipped.
pub(crate) fn find_or_skip(test: &str, tool: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/prometheus").join(tool);
    if !path.exists() {
        skipped(test, &format!("{tool} (tests/tools/get-prometheus.sh)"));
        return None;
    }
    Some(path)
}

/// Runs promtool to its end: whether it was content, and its words.
pub(crate) fn promtool(tool: &Path, args: &[&str], input: &[u8]) -> (bool, String) {
    let mut command = Command::new(tool);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("start promtool");
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let words = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&words).into_owned())
}

/// A running Prometheus that scrapes each second.
pub(crate) struct Prometheus {
    _process: Process,
    address: SocketAddr,
    _directory: TempDir,
}

impl Prometheus {
    /// Each job with its target; where nobody listens yet is scraped, too.
    pub(crate) fn start(binary: &Path, jobs: &[(&str, SocketAddr)], rules: &Path) -> Prometheus {
        let (directory, address) = (tempfile::tempdir().unwrap(), free_address());
        let mut config = format!(
            "global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }}\nrule_files: [\"{}\"]\nscrape_configs:\n",
            rules.display()
        );
        for (job, target) in jobs {
            writeln!(config, "- {{ job_name: {job}, static_configs: [{{ targets: [\"{target}\"] }}] }}").unwrap();
        }
        let file = directory.path().join("prometheus.yaml");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new(binary);
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()));
        command.arg(format!("--web.listen-address={address}")).arg("--enable-feature=exemplar-storage").arg("--log.level=warn");
        let prometheus = Prometheus { _process: Process::start("prometheus", &mut command), address, _directory: directory };
        let ready = || get("/-/ready").try_send(address).ok().filter(|reply| reply.status == 200);
        eventually(Duration::from_secs(30), ready).expect("prometheus is ready");
        prometheus
    }

    /// The series that an expression gives now; its words, if it cannot be evaluated.
    pub(crate) fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let answer = self.api(&format!("query?query={}", encoded(expression)));
        match answer["data"]["result"].as_array() {
            Some(series) => Ok(series.clone()),
            None => Err(answer["error"].as_str().unwrap_or("no answer").to_owned()),
        }
    }

    /// Waits until an expression gives something.
    pub(crate) fn wait_for(&self, expression: &str, patience: Duration) -> Option<Vec<Value>> {
        eventually(patience, || {
            std::thread::sleep(Duration::from_millis(200));
            Some(self.query(expression).unwrap()).filter(|series| !series.is_empty())
        })
    }

    /// The exemplars of the last minutes.
    pub(crate) fn exemplars(&self, expression: &str) -> Vec<Value> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let range = format!("query_exemplars?query={}&start={}&end={}", encoded(expression), now - 600, now + 10);
        self.api(&range)["data"].as_array().cloned().unwrap_or_default()
    }

    /// All names of metrics that it has.
    pub(crate) fn names(&self) -> Vec<String> {
        let names = self.api("label/__name__/values");
        names["data"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    }

    /// All rules, and what became of them last.
    pub(crate) fn rules(&self) -> Vec<Value> {
        let groups = self.api("rules");
        let groups = groups["data"]["groups"].as_array().unwrap().clone();
        groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
    }

    fn api(&self, path: &str) -> Value {
        let reply = get(&format!("/api/v1/{path}")).send(self.address);
        serde_json::from_slice(&body(&reply)).unwrap_or_else(|error| panic!("{path}: {error}: {reply:?}"))
    }
}

/// The body of an answer, which may have come in chunks.
fn body(reply: &Reply) -> Vec<u8> {
    if reply.header("transfer-encoding") != "chunked" {
        return reply.body.clone();
    }
    let (mut rest, mut whole) = (&reply.body[..], Vec::new());
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
        let size = usize::from_str_radix(str::from_utf8(&rest[..end]).unwrap(), 16).expect("the size of a chunk");
        whole.extend(&rest[end + 2..end + 2 + size]);
        rest = &rest[(end + 4 + size).min(rest.len())..];
    }
    whole
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => encoded.push(byte.into()),
            _ => write!(encoded, "%{byte:02X}").unwrap(),
        }
        encoded
    })
}
