//! Who is where: what binds an address, what moves it, and what does not.

use super::*;

#[test]
fn nothing_is_passed_on_before_a_check_and_everything_after() {
    let mut scene = Scene::new();
    for datagram in [RTP.to_vec(), dtls(22)] {
        assert!(!scene.goes(0, 2, &datagram));
    }
    assert_eq!((scene.dropped(Dropped::Unbound), scene.media(0)), (2, None));
    assert!(!scene.stage.is_open(&scene.id(0)), "no socket for whoever has proven nothing");
    assert!(scene.check(0, 2, false));
    assert!(scene.goes(0, 2, &dtls(22)) && scene.goes(0, 2, RTP));
    assert_eq!((scene.media(0), scene.stage.opened), (Some(2), 1));
    assert!(!scene.goes(0, 4, RTP), "the next port is not the client");
    let state = scene.stage.states().into_iter().find(|state| state.client.is_some()).expect("one got through");
    assert_eq!((state.client, state.worker), (Some(at(2)), Some(0)));
}

#[test]
fn a_client_that_its_nat_gives_another_address_is_followed() {
    let mut scene = Scene::new();
    scene.check(0, 2, true);
    scene.later(1_000);
    assert!(!scene.goes(0, 4, RTP), "media alone proves nothing");
    assert!(scene.check(0, 4, true));
    assert_eq!(scene.media(0), Some(4));
    assert!(scene.goes(0, 4, RTP));
    // Without nomination only when the old address is silent.
    scene.later(2_900);
    assert!(scene.check(0, 6, false));
    assert_eq!(scene.media(0), Some(4));
    scene.later(200);
    assert!(scene.check(0, 6, false));
    assert_eq!(scene.media(0), Some(6));
}

#[test]
fn a_request_that_is_not_signed_by_the_origins_password_does_nothing() {
    let mut scene = Scene::new();
    scene.check(0, 2, true);
    scene.later(10_000);
    let ice = scene.records[0].generations[0].clone();
    let other = scene.records[1].generations[0].clone();
    let guessed = stun::binding_request(ice.pair().as_str(), "a-guessed-password-0123", true, 1, 2, [9; 12]);
    // The client's own password, and another session's, which its viewer knows.
    let own = stun::binding_request(ice.pair().as_str(), ice.client.pwd(), true, 1, 2, [8; 12]);
    let foreign = stun::binding_request(ice.pair().as_str(), other.origin.pwd(), true, 1, 2, [7; 12]);
    for spoofed in [&guessed, &own, &foreign] {
        assert!(!scene.goes(0, 4, spoofed));
    }
    assert_eq!(scene.dropped(Dropped::Integrity), 3);
    let mut unprinted = scene.request(&ice, true);
    *unprinted.last_mut().expect("bytes") ^= 1;
    assert!(!scene.goes(0, 4, &unprinted) && !scene.goes(0, 4, RTP));
    assert_eq!((scene.dropped(Dropped::Fingerprint), scene.media(0)), (1, Some(2)));
    // Nor before anybody has come: no worker takes the session for it.
    let early = stun::binding_request(other.pair().as_str(), "a-guessed-password-0123", true, 1, 2, [6; 12]);
    assert!(!scene.goes(1, 4, &early));
    assert!(scene.stage.states().iter().all(|state| state.id != scene.id(1) || state.worker.is_none()));
}

#[test]
fn a_replay_moves_nothing_and_a_repetition_is_passed_on_a_few_times() {
    let mut scene = Scene::new();
    let ice = scene.records[0].generations[0].clone();
    let request = scene.request(&ice, true);
    assert!(scene.goes(0, 2, &request));
    scene.later(10_000);
    assert!(!scene.goes(0, 4, &request) && !scene.goes(0, 3, &request), "at either worker");
    assert_eq!((scene.dropped(Dropped::Replayed), scene.media(0)), (2, Some(2)));
    let again = (0..20).filter(|_| scene.goes(0, 2, &request)).count();
    assert_eq!(again, 6, "seven times in all");
    // When its answer is long forgotten it is a replay from there, too.
    for _ in 0..40 {
        scene.check(0, 2, true);
    }
    assert!(!scene.goes(0, 2, &request));
    scene.later(25_000);
    assert!(!scene.goes(0, 2, &request));
    scene.later(5_000);
    let over = (scene.id(0), EndReason::Idle);
    assert!(scene.ended().contains(&over), "a replay is no sign of life");
}

#[test]
fn answers_go_to_whoever_asked() {
    let mut scene = Scene::new();
    let (id, ice) = (scene.id(0), scene.records[0].generations[0].clone());
    let requests = [scene.request(&ice, true), scene.request(&ice, false), scene.request(&ice, false)];
    for (port, request) in [2, 4, 5].into_iter().zip(&requests) {
        assert!(scene.goes(0, port, request), "from {port}");
    }
    for (port, request) in [2, 4, 5].into_iter().zip(&requests).rev() {
        assert_eq!(scene.stage.origin(&id, &answer(request)), Some(at(port)));
    }
    assert_eq!(scene.media(0), Some(2), "media goes where it was nominated");
    let unasked = scene.request(&ice, false);
    assert_eq!(scene.stage.origin(&id, &answer(&unasked)), Some(at(2)));
}

