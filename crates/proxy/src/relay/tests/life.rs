//! How sessions come to be known, go on and end.

use super::*;
use crate::Pair;

fn wanted(scene: &mut Scene) -> Vec<Pair> {
    std::mem::take(&mut scene.stage.wanted)
}

#[test]
fn a_session_that_another_proxy_began_is_looked_up_and_goes_on() {
    let mut scene = Scene::new();
    scene.records.push(session(2, &[0]));
    let pair = scene.records[2].generations[0].pair();
    for _ in 0..3 {
        assert!(!scene.check(2, 2, false));
    }
    assert_eq!(wanted(&mut scene), std::slice::from_ref(&pair), "asked once");
    assert!(!scene.goes(2, 2, RTP));
    let record = scene.records[2].clone();
    scene.stage.install(&record).expect("there is room");
    assert!(scene.check(2, 2, false) && scene.goes(2, 2, RTP));
    assert_eq!(scene.media(2), Some(2));
}

#[test]
fn nobodys_pair_is_not_asked_for_again_for_a_while() {
    let mut scene = Scene::new();
    scene.records.push(session(2, &[0]));
    let pair = scene.records[2].generations[0].pair();
    scene.check(2, 2, false);
    assert_eq!(wanted(&mut scene), std::slice::from_ref(&pair));
    scene.stage.unknown(&pair);
    scene.check(2, 2, false);
    scene.check(2, 3, false);
    assert_eq!((wanted(&mut scene).len(), scene.dropped(Dropped::UnknownPair)), (0, 2), "at no worker");
    scene.later(2_000);
    scene.check(2, 2, false);
    assert_eq!(wanted(&mut scene).len(), 1);
    // Without room for the question it was not asked.
    scene.stage.has_room = false;
    scene.later(2_000);
    scene.check(2, 2, false);
    scene.stage.has_room = true;
    scene.check(2, 2, false);
    assert_eq!((wanted(&mut scene).len(), scene.dropped(Dropped::LookupsFull)), (1, 1));
}

#[test]
fn a_flood_of_requests_for_nobody_costs_bounded_look_ups_and_leaves_sessions_alone() {
    let mut scene = Scene::new();
    scene.check(0, 2, true);
    for n in 0..20_000_u32 {
        let username = format!("nobody{n}:nobody");
        let request = stun::binding_request(&username, "a password of somebody 0123", true, 1, 2, [5; 12]);
        let from = SocketAddr::from(((n | 0x0a00_0000).to_be_bytes(), 4));
        assert_eq!(scene.stage.client(from, &request), None);
        if n % 100 == 0 {
            assert!(scene.goes(0, 2, RTP));
        }
    }
    assert_eq!(wanted(&mut scene).len(), 256);
    assert_eq!(scene.dropped(Dropped::LookupsFull), 20_000 - 256);
    assert_eq!(scene.stage.sizes()[..4], [2, 1, 1, 1]);
}

#[test]
fn a_restart_keeps_the_old_generation_until_the_new_one_is_proven() {
    let mut scene = Scene::new();
    assert!(scene.check(0, 2, true));
    let old = scene.records[0].generations[0].clone();
    scene.restart(0);
    let request = scene.request(&old, false);
    assert!(scene.goes(0, 2, &request));
    assert!(scene.check(0, 2, false), "the new one, but nothing is nominated yet");
    let request = scene.request(&old, false);
    assert!(scene.goes(0, 2, &request));
    scene.later(1_000);
    assert!(scene.check(0, 4, true));
    assert_eq!(scene.media(0), Some(4));
    let request = scene.request(&old, true);
    assert!(!scene.goes(0, 2, &request), "it is over");
    // The registry may still have the record with both.
    let record = scene.records[0].clone();
    scene.stage.install(&record).expect("it is there");
    let request = scene.request(&old, true);
    assert!(!scene.goes(0, 2, &request) && scene.check(0, 4, true));
    let [.., pairs, _] = scene.stage.sizes();
    assert_eq!((pairs, scene.dropped(Dropped::UnknownPair) > 0), (1, true));
    assert_eq!(wanted(&mut scene), [old.pair()], "whether the registry knows better");
}

