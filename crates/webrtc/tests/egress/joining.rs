//! A viewer that joins in the middle of a group of pictures: replayed, caught up, live, on one run of numbers.

use whipstitch_media::Kind;
use whipstitch_net::outbox::Room;
use whipstitch_stream::history::Limits;
use whipstitch_stream::{History, cache};
use whipstitch_webrtc::egress::Profile;

use crate::kit::*;

/// A stream of 2.5 Mbit/s that has run for so many pictures since its start, 33 ms apart, before anybody watches.
fn running(profile: Profile, video: whipstitch_webrtc::egress::TrackConfig, pictures: usize) -> Scenario {
    let mut scenario = Scenario::with(profile, vec![audio(), video], 11);
    scenario.history = History::new(Limits::default()).with_cache(Some(cache::Limits::default()));
    for picture in 0..pictures {
        for packet in 0..9 {
            let payload = [picture as u8, packet as u8, 7].repeat(350);
            let made = scenario.packet(Kind::Video, picture == 0 && packet == 0, packet == 8, &payload);
            scenario.history.insert(&made);
        }
        scenario.now += 33 * MS;
    }
    scenario
}

fn join(scenario: &mut Scenario) -> Arrived {
    scenario.egress.replay(scenario.now, path(), &scenario.history, scenario.room, &mut scenario.batch);
    scenario.take()
}

/// The video packets of a second in which the stream goes on, sound and all.
fn a_second(scenario: &mut Scenario) -> Vec<Rtp> {
    let mut video = Vec::new();
    for _ in 0..30 {
        let heard = scenario.talk(80);
        assert_eq!(heard.of(AUDIO_SSRC).len(), 1, "sound waits for nothing");
        for arrived in [heard, scenario.frame(9, 1050, false), scenario.pass(33 * MS)] {
            video.extend(arrived.rtp.into_iter().filter(|packet| packet.ssrc == VIDEO_SSRC));
        }
    }
    video
}

#[test]
fn everything_since_the_start_then_what_comes_and_no_number_is_missing() {
    let mut scenario = running(Profile::Aes128Gcm, video(), 200);
    let at_once = join(&mut scenario).rtp;
    assert!((9..40).contains(&at_once.len()), "{} packets", at_once.len());
    assert_eq!(at_once[0].payload[..3], [0, 0, 7], "the start is the first");
    let video: Vec<Rtp> = at_once.into_iter().chain(a_second(&mut scenario)).collect();
    assert_eq!(video.len(), 230 * 9, "200 pictures from before, 30 from then on");
    let first = video[0].index;
    for (at, packet) in video.iter().enumerate() {
        assert_eq!(packet.index, first + at as u64, "in order");
        assert_eq!(packet.marker, at % 9 == 8);
    }
    let times: Vec<u32> = video.chunks(9).map(|picture| picture[0].time).collect();
    assert!(times.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == 33 * 90), "times are what they were");
    assert!(!scenario.egress.wants_keyframe());
}

#[test]
fn a_viewer_that_has_begun_is_not_replayed_to() {
    let mut scenario = running(Profile::Aes128Gcm, video(), 30);
    scenario.frame(1, 100, true);
    assert!(join(&mut scenario).is_empty());
    let mut scenario = running(Profile::Aes128Gcm, video(), 30);
    join(&mut scenario);
    assert!(join(&mut scenario).is_empty(), "nor twice");
}

#[test]
fn nacks_are_answered_on_both_sides_of_the_seam() {
    for profile in Profile::ALL {
        for (config, again) in [(video(), false), (video_without_rtx(), true)] {
            // 3 s: the history alone reaches back for 2 of them.
            let mut scenario = running(profile, config, 90);
            let mut video = join(&mut scenario).rtp;
            video.extend(a_second(&mut scenario));
            assert_eq!(video.len(), 120 * 9);
            for at in [100, 809, 810, 811, 1079] {
                let lost = &video[at];
                let answer = scenario.say(&nack(VIDEO_SSRC, &[lost.seq()]));
                if again {
                    assert_eq!(answer.repeated.len(), 1, "{profile:?}, packet {at}");
                } else {
                    assert_eq!(answer.rtp.len(), 1, "{profile:?}, packet {at}");
                    assert_eq!(answer.rtp[0].payload[2..], lost.payload);
                    assert_eq!(answer.rtp[0].time, lost.time);
                }
            }
        }
    }
}

#[test]
fn a_path_that_is_full_sets_the_pace() {
    let mut scenario = running(Profile::Aes128Gcm, video(), 200);
    let mut video = join(&mut scenario).rtp;
    scenario.room = Room { free: 49_000, of: 100_000 };
    assert!(scenario.pass(200 * MS).rtp.is_empty());
    scenario.room = Room { free: 100_000, of: 100_000 };
    video.extend(a_second(&mut scenario));
    assert_eq!(video.len(), 230 * 9, "nothing is left out");
    assert!(video.windows(2).all(|pair| pair[1].index == pair[0].index + 1));
}

#[test]
fn who_takes_nothing_for_a_second_waits_for_a_start_and_costs_no_timer() {
    let mut scenario = running(Profile::Aes128Gcm, video(), 200);
    let before = join(&mut scenario).rtp.last().map(|packet| packet.index);
    scenario.room = Room { free: 0, of: 100_000 };
    assert!(scenario.pass(1100 * MS).rtp.is_empty());
    let next = scenario.egress.deadline();
    assert!(next.is_none_or(|next| next > scenario.now + 20 * MS), "still looking for room");
    scenario.room = Room { free: 100_000, of: 100_000 };
    assert!(scenario.egress.wants_keyframe());
    assert!(scenario.frame(1, 100, false).rtp.is_empty());
    let next = scenario.frame(1, 100, true).rtp;
    assert_eq!(Some(next[0].index), before.map(|before| before + 1));
}

#[test]
fn a_viewer_without_a_path_is_replayed_to_no_more() {
    let mut scenario = running(Profile::Aes128Gcm, video(), 200);
    let before = join(&mut scenario).rtp.last().map(|packet| packet.index);
    scenario.egress.hold();
    assert!(a_second(&mut scenario).is_empty());
    assert!(scenario.egress.wants_keyframe());
    let next = scenario.frame(1, 100, true).rtp;
    assert_eq!(Some(next[0].index), before.map(|before| before + 1));
}

#[test]
fn what_is_gone_in_the_middle_of_a_replay_is_asked_for_anew() {
    let mut scenario = running(Profile::Aes128Gcm, video(), 200);
    join(&mut scenario);
    scenario.history.fill_cache([]);
    assert!(scenario.pass(20 * MS).rtp.is_empty());
    assert!(scenario.egress.wants_keyframe());
}

#[test]
fn a_closed_egress_replays_nothing() {
    let mut scenario = running(Profile::Aes128Gcm, video(), 200);
    join(&mut scenario);
    scenario.egress.close(scenario.now, path(), &mut scenario.batch);
    scenario.take();
    assert_eq!(scenario.egress.deadline(), None);
    assert!(scenario.pass(100 * MS).is_empty() && join(&mut scenario).is_empty());
}
