//! What all `[[…]]` tables of the file have in common: each field is taken once, and what is wrong is kept with its place.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What is wrong, and at which byte of the file.
pub(super) type Wrong = (usize, String);

/// A value of the file and its place.
pub(super) type Value<'a> = Spanned<DeValue<'a>>;

/// Reads the tables called `name` one by one: `read` gets its fields and those before it. Gives what was read and everything
/// that is wrong; what was read of a table with mistakes is among it, so that those of others beside it are found as well.
pub(super) fn each<T>(
    name: &'static str,
    value: &Value<'_>,
    mut read: impl FnMut(&mut Fields<'_, '_>, &[T]) -> Option<T>,
) -> (Vec<T>, Vec<Wrong>) {
    let no_tables = |at: usize| (at, format!("{name}: wants [[{name}]] tables"));
    let DeValue::Array(tables) = value.get_ref() else {
        return (Vec::new(), vec![no_tables(value.span().start)]);
    };
    let (mut wrong, mut list) = (Vec::new(), Vec::new());
    for table in tables {
        let at = table.span().start;
        let DeValue::Table(fields) = table.get_ref() else {
            wrong.push(no_tables(at));
            continue;
        };
        let mut fields = Fields::new(name, at, fields);
        let read = read(&mut fields, &list);
        list.extend(read);
        wrong.extend(fields.end());
    }
    (list, wrong)
}

/// Reads the fields of one table and keeps what is wrong with them.
pub(super) struct Fields<'a, 'b> {
    name: &'static str,
    table: usize,
    left: BTreeMap<&'a str, (usize, &'a DeValue<'b>)>,
    wrong: Vec<Wrong>,
}

impl<'a, 'b> Fields<'a, 'b> {
    fn new(name: &'static str, table: usize, fields: &'a DeTable<'b>) -> Self {
        let left = fields.iter().map(|(name, value)| (&**name.get_ref(), (name.span().start, value.get_ref())));
        Fields { name, table, left: left.collect(), wrong: Vec::new() }
    }

    /// Where a field stands, if it has not been taken.
    pub(super) fn place(&self, field: &str) -> Option<usize> {
        self.left.get(field).map(|(at, _)| *at)
    }

    /// What `read` makes of a field; `None` when it is missing or wrong, of which the latter is kept.
    pub(super) fn take<T>(
        &mut self,
        field: &str,
        read: impl FnOnce(&'a DeValue<'b>) -> Result<T, String>,
    ) -> Option<T> {
        let (at, value) = self.left.remove(field)?;
        let name = self.name;
        read(value).map_err(|what| self.wrong.push((at, format!("{name}.{field}: {what}")))).ok()
    }

    /// The same of one that must be there.
    pub(super) fn need<T>(
        &mut self,
        field: &str,
        read: impl FnOnce(&'a DeValue<'b>) -> Result<T, String>,
    ) -> Option<T> {
        if !self.left.contains_key(field) {
            self.refuse(format!("{field} is missing"));
        }
        self.take(field, read)
    }

    /// The table as a whole is wrong.
    pub(super) fn refuse(&mut self, what: impl std::fmt::Display) {
        self.wrong.push((self.table, format!("{}: {what}", self.name)));
    }

    /// A field is wrong that stands there.
    pub(super) fn refuse_field(&mut self, at: usize, field: &str, what: impl std::fmt::Display) {
        self.wrong.push((at, format!("{}.{field}: {what}", self.name)));
    }

    /// Everything that is wrong, fields that nobody has taken included.
    fn end(mut self) -> Vec<Wrong> {
        for (field, (at, _)) in std::mem::take(&mut self.left) {
            self.refuse_field(at, field, "no such key");
        }
        self.wrong
    }
}

pub(super) fn text<'a>(value: &'a DeValue<'_>) -> Result<&'a str, String> {
    match value {
        DeValue::String(text) => Ok(text),
        _ => Err("wants a text in quotes".to_owned()),
    }
}

pub(super) fn texts<'a>(value: &'a DeValue<'_>) -> Result<Vec<&'a str>, String> {
    let wanted = || "wants an array of texts in quotes".to_owned();
    let DeValue::Array(items) = value else { return Err(wanted()) };
    if items.is_empty() {
        return Err("is empty".to_owned());
    }
    items.iter().map(|item| text(item.get_ref()).map_err(|_| wanted())).collect()
}
