//! The house rules that a compiler does not check: short files, one name for one type, docs that state
//! something, and planted bugs that still fit the sources.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const MOST_LINES: usize = 500;

/// Type names that several modules define, and why that is clearer than two names.
const SHARED_NAMES: &[(&str, &str)] = &[(
    "Finder",
    "the build without source lines has another that finds none",
)];

/// The words with which a paragraph begins that asks a question.
const QUESTION_WORDS: [&str; 6] = ["Whether", "What", "How", "Where", "When", "Why"];

/// The files below these folders whose extension is one of these.
fn files(folders: &[&str], extensions: &[&str]) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut open: Vec<PathBuf> = folders.iter().map(|folder| root.join(folder)).collect();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let extension = path.extension().unwrap_or_default().to_str().unwrap();
            if path.is_dir() {
                open.push(path);
            } else if extensions.contains(&extension) {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root).unwrap().to_owned(), text));
            }
        }
    }
    found.sort();
    found
}

/// The part of a file that is not tests.
fn product(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap()
}

/// The program's own files, without those that hold only tests.
fn sources() -> Vec<(PathBuf, String)> {
    let mut files = files(&["src"], &["rs"]);
    files.retain(|(path, _)| !path.components().any(|part| part.as_os_str() == "tests"));
    files.retain(|(path, _)| path.file_name().unwrap() != "tests.rs");
    assert!(files.len() > 100);
    files
}

#[test]
fn no_file_is_long() {
    let files = files(&["src", "tests", "benches"], &["rs", "py", "sh", ""]);
    let is_script = |path: &Path, text: &str| path.extension().is_some() || text.starts_with("#!");
    let files = files.iter().filter(|(path, text)| is_script(path, text));
    let counts = files.map(|(path, text)| (path, text.lines().count()));
    let long = counts.filter(|(_, lines)| *lines > MOST_LINES);
    let long: Vec<_> = long.collect();
    assert!(long.is_empty(), "longer than {MOST_LINES} lines: {long:#?}");
}

/// The name of the type that a line defines: at the margin, where rustfmt puts what belongs to a module, or, where it
/// is public, anywhere, for a macro may define it.
fn defined_type(line: &str) -> Option<&str> {
    let trimmed = line.trim_start();
    let line = if trimmed.starts_with("pub") {
        trimmed
    } else {
        line
    };
    let line = match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(") ")?.1,
        Some(rest) => rest.strip_prefix(' ')?,
        None => line,
    };
    let line = line.strip_prefix("unsafe ").unwrap_or(line);
    let (kind, rest) = line.split_once(' ')?;
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
    ["struct", "enum", "union", "trait", "type"]
        .contains(&kind)
        .then(|| &rest[..end])
}

#[test]
fn no_two_types_have_one_name() {
    let mut places: BTreeMap<String, BTreeSet<PathBuf>> = BTreeMap::new();
    // Those of the tests as well: whoever looks for a name finds one.
    for (path, text) in files(&["src"], &["rs"]) {
        for name in text.lines().filter_map(defined_type) {
            places
                .entry(name.to_owned())
                .or_default()
                .insert(path.clone());
        }
    }
    assert!(places.len() > 200, "{} types", places.len());
    places.retain(|_, paths| paths.len() > 1);
    for (name, reason) in SHARED_NAMES {
        let shared = places.remove(*name);
        assert!(
            shared.is_some(),
            "`{name}` is defined once, so it needs no exception: {reason}"
        );
    }
    assert!(places.is_empty(), "one name for several types: {places:#?}");
}

/// The paragraphs of documentation in a file, each with the number of its first line.
fn paragraphs(text: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let (mut is_open, mut is_code) = (false, false);
    for (line, number) in text.lines().zip(1..) {
        let line = line.trim_start();
        let doc = line
            .strip_prefix("///")
            .or_else(|| line.strip_prefix("//!"));
        let doc = doc.map(str::trim).filter(|doc| !doc.is_empty());
        let Some(doc) = doc else {
            is_open = false;
            continue;
        };
        if doc.starts_with("```") {
            (is_open, is_code) = (false, !is_code);
        } else if is_code {
        } else if is_open {
            let (_, paragraph) = found.last_mut().unwrap();
            paragraph.push(' ');
            paragraph.push_str(doc);
        } else {
            found.push((number, doc.to_owned()));
            is_open = true;
        }
    }
    found
}

/// Returns whether a paragraph asks instead of stating something.
fn is_question(paragraph: &str) -> bool {
    let word = paragraph.split(' ').next().unwrap();
    QUESTION_WORDS.contains(&word) || paragraph.ends_with('?')
}

#[test]
fn documentation_states_something() {
    let mut questions = Vec::new();
    for (path, text) in sources() {
        let found = paragraphs(product(&text)).into_iter();
        let found = found.filter(|(_, paragraph)| is_question(paragraph));
        questions.extend(found.map(|(line, text)| format!("{}:{line}: {text}", path.display())));
    }
    assert!(
        questions.is_empty(),
        "paragraphs that begin or end like a question:\n{}",
        questions.join("\n")
    );
}

/// Returns the file that a patch changes, and whether the lines that it expects there are there: in one piece, once.
fn fits(patch: &str) -> (&str, bool) {
    let file = patch.lines().find_map(|line| line.strip_prefix("--- a/"));
    let file = file.expect("a patch names its file");
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let hunks: Vec<_> = patch.split("\n@@ ").skip(1).collect();
    let has = |hunk: &&str| {
        let lines = hunk.lines().skip(1).filter(|line| !line.starts_with('+'));
        // An empty line may have lost its blank.
        let expected: Vec<_> = lines.map(|line| line.get(1..).unwrap_or("")).collect();
        text.matches(&expected.join("\n")).count() == 1
    };
    (file, !hunks.is_empty() && hunks.iter().all(has))
}

#[test]
fn planted_bugs_fit_the_sources() {
    let patches = files(&["fuzz/planted"], &["patch"]);
    assert_eq!(patches.len(), files(&["fuzz/fuzz_targets"], &["rs"]).len());
    for (path, patch) in patches {
        let (file, is_fit) = fits(&patch);
        assert!(is_fit, "{} no longer fits {file}", path.display());
    }
    let foreign = "--- a/tests/house.rs\n+++ b/tests/house.rs\n@@ -1,1 +1,1 @@\n-\u{1}\n+one";
    assert_eq!(fits(foreign), ("tests/house.rs", false));
}

#[test]
fn the_rules_find_violations() {
    let types = [
        "pub(crate) struct A<'v> {",
        "pub trait B: C {",
        "type D = E;",
        "enum F {",
    ];
    assert!(
        types
            .iter()
            .zip(["A", "B", "D", "F"])
            .all(|(line, name)| defined_type(line) == Some(name))
    );
    let none = [
        "    type Item = u8;",
        "// struct G",
        "use struct_h;",
        "impl I for J {",
        "public K",
    ];
    assert!(none.iter().all(|line| defined_type(line).is_none()));

    let text = "//! Returns\n//! two.\n//!\n//! What?\n\n/// Whether a:\n/// ```\n/// What\n/// ```\n/// Is it?\nfn a() {}";
    let found = paragraphs(text);
    let lines: Vec<_> = found.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [1, 4, 6, 10]);
    let questions: Vec<_> = found.iter().map(|(_, text)| is_question(text)).collect();
    assert_eq!(questions, [false, true, true, true]);
}
