//! Who has subscribed to what: names (of channels, of patterns, or of shard channels), each with its subscribers.
//!
//! A subscription stands in two lists, its name's and its link's, and each place tells the other: it goes from both in
//! O(1), so that a client of many channels and a channel of many clients are left at no more than a step for each.
//! Whether one exists is looked for in the shorter list.
//!
//! Invariants: a name is present only while somebody has subscribed to it; a link stands once under a name;
//! `of_link[l.link][l.at]` tells of the listener `l`, and `topics[s.topic].listeners[s.at]` of the subscription `s`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use slab::Slab;

use super::LinkId;

/// Lists keep room for so many entries, however few they have.
const KEPT_MIN: usize = 16;

/// The subscriptions of one kind.
#[derive(Default)]
pub struct Subscriptions {
    by_name: HashMap<Arc<[u8]>, usize>,
    topics: Slab<Topic>,
    /// The topics in order of their creation.
    order: BTreeMap<u64, usize>,
    /// The number of the next topic.
    next: u64,
    of_link: Vec<Vec<Subscription>>,
}

/// A name that somebody has subscribed to.
struct Topic {
    name: Arc<[u8]>,
    /// Its place in `order`.
    number: u64,
    /// In order of subscription, as long as nobody leaves: the last one then takes the place.
    listeners: Vec<Listener>,
}

/// One who listens, in the list of a topic.
#[derive(Clone, Copy)]
struct Listener {
    link: LinkId,
    /// Index in the link's list.
    at: usize,
}

/// One to whom is listened, in the list of a link.
#[derive(Clone, Copy)]
struct Subscription {
    topic: usize,
    /// Index among the topic's listeners.
    at: usize,
}

impl Subscriptions {
    /// Adds a subscription; false when it is there already. Amortised O(1), but for the look whether it is.
    pub fn subscribe(&mut self, link: LinkId, name: &[u8]) -> bool {
        if link >= self.of_link.len() {
            self.of_link.resize_with(link + 1, Vec::new);
        }
        let topic = match self.by_name.get(name) {
            Some(&topic) => topic,
            None => self.create(name),
        };
        if self.find(link, topic).is_some() {
            return false;
        }
        let (listeners, own) = (&mut self.topics[topic].listeners, &mut self.of_link[link]);
        let (at_topic, at_link) = (listeners.len(), own.len());
        listeners.push(Listener { link, at: at_link });
        own.push(Subscription {
            topic,
            at: at_topic,
        });
        true
    }

    /// Ends a subscription; false when there is none.
    pub fn unsubscribe(&mut self, link: LinkId, name: &[u8]) -> bool {
        let topic = self.by_name.get(name).copied();
        let Some(at) = topic.and_then(|topic| self.find(link, topic)) else {
            return false;
        };
        let own = &mut self.of_link[link];
        let ended = swap_out(own, at);
        if let Some(moved) = own.get(at) {
            self.topics[moved.topic].listeners[moved.at].at = at;
        }
        self.silence(ended);
        true
    }

    /// Ends all subscriptions of a link. O(1) for each.
    pub fn leave(&mut self, link: LinkId) {
        let own = self.of_link.get_mut(link).map(std::mem::take);
        for subscription in own.unwrap_or_default() {
            self.silence(subscription);
        }
    }

    /// Number of subscriptions of a link.
    #[inline]
    pub fn count_of(&self, link: LinkId) -> usize {
        self.of_link.get(link).map_or(0, Vec::len)
    }

    /// The names to which a link has subscribed, in order of subscription as long as it ended none before.
    pub fn names_of(&self, link: LinkId) -> impl Iterator<Item = &Arc<[u8]>> {
        let own = self.of_link.get(link).into_iter().flatten();
        own.map(|subscription| &self.topics[subscription.topic].name)
    }

    /// Number of names.
    #[inline]
    pub fn len(&self) -> usize {
        self.topics.len()
    }

    /// Whether nobody has subscribed to anything.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// The links that have subscribed to a name.
    pub fn listeners(&self, name: &[u8]) -> impl ExactSizeIterator<Item = LinkId> + '_ {
        let topic = self.by_name.get(name);
        let listeners = topic.map_or(&[][..], |&topic| &self.topics[topic].listeners);
        listeners.iter().map(|listener| listener.link)
    }

    /// All names in order of their creation, with the links that have subscribed to them.
    pub fn iter(
        &self,
    ) -> impl Iterator<Item = (&[u8], impl ExactSizeIterator<Item = LinkId> + '_)> {
        self.order.values().map(|&topic| {
            let topic = &self.topics[topic];
            let links = topic.listeners.iter().map(|listener| listener.link);
            (&*topic.name, links)
        })
    }

    /// Bytes that the subscriptions of a link take, names aside: these may have other subscribers.
    pub fn bytes_of(&self, link: LinkId) -> usize {
        self.count_of(link) * (size_of::<Subscription>() + size_of::<Listener>())
    }

    fn create(&mut self, name: &[u8]) -> usize {
        let name: Arc<[u8]> = name.into();
        let topic = self.topics.insert(Topic {
            name: name.clone(),
            number: self.next,
            listeners: Vec::new(),
        });
        self.order.insert(self.next, topic);
        self.next += 1;
        self.by_name.insert(name, topic);
        topic
    }

    /// Index of the subscription in the link's list.
    fn find(&self, link: LinkId, topic: usize) -> Option<usize> {
        let (own, listeners) = (self.of_link.get(link)?, &self.topics[topic].listeners);
        match own.len() < listeners.len() {
            true => own.iter().position(|known| known.topic == topic),
            false => {
                let listener = listeners.iter().find(|known| known.link == link);
                listener.map(|listener| listener.at)
            }
        }
    }

    /// Takes a subscription that has left its link's list from its topic's, and the topic away with its last.
    fn silence(&mut self, Subscription { topic, at }: Subscription) {
        let listeners = &mut self.topics[topic].listeners;
        swap_out(listeners, at);
        if let Some(&moved) = listeners.get(at) {
            self.of_link[moved.link][moved.at].at = at;
        }
        if self.topics[topic].listeners.is_empty() {
            self.end(topic);
        }
    }

    fn end(&mut self, topic: usize) {
        let topic = self.topics.remove(topic);
        self.order.remove(&topic.number);
        self.by_name.remove(&topic.name);
        if self.topics.is_empty() {
            self.topics = Slab::new();
            self.by_name = HashMap::new();
        }
    }
}

