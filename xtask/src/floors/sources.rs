//! Words that may stand in some folders only, from the sources.

use std::io;
use std::path::Path;

use super::UNSAFE;

/// Every Rust file of the workspace, relative to its root, with `/` between folders.
pub(super) fn rust_files(root: &Path) -> io::Result<Vec<String>> {
    let mut files = Vec::new();
    let mut folders: Vec<_> = ["crates", "xtask", "interop", "fuzz"].map(|name| root.join(name)).into();
    folders.retain(|folder| folder.exists());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() && path.file_name().is_none_or(|name| name != "target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.extend(path.strip_prefix(root).ok().map(|path| path.display().to_string()));
            }
        }
    }
    files.sort();
    Ok(files)
}

/// One line per place where a word stands that may not.
pub(super) fn broken(file: &str, text: &str) -> Vec<String> {
    if UNSAFE.iter().any(|folder| file.starts_with(folder)) {
        return Vec::new();
    }
    let code = code(text);
    let lines = code.lines().enumerate();
    let found = lines.filter(|(_, line)| words(line).any(|word| word == "unsafe" || word == "unsafe_code"));
    found.map(|(index, _)| format!("{file}:{}: `unsafe` stands only in {}", index + 1, UNSAFE.join(", "))).collect()
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_')
}

/// The text with comments and the insides of strings blanked, so that prose may speak of anything. Line breaks stay.
fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = skipped(rest);
        if length == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            out.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[length..];
        }
    }
    out
}

/// Length of the comment, string or character literal that `rest` begins with; 0 if it begins with code.
fn skipped(rest: &str) -> usize {
    let until = |from: usize, end: &str| rest[from..].find(end).map_or(rest.len(), |at| from + at + end.len());
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return until(2, "*/");
    }
    if rest.starts_with("'\"'") || rest.starts_with("'\\") {
        return until(2, "'");
    }
    if let Some(raw) = rest.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            return until(2 + hashes, &format!("\"{}", "#".repeat(hashes)));
        }
    }
    if let Some(string) = rest.strip_prefix('"') {
        let mut escaped = false;
        let end = string.char_indices().find(|(_, c)| {
            let ends = *c == '"' && !escaped;
            escaped = *c == '\\' && !escaped;
            ends
        });
        return end.map_or(rest.len(), |(at, _)| at + 2);
    }
    0
}

#[cfg(test)]
mod tests {
    use super::{broken, code};

    #[test]
    fn words_are_found_in_code_and_not_in_prose() {
        let socket = "crates/net/src/socket/gso.rs";
        let cases = [
            ("crates/net/src/batch.rs", "unsafe { f() }", 1),
            ("crates/net/src/batch.rs", "#![allow(unsafe_code)]", 1),
            ("crates/net/src/batch.rs", "// unsafe, they said\nlet a = \"unsafe\"; let b = r#\"un\"unsafe\"#;", 0),
            ("crates/net/src/batch.rs", "let quote = '\"'; unsafe { f() }", 1),
            ("crates/net/src/batch.rs", "let text = \"a \\\" b\"; unsafe { f() }", 1),
            ("crates/net/src/batch.rs", "fn unsafely() {}", 0),
            (socket, "unsafe { f() }", 0),
        ];
        for (file, text, expected) in cases {
            assert_eq!(broken(file, text).len(), expected, "{file}: {text}");
        }
    }

    #[test]
    fn blanked_text_keeps_its_lines() {
        let text = "a // x\n/* y\n z */ b \"q\n\" c\n";
        let blanked = code(text);
        assert_eq!(blanked.lines().count(), text.lines().count());
        assert_eq!(blanked.split_whitespace().collect::<String>(), "abc");
    }
}
