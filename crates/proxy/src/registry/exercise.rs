//! What every registry does, over one that is empty: the same tests for memory and Redis.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{Refreshed, Registry};
use crate::ice::{Credentials, Generation};
use crate::origins::{Kind, Load, Origin, OriginRecord};
use crate::record::{OriginId, Role, Session, SessionId};

/// An origin that sends a heartbeat each two seconds.
///
/// # Panics
/// If that is no name of an origin.
#[must_use]
pub fn origin(id: &str) -> OriginRecord {
    OriginRecord {
        origin: Origin {
            id: OriginId::parse(id).expect("an id"),
            url: Origin::url("http://10.0.0.2:8555").expect("a URL"),
            kind: Kind::Whipstitch,
            rtc: Some(SocketAddr::from(([10, 0, 0, 2], 8189))),
        },
        load: Load { cpu: 0.25, sessions: 7, ..Load::default() },
        draining: false,
        interval: Duration::from_secs(2),
        instance: "1".to_owned(),
    }
}

/// A session whose ufrags begin with this.
///
/// # Panics
/// If that is no part of a ufrag.
#[must_use]
pub fn session(of: &str, stream: &str, origin: &OriginId) -> Session {
    Session {
        id: SessionId::random(),
        stream: stream.to_owned(),
        role: Role::Viewer,
        origin: origin.clone(),
        rtc: SocketAddr::from(([10, 0, 0, 2], 8189)),
        generations: vec![generation(of)],
        resource: format!("http://10.0.0.2:8555/whep/{stream}/0123"),
        etag: Some("\"1\"".to_owned()),
        created_ms: 7,
    }
}

/// Credentials whose ufrags begin with this.
///
/// # Panics
/// If that is no part of a ufrag.
#[must_use]
pub fn generation(of: &str) -> Generation {
    let credentials = |side| Credentials::new(&format!("{of}{side}ufrag"), &"p".repeat(22)).expect("a ufrag");
    Generation { origin: credentials('o'), client: credentials('c') }
}

/// All of it.
///
/// # Panics
/// If it does something else.
pub async fn everything(registry: &dyn Registry) {
    origins_are_listed_drained_and_removed(registry).await;
    the_first_claim_wins_and_only_its_maker_takes_it_back(registry).await;
    sessions_are_found_by_pair_and_url_until_they_end(registry).await;
    assert_eq!(registry.poisoned(), 0);
}

async fn origins_are_listed_drained_and_removed(registry: &dyn Registry) {
    let (a, b) = (origin("a"), origin("b"));
    let (id_a, id_b) = (&a.origin.id, &b.origin.id);
    assert_eq!(registry.origins().await.unwrap(), super::Listing::default());
    assert_eq!(registry.heartbeat(&a).await, Ok(true));
    assert_eq!(registry.heartbeat(&b).await, Ok(true));
    registry.drain(id_a, true).await.unwrap();
    let listing = registry.origins().await.unwrap();
    assert_eq!(listing.origins.iter().map(|listed| &listed.record).collect::<Vec<_>>(), [&a, &b]);
    assert!(listing.origins.iter().all(|listed| listed.age < Duration::from_secs(5)));
    assert_eq!(listing.drained, [id_a.clone()].into());
    assert_eq!(registry.heartbeat(&a).await, Ok(true));
    assert_eq!(registry.origins().await.unwrap().drained, [id_a.clone()].into(), "a heartbeat is no undrain");
    registry.drain(id_a, false).await.unwrap();
    assert!(registry.origins().await.unwrap().drained.is_empty());
    registry.drain(id_b, true).await.unwrap();
    registry.remove(id_b).await.unwrap();
    let listing = registry.origins().await.unwrap();
    assert_eq!((listing.origins.len(), listing.drained.len()), (1, 0));
}

