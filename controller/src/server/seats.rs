//! Who has a connection: so many in all, and no more than half of them for one network. When there is no room, whoever has been idle the
//! longest makes way, first among those who have the most. Knows no socket.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Most connections at a time, where the system lets us have as many files.
const MOST: usize = 8_192;
/// Files that are none of them: the ledger's, its readers', certificates.
const OTHER_FILES: u64 = 64;
/// Fewest connections, however few files there may be: then some fail to be accepted.
const FEWEST: usize = 16;

/// An IPv4 address, or an IPv6 network of 64 bits: whoever has one address of it has them all.
pub(super) type Network = IpAddr;

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Seats {
    inner: Arc<Mutex<Inner>>,
    /// In all, and …
    most: usize,
    /// … of one network.
    each: usize,
}

#[derive(Debug, Default)]
struct Inner {
    taken: usize,
    networks: HashMap<Network, Taken>,
    /// Counts up: what was idle earlier has a lower number.
    clock: u64,
}

/// The connections of one network.
#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// Since when, and how each is ended.
    idle: BTreeMap<u64, Arc<Notify>>,
}

/// A connection's, until it is dropped. Idle from the start.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Seats,
    network: Network,
    over: Arc<Notify>,
    /// Since when it has been idle; none while it is not, and before it had a place.
    idle: Option<u64>,
}

impl Seats {
    /// As many as there may be files, after asking the system for as many as it lets us have.
    pub(super) fn by_files() -> Self {
        Self::new(fitting(raise_files()))
    }

    /// So many; half of them for one network.
    pub(super) fn new(most: usize) -> Self {
        Self { inner: Arc::default(), most, each: most.div_ceil(2) }
    }

    pub(super) const fn most(&self) -> usize {
        self.most
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A seat for a new connection, for which another may have to go; none when nobody who is idle can. `over` is how either is ended.
    pub(super) fn take(&self, address: IpAddr, over: Arc<Notify>) -> Option<Seat> {
        let network = network(address);
        let mut inner = self.inner();
        if inner.networks.get(&network).is_some_and(|taken| taken.all >= self.each) {
            inner.dismiss(network)?;
        } else if inner.taken >= self.most {
            let most = |(_, taken): &(&Network, &Taken)| {
                // Of two with as many, whose has been idle for longer.
                (taken.all, std::cmp::Reverse(taken.idle.keys().next().copied()))
            };
            let idle = inner.networks.iter().filter(|(_, taken)| !taken.idle.is_empty());
            let of = idle.max_by_key(most).map(|(network, _)| *network)?;
            inner.dismiss(of)?;
        }
        inner.taken += 1;
        inner.networks.entry(network).or_default().all += 1;
        let idle = Some(inner.rest(network, &over));
        drop(inner);
        Some(Seat { seats: self.clone(), network, over, idle })
    }
}

impl Inner {
    /// Ends a network's connection that has been idle the longest. Its seat is counted no more.
    fn dismiss(&mut self, network: Network) -> Option<()> {
        let (_, over) = self.networks.get_mut(&network)?.idle.pop_first()?;
        over.notify_one();
        self.forget(network);
        Some(())
    }

    fn forget(&mut self, network: Network) {
        self.taken = self.taken.saturating_sub(1);
        if let Some(taken) = self.networks.get_mut(&network) {
            taken.all = taken.all.saturating_sub(1);
            if taken.all == 0 {
                self.networks.remove(&network);
            }
        }
    }

    fn rest(&mut self, network: Network, over: &Arc<Notify>) -> u64 {
        self.clock += 1;
        self.networks.entry(network).or_default().idle.insert(self.clock, Arc::clone(over));
        self.clock
    }
}

impl Seat {
    /// From here on it is not idle. Whether it still has its seat: otherwise it is over.
    pub(super) fn work(&mut self) -> bool {
        let Some(since) = self.idle else { return true };
        let has = self.is_seated(since);
        if has {
            self.idle = None;
        }
        has
    }

    /// From here on it is idle.
    pub(super) fn rest(&mut self) {
        if self.idle.is_none() {
            self.idle = Some(self.seats.inner().rest(self.network, &self.over));
        }
    }

