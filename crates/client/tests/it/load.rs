//! The load tool: silent about a faultless gateway, and not about a faulty one.

use std::time::Duration;

use whipstitch_client::load::{self, LoadOptions, LoadReport};

use crate::gateway::{Behaviour, Fault, Gateway, VIEWERS, WELL};

async fn run(fault: Fault, paced: bool) -> LoadReport {
    let gateway = Gateway::start(Behaviour { fault, ..WELL }).await;
    let options = LoadOptions {
        viewers: VIEWERS,
        full_viewers: 2,
        threads: 2,
        // In its first second a viewer may be given the past, which tells nothing of transit.
        duration: Duration::from_secs(2),
        joins_per_second: 1000.0,
        gop: Duration::from_millis(200),
        paced,
        ..LoadOptions::new(Some(gateway.url("/whip/load")), gateway.url("/whep/load"))
    };
    let report = load::run(options).await.expect("publisher lives");
    assert_eq!(gateway.sessions(), 0, "everyone has left");
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faultless_gateway_has_a_clean_report() {
    for paced in [false, true] {
        let report = run(Fault::None, paced).await;
        assert_eq!((report.viewers, report.joined, report.ended_early), (4, 4, 0), "{report}");
        let faults = [report.lost, report.reordered, report.duplicates, report.corrupt, report.misplaced];
        assert_eq!(faults, [0; 5], "{report}");
        assert!(report.window >= Duration::from_secs(2));
        // A second has 9 packets of 30 pictures and 50 of sound, to four: 1280. A busy machine makes the window longer.
        let a_second = report.packets_in_window as f64 / report.window.as_secs_f64();
        assert!((600.0..1800.0).contains(&a_second), "{report}");
        assert!(report.transit.p99.is_some() && report.join.p95.is_some(), "{report}");
        assert!(report.published * 4 >= report.packets);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_is_told_by_its_name() {
    for fault in [Fault::Drops, Fault::Swallows, Fault::Corrupts, Fault::Swaps] {
        let report = run(fault, false).await;
        let found = [report.lost, report.reordered, report.corrupt, report.misplaced].map(|count| count > 0);
        let expected = match fault {
            Fault::None => [false; 4],
            Fault::Drops => [true, false, false, false],
            // What comes after it is one number off.
            Fault::Swallows => [true, false, false, true],
            Fault::Corrupts => [true, false, true, false],
            Fault::Swaps => [false, true, false, false],
        };
        assert_eq!(found, expected, "{fault:?}\n{report}");
    }
}
