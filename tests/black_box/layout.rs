//! The shape of the code, enforced: what stands at the top, and who may import whom.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push(path);
            }
        }
    }
    files
}

#[test]
fn nothing_else_stands_at_the_top() {
    let allowed = [
        "Cargo.toml",
        "Cargo.lock",
        "README.md",
        "wrangler.toml",
        "issuer",
        "edge",
        "shared",
        "tests",
        "xtask",
        "docs",
        "deploy",
        "fuzz",
        "LICENSE",
        "CHANGELOG.md",
        "package.json",
        "package-lock.json",
        ".cargo",
        ".ci",
        ".config",
        "clippy.toml",
        "rustfmt.toml",
        "deny.toml",
        ".gitignore",
        // Not of the checkout.
        ".git",
        "target",
        "node_modules",
        ".margrave",
        ".wrangler",
        "PLAN.local.md",
    ];
    for entry in std::fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(allowed.contains(&name.as_str()), "{name} does not belong at the top");
    }
}

/// The floors of the issuer: a capability imports only from floors below its own.
const FLOORS: &[&[&str]] = &[
    &["storage", "config", "clock", "entropy", "failure", "http", "app", "metrics", "sampling", "telemetry"],
    &["audit", "backup", "idempotency", "keys", "revocations", "notify", "outbound"],
    &["merchants", "applications", "edges", "accounts", "passwords", "organizations"],
    &["permissions", "sessions", "limiter"],
    &["factors", "devices", "recovery"],
    &["tokens"],
    &["oauth", "sso", "admin", "pages"],
    &["cli", "router", "sweeper"],
];

/// What a file imports of its own crate: `capability` → the rest of the path.
fn imports(text: &str) -> Vec<(String, String)> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with('$') {
            continue;
        }
        let rest: String =
            code[at + 7..].chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | ':')).collect();
        let (first, more) = rest.split_once("::").unwrap_or((&rest, ""));
        found.push((first.to_owned(), more.to_owned()));
    }
    found
}

#[test]
fn the_issuer_imports_downwards_and_only_faces() {
    let floors: BTreeMap<&str, usize> = FLOORS
        .iter()
        .enumerate()
        .flat_map(|(floor, names)| names.iter().map(move |name| (*name, floor)))
        .collect();
    let source = root().join("issuer/src");
    let mut problems = Vec::new();
    for file in rust_files(&source) {
        let relative = file.strip_prefix(&source).unwrap();
        let own = relative.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        let Some(own_floor) = floors.get(own).copied() else { continue };
        if relative.ends_with("tests.rs") {
            continue;
        }
        // The lowest floor is what every capability stands on; it builds the others.
        if own_floor == 0 {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        for (other, rest) in imports(&text) {
            let Some(floor) = floors.get(other.as_str()).copied() else { continue };
            if other != own && floor > own_floor {
                problems.push(format!(
                    "{}: {own} (floor {own_floor}) uses {other} (floor {floor})",
                    relative.display()
                ));
            }
            // The feed's rows are read by the sweeper, the long poll and the check of tokens; all are of the face.
            let foreign_store = rest.split("::").any(|part| part == "store") && other != "revocations";
            if other != own && foreign_store {
                problems.push(format!("{}: uses the store of {other}", relative.display()));
            }
        }
        let name = relative.file_name().unwrap().to_str().unwrap();
        let is_route = name == "routes.rs"
            || name.ends_with("_routes.rs")
            || name.ends_with("_route.rs")
            || own == "router";
        let is_store = name == "store.rs" || name.ends_with("_store.rs");
        let code = text.split("#[cfg(test)]").next().unwrap();
        if !is_route && !matches!(own, "http" | "cli" | "router" | "metrics") && code.contains("use axum") {
            let known = ["asked.rs", "health.rs", "verify_call.rs", "authorize.rs", "written_down.rs"];
            if !known.contains(&name) {
                problems.push(format!("{}: a use case knows axum", relative.display()));
            }
        }
        if !is_store && own != "storage" && code.contains("sqlx::query") {
            problems.push(format!("{}: SQL outside a store", relative.display()));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn the_halves_do_not_import_each_other() {
    for (half, other) in
        [("issuer", "margrave_edge"), ("edge", "margrave_issuer"), ("tests", "margrave_issuer")]
    {
        for file in rust_files(&root().join(half)) {
            if file.ends_with("layout.rs") {
                continue;
            }
            let text = std::fs::read_to_string(&file).unwrap();
            // Not the name of a metric.
            let imports = ["{}::", "use {}", "crate {}"].map(|import| import.replace("{}", other));
            assert!(!imports.iter().any(|import| text.contains(import)), "{}", file.display());
        }
    }
}

#[test]
fn shared_stands_on_an_allow_list() {
    let manifest: toml::Table =
        std::fs::read_to_string(root().join("shared/Cargo.toml")).unwrap().parse().unwrap();
    let (optional, always): (Vec<_>, Vec<_>) = manifest["dependencies"]
        .as_table()
        .unwrap()
        .iter()
        .partition(|(_, entry)| entry.get("optional").is_some_and(|is| is.as_bool() == Some(true)));
    let names = |entries: &[(&String, &toml::Value)]| {
        entries.iter().map(|(name, _)| (*name).clone()).collect::<Vec<_>>()
    };
    // For the issuer's document; the Worker has none of it.
    assert_eq!(names(&optional), ["schemars"]);
    let allowed = [
        "ed25519-dalek",
        "hmac",
        "icu_casemap",
        "icu_normalizer",
        // Of a format that companies have signed with for long, and of nothing else.
        "md-5",
        "serde",
        "serde_json",
        "sha2",
        "subtle",
        "thiserror",
        "zeroize",
    ];
    assert_eq!(names(&always), allowed);
}

#[test]
fn the_readme_and_wrangler_name_what_exists() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let (_, table) = readme.split_once("## Where things live").unwrap();
    let table = table.split("\n## ").next().unwrap();
    let mut paths = 0;
    for path in table.split('`').skip(1).step_by(2).filter(|text| text.contains('/') || text.contains('.')) {
        assert!(root().join(path).exists(), "the README names {path}, which does not exist");
        paths += 1;
    }
    assert!(paths >= 10, "the README's table of places is gone");

    let wrangler: toml::Table =
        std::fs::read_to_string(root().join("wrangler.toml")).unwrap().parse().unwrap();
    let config = std::fs::read_to_string(root().join("edge/src/config.rs")).unwrap();
    let bindings = wrangler["durable_objects"]["bindings"].as_array().unwrap();
    assert_eq!(bindings.len(), 3);
    for binding in bindings {
        let (name, class) = (binding["name"].as_str().unwrap(), binding["class_name"].as_str().unwrap());
        assert!(config.contains(&format!("\"{name}\"")), "edge/src/config.rs does not name {name}");
        let entry = std::fs::read_to_string(root().join("edge/entry.js")).unwrap();
        assert!(entry.contains(&format!("export const {class}")), "edge/entry.js does not export {class}");
        assert!(wrangler["migrations"][0]["new_sqlite_classes"].as_array().unwrap().contains(&class.into()));
    }
}
