//! One proxy, or two that share a registry, step by step. What happens when everything goes wrong at once is in
//! `scenarios`.

mod scenarios;
mod trouble;
mod world;

use std::time::Duration;

use super::*;
use crate::record::Role;
use crate::registry::exercise::{generation, origin, session};
use world::{Link, Server, SimProbe, SimRelay};

/// A proxy, what it is connected to, and the relay it tells.
struct Site {
    state: Arc<State>,
    relay: Arc<SimRelay>,
    probe: Arc<SimProbe>,
    link: Arc<Link>,
}

fn site(server: &Arc<Server>) -> Site {
    on(Link::good(server))
}

fn on(link: Arc<Link>) -> Site {
    let (probe, relay) = (Arc::new(SimProbe::default()), Arc::new(SimRelay::default()));
    let config = StateConfig { origins: Vec::new(), most_sessions: 100 };
    let state = State::start(Arc::clone(&link) as Arc<dyn Registry>, Arc::clone(&probe) as Arc<dyn Probe>, config);
    state.attach(&relay);
    Site { state, relay, probe, link }
}

fn id(text: &str) -> OriginId {
    OriginId::parse(text).unwrap()
}

async fn pass(seconds: f64) {
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
}

impl Site {
    async fn heartbeat(&self, of: &str, streams: &[&str]) {
        let streams = streams.iter().map(|stream| (*stream).to_owned()).collect();
        self.state.heartbeat(Heartbeat { record: origin(of), streams }).await.unwrap();
    }

    async fn pick(&self, stream: &str) -> Result<(String, bool), NoOrigin> {
        let picked = self.state.pick(stream, Role::Viewer).await?;
        Ok((picked.origin.id.as_str().to_owned(), picked.claimed_now))
    }

    /// Like a client that is answered.
    async fn use_it(&self, stream: &str) -> String {
        let picked = self.state.pick(stream, Role::Viewer).await.unwrap();
        self.state.answered(stream, &picked, true).await;
        picked.origin.id.as_str().to_owned()
    }
}

#[tokio::test(start_paused = true)]
async fn a_proxy_is_ready_once_the_registry_has_answered_and_while_an_origin_takes_new_streams() {
    let server = Server::new();
    server.set_down(true);
    let site = site(&server);
    let reason = || site.state.unready().unwrap_or("ready");
    pass(3.0).await;
    assert!(reason().contains("registry"), "{}", reason());
    server.set_down(false);
    pass(3.0).await;
    assert!(reason().contains("no origin"), "{}", reason());
    site.heartbeat("a", &[]).await;
    assert_eq!(reason(), "ready");
    server.set_down(true);
    site.heartbeat("a", &[]).await;
    pass(1.0).await;
    assert_eq!(reason(), "ready", "known streams are served");
    server.set_down(false);
    assert_eq!(site.state.drain(&id("a"), true).await, Ok(true));
    assert!(reason().contains("no origin"), "{}", reason());
}

