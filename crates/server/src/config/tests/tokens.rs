//! The token list of the file.

use std::time::{Duration, SystemTime};

use super::*;
use crate::tokens::Rights;

fn unix(seconds: u64) -> Option<SystemTime> {
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

#[test]
fn a_table_says_who_may_do_what_where_and_until_when() {
    let file = "
        token = 'owner'
        [[tokens]]
        name = 'studio 1'
        token = 'secret-1'
        rights = ['publish', 'play']
        streams = ['cam-*', 'x']
        expires = '1970-01-02T01:00:00+01:00'
        [[tokens]]
        name = 'monitoring'
        token = 'secret-2'
        rights = ['admin']
        expires = 1970-01-01T00:00:00.5Z
        [[tokens]]
        name = 'west'
        token = 'secret-3'
        rights = ['play']
        streams = ['*']
        expires = 1970-01-01T00:00:00-01:30
    ";
    let config = resolved(&[], &[], file).unwrap();
    let [studio, monitoring, west] = &config.tokens[..] else { panic!("{:?}", config.tokens) };
    assert_eq!((&*studio.name, studio.rights), ("studio 1", Rights { publish: true, play: true, admin: false }));
    assert_eq!(studio.streams, ["cam-*", "x"].map(|text| Pattern::parse(text).unwrap()));
    assert_eq!(studio.expires, unix(86_400));
    assert!(studio.token.matches("secret-1"));
    assert_eq!((monitoring.rights, monitoring.streams.len()), (Rights { admin: true, ..Rights::default() }, 0));
    assert_eq!(monitoring.expires, Some(SystemTime::UNIX_EPOCH + Duration::from_millis(500)));
    assert_eq!(west.expires, unix(90 * 60));
    assert!(config.token.is_some() && config.needs_token());
    assert!(!format!("{config:?}").contains("secret-"));
}

#[test]
fn every_mistake_in_the_tables_is_reported_and_no_token_is_repeated() {
    let file = "
        [[tokens]]
        name = 'a/b'
        token = 'two secrets'
        rights = ['publish', 'watch']
        streams = ['a b']
        expires = '2027-01-01'
        note = 'x'
        [[tokens]]
        rights = []
        expires = 2027-01-01T00:00:00
        [[tokens]]
        name = 'c'
        token = 'secret'
        rights = ['admin']
        streams = ['cam-*']
        [[tokens]]
        name = 'd'
        token = 'good'
        rights = ['play']
        [[tokens]]
        name = 'e'
        token = 'good'
        rights = 'play'
        [[tokens]]
        name = 'f'
        token = 'good'
        rights = ['play']
    ";
    let mistakes = resolved(&[], &[], file).unwrap_err();
    let expected = [
        "w.toml:3: tokens.name: a name is",
        "w.toml:4: tokens.token: a token is",
        "w.toml:5: tokens.rights: \"watch\" is no right: publish, play, admin",
        "w.toml:6: tokens.streams: \"a b\" is no pattern",
        "w.toml:7: tokens.expires: wants a date, a time and its zone",
        "w.toml:8: tokens.note: no such key",
        "w.toml:9: tokens: name is missing",
        "w.toml:9: tokens: token is missing",
        "w.toml:10: tokens.rights: is empty",
        "w.toml:11: tokens.expires: wants a date, a time and its zone",
        "w.toml:16: tokens.streams: the right admin is for all streams",
        "w.toml:21: tokens: the token of \"e\" stands in an earlier table",
        "w.toml:24: tokens.rights: wants an array",
        "w.toml:25: tokens: the token of \"f\" stands in an earlier table",
    ];
    for start in expected {
        assert_eq!(mistakes.iter().filter(|line| line.starts_with(start)).count(), 1, "{start}\n{mistakes:#?}");
    }
    assert_eq!(mistakes.len(), expected.len(), "{mistakes:#?}");
    assert!(mistakes.iter().all(|line| !line.contains("secret") && !line.contains("good")));
    for file in ["tokens = 'x'", "tokens = ['x']", "[tokens]\na = 1"] {
        assert_eq!(resolved(&[], &[], file).unwrap_err().len(), 1, "{file}");
    }
}

/// The example's tables are comments like everything there, and good as they stand.
#[test]
fn the_example_file_shows_tables_that_work() {
    let text = include_str!("../../../../../whipstitch.example.toml");
    let tables: Vec<&str> = text.lines().skip_while(|line| *line != "#[[tokens]]").collect();
    let tables: String = tables.iter().map(|line| format!("{}\n", line.trim_start_matches('#'))).collect();
    let config = resolved(&[], &[], &tables).unwrap();
    assert!(config.tokens.len() >= 2);
}

#[test]
fn a_listed_token_with_all_rights_already_is_a_mistake() {
    let file = "token = 'good'\n[[tokens]]\nname = 'a'\ntoken = 'good'\nrights = ['play']\n";
    let mistakes = resolved(&[], &[], file).unwrap_err();
    let all_rights = "tokens: the token of \"a\" is the one of `token`, which has all rights";
    assert_eq!(mistakes, [all_rights]);
    let elsewhere = format!("workers = 'x'\n{file}colour = 'red'\n[[tokens]]\nname = 'b'\n");
    let mistakes = resolved(&[], &[], &elsewhere).unwrap_err();
    assert_eq!(mistakes.len(), 5, "{mistakes:#?}");
    assert!(mistakes.iter().any(|mistake| mistake == all_rights), "{mistakes:#?}");
}