#[test]
fn a_restart_before_anybody_came_and_a_second_one_are_taken() {
    let mut scene = Scene::new();
    scene.restart(0);
    let [first, second] = [0, 1].map(|n| scene.records[0].generations[n].clone());
    let requests = [scene.request(&first, false), scene.request(&second, false)];
    assert!(requests.iter().all(|request| scene.goes(0, 2, request)));
    scene.records[0].generations.remove(0);
    scene.records[0].generations.push(session(0, &[9]).generations.remove(0));
    let record = scene.records[0].clone();
    scene.stage.install(&record).expect("it is there");
    let requests = [scene.request(&first, false), scene.request(&second, false)];
    assert!(!scene.goes(0, 2, &requests[0]) && scene.goes(0, 2, &requests[1]) && scene.check(0, 2, true));
    // An older record than what is known changes nothing.
    scene.stage.install(&session(0, &[0])).expect("it is there");
    assert!(scene.check(0, 2, true));
}

#[test]
fn an_origin_that_refuses_is_tried_again_ever_more_rarely() {
    let mut scene = Scene::new();
    let id = scene.id(0);
    scene.check(0, 2, true);
    let mut waited = Vec::new();
    for _ in 0..7 {
        scene.stage.origin_refuses(&id);
        scene.stage.origin_refuses(&id);
        assert!(!scene.stage.is_open(&id));
        let mut millis = 0;
        while !scene.goes(0, 2, RTP) {
            scene.later(50);
            millis += 50;
        }
        waited.push(millis);
    }
    assert_eq!(waited, [250, 500, 1_000, 2_000, 4_000, 8_000, 8_000]);
    let counters = scene.stage.counters();
    assert_eq!((counters.upstreams_failed, scene.stage.opened), (7, 8));
    assert!(counters.dropped(Dropped::UpstreamDown) > 100);
    // One answer, and all is as it was.
    assert_eq!(scene.media(0), Some(2));
    scene.stage.origin_refuses(&id);
    scene.later(250);
    assert!(scene.goes(0, 2, RTP));
}

#[test]
fn after_a_goodbye_a_session_lasts_for_three_seconds_of_silence() {
    for from_origin in [true, false] {
        let mut scene = Scene::new();
        let id = scene.id(0);
        scene.check(0, 2, true);
        if from_origin {
            assert_eq!(scene.stage.origin(&id, &dtls(21)), Some(at(2)));
        } else {
            assert!(scene.goes(0, 2, &dtls(21)));
        }
        // What was on its way.
        scene.later(500);
        assert!(scene.media(0).is_some() && scene.goes(0, 2, RTP));
        // Said again, as DTLS may.
        scene.later(1_000);
        assert!(scene.goes(0, 2, &dtls(21)) && scene.stage.origin(&id, &dtls(21)).is_some());
        scene.later(1_999);
        assert_eq!(scene.ended(), []);
        scene.later(1);
        assert_eq!(scene.ended(), [(id.clone(), EndReason::Closed)]);
        assert!(!scene.check(0, 2, true) && !scene.stage.is_open(&id));
        assert_eq!(scene.stage.sizes(), [1, 0, 0, 0, 0]);
    }
}

#[test]
fn a_goodbye_that_was_not_meant_is_forgotten() {
    for what in ["a check", "media", "the client's media"] {
        let mut scene = Scene::new();
        scene.check(0, 2, true);
        assert!(scene.goes(0, 2, &dtls(21)));
        scene.later(1_500);
        assert!(match what {
            "a check" => scene.check(0, 2, false),
            "media" => scene.media(0).is_some(),
            _ => scene.goes(0, 2, RTP),
        });
        scene.later(10_000);
        assert_eq!(scene.ended(), [], "{what}");
    }
}

#[test]
fn goodbyes_without_end_do_not_end_whoever_is_heard_from() {
    // A publisher without checks, an origin with media for somebody silent.
    for of_client in [true, false] {
        let mut scene = Scene::new();
        let id = scene.id(0);
        scene.check(0, 2, true);
        for step in 0..240 {
            scene.later(100);
            scene.goes(0, 2, &dtls(21));
            scene.stage.origin(&id, &dtls(21));
            if step % 29 == 0 {
                assert!(if of_client { scene.goes(0, 2, RTP) } else { scene.media(0).is_some() }, "step {step}");
            }
        }
        assert_eq!(scene.ended(), []);
    }
}