#[tokio::test(start_paused = true)]
async fn a_stream_keeps_its_origin_at_every_proxy_and_gets_another_when_that_is_gone() {
    let server = Server::new();
    let (one, two) = (site(&server), site(&server));
    assert_eq!(one.pick("cam").await, Err(NoOrigin::None));
    one.heartbeat("a", &[]).await;
    assert_eq!(one.use_it("cam").await, "a");
    two.heartbeat("b", &[]).await;
    assert_eq!(two.pick("cam").await, Ok(("a".to_owned(), false)), "also where its heartbeat did not come");
    for _ in 0..4 {
        pass(2.0).await;
        two.heartbeat("b", &[]).await;
    }
    assert_eq!(two.pick("cam").await, Ok(("b".to_owned(), true)));
    assert_eq!(one.pick("cam").await, Ok(("b".to_owned(), false)));
    assert_eq!(two.state.counters.reclaimed.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_led_to_nothing_is_taken_back_unless_somebody_counts_on_it() {
    let server = Server::new();
    let (one, two) = (site(&server), site(&server));
    one.heartbeat("a", &[]).await;
    let nothing = one.state.pick("cam", Role::Viewer).await.unwrap();
    assert!(nothing.claimed_now);
    one.state.answered("cam", &nothing, false).await;
    assert_eq!(server.claim_of("cam"), None);

    let nothing = one.state.pick("cam", Role::Viewer).await.unwrap();
    let publisher = two.state.pick("cam", Role::Publisher).await.unwrap();
    assert!(!publisher.claimed_now);
    two.state.answered("cam", &publisher, true).await;
    one.state.answered("cam", &nothing, false).await;
    assert_eq!(server.claim_of("cam"), Some(id("a")));
}

/// Anybody may ask about any name.
#[tokio::test(start_paused = true)]
async fn a_question_goes_where_the_stream_is_or_would_be_and_claims_nothing() {
    let server = Server::new();
    let (one, two) = (site(&server), site(&server));
    let look = async |site: &Site| site.state.look("cam", Role::Viewer).await.map(|it| it.id.as_str().to_owned());
    assert_eq!(look(&one).await, Err(NoOrigin::None));
    one.heartbeat("a", &[]).await;
    for site in [&one, &two] {
        assert_eq!(look(site).await.as_deref(), Ok("a"), "also where its heartbeat did not come");
    }
    assert_eq!((server.claim_of("cam"), one.state.streams_known()), (None, 0));
    pass(0.1).await;
    one.heartbeat("b", &["cam"]).await;
    assert_eq!(look(&two).await.as_deref(), Ok("b"), "who has the stream");
    for _ in 0..4 {
        pass(2.0).await;
        one.heartbeat("a", &[]).await;
    }
    assert_eq!(look(&two).await.as_deref(), Ok("a"), "who would get it next");
    assert_eq!(server.claim_of("cam"), Some(id("b")));
    one.link.cut(true);
    assert_eq!(look(&one).await, Err(NoOrigin::RegistryAway));
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_cannot_be_connected_to_is_looked_at_before_its_streams_go_elsewhere() {
    let server = Server::new();
    let one = site(&server);
    one.heartbeat("a", &[]).await;
    assert_eq!(one.use_it("cam").await, "a");
    one.heartbeat("b", &[]).await;
    one.state.failed(&id("a"));
    assert_eq!(one.pick("cam").await.unwrap().0, "a", "a probe was answered");
    one.state.failed(&id("a"));
    assert_eq!(one.pick("other").await.unwrap().0, "a".to_owned().replace('a', "b"), "nothing new meanwhile");
    one.probe.kill("a");
    assert_eq!(one.pick("cam").await, Ok(("b".to_owned(), true)));
    one.heartbeat("a", &[]).await;
    assert_eq!(one.state.origins()[0].standing, Standing::Gone, "heartbeats come, requests do not get there");
    one.probe.revive("a");
    pass(4.0).await;
    one.heartbeat("a", &[]).await;
    assert_eq!(one.state.origins()[0].standing, Standing::Up);
}

#[tokio::test(start_paused = true)]
async fn a_drained_origin_keeps_its_streams_and_one_that_stops_its_viewers() {
    let server = Server::new();
    let (one, two) = (site(&server), site(&server));
    one.heartbeat("a", &[]).await;
    assert_eq!(one.use_it("cam").await, "a");
    one.heartbeat("b", &[]).await;
    assert_eq!(two.state.drain(&id("a"), true).await, Ok(false), "it has not heard of it yet");
    pass(1.1).await;
    assert_eq!(two.state.drain(&id("a"), true).await, Ok(true));
    pass(1.1).await;
    assert_eq!(one.state.pick("cam", Role::Publisher).await.unwrap().origin.id, id("a"));
    for n in 0..20 {
        assert_eq!(one.pick(&format!("new{n}")).await.unwrap().0, "b");
    }
    let mut stopping = origin("a");
    stopping.draining = true;
    one.state.registered(stopping).await.unwrap();
    assert_eq!(one.pick("cam").await.unwrap().0, "a");
    assert_eq!(one.state.pick("cam", Role::Publisher).await.unwrap().origin.id, id("b"));
    assert_eq!(one.pick("cam").await.unwrap().0, "b");
    pass(1.1).await;
    assert_eq!(one.state.remove(&id("a")).await, Ok(true));
    pass(1.1).await;
    assert_eq!(two.state.origins()[0].standing, Standing::Draining, "until its lease ends, nobody new goes there");
}

#[tokio::test(start_paused = true)]
async fn while_the_registry_is_away_only_known_streams_of_live_origins_are_served() {
    let server = Server::new();
    let (one, two) = (site(&server), site(&server));
    one.heartbeat("a", &[]).await;
    assert_eq!(one.use_it("cam").await, "a");
    assert_eq!(two.pick("cam").await.unwrap().0, "a");
    server.set_down(true);
    for second in 0..50 {
        pass(1.0).await;
        // Heartbeats reach the first only; the second looks for itself.
        if second % 2 == 0 {
            one.heartbeat("a", &[]).await;
        }
        assert_eq!(one.pick("cam").await, Ok(("a".to_owned(), false)), "{second}");
        assert_eq!(two.pick("cam").await, Ok(("a".to_owned(), false)), "{second}");
        assert_eq!(one.pick("new").await, Err(NoOrigin::RegistryAway));
    }
    two.probe.kill("a");
    pass(7.0).await;
    assert_eq!(two.pick("cam").await, Err(NoOrigin::RegistryAway), "its origin is gone");
    one.heartbeat("a", &[]).await;
    pass(5.0).await;
    assert_eq!(one.pick("cam").await, Err(NoOrigin::RegistryAway), "the claim has expired");
    one.heartbeat("a", &["cam"]).await;
    assert_eq!(one.pick("cam").await, Ok(("a".to_owned(), false)), "the origin itself says that it has it");
}

#[tokio::test(start_paused = true)]
async fn what_was_opened_while_the_registry_was_away_or_lost_everything_is_written_later() {
    let server = Server::new();
    let (one, two) = (site(&server), site(&server));
    one.heartbeat("a", &[]).await;
    assert_eq!(one.use_it("cam").await, "a");
    let early = Arc::new(session("early", "cam", &id("a")));
    one.state.opened(Arc::clone(&early)).await.unwrap();
    server.set_down(true);
    let late = Arc::new(session("late", "cam", &id("a")));
    one.state.opened(Arc::clone(&late)).await.unwrap();
    assert_eq!(one.relay.all(), [early.id.clone(), late.id.clone()].into());
    assert_eq!(two.state.session(&late.id).await, Err(Away));
    server.wipe();
    server.set_down(false);
    for _ in 0..2 {
        pass(2.0).await;
        one.heartbeat("a", &[]).await;
    }
    for session in [&early, &late] {
        assert_eq!(two.state.session(&session.id).await, Ok(Some(Arc::clone(session))));
    }
    assert_eq!(server.claim_of("cam"), Some(id("a")));
}

#[tokio::test(start_paused = true)]
async fn after_the_registry_was_away_a_stream_that_is_new_to_it_waits_until_all_have_told_it_what_they_know() {
    let server = Server::new();
    let (one, two) = (site(&server), site(&server));
    for site in [&one, &two] {
        site.heartbeat("a", &[]).await;
        site.heartbeat("b", &[]).await;
    }
    let holder = one.use_it("cam").await;
    one.state.opened(Arc::new(session("one", "cam", &id(&holder)))).await.unwrap();
    server.set_down(true);
    pass(1.5).await;
    server.wipe();
    one.link.cut(true);
    server.set_down(false);
    pass(1.1).await;
    assert_eq!(two.pick("cam").await, Err(NoOrigin::RegistryAway), "who knows who has it");
    one.link.cut(false);
    pass(1.0).await;
    assert_eq!(two.pick("cam").await, Ok((holder, false)));
    assert_eq!(two.pick("new").await, Err(NoOrigin::RegistryAway));
    for site in [&one, &two] {
        site.heartbeat("a", &[]).await;
        site.heartbeat("b", &[]).await;
    }
    pass(2.0).await;
    assert!(two.pick("new").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn any_proxy_takes_over_any_session_and_hears_of_its_restart_and_its_end() {
    let server = Server::new();
    let (one, two) = (site(&server), site(&server));
    let session = Arc::new(session("one", "cam", &id("a")));
    let pair = session.pairs().next().unwrap();
    one.state.opened(Arc::clone(&session)).await.unwrap();
    assert!(two.state.wanted(pair.clone()));
    let nobodys = generation("nobody").pair();
    assert!(two.state.wanted(nobodys.clone()));
    pass(0.1).await;
    assert_eq!(two.relay.all(), [session.id.clone()].into());
    assert_eq!(two.relay.unknown(), [nobodys]);

    two.state.restarted(&session.id, generation("two"), Some("\"2\"".to_owned())).await;
    let restarted = one.state.registry.by_id(&session.id).await.unwrap().unwrap();
    assert_eq!(restarted.generations, [generation("one"), generation("two")]);
    assert_eq!(restarted.etag.as_deref(), Some("\"2\""));
    two.state.restarted(&session.id, generation("three"), None).await;
    let restarted = two.state.session(&session.id).await.unwrap().unwrap();
    assert_eq!(restarted.generations, [generation("two"), generation("three")], "two at most");

    two.state.closed(&session.id).await;
    assert!(two.relay.all().is_empty() && one.relay.all().len() == 1);
    one.state.in_use(vec![session.id.clone()]);
    pass(0.1).await;
    assert!(one.relay.all().is_empty(), "it has ended elsewhere");
    assert_eq!(one.state.session(&session.id).await, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn use_makes_records_and_claims_last_and_a_client_that_left_does_not_end_its_session() {
    let server = Server::new();
    let (one, two) = (site(&server), site(&server));
    one.heartbeat("a", &[]).await;
    one.use_it("cam").await;
    let session = Arc::new(session("one", "cam", &id("a")));
    one.state.opened(Arc::clone(&session)).await.unwrap();
    for _ in 0..30 {
        pass(5.0).await;
        one.heartbeat("a", &[]).await;
        one.state.in_use(vec![session.id.clone()]);
    }
    assert_eq!(server.claim_of("cam"), Some(id("a")));
    one.relay.end(&session.id);
    one.state.relay_ended(session.id.clone(), Ended::Idle);
    pass(0.1).await;
    assert_eq!(one.state.sessions(), 0);
    assert!(two.state.session(&session.id).await.unwrap().is_some(), "its client may be at the other one");
    two.state.wanted(session.pairs().next().unwrap());
    pass(0.1).await;
    two.state.relay_ended(session.id.clone(), Ended::Closed);
    pass(0.1).await;
    assert_eq!(one.state.session(&session.id).await, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn no_more_sessions_than_there_may_be_and_none_that_the_relay_forgot() {
    let site = site(&Server::new());
    for n in 0..100 {
        site.state.opened(Arc::new(session(&n.to_string(), "cam", &id("a")))).await.unwrap();
    }
    assert!(!site.state.has_room());
    assert_eq!(site.state.opened(Arc::new(session("more", "cam", &id("a")))).await, Err(Full));
    pass(122.0).await;
    assert_eq!(site.state.sessions(), 0);
    site.relay.fill();
    assert_eq!(site.state.opened(Arc::new(session("more", "cam", &id("a")))).await, Err(Full));
    assert_eq!(site.state.sessions(), 0);
}

#[tokio::test(start_paused = true)]
async fn streams_that_an_origin_names_are_its_unless_they_are_anothers() {
    let server = Server::new();
    let one = site(&server);
    one.heartbeat("a", &["cam"]).await;
    one.heartbeat("b", &["cam", "roof"]).await;
    assert_eq!((server.claim_of("cam"), server.claim_of("roof")), (Some(id("a")), Some(id("b"))));
    assert_eq!(one.state.counters.conflicts.load(Ordering::Relaxed), 1);
    let streams: Vec<_> = one.state.streams().into_iter().map(|seen| (seen.stream, seen.origin)).collect();
    assert_eq!(streams, [("cam".to_owned(), id("a")), ("roof".to_owned(), id("b"))]);
}

#[tokio::test(start_paused = true)]
async fn everything_ends_when_nobody_holds_the_state() {
    let server = Server::new();
    let Site { state, link, .. } = site(&server);
    pass(5.0).await;
    let weak = Arc::downgrade(&state);
    drop(state);
    pass(5.0).await;
    assert_eq!(weak.strong_count(), 0);
    assert_eq!(Arc::strong_count(&link), 1);
}
