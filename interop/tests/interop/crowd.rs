//! Our own clients in such numbers that nothing else may run beside them: a part of its own in `cargo xtask test`.

use std::time::Duration;

use whipstitch_client::load::{self, LoadOptions};
use whipstitch_interop::Gateway;

/// Those that are there from the beginning and check every packet.
const FULL: usize = 8;

#[tokio::test]
async fn a_thousand_viewers_join_within_ten_seconds_and_nobody_fails_or_loses_anything() {
    let gateway = Gateway::serve(&[]);
    let report = load::run(LoadOptions {
        viewers: 1000,
        full_viewers: FULL,
        duration: Duration::from_secs(3),
        joins_per_second: 125.0,
        // Joins are what is looked at; with more the machine would measure itself.
        bitrate: 200_000,
        gop: Duration::from_secs(1),
        obeys_keyframe_requests: false,
        watch_process: u32::try_from(gateway.process().id()).ok(),
        ..LoadOptions::new(Some(gateway.url("/whip/crowd")), gateway.url("/whep/crowd"))
    })
    .await
    .expect("a run");
    println!("{report}");
    assert_eq!((report.joined, report.ended_early, &report.first_error), (1000, 0, &None), "\n{report}");
    assert!(report.joining <= Duration::from_secs(10), "\n{report}");
    assert_eq!((report.lost, report.reordered, report.duplicates), (0, 0, 0), "\n{report}");
    assert_eq!((report.corrupt, report.misplaced), (0, 0), "\n{report}");
    // 60 packets of pictures and 50 of sound a second for each; less only if the machine stood still.
    assert!(report.packets_in_window > 1000 * 3 * 90, "\n{report}");
    assert_eq!(gateway.stop().code(), Some(0), "{}", gateway.process().said());
}
