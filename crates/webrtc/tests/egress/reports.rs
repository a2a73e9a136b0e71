//! Sender reports, SDES, BYE, and what receiver reports tell.

use std::time::Duration;

use whipstitch_media::Kind;
use whipstitch_media::time::{Ntp, ticks};
use whipstitch_webrtc::egress::Profile;

use crate::kit::*;

/// The RTP time of a track's first packet on the hub's timeline.
fn hub_time(kind: Kind) -> u64 {
    match kind {
        Kind::Audio => 1 << 33,
        Kind::Video => (1 << 32) - 50_000,
    }
}

#[test]
fn the_first_report_comes_with_the_first_packets() {
    let mut scenario = Scenario::new(vec![audio(), video()]);
    assert_eq!(scenario.egress.deadline(), None);
    assert!(scenario.frame(2, 100, false).is_empty(), "nothing sent, nothing reported");
    assert_eq!(scenario.egress.deadline(), None);

    let arrived = scenario.talk(50);
    assert_eq!(arrived.rtcp.len(), 1, "audio alone");
    assert_eq!(parse_report(&arrived.rtcp[0]).0.ssrc, AUDIO_SSRC);

    scenario.pass(300 * MS);
    let arrived = scenario.frame(2, 100, true);
    let reports: Vec<_> = arrived.rtcp.iter().map(|compound| parse_report(compound).0).collect();
    assert_eq!(reports.iter().map(|report| report.ssrc).collect::<Vec<_>>(), [AUDIO_SSRC, VIDEO_SSRC], "both, at once");
    assert_eq!(reports[0].ntp, reports[1].ntp);

    assert!(scenario.frame(2, 100, false).rtcp.is_empty(), "not with every packet");
}

#[test]
fn a_report_says_which_rtp_time_it_is_now() {
    for profile in Profile::ALL {
        let mut scenario = Scenario::with(profile, vec![audio(), video()], 17);
        let mut offsets = [None, None];
        for n in 0..100 {
            let mut arrived = scenario.frame(1, 100, n == 0);
            let talk = scenario.talk(50);
            arrived.rtp.extend(talk.rtp);
            arrived.rtcp.extend(talk.rtcp);
            // What the viewer sees of the hub's time, by the packets.
            let elapsed = scenario.now - scenario.start;
            for (kind, packet, rate) in [(Kind::Video, &arrived.rtp[0], 90_000), (Kind::Audio, &arrived.rtp[1], 48_000)]
            {
                let offset = packet.time.wrapping_sub((hub_time(kind) + ticks(elapsed, rate)) as u32);
                assert_eq!(*offsets[kind as usize].get_or_insert(offset), offset);
            }
            arrived.rtcp.extend(scenario.pass(37 * MS).rtcp);
            for compound in &arrived.rtcp {
                let (report, _) = parse_report(compound);
                let (kind, rate) =
                    if report.ssrc == VIDEO_SSRC { (Kind::Video, 90_000) } else { (Kind::Audio, 48_000) };
                let elapsed = report.ntp.since(EPOCH);
                let exact = (hub_time(kind) + ticks(elapsed, rate)) as u32;
                let off = report.time.wrapping_sub(exact.wrapping_add(offsets[kind as usize].expect("sent"))) as i32;
                assert!(off.abs() <= 1, "{off} ticks off");
                assert!(elapsed <= scenario.now - scenario.start + MS);
            }
        }
    }
}

#[test]
fn reports_follow_each_second() {
    let mut scenario = Scenario::new(vec![audio(), video()]);
    scenario.talk(50);
    scenario.frame(1, 100, true);
    let mut times: Vec<Ntp> = Vec::new();
    for _ in 0..1000 {
        scenario.talk(50);
        for compound in scenario.pass(10 * MS).rtcp {
            times.push(parse_report(&compound).0.ntp);
        }
    }
    assert!((18..=20).contains(&times.len()), "{} reports in 10 s, two at a time", times.len());
    assert!(times.chunks(2).all(|pair| pair[0] == pair[1]), "both tracks at one time");
    for pair in times.chunks(2).collect::<Vec<_>>().windows(2) {
        let apart = pair[1][0].since(pair[0][0]);
        assert!(apart >= 999 * MS && apart <= 1001 * MS, "{apart:?}");
    }
}

