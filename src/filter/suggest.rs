//! The nearest of some names, for `did you mean`.

/// The name most like `name` in any case, if one is like it at all: at most a third of it differs.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Longer than every name there is; keeps the square of the length harmless.
    const MAX_LEN: usize = 128;
    if name.len() > MAX_LEN {
        return None;
    }
    let name = name.to_ascii_uppercase();
    let most = (name.len() / 3).max(1);
    known
        .into_iter()
        .filter(|candidate| candidate.len().abs_diff(name.len()) <= most)
        .map(|candidate| (distance(&name, &candidate.to_ascii_uppercase()), candidate))
        .filter(|&(distance, _)| distance <= most)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours that make `other` of `one`.
fn distance(one: &str, other: &str) -> usize {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (row, &left) in one.iter().enumerate() {
        let mut line = vec![row + 1];
        for (column, &right) in other.iter().enumerate() {
            let mut cost = (last[column] + usize::from(left != right))
                .min(last[column + 1] + 1)
                .min(line[column] + 1);
            let swapped =
                row > 0 && column > 0 && left == other[column - 1] && one[row - 1] == right;
            if swapped {
                cost = cost.min(before[column - 1] + 1);
            }
            line.push(cost);
        }
        before = std::mem::replace(&mut last, line);
    }
    last[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 4] = ["NO_SOCKET", "NETFILTER_DROP", "TCP_CSUM", "UDP_CSUM"];

    #[test]
    fn a_slip_finds_the_name_that_was_meant() {
        #[track_caller]
        fn check(name: &str, nearest_name: Option<&str>) {
            assert_eq!(nearest(name, KNOWN), nearest_name);
        }
        check("NO_SOKET", Some("NO_SOCKET"));
        check("netfilter_dorp", Some("NETFILTER_DROP"));
        check("TCP_SCUM", Some("TCP_CSUM"));
        check("NO_SOCKET", Some("NO_SOCKET"));
        check("SOMETHING_ELSE", None);
        check("", None);
        check(&"X".repeat(1000), None);
    }

    #[test]
    fn neighbours_that_changed_places_are_one_slip() {
        assert_eq!(distance("AB", "BA"), 1);
        assert_eq!(distance("", "AB"), 2);
        assert_eq!(distance("KITTEN", "SITTING"), 3);
    }
}
