//! A real HAProxy for the demo, in a folder that goes with it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use super::super::exit::{Exit, Failure};

const PATIENCE: Duration = Duration::from_secs(10);

/// A running HAProxy; dropping it ends it.
pub(super) struct Haproxy {
    address: String,
    bridge: String,
    version: String,
    child: Child,
    _folder: TempDir,
}

/// What a request got.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

/// HAProxy's program: the one that was named, or that on the path.
pub(super) async fn find(named: Option<&Path>) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps it where only root's path looks.
    let found = || std::env::split_paths(&folders).chain(["/usr/sbin".into()]).map(|folder| folder.join("haproxy"));
    named.map(Path::to_owned).or_else(|| found().find(|program| program.is_file()))
}

impl Haproxy {
    pub(super) async fn start(program: PathBuf, bridge: &str) -> Result<Self, Failure> {
        let failed = |what: &str, error: &dyn std::fmt::Display| {
            Failure::new(Exit::Failed, format!("{}: {what}: {error}", program.display()))
        };
        let io = |error: io::Error| failed("cannot start", &error);
        let version = version(&program).await.map_err(io)?;
        let folder = tempfile::tempdir().map_err(io)?;
        // Chosen free, then left to HAProxy.
        let address = TcpListener::bind("127.0.0.1:0").await.and_then(|socket| socket.local_addr()).map_err(io)?.to_string();
        let spoe = folder.path().join("spoe.cfg");
        let config = folder.path().join("haproxy.cfg");
        std::fs::write(&spoe, SPOE_CONFIG).map_err(io)?;
        std::fs::write(&config, haproxy_config(&address, bridge, &spoe)).map_err(io)?;
        let child = Command::new(&program)
            .args(["-db", "-q", "-f"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(io)?;
        let mut haproxy = Self { address, bridge: bridge.to_owned(), version, child, _folder: folder };
        haproxy.wait().await.map_err(|error| failed("did not come up", &error))?;
        Ok(haproxy)
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn bridge(&self) -> &str {
        &self.bridge
    }

    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// Sends one request.
    pub(super) async fn get(&self, path: &str, token: Option<&str>) -> io::Result<Answer> {
        let stream = TcpStream::connect(&self.address).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        let mut request = http::Request::get(path).header("host", &self.address);
        if let Some(token) = token {
            request = request.header("x-token", token);
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(io::Error::other)?;
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
        Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
    }

    /// Waits until requests are decided: HAProxy listens, and its first check has found the bridge.
    async fn wait(&mut self) -> io::Result<()> {
        let started = tokio::time::Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                let mut said = Vec::new();
                if let Some(stderr) = &mut self.child.stderr {
                    tokio::io::AsyncReadExt::read_to_end(stderr, &mut said).await?;
                }
                return Err(io::Error::other(format!("it ended with {status}. {}", String::from_utf8_lossy(&said))));
            }
            match self.get("/", None).await {
                Ok(answer) if answer.status == 200 => return Ok(()),
                _ if started.elapsed() > PATIENCE => return Err(io::ErrorKind::TimedOut.into()),
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

/// The first line of `haproxy -v`, e.g. `HAProxy 3.0.11`.
async fn version(program: &Path) -> io::Result<String> {
    let output = Command::new(program).arg("-v").output().await?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_whitespace().nth(2).unwrap_or("of an unknown version");
    Ok(format!("HAProxy {}", version.split(['-', '+']).next().unwrap_or(version)))
}

/// `mode tcp` serves all versions of HAProxy; 3.1 and newer make `mode spop` of it.
fn haproxy_config(address: &str, bridge: &str, spoe: &Path) -> String {
    format!(
        r#"defaults
    mode http
    timeout connect 1s
    timeout client 10s
    timeout server 10s

frontend demo
    bind {address}
    filter spoe engine demo config "{spoe}"
    http-request return status 503 content-type text/plain lf-string "no decision: error %[var(txn.demo.error)]\n" if {{ var(txn.demo.error) -m found }}
    http-request return status 200 content-type text/plain lf-string "allowed: %[var(txn.demo.reason)] (score %[var(txn.demo.score)])\n" if {{ var(txn.demo.allow) -m bool }}
    http-request return status 403 content-type text/plain lf-string "denied: %[var(txn.demo.reason)] (score %[var(txn.demo.score)])\n"

backend spop-bridge
    mode tcp
    option spop-check
    timeout server 1m
    server bridge {bridge} check inter 1s
"#,
        spoe = spoe.display()
    )
}

const SPOE_CONFIG: &str = "[demo]
spoe-agent demo
    messages check-request
    option var-prefix demo
    option set-on-error error
    no option send-frag-payload
    timeout hello 1s
    timeout idle 1m
    timeout processing 500ms
    use-backend spop-bridge

spoe-message check-request
    args ip=src path=path,url_dec token=req.hdr(x-token)
    event on-frontend-http-request
";
