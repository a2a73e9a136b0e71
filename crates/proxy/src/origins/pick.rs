//! Which origin gets a stream that nobody has.

use std::cmp::Reverse;
use std::time::Instant;

use aws_lc_rs::digest::{SHA256, digest};

use super::machine::{Origins, Standing};
use super::record::{Load, Origin};
use crate::record::OriginId;

/// Loads this near to each other (a twentieth) are alike: heartbeats come each 2 s, and all that begins between two of
/// them would go to one origin else. Among those alike, the name of the stream decides.
const STEPS: f32 = 20.0;

/// What an origin can have that does not say: a guess that only orders those of a kind.
const SESSIONS: u32 = 2000;

/// The origin for a new stream: the least loaded that is up; one that is suspect if none is; none that is draining,
/// gone, or `except`.
#[must_use]
pub fn best<'a>(origins: &'a Origins, stream: &str, except: Option<&OriginId>, now: Instant) -> Option<&'a Origin> {
    let may = |standing| matches!(standing, Standing::Up | Standing::Suspect);
    let candidates =
        || origins.candidates(now).filter(|(record, standing, _)| may(*standing) && except != Some(&record.origin.id));
    let told = candidates().filter(|(record, ..)| record.load.is_told());
    let usual = mean(told.map(|(record, _, ours)| share(&record.load, ours)));
    let rank = |record: &super::OriginRecord, standing, ours| {
        let own = share(&record.load, ours);
        // One that says nothing is not idle for that: it does what others do, or what is known of it if that is more.
        let share = if record.load.is_told() { own } else { own.max(usual) };
        let step = (share * STEPS) as u32;
        (standing, step, Reverse(weight(stream, &record.origin.id)))
    };
    let best = candidates().min_by_key(|(record, standing, ours)| rank(record, *standing, *ours));
    best.map(|(record, ..)| &record.origin)
}

/// 0 of none.
fn mean(shares: impl Iterator<Item = f32>) -> f32 {
    let (sum, many) = shares.fold((0.0, 0_u16), |(sum, many), share| (sum + share, many + 1));
    sum / f32::from(many.max(1))
}

/// The largest of its shares, from 0 to 1. `ours` counts where it does not count itself, and between heartbeats.
fn share(load: &Load, ours: u32) -> f32 {
    let sessions_capacity = if load.sessions_capacity == 0 { SESSIONS } else { load.sessions_capacity };
    let sessions = load.sessions.max(ours) as f32 / sessions_capacity as f32;
    let egress = match load.egress_capacity_bps {
        0 => 0.0,
        capacity => load.egress_bps as f32 / capacity as f32,
    };
    load.cpu.max(egress).max(sessions).clamp(0.0, 1.0)
}

/// Rendezvous hashing: every origin has a weight for every stream, and one that comes or goes moves only what is its own.
fn weight(stream: &str, origin: &OriginId) -> u64 {
    let hash = digest(&SHA256, format!("{stream}\n{}", origin.as_str()).as_bytes());
    hash.as_ref().iter().take(8).fold(0, |weight, byte| weight << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::origins::record::tests::record;

    fn origins(of: &[(&str, f32)], now: Instant) -> Origins {
        let mut origins = Origins::default();
        for (id, cpu) in of {
            let mut record = record(id);
            record.load.cpu = *cpu;
            origins.heard(record, Duration::ZERO, now).unwrap();
        }
        origins
    }

    fn picked(origins: &Origins, stream: &str, now: Instant) -> Option<String> {
        best(origins, stream, None, now).map(|origin| origin.id.as_str().to_owned())
    }

    fn id(text: &str) -> OriginId {
        OriginId::parse(text).unwrap()
    }

    #[test]
    fn the_least_loaded_is_picked_by_its_largest_share() {
        let now = Instant::now();
        let origins = origins(&[("a", 0.5), ("b", 0.1), ("c", 0.9)], now);
        assert_eq!(picked(&origins, "cam", now).as_deref(), Some("b"));
        let load = Load { cpu: 0.1, egress_bps: 8, egress_capacity_bps: 10, sessions: 3, ..Load::default() };
        assert_eq!(share(&load, 0), 0.8);
        assert_eq!(share(&Load { sessions_capacity: 4, ..load }, 0), 0.8);
        assert_eq!(share(&Load { sessions_capacity: 4, ..load }, 4), 1.0, "what began since its heartbeat");
        assert_eq!(share(&Load { sessions: 5000, ..Load::default() }, 0), 1.0);
    }

    #[test]
    fn one_that_does_not_say_how_much_it_does_gets_as_much_as_others_and_not_everything() {
        let now = Instant::now();
        let mut origins = origins(&[("told", 0.3)], now);
        let mut silent = record("silent");
        silent.load = Load::default();
        origins.heard(silent, Duration::ZERO, now).unwrap();
        let silent = |origins: &Origins| {
            let all = (0..300).filter_map(|n| picked(origins, &format!("s{n}"), now));
            all.filter(|id| id == "silent").count()
        };
        assert!((100..200).contains(&silent(&origins)), "{}", silent(&origins));
        origins.count(|id| if id.as_str() == "silent" { 1000 } else { 0 });
        assert_eq!(silent(&origins), 0, "what is known of it is more");
    }

    #[test]
    fn suspects_only_when_none_is_up_and_never_one_that_drains_or_is_gone() {
        let start = Instant::now();
        let mut origins = origins(&[("a", 0.9), ("b", 0.1), ("c", 0.0)], start);
        origins.drain(&id("c"), true);
        origins.failed(&id("b"));
        assert_eq!(picked(&origins, "cam", start).as_deref(), Some("a"));
        origins.failed(&id("a"));
        assert_eq!(picked(&origins, "cam", start).as_deref(), Some("b"));
        assert_eq!(best(&origins, "cam", Some(&id("b")), start).unwrap().id, id("a"));
        assert_eq!(picked(&origins, "cam", start + Duration::from_secs(6)), None);
    }

    #[test]
    fn streams_spread_over_those_alike_and_stay_where_they_are_when_one_goes() {
        let start = Instant::now();
        let three = origins(&[("a", 0.11), ("b", 0.12), ("c", 0.14)], start);
        let two = origins(&[("a", 0.11), ("b", 0.12)], start);
        let mut counts = BTreeMap::<String, u32>::new();
        for n in 0..300 {
            let stream = format!("s{n}");
            let of_three = picked(&three, &stream, start).unwrap();
            if of_three != "c" {
                assert_eq!(picked(&two, &stream, start), Some(of_three.clone()));
            }
            *counts.entry(of_three).or_default() += 1;
        }
        assert!(counts.len() == 3 && counts.values().all(|count| (70..130).contains(count)), "{counts:?}");
    }
}
