//! Work that may block, on a thread beside those that others wait for.
//!
//! A file system may be on another machine that does not answer, a user database too, and the reader of a socket may sleep: what asks them
//! is blocked for as long as they like. Neither the control thread nor a worker asks them itself.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How long one thing that is asked may take to answer: local file systems need milliseconds, NFS that recovers needs seconds.
const LIMIT: Duration = Duration::from_secs(10);

/// Why there is no result of a job. The bridge goes on without it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// The operating system has not answered.
    #[error("{0}: no answer for {limit} s, and nothing waits for it any longer. See whether the file system (NFS, FUSE) or the service behind it hangs", limit = LIMIT.as_secs())]
    Silent(String),
    /// The job panicked.
    #[error("internal error, please report it")]
    Panicked,
}

/// Does jobs on a thread aside, one at a time: one that hangs is the only one that does.
#[derive(Debug, Default)]
pub(crate) struct Aside {
    under_way: Option<UnderWay>,
}

#[derive(Debug)]
struct UnderWay {
    ended: JoinHandle<()>,
    asked: Asked,
}

/// Who is being asked, and since when.
type Asked = Arc<Mutex<Option<(String, Instant)>>>;

thread_local! {
    static ASKED: RefCell<Option<Asked>> = const { RefCell::new(None) };
}

impl Aside {
    pub(crate) const fn new() -> Self {
        Self { under_way: None }
    }

    /// Does `job`, and waits for as long as it gets answers: whoever it asks it names by [`asking`]. If it is not waited for it goes on all
    /// the same. Must be called within a tokio runtime, which must not wait for it when it ends.
    ///
    /// # Errors
    /// When there is no answer, to this job or to the one before.
    pub(crate) async fn run<T: Send + 'static>(&mut self, job: impl FnOnce() -> T + Send + 'static) -> Result<T, Unanswered> {
        self.answered().await?;
        let (sender, mut result) = oneshot::channel();
        let asked = Asked::default();
        let of_thread = Arc::clone(&asked);
        let ended = tokio::task::spawn_blocking(move || {
            ASKED.set(Some(of_thread));
            let _ = sender.send(job());
        });
        self.under_way = Some(UnderWay { ended, asked });
        self.answered().await?;
        result.try_recv().map_err(|_| Unanswered::Panicked)
    }

    /// Waits until nothing is under way, however long that takes.
    pub(crate) async fn free(&mut self) {
        while self.answered().await.is_err() {
            if let Some(UnderWay { ended, .. }) = &mut self.under_way {
                let _ = ended.await;
                self.under_way = None;
            }
        }
    }

    async fn answered(&mut self) -> Result<(), Unanswered> {
        while let Some(UnderWay { ended, asked }) = &mut self.under_way {
            let (who, left) = match &*asked.lock().unwrap_or_else(PoisonError::into_inner) {
                Some((who, since)) => (who.clone(), LIMIT.saturating_sub(since.elapsed())),
                // It computes.
                None => (String::new(), LIMIT),
            };
            if left.is_zero() && !ended.is_finished() {
                return Err(Unanswered::Silent(who));
            }
            if tokio::time::timeout(left, ended).await.is_ok() {
                self.under_way = None;
            }
        }
        Ok(())
    }
}

/// Says who is asked now, until dropped. Outside of a job it does nothing.
pub(crate) struct Asking(());

/// Says that `who` is asked now, and again each time that there was an answer.
pub(crate) fn asking(who: impl Into<String>) -> Asking {
    set(Some((who.into(), Instant::now())));
    Asking(())
}

impl Drop for Asking {
    fn drop(&mut self) {
        set(None);
    }
}

fn set(who: Option<(String, Instant)>) {
    ASKED.with_borrow(|asked| {
        if let Some(asked) = asked {
            *asked.lock().unwrap_or_else(PoisonError::into_inner) = who;
        }
    });
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_job_has_its_result() {
        let mut aside = Aside::new();
        assert_eq!(aside.run(|| 1).await, Ok(1));
        assert_eq!(aside.run(|| 2).await, Ok(2));
    }

    #[tokio::test]
    async fn a_panic_costs_the_job() {
        let mut aside = Aside::new();
        assert_eq!(aside.run(|| -> u8 { panic!("on purpose") }).await, Err(Unanswered::Panicked));
        assert_eq!(aside.run(|| 2).await, Ok(2));
    }

    /// One job hangs, and no others are begun until it ends.
    #[tokio::test]
    async fn silence_is_told_and_costs_one_thread() {
        let mut aside = Aside::new();
        let (end, ended) = mpsc::channel::<()>();
        let long_ago = Instant::now().checked_sub(LIMIT).unwrap();
        let job = move || {
            let _asking = asking("the moon");
            set(Some(("the moon".to_owned(), long_ago)));
            let _ = ended.recv();
        };
        // Left alone, as a signal does it, it goes on.
        assert!(
            tokio::time::timeout(Duration::from_millis(100), aside.run(job)).await.is_ok_and(|result| result.is_err())
                || aside.under_way.is_some()
        );
        let silent = Err(Unanswered::Silent("the moon".to_owned()));
        assert_eq!(aside.run(|| 1).await, silent);
        assert_eq!(aside.run(|| 1).await, silent);
        drop(end);
        aside.free().await;
        assert_eq!(aside.run(|| 2).await, Ok(2));
    }
}
