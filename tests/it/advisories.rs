//! No dependency has a known fault, is unmaintained or unfinished, unless somebody has said why it may.
//!
//! `advisories.json` has what was known on its day of the crates in Cargo.lock, by the numbers of RustSec
//! (<https://rustsec.org>), with the versions that are not concerned, and which of them are accepted, in
//! which build and why. SECURITY.md says the same in words.

use std::collections::BTreeSet;

use semver::{Prerelease, Version, VersionReq};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct List {
    #[expect(dead_code, reason = "for who reads the file")]
    as_of: String,
    accepted: Vec<Accepted>,
    known: Vec<Known>,
}

/// A crate that is used although something is known of it.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Accepted {
    #[serde(rename = "crate")]
    name: String,
    version: Version,
    /// Its number, or that the version is none that its makers call finished.
    advisory: String,
    build: Build,
    reason: String,
}

/// In which programs of ours it is.
#[derive(Debug, Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Build {
    /// In each, also in what builds them.
    Every,
    /// In those with the embedded database alone.
    Embedded,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    #[serde(rename = "crate")]
    name: String,
    advisory: String,
    #[expect(dead_code, reason = "for who reads the file")]
    kind: String,
    /// Versions that are not concerned.
    fixed: Vec<VersionReq>,
}

const PRE_RELEASE: &str = "pre-release";

fn list() -> List {
    serde_json::from_str(include_str!("advisories.json")).unwrap()
}

fn cargo(arguments: &[&str]) -> String {
    let output = std::process::Command::new(env!("CARGO"))
        .args(arguments)
        .args(["--locked", "--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn locked() -> Vec<(String, Version)> {
    let metadata: Value =
        serde_json::from_str(&cargo(&["metadata", "--format-version", "1"])).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100);
    let text = |package: &Value, name: &str| package[name].as_str().unwrap().to_owned();
    packages.iter().map(|p| (text(p, "name"), text(p, "version").parse().unwrap())).collect()
}

/// What is known of these crates, each with its version and the number.
fn found<'a>(
    list: &'a List,
    locked: &'a [(String, Version)],
) -> Vec<(&'a str, &'a Version, &'a str)> {
    let mut found = Vec::new();
    for (name, version) in locked {
        if !version.pre.is_empty() {
            found.push((name.as_str(), version, PRE_RELEASE));
        }
        // A requirement without a pre-release matches none.
        let plain = Version { pre: Prerelease::EMPTY, ..version.clone() };
        let concerned = list.known.iter().filter(|known| {
            known.name == *name && !known.fixed.iter().any(|fixed| fixed.matches(&plain))
        });
        found.extend(concerned.map(|known| (name.as_str(), version, known.advisory.as_str())));
    }
    found
}

#[test]
fn whatever_is_known_of_a_dependency_is_accepted_with_a_reason_and_nothing_else_is() {
    let (list, locked) = (list(), locked());
    let found = found(&list, &locked);
    let accepts = |(name, version, advisory): &(&str, &Version, &str)| {
        list.accepted
            .iter()
            .any(|a| a.name == *name && a.version == **version && a.advisory == *advisory)
    };
    let refused: Vec<_> = found.iter().filter(|one| !accepts(one)).collect();
    assert!(refused.is_empty(), "replace them, or say why not in advisories.json: {refused:#?}");
    let needless = list.accepted.iter().filter(|accepted| {
        let Accepted { name, version, advisory, .. } = accepted;
        !found.contains(&(name.as_str(), version, advisory.as_str()))
            || accepted.reason.trim().is_empty()
    });
    let needless: Vec<_> = needless.collect();
    assert!(needless.is_empty(), "these are not there any more, or have no reason: {needless:#?}");
}

#[test]
fn what_is_accepted_for_the_embedded_database_is_in_no_production_build() {
    let tree = cargo(&["tree", "--no-default-features", "-e", "normal,build", "--prefix", "none"]);
    let production: BTreeSet<(&str, &str)> = tree
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?, words.next()?.trim_start_matches('v')))
        })
        .collect();
    assert!(production.len() > 100 && production.contains(&("taskd", env!("CARGO_PKG_VERSION"))));
    for accepted in list().accepted {
        let version = accepted.version.to_string();
        let is_there = production.contains(&(accepted.name.as_str(), version.as_str()));
        assert_eq!(is_there, accepted.build == Build::Every, "{accepted:?}");
    }
}

#[test]
fn a_version_that_is_concerned_is_noticed_and_one_that_is_mended_is_not() {
    let known = |fixed: &[&str]| Known {
        name: "c".to_owned(),
        advisory: "A".to_owned(),
        kind: "vulnerability".to_owned(),
        fixed: fixed.iter().map(|text| text.parse().unwrap()).collect(),
    };
    let found_in = |version: &str, fixed: &[&str]| {
        let list = List { as_of: String::new(), accepted: Vec::new(), known: vec![known(fixed)] };
        let locked = [("c".to_owned(), version.parse().unwrap())];
        found(&list, &locked).into_iter().map(|(_, _, what)| what.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        found_in("1.2.3", &[]),
        ["A"],
        "an unmaintained crate has no version that is mended"
    );
    assert_eq!(found_in("1.2.3", &[">= 1.2.4"]), ["A"]);
    assert_eq!(found_in("1.2.4", &["^ 1.1.9", ">= 1.2.4"]), [] as [&str; 0]);
    assert_eq!(found_in("2.0.0-rc.1", &[">= 1.2.4"]), [PRE_RELEASE]);
}
