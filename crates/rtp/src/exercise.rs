//! What fuzz targets and tests share: anything goes in, and what must hold is asserted.

use std::time::{Duration, Instant};

use crate::receiver::{Config, Output, Receiver};
use crate::reorder::Limits;

/// Receives a series of datagrams: each is one byte of length, one of kind and passing time, and as many bytes.
///
/// # Panics
/// If packets come out of order, twice, or in heaps.
pub fn receiver(start: Instant, data: &[u8]) {
    let order = Limits { packets: 8, wait: Duration::from_millis(20) };
    let mut receiver = Receiver::new(Config { pt: 96, clock_rate: 90_000, order });
    let (mut now, mut rest, mut newest) = (start, data, None);
    let (mut taken, mut given) = (0, 0);
    while let [length, kind, after @ ..] = rest {
        let (bytes, after) = after.split_at_checked(usize::from(*length)).unwrap_or((after, &[]));
        rest = after;
        now += Duration::from_millis(u64::from(kind >> 1));
        if kind & 1 == 0 {
            // What was not believed may be after all.
            taken += usize::from(receiver.receive(now, bytes).is_ok()) * 2;
        } else {
            let _ = receiver.receive_rtcp(now, &mut bytes.to_vec());
        }
        while let Some(output) = receiver.poll(now) {
            match output {
                Output::Restarted => newest = None,
                Output::Packet(packet) => {
                    given += 1;
                    assert!(newest.is_none_or(|newest| packet.seq > newest), "{} after {newest:?}", packet.seq);
                    newest = Some(packet.seq);
                }
                Output::Report(..) | Output::Bye => {}
            }
        }
        assert!(given <= taken, "{given} of {taken}");
        let mut buffer = [0; 64];
        let written = receiver.report(now, 1, &mut buffer).unwrap_or(0);
        assert!(written == 0 || written == 32);
    }
}
