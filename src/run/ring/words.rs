//! The words for a ring in the opening line.

use std::fmt::Write;

use super::super::plural::Plural;
use crate::cli::Rotation;

/// Returns how the packets are divided into files, behind a comma; nothing where they are not.
pub fn words(rotation: &Rotation) -> String {
    let Rotation {
        size,
        interval,
        count,
        most,
        command: _,
        sync: _,
    } = rotation;
    let mut text = String::new();
    let mut add = |words: std::fmt::Arguments<'_>| {
        // Nothing fails that writes into a string.
        let _ = text.write_fmt(words);
    };
    let bytes = |bytes: u64| Plural(bytes, "byte");
    match (interval, size) {
        (None, None) => {}
        (Some(interval), None) => {
            add(format_args!(
                ", another file every {} s",
                interval.as_secs()
            ));
        }
        (None, Some(size)) => add(format_args!(", another file after {}", bytes(*size))),
        (Some(interval), Some(size)) => add(format_args!(
            ", another file every {} s and after {}",
            interval.as_secs(),
            bytes(*size)
        )),
    }
    match (interval, size, count) {
        (_, _, None) => {}
        (Some(_), None, Some(count)) => {
            add(format_args!(
                ", until there are {}",
                Plural((*count).into(), "file")
            ));
        }
        (None, _, Some(count)) => add(format_args!(
            ", over and over {}",
            Plural((*count).into(), "file")
        )),
        (Some(_), Some(_), Some(count)) => add(format_args!(
            ", over and over {} of each {} s",
            Plural((*count).into(), "file"),
            interval.unwrap_or_default().as_secs()
        )),
    }
    if let Some(most) = most {
        add(format_args!(", {} in all", bytes(*most)));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_combination_says_when_and_how_long() {
        let words = |size, seconds: Option<u64>, count, most| {
            words(&Rotation {
                size,
                interval: seconds.map(Duration::from_secs),
                count,
                most,
                ..Rotation::default()
            })
        };
        for (text, size, seconds, count, most) in [
            ("", None, None, None, None),
            (
                ", another file after 1024 bytes",
                Some(1024),
                None,
                None,
                None,
            ),
            (
                ", another file after 1000000 bytes, over and over 3 files",
                Some(1_000_000),
                None,
                Some(3),
                None,
            ),
            (", another file every 60 s", None, Some(60), None, None),
            (
                ", another file every 60 s, until there are 3 files",
                None,
                Some(60),
                Some(3),
                None,
            ),
            (
                ", another file every 60 s and after 1024 bytes, over and over 3 files of each 60 s, 4096 bytes in all",
                Some(1024),
                Some(60),
                Some(3),
                Some(4096),
            ),
        ] {
            assert_eq!(words(size, seconds, count, most), text);
        }
    }
}
