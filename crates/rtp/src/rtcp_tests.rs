use super::*;

/// A packet with its length field made right: first byte, type, body.
fn packet(first: u8, kind: u8, body: &[u8]) -> Vec<u8> {
    let words = (body.len() / 4) as u16;
    [&[first, kind][..], &words.to_be_bytes(), body].concat()
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// One word for each message.
fn said(bytes: &[u8]) -> Result<Vec<String>, Malformed> {
    let mut bytes = bytes.to_vec();
    let messages = Compound::parse(&mut bytes)?.messages();
    Ok(messages
        .map(|message| match message {
            Message::Reports(reports) => {
                let mut ssrcs = Vec::new();
                reports.for_each(|block| ssrcs.push(block.ssrc()));
                format!("reports {ssrcs:?}")
            }
            Message::Nack { media, nack } => format!("nack {media} {:?}", nack.entries().collect::<Vec<_>>()),
            Message::Pli { media } => format!("pli {media}"),
            Message::Fir { sender, fir } => {
                let entries: Vec<_> = fir.entries().map(|entry| (entry.ssrc(), entry.sequence())).collect();
                format!("fir {sender} {entries:?}")
            }
            Message::Remb { bitrate } => format!("remb {bitrate}"),
            Message::ReferenceTime { sender, ntp } => format!("{sender} has {:x}", ntp.0),
            Message::Bye(bye) => format!("bye of {:?}", bye.ssrcs().collect::<Vec<_>>()),
        })
        .collect())
}

fn pli(media: u32) -> Vec<u8> {
    packet(0x81, 206, &words(&[1, media]))
}

fn empty_rr() -> Vec<u8> {
    packet(0x80, 201, &words(&[1]))
}

#[test]
fn each_kind_of_packet_is_understood() {
    let block = words(&[7, 0x0100_0005, 99, 3, 0xaaaa, 0xbbbb]);
    for (bytes, expected) in [
        (empty_rr(), "reports []"),
        (packet(0x82, 201, &[words(&[1]), block.clone(), block.clone()].concat()), "reports [7, 7]"),
        (packet(0x81, 200, &[words(&[1, 0, 0, 0, 0, 0]), block].concat()), "reports [7]"),
        (packet(0x81, 205, &words(&[1, 7, 0x000a_8001])), "nack 7 [10, 11, 26]"),
        (packet(0x81, 205, &words(&[1, 7, 0xffff_0003])), "nack 7 [65535, 0, 1]"),
        (pli(7), "pli 7"),
        (packet(0x84, 206, &words(&[1, 0, 7, 0x0500_0000, 8, 0x0600_0000])), "fir 1 [(7, 5), (8, 6)]"),
        // A mantissa of 0x30000, an exponent of 2; then the largest of both.
        (packet(0x8f, 206, &words(&[1, 0, 0x5245_4d42, 0x010b_0000, 7])), "remb 786432"),
        (packet(0x8f, 206, &words(&[1, 0, 0x5245_4d42, 0x01ff_ffff, 7])), "remb 18446744073709551615"),
        (packet(0x80, 207, &words(&[5, 0x0400_0002, 1, 2])), "5 has 100000002"),
        // Behind a DLRR block.
        (packet(0x80, 207, &words(&[5, 0x0500_0003, 1, 2, 3, 0x0400_0002, 1, 2])), "5 has 100000002"),
        (packet(0x81, 203, &words(&[7])), "bye of [7]"),
        (packet(0x80, 203, &[]), "bye of []"),
    ] {
        assert_eq!(said(&bytes), Ok(vec![expected.to_owned()]));
    }
}

#[test]
fn what_does_not_concern_us_is_skipped_by_its_length() {
    for skipped in [
        packet(0x80, 204, &words(&[1, 0x4e41_4d45, 5])),           // APP
        packet(0x80, 207, &words(&[1, 0x0600_0002, 1, 2])),        // XR: a summary of statistics
        packet(0x80, 207, &words(&[1, 0x0400_0001, 1])),           // XR: half a time
        packet(0x80, 207, &words(&[1, 0x0400_0009, 1, 2])),        // XR that overruns
        packet(0x80, 207, &words(&[1])),                           // XR of nothing
        packet(0x81, 202, &words(&[1, 0x0105_6162, 0x6364_6500])), // SDES
        packet(0x9f, 202, &[0xff; 8]),                             // SDES nobody can read
        packet(0x80, 192, &words(&[1])),                           // FIR of RFC 2032
        packet(0x80, 255, &[]),
        packet(0x8f, 205, &words(&[1, 7, 1, 2])),           // transport-cc
        packet(0x82, 206, &words(&[1, 7, 1])),              // SLI
        packet(0x8f, 206, &words(&[1, 7, 0x4142_4344, 1])), // other application layer feedback
        packet(0x8f, 206, &words(&[1, 7])),
    ] {
        let bytes = [skipped.clone(), pli(7), skipped.clone()].concat();
        assert_eq!(said(&bytes), Ok(vec!["pli 7".to_owned()]), "{skipped:02x?}");
        assert_eq!(said(&skipped), Ok(vec![]), "{skipped:02x?}");
    }
}

#[test]
fn a_broken_compound_is_dropped_whole() {
    let mut other_version = empty_rr();
    other_version[0] = 0x40;
    let mut padded_first = packet(0xa1, 206, &words(&[1, 7, 4]));
    padded_first.extend(empty_rr());
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", vec![]),
        ("half a header", vec![0x80, 201, 0]),
        ("a length beyond the end", [pli(7), vec![0x80, 201, 0, 2, 0, 0, 0, 0]].concat()),
        ("bytes behind the last packet", [pli(7), vec![0, 0]].concat()),
        ("another version in the second packet", [pli(7), other_version].concat()),
        (
            "more report blocks than there is room for",
            [pli(7), packet(0x82, 201, &words(&[1, 7, 0, 0, 0, 0, 0]))].concat(),
        ),
        ("a sender report too short", [pli(7), packet(0x80, 200, &words(&[1, 2]))].concat()),
        ("feedback too short", [pli(7), packet(0x81, 205, &words(&[1]))].concat()),
        ("a FIR without entries", [pli(7), packet(0x84, 206, &words(&[1, 0]))].concat()),
        ("a BYE with more sources than words", [pli(7), packet(0x83, 203, &words(&[1]))].concat()),
        ("padding before the last packet", padded_first),
        ("padding of 0 bytes", packet(0xa0, 201, &words(&[1, 0]))),
        ("padding of 3 bytes", packet(0xa0, 201, &words(&[1, 3]))),
        ("padding over the whole packet", packet(0xa0, 201, &words(&[1, 12]))),
        ("padding over the report", packet(0xa0, 201, &words(&[1, 8]))),
    ];
    for (what, bytes) in cases {
        assert_eq!(said(&bytes), Err(Malformed), "{what}");
    }
}

#[test]
fn padding_at_the_end_is_not_taken_for_feedback() {
    let nack = packet(0xa1, 205, &words(&[1, 7, 0x000a_0000, 0x0b0b_0b0b, 0x0000_0008]));
    assert_eq!(said(&nack), Ok(vec!["nack 7 [10]".to_owned()]));
    let after = [empty_rr(), nack].concat();
    assert_eq!(said(&after), Ok(vec!["reports []".to_owned(), "nack 7 [10]".to_owned()]));
}
