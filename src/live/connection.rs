//! One connection as the rest of the gateway sees it: its outbox behind a lock, and whom to wake.
//!
//! The lock is held for the time of a push or a pop and never across an await. Whoever holds it takes no
//! other lock but those of [`super::answers`] and [`super::batches`].

use super::answers::Answers;
use super::batches::Batches;
use super::event::Event;
use super::lock;
use super::messages::{Refused, ServerMessage};
use super::outbox::{Budget, Loaded, Outbox, Outgoing, Tally};
use super::subscription::{Cut, SlotKey, Subscription, Terms};
use crate::apps::App;
use crate::apps::quota::Place;
use crate::auth::Session;
use crate::changelog::LogId;
use crate::metrics::Histogram;
use dataflows::change::CommitNumber;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, Semaphore};

/// How a connection is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The server stops: the client should come back
    GoingAway,
    /// The client or the network ended it
    Gone,
    /// An administrator keeps its address out
    Banned,
}

pub(crate) struct Connection {
    /// Whose subscriptions it carries
    pub(crate) app: Arc<App>,
    /// Its place among those of the app, given back with it
    pub(crate) place: OnceLock<Place>,
    pub(crate) address: IpAddr,
    /// Its number in the gateway
    pub(crate) number: OnceLock<usize>,
    state: Mutex<State>,
    /// Told when the outbox has room for another result, and when the connection ends
    room: Notify,
    /// One result at a time is read for a connection
    pub(crate) loads: Semaphore,
    /// What the queries of its subscriptions take, estimated
    query_bytes: Arc<AtomicUsize>,
    /// How long the oldest event of what is taken together has waited
    waited: Arc<Histogram>,
    batches: Arc<Batches>,
}

struct State {
    outbox: Outbox<Arc<Subscription>>,
    by_id: HashMap<Box<str>, SlotKey>,
    /// The transport, when it has sent all there was
    waker: Option<Waker>,
    /// The transport, while the client takes nothing: told of the end alone
    blocked: Option<Waker>,
    end: Option<End>,
    /// Whether nothing can be subscribed any more: it is about to end, and has its last words to take
    closed: bool,
    /// Whether a loader waits for room
    wants_room: bool,
    /// Whether everything was let go
    cleared: bool,
    /// When the transport last asked for something to send
    asked: Instant,
}

/// What the transport has to do, beside sending what it took; where there was nothing to take, it will be woken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work {
    /// Close
    pub(crate) end: Option<End>,
    /// [`super::Gateway::take_care`] of the connection
    pub(crate) care: bool,
    /// Whoever does not read the answers to what he sends is not listened to any more
    pub(crate) congested: bool,
    /// There is no subscription
    pub(crate) vacant: bool,
}

impl Connection {
    pub(crate) fn new(app: Arc<App>, address: IpAddr, budget: Budget, waited: Arc<Histogram>, batches: Arc<Batches>) -> Connection {
        let state = State {
            outbox: Outbox::new(budget),
            by_id: HashMap::new(),
            waker: None,
            blocked: None,
            end: None,
            closed: false,
            wants_room: false,
            cleared: false,
            asked: Instant::now(),
        };
        Connection {
            app,
            place: OnceLock::new(),
            address,
            number: OnceLock::new(),
            state: Mutex::new(state),
            room: Notify::new(),
            loads: Semaphore::new(1),
            query_bytes: Arc::default(),
            waited,
            batches,
        }
    }

    /// Places for the query of a subscription, of so many bytes. None: this one and those of the connection, or of its app, would have more
    /// than they may.
    pub(crate) fn subscribed(&self, bytes: usize, limit: usize) -> Option<[Place; 2]> {
        let limit = if limit == 0 { usize::MAX } else { limit };
        Some([Place::take(&self.query_bytes, bytes, limit)?, self.app.quota.subscribed(bytes)?])
    }

    /// Takes a subscription in. None: the connection has ended or is about to, or it or its app has as many as it may.
    pub(crate) fn open(
        self: &Arc<Self>,
        id: &str,
        quoted: Box<str>,
        terms: Terms,
        session: &Session,
        query: [Place; 2],
        limit: usize,
    ) -> Option<Arc<Subscription>> {
        let mut state = lock(&self.state);
        if state.end.is_some() || state.closed || state.outbox.subscriptions() >= limit {
            return None;
        }
        let place = self.app.quota.subscription()?;
        let subscription = state.outbox.open(&quoted.clone(), terms, |slot| {
            let (connection, membership) = (self.clone(), OnceLock::new());
            let (caller, of_token) = (session.caller.clone(), session.claims.is_some());
            Arc::new(Subscription {
                id: quoted,
                terms,
                caller,
                session: session.hash,
                of_token,
                slot,
                connection,
                membership,
                left: Notify::new(),
                _place: place,
                _query: query,
            })
        });
        state.by_id.insert(id.into(), subscription.slot);
        Some(subscription)
    }

