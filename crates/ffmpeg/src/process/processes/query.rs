//! Which processes a list is of.

use std::sync::Arc;

use globset::{GlobBuilder, GlobMatcher};

use super::{Error, Process, Processes};

/// The longest pattern, in bytes.
const LONGEST_PATTERN: usize = 1024;

/// Which processes a list is of, as datarhei Core asks for them; what is not named is not asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Ids. Nothing if there is a reference.
    pub ids: Vec<String>,
    /// The reference that they have.
    pub reference: Option<String>,
    /// What their ids look like, with `*`, `?`, `[…]` and `{a,b}`.
    pub id_pattern: Option<String>,
    /// What their references look like.
    pub reference_pattern: Option<String>,
}

impl Processes {
    /// The processes that are asked for, by id.
    ///
    /// # Errors
    /// A pattern is none.
    pub fn list(&self, query: &Query) -> Result<Vec<Arc<Process>>, Error> {
        let id_pattern = pattern("idpattern", query.id_pattern.as_deref())?;
        let reference_pattern = pattern("refpattern", query.reference_pattern.as_deref())?;
        let fits = |process: &&Arc<Process>| {
            let (id, reference) = (&process.definition.id, &process.definition.reference);
            let named = match &query.reference {
                Some(wanted) => wanted == reference,
                None => query.ids.is_empty() || query.ids.contains(id),
            };
            named
                && id_pattern.as_ref().is_none_or(|pattern| pattern.is_match(id))
                && reference_pattern.as_ref().is_none_or(|pattern| pattern.is_match(reference))
        };
        Ok(self.all().values().filter(fits).cloned().collect())
    }
}

fn pattern(name: &str, text: Option<&str>) -> Result<Option<GlobMatcher>, Error> {
    let Some(text) = text else { return Ok(None) };
    if text.len() > LONGEST_PATTERN {
        return Err(Error::Pattern(format!("{name} has more than {LONGEST_PATTERN} bytes")));
    }
    let glob = GlobBuilder::new(text).literal_separator(false).build();
    glob.map(|glob| Some(glob.compile_matcher())).map_err(|error| Error::Pattern(format!("{name}: {error}")))
}
