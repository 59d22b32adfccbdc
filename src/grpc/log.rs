//! What operators read about an endpoint.

use std::sync::Arc;

use tonic::{Code, Status};

use super::error::describe;
use crate::telemetry::event::{EndpointDown, EndpointUp, StreamRefused};

/// Tells operators when an endpoint comes and goes, once each.
#[derive(Debug)]
pub(super) struct Log {
    backend: Arc<str>,
    /// What was said last.
    said: Option<Said>,
    said_refused: bool,
    /// One worker speaks for the process: all see the same services come and go.
    speaks: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Up,
    Down,
}

impl Log {
    pub(super) fn new(backend: &Arc<str>, speaks: bool) -> Self {
        Self { backend: Arc::clone(backend), said: None, said_refused: false, speaks }
    }

    /// After a failure good news waits until the connection has proved itself.
    pub(super) fn connected(&mut self, endpoint: &str) {
        if self.said.is_none() {
            self.stable(endpoint);
        }
    }

    pub(super) fn stable(&mut self, endpoint: &str) {
        if self.is_news(Said::Up) {
            EndpointUp { backend: &self.backend, endpoint }.record();
        }
    }

    /// Decisions go to `endpoint` by calls.
    pub(super) fn refused(&mut self, endpoint: &str, status: &Status) {
        if self.speaks && !std::mem::replace(&mut self.said_refused, true) {
            let is_missing = status.code() == Code::Unimplemented;
            StreamRefused { backend: &self.backend, endpoint, is_missing, status: &describe(status) }.record();
        }
    }

    pub(super) fn failed(&mut self, endpoint: &str, error: &str) {
        if self.is_news(Said::Down) {
            EndpointDown { backend: &self.backend, endpoint, error: &error }.record();
        }
    }

    fn is_news(&mut self, what: Said) -> bool {
        self.speaks && self.said.replace(what) != Some(what)
    }
}
