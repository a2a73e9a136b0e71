//! Chromium and Firefox publish and watch through the gateway's own pages.

mod equipment;
