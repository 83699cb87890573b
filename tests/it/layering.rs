//! Imports only ever run down. The compiler allows modules to import each other in circles, so
//! this reads the sources.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The floors, top first. A module may import from its own floor and from those below it.
const FLOORS: [&[&str]; 7] = [
    &["roles"],
    &["config"],
    &["http"],
    &[
        "consumer",
        "publisher",
        "retry_router",
        "task_writer",
        "task_reader",
        "gates",
        "effects",
        "idempotency",
        "dead_letters",
        "operate",
        "feed",
        "webhooks",
        "retention",
        "read_cache",
        "access",
        "authenticity",
        "demo",
        "defects",
    ],
    &["store", "broker", "cache", "mail"],
    &["domain"],
    &["ground"],
];

fn floor(module: &str) -> usize {
    let found = FLOORS.iter().position(|floor| floor.contains(&module));
    found.unwrap_or_else(|| panic!("the module {module} has no floor: give it one in this test"))
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The sources with their paths below src, without those that belong to no module.
fn modules() -> Vec<(String, String)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&root, &mut found);
    let mut modules: Vec<(String, String)> = found
        .into_iter()
        .map(|path| (path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned(), path))
        .filter(|(name, _)| !["main.rs", "lib.rs", "cli.rs", "dotenv.rs"].contains(&name.as_str()))
        .map(|(name, path)| (name, std::fs::read_to_string(path).unwrap()))
        .collect();
    modules.sort();
    assert!(modules.len() > 40);
    modules
}

/// The first part of a path below src: `store/tasks.rs` and `store.rs` are both of `store`.
fn module_of(path: &str) -> &str {
    path.split('/').next().unwrap().trim_end_matches(".rs")
}

/// Every path after `crate::` in the code, `use` or not; comments count for nothing.
fn imports(source: &str) -> BTreeSet<String> {
    let code: Vec<&str> =
        source.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    let code = code.join(" ");
    let mut found = BTreeSet::new();
    for (at, marker) in code.match_indices("crate::") {
        let rest = code[at + marker.len()..].trim_start();
        if let Some(group) = rest.strip_prefix('{') {
            // `use crate::{a::b, c}`: the names at the first level.
            let mut depth = 0;
            let mut start = true;
            for (index, c) in group.char_indices() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => start = true,
                    c if start && !c.is_whitespace() => {
                        found.insert(path_at(&group[index..]));
                        start = false;
                    }
                    _ => {}
                }
            }
        } else {
            found.insert(path_at(rest));
        }
    }
    found
}

/// The first two parts of a path.
fn path_at(text: &str) -> String {
    let end =
        text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(text.len());
    text[..end].split("::").take(2).collect::<Vec<_>>().join("::")
}

