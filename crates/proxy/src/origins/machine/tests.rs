use super::*;
use crate::origins::record::tests::record;

const ALIVE: Probed = Probed::Alive { draining: false, kind: None };

fn id(text: &str) -> OriginId {
    OriginId::parse(text).unwrap()
}

fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn given() -> Origin {
    Origin::given(Origin::url("http://10.0.0.1:80").unwrap(), Kind::Whip).unwrap()
}

#[test]
fn one_that_is_silent_is_suspect_after_one_and_a_half_intervals_and_gone_after_three() {
    let start = Instant::now();
    let mut origins = Origins::default();
    origins.heard(record("a"), Duration::ZERO, start).unwrap();
    for (after, standing) in [
        (0.0, Standing::Up),
        (3.0, Standing::Up),
        (3.001, Standing::Suspect),
        (5.999, Standing::Suspect),
        (6.0, Standing::Gone),
    ] {
        assert_eq!(origins.standing(&id("a"), start + secs(after)), Some(standing), "{after}");
    }
    origins.heard(record("a"), Duration::ZERO, start + secs(7.0)).unwrap();
    assert_eq!(origins.standing(&id("a"), start + secs(7.0)), Some(Standing::Up));
    assert_eq!(origins.standing(&id("b"), start), None);
}

#[test]
fn what_another_proxy_heard_counts_from_then_and_never_backwards() {
    let start = Instant::now() + secs(60.0);
    let mut origins = Origins::default();
    origins.heard(record("a"), secs(5.0), start).unwrap();
    assert_eq!(origins.standing(&id("a"), start), Some(Standing::Suspect));
    assert_eq!(origins.standing(&id("a"), start + secs(1.0)), Some(Standing::Gone));
    origins.heard(record("a"), Duration::ZERO, start).unwrap();
    let mut older = record("a");
    older.draining = true;
    origins.heard(older, secs(1.0), start).unwrap();
    assert_eq!(origins.standing(&id("a"), start), Some(Standing::Up), "an older heartbeat changes nothing");
}

#[test]
fn one_that_cannot_be_connected_to_is_suspect_until_a_probe_tells_and_gone_if_that_fails_too() {
    let start = Instant::now();
    let mut origins = Origins::default();
    origins.heard(record("a"), Duration::ZERO, start).unwrap();
    origins.failed(&id("a"));
    assert_eq!(origins.standing(&id("a"), start), Some(Standing::Suspect));
    assert_eq!(origins.to_probe(false, start).len(), 1);
    origins.probed(&id("a"), &ALIVE, start);
    assert_eq!(origins.standing(&id("a"), start), Some(Standing::Up));
    assert!(origins.to_probe(false, start).is_empty());
    origins.failed(&id("a"));
    origins.probed(&id("a"), &Probed::Silent, start);
    assert_eq!(origins.standing(&id("a"), start), Some(Standing::Gone));
    origins.heard(record("a"), Duration::ZERO, start + secs(1.0)).unwrap();
    assert_eq!(origins.standing(&id("a"), start + secs(1.0)), Some(Standing::Gone), "heartbeats alone are no way in");
    origins.probed(&id("a"), &ALIVE, start + secs(2.0));
    assert_eq!(origins.standing(&id("a"), start + secs(2.0)), Some(Standing::Up));
}

#[test]
fn a_given_one_is_gone_after_three_probes_and_never_expires() {
    let start = Instant::now();
    let mut origins = Origins::default();
    origins.give(given()).unwrap();
    let name = id("10.0.0.1:80");
    assert_eq!(origins.standing(&name, start), Some(Standing::Suspect), "nobody has looked yet");
    origins.probed(&name, &Probed::Alive { draining: false, kind: Some(Kind::Srs) }, start);
    assert_eq!(origins.standing(&name, start + secs(3600.0)), Some(Standing::Up));
    assert_eq!(origins.origin(&name).unwrap().kind, Kind::Srs);
    for standing in [Standing::Suspect, Standing::Suspect, Standing::Gone] {
        origins.probed(&name, &Probed::Silent, start);
        assert_eq!(origins.standing(&name, start), Some(standing));
    }
    origins.sweep(start + secs(3600.0));
    assert!(origins.remove(&name), "known");
    origins.probed(&name, &Probed::Alive { draining: true, kind: None }, start);
    assert_eq!(origins.standing(&name, start), Some(Standing::Draining));
}

