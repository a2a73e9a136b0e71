use super::*;

const MS: Duration = Duration::from_millis(1);
const ALICE: u32 = 0xa11ce;
const BOB: u32 = 0xb0b;

struct Scene {
    now: Instant,
    receiver: Receiver,
}

fn rtp(ssrc: u32, seq: u16, time: u32, pt: u8) -> Vec<u8> {
    let mut bytes = vec![0x80, pt];
    bytes.extend_from_slice(&seq.to_be_bytes());
    bytes.extend_from_slice(&time.to_be_bytes());
    bytes.extend_from_slice(&ssrc.to_be_bytes());
    bytes.extend_from_slice(b"media");
    bytes
}

/// SR of this sender, and BYE if it leaves.
fn report(ssrc: u32, ntp: u64, time: u32, leaves: bool) -> Vec<u8> {
    let report = crate::report::Report { ssrc, cname: "c", ntp: Ntp(ntp), time, packets: 0, octets: 0 };
    let mut buffer = vec![0; crate::report::MAX_COMPOUND];
    let len = report.write(if leaves { std::slice::from_ref(&ssrc) } else { &[] }, &mut buffer).expect("it fits");
    buffer.truncate(len);
    buffer
}

impl Scene {
    fn new() -> Self {
        let order = Limits { packets: 8, wait: 50 * MS };
        Self { now: Instant::now(), receiver: Receiver::new(Config { pt: 96, clock_rate: 90_000, order }) }
    }

    /// Sends a packet and 10 ms pass; what comes of it.
    fn send(&mut self, ssrc: u32, seq: u16) -> Vec<String> {
        let _ = self.receiver.receive(self.now, &rtp(ssrc, seq, u32::from(seq) * 900, 96));
        let told = self.told();
        self.now += 10 * MS;
        told
    }

    fn control(&mut self, mut bytes: Vec<u8>) -> Vec<String> {
        self.receiver.receive_rtcp(self.now, &mut bytes).expect("it is whole");
        self.told()
    }

    fn told(&mut self) -> Vec<String> {
        let outputs = std::iter::from_fn(|| self.receiver.poll(self.now));
        let tell = |output| match output {
            Output::Restarted => "restarted".to_owned(),
            Output::Packet(packet) => packet.seq.to_string(),
            Output::Report(ntp, time) => format!("{} is {time}", ntp.0),
            Output::Bye => "bye".to_owned(),
        };
        outputs.map(tell).collect()
    }
}

#[test]
fn packets_come_out_in_order_once_with_extended_numbers() {
    let mut scene = Scene::new();
    assert_eq!(scene.send(ALICE, 65534), ["131070"]);
    assert_eq!(scene.send(ALICE, 0), [""; 0]);
    assert_eq!(scene.send(ALICE, 65535), ["131071", "131072"]);
    assert_eq!(scene.send(ALICE, 0), [""; 0], "a repeat");
    assert_eq!(scene.send(ALICE, 65530), [""; 0], "too late");
    assert_eq!(scene.send(ALICE, 3), [""; 0]);
    scene.now = scene.receiver.deadline().expect("one waits");
    assert_eq!(scene.told(), ["131075"]);
}

#[test]
fn the_packet_is_what_was_sent_without_padding_and_extensions() {
    let mut scene = Scene::new();
    let mut bytes = vec![0xb1, 0x80 | 96, 0, 7, 0, 0, 1, 0, 0, 0, 0, 5, 9, 9, 9, 9, 0xbe, 0xde, 0, 1, 0x10, 1, 0, 0];
    bytes.extend_from_slice(b"media\0\0\x03");
    scene.receiver.receive(scene.now, &bytes).expect("it is RTP");
    let Some(Output::Packet(packet)) = scene.receiver.poll(scene.now) else { panic!("no packet") };
    assert_eq!((&*packet.payload, packet.marker, packet.time), (&b"media"[..], true, (1 << 32) + 256));
}

#[test]
fn what_is_no_rtp_of_the_track_is_ignored() {
    let mut scene = Scene::new();
    for (bytes, expected) in [
        (vec![], Ignored::Malformed),
        (rtp(ALICE, 1, 1, 96)[..11].to_vec(), Ignored::Malformed),
        ([vec![0x40], rtp(ALICE, 1, 1, 96)[1..].to_vec()].concat(), Ignored::Malformed),
        (rtp(ALICE, 1, 1, 97), Ignored::PayloadType(97)),
    ] {
        assert_eq!(scene.receiver.receive(scene.now, &bytes), Err(expected), "{bytes:02x?}");
    }
    assert_eq!(scene.receiver.silent_for(scene.now), None);
}

#[test]
fn another_ssrc_is_believed_after_two_packets_and_the_silence_of_the_first() {
    let mut scene = Scene::new();
    assert_eq!(scene.send(ALICE, 1), ["65537"]);
    // As long as Alice sends, Bob comes to nothing.
    for seq in 0..20 {
        assert_eq!(scene.send(BOB, 500 + seq), [""; 0]);
        assert_eq!(scene.send(BOB, 900 + seq), [""; 0]);
        assert_eq!(scene.send(ALICE, 2 + seq).len(), 1);
    }
    scene.now += 100 * MS;
    assert_eq!(scene.send(BOB, 600), [""; 0], "one packet is none");
    assert_eq!(scene.send(BOB, 700), [""; 0], "nor one that does not follow");
    assert_eq!(scene.send(BOB, 701), ["restarted", "66236", "66237"]);
    assert_eq!(scene.send(ALICE, 22), [""; 0]);
}

