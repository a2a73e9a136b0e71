//! The `[[tokens]]` tables of the file. No mistake repeats a token.

use std::time::{Duration, SystemTime};

use toml::de::DeValue;
use toml::value::{Datetime, Offset};

use super::tables::{self, Fields, Value, Wrong, text, texts};
use crate::credentials::Token;
use crate::patterns::Pattern;
use crate::tokens::{Listed, Rights};

/// The tables that name a token, and everything that is wrong with any.
pub(super) fn listed(value: &Value<'_>) -> (Vec<Listed>, Vec<Wrong>) {
    tables::each("tokens", value, |fields, before: &[Listed]| {
        let listed = one(fields)?;
        if before.iter().any(|other| other.token == listed.token) {
            fields.refuse(format!("the token of {:?} stands in an earlier table", &*listed.name));
        }
        Some(listed)
    })
}

fn one(fields: &mut Fields<'_, '_>) -> Option<Listed> {
    let name = fields.need("name", |value| name(text(value)?));
    let token = fields.need("token", |value| Token::parse(text(value)?));
    let rights = fields.need("rights", rights);
    let has_streams = fields.place("streams");
    let streams = fields.take("streams", patterns).unwrap_or_default();
    let expires = fields.take("expires", moment);
    if let (Some(at), Some(Rights { admin: true, .. })) = (has_streams, rights)
        && !streams.iter().any(Pattern::is_all)
    {
        fields.refuse_field(at, "streams", "the right admin is for all streams; leave this out");
    }
    // What else is missing was told; with its token it is still known.
    let name = name.unwrap_or_else(|| "?".into());
    Some(Listed { name, token: token?, rights: rights.unwrap_or_default(), streams, expires })
}

fn name(text: &str) -> Result<std::sync::Arc<str>, String> {
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