#[test]
fn goodbyes_are_no_sign_of_life() {
    let mut scene = Scene::new();
    let id = scene.id(0);
    scene.check(0, 2, true);
    for _ in 0..40 {
        scene.later(100);
        scene.goes(0, 2, &dtls(21));
        scene.stage.origin(&id, &dtls(21));
    }
    assert_eq!(scene.ended(), [(id, EndReason::Closed)]);
}

#[test]
fn a_goodbye_of_who_checks_rarely_counts_when_its_check_is_overdue() {
    let mut scene = Scene::new();
    let over = (scene.id(0), EndReason::Closed);
    for _ in 0..4 {
        assert!(scene.check(0, 2, true));
        scene.later(6_000);
    }
    assert!(scene.check(0, 2, true) && scene.goes(0, 2, &dtls(21)));
    scene.later(7_499);
    assert!(!scene.ended().contains(&over));
    scene.later(1);
    assert_eq!(scene.ended(), [over]);
}

#[test]
fn a_session_ends_when_either_side_is_silent_for_half_a_minute() {
    // Who sends, and whether the session lives on it: the client with checks, the client without, the origin, both.
    for (checks, packets, media, lives) in [
        (true, false, false, true),
        (false, true, false, false),
        (false, false, true, false),
        (false, true, true, true),
        (false, false, false, false),
    ] {
        let mut scene = Scene::new();
        scene.check(0, 2, true);
        for _ in 0..12 {
            scene.later(5_000);
            if checks {
                scene.check(0, 2, false);
            }
            if packets {
                scene.goes(0, 2, RTP);
            }
            if media {
                scene.media(0);
            }
        }
        let ended = scene.ended().iter().any(|(id, reason)| *id == scene.id(0) && *reason == EndReason::Idle);
        assert_eq!(ended, !lives, "checks {checks}, packets {packets}, media {media}");
    }
}

#[test]
fn a_session_whose_client_never_comes_is_forgotten() {
    let mut scene = Scene::new();
    scene.check(0, 2, true);
    for _ in 0..6 {
        scene.later(4_900);
        scene.check(0, 2, false);
        assert_eq!(scene.ended(), []);
    }
    scene.later(1_700);
    assert_eq!(scene.ended(), [(scene.id(1), EndReason::Idle)]);
    assert_eq!(scene.stage.sizes()[0], 1);
}

#[test]
fn a_full_relay_refuses_new_sessions_and_keeps_its_own() {
    let mut scene = Scene::new();
    for number in 2..4 {
        assert!(scene.stage.install(&session(number, &[0])).is_ok());
    }
    assert!(scene.stage.install(&session(4, &[0])).is_err());
    scene.restart(0);
    assert!(scene.check(0, 2, true));
    scene.stage.end(&session(3, &[0]).id, EndReason::Deleted);
    assert!(scene.stage.install(&session(4, &[0])).is_ok());
}

#[test]
fn ended_sessions_are_ended_wherever_they_are() {
    let mut scene = Scene::new();
    scene.check(0, 3, true);
    let ids = [scene.id(0), scene.id(1)];
    for id in &ids {
        scene.stage.end(id, EndReason::OriginGone);
        scene.stage.end(id, EndReason::Deleted);
    }
    assert_eq!(scene.ended(), ids.map(|id| (id, EndReason::OriginGone)));
    assert_eq!(scene.stage.sizes(), [0; 5]);
    assert!(!scene.check(0, 3, true) && !scene.goes(0, 3, RTP));
}

#[test]
fn a_session_in_use_is_told_of_every_ten_seconds() {
    let mut scene = Scene::new();
    scene.check(0, 2, true);
    for second in 0..60 {
        scene.later(1_000);
        // First the client checks and the origin is silent, then the other way round.
        let _ = if second < 30 { scene.check(0, 2, false) } else { scene.media(0).is_some() && scene.goes(0, 2, RTP) };
    }
    scene.later(1_000);
    assert!(scene.stage.used.iter().all(|id| *id == scene.id(0)), "the other one is not in use");
    assert!((6..=7).contains(&scene.stage.used.len()), "{}", scene.stage.used.len());
}
