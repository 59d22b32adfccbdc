//! Who may be connected: always a few who have not asked for anything yet, and some who have.
//!
//! However many come, each newcomer gets a place and thereby the time to ask; of those who have said nothing the one goes that has had
//! the longest time for it. Who has asked never makes way for who has not, and `/live` and `/ready` are answered wherever they are
//! asked: a probe needs no place but a newcomer's.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Connections that have not asked yet. At 20,000 newcomers a second each has three milliseconds for what it sends at once.
const MOST_NEW: usize = 64;
/// Connections that have. A scraper or two and a person have one each; each costs some 32 KiB at most, and what it is sent.
const MOST_ASKED: usize = 64;

/// The connections of an admin port, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Places(Mutex<Vec<Guest>>);

#[derive(Debug)]
struct Guest {
    standing: Standing,
    leave: Arc<Notify>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It has not asked for anything.
    New,
    /// It has, and is asking nothing now.
    Idle,
    /// It waits for an answer.
    Busy,
}

/// A connection's place. Dropping it frees it.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    leave: Arc<Notify>,
}

impl Places {
    /// A place for a newcomer, for which the oldest that has not asked has to go if there are too many.
    pub(crate) fn enter(self: &Arc<Self>) -> Place {
        let leave = Arc::new(Notify::new());
        let mut guests = self.guests();
        if count(&guests, |standing| standing == Standing::New) >= MOST_NEW {
            evict(&mut guests, Standing::New);
        }
        guests.push(Guest { standing: Standing::New, leave: Arc::clone(&leave) });
        Place { places: Arc::clone(self), leave }
    }

    /// Has the oldest go that has not asked, and says whether there is one.
    pub(crate) fn make_room(&self) -> bool {
        evict(&mut self.guests(), Standing::New)
    }

    fn guests(&self) -> MutexGuard<'_, Vec<Guest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Completes when the connection has to make way for others.
    pub(super) async fn has_to_go(&self) {
        self.leave.notified().await;
    }

    /// The connection asks for something. `false`: there are too many who have asked before, and all of them wait for answers.
    pub(super) fn ask(&self) -> bool {
        let mut guests = self.places.guests();
        let is_new = guests.iter().any(|guest| self.is(guest) && guest.standing == Standing::New);
        let is_full = count(&guests, |standing| standing != Standing::New) >= MOST_ASKED;
        if is_new && is_full && !evict(&mut guests, Standing::Idle) {
            return false;
        }
        self.set(&mut guests, Standing::Busy);
        true
    }

    /// It has its answer.
    pub(super) fn answered(&self) {
        self.set(&mut self.places.guests(), Standing::Idle);
    }

    fn set(&self, guests: &mut [Guest], standing: Standing) {
        guests.iter_mut().filter(|guest| self.is(guest)).for_each(|guest| guest.standing = standing);
    }

    fn is(&self, guest: &Guest) -> bool {
        Arc::ptr_eq(&guest.leave, &self.leave)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.guests().retain(|guest| !Arc::ptr_eq(&guest.leave, &self.leave));
    }
}

fn count(guests: &[Guest], which: impl Fn(Standing) -> bool) -> usize {
    guests.iter().filter(|guest| which(guest.standing)).count()
}

fn evict(guests: &mut Vec<Guest>, standing: Standing) -> bool {
    let oldest = guests.iter().position(|guest| guest.standing == standing);
    oldest.map(|position| guests.remove(position).leave.notify_one()).is_some()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn goes(place: &Place) -> bool {
        place.has_to_go().now_or_never().is_some()
    }

    #[test]
    fn newcomers_push_out_the_oldest_newcomer_and_never_who_has_asked() {
        let places = Arc::new(Places::default());
        let scraper = places.enter();
        assert!(scraper.ask());
        scraper.answered();
        let newcomers: Vec<_> = (0..MOST_NEW + 5).map(|_| places.enter()).collect();
        assert_eq!(newcomers.iter().map(goes).collect::<Vec<_>>(), (0..MOST_NEW + 5).map(|index| index < 5).collect::<Vec<_>>());
        assert!(!goes(&scraper));
    }

    #[test]
    fn who_asks_pushes_out_who_has_asked_before_but_nobody_who_waits() {
        let places = Arc::new(Places::default());
        let asked: Vec<_> = (0..MOST_ASKED).map(|_| places.enter()).inspect(|place| assert!(place.ask())).collect();
        let late = places.enter();
        assert!(!late.ask(), "all wait");
        asked[7].answered();
        assert!(late.ask());
        assert_eq!(asked.iter().position(goes), Some(7));
        drop(asked);
        assert!(!places.make_room(), "nobody is new");
        assert!(places.enter().ask());
    }
}
