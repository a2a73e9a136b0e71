//! Our own clients in numbers, against the gateway as a process.

use std::time::Duration;

use whipstitch_client::load::{self, LoadOptions};
use whipstitch_interop::Gateway;

#[tokio::test]
async fn fifty_viewers_decrypt_ten_seconds_and_nothing_is_lost_reordered_or_corrupt() {
    let gateway = Gateway::serve(&[]);
    let report = load::run(LoadOptions {
        viewers: 50,
        full_viewers: 50,
        duration: Duration::from_secs(10),
        ..LoadOptions::new(Some(gateway.url("/whip/load")), gateway.url("/whep/load"))
    })
    .await
    .expect("a run");
    assert_eq!((report.joined, report.ended_early), (50, 0), "\n{report}");
    assert_eq!((report.lost, report.reordered, report.duplicates), (0, 0, 0), "\n{report}");
    assert_eq!((report.corrupt, report.misplaced), (0, 0), "\n{report}");
    // 30 pictures and 50 sounds a second for each, at the very least.
    assert!(report.packets_in_window > 50 * 10 * 80, "\n{report}");
    assert_eq!(gateway.stop().code(), Some(0), "{}", gateway.process().said());
}
