//! The offers of real clients: each connects.

use crate::kit::{Live, Site, offers};

#[test]
fn every_publisher_connects_with_its_own_offer() {
    for name in offers::PUBLISHERS {
        let site = Site::start();
        let _live = site.live("cam", name);
    }
}

#[test]
fn every_viewer_connects_with_its_own_offer() {
    let site = Site::start();
    let _publisher = site.live("cam", "obs-32");
    for name in offers::VIEWERS {
        let viewer = Live::connect(&site, "/whep/cam", &offers::offer(name));
        assert!(!viewer.is_closed(), "{name}");
    }
}
