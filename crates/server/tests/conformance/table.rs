//! The tables of `README.md` say nothing that is not there.

use std::path::Path;

#[test]
fn every_test_the_readme_names_exists() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the folder of all crates");
    let named = include_str!("README.md").split('`').filter_map(|word| word.split_once(".rs::"));
    let mut count = 0;
    for (file, function) in named {
        let path = crates.join(format!("{file}.rs"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(text.contains(&format!("fn {function}(")), "{file}.rs has no {function}");
        count += 1;
    }
    assert!(count > 60, "{count} names");
}