async fn the_first_claim_wins_and_only_its_maker_takes_it_back(registry: &dyn Registry) {
    let id = |text| OriginId::parse(text).unwrap();
    let (a, b, c) = (id("a"), id("[2001:db8::1]:8555"), id("c.example-net_1"));
    assert_eq!(registry.claim_of("cam").await, Ok(None));
    let first = registry.claim("cam", &b).await.unwrap();
    let token = first.token.expect("the first");
    assert_eq!(first.holder, b);
    registry.release("cam", &b, &token, None).await.unwrap();
    assert_eq!(registry.claim_of("cam").await, Ok(None), "taken back");

    let token = registry.claim("cam", &b).await.unwrap().token.expect("the first");
    let second = registry.claim("cam", &a).await.unwrap();
    assert_eq!((second.holder, second.token), (b.clone(), None));
    registry.release("cam", &b, &token, None).await.unwrap();
    assert_eq!(registry.claim_of("cam").await, Ok(Some(b.clone())), "somebody else counts on it");

    let not_its = registry.reclaim("cam", &c, &a).await.unwrap();
    assert_eq!((not_its.holder, not_its.token), (b.clone(), None), "b is not gone");
    let token = registry.reclaim("cam", &b, &a).await.unwrap().token.expect("nobody else has it");
    registry.release("cam", &a, &token, Some(&b)).await.unwrap();
    assert_eq!(registry.claim_of("cam").await, Ok(Some(b.clone())), "given back");
    let reclaimed = registry.reclaim("cam", &b, &a).await.unwrap();
    assert_eq!(reclaimed.holder, a);
    assert!(reclaimed.token.is_some());
    let late = registry.reclaim("cam", &b, &c).await.unwrap();
    assert_eq!((late.holder, late.token), (a.clone(), None), "another proxy was first");

    assert_eq!(registry.refresh_claims(&[("cam".to_owned(), a.clone())]).await, Ok(vec![a.clone()]));
    let holders = registry.refresh_claims(&[("cam".to_owned(), b.clone()), ("new".to_owned(), c.clone())]).await;
    assert_eq!(holders, Ok(vec![a.clone(), c.clone()]));
    assert_eq!(registry.claim_of("new").await, Ok(Some(c)));
    let token = registry.claim("used", &a).await.unwrap().token.expect("the first");
    assert_eq!(registry.refresh_claims(&[("used".to_owned(), a.clone())]).await, Ok(vec![a.clone()]));
    registry.release("used", &a, &token, None).await.unwrap();
    assert_eq!(registry.claim_of("used").await, Ok(Some(a.clone())), "it led to something");
    assert_eq!(registry.reclaim("used", &a, &b).await.unwrap().holder, b);
    let holders = registry.refresh_claims(&[("used".to_owned(), a.clone())]).await;
    assert_eq!(holders, Ok(vec![a]), "what led to nothing yet gives way to who has the stream");
}

async fn sessions_are_found_by_pair_and_url_until_they_end(registry: &dyn Registry) {
    let origin = OriginId::parse("a").unwrap();
    let mut session = session("one", "cam", &origin);
    let old = session.pairs().next().expect("a generation");
    assert_eq!(registry.by_pair(&old).await, Ok(None));
    assert_eq!(registry.refresh(&[Arc::new(session.clone())]).await, Ok(vec![Refreshed::Missing]));
    assert_eq!(registry.store(&session).await, Ok(true));
    assert_eq!(registry.by_pair(&old).await, Ok(Some(session.clone())));
    assert_eq!(registry.by_id(&session.id).await, Ok(Some(session.clone())));
    assert_eq!(registry.by_id(&SessionId::random()).await, Ok(None));

    let before = Arc::new(session.clone());
    session.generations.push(generation("two"));
    let now = Arc::new(session.clone());
    let both = [Arc::clone(&before), Arc::clone(&now)];
    let what = registry.refresh(&both).await;
    assert_eq!(what, Ok(vec![Refreshed::Kept, Refreshed::Missing]), "the new generation is not there yet");
    assert_eq!(registry.store(&session).await, Ok(true));
    assert_eq!(registry.refresh(&both).await, Ok(vec![Refreshed::Kept, Refreshed::Kept]));
    for pair in session.pairs() {
        assert_eq!(registry.by_pair(&pair).await, Ok(Some(session.clone())));
    }

    registry.end(&[session.id.clone()]).await.unwrap();
    assert_eq!(registry.by_pair(&old).await, Ok(None));
    assert_eq!(registry.by_id(&session.id).await, Ok(None));
    assert_eq!(registry.refresh(&[now]).await, Ok(vec![Refreshed::Ended]));
    assert_eq!(registry.store(&session).await, Ok(false), "nobody brings it back");
}