    /// Lets the subscription with this id go.
    pub(crate) fn close_id(&self, id: &str) -> Option<Arc<Subscription>> {
        let mut state = lock(&self.state);
        let slot = state.by_id.remove(id)?;
        state.outbox.close(slot)
    }

    /// A delta for a subscription. Never waits.
    /// `held` is asked under the lock: were it let go between the question and the push, nobody would let it go again.
    pub(crate) fn deliver(&self, slot: SlotKey, event: &Arc<Event>, held: impl FnOnce() -> bool) {
        self.change(|outbox| outbox.deliver(slot, event, held()));
    }

    pub(crate) fn begin_load(&self, slot: SlotKey) -> bool {
        lock(&self.state).outbox.begin_load(slot)
    }

    pub(crate) fn reads(&self, slot: SlotKey, commit: CommitNumber) {
        lock(&self.state).outbox.reads(slot, commit);
    }

    pub(crate) fn loaded(
        &self,
        subscription: &Subscription,
        cut: Cut,
        through: CommitNumber,
        result: Option<ServerMessage>,
        answers: &Answers,
    ) -> Loaded {
        let (slot, session) = (subscription.slot, subscription.session);
        self.change(|outbox| outbox.loaded(slot, cut, through, result, |event| self.is_held(event, session, answers)))
    }

    pub(crate) fn announce(&self, slot: SlotKey, message: ServerMessage) {
        self.change(|outbox| outbox.announce(slot, message));
    }

    pub(crate) fn catch_up(&self, slot: SlotKey, events: Vec<Arc<Event>>) {
        self.change(|outbox| events.into_iter().for_each(|event| outbox.catch_up(slot, event)));
    }

    pub(crate) fn settle(&self, slot: SlotKey, passed: &Cut) {
        lock(&self.state).outbox.settle(slot, passed);
    }

    /// An answer is out, or a batch complete: sends what waited for it.
    pub(crate) fn release(&self, subscription: &Subscription, answers: &Answers) {
        let (slot, session) = (subscription.slot, subscription.session);
        self.change(|outbox| outbox.release(slot, |event| self.is_held(event, session, answers)));
    }

    /// Whether an event must not be sent yet: its writer has not got his answer, or its batch is not complete.
    fn is_held(&self, event: &Event, session: u64, answers: &Answers) -> bool {
        self.batches.is_open(&event.change) || answers.is_open(&event.change.writer, session)
    }

    pub(crate) fn reply(&self, message: ServerMessage) {
        self.change(|outbox| outbox.reply(message));
    }

    /// Ends a subscription with an error.
    pub(crate) fn fail(&self, slot: SlotKey, refused: &Refused) -> Option<Arc<Subscription>> {
        let subscription = self.change(|outbox| outbox.fail(slot, refused));
        self.forget_ids();
        subscription
    }

    /// What a subscription has is out of date if it was read before this commit; one that a fresh result does not help ends
    /// with this error.
    pub(crate) fn renew(&self, slot: SlotKey, commit: CommitNumber, refused: &Refused) {
        self.change(|outbox| outbox.renew(slot, commit, refused));
    }

    pub(crate) fn outdate_all(&self) {
        self.change(|outbox| outbox.outdate_all());
    }

    pub(crate) fn fail_all(&self, refused: &Refused) {
        self.change(|outbox| outbox.fail_all(refused));
    }

    /// Ends all subscriptions with this error and takes no more.
    pub(crate) fn close(&self, refused: &Refused) {
        lock(&self.state).closed = true;
        self.fail_all(refused);
    }

