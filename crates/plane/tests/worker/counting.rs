//! What a worker counts, and what is remembered of sessions that ended.

use std::time::{Duration, Instant};

use whipstitch_plane::{Action, Phase, Plane, Role};
use whipstitch_stream::{CloseReason, SessionId};

use super::SOON;
use super::script::{Script, add, plane};

#[test]
fn what_a_session_counted_stays_when_it_ends_and_the_list_says_why_it_did() {
    let plane = plane(1);
    let measured = |plane: &Plane| plane.measure().pop().expect("the worker answers");
    let (lives, _seen) = Script::new(1, Role::Publisher);
    add(&plane, 0, lives.at_once(|| vec![Action::Took(Phase::Dtls, Duration::from_millis(7))]));
    let (ends, _seen) = Script::new(2, Role::Publisher);
    let ending = ends.ending.clone();
    add(&plane, 0, ends);
    let before = measured(&plane).publishers;
    assert_eq!((before.sessions, before.begun, before.counters.packets), (2, 2, 6));
    assert!(plane.closed().is_empty());

    plane.end(0, SessionId(2), &ending, CloseReason::ByRequest);
    // Broken ones are counted as well.
    let (breaks, _seen) = Script::new(3, Role::Publisher);
    add(&plane, 0, breaks.at_once(|| panic!("as the test wants it")));
    let until = Instant::now() + SOON;
    while measured(&plane).panics == 0 {
        assert!(Instant::now() < until);
    }
    let report = measured(&plane);
    let after = &report.publishers;
    assert_eq!((after.sessions, after.begun, after.counters.packets), (1, 3, 9));
    assert_eq!(after.closed.iter().collect::<Vec<_>>(), [(&"broken", &1), (&"by_request", &1)]);
    assert_eq!((after.dtls.count, after.dtls.buckets[1]), (1, 1));
    assert_eq!(report.subscribers.begun, 0);
    let closed = plane.closed();
    let closed: Vec<_> = closed.iter().map(|closed| (closed.report.session.0, closed.reason)).collect();
    assert_eq!(closed, [(3, "broken"), (2, "by_request")]);
    assert!(report.busy <= report.uptime && report.turns > 0, "{report:?}");
}
