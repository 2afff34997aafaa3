//! Formats text for columns: cuts and wraps it, and shortens numbers and histories.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Returns the number of columns that a text takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// Cuts a text to at most so many columns; a cut text ends in `…`.
pub fn fit(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut fitting = String::new();
    let mut used = 0;
    for character in text.chars() {
        used += character.width().unwrap_or(0);
        if used >= columns {
            break;
        }
        fitting.push(character);
    }
    if columns > 0 {
        fitting.push('…');
    }
    fitting
}

/// Wraps a text into lines of at most so many columns. Lines keep their indentation, and words that are
/// longer than a line are broken.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(1);
    let mut lines = Vec::new();
    for line in text.lines() {
        let indent = line.len() - line.trim_start_matches(' ').len();
        // A wide character has to fit after it.
        let indent = indent.min(columns / 2).min(columns.saturating_sub(2));
        let mut current = " ".repeat(indent);
        let mut used = indent;
        let mut is_empty = true;
        for word in line.split_whitespace() {
            let needed = word.width() + usize::from(!is_empty);
            if used + needed > columns && !is_empty {
                lines.push(std::mem::replace(&mut current, " ".repeat(indent)));
                (used, is_empty) = (indent, true);
            }
            if !is_empty {
                current.push(' ');
                used += 1;
            }
            for character in word.chars() {
                let wide = character.width().unwrap_or(0);
                if used + wide > columns && !is_empty {
                    lines.push(std::mem::replace(&mut current, " ".repeat(indent)));
                    used = indent;
                }
                current.push(character);
                used += wide;
                is_empty = false;
            }
        }
        lines.push(current);
    }
    lines
}

/// Formats a count in at most six columns: `123456`, `1.23M`, `45.6G`.
pub fn count(count: u64) -> String {
    if count < 1_000_000 {
        return count.to_string();
    }
    #[allow(clippy::cast_precision_loss)] // Three digits of it are shown.
    scaled(count as f64)
}

/// Formats a rate in at most six columns: `0.05`, `12.3`, `4567`, `1.23M`; `-` where there is none.
pub fn rate(rate: Option<f64>) -> String {
    match rate {
        None => "-".into(),
        Some(rate) if rate <= 0.0 => "0".into(),
        Some(rate) if rate < 0.01 => "<0.01".into(),
        Some(rate) if rate < 1.0 => format!("{rate:.2}"),
        Some(rate) if rate < 100.0 => format!("{rate:.1}"),
        Some(rate) if rate < 100_000.0 => format!("{rate:.0}"),
        Some(rate) => scaled(rate),
    }
}

/// Formats a number with three digits and the sign of its magnitude.
fn scaled(mut number: f64) -> String {
    let mut sign = ' ';
    for next in ['k', 'M', 'G', 'T', 'P', 'E'] {
        if number < 999.5 {
            break;
        }
        number /= 1000.0;
        sign = next;
    }
    if number < 9.995 {
        format!("{number:.2}{sign}")
    } else if number < 99.95 {
        format!("{number:.1}{sign}")
    } else {
        format!("{number:.0}{sign}")
    }
}

/// Formats the share of `part` in `whole`: `4.2%`, `100%`.
pub fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".into();
    }
    #[allow(clippy::cast_precision_loss)] // Three digits of it are shown.
    let percent = part as f64 * 100.0 / whole as f64;
    if part > 0 && percent < 0.05 {
        "<0.1%".into()
    } else if percent < 99.95 {
        format!("{percent:.1}%")
    } else {
        "100%".into()
    }
}

/// Draws a character for each number, the higher the larger the number.
pub fn history(counts: &[u64], glyphs: Glyphs) -> String {
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let levels = glyphs.levels();
    let level = |count: u64| {
        // Only 0 is drawn as nothing, and only the maximum at full height.
        let level = (u128::from(count) * levels.len() as u128).div_ceil(most.into());
        usize::try_from(level).unwrap_or(0).min(levels.len())
    };
    let shown = counts.iter().map(|&count| match level(count) {
        0 => ' ',
        level => levels[level - 1],
    });
    shown.collect()
}

/// The characters that a terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glyphs {
    /// All of Unicode.
    Unicode,
    /// Only ASCII.
    Ascii,
}

impl Glyphs {
    fn levels(self) -> [char; 8] {
        match self {
            Self::Unicode => ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'],
            Self::Ascii => ['.', ':', '-', '=', '+', 'x', 'X', '#'],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_long_text_is_cut_by_columns() {
        assert_eq!(fit("abc", 3), "abc");
        assert_eq!(fit("abcd", 3), "ab…");
        assert_eq!(fit("界界界", 6), "界界界");
        assert_eq!(fit("界界界", 5), "界界…");
        assert_eq!(fit("界界界", 4), "界…");
        assert_eq!(fit("abc", 1), "…");
        assert_eq!(fit("abc", 0), "");
    }

    #[test]
    fn lines_are_wrapped_and_stay_indented() {
        let text = "  - one two three\n\nfour";
        assert_eq!(wrap(text, 9), ["  - one", "  two", "  three", "", "four"]);
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrap("", 3), Vec::<String>::new());
        assert_eq!(wrap(" 界", 2), ["界"]);
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(count(999_999), "999999");
        assert_eq!(count(1_000_000), "1.00M");
        assert_eq!(count(u64::MAX), "18.4E");
        let rates = [0.0, 0.001, 0.5, 12.34, 4567.0, 123_456.0, 9.999e8];
        let rates = rates.map(|number| rate(Some(number)));
        assert_eq!(
            rates,
            ["0", "<0.01", "0.50", "12.3", "4567", "123k", "1.00G"]
        );
        assert_eq!(rate(None), "-");
        assert_eq!(share(1, 3), "33.3%");
        assert_eq!(share(1, 100_000), "<0.1%");
        assert_eq!(share(3, 3), "100%");
        assert_eq!(share(0, 0), "-");
    }

    #[test]
    fn a_history_never_hides_a_drop() {
        assert_eq!(history(&[0, 1, 1000], Glyphs::Unicode), " ▁█");
        assert_eq!(history(&[1, 2, 4, 8], Glyphs::Unicode), "▁▂▄█");
        assert_eq!(history(&[], Glyphs::Unicode), "");
        assert_eq!(history(&[u64::MAX, 0], Glyphs::Unicode), "█ ");
        assert_eq!(history(&[0, 1, 8], Glyphs::Ascii), " .#");
    }

    proptest! {
        #[test]
        fn no_text_is_too_wide(text in "\\PC{0,60}", columns in 0..50usize) {
            prop_assert!(width(&fit(&text, columns)) <= columns);
            if columns >= 2 {
                for line in wrap(&text, columns) {
                    prop_assert!(width(&line) <= columns, "{line:?}");
                }
            }
        }

        #[test]
        fn no_number_is_too_wide(number: u64, small in 0.0..1e6f64) {
            prop_assert!(count(number).len() <= 6);
            #[allow(clippy::cast_precision_loss)]
            let large = rate(Some(number as f64));
            prop_assert!(large.len() <= 6);
            prop_assert!(rate(Some(small)).len() <= 6);
        }
    }
}
