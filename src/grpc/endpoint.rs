//! One endpoint as one worker sees it: its channels, its load, its record. One channel is enough for a stream of decisions; calls get more
//! when the service lets no more of them on the connections that there are (gRFC A105).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::channel::{Carrier, Channel, State};
use super::context::Context;
use super::load::Load;
use super::members::{Address, Health};
use super::outlier::Outlier;
use super::target::Target;

#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) target: Arc<Target>,
    pub(super) load: Load,
    pub(super) outlier: Outlier,
    health: Mutex<Health>,
    channels: Mutex<Vec<Arc<Channel>>>,
}

/// What an endpoint has to offer for a decision.
#[derive(Debug)]
pub(super) enum Offer {
    Ready(Carrier),
    /// Its connection is going away.
    Draining(Carrier),
    Connecting,
    Failed(Arc<str>),
}

impl Endpoint {
    /// Starts to connect. It is expected to answer within `expected`, until it has.
    pub(super) fn new(address: &Address, expected: Duration, context: &Arc<Context>) -> Arc<Self> {
        let target = Arc::new(Target::new(address, &context.backend));
        let first = context.open(&target, context.speaks);
        Arc::new(Self {
            target,
            load: Load::new(Instant::now(), expected),
            outlier: Outlier::default(),
            health: Mutex::new(Health::Unknown),
            channels: Mutex::new(vec![first]),
        })
    }

    pub(super) fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_health(&self, health: &Health) {
        let before = std::mem::replace(&mut *self.health(), health.clone());
        if *health == Health::Serving && before != Health::Serving {
            self.channels().iter().for_each(|channel| channel.hurry());
        }
    }

    /// The channel to use; opens another one if calls need it.
    pub(super) fn offer(&self, context: &Arc<Context>) -> Offer {
        let mut channels = self.channels();
        let mut best: Option<(usize, Offer)> = None;
        let mut others = Offer::Connecting;
        for (position, channel) in channels.iter().enumerate() {
            let offer = channel.offer();
            match offer.room() {
                Some(Room::Free) => return offer,
                Some(Room::Full(calls)) if best.as_ref().is_none_or(|(least, _)| calls < *least) => best = Some((calls, offer)),
                Some(Room::Full(_)) => {}
                None if position == 0 => others = offer,
                None => {}
            }
        }
        let Some((_, best)) = best else { return others };
        let connecting = channels.iter().any(|channel| matches!(channel.offer(), Offer::Connecting));
        if !connecting && channels.len() < context.backend.config.max_connections {
            channels.push(context.open(&self.target, false));
        }
        // HTTP/2 keeps the call until there is room for it.
        best
    }

    /// Whether decisions can be sent there.
    pub(super) fn is_usable(&self) -> bool {
        !matches!(*self.health(), Health::NotServing(_)) && self.channels().iter().any(|channel| channel.offer().room().is_some())
    }

    pub(super) fn is_connecting(&self) -> bool {
        self.channels().first().is_some_and(|channel| matches!(*channel.state(), State::Connecting))
    }

    /// Closes all but the first of the channels that have nothing to do.
    pub(super) fn close_idle(&self) {
        let mut position = 0;
        self.channels().retain(|channel| {
            position += 1;
            let idle = matches!(channel.offer(), Offer::Ready(Carrier::Calls(_, calls)) if calls.calls() == 0);
            let failed = matches!(channel.offer(), Offer::Failed(_));
            let keep = position == 1 || !(idle || failed);
            if !keep {
                channel.retire();
            }
            keep
        });
    }

    /// Takes no more decisions; those under way come to their end.
    pub(super) fn retire(&self) {
        self.channels().iter().for_each(|channel| channel.retire());
    }

    pub(super) fn channels(&self) -> MutexGuard<'_, Vec<Arc<Channel>>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What fits on a connection.
enum Room {
    Free,
    /// As many calls as the service allows are on it.
    Full(usize),
}

impl Offer {
    fn room(&self) -> Option<Room> {
        match self {
            Self::Ready(carrier) | Self::Draining(carrier) => Some(match carrier {
                Carrier::Calls(sender, calls) if calls.calls() >= sender.current_max_send_streams() => Room::Full(calls.calls()),
                _ => Room::Free,
            }),
            Self::Connecting | Self::Failed(_) => None,
        }
    }
}

impl Channel {
    fn offer(&self) -> Offer {
        match &*self.state() {
            State::Ready(carrier) if carrier.is_open() => Offer::Ready(carrier.clone()),
            State::Draining(carrier) if carrier.is_open() => Offer::Draining(carrier.clone()),
            // Over, but its task has not had its turn.
            State::Ready(_) | State::Draining(_) | State::Connecting => Offer::Connecting,
            State::Failed(reason) => Offer::Failed(Arc::clone(reason)),
        }
    }
}