#[test]
fn imports_run_down_the_floors() {
    let mut wrong = Vec::new();
    for (path, source) in modules() {
        let from = module_of(&path);
        for import in imports(&source) {
            let to = import.split("::").next().unwrap();
            if floor(to) < floor(from) {
                wrong.push(format!("src/{path} imports crate::{import}, which is above it"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn no_role_imports_another() {
    for (path, source) in modules().into_iter().filter(|(path, _)| path.starts_with("roles/")) {
        let upward =
            imports(&source).into_iter().find(|import| module_of(import).starts_with("roles"));
        assert_eq!(upward, None, "src/{path}");
        for role in [
            "audit", "dlq", "doctor", "events", "migrate", "ps", "purge", "serve", "token",
            "topology", "work", "up", "webhooks",
        ] {
            let own = path == "roles/mod.rs"
                || path == format!("roles/{role}.rs")
                || path.starts_with(&format!("roles/{role}/"));
            assert!(
                own || !source.contains(&format!("super::{role}::")),
                "src/{path} imports {role}"
            );
        }
    }
}

#[test]
fn each_outside_world_has_one_module_that_speaks_to_it() {
    for (name, module) in [
        ("amqprs::", "broker/amqp/"),
        ("x-death", "broker/amqp/"),
        ("x-first-death", "broker/amqp/"),
        ("x-delivery-count", "broker/amqp/"),
        ("diesel::", "store/"),
        ("diesel_async::", "store/"),
        ("deadpool_redis::", "cache/redis/"),
        ("actix_web::", "http/"),
        ("actix_cors::", "http/"),
        ("actix_http::", "http/"),
        ("actix_server::", "http/"),
    ] {
        for (path, source) in modules() {
            // `diesel::sql_types` and the like may also be part of a longer name.
            let used =
                source.match_indices(name).any(|(at, _)| !source[..at].ends_with(['_', ':']));
            assert!(
                !used || path.starts_with(module),
                "src/{path} uses {name}, which is for src/{module}"
            );
        }
    }
}

#[test]
fn imports_are_found_in_every_form() {
    let source = "use crate::store::{Store, x};\nuse crate::{domain::task, config::{A, B}, mail};\n\
        // use crate::roles::x;\nlet a = crate::http::dto::moment(x); pub(in crate::broker) fn f() {}";
    let found: Vec<String> = imports(source).into_iter().collect();
    assert_eq!(found, ["broker", "config::", "domain::task", "http::dto", "mail", "store::"]);
}

#[test]
fn the_domain_knows_no_framework() {
    for (path, source) in modules().into_iter().filter(|(path, _)| path.starts_with("domain/")) {
        for framework in ["paperclip", "Apiv2Schema", "garde", "clap", "diesel", "actix", "tokio"] {
            let code = source.split("#[cfg(test)]").next().unwrap();
            assert!(!code.contains(framework), "src/{path} uses {framework}");
        }
    }
}

/// The floors of the API, top first; whatever is not named here stands at the bottom.
const HTTP_FLOORS: [&str; 7] =
    ["server", "console", "openapi", "routes", "middleware", "dto", "extract"];

#[test]
fn the_api_has_floors_of_its_own() {
    let floor = |name: &str| {
        HTTP_FLOORS.iter().position(|floor| *floor == name).unwrap_or(HTTP_FLOORS.len())
    };
    let mut wrong = Vec::new();
    for (path, source) in modules() {
        let Some(below) = path.strip_prefix("http/") else { continue };
        // The root names what all of them share.
        if below == "mod.rs" {
            continue;
        }
        for import in imports(&source) {
            let Some(to) = import.strip_prefix("http::") else { continue };
            if floor(to) < floor(module_of(below)) {
                wrong.push(format!("src/{path} imports crate::{import}, which is above it"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// What the console may use of the rest: the types of what the API answers, and what has no power.
const OF_THE_CONSOLE: [&str; 10] = [
    "http",
    "domain",
    "ground",
    "dead_letters",
    "gates::EffectView",
    "operate::AuditEntry",
    "operate::doctor",
    "operate::presence",
    "operate::pulse",
    "webhooks::orders",
];

#[test]
fn the_console_is_a_client_of_the_api() {
    for (path, source) in modules() {
        if !path.starts_with("http/console/") {
            continue;
        }
        for import in imports(&source) {
            let whole = OF_THE_CONSOLE.contains(&module_of(&import.replace("::", "/")));
            let part = OF_THE_CONSOLE.contains(&import.as_str());
            assert!(whole || part, "src/{path} imports crate::{import}");
        }
        assert!(!source.contains("AppState"), "src/{path} uses what handlers of the API use");
    }
}

/// How many characters a line with a comment has at most; addresses can't be broken.
const LONGEST_COMMENT: usize = 100;

#[test]
fn comments_keep_to_a_width_that_can_be_read() {
    for (path, source) in modules() {
        for line in source.lines().filter(|line| line.trim_start().starts_with("//")) {
            let fits = line.chars().count() <= LONGEST_COMMENT || line.contains("://");
            assert!(fits, "src/{path}: {line}");
        }
    }
}

/// A role is its wiring: what it does is done by the modules below.
const LONGEST_ROLE: usize = 80;

#[test]
fn a_role_is_little_more_than_its_wiring() {
    for (path, source) in modules() {
        let Some(below) = path.strip_prefix("roles/") else { continue };
        let of_several = [
            "mod.rs",
            "parts.rs",
            "progress.rs",
            "reach.rs",
            "runtime.rs",
            "source.rs",
            "upkeep.rs",
            "worker.rs",
        ];
        let is_role = below.ends_with("/mod.rs") || !below.contains('/');
        if is_role && !of_several.contains(&below) {
            let lines = source.lines().count();
            assert!(lines <= LONGEST_ROLE, "src/{path} has {lines} lines");
        }
    }
}

/// What can be read in one sitting, in lines, and taken in at a look, in files.
const LONGEST_FILE: usize = 300;
const FULLEST_FOLDER: usize = 12;

#[test]
fn files_can_be_read_in_one_sitting_and_folders_taken_in() {
    let mut found = Vec::new();
    sources(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    let mut folders: BTreeMap<&Path, usize> = BTreeMap::new();
    for path in &found {
        let lines = std::fs::read_to_string(path).unwrap().lines().count();
        assert!(lines <= LONGEST_FILE, "{} has {lines} lines", path.display());
        *folders.entry(path.parent().unwrap()).or_default() += 1;
    }
    for (folder, files) in folders {
        assert!(files <= FULLEST_FOLDER, "{} has {files} files", folder.display());
    }
}
