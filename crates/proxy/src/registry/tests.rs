use std::sync::Arc;
use std::time::Duration;

use super::exercise::{everything, origin, session};
use super::*;

#[tokio::test]
async fn the_memory_does_what_every_registry_does() {
    everything(&Memory::new(10)).await;
}

#[tokio::test(start_paused = true)]
async fn everything_expires() {
    let registry = Memory::new(10);
    let a = origin("a");
    let id = &a.origin.id;
    let kept = Arc::new(session("one", "cam", id));
    registry.heartbeat(&a).await.unwrap();
    registry.claim("cam", id).await.unwrap();
    registry.store(&kept).await.unwrap();
    tokio::time::advance(Duration::from_millis(5999)).await;
    assert_eq!(registry.origins().await.unwrap().origins[0].age, Duration::from_millis(5999));
    tokio::time::advance(Duration::from_millis(1)).await;
    assert!(registry.origins().await.unwrap().origins.is_empty());
    tokio::time::advance(Duration::from_secs(53)).await;
    assert_eq!(registry.refresh(&[Arc::clone(&kept)]).await, Ok(vec![Refreshed::Kept]));
    assert_eq!(registry.claim_of("cam").await, Ok(Some(id.clone())));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(registry.claim_of("cam").await, Ok(None));
    tokio::time::advance(Duration::from_secs(58)).await;
    assert!(registry.by_id(&kept.id).await.unwrap().is_some());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(registry.by_id(&kept.id).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_nobody_renews_gives_way_to_an_origin_that_has_the_stream() {
    let (registry, a, b) = (Memory::new(10), origin("a").origin.id, origin("b").origin.id);
    let renewed = |id: &OriginId| [("cam".to_owned(), id.clone())];
    assert_eq!(registry.refresh_claims(&renewed(&a)).await, Ok(vec![a.clone()]));
    tokio::time::advance(STALE - Duration::from_millis(1)).await;
    assert_eq!(registry.refresh_claims(&renewed(&b)).await, Ok(vec![a.clone()]));
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(registry.refresh_claims(&renewed(&b)).await, Ok(vec![b.clone()]));
    assert_eq!(registry.refresh_claims(&renewed(&a)).await, Ok(vec![b]));
}

#[tokio::test(start_paused = true)]
async fn a_full_memory_takes_no_more_until_something_expired() {
    let registry = Memory::new(1);
    let id = origin("a").origin.id;
    for n in 0..2 {
        assert_eq!(registry.store(&session(&n.to_string(), "cam", &id)).await, Ok(true));
    }
    assert_eq!(registry.store(&session("3", "cam", &id)).await, Err(Failure::Refused));
    tokio::time::advance(SESSION).await;
    assert_eq!(registry.store(&session("3", "cam", &id)).await, Ok(true));
    for n in 0..crate::origins::MOST_ORIGINS {
        assert_eq!(registry.heartbeat(&origin(&n.to_string())).await, Ok(true));
    }
    assert_eq!(registry.heartbeat(&origin("more")).await, Ok(false));
    assert_eq!(registry.heartbeat(&origin("0")).await, Ok(true));
}

#[test]
fn an_address_of_redis_is_judged_and_keeps_its_password_to_itself() {
    for good in ["redis://127.0.0.1", "redis://10.0.0.1:6379/2", "redis://:secret@cache.example.net:6379"] {
        let url = RedisUrl::parse(good).unwrap();
        assert!(!format!("{url:?}{}", url.address()).contains("secret"));
    }
    for wrong in ["", "memory", "http://127.0.0.1", "rediss://127.0.0.1", "redis://"] {
        let what = RedisUrl::parse(wrong).unwrap_err();
        assert!(!what.contains("127.0.0.1"), "{what}");
    }
    assert_ne!(RedisUrl::parse("redis://a/1").unwrap(), RedisUrl::parse("redis://a/2").unwrap());
}

#[tokio::test]
async fn a_server_that_is_not_there_is_away_and_costs_no_time() {
    // A port that was free a moment ago and is nobody's now.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let registry = Redis::new(RedisUrl::parse(&format!("redis://127.0.0.1:{port}")).unwrap());
    for _ in 0..1000 {
        assert_eq!(registry.claim_of("cam").await, Err(Failure::Away));
    }
}
