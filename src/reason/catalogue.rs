//! Parses the catalogue: `reasons.txt` and `functions.txt`, which are compiled in. The comments at the
//! top of the files describe their format.
//!
//! They are parsed once, at the first lookup. A mistake in them panics with the number of the line; a
//! test parses both files.

use std::sync::LazyLock;

use super::{FunctionEntry, Noise, ReasonEntry};

/// The entries of every reason of Linux 5.17 to 7.2, sorted by name.
pub(super) static REASONS: LazyLock<Vec<ReasonEntry>> = LazyLock::new(|| {
    let sections = sections("reasons.txt", include_str!("reasons.txt"));
    sections.map(CatalogueSection::into_reason).collect()
});

/// The entries of functions that drop packets, sorted by name.
pub(super) static FUNCTIONS: LazyLock<Vec<FunctionEntry>> = LazyLock::new(|| {
    let sections = sections("functions.txt", include_str!("functions.txt"));
    sections.map(CatalogueSection::into_function).collect()
});

/// A name in brackets and the lines below it.
struct CatalogueSection {
    /// `reasons.txt:22`, for the message about a mistake.
    position: String,
    name: &'static str,
    /// The keys and values, in the order of the file.
    fields: Vec<(&'static str, &'static str)>,
}

/// Splits a file into its sections.
fn sections(file: &str, text: &'static str) -> impl Iterator<Item = CatalogueSection> {
    let mut sections: Vec<CatalogueSection> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let position = format!("{file}:{}", index + 1);
        let heading = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        if let Some(name) = heading {
            sections.push(CatalogueSection {
                position,
                name,
                fields: Vec::new(),
            });
            continue;
        }
        let Some(field) = line.split_once(": ") else {
            panic!("{position}: neither `[NAME]` nor `key: value`");
        };
        match sections.last_mut() {
            Some(section) => section.fields.push(field),
            None => panic!("{position}: no `[NAME]` above it"),
        }
    }
    sections.into_iter()
}

impl CatalogueSection {
    fn into_reason(mut self) -> ReasonEntry {
        let entry = ReasonEntry {
            name: self.name,
            since: self.required("since"),
            until: self.optional("until"),
            renamed: self.optional("renamed"),
            meaning: self.required("meaning"),
            causes: self.all("cause"),
            checks: self.all("check"),
            noise: self.noise(),
        };
        self.finish();
        entry
    }

    fn into_function(mut self) -> FunctionEntry {
        let place = FunctionEntry {
            function: self.name,
            meaning: self.required("meaning"),
            causes: self.all("cause"),
            checks: self.all("check"),
            noise: self.noise(),
        };
        self.finish();
        place
    }

    /// Takes every value of a key.
    fn all(&mut self, key: &str) -> Vec<&'static str> {
        let taken = self.fields.extract_if(.., |field| field.0 == key);
        taken.map(|(_, value)| value).collect()
    }

    /// Takes the value of a key that may occur once.
    fn optional(&mut self, key: &str) -> Option<&'static str> {
        match self.all(key)[..] {
            [] => None,
            [value] => Some(value),
            [..] => panic!("{}: `{key}` stands more than once", self.position),
        }
    }

    /// Takes the value of a key that has to occur once.
    fn required(&mut self, key: &str) -> &'static str {
        let value = self.optional(key);
        value.unwrap_or_else(|| panic!("{}: `{key}` is missing", self.position))
    }

    /// Takes the verdict, which is the key, and its explanation.
    fn noise(&mut self) -> Noise {
        let verdicts = [Noise::Usually, Noise::Depends, Noise::Rarely]
            .map(|make: fn(_) -> _| self.optional(make("").verdict()).map(make));
        match verdicts {
            [Some(noise), None, None] | [None, Some(noise), None] | [None, None, Some(noise)] => {
                noise
            }
            _ => panic!("{}: one verdict is needed", self.position),
        }
    }

    /// Panics if a key is left, which is unknown then.
    fn finish(self) {
        if let Some((key, _)) = self.fields.first() {
            panic!("{}: `{key}` is not known here", self.position);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "[A]\nsince: 5.18\nmeaning: M.\ncause: c\ncheck: ip\nit depends: w\n";

    /// Parses a text; a panic's message is the error.
    fn parse(text: String) -> Result<Vec<ReasonEntry>, String> {
        let text: &'static str = text.leak();
        let parsed = std::panic::catch_unwind(|| {
            sections("f.txt", text)
                .map(CatalogueSection::into_reason)
                .collect()
        });
        parsed.map_err(|panic| *panic.downcast::<String>().unwrap())
    }

    #[test]
    fn an_entry_is_read_in_every_field() {
        let text = format!("# a comment\n\n{WHOLE}cause: d\nuntil: 6.1\nrenamed: B\n");
        let entry = ReasonEntry {
            name: "A",
            since: "5.18",
            until: Some("6.1"),
            renamed: Some("B"),
            meaning: "M.",
            causes: vec!["c", "d"],
            checks: vec!["ip"],
            noise: Noise::Depends("w"),
        };
        assert_eq!(parse(text), Ok(vec![entry]));
    }

    #[test]
    fn a_mistake_is_named_with_its_line() {
        #[track_caller]
        fn check(text: String, message: &str) {
            assert_eq!(parse(text), Err(message.to_owned()));
        }
        check("cause: c\n".into(), "f.txt:1: no `[NAME]` above it");
        check(
            format!("{WHOLE}what\n"),
            "f.txt:7: neither `[NAME]` nor `key: value`",
        );
        check(format!("{WHOLE}\n[B]\n"), "f.txt:8: `since` is missing");
        check(
            format!("{WHOLE}since: 6.1\n"),
            "f.txt:1: `since` stands more than once",
        );
        check(
            format!("{WHOLE}usually harmless: v\n"),
            "f.txt:1: one verdict is needed",
        );
        check(
            format!("{WHOLE}casue: c\n"),
            "f.txt:1: `casue` is not known here",
        );
    }
}
