//! The hub in virtual time: one file for each behaviour. `README.md` says what is proven where, here and above.

#![allow(clippy::disallowed_methods, reason = "virtual time begins at some instant")]

mod kit;

mod audio_at_once;
mod clocks;
mod duplicates;
mod every_phase;
mod foreign_packets;
mod idle_and_ended;
mod joining;
mod keyframe_cache;
mod keyframe_requests;
mod late_packets;
mod padding;
mod parameter_sets;
mod publisher_slots;
mod publisher_switch;
mod random_schedules;
mod replay;
mod sender_restart;
mod skipping;
mod statistics;
mod wrap_around;

/// The tables of `README.md` say nothing that is not there.
#[test]
fn every_test_the_readme_names_exists() {
    let crates = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the folder of all crates");
    let named = include_str!("README.md").split('`').filter_map(|word| word.split_once(".rs::"));
    let mut count = 0;
    for (file, function) in named {
        let path = crates.join(format!("{file}.rs"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(text.contains(&format!("fn {function}(")), "{file}.rs has no {function}");
        count += 1;
    }
    assert!(count > 40, "{count} names");
}