    /// Takes it out of those who are idle; whether it was there.
    fn is_seated(&self, since: u64) -> bool {
        self.seats.inner().networks.get_mut(&self.network).is_some_and(|taken| taken.idle.remove(&since).is_some())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // Whoever was dismissed is counted no more.
        if self.idle.is_none_or(|since| self.is_seated(since)) {
            self.seats.inner().forget(self.network);
        }
    }
}

/// Whose an address is.
pub(super) fn network(address: IpAddr) -> Network {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
        address => address,
    }
}

/// Lets this process have as many files as it may without being root: shells and services mostly begin with 1,024. How many that is.
fn raise_files() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(error) => {
            // Some systems say that there is no limit, and have one.
            tracing::debug!(%error, "no more files than there were");
            current
        }
    }
}

/// How many connections there is room for with so many files; none: as many as one likes.
fn fitting(files: Option<u64>) -> usize {
    let room = files.map_or(u64::MAX, |files| files.saturating_sub(OTHER_FILES));
    usize::try_from(room).unwrap_or(usize::MAX).clamp(FEWEST, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Somebody with a seat, and how they are told that it is over.
    fn sit(seats: &Seats, address: &str) -> Option<(Seat, Arc<Notify>)> {
        let over = Arc::new(Notify::new());
        seats.take(address.parse().unwrap(), Arc::clone(&over)).map(|seat| (seat, over))
    }

    async fn is_over(over: &Notify) -> bool {
        tokio::select! {
            biased;
            () = over.notified() => true,
            () = std::future::ready(()) => false,
        }
    }

    #[tokio::test]
    async fn one_network_has_half_of_the_seats_and_its_oldest_idle_makes_way_for_its_own() {
        let seats = Seats::new(8);
        let mut own: Vec<_> = (0..4).map(|last| sit(&seats, &format!("2001:db8::{last}")).unwrap()).collect();
        assert!(own[0].0.work());
        let fifth = sit(&seats, "2001:db8::ffff:1").unwrap();
        assert!(!is_over(&own[0].1).await, "it works");
        assert!(is_over(&own[1].1).await, "of those that do not, it was the first");
        assert!(!own[1].0.work() && own[2].0.work() && own[3].0.work());
        drop(fifth);
        let mut last = sit(&seats, "2001:db8::9").unwrap();
        assert!(last.0.work());
        assert!(sit(&seats, "2001:db8::1").is_none(), "all of its half work");
        assert!(sit(&seats, "2001:db8:0:1::1").is_some() && sit(&seats, "::ffff:10.0.0.1").is_some(), "others");
        own[0].0.rest();
        assert!(sit(&seats, "2001:db8::1").is_some() && is_over(&own[0].1).await);
    }

    #[tokio::test]
    async fn when_all_seats_are_taken_who_has_the_most_gives_one_up() {
        let seats = Seats::new(6);
        let one = sit(&seats, "10.0.0.1").unwrap();
        let crowd: Vec<_> = (0..3).map(|_| sit(&seats, "10.0.0.2").unwrap()).collect();
        let two: Vec<_> = (0..2).map(|_| sit(&seats, "10.0.0.3").unwrap()).collect();
        let new = sit(&seats, "10.0.0.4").unwrap();
        assert!(is_over(&crowd[0].1).await && !is_over(&one.1).await && !is_over(&two[0].1).await);
        let mut all = crowd.into_iter().skip(1).chain(two).chain([one, new]).collect::<Vec<_>>();
        assert!(all.iter_mut().all(|(seat, _)| seat.work()));
        assert!(sit(&seats, "10.0.0.5").is_none(), "nobody is idle");
        all.pop();
        assert!(sit(&seats, "10.0.0.5").is_some());
    }

    #[test]
    fn every_seat_is_free_again_once_however_it_was_left() {
        let seats = Seats::new(4);
        let mut kept = Vec::new();
        for round in 0..100_u8 {
            let Some((mut seat, _)) = sit(&seats, &format!("10.0.0.{}", round % 5)) else { panic!("{round}") };
            if round % 3 == 0 {
                seat.work();
                seat.rest();
            }
            kept.push(seat);
            if round % 7 == 0 {
                kept.clear();
            }
            assert!(seats.inner().taken <= 4);
        }
        drop(kept);
        let inner = seats.inner();
        assert!(inner.taken == 0 && inner.networks.is_empty(), "{inner:?}");
    }

    #[test]
    fn there_is_room_for_what_the_system_lets_us_have() {
        assert_eq!([None, Some(1 << 20), Some(1_024), Some(20)].map(fitting), [MOST, MOST, 960, FEWEST]);
    }
}
