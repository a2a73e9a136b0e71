//! Arrows between crates, from the manifests.

use std::path::Path;

use serde_json::Value;

use super::Crate;
use crate::Outcome;
use crate::steps::cargo;

/// A workspace package and what it names in its manifest.
pub(super) struct Package {
    name: String,
    /// Folder, relative to the workspace.
    folder: String,
    dependencies: Vec<Dependency>,
}

struct Dependency {
    name: String,
    of_tests: bool,
}

/// The workspace's manifests as cargo understands them.
pub(super) fn read(root: &Path) -> Outcome<Vec<Package>> {
    let output = cargo(&["metadata", "--no-deps", "--format-version=1", "--offline"]).output();
    let output = output.map_err(|e| format!("cargo metadata: {e}"))?;
    let metadata: Value = serde_json::from_slice(&output.stdout)
        .map_err(|_| format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr)))?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata names no packages")?;
    Ok(packages.iter().map(|package| parse(root, package)).collect())
}

fn parse(root: &Path, package: &Value) -> Package {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let manifest = text(&package["manifest_path"]);
    let folder = Path::new(&manifest).parent().and_then(|folder| folder.strip_prefix(root).ok());
    let dependencies = package["dependencies"].as_array().into_iter().flatten();
    Package {
        name: text(&package["name"]),
        folder: folder.map(|folder| folder.display().to_string()).unwrap_or_default(),
        dependencies: dependencies
            .map(|dependency| Dependency {
                name: text(&dependency["name"]),
                of_tests: dependency["kind"].as_str() == Some("dev"),
            })
            .collect(),
    }
}

/// One line per rule that a manifest breaks.
pub(super) fn broken(packages: &[Package], table: &[Crate]) -> Vec<String> {
    let row = |name: &str| table.iter().find(|row| row.name == name);
    let mut broken = Vec::new();
    for package in packages {
        let Some(own) = row(&package.name) else {
            broken.push(format!("{}: has no row in the table of floors (xtask/src/floors.rs)", package.name));
            continue;
        };
        if !folder_fits(package) {
            broken.push(format!("{}: lives in {}, folder and crate must have one name", package.name, package.folder));
        }
        for dependency in &package.dependencies {
            if let Some(other) = row(&dependency.name) {
                // Tests may look sideways (a client makes a good peer for a session), never up.
                let highest = if dependency.of_tests { own.floor } else { own.floor.saturating_sub(1) };
                if other.floor > highest || (own.floor == 0 && !dependency.of_tests) {
                    broken.push(format!(
                        "{} (floor {}) imports {} (floor {}): arrows only go down",
                        own.name, own.floor, other.name, other.floor
                    ));
                }
            }
            if own.never.contains(&dependency.name.as_str()) && !dependency.of_tests {
                broken.push(format!("{}: never imports {}", own.name, dependency.name));
            }
        }
    }
    broken
}

/// `crates/net` holds `whipstitch-net`; the binary `whipstitch` lives in `crates/server`.
fn folder_fits(package: &Package) -> bool {
    match (package.name.as_str(), package.folder.strip_prefix("crates/")) {
        ("whipstitch", folder) => folder == Some("server"),
        (name, Some(folder)) => name.strip_prefix("whipstitch-") == Some(folder),
        (name, None) => name.strip_prefix("whipstitch-").unwrap_or(name) == package.folder,
    }
}

#[cfg(test)]
mod tests {
    use super::{Dependency, Package, broken};
    use crate::floors::CRATES;

    fn package(name: &str, folder: &str, dependencies: &[(&str, bool)]) -> Package {
        let dependencies =
            dependencies.iter().map(|(name, of_tests)| Dependency { name: (*name).into(), of_tests: *of_tests });
        Package { name: name.into(), folder: folder.into(), dependencies: dependencies.collect() }
    }

    #[test]
    fn arrows_go_down_and_forbidden_imports_are_named() {
        let (normal, test) = (false, true);
        type Case<'a> = (&'a str, &'a str, &'a [(&'a str, bool)], Option<&'a str>);
        let cases: &[Case<'_>] = &[
            ("whipstitch-plane", "crates/plane", &[("whipstitch-net", normal), ("mio", normal)], None),
            ("whipstitch-net", "crates/net", &[("whipstitch-media", normal)], None),
            ("whipstitch-webrtc", "crates/webrtc", &[("str0m", normal), ("whipstitch-client", test)], None),
            ("whipstitch-net", "crates/net", &[("tokio", test)], None),
            ("whipstitch-net", "crates/net", &[("tokio", normal)], Some("never imports tokio")),
            ("whipstitch", "crates/server", &[("str0m", normal)], Some("never imports str0m")),
            ("whipstitch-stream", "crates/stream", &[("whipstitch-net", normal)], Some("arrows only go down")),
            ("whipstitch-stream", "crates/stream", &[("whipstitch-plane", test)], Some("arrows only go down")),
            ("whipstitch-media", "crates/media", &[("whipstitch-stream", normal)], Some("arrows only go down")),
            ("xtask", "xtask", &[("whipstitch-interop", normal)], None),
            ("xtask", "xtask", &[("whipstitch-media", normal)], Some("never imports whipstitch-media")),
            ("whipstitch-new", "crates/new", &[], Some("has no row")),
            ("whipstitch-net", "crates/sockets", &[], Some("must have one name")),
            ("whipstitch-interop", "interop", &[("whipstitch-client", normal)], None),
        ];
        for (name, folder, dependencies, expected) in cases {
            let found = broken(&[package(name, folder, dependencies)], CRATES);
            match expected {
                None => assert_eq!(found, Vec::<String>::new()),
                Some(words) => assert!(found.len() == 1 && found[0].contains(words), "{name}: {found:?}"),
            }
        }
    }
}
