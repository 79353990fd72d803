//! Slows down guessing: of a password, by name and by address; of the set-up code, by address. In memory and bounded, so
//! that guessers cost us nothing that lasts.
//!
//! An attempt counts when it begins, not when it fails: many at once do not slip through together.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};

/// Attempts on one name before pauses begin.
const FREE_BY_NAME: u32 = 5;

/// Attempts from one address before pauses begin: offices share one.
const FREE_BY_ADDRESS: u32 = 20;

/// The longest pause on a name. Short, since anybody can cause it for somebody else.
const LONGEST_BY_NAME: TimeDelta = TimeDelta::minutes(1);

const LONGEST_BY_ADDRESS: TimeDelta = TimeDelta::minutes(15);

/// What was tried is forgotten when nothing more came for so long after the last pause.
const FORGOTTEN_AFTER: TimeDelta = TimeDelta::minutes(30);

/// What is remembered at once; beyond it, what is forgotten soonest makes room.
const MOST: usize = 10_000;

/// Names are cut to this many characters before they are remembered: no name of anybody is longer.
const LONGEST_NAME: usize = 100;

/// Remembers who tried what lately.
#[derive(Default)]
pub struct Throttle {
    tried: Mutex<HashMap<Key, Tried>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Name(String),
    Address(IpAddr),
}

#[derive(Debug, Clone, Copy)]
struct Tried {
    times: u32,
    /// No attempt before.
    free_at: DateTime<Utc>,
}

/// The attempt has to wait so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait(TimeDelta);

impl Wait {
    /// At least one.
    pub fn seconds(self) -> i64 {
        let whole = self.0.num_seconds();
        let is_whole = self.0 == TimeDelta::seconds(whole);
        (whole + i64::from(!is_whole)).max(1)
    }
}

impl Throttle {
    /// Counts an attempt, or refuses it for now. `name` is what was typed; without one, the address alone counts.
    pub fn attempt(&self, name: Option<&str>, address: Option<IpAddr>, now: DateTime<Utc>) -> Result<(), Wait> {
        let keys = keys(name, address);
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = keys
            .iter()
            .filter_map(|key| tried.get(key))
            .map(|tried| tried.free_at - now)
            .max();
        if let Some(wait) = wait.filter(|wait| *wait > TimeDelta::zero()) {
            return Err(Wait(wait));
        }
        for key in keys {
            make_room(&mut tried, now);
            let times = tried
                .get(&key)
                .filter(|tried| !tried.is_over(now))
                .map_or(0, |tried| tried.times);
            let times = times.saturating_add(1);
            let free_at = now + pause(&key, times);
            tried.insert(key, Tried { times, free_at });
        }
        Ok(())
    }

    /// The attempt that was counted last was right: the name starts anew, and the address has it back.
    pub fn succeeded(&self, name: Option<&str>, address: Option<IpAddr>) {
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys(name, address) {
            match key {
                Key::Name(_) => {
                    tried.remove(&key);
                }
                Key::Address(_) => {
                    if let Some(tried) = tried.get_mut(&key) {
                        tried.times = tried.times.saturating_sub(1);
                    }
                }
            }
        }
    }
}

impl Tried {
    fn is_over(&self, now: DateTime<Utc>) -> bool {
        self.free_at + FORGOTTEN_AFTER <= now
    }
}

fn keys(name: Option<&str>, address: Option<IpAddr>) -> Vec<Key> {
    let name = name.map(|name| Key::Name(name.trim().chars().take(LONGEST_NAME).collect()));
    name.into_iter()
        .chain(address.map(|address| Key::Address(network(address))))
        .collect()
}

/// An IPv6 address stands for its /64: one customer has at least that many.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

/// One second after the free attempts, and twice as long after each further one.
fn pause(key: &Key, times: u32) -> TimeDelta {
    let (free, longest) = match key {
        Key::Name(_) => (FREE_BY_NAME, LONGEST_BY_NAME),
        Key::Address(_) => (FREE_BY_ADDRESS, LONGEST_BY_ADDRESS),
    };
    match times.checked_sub(free) {
        None => TimeDelta::zero(),
        Some(beyond) => longest.min(TimeDelta::seconds(1 << beyond.min(20))),
    }
}

