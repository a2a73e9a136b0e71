//! The pages as files: served with their header fields, complete, and without anything from elsewhere.

use super::super::pages::Files;
use super::*;

#[tokio::test]
async fn every_page_and_everything_it_names_is_there() {
    let site = Site::start(with_token()).await;
    let mut waiting = vec![
        "/".to_owned(),
        "/processes".to_owned(),
        "/watch/a".to_owned(),
        "/publish/a".to_owned(),
        "/docs?token=good".to_owned(),
    ];
    let named = |body: &str| -> Vec<String> {
        let mut named = Vec::new();
        for quote in ['"', '\''] {
            let words = body.split(quote);
            named.extend(words.clone().filter(|word| word.starts_with("/assets/")).map(str::to_owned));
            let imports = words.filter(|word| word.starts_with("./") && word.ends_with(".js"));
            named.extend(imports.map(|word| word.replace("./", "/assets/")));
        }
        named
    };
    // The page of a proxy's admin listener is not served here; what it loads stands beside the rest.
    let map = Files::get("map.html").expect("the proxy's page");
    waiting.extend(named(&String::from_utf8_lossy(&map.data)));
    let mut seen = HashSet::new();
    while let Some(target) = waiting.pop() {
        if !seen.insert(target.clone()) {
            continue;
        }
        let answer = site.ask("GET", &target, &[], "").await;
        assert_eq!(answer.status, 200, "{target}");
        answer.check();
        assert_eq!(answer.field("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.field("referrer-policy"), Some("no-referrer"));
        waiting.extend(named(&answer.body));
    }
    for file in Files::iter().filter(|file| !file.ends_with(".html")) {
        assert!(seen.contains(&format!("/assets/{file}")), "{file} is used by nobody");
    }
}

#[tokio::test]
async fn pages_allow_nothing_from_elsewhere() {
    let site = Site::open().await;
    for (target, frames) in [("/", "'none'"), ("/processes", "'none'"), ("/publish/a", "'none'"), ("/watch/a", "*")] {
        let answer = site.ask("GET", target, &[], "").await;
        let policy = answer.field("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
        assert!(policy.ends_with(&format!("frame-ancestors {frames}")), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.field("content-type"), Some("text/html; charset=utf-8"));
        for inline in ["<script>", "<style", " style=", " onclick="] {
            assert!(!answer.body.contains(inline), "{target}: the policy forbids {inline}");
        }
    }
    for file in Files::iter() {
        let text = String::from_utf8(Files::get(&file).unwrap().data.into_owned()).unwrap();
        for link in ["src=\"http", "href=\"http", "src=\"//", "href=\"//", "url(http", "from 'http", "import("] {
            assert!(!text.contains(link), "{file}: {link}");
        }
    }
}

#[tokio::test]
async fn an_illegal_name_gets_the_page_that_says_so() {
    let site = Site::open().await;
    for target in ["/watch/a%20b", "/publish/a%2Fb"] {
        let answer = site.ask("GET", target, &[], "").await;
        assert_eq!((answer.status, answer.field("content-type")), (400, Some("text/html; charset=utf-8")), "{target}");
    }
}

#[tokio::test]
async fn a_page_without_a_name_leads_to_the_start_page() {
    let site = Site::open().await;
    for (target, location) in [("/watch", "/"), ("/publish/", "/"), ("/watch?token=t", "/?token=t")] {
        let answer = site.ask("GET", target, &[], "").await;
        assert_eq!((answer.status, answer.field("location")), (307, Some(location)), "{target}");
    }
    assert_eq!(site.ask("POST", "/watch", &[], "").await.status, 405);
}

#[tokio::test]
async fn assets_are_asked_about_and_not_sent_twice() {
    let site = Site::open().await;
    let first = site.ask("GET", "/assets/style.css", &[], "").await;
    assert_eq!(first.field("content-type"), Some("text/css"));
    assert_eq!(first.field("cache-control"), Some("no-cache"));
    let known = format!("if-none-match: {}", first.field("etag").unwrap());
    let second = site.ask("GET", "/assets/style.css", &[&known], "").await;
    assert_eq!((second.status, second.body.as_str()), (304, ""));
    for (method, target, status) in [
        ("GET", "/assets/nothing.js", 404),
        ("GET", "/assets/watch.html", 404),
        ("GET", "/assets/..%2Fsrc%2Fmain.rs", 404),
        ("POST", "/assets/style.css", 405),
        ("POST", "/watch/a", 405),
    ] {
        assert_eq!(site.ask(method, target, &[], "").await.status, status, "{target}");
    }
}

/// The README, the guide and the start page give one FFmpeg command.
#[test]
fn the_ffmpeg_command_is_the_same_everywhere() {
    let options = |text: &str| {
        let bare = text.replace(['\\', '\'', '+'], " ").replace("\n", " ");
        let words: Vec<&str> = bare.split_whitespace().skip_while(|word| *word != "-c:v").collect();
        let end = words.iter().position(|word| *word == "128k").expect("the last option");
        words[..=end].join(" ").replace(" ;", "")
    };
    let page = String::from_utf8(Files::get("index.js").unwrap().data.into_owned()).unwrap();
    let page = options(&page.replace("'-c:v", "-c:v").replace("128k'", "128k "));
    assert_eq!(options(include_str!("../../../../../README.md")), page);
    assert_eq!(options(include_str!("../../../../../docs/publish.md")), page);
}