#[test]
fn a_bye_makes_room_at_once() {
    let mut scene = Scene::new();
    scene.send(ALICE, 1);
    assert_eq!(scene.control(report(BOB, 5, 6, true)), [""; 0], "somebody else's");
    assert_eq!(scene.control(report(ALICE, 5, 900, true)), ["5 is 4294968196", "bye"]);
    assert_eq!(scene.control(report(ALICE, 5, 900, true)).len(), 1, "said once");
    scene.send(BOB, 7);
    assert_eq!(scene.send(BOB, 8), ["restarted", "65543", "5 is 4294967302", "65544"]);
}

#[test]
fn a_bye_is_of_those_that_it_names() {
    let mut scene = Scene::new();
    scene.send(ALICE, 1);
    let bye = |count: u8, ssrcs: &[u32]| {
        let words = ssrcs.iter().flat_map(|ssrc| ssrc.to_be_bytes());
        [0x80 | count, 203, 0, count].into_iter().chain(words).collect::<Vec<u8>>()
    };
    let of_alice = [report(ALICE, 5, 900, false), bye(1, &[BOB])].concat();
    assert_eq!(scene.control(of_alice), ["5 is 4294968196"], "she sends under one SSRC less");
    let receivers = [&[0x80, 201, 0, 1][..], &BOB.to_be_bytes(), &bye(1, &[BOB])].concat();
    assert_eq!(scene.control(receivers), [""; 0]);
    assert_eq!(scene.control(bye(0, &[])), [""; 0], "of nobody");
    assert_eq!(scene.control(bye(2, &[BOB, ALICE])), ["bye"]);
}

#[test]
fn numbers_that_lead_nowhere_are_believed_when_they_go_on() {
    let mut scene = Scene::new();
    scene.send(ALICE, 30_000);
    assert_eq!(scene.send(ALICE, 30_003), [""; 0]);
    assert_eq!(scene.send(ALICE, 100), [""; 0]);
    assert_eq!(scene.send(ALICE, 30_004), [""; 0], "it was a stray");
    assert_eq!(scene.send(ALICE, 100), [""; 0]);
    assert_eq!(scene.send(ALICE, 101), ["95539", "95540", "restarted", "65636", "65637"], "what was held comes first");
}

#[test]
fn a_report_before_the_first_packet_counts() {
    let mut scene = Scene::new();
    assert_eq!(scene.control(report(ALICE, 77, 900, false)), [""; 0]);
    assert_eq!(scene.send(ALICE, 1), ["65537", "77 is 4294968196"]);
    assert_eq!(scene.control(report(ALICE, 78, 1800, false)), ["78 is 4294969096"]);
    assert_eq!(scene.control(report(BOB, 79, 1800, false)), [""; 0]);
}

#[test]
fn a_malformed_compound_does_nothing() {
    let mut scene = Scene::new();
    scene.send(ALICE, 1);
    let mut bytes = report(ALICE, 5, 900, true);
    bytes.pop();
    assert_eq!(scene.receiver.receive_rtcp(scene.now, &mut bytes), Err(Malformed));
    assert_eq!(scene.told(), [""; 0]);
}

#[test]
fn receiver_reports_tell_loss_and_the_last_report() {
    let mut scene = Scene::new();
    let mut buffer = [0; 32];
    assert_eq!(scene.receiver.report(scene.now, 9, &mut buffer), None, "of whom?");
    for seq in [1, 2, 3, 4, 6, 7, 8, 10] {
        scene.send(ALICE, seq);
    }
    scene.control(report(ALICE, 0x1122_3344_5566_7788, 900, false));
    scene.now += 500 * MS;
    let len = scene.receiver.report(scene.now, 9, &mut buffer).expect("of Alice");
    let parsed = ReceiverReport::parse(&buffer[..len]).expect("it is one");
    let block = parsed.report_blocks().next().expect("one block");
    assert_eq!((parsed.ssrc(), block.ssrc(), block.extended_sequence_number()), (9, ALICE, 10));
    // 2 of 10, and 51 of 256.
    assert_eq!((block.cumulative_lost(), block.fraction_lost()), (2, 51));
    assert_eq!(
        (block.last_sender_report_timestamp(), block.delay_since_last_sender_report_timestamp()),
        (0x3344_5566, 0x8000)
    );
    scene.send(ALICE, 11);
    scene.receiver.report(scene.now, 9, &mut buffer).expect("of Alice");
    let parsed = ReceiverReport::parse(&buffer).expect("it is one");
    let block = parsed.report_blocks().next().expect("one block");
    assert_eq!((block.cumulative_lost(), block.fraction_lost()), (2, 0), "none since");
}

#[test]
fn any_bytes_do_no_harm() {
    let mut seed = 0x5eed_u64;
    let mut random = move |limit: u64| {
        seed ^= seed >> 12;
        seed ^= seed << 25;
        seed ^= seed >> 27;
        (seed.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    };
    for _ in 0..2000 {
        let mut data = Vec::new();
        for step in 0..random(60) {
            let mut bytes = match random(4) {
                0 => report(if random(2) == 0 { ALICE } else { BOB }, step, 7, random(4) == 0),
                _ => rtp(if random(5) == 0 { BOB } else { ALICE }, (step + random(6)) as u16, step as u32, 96),
            };
            if random(3) == 0 {
                let at = random(bytes.len() as u64) as usize;
                bytes[at] = random(256) as u8;
            }
            let kind = u8::from(bytes[1] >= 200) | (random(40) as u8) << 1;
            data.extend([bytes.len() as u8, kind]);
            data.extend(bytes);
        }
        crate::exercise::receiver(Instant::now(), &data);
    }
}
