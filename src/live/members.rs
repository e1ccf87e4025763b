//! Those who wait for the deltas of one standing query.
//!
//! A delta may have ten thousand of them to go to. Whoever goes through them takes a look that costs a few
//! pointers and holds no lock, so joining and leaving never wait for it: they copy the one chunk they change if
//! somebody is looking at it. A look that misses who has just joined misses nothing: his snapshot is read
//! later and has that change in it.

use super::subscription::Subscription;
use smallvec::SmallVec;
use std::sync::Arc;

/// Members that are copied at most by one who joins or leaves.
const CHUNK: usize = 128;

type Chunk = Vec<Option<Arc<Subscription>>>;

/// The members at one moment.
pub(crate) type Look = SmallVec<[Arc<Chunk>; 1]>;

#[derive(Default)]
pub(crate) struct Members {
    chunks: Look,
    /// Places that are free again
    free: Vec<usize>,
    count: usize,
}

impl Members {
    /// Takes one in; answers with the place.
    pub(crate) fn insert(&mut self, subscription: Arc<Subscription>) -> usize {
        self.count += 1;
        if let Some(place) = self.free.pop()
            && let Some(free) = self.chunks.get_mut(place / CHUNK).and_then(|chunk| Arc::make_mut(chunk).get_mut(place % CHUNK))
        {
            *free = Some(subscription);
            return place;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            // Most queries have one member.
            self.chunks.push(Arc::new(Vec::with_capacity(1)));
        }
        let full = (self.chunks.len() - 1) * CHUNK;
        let Some(last) = self.chunks.last_mut() else { return full };
        let chunk = Arc::make_mut(last);
        chunk.push(Some(subscription));
        full + chunk.len() - 1
    }

    /// Takes this one out. False: it is not there.
    pub(crate) fn remove(&mut self, place: usize, subscription: &Subscription) -> bool {
        let is_there = |chunk: &Arc<Chunk>| {
            chunk.get(place % CHUNK).and_then(Option::as_deref).is_some_and(|member| std::ptr::eq(member, subscription))
        };
        let Some(chunk) = self.chunks.get_mut(place / CHUNK).filter(|chunk| is_there(chunk)) else { return false };
        Arc::make_mut(chunk)[place % CHUNK] = None;
        self.free.push(place);
        self.count -= 1;
        true
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All there are now.
    pub(crate) fn look(&self) -> Look {
        self.chunks.clone()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::connection::Connection;
    use super::super::messages::EventSelection;
    use super::super::outbox::Budget;
    use super::super::subscription::Terms;
    use super::*;
    use crate::auth::Session;
    use std::net::{IpAddr, Ipv4Addr};

    #[test]
    fn places_are_used_again_and_a_look_stays_as_it_was() {
        let connection = Arc::new(Connection::new(
            crate::apps::Apps::default().default_app().clone(),
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            Budget { events: 1, bytes: 1 },
            Arc::default(),
            Arc::default(),
        ));
        let terms = Terms { selection: EventSelection::ALL, initial: true, refreshes: true, extensions: false };
        let session = Session::anonymous(connection.address);
        let open = |n: usize| {
            connection.open(&n.to_string(), n.to_string().into(), terms, &session, connection.subscribed(1, 0).unwrap(), 1000).unwrap()
        };
        let all: Vec<_> = (0..3 * CHUNK).map(open).collect();
        let mut members = Members::default();
        let places: Vec<_> = all.iter().map(|one| members.insert(one.clone())).collect();
        assert_eq!(places, (0..3 * CHUNK).collect::<Vec<_>>());
        let count = |look: &Look| look.iter().flat_map(|chunk| chunk.iter()).flatten().count();
        let look = members.look();
        for (place, one) in places.iter().zip(&all).step_by(2) {
            assert!(members.remove(*place, one));
            assert!(!members.remove(*place, one));
        }
        assert_eq!((count(&look), count(&members.look())), (3 * CHUNK, 3 * CHUNK / 2));
        for one in all.iter().step_by(2) {
            let place = members.insert(one.clone());
            assert!(place < 3 * CHUNK);
        }
        assert_eq!(count(&members.look()), 3 * CHUNK);
        assert!(!members.is_empty());
        connection.clear();
    }
}
