//! `whipstitch demo` as a new user meets it: one command, then a browser.

use whipstitch_interop::Gateway;

use super::driver::Browser;
use super::watching::{Seen, watched};

async fn shows_the_demo(browser: Browser, screenshot: &str) {
    let gateway = Gateway::demo(&[]);
    browser.open(&gateway.url("/watch/demo")).await;
    let seen = watched(&browser, screenshot).await;
    assert_eq!(seen, Seen { codec: "video/H264".to_owned(), size: (1280, 720) });
    // Stopping says goodbye to the viewer and still is in time.
    assert_eq!(gateway.stop().code(), Some(0), "{}", gateway.process().said());
}

#[tokio::test]
async fn chromium_shows_the_demo() {
    shows_the_demo(Browser::chromium("chromium").await, "demo-chromium").await;
}

#[tokio::test]
async fn firefox_shows_the_demo() {
    shows_the_demo(Browser::firefox("firefox").await, "demo-firefox").await;
}

#[tokio::test]
async fn a_telephone_shows_the_demo() {
    shows_the_demo(Browser::chromium_phone("telephone").await, "demo-telephone").await;
}