/// Removes an element, whose place the last one takes; memory that has become far too much is given back.
fn swap_out<T>(list: &mut Vec<T>, at: usize) -> T {
    let removed = list.swap_remove(at);
    if list.capacity() / 4 > list.len().max(KEPT_MIN) {
        list.shrink_to(list.len() * 2);
    }
    removed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    /// What it is to do, without the means.
    #[derive(Default)]
    struct Model {
        /// (name, links) in order of creation.
        topics: Vec<(Vec<u8>, Vec<LinkId>)>,
    }

    impl Model {
        fn subscribe(&mut self, link: LinkId, name: &[u8]) -> bool {
            if !self.topics.iter().any(|(known, _)| known == name) {
                self.topics.push((name.to_vec(), Vec::new()));
            }
            let mut topics = self.topics.iter_mut();
            let (_, links) = topics.find(|(known, _)| known == name).unwrap();
            let new = !links.contains(&link);
            if new {
                links.push(link);
            }
            new
        }

        fn unsubscribe(&mut self, link: LinkId, name: &[u8]) -> bool {
            let mut topics = self.topics.iter_mut();
            let Some((_, links)) = topics.find(|(known, _)| known == name) else {
                return false;
            };
            let place = links.iter().position(|&known| known == link);
            if let Some(place) = place {
                links.swap_remove(place);
            }
            self.topics.retain(|(_, links)| !links.is_empty());
            place.is_some()
        }

        fn names_of(&self, link: LinkId) -> Vec<Vec<u8>> {
            let mut names: Vec<Vec<u8>> = self
                .topics
                .iter()
                .filter(|(_, links)| links.contains(&link))
                .map(|(name, _)| name.clone())
                .collect();
            names.sort();
            names
        }
    }

    impl Subscriptions {
        /// The invariants, and that it says what the model says.
        fn check(&self, model: &Model) {
            let all: Vec<(Vec<u8>, Vec<LinkId>)> = self
                .iter()
                .map(|(name, links)| (name.to_vec(), links.collect()))
                .collect();
            assert_eq!(all, model.topics);
            assert_eq!(self.len(), self.by_name.len());
            assert_eq!(self.len(), self.order.len());
            for (id, topic) in &self.topics {
                assert!(!topic.listeners.is_empty());
                assert_eq!(self.by_name[&topic.name], id);
                assert_eq!(self.order[&topic.number], id);
                for (at, listener) in topic.listeners.iter().enumerate() {
                    let back = self.of_link[listener.link][listener.at];
                    assert_eq!((back.topic, back.at), (id, at));
                }
            }
            for link in 0..self.of_link.len() {
                let mut names: Vec<Vec<u8>> =
                    self.names_of(link).map(|name| name.to_vec()).collect();
                names.sort();
                assert_eq!(names, model.names_of(link));
                assert_eq!(self.count_of(link), names.len());
            }
        }
    }

    #[test]
    fn behaves_as_its_model() {
        for seed in 1..40 {
            let mut prng = Prng::new(seed);
            let (mut subscriptions, mut model) = (Subscriptions::default(), Model::default());
            let (links, names) = (1 + prng.below(12), 1 + prng.below(30));
            for _ in 0..600 {
                let link = prng.below(links) as usize;
                let name = format!("channel {}", prng.below(names)).into_bytes();
                match prng.below(10) {
                    0 => {
                        for name in model.names_of(link) {
                            model.unsubscribe(link, &name);
                        }
                        subscriptions.leave(link);
                    }
                    1..=3 => assert_eq!(
                        subscriptions.unsubscribe(link, &name),
                        model.unsubscribe(link, &name)
                    ),
                    _ => assert_eq!(
                        subscriptions.subscribe(link, &name),
                        model.subscribe(link, &name)
                    ),
                }
                subscriptions.check(&model);
            }
            (0..links as usize).for_each(|link| subscriptions.leave(link));
            assert!(subscriptions.is_empty());
            assert_eq!(subscriptions.by_name.capacity(), 0);
        }
    }

    #[test]
    fn many_names_and_many_links_are_left_cheaply() {
        let mut subscriptions = Subscriptions::default();
        const MANY: usize = 100_000;
        for number in 0..MANY {
            assert!(subscriptions.subscribe(7, format!("c{number}").as_bytes()));
            assert!(subscriptions.subscribe(number, b"all"));
        }
        assert_eq!(subscriptions.count_of(7), MANY + 1);
        assert_eq!(subscriptions.listeners(b"all").len(), MANY);
        assert!(subscriptions.bytes_of(7) >= MANY * 32);
        // A scan of the longer list for each would take minutes.
        subscriptions.leave(7);
        assert_eq!(subscriptions.len(), 1);
        for link in (0..MANY).rev() {
            subscriptions.unsubscribe(link, b"all");
        }
        assert!(subscriptions.is_empty());
    }
}