#[test]
fn viewers_who_joined_together_do_not_report_together() {
    let seconds: Vec<_> = (1..20)
        .map(|seed| {
            let mut scenario = Scenario::with(Profile::Aes128Gcm, vec![audio()], seed);
            scenario.talk(50);
            let wait = scenario.egress.deadline().expect("after the first") - scenario.now;
            assert!(wait >= 500 * MS && wait <= 1000 * MS, "{wait:?}");
            wait
        })
        .collect();
    assert!(seconds.iter().any(|wait| *wait < 700 * MS) && seconds.iter().any(|wait| *wait > 800 * MS));
}

#[test]
fn without_a_clock_the_first_report_waits_for_one() {
    let mut scenario = Scenario::new(vec![video()]).without_clocks();
    assert!(scenario.frame(1, 100, true).rtcp.is_empty());
    assert_eq!(scenario.egress.deadline(), None);
    let mut scenario = Scenario::new(vec![video()]);
    assert_eq!(scenario.frame(1, 100, true).rtcp.len(), 1);
}

#[test]
fn both_tracks_have_one_cname() {
    let mut scenario = Scenario::new(vec![audio(), video()]);
    scenario.talk(50);
    let arrived = scenario.frame(1, 100, true);
    for (compound, ssrc) in arrived.rtcp.iter().zip([AUDIO_SSRC, VIDEO_SSRC]) {
        let (_, rest) = parse_report(compound);
        let (kind, body) = &rest[0];
        assert_eq!((*kind, rest.len()), (202, 1));
        assert_eq!(body[..4], ssrc.to_be_bytes());
        assert_eq!(body[4..6], [1, CNAME.len() as u8], "a CNAME");
        assert_eq!(body[6..6 + CNAME.len()], *CNAME.as_bytes());
    }
}

#[test]
fn reports_count_packets_and_payload_bytes() {
    let mut scenario = Scenario::new(vec![video()]);
    let arrived = scenario.frame(7, 123, true);
    let (report, _) = parse_report(&arrived.rtcp[0]);
    assert_eq!((report.packets, report.octets), (7, 7 * 123));
    // RTX has an SSRC of its own and does not count.
    scenario.say(&nack(VIDEO_SSRC, &[arrived.rtp[3].seq()]));
    scenario.frame(3, 10, false);
    let (report, _) = parse_report(&scenario.pass(1000 * MS).rtcp[0]);
    assert_eq!((report.packets, report.octets), (10, 7 * 123 + 30));
    let wire: usize = scenario.sent.iter().filter(|sent| sent[1] & 0x7f != 72).map(Vec::len).sum();
    assert_eq!(scenario.egress.stats().counters.bytes, wire as u64);
}

#[test]
fn a_bye_closes_what_was_opened_and_then_there_is_silence() {
    let mut scenario = Scenario::new(vec![audio(), video()]);
    let arrived = scenario.frame(3, 100, true);
    scenario.say(&nack(VIDEO_SSRC, &[arrived.rtp[1].seq()]));
    scenario.egress.close(scenario.now, path(), &mut scenario.batch);
    let last = scenario.take();
    assert_eq!(last.rtcp.len(), 1, "no BYE for audio that never was");
    let (report, rest) = parse_report(&last.rtcp[0]);
    assert_eq!(report.ssrc, VIDEO_SSRC);
    let (kind, body) = rest.last().expect("a BYE");
    assert_eq!(*kind, 203);
    assert_eq!(*body, [VIDEO_SSRC.to_be_bytes(), RTX_SSRC.to_be_bytes()].concat());

    scenario.egress.close(scenario.now, path(), &mut scenario.batch);
    assert!(scenario.take().is_empty());
    assert_eq!(scenario.egress.deadline(), None);
    assert!(scenario.frame(3, 100, true).is_empty());
    assert!(scenario.talk(10).is_empty());
    assert!(scenario.pass(5000 * MS).is_empty());
    let (result, answer) = scenario.feedback(&[nack(VIDEO_SSRC, &[arrived.rtp[1].seq()]), pli(VIDEO_SSRC)].concat());
    assert!(result.is_ok_and(|feedback| !feedback.keyframe) && answer.is_empty());
}

