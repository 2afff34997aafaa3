//! The expressions that both filters are asked, and where they may differ.

use dwdump::record::LinkType;

/// All of them, one a line.
pub fn all() -> Vec<&'static str> {
    include_str!("expressions.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

/// Why the two may differ here.
pub fn difference(_link: LinkType, _expression: &str) -> Option<&'static str> {
    None
}

pub const REFUSED: &[&str] = &[];
