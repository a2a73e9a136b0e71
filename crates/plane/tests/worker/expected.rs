//! Subscribers of a stream whose publisher is gone: they are closed after the grace time, unless one is expected.

use whipstitch_stream::StreamKey;
use whipstitch_stream::stream::Config;

use crate::stage::Stage;

#[test]
fn viewers_stay_as_long_as_a_publisher_is_expected_on_every_worker() {
    let mut stage = Stage::new(2, Config::default());
    let stream = StreamKey::parse("cam").expect("a legal name");
    let publisher = stage.publisher(&stream);
    let viewers = [0, 1].map(|worker| stage.viewer(worker, &stream));
    let closed = || viewers.each_ref().map(|viewer| viewer.log().closed);
    let expected = stage.plane.running().expect(&stream);
    stage.end(&publisher);
    stage.pass(60_000);
    assert_eq!(closed(), [false; 2]);
    // Another grace time at most.
    drop(expected);
    stage.pass(15_000);
    assert_eq!(closed(), [true; 2]);
}
