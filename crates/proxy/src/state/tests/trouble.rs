//! A registry that is slow, that comes back, that refuses, and thousands of sessions that end.

use super::world::Weather;
use super::*;

/// Each call takes 300 ms: late, but never away.
const SLOW: Weather = Weather { lost: 0, least_ms: 150, late_ms: 150 };

#[tokio::test(start_paused = true)]
async fn however_much_is_to_be_written_no_origin_seems_gone_for_it() {
    let server = Server::new();
    let (one, two) = (site(&server), site(&server));
    two.heartbeat("a", &[]).await;
    assert_eq!(one.use_it("cam").await, "a");
    one.heartbeat("b", &[]).await;
    let sessions: Vec<_> = (0..80).map(|n| Arc::new(session(&format!("s{n}"), "cam", &id("a")))).collect();
    for session in &sessions {
        one.state.opened(Arc::clone(session)).await.unwrap();
    }
    one.link.set_weather(SLOW);
    server.set_down(true);
    pass(1.5).await;
    server.wipe();
    server.set_down(false);
    for second in 0..14 {
        if second % 2 == 0 {
            two.heartbeat("a", &[]).await;
            one.heartbeat("b", &[]).await;
        }
        pass(1.0).await;
        let standing = one.state.origins()[0].standing;
        assert!(standing < Standing::Gone, "{standing:?} after {second} s");
        assert_eq!(one.pick("cam").await.map(|(origin, _)| origin), Ok("a".to_owned()), "{second}");
    }
    for session in &sessions {
        assert_eq!(server.memory().by_id(&session.id).await, Ok(Some(Session::clone(session))));
    }
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_seems_gone_here_is_asked_for_before_its_stream_moves() {
    let server = Server::new();
    let (one, two) = (site(&server), site(&server));
    two.heartbeat("a", &[]).await;
    assert_eq!(one.use_it("cam").await, "a");
    // Only this one does not hear of it, nor reaches it.
    one.probe.kill("a");
    one.link.cut(true);
    for _ in 0..4 {
        one.heartbeat("b", &[]).await;
        two.heartbeat("a", &[]).await;
        pass(2.0).await;
    }
    two.heartbeat("a", &[]).await;
    assert_eq!(one.state.origins()[0].standing, Standing::Gone);
    one.link.cut(false);
    assert_eq!(one.pick("cam").await, Ok(("a".to_owned(), false)));
}

#[tokio::test(start_paused = true)]
async fn whoever_hears_first_that_the_registry_is_back_it_is_told_what_it_lost() {
    let server = Server::new();
    let (one, two) = (site(&server), site(&server));
    one.heartbeat("a", &[]).await;
    assert_eq!(one.use_it("cam").await, "a");
    let session = Arc::new(session("one", "cam", &id("a")));
    one.state.opened(Arc::clone(&session)).await.unwrap();
    // Not at the same time as what happens each second.
    pass(0.5).await;
    server.set_down(true);
    pass(1.0).await;
    assert!(one.state.is_away());
    server.wipe();
    server.set_down(false);
    one.heartbeat("a", &[]).await;
    assert!(!one.state.is_away());
    pass(1.1).await;
    assert_eq!(two.state.session(&session.id).await, Ok(Some(Arc::clone(&session))));
    assert_eq!(server.claim_of("cam"), Some(id("a")));
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_refuses_is_not_away_and_serves_others() {
    let server = Server::new();
    let one = site(&server);
    one.heartbeat("a", &[]).await;
    assert_eq!(one.use_it("cam").await, "a");
    for n in 0..100_000 {
        let _ = server.memory().claim(&format!("s{n}"), &id("a")).await;
    }
    assert_eq!(one.pick("new").await, Err(NoOrigin::RegistryAway), "there is no room for it");
    assert_eq!(one.pick("cam").await, Ok(("a".to_owned(), false)));
    assert!(!one.state.is_away());
    pass(61.0).await;
    one.heartbeat("a", &[]).await;
    assert_eq!(one.pick("new").await.map(|(origin, _)| origin), Ok("a".to_owned()), "as soon as there is room");
    let counters = one.state.counters();
    assert_eq!((counters.away.load(Ordering::Relaxed), counters.refused.load(Ordering::Relaxed)), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn thousands_of_sessions_that_end_at_once_are_ended_in_the_registry_and_none_is_lost() {
    let server = Server::new();
    let link = Link::new(&server, 0, SLOW);
    let one = on(link);
    let sessions: Vec<_> = (0..100).map(|n| Arc::new(session(&format!("s{n}"), "cam", &id("a")))).collect();
    for session in &sessions {
        server.memory().store(session).await.unwrap();
    }
    for _ in 0..10 {
        (0..1000).for_each(|_| one.state.relay_ended(SessionId::random(), Ended::Closed));
        pass(0.01).await;
    }
    sessions.iter().for_each(|session| one.state.relay_ended(session.id.clone(), Ended::Closed));
    pass(3.0).await;
    assert_eq!(one.state.counters().dropped.load(Ordering::Relaxed), 0);
    for session in &sessions {
        assert_eq!(server.memory().by_id(&session.id).await, Ok(None));
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_that_is_heard_of_late_does_not_forget_a_session_that_has_come_back() {
    let server = Server::new();
    let one = site(&server);
    let session = Arc::new(session("one", "cam", &id("a")));
    one.state.opened(Arc::clone(&session)).await.unwrap();
    // The relay said so before it took the session in again.
    one.state.relay_ended(session.id.clone(), Ended::Idle);
    pass(0.1).await;
    assert!(one.relay.has(&session.id));
    assert_eq!(one.state.sessions(), 1);
    one.relay.end(&session.id);
    one.state.relay_ended(session.id.clone(), Ended::Idle);
    pass(0.1).await;
    assert_eq!(one.state.sessions(), 0);
}
