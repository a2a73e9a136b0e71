//! Links between the documents: each relative one must lead to a file.

use std::path::{Path, PathBuf};

use crate::Outcome;

/// Fails with one line per link that leads nowhere.
pub(crate) fn hold(root: &Path) -> Outcome {
    let mut broken = Vec::new();
    for document in documents(root).map_err(|e| format!("looking for documents: {e}"))? {
        let text = std::fs::read_to_string(&document).map_err(|e| format!("{}: {e}", document.display()))?;
        let folder = document.parent().unwrap_or(root);
        let lost = targets(&text).filter(|target| !folder.join(target).exists());
        broken.extend(lost.map(|target| format!("{}: `{target}` does not exist", document.display())));
    }
    if broken.is_empty() { Ok(()) } else { Err(broken.join("\n    ")) }
}

fn documents(root: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut documents = Vec::new();
    for folder in [root.to_owned(), root.join("docs")] {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "md") {
                documents.push(path);
            }
        }
    }
    Ok(documents)
}

/// What `[…](target)` links lead to, without fragments; other sites and places in the same document left out.
fn targets(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| {
        let target = rest.split([')', '#']).next()?;
        (!target.is_empty() && !target.contains("://")).then_some(target)
    })
}

#[cfg(test)]
mod tests {
    use super::{hold, targets};

    #[test]
    fn only_links_to_files_are_looked_up() {
        let text = "[a](docs/a.md), [b](https://example.org/), [c](#here), [d](b.md#there)\n[e](LICENSE)";
        assert_eq!(targets(text).collect::<Vec<_>>(), ["docs/a.md", "b.md", "LICENSE"]);
    }

    #[test]
    fn no_link_leads_nowhere() {
        assert_eq!(hold(&crate::steps::root()), Ok(()));
    }
}