#[test]
fn a_receiver_report_gives_round_trip_loss_and_jitter() {
    let mut scenario = Scenario::new(vec![audio(), video()]);
    scenario.talk(50);
    let arrived = scenario.frame(1, 100, true);
    let (report, _) = parse_report(&arrived.rtcp[1]);
    assert_eq!(report.ssrc, VIDEO_SSRC);
    scenario.pass(190 * MS);
    // The viewer held it for 1/8 s; it lost a quarter, 17 packets; jitter 900 ticks.
    let block = [VIDEO_SSRC, 64 << 24 | 17, 0, 900, report.ntp.middle(), 8192];
    let (result, _) = scenario.feedback(&rtcp(0x81, 201, &[&[VIEWER_SSRC][..], &block].concat()));
    assert!(result.is_ok());
    let stats = scenario.egress.stats();
    assert_eq!(stats.rtt, Some(65 * MS));
    assert_eq!((stats.loss, stats.counters.lost, stats.jitter), (0.25, 17, 10 * MS));

    // An eighth of the next: 8 ms more.
    scenario.pass(64 * MS);
    scenario.say(&rtcp(0x81, 201, &[&[VIEWER_SSRC][..], &block].concat()));
    assert_eq!(scenario.egress.stats().rtt, Some(73 * MS));
}

#[test]
fn a_viewer_that_tells_its_time_is_answered_with_the_next_reports_once() {
    let mut scenario = Scenario::new(vec![audio(), video()]);
    scenario.talk(50);
    scenario.frame(1, 100, true);
    // RFC 3611 4.4: a receiver reference time report.
    scenario.say(&rtcp(0x80, 207, &[VIEWER_SSRC, 0x0400_0002, 0x1111_2222, 0x3333_4444]));
    let answers = |scenario: &mut Scenario| {
        let arrived = scenario.pass(1500 * MS);
        let xr = |compound: &Vec<u8>| {
            whipstitch_rtp::rtcp::packets(compound).find(|packet| packet[1] == 207).map(<[u8]>::to_vec)
        };
        arrived.rtcp.iter().filter_map(xr).collect::<Vec<_>>()
    };
    let answered = answers(&mut scenario);
    assert_eq!(answered.len(), 2, "by both tracks: {answered:02x?}");
    for (answer, ssrc) in answered.iter().zip([AUDIO_SSRC, VIDEO_SSRC]) {
        let words: Vec<u32> = answer[4..].chunks(4).map(|word| u32::from_be_bytes(word.try_into().unwrap())).collect();
        assert_eq!(words[..4], [ssrc, 0x0500_0003, VIEWER_SSRC, 0x2222_3333]);
        assert!(words[4] > 0 && words[4] <= 2 << 16, "held for {} / 65536 s", words[4]);
    }
    assert!(answers(&mut scenario).is_empty());
}

#[test]
fn reports_about_others_and_forged_times_say_nothing() {
    let mut scenario = Scenario::new(vec![video()]);
    scenario.frame(1, 100, true);
    scenario.pass(100 * MS);
    for (ssrc, lsr, dlsr) in [
        (12345, EPOCH.middle(), 0),             // somebody else's
        (VIDEO_SSRC, 0, 0),                     // no report of ours arrived yet
        (VIDEO_SSRC, 77, 0),                    // never sent
        (VIDEO_SSRC, EPOCH.middle(), u32::MAX), // held for longer than it is old
    ] {
        scenario.say(&rtcp(0x81, 201, &[VIEWER_SSRC, ssrc, 0, 0, 0, lsr, dlsr]));
        assert_eq!(scenario.egress.stats().rtt, None);
    }
    let silent = Duration::from_secs(60);
    scenario.pass(silent);
    scenario.say(&rtcp(0x81, 201, &[VIEWER_SSRC, VIDEO_SSRC, 0, 0, 0, EPOCH.middle(), 0]));
    assert_eq!(scenario.egress.stats().rtt, None, "a report of a minute ago is forgotten");
}
