//! The tables of what is proven where: `crates/*/tests/*/README.md` name tests as `CRATE/FILE.rs::FUNCTION`, and each must
//! be there.

use std::path::{Path, PathBuf};

use crate::Outcome;

/// Fails with one line per name that nothing has, and per table that names nothing.
pub(crate) fn hold(root: &Path) -> Outcome {
    let crates = root.join("crates");
    let mut broken = Vec::new();
    let tables = tables(&crates).map_err(|e| format!("looking for tables of tests: {e}"))?;
    for table in &tables {
        let text = std::fs::read_to_string(table).map_err(|e| format!("{}: {e}", table.display()))?;
        let lost = lost(&text, |file| std::fs::read_to_string(crates.join(file)).ok());
        broken.extend(lost.into_iter().map(|lost| format!("{}: {lost}", table.display())));
    }
    if tables.is_empty() {
        broken.push("no table of tests is there any more".to_owned());
    }
    if broken.is_empty() { Ok(()) } else { Err(broken.join("\n    ")) }
}

/// `README.md` of each folder of tests that has one and names tests.
fn tables(crates: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut tables = Vec::new();
    for entry in std::fs::read_dir(crates)? {
        let tests = entry?.path().join("tests");
        if !tests.is_dir() {
            continue;
        }
        for folder in std::fs::read_dir(tests)? {
            let table = folder?.path().join("README.md");
            if table.is_file() && named(&std::fs::read_to_string(&table)?).next().is_some() {
                tables.push(table);
            }
        }
    }
    Ok(tables)
}

/// File and function of each test that a table names.
fn named(text: &str) -> impl Iterator<Item = (String, &str)> {
    let words = text.split('`').filter_map(|word| word.split_once(".rs::"));
    words.map(|(file, function)| (format!("{file}.rs"), function))
}

fn lost(text: &str, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let is_there =
        |(file, function): &(String, &str)| read(file).is_some_and(|text| text.contains(&format!("fn {function}(")));
    named(text).filter(|named| !is_there(named)).map(|(file, function)| format!("{file} has no {function}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_test_a_table_names_is_looked_up() {
        let table = "| the rule | `a/tests/it/x.rs::it_holds`, `a/src/y.rs::it_holds_here` and `z.rs` |\n`b.rs::gone`";
        let read = |file: &str| (file != "b.rs").then(|| "#[test]\nfn it_holds() {}".to_owned());
        assert_eq!(lost(table, read), ["a/src/y.rs has no it_holds_here", "b.rs has no gone"]);
    }

    #[test]
    fn every_test_the_tables_name_is_there() {
        let root = crate::steps::root();
        assert_eq!(hold(&root), Ok(()));
        assert!(tables(&root.join("crates")).unwrap().len() >= 2);
    }
}
