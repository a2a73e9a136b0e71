//! SSRCs of ours are the egress's alone: under one key nobody else may write in their name (design 2.1).

use super::*;

/// The SSRCs that the answer names, and those of its groups.
fn named(answer: &str) -> (HashSet<u32>, Vec<Vec<u32>>) {
    let of = |line: &str| line.split(' ').filter_map(|word| word.parse().ok()).collect::<Vec<u32>>();
    let lines = answer.lines().filter_map(|line| line.strip_prefix("a=ssrc:"));
    let groups = answer.lines().filter_map(|line| line.strip_prefix("a=ssrc-group:FID "));
    (lines.flat_map(|line| of(line)[..1].to_vec()).collect(), groups.map(of).collect())
}

/// Whether there is an engine; it may know of no SSRC of ours, and have nothing to send at all.
#[track_caller]
fn knows_none_of(world: &mut World, ours: &HashSet<u32>) -> bool {
    let Some(rtc) = world.session.engine.inner() else { return false };
    let mut api = rtc.direct_api();
    for ssrc in ours {
        assert!(api.stream_tx(&(*ssrc).into()).is_none() && api.stream_rx(&(*ssrc).into()).is_none());
    }
    for mid in &world.mids {
        assert!(api.stream_tx_by_mid(*mid, None).is_none());
    }
    true
}

#[test]
fn our_ssrcs_of_media_and_rtx_are_never_known_to_the_engine() {
    let mut world = World::new(Role::Subscriber);
    let RoleState::Subscriber { plan: Some(plan), .. } = &world.session.role else { panic!("a viewer") };
    let media: Vec<u32> = plan.tracks.iter().map(|track| track.ssrc).collect();
    let rtx: Vec<u32> = plan.tracks.iter().filter_map(|track| track.rtx_ssrc).collect();
    assert_eq!((media.len(), rtx.len()), (2, 1));
    let ours: HashSet<u32> = media.iter().chain(&rtx).copied().collect();
    assert_eq!(ours.len(), 3, "all different");
    // The client is told of them and of no other.
    let (lines, groups) = named(&world.answer);
    assert_eq!((lines, groups), (ours.clone(), vec![vec![plan.tracks[1].ssrc, rtx[0]]]));

    // After every datagram of the handshake.
    let mut looked = 0;
    for _ in 0..1000 {
        world.ask_client();
        while let Some(bytes) = world.outgoing.pop_front() {
            world.datagram(bytes);
            looked += usize::from(knows_none_of(&mut world, &ours));
        }
        world.now += Duration::from_millis(1);
        world.client.handle_input(Input::Timeout(world.now)).unwrap();
        if world.session.deadline().is_some_and(|at| at <= world.now) {
            world.with(|session, cx| session.handle_timeout(cx));
            world.carry_back();
        }
    }
    assert!(world.connected && looked >= 3, "{looked} looks during the handshake");
    assert!(world.session.engine.inner().is_none(), "connected, nobody but the egress writes");

    // Media, a repair and reports: each of ours is used, and nothing else.
    for seq in 1..8 {
        world.deaf = seq == 2;
        let video = forwarded(Kind::Video, seq, seq == 1, world.now);
        let packets = vec![video, forwarded(Kind::Audio, seq, true, world.now)];
        let clock = Some(Clock { ntp: Ntp(1 << 40), time: 0, at: world.now });
        let burst = Burst { packets, clocks: PerKind { audio: clock, video: clock } };
        world.deliver(&burst);
        world.run(Duration::from_millis(33));
    }
    world.run(Duration::from_secs(3));
    assert_eq!(world.spoken, ours);
}

#[test]
fn a_publisher_is_told_of_no_ssrc_and_sent_nothing_but_reports_under_one() {
    let mut world = World::new(Role::Publisher);
    assert_eq!(named(&world.answer), (HashSet::new(), vec![]));
    world.run(Duration::from_secs(1));
    world.film(None, 1..200, 1000);
    world.run(Duration::from_secs(2));
    assert_eq!(world.spoken.len(), 1, "{:?}", world.spoken);
    let mids = world.mids.clone();
    let mut api = world.session.engine.inner().expect("connected").direct_api();
    assert!(mids.iter().all(|mid| api.stream_tx_by_mid(*mid, None).is_none()));
}
