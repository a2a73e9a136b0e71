//! What a worker counts, and what is remembered of sessions that ended.

use std::time::Duration;

use whipstitch_plane::{Action, Phase, Plane, Role, WorkerReport};
use whipstitch_stream::{CloseReason, SessionId};

use super::script::{Script, add, plane};
use super::until;

/// What the only worker counted, once it finds the time to answer.
fn measured(plane: &Plane) -> WorkerReport {
    let mut answer = None;
    until(|| {
        answer = plane.measure().pop();
        answer.is_some()
    });
    answer.expect("it has answered")
}

#[test]
fn what_a_session_counted_stays_when_it_ends_and_the_list_says_why_it_did() {
    let plane = plane(1);
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
    until(|| measured(&plane).panics > 0);
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

#[test]
fn a_session_that_breaks_when_it_is_asked_is_dropped_alone() {
    type Question = fn(&Plane);
    let questions: [Question; 2] = [|plane| drop(plane.report()), |plane| drop(plane.measure())];
    for question in questions {
        let plane = plane(1);
        let (lives, _seen) = Script::new(1, Role::Publisher);
        add(&plane, 0, lives);
        let (mut breaks, _seen) = Script::new(2, Role::Subscriber);
        breaks.breaks_when_asked = true;
        add(&plane, 0, breaks);
        question(&plane);
        let report = measured(&plane);
        assert_eq!((report.panics, report.publishers.sessions, report.subscribers.sessions), (1, 1, 0));
        assert_eq!(report.subscribers.closed.iter().collect::<Vec<_>>(), [(&"broken", &1)]);
    }
}