fn make_room(tried: &mut HashMap<Key, Tried>, now: DateTime<Utc>) {
    if tried.len() < MOST {
        return;
    }
    tried.retain(|_, tried| !tried.is_over(now));
    // A tenth at a time, so that a flood does not sort for every attempt.
    if tried.len() >= MOST {
        let mut ends: Vec<DateTime<Utc>> = tried.values().map(|tried| tried.free_at).collect();
        let (_, end, _) = ends.select_nth_unstable(MOST / 10);
        let end = *end;
        tried.retain(|_, tried| tried.free_at > end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_700_000_000_000 + milliseconds).unwrap()
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn pauses_on_a_name_grow_to_a_minute_and_a_success_ends_them() {
        let throttle = Throttle::default();
        let mut now = 0;
        for n in 0..FREE_BY_NAME {
            // From another address each time: the name is what is guarded.
            throttle
                .attempt(Some("ann"), ip(&format!("192.0.2.{n}")), at(now))
                .unwrap();
        }
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            let refused = throttle.attempt(Some("ann"), None, at(now)).unwrap_err();
            assert_eq!(refused.seconds(), seconds);
            assert!(
                throttle
                    .attempt(Some("ann"), None, at(now + seconds * 1000 - 1))
                    .is_err()
            );
            assert!(throttle.attempt(Some("bob"), None, at(now)).is_ok(), "another's name");
            throttle.succeeded(Some("bob"), None);
            now += seconds * 1000;
            throttle.attempt(Some(" ann "), None, at(now)).unwrap();
        }
        throttle.succeeded(Some("ann"), None);
        for _ in 0..FREE_BY_NAME {
            throttle.attempt(Some("ann"), None, at(now)).unwrap();
        }
    }

    #[test]
    fn an_address_that_guesses_at_many_names_is_slowed_down_up_to_a_quarter_of_an_hour() {
        let throttle = Throttle::default();
        for n in 0..FREE_BY_ADDRESS {
            throttle
                .attempt(Some(&format!("user{n}")), ip("192.0.2.1"), at(0))
                .unwrap();
        }
        assert_eq!(
            throttle
                .attempt(Some("ann"), ip("192.0.2.1"), at(0))
                .unwrap_err()
                .seconds(),
            1
        );
        assert!(throttle.attempt(Some("ann"), ip("192.0.2.2"), at(0)).is_ok());
        let mut now = 0;
        for _ in 0..12 {
            now += throttle.attempt(None, ip("192.0.2.1"), at(now)).unwrap_err().seconds() * 1000;
            throttle.attempt(None, ip("192.0.2.1"), at(now)).unwrap();
        }
        let wait = throttle.attempt(None, ip("192.0.2.1"), at(now)).unwrap_err();
        assert_eq!(wait.seconds(), LONGEST_BY_ADDRESS.num_seconds());
        // Forgotten half an hour after the last pause.
        now += (wait.seconds() + FORGOTTEN_AFTER.num_seconds()) * 1000;
        for _ in 0..FREE_BY_ADDRESS {
            throttle.attempt(None, ip("192.0.2.1"), at(now)).unwrap();
        }
    }

    #[test]
    fn an_address_that_signs_in_rightly_is_not_slowed_down() {
        let throttle = Throttle::default();
        for n in 0..10 * FREE_BY_ADDRESS {
            let name = format!("user{n}");
            throttle.attempt(Some(&name), ip("192.0.2.1"), at(0)).unwrap();
            throttle.succeeded(Some(&name), ip("192.0.2.1"));
        }
    }

    #[test]
    fn the_addresses_of_one_customer_count_as_one() {
        let throttle = Throttle::default();
        for n in 0..FREE_BY_ADDRESS {
            throttle
                .attempt(None, ip(&format!("2001:db8:1:2::{n:x}")), at(0))
                .unwrap();
        }
        assert!(throttle.attempt(None, ip("2001:db8:1:2:ffff::1"), at(0)).is_err());
        assert!(throttle.attempt(None, ip("2001:db8:1:3::1"), at(0)).is_ok());
    }

    #[test]
    fn a_flood_of_names_is_remembered_only_so_far_and_does_not_free_the_slowed_down() {
        let throttle = Throttle::default();
        for _ in 0..FREE_BY_NAME {
            throttle.attempt(Some("ann"), None, at(0)).unwrap();
        }
        for n in 0..3 * MOST {
            throttle.attempt(Some(&format!("user{n}")), None, at(0)).unwrap();
            assert!(throttle.tried.lock().unwrap().len() <= MOST);
        }
        assert!(throttle.attempt(Some("ann"), None, at(0)).is_err());
    }
}
