//! Imports inside the library point one way: no room imports one that is built on it, and no two
//! modules import each other, directly or through others.
//!
//! A room is a module of `src/lib.rs`. What a module and its parent share is their own matter: a
//! parent defines the words and its children use them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The rooms, from the bottom up: one may import those of the layers before its own, and none of
/// its own layer. `main` is above all and imports only `cli`, `extcap`, `run` and `untrusted`.
const LAYERS: &[&[&str]] = &[
    &["bpf", "errno", "sys", "untrusted"],
    &["host", "rights", "sandbox"],
    &["record"],
    &["cache", "packet", "reason"],
    &["comment", "ebpf", "net_dm", "wireshark"],
    &["dissect", "interface", "symbol"],
    &["filter", "why"],
    &["summary"],
    // Sources and sinks know records, never each other.
    &["sink", "source"],
    &["check", "cli", "table"],
    &["run"],
    &["extcap"],
    // For tests: whatever reads bytes from outside.
    &["fuzzing"],
];

/// Modules that import each other, and why they may.
const CIRCLES: &[(&str, &str, &str)] = &[(
    "filter::parse",
    "filter::primitive",
    "the grammar's own recursion: a primitive can hold a parenthesised expression",
)];

type Imports = BTreeMap<String, BTreeSet<String>>;

/// Every module of the library and the modules that it imports.
fn imports() -> Imports {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = BTreeMap::new();
    read(&src, "", &mut files);
    let imported = |(module, text): (&String, &String)| {
        let paths = paths(module, text);
        let known = paths.iter().filter_map(|path| owner(path, &files));
        let others = known.filter(|other| other != module);
        (module.clone(), others.collect())
    };
    files.iter().map(imported).collect()
}

/// Reads the modules below a folder, without those that are only tests.
fn read(folder: &Path, parent: &str, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let module = match (parent, stem) {
            ("", "lib" | "main") | (_, "tests") => continue,
            (_, "mod") => parent.to_owned(),
            ("", _) => stem.to_owned(),
            _ => format!("{parent}::{stem}"),
        };
        if path.is_dir() {
            read(&path, &module, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.insert(module, code(&fs::read_to_string(&path).unwrap()));
        }
    }
}

/// The text without comments and without the tests at its end.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let lines = text.lines().map(|line| match line.find("//") {
        Some(comment) => &line[..comment],
        None => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The absolute paths that begin with `crate`, `super` or `self` in the code of a module.
fn paths(module: &str, code: &str) -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(start) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | ':')) {
                continue;
            }
            tree(&code[at..], Vec::new(), &mut |path| {
                found.insert(absolute(module, path));
            });
        }
    }
    found
}

/// Follows `a::b::{c, d::e}` and hands on each path; returns what is behind it.
fn tree<'a>(code: &'a str, mut path: Vec<&'a str>, take: &mut dyn FnMut(&[&str])) -> &'a str {
    let mut rest = code.trim_start();
    loop {
        if let Some(group) = rest.strip_prefix('{') {
            rest = group.trim_start();
            while !rest.is_empty() && !rest.starts_with('}') {
                let behind = tree(rest, path.clone(), take).trim_start();
                // Renamed: `a as b`.
                let end = behind.find([',', '}']).unwrap_or(behind.len());
                rest = behind[end..].trim_start_matches(',').trim_start();
            }
            return rest.strip_prefix('}').unwrap_or_default();
        }
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        path.push(&rest[..end]);
        rest = &rest[end..];
        match rest.strip_prefix("::") {
            Some(more) if more.starts_with(|c| is_name(c) || c == '{') => rest = more,
            _ => {
                take(&path);
                return rest;
            }
        }
    }
}

/// The path from the crate's root.
fn absolute(module: &str, path: &[&str]) -> Vec<String> {
    let mut absolute: Vec<&str> = module.split("::").collect();
    for &part in path {
        match part {
            "crate" => absolute.clear(),
            "super" => drop(absolute.pop()),
            "self" => {}
            name => absolute.push(name),
        }
    }
    absolute.into_iter().map(str::to_owned).collect()
}

