//! One NOTIFY in a processor's hands.

use std::any::Any;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use pin_project_lite::pin_project;
use tower::Service;

use crate::spop::{Actions, Notify};

pin_project! {
    /// Owns the processor's future; dropping or cancelling the job drops that. A panic stays inside.
    pub(super) struct Job<F> {
        pub(super) stream_id: u64,
        pub(super) frame_id: u64,
        pub(super) received_at: Instant,
        #[pin]
        state: State<F>,
        // Of the set that the job is in: what is cancelled must be asked once more.
        waker: Option<Waker>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F> {
        Running { #[pin] future: F },
        // The processor panicked when it was called: there is no future to ask.
        Panicked { panic: Option<String> },
        Cancelled,
    }
}

/// What became of a NOTIFY.
pub(super) struct Finished {
    pub(super) stream_id: u64,
    pub(super) frame_id: u64,
    pub(super) received_at: Instant,
    pub(super) result: Result<Actions, JobError>,
}

/// Why there are no actions.
#[derive(Debug)]
pub(super) enum JobError {
    /// The processor panicked, with this text.
    Panicked(String),
    /// HAProxy aborted the NOTIFY.
    Cancelled,
}

impl<F> Job<F>
where
    F: Future<Output = Result<Actions, Infallible>>,
{
    /// Calls the processor, which must be ready.
    pub(super) fn start<P>(processor: &mut P, notify: Notify) -> Self
    where
        P: Service<Notify, Response = Actions, Error = Infallible, Future = F>,
    {
        let (stream_id, frame_id, received_at) = (notify.stream_id, notify.frame_id, notify.received_at);
        // After a panic only this NOTIFY's result is used; what else the processor shares is its own matter.
        let state = match catch_unwind(AssertUnwindSafe(|| processor.call(notify))) {
            Ok(future) => State::Running { future },
            Err(panic) => State::Panicked { panic: Some(panic_text(panic.as_ref())) },
        };
        Self { stream_id, frame_id, received_at, state, waker: None }
    }

    /// Drops the processor's future; the job ends as [`JobError::Cancelled`].
    pub(super) fn cancel(self: Pin<&mut Self>) {
        let mut this = self.project();
        this.state.set(State::Cancelled);
        if let Some(waker) = this.waker.take() {
            waker.wake();
        }
    }
}

impl<F> Future for Job<F>
where
    F: Future<Output = Result<Actions, Infallible>>,
{
    type Output = Finished;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Finished> {
        let this = self.project();
        let result = match this.state.project() {
            StateProjection::Running { future } => match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
                Ok(Poll::Pending) => {
                    // The set gives a job the same waker for life.
                    this.waker.get_or_insert_with(|| cx.waker().clone());
                    return Poll::Pending;
                }
                Ok(Poll::Ready(Ok(actions))) => Ok(actions),
                Err(panic) => Err(JobError::Panicked(panic_text(panic.as_ref()))),
            },
            StateProjection::Panicked { panic } => Err(JobError::Panicked(panic.take().unwrap_or_default())),
            StateProjection::Cancelled => Err(JobError::Cancelled),
        };
        let (stream_id, frame_id, received_at) = (*this.stream_id, *this.frame_id, *this.received_at);
        Poll::Ready(Finished { stream_id, frame_id, received_at, result })
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a value that is no text".to_owned())
}
