//! What a burst costs a worker in memory: nothing for each subscriber.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use whipstitch_media::{Codec, Extensions, Packet};
use whipstitch_net::{Path, stun};
use whipstitch_plane::{Action, Role, Stepped};
use whipstitch_stream::stream::Config;
use whipstitch_stream::{Track, Tracks};

use super::script::{Script, ufrag};

fn opus() -> Tracks {
    Tracks { audio: Some(Track { codec: Codec::Opus, format: String::new() }), video: None }
}

/// Allocations of a worker between the datagrams of a publisher and its subscribers, and how often a burst was delivered.
fn allocated(subscribers: u64) -> (u64, usize) {
    let mut worker = Stepped::new(1, Config::default()).unwrap();
    let (mut publisher, _) = Script::new(0, Role::Publisher);
    let payload = Arc::from([0x10; 100]);
    let packet =
        Packet { seq: 1, time: 0, marker: true, payload, extensions: Extensions::default(), arrived: Instant::now() };
    publisher.pushes = Some(packet);
    let ending = publisher.ending.clone();
    worker.add(0, Box::new(publisher.at_once(|| vec![Action::Publish(opus())])), Some(ufrag(0, 0)), ending).unwrap();
    let mut delivered = Vec::new();
    for session in 1..=subscribers {
        let (subscriber, _) = Script::new(session, Role::Subscriber);
        delivered.push(Arc::clone(&subscriber.delivered));
        let ending = subscriber.ending.clone();
        worker
            .add(0, Box::new(subscriber.at_once(|| vec![Action::Subscribe])), Some(ufrag(0, session)), ending)
            .unwrap();
    }
    // The timers of scripts are set by the clock, which goes on while they are made.
    worker.pass(Duration::from_secs(5));
    let path = Path::to(([192, 0, 2, 1], 5000).into());
    let username = format!("{}:any", ufrag(0, 0));
    worker.datagram(0, path, &mut stun::binding_request(&username, "any", true, 1, 1, [1; 12]));
    let mut burst = |count: usize| (0..count).for_each(|_| worker.datagram(0, path, &mut [0x80; 40]));
    // Rings and lists have their size from then on.
    burst(1000);
    let allocations = allocation_counter::measure(|| burst(20)).count_total;
    (allocations, delivered.iter().map(|count| count.load(Ordering::Relaxed)).sum())
}

#[test]
fn a_burst_allocates_nothing_for_each_subscriber() {
    let (for_one, delivered) = allocated(1);
    assert_eq!(delivered, 1020);
    let (for_many, delivered) = allocated(200);
    assert_eq!(delivered, 200 * 1020);
    assert_eq!(for_many, for_one, "in 20 bursts");
}
