//! What a connected viewer does not cost: wake-ups, allocations, a whole engine.

use super::*;

#[test]
fn a_connected_viewer_wakes_its_worker_for_nothing_but_what_is_due() {
    let mut world = World::new(Role::Subscriber);
    world.run(Duration::from_secs(10));
    assert!(world.connected);
    let heard = world.session.edge.last_heard();
    assert_eq!(world.session.deadline(), Some(heard + SILENCE));
}

#[test]
fn media_for_a_connected_viewer_is_written_without_an_allocation() {
    let mut world = World::new(Role::Subscriber);
    world.run(Duration::from_secs(1));
    let bursts: Vec<Burst> = (0..20)
        .map(|n| {
            let video = (n * 10..n * 10 + 10).map(|seq| forwarded(Kind::Video, seq, seq == 0, world.now));
            burst(video.chain([forwarded(Kind::Audio, n, true, world.now)]).collect())
        })
        .collect();
    let mut delivery = Delivery::new(world.now, &mut world.batches);
    bursts.iter().for_each(|burst| world.session.deliver(&mut delivery, burst));
    world.batches.of(World::path()).clear();
    let mut delivery = Delivery::new(world.now, &mut world.batches);
    let again: Vec<Burst> = (20..40)
        .map(|n| burst((n * 10..n * 10 + 10).map(|seq| forwarded(Kind::Video, seq, false, world.now)).collect()))
        .collect();
    let allocated = allocation_counter::measure(|| {
        again.iter().for_each(|burst| world.session.deliver(&mut delivery, burst));
    });
    assert_eq!((world.batches.of(World::path()).len(), allocated.count_total), (200, 0));
}

#[test]
fn the_deadline_is_said_to_have_moved_with_the_first_report_only() {
    let mut world = World::new(Role::Subscriber);
    // The handshake has nothing more to say then, which would be due earlier.
    world.run(Duration::from_secs(10));
    let clock = Clock { ntp: Ntp(1 << 40), time: 0, at: world.now };
    let clocks = PerKind { audio: None, video: Some(clock) };
    let mut moved = Vec::new();
    for seq in 0..3 {
        let packets = vec![forwarded(Kind::Video, seq, seq == 0, world.now)];
        let before = world.session.deadline();
        let mut delivery = Delivery::new(world.now, &mut world.batches);
        world.session.deliver(&mut delivery, &Burst { packets, clocks });
        moved.push(delivery.deadline_moved);
        assert_eq!(delivery.deadline_moved, world.session.deadline() != before);
    }
    assert_eq!(moved, [true, false, false]);
}