/// The module in which a path ends.
fn owner(path: &[String], files: &BTreeMap<String, String>) -> Option<String> {
    let prefixes = (1..=path.len()).rev().map(|len| path[..len].join("::"));
    prefixes
        .into_iter()
        .find(|prefix| files.contains_key(prefix))
}

fn room(module: &str) -> &str {
    module.split("::").next().unwrap()
}

#[test]
fn no_room_imports_one_that_is_built_on_it() {
    let layer = |module: &str| {
        let position = LAYERS
            .iter()
            .position(|rooms| rooms.contains(&room(module)));
        position.unwrap_or_else(|| panic!("{module} is in no layer"))
    };
    let imports = imports();
    assert!(imports.len() > 100);
    let mut upward = Vec::new();
    for (module, others) in &imports {
        let others = others.iter().filter(|other| room(other) != room(module));
        let above = others.filter(|other| layer(other) >= layer(module));
        upward.extend(above.map(|other| format!("{module} imports {other}")));
    }
    assert!(upward.is_empty(), "{upward:#?}");
}

#[test]
fn no_two_modules_import_each_other() {
    let imports = imports();
    let is_listed = |one: &str, other: &str| {
        let pairs = CIRCLES.iter();
        let mut pairs = pairs.flat_map(|&(one, other, _)| [(one, other), (other, one)]);
        pairs.any(|pair| pair == (one, other))
    };
    let next = |module: &str| {
        let others = imports[module].iter().map(String::as_str);
        // A module and what it is part of are one.
        let ancestor = |other: &str| module.starts_with(&format!("{other}::"));
        others
            .filter(move |other| !ancestor(other))
            .collect::<Vec<_>>()
    };
    let reaches = |from: &str, to: &str| {
        let (mut seen, mut open) = (BTreeSet::new(), next(from));
        while let Some(module) = open.pop() {
            if module == to {
                return true;
            }
            if seen.insert(module.to_owned()) {
                let others = next(module).into_iter();
                open.extend(others.filter(|other| !is_listed(module, other)));
            }
        }
        false
    };
    let mut circles = Vec::new();
    for module in imports.keys() {
        let others = next(module).into_iter();
        let back = others.filter(|other| !is_listed(module, other) && reaches(other, module));
        circles
            .extend(back.map(|other| format!("{module} imports {other} and is reached from it")));
    }
    assert!(circles.is_empty(), "{circles:#?}");
    for (one, other, _) in CIRCLES {
        let both = imports[*one].contains(*other) && imports[*other].contains(*one);
        assert!(both, "{one} and {other} are listed and no circle");
    }
}

#[test]
fn run_only_dispatches() {
    let imports = imports();
    let children = imports.iter().filter(|(module, _)| room(module) == "run");
    let upward = children.filter(|(_, others)| others.contains("run"));
    let upward: Vec<_> = upward.map(|(module, _)| module).collect();
    assert!(upward.is_empty(), "these import run/mod.rs: {upward:?}");
}

#[test]
fn main_imports_the_front_ends_and_the_run() {
    let main = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/main.rs");
    let main = fs::read_to_string(main)
        .unwrap()
        .replace("dwdump::", "crate::");
    let paths = paths("main", &code(&main));
    let rooms: BTreeSet<_> = paths.iter().map(|path| path[0].as_str()).collect();
    assert_eq!(rooms, BTreeSet::from(["cli", "extcap", "run", "untrusted"]));
}

#[test]
fn paths_are_found_in_all_their_forms() {
    let text = "use crate::a::{self, b::{C, D as E}, f};\nuse super::g;\nlet x = crate::h::i(super::super::j::K);\n\
                use std::x; // crate::comment\nmy_crate::y;\n#[cfg(test)]\nmod tests {\n use crate::t; }";
    let found: Vec<_> = paths("m::n", &code(text))
        .into_iter()
        .map(|path| path.join("::"))
        .collect();
    assert_eq!(
        found,
        ["a", "a::b::C", "a::b::D", "a::f", "h::i", "j::K", "m::g"]
    );
}
