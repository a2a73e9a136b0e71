//! The pages themselves: what they list, ask for and show, and that they fit a telephone.

use std::time::Duration;

use whipstitch_interop::Gateway;

use super::driver::Browser;
use super::watching::watched;

const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn the_start_page_lists_what_is_live_and_leads_to_it() {
    let gateway = Gateway::demo(&[]);
    let browser = Browser::chromium("start-page").await;
    browser.open(&gateway.url("/")).await;
    let listed = "
        const line = [...document.querySelectorAll('#streams li')].find(line => line.innerText.includes('demo'));
        return line.innerText.includes('1280×720') && line.querySelector('a').href;";
    let link = browser.until("a line for the demo", SOON, listed).await;
    assert_eq!(link, gateway.url("/watch/demo"));
    browser.screenshot("start").await;
    browser.open(link.as_str().expect("a link")).await;
    watched(&browser, "start-watch").await;
    browser.evaluate("document.getElementById('statistics').click()").await;
    let numbers = "
        const text = document.getElementById('numbers').innerText;
        return ['1280×720', 'Delay', 'bit/s'].every(word => text.includes(word)) && text;";
    browser.until("delay, size and bitrate among the statistics", SOON, numbers).await;
    browser.screenshot("watch-statistics").await;
}

#[tokio::test]
async fn a_page_asks_for_the_token_and_goes_on_with_it() {
    let gateway = Gateway::demo(&["--token", "open-sesame"]);
    let browser = Browser::chromium("token").await;
    browser.open(&gateway.url("/watch/demo")).await;
    browser.until("a field for the token", SOON, "return document.querySelector('input[name=token]')").await;
    browser.screenshot("watch-token").await;
    let fill = "
        const field = document.querySelector('input[name=token]');
        field.value = 'open-sesame';
        field.form.requestSubmit();";
    browser.evaluate(fill).await;
    watched(&browser, "watch-with-token").await;
}

#[tokio::test]
async fn the_start_page_says_that_the_list_needs_the_token_and_asks_no_more() {
    let gateway = Gateway::demo(&["--token", "open-sesame"]);
    let browser = Browser::chromium("start-denied").await;
    browser.open(&gateway.url("/")).await;
    let denied = "
        const note = document.getElementById('note').innerText;
        return note.startsWith('The list needs the token.')
            && document.getElementById('ffmpeg-file').innerText.includes('-f whip -authorization TOKEN http');";
    browser.until("words about the token", SOON, denied).await;
    browser.screenshot("start-denied").await;
    let asks_again = "
        window.asked = false;
        window.fetch = () => { window.asked = true; return new Promise(() => {}); };
        dispatchEvent(new Event('visibilitychange'));
        return window.asked;";
    assert_eq!(browser.evaluate(asks_again).await, false);
    let fill = "
        const field = document.querySelector('input[name=token]');
        field.value = 'open-sesame';
        field.form.requestSubmit();
        return window.asked && document.getElementById('ffmpeg-file').innerText.includes('-authorization open-sesame');";
    assert_eq!(browser.evaluate(fill).await, true);
}

#[tokio::test]
async fn the_start_page_says_when_no_stream_may_have_a_name() {
    let gateway = Gateway::demo(&["--stream-names", "demo*"]);
    let browser = Browser::chromium("start-names").await;
    browser.open(&gateway.url("/")).await;
    let unserved = "return !document.getElementById('unserved').hidden";
    browser.until("words about the first name", SOON, unserved).await;
    let enter = |name: &str| {
        format!(
            "const field = document.getElementById('name');
             field.value = '{name}';
             field.dispatchEvent(new Event('input'));
             return document.getElementById('unserved').hidden;"
        )
    };
    assert_eq!(browser.evaluate(&enter("demo-2")).await, true);
    assert_eq!(browser.evaluate(&enter("other")).await, true, "nobody has asked yet");
    browser.until("words about another name", SOON, unserved).await;
}

#[tokio::test]
async fn every_page_fits_a_telephone() {
    let gateway = Gateway::demo(&[]);
    let browser = Browser::chromium_phone("telephone-pages").await;
    for (path, name) in
        [("/", "start"), ("/watch/demo", "watch"), ("/watch/nobody", "waiting"), ("/publish/me", "publish")]
    {
        browser.open(&gateway.url(path)).await;
        let fits = "
            const page = document.scrollingElement;
            return window.whipstitch && document.body.innerText.length > 0
                && innerWidth <= 400 && page.scrollWidth <= innerWidth;";
        browser.until("no scrolling sideways", SOON, fits).await;
        browser.screenshot(&format!("telephone-{name}")).await;
    }
}
