//! Chromium and Firefox publish and watch through the gateway's own pages.

mod driver;
mod equipment;
mod marionette;
