use std::net::SocketAddr;
use std::num::NonZeroU32;

use whipstitch_net::addresses::MAX_CHECKED;
use whipstitch_net::{ConnectionId, Transport};

use super::*;

fn credentials(ufrag: &str) -> Credentials {
    Credentials { ufrag: ufrag.into(), pwd: format!("{ufrag}-0123456789abcdefghij").replace('-', "+") }
}

fn path(port: u16) -> Path {
    Path::to(SocketAddr::from(([192, 0, 2, 7], port)))
}

struct Scene {
    edge: Edge,
    now: Instant,
    transaction: u8,
    local: Credentials,
}

impl Scene {
    fn new() -> Scene {
        let now = Instant::now();
        let local = credentials("Lufrag01");
        Scene { edge: Edge::new(now, local.clone(), credentials("Rufrag01")), now, transaction: 0, local }
    }

    fn after(&mut self, millis: u64) -> &mut Scene {
        self.now += Duration::from_millis(millis);
        self
    }

    fn request(&mut self, use_candidate: bool) -> Vec<u8> {
        self.transaction += 1;
        let mut transaction = [7; 12];
        transaction[11] = self.transaction;
        let username = format!("{}:{}", self.local.ufrag, self.edge.current.remote.ufrag);
        stun::binding_request(&username, &self.local.pwd, use_candidate, 1, 2, transaction)
    }

    fn check(&mut self, port: u16, use_candidate: bool) -> Outcome {
        let request = self.request(use_candidate);
        self.edge.handle_stun(self.now, path(port), &request)
    }

    fn port(&self) -> Option<u16> {
        self.edge.path().map(|path| path.remote.port())
    }
}

#[test]
fn a_check_is_answered_and_binds_the_first_address() {
    let mut scene = Scene::new();
    assert!(!scene.edge.accepts(path(1)));
    let outcome = scene.check(1, false);
    assert!(outcome.reply.is_some() && outcome.moved);
    assert_eq!(outcome.checked, Some(path(1)));
    assert!(scene.edge.accepts(path(1)));
    assert_eq!(scene.port(), Some(1));
}

fn tcp(port: u16, connection: u32) -> Path {
    let connection = ConnectionId(NonZeroU32::new(connection).expect("not 0"));
    Path { transport: Transport::Tcp(connection), ..path(port) }
}

#[test]
fn one_address_over_udp_and_over_tcp_is_two() {
    let mut scene = Scene::new();
    scene.check(1, true);
    assert!(!scene.edge.accepts(tcp(1, 1)));
    let request = scene.after(1_000).request(true);
    let outcome = scene.edge.handle_stun(scene.now, tcp(1, 1), &request);
    assert!(outcome.moved && outcome.checked == Some(tcp(1, 1)));
    assert_eq!(scene.edge.path(), Some(tcp(1, 1)));
    assert!(scene.edge.accepts(path(1)) && !scene.edge.accepts(tcp(1, 2)), "another connection is another");
    assert!(scene.after(1_000).check(1, true).moved);
    assert_eq!(scene.edge.path(), Some(path(1)));
}

#[test]
fn a_closed_connection_leaves_media_without_a_way_until_the_next_check() {
    let mut scene = Scene::new();
    scene.check(1, false);
    let request = scene.request(true);
    scene.edge.handle_stun(scene.now, tcp(2, 1), &request);
    assert!(!scene.edge.closed(tcp(2, 9)), "another connection");
    assert!(scene.edge.closed(tcp(2, 1)));
    assert!(scene.edge.path().is_none() && !scene.edge.accepts(tcp(2, 1)) && scene.edge.accepts(path(1)));
    assert!(!scene.edge.closed(tcp(2, 1)));
    assert!(scene.after(5).check(1, false).moved, "no wait: there is nothing to move away from");
    assert_eq!(scene.edge.path(), Some(path(1)));
}

#[test]
fn nomination_moves_away_from_an_address_that_was_never_nominated_at_once() {
    let mut scene = Scene::new();
    scene.check(1, false);
    assert!(scene.after(5).check(2, true).moved);
    assert_eq!(scene.port(), Some(2));
}

#[test]
fn a_check_without_nomination_moves_only_after_silence() {
    let mut scene = Scene::new();
    scene.check(1, true);
    assert!(!scene.after(2_900).check(2, false).moved);
    assert_eq!(scene.port(), Some(1));
    assert!(scene.after(100).check(2, false).moved);
    assert_eq!(scene.port(), Some(2));
}

#[test]
fn life_on_the_bound_address_keeps_it() {
    let mut scene = Scene::new();
    scene.check(1, true);
    scene.after(2_000);
    scene.edge.heard(scene.now, path(1));
    assert!(!scene.after(2_000).check(2, false).moved);
    assert_eq!(scene.port(), Some(1));
}

#[test]
fn nomination_moves_at_once_but_not_twice_a_second() {
    let mut scene = Scene::new();
    scene.check(1, true);
    assert!(scene.after(1_000).check(2, true).moved);
    assert!(!scene.after(999).check(3, true).moved);
    assert_eq!(scene.port(), Some(2));
    assert!(scene.after(1).check(3, true).moved);
}