#[test]
fn a_drained_one_stays_so_through_heartbeats() {
    let start = Instant::now();
    let mut origins = Origins::default();
    assert!(!origins.drain(&id("a"), true), "nobody knows it");
    origins.heard(record("a"), Duration::ZERO, start).unwrap();
    assert!(origins.drain(&id("a"), true));
    origins.heard(record("a"), Duration::ZERO, start + secs(1.0)).unwrap();
    assert_eq!(origins.standing(&id("a"), start + secs(1.0)), Some(Standing::Draining));
    assert!(!origins.is_stopping(&id("a")));
    origins.listed(&[id("a")].into(), &BTreeSet::new(), start + secs(1.0));
    assert_eq!(origins.standing(&id("a"), start + secs(1.0)), Some(Standing::Up), "undone at another proxy");
}

#[test]
fn one_that_the_registry_lists_no_more_is_suspect_unless_it_was_heard_since() {
    let start = Instant::now();
    let mut origins = Origins::default();
    origins.heard(record("a"), Duration::ZERO, start).unwrap();
    origins.heard(record("b"), Duration::ZERO, start + secs(1.0)).unwrap();
    origins.listed(&BTreeSet::new(), &BTreeSet::new(), start + secs(0.5));
    let standing = |origins: &Origins, name: &str| origins.standing(&id(name), start + secs(1.0)).unwrap();
    assert_eq!((standing(&origins, "a"), standing(&origins, "b")), (Standing::Suspect, Standing::Up));
    origins.heard(record("a"), Duration::ZERO, start + secs(1.0)).unwrap();
    assert_eq!(standing(&origins, "a"), Standing::Up);
}

#[test]
fn while_the_registry_is_away_silent_ones_are_asked_themselves() {
    let start = Instant::now();
    let mut origins = Origins::default();
    origins.heard(record("a"), Duration::ZERO, start).unwrap();
    assert!(origins.to_probe(true, start + secs(1.0)).is_empty());
    assert!(origins.to_probe(false, start + secs(2.0)).is_empty());
    assert_eq!(origins.to_probe(true, start + secs(2.0)).len(), 1);
    origins.probed(&id("a"), &ALIVE, start + secs(4.0));
    assert_eq!(origins.standing(&id("a"), start + secs(7.0)), Some(Standing::Up));
    origins.probed(&id("a"), &Probed::Silent, start + secs(8.0));
    assert_eq!(
        origins.standing(&id("a"), start + secs(10.0)),
        Some(Standing::Gone),
        "its lease, not the probe, ends it"
    );
    assert!(origins.to_probe(true, start + secs(600.0)).is_empty());
}

#[test]
fn two_servers_of_one_name_are_told_apart() {
    let start = Instant::now();
    let mut origins = Origins::default();
    origins.heard(record("a"), Duration::ZERO, start).unwrap();
    let mut other = record("a");
    other.instance = "2".to_owned();
    assert_eq!(origins.judge(&other, start), Ok(()), "the same place: it was started anew");
    other.origin.url = Origin::url("http://10.0.0.3:8555").unwrap();
    assert_eq!(origins.judge(&other, start), Err(Unlike));
    assert_eq!(origins.judge(&other, start + secs(3.5)), Ok(()), "the first is late");
    other.instance = "1".to_owned();
    assert_eq!(origins.judge(&other, start), Ok(()), "one server with two addresses");
}

#[test]
fn no_more_than_so_many_are_known_and_those_gone_make_room() {
    let start = Instant::now();
    let mut origins = Origins::default();
    for n in 0..MOST_ORIGINS {
        origins.heard(record(&n.to_string()), Duration::ZERO, start).unwrap();
    }
    assert_eq!(origins.heard(record("more"), Duration::ZERO, start), Err(TooMany));
    let later = start + secs(6.0);
    origins.heard(record("0"), Duration::ZERO, later).unwrap();
    origins.heard(record("more"), Duration::ZERO, later).unwrap();
    assert_eq!(origins.list(later).len(), 2);
    assert_eq!(origins.counted(later)[&Standing::Up], 2);
    origins.sweep(later + secs(66.0));
    assert!(origins.list(later).is_empty());
}
