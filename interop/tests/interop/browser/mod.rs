//! Chromium and Firefox publish and watch through the gateway's own pages.

mod codecs;
mod demo;
mod driver;
mod equipment;
mod film;
mod hosts;
mod impaired;
mod joining;
mod marionette;
mod pages;
mod partial;
mod plain;
mod processes;
mod proxied;
mod publishing;
mod reading;
mod reconnecting;
mod returning;
mod sent;
mod session;
mod tcp;
mod watching;
