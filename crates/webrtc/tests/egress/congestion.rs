//! A path that takes no more: what is left out, and how it goes on.

use whipstitch_media::Kind;
use whipstitch_net::framing::PREFIX;
use whipstitch_net::outbox::{MEDIA_BYTES, Room};

use crate::kit::{AUDIO_SSRC, MS, Scenario, VIDEO_SSRC, audio, video};

const KIB: usize = 1024;

/// So much waits in an outbox.
fn waiting(bytes: usize) -> Room {
    Room { free: MEDIA_BYTES - bytes, of: MEDIA_BYTES }
}

fn room(free: usize) -> Room {
    Room { free, of: 100_000 }
}

#[test]
fn a_burst_too_late_is_left_out_whole_and_video_goes_on_at_a_start_with_the_next_number() {
    let mut scenario = Scenario::new(vec![video()]);
    scenario.room = waiting(128 * KIB);
    let last = scenario.frame(4, 1000, true).rtp[3].index;
    scenario.room = waiting(128 * KIB + 1);
    assert!(scenario.frame(4, 1000, false).rtp.is_empty());
    scenario.room = waiting(64 * KIB + 1);
    assert!(scenario.frame(4, 1000, true).rtp.is_empty(), "the path has not recovered");
    assert!(!scenario.egress.wants_keyframe(), "what would come could not be sent");
    scenario.room = waiting(64 * KIB);
    assert!(scenario.frame(4, 1000, false).rtp.is_empty(), "no decoder can start there");
    assert!(scenario.egress.wants_keyframe());
    let begun = scenario.frame(4, 1000, true).rtp;
    assert_eq!((begun.len(), begun[0].index), (4, last + 1));
    assert!(!scenario.egress.wants_keyframe());
    assert_eq!(scenario.egress.stats().counters.skipped, 8, "waiting for a start is no fault of the path");
}

#[test]
fn of_a_burst_that_does_not_fit_not_even_the_beginning_is_sent() {
    let mut scenario = Scenario::new(vec![video()]);
    scenario.room = room(100_000);
    scenario.frame(4, 1000, true);
    scenario.room = room(3000);
    assert!(scenario.frame(4, 1000, true).rtp.is_empty());
    scenario.room = room(100_000);
    assert_eq!(scenario.frame(4, 1000, true).rtp.len(), 4);
}

#[test]
fn as_much_may_wait_as_was_sent_in_the_last_second() {
    let mut scenario = Scenario::new(vec![video()]);
    for n in 0..40 {
        scenario.room = waiting(0);
        scenario.frame(20, 1000, n == 0);
        scenario.pass(25 * MS);
    }
    scenario.room = waiting(600 * KIB);
    assert_eq!(scenario.frame(20, 1000, false).rtp.len(), 20);
    scenario.room = waiting(900 * KIB);
    assert!(scenario.frame(20, 1000, false).rtp.is_empty());
}

#[test]
fn audio_goes_on_as_long_as_there_is_room() {
    let mut scenario = Scenario::new(vec![audio(), video()]);
    scenario.room = room(100_000);
    scenario.frame(1, 1000, true);
    let first = scenario.talk(60).of(AUDIO_SSRC)[0].index;
    scenario.room = room(1000);
    assert!(scenario.frame(1, 1000, false).rtp.is_empty());
    assert_eq!(scenario.talk(60).of(AUDIO_SSRC)[0].index, first + 1);
    scenario.room = room(100);
    assert!(scenario.talk(60).rtp.is_empty());
    scenario.room = room(1000);
    assert_eq!(scenario.talk(60).of(AUDIO_SSRC)[0].index, first + 2, "no gap for what was left out");
    assert_eq!(scenario.egress.stats().counters.skipped, 2);
}

#[test]
fn after_a_time_without_a_path_video_begins_at_a_start_and_audio_at_once() {
    let mut scenario = Scenario::new(vec![audio(), video()]);
    let last = scenario.frame(2, 1000, true).rtp[1].index;
    let spoken = scenario.talk(60).of(AUDIO_SSRC)[0].index;
    scenario.egress.hold();
    assert!(!scenario.egress.wants_keyframe(), "there is no way for one");
    for _ in 0..3 {
        // Not delivered: the session has no path.
        scenario.lose(Kind::Video);
        scenario.lose(Kind::Audio);
    }
    assert_eq!(scenario.talk(60).of(AUDIO_SSRC)[0].index, spoken + 1);
    assert!(scenario.frame(1, 1000, false).rtp.is_empty());
    assert!(scenario.egress.wants_keyframe());
    assert_eq!(scenario.frame(1, 1000, true).of(VIDEO_SSRC)[0].index, last + 1);
}

/// Whatever fits by the egress's judgement fits in fact: else packets would be lost after they got their number.
#[test]
fn what_is_sent_never_needs_more_room_than_there_was() {
    let mut scenario = Scenario::new(vec![audio(), video()]);
    let mut fits = 0;
    for free in (300..20_000).step_by(17) {
        scenario.room = Room { free, of: free };
        for below in (0..120).step_by(8) {
            let arrived = scenario.frame(2, free / 2 - below, true);
            let bytes: usize = arrived.rtp.iter().map(|packet| packet.datagram + PREFIX).sum();
            assert!(bytes <= free, "{bytes} bytes where {free} were free");
            fits += arrived.rtp.len();
        }
    }
    assert!(fits > 1000, "{fits}");
}
