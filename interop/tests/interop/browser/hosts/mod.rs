//! A site of many machines under live media: Chromium publishes and watches, aiortc watches, and one part of the site after
//! the other moves, dies, comes back or is drained. Each step says what went on, and for how long there was nothing to see.

mod dying;
mod living;
mod site;

use site::Site;

use super::driver::Browser;

#[tokio::test]
async fn media_goes_on_while_clients_move_proxies_and_origins_die_and_redis_is_away() {
    let mut site = Site::build().await;
    dying::begins(&mut site).await;
    dying::clients_move(&site).await;
    dying::a_proxy_dies(&mut site).await;
    dying::redis_forgets_everything(&mut site).await;
    dying::redis_is_away(&site).await;
    dying::an_origin_dies(&mut site).await;
    living::an_origin_is_drained(&site).await;
    let other = Browser::chromium_inside(site.clients[1].network(), "hosts-other").await;
    living::the_map_shows_it(&site, &other).await;
    living::a_viewer_is_sent_to_the_origin(&site, &other).await;
    drop(other);
    living::sessions_are_patched(&site).await;
    living::sessions_end(&site).await;
}
