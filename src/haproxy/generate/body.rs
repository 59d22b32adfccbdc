//! Bodies: which of them HAProxy waits for, and how much of them it sends.

use super::GenerateError;
use super::plan::{Ask, Plan};
use crate::config::{Condition, Event, Moment};

/// The message whose body is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Request,
    Response,
}

/// Refuses a body that is not there when it is looked at, and a wait that would hold up requests that are not asked about.
pub(super) fn check(ask: Ask<'_>) -> Result<(), GenerateError> {
    let message = || ask.messages().join(", ");
    let sides = || ask.sides();
    if sides().any(|side| side == Side::Response) {
        return Err(GenerateError::ResponseBody { message: message() });
    }
    let Moment::Event(event) = ask.haproxy.moment else { return Ok(()) };
    if ask.needs_body() && !ask.is_http_request() {
        return Err(GenerateError::BodyNotThere { message: message(), event });
    }
    match ask.waits_for().filter(|_| ask.needs_body()) {
        Some(condition) => Err(GenerateError::EventWaitsForAll { message: message(), condition }),
        None => Ok(()),
    }
}

impl Ask<'_> {
    /// Whether it sends anything of a request's body.
    pub(super) fn sends_body(self) -> bool {
        self.haproxy.args.iter().any(|arg| side(sample(arg)) == Some(Side::Request))
    }

    /// Whether it sends something of the body, or only looks at it to know whether to ask: even the length of a chunked one is
    /// known only once it has arrived.
    pub(super) fn needs_body(self) -> bool {
        self.sides().any(|side| side == Side::Request)
    }

    /// The requests whose bodies are waited for, `None` being all: those that the condition selects, as far as it can be told without
    /// the body.
    pub(super) fn waits_for(self) -> Option<Condition> {
        self.haproxy.condition.as_ref()?.without(|term| side(&term.criterion()).is_some())
    }

    /// Whether requests are refused for what the service does not see of their bodies. A client decides how long a body is, so that this
    /// holds for a route that fails open, too.
    pub(super) fn refuses_unseen(self) -> bool {
        self.is_http_request() && self.haproxy.verdict.is_some() && self.sends_body()
    }

    /// Whether its rules are `http-request` rules.
    pub(super) fn is_http_request(self) -> bool {
        match self.haproxy.moment {
            Moment::Group(_) => true,
            Moment::Event(event) => matches!(event, Event::OnFrontendHttpRequest | Event::OnBackendHttpRequest),
        }
    }

    /// The args, with bodies cut to `bytes`.
    pub(super) fn args(self, bytes: Option<u32>) -> Vec<String> {
        let cut = |arg: &String| match (body(arg), bytes) {
            (Some(body), Some(bytes)) if is_whole_body(arg) => arg.replacen(body, &format!("{body},bytes(0,{bytes})"), 1),
            _ => arg.clone(),
        };
        self.haproxy.args.iter().map(cut).collect()
    }

    fn sides(&self) -> impl Iterator<Item = Side> {
        let args = self.haproxy.args.iter().map(|arg| side(sample(arg)));
        let criteria = self.haproxy.condition.iter().flat_map(Condition::terms).map(|term| side(&term.criterion()));
        args.chain(criteria).flatten()
    }
}

impl Plan<'_> {
    /// The number of bytes of a body that go into the messages of `ask`, if an arg has the body and its operator has not cut it.
    ///
    /// All messages of a moment share a frame.
    pub(super) fn cut(&self, ask: Ask<'_>) -> Option<u32> {
        let bodies = |ask: &Ask<'_>| {
            ask.haproxy.args.iter().filter(|arg| is_whole_body(arg)).count().saturating_mul(ask.route.messages.len())
        };
        if bodies(&ask) == 0 {
            return None;
        }
        let together: usize = self.together(ask).map(|other| bodies(&other)).sum();
        let room = self.frame.saturating_sub(FRAME_HEAD + OTHER_ARGS);
        Some(room / u32::try_from(together).unwrap_or(u32::MAX).max(1))
    }
}

/// The sample of an arg.
fn sample(arg: &str) -> &str {
    arg.split_once('=').map_or(arg, |(_, sample)| sample)
}

/// The side whose body a sample looks at, by `req.body`, `req.body_size` and the like.
fn side(sample: &str) -> Option<Side> {
    let sample = sample.trim_start_matches(['"', '\'']);
    match () {
        () if sample.starts_with("req.body") => Some(Side::Request),
        () if sample.starts_with("res.body") => Some(Side::Response),
        () => None,
    }
}

/// The fetch of an arg that is a request's body and not something about it.
fn body(arg: &str) -> Option<&'static str> {
    let fetch = sample(arg).split(',').next().unwrap_or_default();
    (fetch == REQUEST_BODY).then_some(REQUEST_BODY)
}

/// Whether all of a body would be sent. What makes something short of it (a digest, a length, a field) needs all of it.
fn is_whole_body(arg: &str) -> bool {
    body(arg).is_some_and(|body| {
        let converters = arg.split_once(body).map_or("", |(_, converters)| converters);
        converters.split(',').skip(1).all(|converter| ["lower", "upper", "url_dec"].contains(&converter))
    })
}

/// A shorter beginning of a body tells nothing.
pub(super) const LEAST_BODY: u32 = 1_024;

const REQUEST_BODY: &str = "req.body";

/// Head of a NOTIFY, as HAProxy reckons it.
const FRAME_HEAD: u32 = 32;

/// Room for the other args of a moment: a long URL and a few headers.
const OTHER_ARGS: u32 = 4_348;
