//! Every dependency may be used under a licence that asks for no more than its text.

use serde_json::Value;

const ALLOWED: [&str; 17] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    // For data alone: lists of certificate authorities.
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    // Asks for the source of changed files of the dependency itself, and nothing of who uses it.
    "MPL-2.0",
    "PostgreSQL",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Dependencies that say their licence in a file alone, which somebody has read.
const READ: [(&str, &str); 1] = [("saffron", "BSD-3-Clause")];

/// Whether an SPDX licence expression (https://spdx.github.io/spdx-spec/v3.0.1/annexes/spdx-license-expressions/)
/// can be satisfied by allowed licences alone. `/` is an older way to write OR.
fn satisfied(expression: &str) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut place = 0;
    any(&words, &mut place) && place == words.len()
}

fn any(words: &[&str], place: &mut usize) -> bool {
    let mut satisfied = all(words, place);
    while words.get(*place) == Some(&"OR") {
        *place += 1;
        satisfied |= all(words, place);
    }
    satisfied
}

fn all(words: &[&str], place: &mut usize) -> bool {
    let mut satisfied = one(words, place);
    while words.get(*place) == Some(&"AND") {
        *place += 1;
        satisfied &= one(words, place);
    }
    satisfied
}

fn one(words: &[&str], place: &mut usize) -> bool {
    let Some(word) = words.get(*place) else { return false };
    *place += 1;
    if *word == "(" {
        let inner = any(words, place);
        let closed = words.get(*place) == Some(&")");
        *place += 1;
        return inner && closed;
    }
    if words.get(*place) != Some(&"WITH") {
        return ALLOWED.contains(word);
    }
    let exception = words.get(*place + 1).copied().unwrap_or_default();
    *place += 2;
    ALLOWED.contains(&format!("{word} WITH {exception}").as_str())
}

#[test]
fn every_dependency_has_a_licence_that_is_allowed() {
    let output = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100);
    let refused: Vec<String> = packages
        .iter()
        .filter(|package| {
            let read = READ.iter().find(|(name, _)| package["name"] == *name);
            let licence = package["license"].as_str().or(read.map(|(_, licence)| *licence));
            !licence.is_some_and(satisfied)
        })
        .map(|package| {
            format!("{} {}: {}", package["name"], package["version"], package["license"])
        })
        .collect();
    assert!(
        refused.is_empty(),
        "these can't be used under an allowed licence (ALLOWED in this file):\n{}",
        refused.join("\n")
    );
}

#[test]
fn licence_expressions_are_understood() {
    for good in [
        "MIT",
        "MIT OR GPL-3.0-only",
        "GPL-2.0/MIT",
        "MIT AND (AGPL-3.0 OR Zlib)",
        "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
    ] {
        assert!(satisfied(good), "{good}");
    }
    for bad in [
        "",
        "GPL-3.0-only",
        "MIT AND LGPL-2.1",
        "(MIT",
        "AGPL-3.0 OR LGPL-3.0",
        "GPL-2.0 WITH Classpath",
        "MIT Apache-2.0",
    ] {
        assert!(!satisfied(bad), "{bad}");
    }
}
