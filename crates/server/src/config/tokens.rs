//! The `[[tokens]]` tables of the file. No mistake repeats a token.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml::value::{Datetime, Offset};

use crate::credentials::Token;
use crate::patterns::Pattern;
use crate::tokens::{Listed, Rights};

/// What is wrong, and at which byte of the file.
pub(super) type Wrong = (usize, String);

type Value<'a> = Spanned<DeValue<'a>>;

/// What the tables say.
#[derive(Debug, Default)]
pub(super) struct Tables {
    /// Those with which nothing is wrong.
    pub(super) list: Vec<Listed>,
    /// Every token, also of tables with which something is: and how a mistake calls it.
    pub(super) tokens: Vec<(String, Token)>,
    pub(super) wrong: Vec<Wrong>,
}

/// Reads the tables.
pub(super) fn read(value: &Value<'_>) -> Tables {
    const WANTED: &str = "tokens: wants [[tokens]] tables";
    let mut read = Tables::default();
    let DeValue::Array(tables) = value.get_ref() else {
        read.wrong.push((value.span().start, WANTED.to_owned()));
        return read;
    };
    for table in tables {
        let at = table.span().start;
        let DeValue::Table(fields) = table.get_ref() else {
            read.wrong.push((at, WANTED.to_owned()));
            continue;
        };
        let one = one(at, fields);
        if let Some(token) = one.token {
            let whose = one.name.map_or_else(|| "this token".to_owned(), |name| format!("the token of {name:?}"));
            if read.tokens.iter().any(|(_, other)| *other == token) {
                read.wrong.push((at, format!("tokens: {whose} stands in an earlier table")));
            }
            read.tokens.push((whose, token));
        }
        read.list.extend(one.listed);
        read.wrong.extend(one.wrong);
    }
    read
}

/// What one table says.
struct One {
    name: Option<Arc<str>>,
    token: Option<Token>,
    /// All of it, if nothing is wrong.
    listed: Option<Listed>,
    wrong: Vec<Wrong>,
}

/// Reads the fields of one table and keeps what is wrong with them.
struct Fields<'a, 'b> {
    table: usize,
    left: BTreeMap<&'a str, (usize, &'a DeValue<'b>)>,
    wrong: Vec<Wrong>,
}

impl<'a, 'b> Fields<'a, 'b> {
    /// What `read` makes of a field; `None` when it is missing or wrong, of which the latter is kept.
    fn take<T>(&mut self, name: &str, read: impl FnOnce(&'a DeValue<'b>) -> Result<T, String>) -> Option<T> {
        let (at, value) = self.left.remove(name)?;
        read(value).map_err(|what| self.wrong.push((at, format!("tokens.{name}: {what}")))).ok()
    }

    fn need<T>(&mut self, name: &str, read: impl FnOnce(&'a DeValue<'b>) -> Result<T, String>) -> Option<T> {
        if !self.left.contains_key(name) {
            self.wrong.push((self.table, format!("tokens: {name} is missing")));
        }
        self.take(name, read)
    }
}

fn one(table: usize, fields: &DeTable<'_>) -> One {
    let left = fields.iter().map(|(name, value)| (&**name.get_ref(), (name.span().start, value.get_ref())));
    let mut fields = Fields { table, left: left.collect(), wrong: Vec::new() };
    let name = fields.need("name", |value| name(text(value)?));
    let token = fields.need("token", |value| Token::parse(text(value)?));
    let rights = fields.need("rights", rights);
    let has_streams = fields.left.get("streams").map(|(at, _)| *at);
    let streams = fields.take("streams", patterns).unwrap_or_default();
    let expires = fields.take("expires", moment);
    if let (Some(at), Some(Rights { admin: true, .. })) = (has_streams, rights)
        && !streams.iter().any(Pattern::is_all)
    {
        fields.wrong.push((at, "tokens.streams: the right admin is for all streams; leave this out".to_owned()));
    }
    for (name, (at, _)) in std::mem::take(&mut fields.left) {
        fields.wrong.push((at, format!("tokens.{name}: no such key")));
    }
    let wrong = fields.wrong;
    let listed = match (name.clone(), token.clone(), rights) {
        (Some(name), Some(token), Some(rights)) if wrong.is_empty() => {
            Some(Listed { name, token, rights, streams, expires })
        }
        _ => None,
    };
    One { name, token, listed, wrong }
}

fn text<'a>(value: &'a DeValue<'_>) -> Result<&'a str, String> {
    match value {
        DeValue::String(text) => Ok(text),
        _ => Err("wants a text in quotes".to_owned()),
    }
}

fn texts<'a>(value: &'a DeValue<'_>) -> Result<Vec<&'a str>, String> {
    let wanted = || "wants an array of texts in quotes".to_owned();
    let DeValue::Array(items) = value else { return Err(wanted()) };
    if items.is_empty() {
        return Err("is empty".to_owned());
    }
    items.iter().map(|item| text(item.get_ref()).map_err(|_| wanted())).collect()
}

fn name(text: &str) -> Result<Arc<str>, String> {
    let legal = |c: char| c.is_alphanumeric() || " ._-@+".contains(c);
    if (1..=64).contains(&text.chars().count()) && text.chars().all(legal) {
        return Ok(text.into());
    }
    Err("a name is 1 to 64 letters, digits, spaces and ._-@+".to_owned())
}

fn rights(value: &DeValue<'_>) -> Result<Rights, String> {
    let mut rights = Rights::default();
    for text in texts(value)? {
        match text {
            "publish" => rights.publish = true,
            "play" => rights.play = true,
            "admin" => rights.admin = true,
            _ => return Err(format!("{text:?} is no right: publish, play, admin")),
        }
    }
    Ok(rights)
}

fn patterns(value: &DeValue<'_>) -> Result<Vec<Pattern>, String> {
    texts(value)?.into_iter().map(Pattern::parse).collect()
}

/// RFC 3339, as a text or as TOML's own date and time. Without a zone nobody could say when it is.
fn moment(value: &DeValue<'_>) -> Result<SystemTime, String> {
    let wanted = || "wants a date, a time and its zone, such as 2027-01-31T18:00:00Z or …+01:00".to_owned();
    let moment: Datetime = match value {
        DeValue::Datetime(moment) => *moment,
        DeValue::String(text) => text.parse().map_err(|_| wanted())?,
        _ => return Err(wanted()),
    };
    let Datetime { date: Some(date), time: Some(time), offset: Some(offset) } = moment else { return Err(wanted()) };
    let minutes = match offset {
        Offset::Z => 0,
        Offset::Custom { minutes } => minutes,
    };
    let local = humantime::parse_rfc3339(&format!("{date}T{time}Z")).map_err(|_| wanted())?;
    let shift = Duration::from_secs(60 * u64::from(minutes.unsigned_abs()));
    // East of Greenwich it is later already.
    let moment = if minutes > 0 { local.checked_sub(shift) } else { local.checked_add(shift) };
    moment.ok_or_else(wanted)
}