#[test]
fn an_origin_that_checks_itself_is_answered() {
    let mut scene = Scene::new();
    scene.check(0, 2, true);
    let id = scene.id(0);
    let of_origin = stun::binding_request("client0g0:origin0g0", "the client's password 0123", false, 1, 2, [3; 12]);
    assert_eq!(scene.stage.origin(&id, &of_origin), Some(at(2)));
    let response = answer(&of_origin);
    assert!(stun::head(&response).expect("a message").username.is_none());
    assert!(scene.goes(0, 2, &response));
    assert!(!scene.goes(0, 4, &response), "from nobody's address");
}

#[test]
fn a_port_that_a_nat_gives_to_another_client_is_the_other_clients() {
    for other in [2, 3] {
        let mut scene = Scene::new();
        // The first session is on the worker of this port, the second on that of `other`.
        assert!(scene.check(0, 2, true) && scene.check(1, other + 2, true));
        scene.later(12_999);
        assert!(!scene.check(1, 2, true));
        scene.later(1);
        assert!(scene.check(1, 2, true));
        assert_eq!((scene.media(0), scene.media(1)), (None, Some(2)), "nothing of the old session goes there");
        assert!(scene.goes(1, 2, RTP));
        // The one who lost it comes back elsewhere.
        assert!(scene.check(0, 8, false));
        assert_eq!(scene.media(0), Some(8));
    }
}

#[test]
fn an_address_in_use_is_not_taken_by_another_sessions_check() {
    for other in [4, 5] {
        let mut scene = Scene::new();
        assert!(scene.check(0, 2, true) && scene.check(1, other, true));
        for second in 0..5 {
            assert!(scene.goes(0, 2, RTP));
            scene.later(1_000);
            // Signed as it should be by who may watch the other stream, with the address of who watches this one.
            assert!(!scene.check(1, 2, true));
            assert_eq!(scene.dropped(Dropped::AddressTaken), second + 1);
            assert_eq!((scene.media(0), scene.media(1)), (Some(2), Some(other)));
        }
        // Anybody can write a goodbye in its name, and in its origin's.
        assert!(scene.goes(0, 2, &dtls(21)));
        let id = scene.id(0);
        assert_eq!(scene.stage.origin(&id, &dtls(21)), Some(at(2)));
        assert!(!scene.check(1, 2, true));
        assert_eq!((scene.media(0), scene.media(1)), (Some(2), Some(other)));
    }
}

#[test]
fn who_only_checks_now_and_then_is_not_displaced_whatever_is_sent_in_its_name() {
    // The client's first address and the one it talks from, the other session's own, and whether goodbyes are sent.
    let places = [(2, 2, 4), (2, 2, 5), (2, 3, 4), (2, 3, 5)];
    for ((first, port, other), goodbyes) in places.into_iter().flat_map(|place| [(place, true), (place, false)]) {
        let mut scene = Scene::new();
        let id = scene.id(0);
        assert!(scene.check(0, first, true));
        scene.later(1_000);
        assert!(scene.check(0, port, true) && scene.check(1, other, true));
        for second in 0..60 {
            // Every five seconds, as RFC 7675 has it, and nothing else is sent or received. One check may be lost.
            if second % 5 == 0 && (goodbyes || second != 30) {
                assert!(scene.check(0, port, false), "second {second}");
            }
            scene.check(1, other, false);
            for _ in 0..10 {
                scene.later(100);
                // Before the first pause its rhythm is not known.
                if goodbyes && second >= 5 {
                    scene.goes(0, port, &dtls(21));
                    scene.stage.origin(&id, &dtls(21));
                }
                assert!(!scene.check(1, port, true), "second {second}");
            }
        }
        assert_eq!(scene.ended(), []);
        assert_eq!((scene.media(0), scene.media(1)), (Some(port), Some(other)));
    }
}

#[test]
fn whoever_comes_after_a_goodbye_from_the_same_address_waits_no_longer_than_the_session() {
    for other in [4, 5] {
        let mut scene = Scene::new();
        assert!(scene.check(0, 2, true) && scene.check(1, other, true));
        assert!(scene.goes(0, 2, &dtls(21)));
        scene.later(2_999);
        assert!(!scene.check(1, 2, true));
        scene.later(1);
        assert!(scene.check(1, 2, true) && scene.goes(1, 2, RTP));
    }
}

#[test]
fn what_comes_to_another_worker_finds_its_session() {
    let mut scene = Scene::new();
    assert!(scene.check(0, 2, true));
    assert!(!scene.goes(0, 5, RTP));
    assert!(scene.check(0, 5, false), "handed over");
    assert!(scene.goes(0, 5, RTP), "and now this worker knows");
    scene.later(3_500);
    assert!(scene.check(0, 5, false));
    assert_eq!(scene.media(0), Some(5));
    // An address that was taken there is lost here.
    scene.later(13_000);
    assert!(scene.check(1, 5, true));
    assert_eq!((scene.media(0), scene.media(1)), (None, Some(5)));
    assert!(scene.goes(1, 5, RTP));
    let ids = [scene.id(0), scene.id(1)];
    ids.iter().for_each(|id| scene.stage.end(id, EndReason::Deleted));
    assert_eq!(scene.stage.sizes(), [0; 5]);
}

#[test]
fn addresses_of_one_session_are_bounded() {
    let mut scene = Scene::new();
    assert!(scene.check(0, 2, true));
    for port in 10..60 {
        assert!(scene.check(0, port, false));
    }
    let [.., addresses, _, _] = scene.stage.sizes();
    // Those that came to the other worker are known there, too.
    assert!((8..=16).contains(&addresses), "{addresses}");
    assert!(scene.goes(0, 2, RTP) && scene.goes(0, 59, RTP) && !scene.goes(0, 10, RTP));
    assert_eq!(scene.media(0), Some(2));
}