#[test]
fn a_replayed_request_moves_nothing_and_opens_no_address() {
    let mut scene = Scene::new();
    let request = scene.request(true);
    scene.edge.handle_stun(scene.now, path(1), &request);
    scene.after(10_000);
    let outcome = scene.edge.handle_stun(scene.now, path(2), &request);
    assert!(!outcome.moved && outcome.checked.is_none());
    assert!(!scene.edge.accepts(path(2)));
    assert_eq!(scene.port(), Some(1));
    assert_eq!(scene.edge.last_heard(), scene.now - Duration::from_millis(10_000));
}

#[test]
fn spoofed_and_malformed_requests_move_nothing_and_get_no_answer() {
    let mut scene = Scene::new();
    scene.check(1, true);
    scene.after(10_000);
    let good = scene.request(true);
    let wrong_pwd = stun::binding_request("Lufrag01:Rufrag01", "another-password-0123456", true, 1, 2, [9; 12]);
    let wrong_remote = stun::binding_request("Lufrag01:Other", &scene.local.pwd, true, 1, 2, [8; 12]);
    let wrong_local = stun::binding_request("Other:Rufrag01", &scene.local.pwd, true, 1, 2, [6; 12]);
    let mut bad: Vec<Vec<u8>> = vec![wrong_pwd, wrong_remote, wrong_local];
    bad.extend((0..good.len()).map(|len| good[..len].to_vec()));
    bad.extend((0..good.len()).map(|at| {
        let mut flipped = good.clone();
        flipped[at] ^= 1;
        flipped
    }));
    for datagram in bad {
        let outcome = scene.edge.handle_stun(scene.now, path(2), &datagram);
        assert!(!outcome.moved && outcome.checked.is_none(), "{datagram:02x?}");
    }
    assert_eq!(scene.port(), Some(1));
    assert!(scene.edge.handle_stun(scene.now, path(2), &good).moved, "the untouched request is good");
}

#[test]
fn checked_addresses_are_bounded_and_the_bound_one_stays() {
    let mut scene = Scene::new();
    scene.check(1, true);
    for port in 2..40 {
        scene.after(10).check(port, false);
    }
    assert_eq!(scene.edge.addresses.checked().count(), MAX_CHECKED);
    assert!(scene.edge.accepts(path(1)));
    assert!(scene.edge.accepts(path(39)));
    assert!(!scene.edge.accepts(path(2)));
}

#[test]
fn both_generations_answer_until_the_new_one_is_nominated() {
    let mut scene = Scene::new();
    scene.check(1, true);
    let old_local = scene.local.clone();
    let old = stun::binding_request("Lufrag01:Rufrag01", &old_local.pwd, true, 1, 2, [1; 12]);
    scene.local = credentials("Lufrag02");
    assert_eq!(scene.edge.restart(scene.now, scene.local.clone(), credentials("Rufrag02")), None);
    scene.after(1_000);
    assert!(scene.edge.handle_stun(scene.now, path(1), &old).reply.is_some());
    assert!(scene.check(2, false).reply.is_some());
    assert_eq!(scene.port(), Some(1), "media stays where it was");
    let outcome = scene.after(10).check(2, true);
    assert!(outcome.moved);
    assert_eq!(outcome.retired.as_deref(), Some("Lufrag01"));
    let old = stun::binding_request("Lufrag01:Rufrag01", &old_local.pwd, true, 1, 2, [2; 12]);
    assert_eq!(scene.edge.handle_stun(scene.now, path(1), &old), Outcome::default());
}

#[test]
fn an_older_generation_is_forgotten_after_fifteen_seconds() {
    let mut scene = Scene::new();
    scene.check(1, true);
    scene.edge.restart(scene.now, credentials("Lufrag02"), credentials("Rufrag02"));
    assert_eq!(scene.edge.deadline(), Some(scene.now + OLDER_LIVES));
    assert_eq!(scene.edge.handle_timeout(scene.now + OLDER_LIVES - Duration::from_millis(1)), None);
    assert_eq!(scene.edge.handle_timeout(scene.now + OLDER_LIVES).as_deref(), Some("Lufrag01"));
    assert_eq!(scene.edge.deadline(), None);
}

#[test]
fn before_anybody_came_the_oldest_of_three_generations_goes() {
    let mut scene = Scene::new();
    assert_eq!(scene.edge.restart(scene.now, credentials("Lufrag02"), credentials("Rufrag02")), None);
    let dropped = scene.edge.restart(scene.now, credentials("Lufrag03"), credentials("Rufrag03"));
    assert_eq!(dropped.as_deref(), Some("Lufrag01"), "or the worker would keep its ufrag");
}

#[test]
fn of_three_generations_the_one_that_carries_media_and_the_newest_stay() {
    let mut scene = Scene::new();
    scene.check(1, true);
    scene.edge.restart(scene.now, credentials("Lufrag02"), credentials("Rufrag02"));
    let dropped = scene.edge.restart(scene.now, credentials("Lufrag03"), credentials("Rufrag03"));
    assert_eq!(dropped.as_deref(), Some("Lufrag02"));
    let old = stun::binding_request("Lufrag01:Rufrag01", &scene.local.pwd, true, 1, 2, [3; 12]);
    assert!(scene.edge.handle_stun(scene.now, path(1), &old).reply.is_some());
}