    /// Whether nothing can be subscribed any more.
    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.state).closed
    }

    pub(crate) fn tell_positions(&self, log: LogId, frontier: CommitNumber) {
        self.change(|outbox| outbox.tell_positions(log, frontier));
    }

    /// Changes the outbox and wakes the transport if there is something for it.
    fn change<T>(&self, change: impl FnOnce(&mut Outbox<Arc<Subscription>>) -> T) -> T {
        let (result, waker) = {
            let mut state = lock(&self.state);
            let result = change(&mut state.outbox);
            let work = !state.outbox.is_empty() || state.outbox.needs_care();
            (result, if work { state.waker.take() } else { None })
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        result
    }

    /// Takes what is to be sent, up to so many bytes; if there is nothing, the task is woken when there is.
    pub(crate) fn take(&self, batch: &mut Vec<Outgoing<Arc<Subscription>>>, bytes: usize, context: &Context<'_>) -> Work {
        let mut state = lock(&self.state);
        state.asked = Instant::now();
        let mut taken = 0;
        while taken < bytes
            && let Some(outgoing) = state.outbox.pop()
        {
            taken += match &outgoing {
                Outgoing::Event(_, event) => {
                    if taken == 0 {
                        self.waited.observe(event.made.elapsed());
                    }
                    event.size()
                }
                Outgoing::Message(message) => message.text.len(),
            };
            batch.push(outgoing);
        }
        if state.wants_room && state.outbox.has_room() {
            state.wants_room = false;
            self.room.notify_waiters();
        }
        if batch.is_empty() && !state.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            state.waker = Some(context.waker().clone());
        }
        let State { outbox, end, .. } = &*state;
        Work { end: *end, care: outbox.needs_care(), congested: outbox.is_congested(), vacant: outbox.subscriptions() == 0 }
    }

    /// For a transport whose client takes nothing at the moment: what it has to do, and to be told if it is to end later.
    pub(crate) fn blocked(&self, context: &Context<'_>) -> Work {
        let mut state = lock(&self.state);
        if state.end.is_none() && !state.blocked.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            state.blocked = Some(context.waker().clone());
        }
        let State { outbox, end, .. } = &*state;
        Work { end: *end, care: outbox.has_ended(), congested: outbox.is_congested(), vacant: outbox.subscriptions() == 0 }
    }

    /// Whether the subscription has not been let go.
    pub(crate) fn holds(&self, slot: SlotKey) -> bool {
        lock(&self.state).outbox.holds(slot)
    }

    /// Subscriptions that ended from within (to be let go of), and those to be loaded afresh.
    pub(crate) fn take_care(&self) -> (Vec<Arc<Subscription>>, Vec<Arc<Subscription>>) {
        let mut state = lock(&self.state);
        if !state.outbox.needs_care() {
            return (Vec::new(), Vec::new());
        }
        let (ended, stale) = (state.outbox.take_ended(), state.outbox.take_stale());
        drop(state);
        if !ended.is_empty() {
            self.forget_ids();
        }
        (ended, stale)
    }

    /// Ids whose subscription ended from within.
    fn forget_ids(&self) {
        let mut state = lock(&self.state);
        let State { outbox, by_id, .. } = &mut *state;
        by_id.retain(|_, slot| outbox.holds(*slot));
    }

    /// Waits until another result may be read for this client. False: the connection has ended.
    pub(crate) async fn room(&self) -> bool {
        loop {
            // Made before the look, so that no call in between is missed.
            let told = self.room.notified();
            {
                let mut state = lock(&self.state);
                if state.end.is_some() {
                    return false;
                }
                if state.outbox.has_room() {
                    return true;
                }
                state.wants_room = true;
            }
            told.await;
        }
    }

    /// Asks the transport to end.
    pub(crate) fn ask_to_end(&self, end: End) {
        let wakers = {
            let mut state = lock(&self.state);
            state.end.get_or_insert(end);
            [state.waker.take(), state.blocked.take()]
        };
        self.room.notify_waiters();
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// The transport has ended: lets all subscriptions go. None: done already.
    pub(crate) fn clear(&self) -> Option<(Vec<Arc<Subscription>>, Tally)> {
        let result = {
            let mut state = lock(&self.state);
            state.end.get_or_insert(End::Gone);
            if std::mem::replace(&mut state.cleared, true) {
                return None;
            }
            state.by_id = HashMap::new();
            (state.outbox.clear(), state.outbox.tally())
        };
        self.room.notify_waiters();
        Some(result)
    }

    pub(crate) fn has_ended(&self) -> bool {
        lock(&self.state).end.is_some()
    }

    /// How long ago the transport last asked for something to send.
    pub(crate) fn idle_for(&self) -> Duration {
        lock(&self.state).asked.elapsed()
    }

    /// (subscriptions, events and bytes that wait, what was counted)
    pub(crate) fn statistics(&self) -> (usize, (usize, usize), Tally) {
        let state = lock(&self.state);
        (state.outbox.subscriptions(), state.outbox.depth(), state.outbox.tally())
    }
}
