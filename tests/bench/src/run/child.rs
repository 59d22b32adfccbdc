//! The processes that are measured, and their end.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Args, Fallible};
use crate::process;

const PATIENCE: Duration = Duration::from_secs(10);

pub const SPOP: u16 = 19001;
pub const SERVICE: u16 = 19050;
const COLLECTOR: u16 = 19317;
/// Where requests get a decision, and where they get none.
pub const DECIDED: u16 = 19080;
pub const UNDECIDED: u16 = 19081;

/// A process that serves a port; dropping it ends the process.
pub struct Running {
    child: Child,
    /// What it needs, ended with it.
    beside: Option<Box<Running>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    /// Starts a server and waits until it listens.
    pub fn start(args: &Args, command: Command, port: u16) -> Fallible<Self> {
        Self::spawn(args, command, port, false)
    }

    /// `piped`: its input and output are ours; otherwise it has no input, and the output goes to a file.
    fn spawn(args: &Args, mut command: Command, port: u16, piped: bool) -> Fallible<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        if connects(port) {
            return Err(format!("port {port} is taken, which {name} is to listen on: end what uses it").into());
        }
        let program = std::path::Path::new(&name).file_name().unwrap_or_default().to_string_lossy();
        let log = args.work.join(format!("{program}-{port}.log"));
        let (out, errors) = (File::create(&log)?, File::options().append(true).open(&log)?);
        if piped {
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
        } else {
            command.stdin(Stdio::null()).stdout(out);
        }
        let child = command.stderr(errors).spawn().map_err(|error| format!("{name}: {error}"))?;
        let mut running = Self { child, beside: None };
        let start = Instant::now();
        while !connects(port) {
            if let Some(status) = running.child.try_wait()? {
                return Err(format!("{name} ended with {status}; what it said is in {}", log.display()).into());
            }
            if start.elapsed() > PATIENCE {
                return Err(format!("{name} does not listen on {port} after {PATIENCE:?}; see {}", log.display()).into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(running)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn cpu(&self) -> Fallible<Duration> {
        Ok(process::cpu(self.pid())?)
    }

    pub fn resident_kib(&self) -> Fallible<f64> {
        Ok(process::resident_kib(self.pid())? as f64)
    }
}

fn connects(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// The null service, which tells how many decisions it has made.
pub struct Service {
    pub running: Running,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Service {
    pub fn start(args: &Args) -> Fallible<Self> {
        let mut running = Running::spawn(args, own("null-service")?, SERVICE, true)?;
        let (input, output) = (running.child.stdin.take(), running.child.stdout.take());
        let (Some(input), Some(output)) = (input, output) else { return Err("the service has no pipes".into()) };
        Ok(Self { running, input, output: BufReader::new(output) })
    }

    /// How many decisions it has made, and the bytes of a request.
    pub fn decisions(&mut self) -> Fallible<(u64, u64)> {
        writeln!(self.input)?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let (decisions, bytes) = line.trim().split_once(' ').ok_or("the service ended")?;
        Ok((decisions.parse()?, bytes.parse()?))
    }
}

/// A subcommand of this very program.
pub fn own(subcommand: &str) -> Fallible<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(subcommand);
    Ok(command)
}

/// The bridge with one of the configurations. `None`: as many workers as cores, its default.
pub fn bridge(args: &Args, protocol: &str, workers: Option<u32>) -> Fallible<Running> {
    Running::start(args, command(args, protocol, workers), SPOP)
}

/// The bridge with the stream and one worker, which records this share of traces and exports them.
pub fn traced(args: &Args, share: &str) -> Fallible<Running> {
    let collector = Running::start(args, own("null-collector")?, COLLECTOR)?;
    let mut command = command(args, "decide-stream", Some(1));
    command.env("OTEL_TRACES_SAMPLER", "parentbased_traceidratio").env("OTEL_TRACES_SAMPLER_ARG", share);
    command.env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", format!("http://127.0.0.1:{COLLECTOR}"));
    command.env("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc");
    let mut bridge = Running::start(args, command, SPOP)?;
    bridge.beside = Some(Box::new(collector));
    Ok(bridge)
}

fn command(args: &Args, protocol: &str, workers: Option<u32>) -> Command {
    let mut command = Command::new(&args.bridge);
    command.arg("run").arg("--config").arg(args.configs.join(format!("bridge-{protocol}.yaml")));
    if let Some(workers) = workers {
        command.args(["--workers", &workers.to_string()]);
    }
    command
}

pub fn straightforward(args: &Args) -> Fallible<Running> {
    Running::start(args, own("straightforward")?, SPOP)
}
